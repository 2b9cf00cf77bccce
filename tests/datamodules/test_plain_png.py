import numpy as np
import pytest

from datamodules.images import read_label_map
from datamodules.plain_png import plain_png, read_plain_png


def random_label(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (48, 64), (300, 257)])
def test_any_reader_of_png_reads_the_label_map(tmp_path, size):
    label = random_label(*size)
    content = plain_png(label)
    (tmp_path / "a.png").write_bytes(content)
    found = read_plain_png(content, *size)
    assert found.dtype == np.uint8 and np.array_equal(found, label)
    assert np.array_equal(read_label_map(tmp_path / "a.png"), label)


def test_another_size_is_refused():
    content = plain_png(random_label(12, 16))
    for size in ((16, 12), (12, 15), (13, 16), (192, 1)):
        with pytest.raises(ValueError, match="size"):
            read_plain_png(content, *size)


def test_a_damaged_file_is_refused_or_whole():
    """Wherever it was cut, and whichever byte is another: its own checksum is not looked at, that of its content is."""
    label = random_label(6, 8)
    content = plain_png(label)
    for i in range(len(content)):
        with pytest.raises(ValueError):
            read_plain_png(content[:i], 6, 8)
        changed = content[:i] + bytes([content[i] ^ 16]) + content[i + 1 :]
        try:
            found = read_plain_png(changed, 6, 8)
        except ValueError:
            continue
        assert np.array_equal(found, label)
