import pytest
import torch
from networks import ragged_labels, uniform
from sklearn.metrics import confusion_matrix
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from lightning_modules.counts import Counts, DatasetMetrics, by_class, count

CLASSES = 5  # the label maps know three: class 3 is only ever predicted, class 4 never occurs


def logits_of_four(classes=CLASSES, absent=4):
    logits = uniform(4, classes, 6, 6, seed=5)
    logits[:, absent] = -1
    return logits


def sklearn_counts(prediction, label):
    valid = label != 255
    matrix = confusion_matrix(label[valid], prediction[valid], labels=range(CLASSES))
    return matrix.diagonal(), matrix.sum(0) - matrix.diagonal(), matrix.sum(1) - matrix.diagonal()


def measure(logits, label, sizes, loss=None):
    metrics = DatasetMetrics(logits.shape[1], dense=label.ndim > 1)
    loss = torch.zeros(len(label)) if loss is None else loss
    for batch in zip(logits.split(sizes), label.split(sizes), loss.split(sizes), strict=True):
        metrics.update(count(*batch[:2]), batch[2])
    return metrics.compute()


def test_counts_of_label_maps_equal_sklearns_for_each_sample():
    logits, label = logits_of_four(), ragged_labels()
    counts = count(logits, label)
    for i in range(3):
        tp, fp, fn = sklearn_counts(logits[i].argmax(0), label[i])
        assert counts.tp[i].tolist() == tp.tolist()
        assert counts.fp[i].tolist() == fp.tolist()
        assert counts.fn[i].tolist() == fn.tolist()
    assert counts.fp[:, 3].any()


def test_an_all_void_image_counts_nothing():
    counts = count(logits_of_four(), ragged_labels())
    assert not any(values[3].any() for values in counts)


def test_counts_are_int64_of_samples_by_classes():
    for values in count(logits_of_four(), ragged_labels()):
        assert values.shape == (4, CLASSES)
        assert values.dtype == torch.int64


def test_counts_of_image_labels_where_255_is_a_class():
    logits = torch.zeros(3, 300)
    logits[0, 255] = logits[1, 7] = logits[2, 7] = 1
    counts = count(logits, torch.tensor([255, 255, 7]))
    assert counts.tp.nonzero().tolist() == [[0, 255], [2, 7]]
    assert counts.fp.nonzero().tolist() == [[1, 7]]
    assert counts.fn.nonzero().tolist() == [[1, 255]]
    assert sum(int(values.sum()) for values in counts) == 4


def test_void_counts_nothing_among_more_than_255_classes():
    logits, label = torch.zeros(1, 300, 1, 2), torch.tensor([[[255, 7]]])
    logits[:, 255] = 1
    counts = count(logits, label)
    assert counts.tp.sum() == 0
    assert counts.fp.nonzero().tolist() == [[0, 255]]
    assert counts.fn.nonzero().tolist() == [[0, 7]]


def test_no_samples_count_nothing():
    counts = count(torch.zeros(0, CLASSES, 6, 6), torch.zeros(0, 6, 6, dtype=torch.int64))
    assert all(values.shape == (0, CLASSES) for values in counts)


@pytest.mark.parametrize("sizes", [1, 3, 4])
def test_dense_metrics_equal_those_of_torchmetrics(sizes):
    logits, label = logits_of_four(), ragged_labels()
    values = measure(logits, label, sizes)
    iou = MulticlassJaccardIndex(CLASSES, average=None, ignore_index=255)(logits, label)
    miou = MulticlassJaccardIndex(CLASSES, average="macro", ignore_index=255)(logits, label)
    accuracy = MulticlassAccuracy(CLASSES, average="micro", ignore_index=255)(logits, label)
    torch.testing.assert_close(values["iou"][:4], iou[:4])
    torch.testing.assert_close(values["miou"], miou)
    torch.testing.assert_close(values["accuracy"], accuracy)
    assert 0 < miou < accuracy < 1


def test_a_class_neither_seen_nor_predicted_has_no_iou_and_one_only_predicted_has_0():
    values = measure(logits_of_four(), ragged_labels(), 4)
    assert values["iou"][4].isnan()
    assert values["iou"][3] == 0
    torch.testing.assert_close(values["miou"], values["iou"][:4].mean())


def test_recall_from_the_summed_counts_equals_torchmetrics_macro_accuracy():
    logits, label = logits_of_four(), ragged_labels()
    tp, _, fn = (values.sum(0) for values in count(logits, label))
    macro = MulticlassAccuracy(3, average="macro", ignore_index=255)
    logits[:, 3:] = -1
    tp, _, fn = (values.sum(0)[:3] for values in count(logits, label))
    torch.testing.assert_close((tp / (tp + fn)).mean(), macro(logits[:, :3], label))


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1], [3, 1], [1, 3], [2, 2]], ids=str)
def test_metrics_do_not_depend_on_how_samples_are_batched(sizes):
    logits, label, loss = logits_of_four(), ragged_labels(), uniform(4, seed=6)
    values, whole = measure(logits, label, sizes, loss), measure(logits, label, 4, loss)
    for name in ("accuracy", "miou", "iou", "samples"):
        torch.testing.assert_close(values[name], whole[name], rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(values["loss"], whole["loss"], rtol=1e-14, atol=0)


def test_the_loss_is_the_mean_over_samples_in_float64():
    loss = torch.tensor([1e8, 1.0, 1.0, 1.0])
    values = measure(logits_of_four(), ragged_labels(), 1, loss)
    assert values["loss"].item() == (1e8 + 3) / 4
    assert values["samples"] == 4


def test_image_labels_have_an_accuracy_and_no_iou():
    logits, label = uniform(50, 3, seed=1), (3 * uniform(50, seed=2)).long()
    values = measure(logits, label, 7)
    torch.testing.assert_close(values["accuracy"], MulticlassAccuracy(3, average="micro")(logits, label))
    assert torch.equal(values["labels"], label.bincount(minlength=3))
    assert values.keys() == {"accuracy", "class_accuracy", "labels", "loss", "samples"}


def test_states_of_two_devices_add_up():
    logits, label, loss = logits_of_four(), ragged_labels(), uniform(4, seed=6)
    first, second = (DatasetMetrics(CLASSES, dense=True) for _ in range(2))
    first.update(count(logits[:1], label[:1]), loss[:1])
    second.update(count(logits[1:], label[1:]), loss[1:])
    first.merge_state(second)
    for name, values in count(logits, label)._asdict().items():
        assert torch.equal(getattr(first, name), values.sum(0))
    torch.testing.assert_close(first.compute(), measure(logits, label, 4, loss), equal_nan=True)


def test_counts_are_named():
    assert Counts._fields == ("tp", "fp", "fn")


def test_metrics_by_class_go_by_its_name_without_those_of_nan():
    values = {"miou": torch.tensor(0.5), "iou": torch.tensor([0.25, float("nan"), 0.75]), "samples": torch.tensor(4)}
    named = {"miou": 0.5, "iou": {"sky": 0.25, "land": 0.75}, "samples": 4}
    assert by_class(values, ["sky", "sea", "land"]) == named
    assert by_class(values, [])["iou"] == {"0": 0.25, "2": 0.75}
