import pytest
import torch
from networks import ragged_labels, uniform
from one_line import one_line

from attacks import DLR, TargetedDLR

LOGITS = 10 * uniform(6, 5, seed=1) - 5


def identity(image):
    """A network whose logits are its input."""
    return image


def test_dlr_is_equation_6_of_croce_and_hein():
    for label in range(5):
        value, logits = DLR(identity, LOGITS, torch.full((6,), label))(LOGITS, 0.0)
        assert torch.equal(logits, LOGITS)
        for i, z in enumerate(LOGITS):
            others = torch.cat([z[:label], z[label + 1 :]])
            ordered = z.sort(descending=True).values
            expected = -(z[label] - others.max()) / (ordered[0] - ordered[2])
            assert value[i].item() == pytest.approx(expected.item())


def test_targeted_dlr_is_equation_7_of_croce_and_hein():
    for label, target in ((0, 1), (3, 0), (4, 2)):
        value, _ = TargetedDLR(identity, LOGITS, torch.full((6,), label), torch.full((6,), target))(LOGITS, 0.0)
        for i, z in enumerate(LOGITS):
            ordered = z.sort(descending=True).values
            expected = -(z[label] - z[target]) / (ordered[0] - (ordered[2] + ordered[3]) / 2)
            assert value[i].item() == pytest.approx(expected.item())


def test_the_targeted_one_refuses_three_classes():
    label = torch.zeros(6, dtype=torch.long)
    with pytest.raises(ValueError, match=one_line("4 classes", "has 3", "Ensemble")):
        TargetedDLR(identity, LOGITS, label, label + 1)(LOGITS[:, :3], 0.0)


def test_the_untargeted_one_refuses_two_classes():
    with pytest.raises(ValueError, match=one_line("3 classes", "has 2", "CrossEntropy")):
        DLR(identity, LOGITS, torch.zeros(6, dtype=torch.long))(LOGITS[:, :2], 0.0)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_neither_scale_nor_shift_of_the_logits_matters(scale):
    label, target = torch.tensor([0, 1, 2, 3, 4, 0]), torch.tensor([1, 2, 3, 4, 0, 3])
    for make in (lambda z: DLR(identity, z, label), lambda z: TargetedDLR(identity, z, label, target)):
        changed = scale * LOGITS + 7
        torch.testing.assert_close(make(changed)(changed, 0.0)[0], make(LOGITS)(LOGITS, 0.0)[0])


def test_it_is_negative_where_the_prediction_is_right_and_positive_where_it_is_wrong():
    best, worst = LOGITS.argmax(1), LOGITS.argmin(1)
    assert (DLR(identity, LOGITS, best)(LOGITS, 0.0)[0] < 0).all()
    assert (DLR(identity, LOGITS, worst)(LOGITS, 0.0)[0] > 0).all()


def test_a_label_map_gives_the_mean_over_its_valid_pixels():
    label = ragged_labels(size=6, classes=5)
    logits = uniform(4, 5, 6, 6, seed=2)
    for make in (DLR, lambda *a: TargetedDLR(*a, torch.full_like(label, 2))):
        value = make(identity, logits, label)(logits, 0.0)[0]
        for i in range(4):
            valid = label[i] != 255
            pixels, true = logits[i][:, valid].T, label[i][valid]
            part = TargetedDLR(identity, pixels, true, torch.full_like(true, 2)) if make is not DLR else None
            each = (part or DLR(identity, pixels, true))(pixels, 0.0)[0]
            expected = each.mean() if valid.any() else torch.tensor(0.0)
            assert value[i].item() == pytest.approx(expected.item())
