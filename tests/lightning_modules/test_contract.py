import pytest
import torch
from networks import per_pixel, ragged_labels, uniform
from one_line import one_line
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, RandomSampler, WeightedRandomSampler

from lightning_modules import BatchError, NetworkError
from lightning_modules.contract import (
    deals_once,
    look_at_batch,
    look_at_logits,
    look_at_loss,
    look_at_outcome,
    look_at_totals,
    samples_of,
)
from lightning_modules.counts import Outcome

IMAGE = uniform(4, 3, 6, 6).float()
MAPS, CLASSES = ragged_labels(), torch.tensor([0, 2, 1, 0])
INDEX = torch.arange(4)
NETWORK = per_pixel().float()
REGION = torch.ones(4, 1, 6, 6, dtype=torch.bool)


def batch(**other):
    return {"image": IMAGE, "label": MAPS, "index": INDEX, **other}


def look(labelled=True, classes=3, distinct=True, **other):
    return look_at_batch(batch(**other), labelled, classes, distinct, NETWORK)


@pytest.mark.parametrize("label", [MAPS, CLASSES], ids=["label maps", "classes"])
@pytest.mark.parametrize("classes", [3, 0])
def test_a_batch_as_it_should_be_is_left_as_it_is(label, classes):
    given = batch(label=label, region=REGION, path=["a", "b", "c", "d"])
    seen = look_at_batch(given, True, classes, True, NETWORK)
    assert seen.keys() == given.keys()
    assert all(seen[key] is given[key] for key in ("image", "region", "path"))
    assert torch.equal(seen["label"], label) and torch.equal(seen["index"], INDEX)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_and_indices_of_any_width_are_taken(dtype):
    seen = look(label=MAPS.to(dtype), index=INDEX.to(dtype))
    assert seen["label"].dtype == seen["index"].dtype == torch.int64
    assert torch.equal(seen["label"], MAPS)


def test_class_255_is_a_class_of_whole_images():
    assert look(label=torch.tensor([255, 0, 1, 2]), classes=1000)["label"][0] == 255
    with pytest.raises(BatchError, match=one_line("label: 255 is no class; they are 0 to 9")):
        look(label=torch.tensor([255, 0, 1, 2]), classes=10)


