"""The connected components of a heatmap at every threshold, from one pass over its pixels."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

THRESHOLDS = np.arange(1000) / 1000
"""0, .001, ... .999, as Choe et al. 2020 have it; a pixel is in where the heatmap is at least the threshold."""

EIGHT = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Half of the neighbours of a pixel that is in; the other half are the same from the other side."""

FOUR = EIGHT[:2]
"""Of one that is out: what touches at a corner only does not leak."""


class Components(NamedTuple):
    """`area` `(R, T)`, the pixels of each component at each threshold, 0 where there is none; `box` `(R, T, 4)`: left,
    top, right and bottom, which lie between pixels."""

    area: np.ndarray
    box: np.ndarray


def levels_of(heatmap: np.ndarray) -> np.ndarray:
    """How many thresholds each pixel reaches, less one; -1 throughout for a heatmap that is not finite."""
    if not np.isfinite(heatmap).all():
        return np.full(heatmap.shape, -1)
    return np.searchsorted(THRESHOLDS, heatmap, side="right") - 1


def components(levels: np.ndarray) -> Components:
    """The components, connected by sides and corners, of the pixels of at least each level.

    A pixel and the steepest way up from it are in together, so at any level a component is made of whole basins, as far
    as these are in: what is left to join are some hundred basins in place of all pixels.
    """
    height, width = levels.shape
    basin, edges = _basins(levels, EIGHT)
    shape = int(basin.max()) + 1, len(THRESHOLDS)
    rows, columns = np.nonzero(levels >= 0)
    place = basin[rows, columns] * shape[1] + levels[rows, columns]
    area = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)[:, ::-1].cumsum(1)[:, ::-1]
    sides = np.empty((4, shape[0] * shape[1]), dtype=np.int32)  # right and bottom negative, so that all are minima
    down, across = np.arange(len(rows)), np.argsort(columns, kind="stable")
    ways = (across[::-1], down[::-1], across, down)  # of several pixels in one place the last one stays
    values = (columns, rows, -columns - 1, -rows - 1)
    for side, way, value, outside in zip(sides, ways, values, (width, height, 0, 0), strict=True):
        side.fill(outside)
        side[place[way]] = value[way]
    sides = np.minimum.accumulate(sides.reshape(4, *shape)[..., ::-1], axis=2)[..., ::-1]
    for into, gone, level in _joined(shape[0], edges):
        below = slice(level + 1)
        area[into, below] += area[gone, below]
        area[gone, below] = 0
        np.minimum(sides[:, into, below], sides[:, gone, below], out=sides[:, into, below])
    sides[2:] *= -1
    return Components(area, np.moveaxis(sides, 0, -1))


def filled(levels: np.ndarray) -> np.ndarray:
    """The levels with the holes filled at every threshold: what has no way out that is lower gets its way out's level.

    The pixels of at least any level are then those of before with their holes filled, as `binary_fill_holes` does.
    """
    if levels.max() < 0:
        return levels
    around = -np.pad(levels, 1, constant_values=-1)
    basin, edges = _basins(around, FOUR)
    basins = int(basin.max()) + 1
    way_out = np.full(basins, around.max())
    members = [[number] for number in range(basins)]
    outside = int(basin[0, 0])
    for into, gone, level in _joined(basins, edges):
        if outside in (into, gone):
            other = gone if into == outside else into
            way_out[members[other]] = level
            outside = into
            members[into] = []  # all that is known
        else:
            members[into] += members[gone]
    return np.maximum(levels, -way_out[basin][1:-1, 1:-1])


def _basins(levels: np.ndarray, neighbours: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
    """To which top the steepest way up leads from each pixel, `(H, W)`, numbered from 0.

    And where basins meet: rows of two basins and the highest level at which they do, the highest first.
    """
    height, width = levels.shape
    key = levels.astype(np.int64) * levels.size + np.arange(levels.size).reshape(levels.shape)  # no two are equal
    highest = np.pad(key, 1, constant_values=np.iinfo(np.int64).min)
    best = key.copy()
    for down, right in (*neighbours, *((-d, -r) for d, r in neighbours)):
        np.maximum(best, highest[1 + down : 1 + down + height, 1 + right : 1 + right + width], out=best)
    up = (best % levels.size).ravel()
    while not np.array_equal(further := up[up], up):
        up = further
    basin = np.unique(up, return_inverse=True)[1].reshape(levels.shape)
    meets = []
    for down, right in neighbours:
        here = slice(height - down), slice(max(0, -right), width - max(0, right))
        there = slice(down, height), slice(max(0, right), width + min(0, right))
        apart = basin[here] != basin[there]
        pair = basin[here][apart], basin[there][apart]
        level = np.minimum(levels[here][apart], levels[there][apart])
        meets.append(np.stack([np.minimum(*pair), np.maximum(*pair), level]))
    first, second, level = np.concatenate(meets, axis=1)
    order = np.lexsort((-level, second, first))
    once = np.ones(len(order), dtype=bool)
    once[1:] = (np.diff(first[order]) != 0) | (np.diff(second[order]) != 0)
    edges = np.stack([first, second, level], axis=1)[order[once]]
    return basin, edges[np.argsort(-edges[:, 2], kind="stable")]


def _joined(basins: int, edges: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Which set of basins takes in which, and from which level down: a sweep from the highest."""
    parent = list(range(basins))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    for first, second, level in edges.tolist():
        one, other = root(first), root(second)
        if one != other:
            into, gone = min(one, other), max(one, other)
            parent[gone] = into
            yield into, gone, level
