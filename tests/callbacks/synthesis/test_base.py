import pytest
import torch
from networks import fcn, linear, per_pixel, uniform
from one_line import one_line

from attacks import L2, Linf
from attacks.objectives import CrossEntropy
from callbacks.synthesis.base import Plan, Synthesis, labels_of


class Towards(Synthesis):
    """Paints a class over the whole picture, one after the other from what became of the last."""

    task = "towards"

    def __init__(self, classes=(1,), **options):
        super().__init__(**{"constraint": 5.0, "steps": 6, "step_size": 0.1, **options})
        self.targets = classes

    def plans(self, network, batch, seed):
        image = batch["image"]
        for target in self.targets:
            wanted = torch.full_like(labels_of(network, batch), target)
            image = yield Plan(image, CrossEntropy(network, image, wanted), self.constraint, f"{target}", wanted=wanted)


@pytest.fixture
def batch():
    return {"image": uniform(3, 3, 4, 4), "label": torch.zeros(3, dtype=torch.long), "index": torch.arange(3)}


def test_a_number_is_the_eps_of_an_l2(batch):
    assert isinstance(Towards().constraint, L2) and Towards().constraint.eps == 5
    batch = {**batch, "image": 0.4 + 0.2 * batch["image"]}  # far from the box
    (painting,) = Towards(constraint=0.2, steps=20).synthesize(linear(), batch)
    assert torch.allclose((painting.result - painting.start).flatten(1).norm(dim=1), torch.tensor(0.2).double())
    (painting,) = Towards(constraint=Linf(0.01)).synthesize(linear(), batch)
    assert (painting.result - painting.start).abs().max() <= 0.01 + 1e-9


def test_a_plan_is_told_what_became_of_the_one_before(batch):
    first, second = Towards([1, 0]).synthesize(linear(), batch)
    assert (first.variant, second.variant) == ("1", "0")
    assert torch.equal(second.start, first.result) and not torch.equal(first.start, first.result)
    assert first.logits[:, 1].gt(second.logits[:, 1]).all()


def test_the_way_is_that_of_the_painting_without_it(batch):
    (plain,), (kept,) = (
        Towards(steps=7).synthesize(fcn(), maps(batch)),
        Towards(steps=7, frames=3).synthesize(fcn(), maps(batch)),
    )
    assert torch.equal(plain.result, kept.result) and plain.way == []
    assert len(kept.way) == 3 and torch.equal(kept.way[-1], kept.result)
    (early,) = Towards(steps=2).synthesize(fcn(), maps(batch))
    assert torch.equal(kept.way[0], early.result)


def test_progress_is_told_in_steps(batch):
    task, steps = Towards([1, 0], steps=7, frames=2), []
    task.tick = steps.append
    task.synthesize(linear(), batch)
    assert sum(steps) == 14


def test_nothing_depends_on_the_batch(batch):
    together = Towards().synthesize(fcn(), maps(batch))[0].result
    for i in (2, 0, 1):
        single = {key: value[i : i + 1] for key, value in maps(batch).items()}
        assert torch.allclose(Towards().synthesize(fcn(), single)[0].result[0], together[i], atol=1e-12, rtol=0)


def test_without_labels_the_prediction_takes_their_place(batch):
    network = per_pixel()
    assert torch.equal(labels_of(network, {"image": batch["image"]}), network(batch["image"]).argmax(1))
    assert torch.equal(labels_of(network, maps(batch)), maps(batch)["label"])


@pytest.mark.parametrize(
    ("target", "line"),
    [(2, "class 2 is wanted, and the network tells 2 classes apart"), (-1, "classes are numbered from 0 to 1"),
     ("hors", "target=hors: no class is called so; did you mean horse?"), ("zzz", "the classes are horse, zebra")],
)  # fmt: skip
def test_a_class_that_does_not_exist_is_told_before_anything_is_painted(batch, target, line):
    task = Towards()
    task.classes = ["horse", "zebra"]
    if target == 2:
        task.targets, task.classes = [2], []
        with pytest.raises(ValueError, match=line):
            task.check(linear(), batch)
    else:
        with pytest.raises(ValueError, match=line):
            task.class_index(target, "target")
        assert task.class_index("zebra", "target") == task.class_index(1, "target") == 1


def test_labels_of_another_kind_than_the_networks_are_told(batch):
    with pytest.raises(ValueError, match=one_line("one class for each image")):
        Towards().check(per_pixel(), batch)


def test_the_check_costs_a_look_and_leaves_the_network_as_it_was(batch):
    network = fcn()
    looks = []
    handle = network.register_forward_hook(lambda *_: looks.append(1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Towards([1, 0], steps=1000).check(network, maps(batch))
    handle.remove()
    assert len(looks) <= 6
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training


@pytest.mark.parametrize("frames", [-1, 7])
def test_frames_out_of_their_range_are_told(frames):
    with pytest.raises(ValueError, match=one_line(f"frames={frames}")):
        Towards(frames=frames)


def maps(batch):
    return {**batch, "label": torch.zeros(3, 4, 4, dtype=torch.long)}