BROKEN = {
    "bytes": ({"image": (IMAGE * 255).byte()}, "image: uint8, not float32 (B, 3, H, W) in [0, 1]: divide it by 255"),
    "half": ({"image": IMAGE.half()}, "image: float16, not float32"),
    "double": ({"image": IMAGE.double()}, "image: float64, not float32 (B, 3, H, W) in [0, 1]: convert it"),
    "a list": ({"image": [0.5] * 4}, "image: a list, not a tensor"),
    "grey": ({"image": IMAGE[:, :1]}, "image: (4, 1, 6, 6), not", "repeat grey three times"),
    "alpha": ({"image": torch.cat([IMAGE, IMAGE[:, :1]], 1)}, "image: (4, 4, 6, 6), not"),
    "channels last": ({"image": IMAGE.movedim(1, 3)}, "image: (4, 6, 6, 3), not"),
    "no batch": ({"image": IMAGE[0]}, "image: (3, 6, 6), not"),
    "empty": ({"image": IMAGE[:0]}, "image: (0, 3, 6, 6), not"),
    "0 to 255": ({"image": IMAGE * 255}, "image: values from 1.138 to 254.7, not in [0, 1]: divide them by 255"),
    "normalised": ({"image": (IMAGE - 0.5) / 0.2}, "image: values from -2.", "do not normalise them"),
    "overshot": ({"image": IMAGE * 1.1}, "image: values from 0.", "clamp what a resize has overshot"),
    "NaN": ({"image": IMAGE.index_fill(0, torch.tensor(2), float("nan"))}, "image: values from nan to nan", "broken"),
    "infinite": ({"image": IMAGE / 0}, "image: values from inf to inf"),
    "float labels": ({"label": MAPS.float()}, "label: float32, not int64"),
    "label list": ({"label": [0, 1, 2, 0]}, "label: a list, not an int64 tensor"),
    "one channel": ({"label": MAPS[:, None]}, "label: (4, 1, 6, 6) for images (4, 3, 6, 6)"),
    "one-hot": ({"label": torch.eye(3)[CLASSES].long()}, "label: (4, 3) for images"),
    "smaller maps": ({"label": MAPS[:, ::2, ::2]}, "label: (4, 3, 3) for images"),
    "too few labels": ({"label": CLASSES[:3]}, "label: (3,) for images"),
    "class too many": ({"label": MAPS.where(MAPS != 2, 3)}, "label: 3 is no class; they are 0 to 2, and 255 is void"),
    "below 0": ({"label": CLASSES - 1}, "label: -1 is no class; they are 0 to 2"),
    "float index": ({"index": INDEX.float()}, "index: float32, not int64"),
    "two indices": ({"index": torch.stack([INDEX, INDEX], 1)}, "index: (4, 2), not (B,)"),
    "index below 0": ({"index": INDEX - 1}, "index: -1 is negative or comes twice in a batch"),
    "index twice": ({"index": torch.tensor([5, 7, 9, 7])}, "index: 7 is negative or comes twice in a batch"),
    "region of ints": ({"region": REGION.long()}, "region: int64 (4, 1, 6, 6), not bool (4, 1, 6, 6)"),
    "flat region": ({"region": REGION[:, 0]}, "region: bool (4, 6, 6), not bool (4, 1, 6, 6)"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_batch_that_breaks_the_contract_is_told_in_one_line(case):
    other, *parts = BROKEN[case]
    with pytest.raises(BatchError, match=one_line(*parts)):
        look(**other)


@pytest.mark.parametrize("network", [per_pixel(), torch.nn.ReLU()])
def test_a_network_in_float64_may_have_such_images(network):
    image = IMAGE.double()
    assert look_at_batch(batch(image=image), True, 3, True, network)["image"] is image
    assert look_at_batch(batch(), True, 3, True, network)["image"] is IMAGE


def test_rounding_is_no_breach():
    image = IMAGE.clone()
    image[0, 0, 0, :2] = torch.tensor([1 + 5e-7, -5e-7])
    assert look(image=image)["image"] is image


def test_a_sample_that_is_drawn_again_has_its_index_again():
    assert look(index=torch.zeros(4, dtype=torch.int64), distinct=False)


def test_prediction_looks_at_no_label():
    assert look(labelled=False, label="unknown")["label"] == "unknown"


# Logits.


class Named(torch.nn.Module):
    name = "mine"


LOGITS = {
    "a quarter": ((4, 3, 2, 2), MAPS, "logits of (2, 2) pixels for images of (6, 6): wrap it", "F.interpolate(logits"),
    "transposed": ((4, 3, 6, 5), MAPS, "logits of (6, 5) pixels"),
    "one output": ((4, 1, 6, 6), MAPS, "one output, as for a sigmoid", "torch.cat([torch.zeros_like(logits), logits]"),
    "one output per image": ((4, 1), CLASSES, "one output, as for a sigmoid"),
    "more": ((4, 5, 6, 6), MAPS, "5 outputs, and the data have 3 classes: set its num_classes"),
    "fewer": ((4, 2), CLASSES, "2 outputs, and the data have 3 classes"),
    "whole images": ((4, 3), MAPS, "logits (4, 3) for labels (4, 6, 6)"),
    "pixels": ((4, 3, 6, 6), CLASSES, "logits (4, 3, 6, 6) for labels (4,)"),
    "no batch": ((3, 6, 6), MAPS, "logits (3, 6, 6) for images (4, 3, 6, 6)"),
    "other batch": ((2, 3), CLASSES, "logits (2, 3) for images (4, 3, 6, 6)"),
}


@pytest.mark.parametrize("case", LOGITS)
def test_logits_of_another_shape_are_told_in_one_line(case):
    shape, label, *parts = LOGITS[case]
    with pytest.raises(NetworkError, match=one_line("mine: ", *parts)):
        look_at_logits(torch.zeros(shape), batch(label=label), 3, Named())


def test_logits_as_they_should_be_pass():
    look_at_logits(torch.zeros(4, 3, 6, 6), batch(), 3, Named())
    look_at_logits(torch.zeros(4, 3), batch(label=CLASSES), 3, Named())
    look_at_logits(torch.zeros(4, 7, 6, 6, dtype=torch.float64), {"image": IMAGE}, 0, Named())


def test_logits_of_16_bits_are_for_training_only():
    logits = torch.zeros(4, 3, 6, 6, dtype=torch.bfloat16)
    look_at_logits(logits, batch(), 3, Named(), evaluating=False)
    with pytest.raises(NetworkError, match=one_line("Sequential: logits are bfloat16", "float32")):
        look_at_logits(logits, batch(), 3, torch.nn.Sequential())


def test_where_the_data_name_no_classes_labels_are_held_to_the_outputs():
    look_at_logits(torch.zeros(4, 3, 6, 6), batch(), 0, Named())
    with pytest.raises(BatchError, match=one_line("label: 2 is no class of mine, which has 2 outputs")):
        look_at_logits(torch.zeros(4, 2, 6, 6), batch(), 0, Named())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_the_network_the_sample_and_the_version(value):
    loss = {"clean": torch.ones(2), "pgd": torch.tensor([0.5, value])}
    look_at_outcome(Outcome(index=torch.tensor([3, 8]), counts={}, loss={"clean": torch.ones(2)}), Named())
    with pytest.raises(NetworkError, match=one_line("mine: the loss of sample 8 (pgd) is", value)):
        look_at_outcome(Outcome(index=torch.tensor([3, 8]), counts={}, loss=loss), Named())


# Losses.


WEIGHT = torch.nn.Parameter(torch.ones(4))


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        (WEIGHT.sum(), ("the loss gives a tensor (), not one value per sample, (4,)", 'reduction="none"')),
        (WEIGHT[:3], ("a tensor (3,), not one value per sample",)),
        (WEIGHT.expand(4, 4), ("a tensor (4, 4), not",)),
        (None, ("a NoneType, not",)),
        (1.5, ("a float, not",)),
        (torch.ones(4), ("the loss has no gradient to the weights",)),
    ],
)
def test_a_loss_that_breaks_the_contract_is_told_in_one_line(values, parts):
    with pytest.raises(BatchError, match=one_line(*parts)):
        look_at_loss(values, 4)


def test_a_losss_mean_is_what_is_trained_on():
    assert look_at_loss(WEIGHT * torch.arange(4), 4) == 1.5


# Loaders.


class Stream(IterableDataset):
    def __iter__(self):
        return iter([])


def test_what_a_loader_says_of_its_samples():
    data = list(range(7))
    assert samples_of(DataLoader(data, 3), [3]) == 7
    assert samples_of([DataLoader(data, 3)], [3]) == 7
    assert samples_of(DataLoader(data, 3, sampler=DistributedSampler(data, 2, 1)), [2]) == 7
    assert samples_of(DataLoader(data, 3, sampler=[4, 5]), [1]) == 2
    assert samples_of(DataLoader(data, 3), [2]) is None  # limited
    assert samples_of(DataLoader(data, batch_sampler=[[0, 1], [2]]), [2]) is None
    assert samples_of(DataLoader(Stream(), 3), [float("inf")]) is None
    assert samples_of([], []) is None


@pytest.mark.parametrize(
    ("sampler", "once"),
    [
        (None, True),
        (RandomSampler(range(7)), True),
        (DistributedSampler(range(7), 2, 0), True),
        (RandomSampler(range(7), replacement=True), False),
        (WeightedRandomSampler([1.0] * 7, 7), False),
        ([1, 1], False),
    ],
)
def test_a_sampler_may_deal_a_sample_again(sampler, once):
    assert deals_once(DataLoader(range(7), sampler=sampler)) == once


def test_a_stream_may_too():
    assert not deals_once(DataLoader(Stream()))


def test_a_network_in_float64_is_fine():
    look_at_logits(per_pixel()(IMAGE.double()), batch(), 3, Named())


def test_logits_of_integers_are_told():
    with pytest.raises(NetworkError, match=one_line("logits are int64, which have no gradient")):
        look_at_logits(torch.zeros(4, 3, dtype=torch.int64), batch(label=CLASSES), 3, Named())


# What an evaluation counted.


def test_every_sample_is_counted_and_something_has_a_label():
    values = {"samples": torch.tensor(4), "labels": torch.tensor([0, 7, 0])}
    void = values | {"labels": torch.zeros(3, dtype=torch.int64)}
    look_at_totals(values, 4, part=False)
    look_at_totals(values, None, part=False)
    look_at_totals(void, 4, part=True)
    with pytest.raises(BatchError, match=one_line("4 of 5 samples were counted", "its place in the data set")):
        look_at_totals(values, 5, part=True)
    with pytest.raises(BatchError, match=one_line("label: all 4 samples are void (255)")):
        look_at_totals(void, 4, part=False)
