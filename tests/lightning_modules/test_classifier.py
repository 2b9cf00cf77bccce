from collections import OrderedDict
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from networks import fcn, linear, per_pixel, ragged_labels, uniform
from one_line import one_line
from sklearn.metrics import jaccard_score
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import PolynomialLR
from torch.utils.data import DataLoader, Dataset, Subset, WeightedRandomSampler, default_collate

from attacks import FGSM, L2, Linf
from attacks.objectives import cross_entropy
from callbacks import Attack
from lightning_modules import BatchError, Classifier, CrossEntropyLoss, Network, NetworkError
from lightning_modules.counts import count
from lightning_modules.weights import load_weights

IMAGE = torch.cat([uniform(4, 3, 6, 6, seed=1), uniform(3, 3, 6, 6, seed=2)]).float()
MAPS = torch.cat([ragged_labels(), ragged_labels()[:3].flip(1)])
CLASSES = torch.tensor([0, 1, 1, 0, 1, 0, 0])


def samples(label=MAPS, **extra):
    fields = {"image": IMAGE, "label": label, "index": torch.arange(len(label)), **extra}
    return [{name: values[i] for name, values in fields.items()} for i in range(len(label))]


def loader(data=None, batch_size=3):
    return DataLoader(samples() if data is None else data, batch_size=batch_size)


@pytest.fixture
def trainer(tmp_path):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return partial(
        Trainer, accelerator="cpu", default_root_dir=tmp_path, enable_checkpointing=False, max_epochs=1, **quiet
    )


def classifier(network=None, lr=0.1, **options):
    return Classifier(network or per_pixel().float(), optimizer=partial(SGD, lr=lr), **options)


def squared(network, batch):
    return cross_entropy(network(batch["image"]), batch["label"]) ** 2


class Spy(Callback):
    """Keeps what the steps of a run leave behind."""

    def __init__(self):
        self.gradients, self.rates, self.outputs = [], [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients.append([p.grad.clone() for p in pl_module.network.parameters()])
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_validation_batch_end(self, trainer, pl_module, outputs, batch, batch_idx, dataloader_idx=0):
        self.outputs.append(outputs)


class Attacked(Callback):
    """Adds an attacked version of the image, as `batch["attacked"]`."""

    def __init__(self, attack):
        self.attack = attack

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0):
        batch["attacked"] = {"fgsm": self.attack(pl_module.network, batch["image"], batch["label"])}


# Training.


@pytest.mark.parametrize("label", [MAPS, CLASSES], ids=["dense", "image labels"])
@pytest.mark.parametrize("loss", [None, squared])
def test_accumulation_gives_the_gradient_of_one_big_batch(trainer, label, loss):
    data = samples(torch.cat([label, label[-1:]])[:8], image=torch.cat([IMAGE, IMAGE[:1]]))
    gradients = []
    for batch_size, accumulate in [(8, 1), (2, 4)]:
        spy, network = Spy(), per_pixel() if label.ndim > 1 else linear(size=6)
        model = classifier(network.float(), loss=loss)
        trainer(callbacks=spy, accumulate_grad_batches=accumulate).fit(model, loader(data, batch_size))
        assert len(spy.gradients) == 1
        gradients.append(spy.gradients[0])
    assert all(gradient.any() for gradient in gradients[0])
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("loss", [None, squared])
def test_training_lowers_the_mean_of_the_samples_losses(trainer, loss):
    spy, model = Spy(), classifier(loss=loss)
    expected = (loss or CrossEntropyLoss())(model.network, {"image": IMAGE, "label": MAPS}).mean()
    gradients = torch.autograd.grad(expected, list(model.network.parameters()))
    run = trainer(callbacks=spy)
    run.fit(model, loader(batch_size=7))
    torch.testing.assert_close(spy.gradients[0], list(gradients))
    torch.testing.assert_close(run.callback_metrics["train/loss"], expected.detach())


def test_the_schedule_is_stepped_after_each_optimizer_step(trainer):
    spy, asked = Spy(), []

    def schedule(optimizer, steps):
        asked.append(steps)
        return PolynomialLR(optimizer, steps)

    model = classifier(lr=0.6, schedule=schedule)
    trainer(callbacks=spy, max_epochs=2).fit(model, loader())
    assert asked == [6]
    assert spy.rates == pytest.approx([0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert model.optimizers().param_groups[0]["lr"] == pytest.approx(0)


def test_accumulated_batches_are_one_step_of_the_schedule(trainer):
    spy, asked = Spy(), []
    model = classifier(schedule=lambda optimizer, steps: asked.append(steps) or PolynomialLR(optimizer, steps))
    trainer(callbacks=spy, max_epochs=2, accumulate_grad_batches=2).fit(model, loader())
    assert asked == [4]
    assert len(spy.rates) == 4


def test_a_torch_scheduler_is_a_schedule(trainer):
    spy = Spy()
    trainer(callbacks=spy).fit(classifier(lr=0.3, schedule=PolynomialLR), loader())
    assert spy.rates == pytest.approx([0.3, 0.2, 0.1])


def test_without_a_schedule_the_learning_rate_stays(trainer):
    spy = Spy()
    trainer(callbacks=spy).fit(classifier(lr=0.3), loader())
    assert spy.rates == [0.3] * 3


def test_learning_rates_are_multiplied_by_name_prefix():
    network = fcn()
    network[1].requires_grad_(False)
    optimizer = classifier(network, lr_multipliers={"4.": 10, "0.bias": 0.5}).configure_optimizers()
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    expected = {network[0].weight: 0.1, network[0].bias: 0.05, network[4].weight: 1.0, network[4].bias: 1.0}
    assert rates == pytest.approx(expected)


def test_multiplied_learning_rates_follow_the_schedule(trainer):
    model = classifier(lr=0.2, lr_multipliers={"bias": 10}, schedule=PolynomialLR)
    run = trainer(max_steps=2)
    run.fit(model, loader(batch_size=2))
    assert sorted(group["lr"] for group in run.optimizers[0].param_groups) == pytest.approx([0, 0])
    assert sorted(group["initial_lr"] for group in run.optimizers[0].param_groups) == pytest.approx([0.2, 2])


# Frozen parts.


def two_parts():
    """A backbone and a head, each with weights, batch norm and dropout."""
    parts = {"backbone": fcn(4).float(), "head": nn.Sequential(nn.BatchNorm2d(4), nn.Dropout(), nn.Conv2d(4, 3, 1))}
    return nn.Sequential(OrderedDict(parts))


IN_EVAL_MODE = pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training")


class Frozen(Callback):
    """Keeps the modes of the parts of `two_parts`, and where gradients are."""

    def __init__(self):
        self.modes, self.gradients, self.moved = [], [], []

    def note(self, trainer, pl_module, *_):
        self.modes.append([{m.training for m in part.modules()} for part in pl_module.network])

    on_train_start = on_train_batch_end = on_train_epoch_end = on_train_end = note

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients.append([{p.grad is not None for p in part.parameters()} for part in pl_module.network])

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.moved.append((batch["image"] - batch["clean"]).abs().max().item())


def fit_two_parts(trainer, frozen, **options):
    """What is left after training with an attack: the module, what was noted, its state before, modes in the loss."""
    network, spy, in_loss = two_parts(), Frozen(), []

    def loss(network, batch):
        in_loss.append([{m.training for m in part.modules()} for part in network])
        return cross_entropy(network(batch["image"]), batch["label"])

    before = {name: value.clone() for name, value in network.state_dict().items()}
    module = Classifier(network, loss, frozen=frozen, **options)
    attack = Attack(FGSM(Linf(0.1)), {"fgsm": FGSM(Linf(0.1))})
    trainer(callbacks=[attack, spy], max_epochs=2).fit(module, loader(), loader())
    return module, spy, before, in_loss


def changed(module, before):
    return {name for name, value in module.network.state_dict().items() if not torch.equal(value, before[name])}


@IN_EVAL_MODE
def test_a_frozen_part_is_left_exactly_as_it_is_while_the_others_train(trainer):
    module, spy, before, in_loss = fit_two_parts(trainer, ["backbone"])
    assert changed(module, before) == {name for name in before if name.startswith("head.")}
    assert in_loss == [[{False}, {True}]] * 6
    assert spy.modes == [[{False}, {True}]] * 10  # at the start, after each batch and validation, and at the end
    assert spy.gradients == [[{False}, {True}]] * 6
    assert spy.moved == pytest.approx([0.1] * 6)  # attacks see through it
    trained = [p for group in module.optimizers().param_groups for p in group["params"]]
    assert set(trained) == set(module.network.head.parameters())


def test_nothing_is_frozen_unless_it_is_named(trainer):
    module, spy, before, in_loss = fit_two_parts(trainer, [])
    assert changed(module, before) == set(before)
    assert in_loss == [[{True}, {True}]] * 6
    assert spy.gradients == [[{True}, {True}]] * 6


@IN_EVAL_MODE
def test_a_part_of_a_part_is_frozen_alone(trainer):
    module, _, before, in_loss = fit_two_parts(trainer, ["backbone.1", "head.2"], lr_multipliers={"backbone": 0.1})
    frozen = {name for name in before if name.startswith(("backbone.1.", "head.2."))}
    assert len(frozen) == 7
    assert changed(module, before) == set(before) - frozen
    assert in_loss == [[{True, False}, {True, False}]] * 6


def test_a_frozen_part_stays_so_when_the_mode_is_set_by_hand():
    module = classifier(two_parts(), frozen=["backbone"])
    module.eval()
    assert not module.network.head.training
    assert module.train() is module
    assert module.network.head.training and module.training
    assert not any(part.training for part in module.network.backbone.modules())


def test_a_part_that_the_network_does_not_have_is_named_in_one_line():
    parts = ("frozen: the network has no part 'model.backbone'; it has backbone, backbone.0", "head, head.0")
    with pytest.raises(NetworkError, match=one_line(*parts)):
        classifier(two_parts(), frozen=["head", "model.backbone"])


# The contract of batches.


@pytest.mark.parametrize(
    ("data", "got"),
    [
        (list(zip(IMAGE, MAPS, strict=True)), "a list"),
        (list(IMAGE), "a Tensor"),
        ([{"image": IMAGE[0], "label": MAPS[0]}], "a dict with image, label"),
        ([{"image": IMAGE[0], "index": 0}], "a dict with image, index"),
        ([{"label": MAPS[0], "index": 0}], "a dict with label, index"),
    ],
)
@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_a_batch_that_breaks_the_contract_is_named_in_one_line(trainer, data, got, stage):
    with pytest.raises(BatchError, match=one_line("a batch is a dict with image, label, index, not", got, ": return")):
        getattr(trainer(), stage)(classifier(), loader(data))


def test_prediction_needs_no_labels(trainer):
    network, data = per_pixel().float(), [{"image": IMAGE[i], "index": i} for i in range(7)]
    predicted = torch.cat(trainer().predict(classifier(network), loader(data)))
    assert predicted.dtype == torch.int64
    assert torch.equal(predicted, network(IMAGE).argmax(1))
    with pytest.raises(BatchError, match="a dict with image, index, not a list"):
        trainer().predict(classifier(network), loader(list(zip(IMAGE, MAPS, strict=True))))


# What is refused before it starts.


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict"])
def test_bf16_true_is_refused(trainer, stage):
    with pytest.raises(NetworkError, match=one_line("precision bf16-true", "; use one of 32-true")):
        getattr(trainer(precision="bf16-true"), stage)(classifier(), loader())


class Data(LightningDataModule):
    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def train_dataloader(self):
        return loader()

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
@pytest.mark.parametrize("classes", [["sky", "sea", "land", "ice"], list("abcdefg")])
def test_a_network_with_another_number_of_outputs_than_the_data_have_classes_is_refused(trainer, stage, classes):
    parts = ("Conv2d: 3 outputs, and the data have", len(classes), "classes: set its num_classes")
    with pytest.raises(NetworkError, match=one_line(*parts)):
        getattr(trainer(), stage)(classifier(), datamodule=Data(classes))


def test_what_a_network_says_of_itself_does_not_matter(trainer):
    network = per_pixel().float()
    network.num_classes = 1000
    assert trainer().validate(classifier(network), datamodule=Data(["sky", "sea", "land"]), verbose=False)


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_labels_are_held_to_the_classes_of_the_data(trainer, stage):
    with pytest.raises(BatchError, match=one_line("label: 2 is no class; they are 0 to 1")):
        getattr(trainer(), stage)(classifier(), datamodule=Data(["sky", "sea"]))


@pytest.mark.parametrize("made", [None, "a word"])
def test_what_is_no_optimizer_or_schedule_is_refused(trainer, made):
    with pytest.raises(NetworkError, match=one_line("model.optimizer made", "no Optimizer of torch")):
        trainer().fit(Classifier(per_pixel().float(), optimizer=lambda parameters: made), loader())
    with pytest.raises(NetworkError, match=one_line("model.schedule made", "no LRScheduler of torch")):
        trainer().fit(classifier(schedule=lambda optimizer, steps: made), loader())


# Every sample is counted, and once.


class Ending(Dataset):
    """Raises StopIteration at a sample, as a data set does that forgets a `next`'s default."""

    def __init__(self, at=4):
        self.at = at

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return samples()[index] if index < self.at else next(iter(()))


@pytest.mark.parametrize(
    ("stage", "what"),
    [("fit", "epoch"), ("validate", "evaluation"), ("test", "evaluation"), ("predict", "prediction")],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_an_early_end_is_no_end(trainer, stage, what, workers):
    data = DataLoader(Ending(), batch_size=2, num_workers=workers)
    with pytest.raises(BatchError, match=one_line(f"the {what} ended after 2 of 4 batches: ", "StopIteration")):
        getattr(trainer(), stage)(classifier(), data)


def test_a_loss_that_raises_stop_iteration_does_not_end_the_epoch(trainer):
    def loss(network, batch):
        return squared(network, batch) if 5 not in batch["index"] else next(iter(()))

    with pytest.raises(BatchError, match=one_line("the epoch ended after 1 of 3 batches")):
        trainer().fit(classifier(loss=loss), loader())


class Skips(Callback):
    """Leaves out the rest of an epoch, as Lightning lets a hook of the module do."""

    def setup(self, trainer, pl_module, stage):
        pl_module.on_train_batch_start = lambda batch, batch_idx: -1 if batch_idx == 1 else None


@pytest.mark.parametrize(
    "options",
    [{"max_steps": 2, "max_epochs": None}, {"limit_train_batches": 2, "limit_val_batches": 2},
     {"callbacks": Skips()}, {"fast_dev_run": True}, {"num_sanity_val_steps": 3}, {"val_check_interval": 1}],
    ids=str,
)  # fmt: skip
def test_an_end_that_was_asked_for_is_one(trainer, options):
    trainer(**options).fit(classifier(), loader(), loader())


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_an_index_that_comes_again_in_a_later_batch_is_told(trainer, stage):
    data = samples(index=torch.tensor([0, 1, 2, 3, 1, 5, 6]))
    with pytest.raises(BatchError, match=one_line("index: 1 comes twice")):
        getattr(trainer(), stage)(classifier(), loader(data), verbose=False)


def test_a_training_sample_may_be_drawn_again_if_the_sampler_says_so(trainer):
    again = DataLoader(samples(), 3, sampler=WeightedRandomSampler([1.0, 0, 0, 0, 0, 0, 0], 6))
    trainer().fit(classifier(), again)
    with pytest.raises(BatchError, match=one_line("index: 0", "comes twice in a batch")):
        trainer().fit(classifier(), loader(samples(index=torch.zeros(7).long())))


def test_a_subset_that_keeps_the_indices_of_the_whole_is_evaluated(trainer):
    model = classifier()
    trainer().validate(model, DataLoader(Subset(samples(), [1, 4, 6]), 2), verbose=False)
    assert model.results["clean"]["samples"] == 3


def test_samples_that_no_process_counts_are_told(trainer, monkeypatch):
    """Of a subset, sample 1 is dealt to the process that does not own it: nobody would count it."""
    monkeypatch.setattr(Classifier, "owned", lambda self, index: index % 2 == 0)
    with pytest.raises(BatchError, match=one_line("4 of 7 samples were counted", "its place in the data set")):
        trainer().validate(classifier(), loader(), verbose=False)


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_an_evaluation_in_which_all_is_void_is_none(trainer, stage):
    void = torch.full_like(MAPS, 255)
    with pytest.raises(BatchError, match=one_line("label: all 7 samples are void (255)", "are these the labels?")):
        getattr(trainer(), stage)(classifier(), *[loader(samples(void))] * (2 if stage == "fit" else 1))
    void[6] = MAPS[6]  # in the last batch, which the look before training does not come to
    trainer(num_sanity_val_steps=2).fit(classifier(), loader(), loader(samples(void)))


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_logits_that_are_nan_are_not_measured(trainer, stage):
    network = per_pixel().float()
    network.bias.data[0] = float("nan")
    with pytest.raises(NetworkError, match=one_line("Conv2d: the loss of sample 0 (clean) is nan")):
        getattr(trainer(), stage)(classifier(network), loader(), verbose=False)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_has_no_gradient_that_is_one(trainer, bad):
    """Though this loss has: so all processes see it, by the gradients that they share. `Divergence` looks."""
    spy = Spy()
    model = classifier(loss=lambda network, batch: squared(network, batch) + torch.where(batch["index"] == 4, bad, 0))
    trainer(callbacks=spy, limit_train_batches=2).fit(model, loader())
    assert len(spy.gradients) == 2
    assert [all(g.isfinite().all() for g in gradients) for gradients in spy.gradients] == [True, False]


# Evaluation.


@pytest.mark.parametrize("stage", ["validate", "test"])
@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_results_of_label_maps_equal_those_computed_by_hand(trainer, stage, batch_size):
    network = per_pixel(classes=4).float()
    network.bias.data[3] = -100  # never predicted, never a label
    data = [{**sample, "attacked": {"inverted": 1 - sample["image"]}} for sample in samples()]
    model = classifier(network)
    logged = getattr(trainer(), stage)(model, loader(data, batch_size), verbose=False)[0]
    prefix = {"validate": "val", "test": "test"}[stage]
    assert model.results.keys() == {"clean", "inverted"}
    valid = MAPS != 255
    for version, image in {"clean": IMAGE, "inverted": 1 - IMAGE}.items():
        logits = network(image).detach()
        prediction, truth = logits.argmax(1)[valid], MAPS[valid]
        iou = jaccard_score(truth, prediction, average=None, labels=range(3))
        expected = {
            "accuracy": (prediction == truth).double().mean().item(),
            "miou": iou.mean(),
            "loss": cross_entropy(logits, MAPS).double().mean().item(),
        }
        results = model.results[version]
        assert {name: results[name] for name in expected} == pytest.approx(expected)
        assert results["iou"] == pytest.approx(dict(zip("012", iou, strict=True)))
        assert results["samples"] == 7
        shown = expected | {f"iou/{i}": iou[i] for i in range(3)}
        assert {k: v for k, v in logged.items() if k.startswith(f"{prefix}/{version}/")} == pytest.approx(
            {f"{prefix}/{version}/{name}": value for name, value in shown.items()}
        )


def test_results_of_image_labels_equal_those_computed_by_hand(trainer):
    network = linear(size=6).float()
    model = classifier(network)
    logged = trainer().validate(model, loader(samples(CLASSES)), verbose=False)[0]
    logits = network(IMAGE).detach()
    accuracy = (logits.argmax(1) == CLASSES).double().mean().item()
    loss = nn.functional.cross_entropy(logits, CLASSES).item()
    by_class, labels = (model.results["clean"].pop(name) for name in ("class_accuracy", "labels"))
    assert labels == {str(c): int((c == CLASSES).sum()) for c in (0, 1)}
    assert model.results == {"clean": pytest.approx({"accuracy": accuracy, "loss": loss, "samples": 7})}
    right = logits.argmax(1) == CLASSES
    assert by_class == pytest.approx({str(c): right[c == CLASSES].double().mean().item() for c in (0, 1)})
    assert logged == pytest.approx({"val/clean/accuracy": accuracy, "val/clean/loss": loss})


def test_classes_are_called_by_the_data_modules_names(trainer):
    model = classifier()
    trainer().validate(model, datamodule=Data(["sky", "sea", "land"]), verbose=False)
    assert list(model.results["clean"]["iou"]) == ["sky", "sea", "land"]


def test_validation_steps_return_each_samples_counts(trainer):
    spy, network = Spy(), per_pixel().float()
    trainer(callbacks=spy).validate(classifier(network), loader(), verbose=False)
    assert torch.cat([outputs["index"] for outputs in spy.outputs]).tolist() == list(range(7))
    expected = count(network(IMAGE), MAPS)
    for i, name in enumerate(("tp", "fp", "fn")):
        counts = torch.cat([getattr(outputs["counts"]["clean"], name) for outputs in spy.outputs])
        assert torch.equal(counts, expected[i])


@pytest.mark.parametrize("inference_mode", [True, False])
@pytest.mark.parametrize("ball", [Linf(0.2), L2(1)])
def test_attacks_work_in_validation_and_do_harm(trainer, inference_mode, ball):
    model = classifier(fcn().float())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run = trainer(inference_mode=inference_mode, callbacks=Attacked(FGSM(ball)))
    run.validate(model, loader(), verbose=False)
    assert model.results["fgsm"]["loss"] > model.results["clean"]["loss"] + 0.01
    assert model.results["fgsm"]["accuracy"] < model.results["clean"]["accuracy"]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_evaluations_do_not_add_up(trainer):
    model, run = classifier(), trainer()
    first = run.validate(model, loader(), verbose=False)
    assert run.validate(model, loader(), verbose=False) == first
    assert model.results["clean"]["samples"] == 7


class Sanity(Callback):
    def on_sanity_check_end(self, trainer, pl_module):
        self.logged = [name for name in trainer.callback_metrics if name.startswith("val/")]
        self.samples = pl_module.results["clean"]["samples"]


def test_the_sanity_check_logs_nothing_and_counts_nowhere(trainer):
    model, sanity = classifier(), Sanity()
    run = trainer(callbacks=sanity, num_sanity_val_steps=1)
    run.fit(model, loader(), loader())
    assert sanity.logged == []
    assert sanity.samples == 3
    assert model.results["clean"]["samples"] == 7
    assert run.callback_metrics["val/clean/accuracy"] == pytest.approx(model.results["clean"]["accuracy"])


@pytest.mark.parametrize("world_size", [2, 3])
def test_samples_that_the_sampler_repeats_on_another_rank_count_once(trainer, monkeypatch, world_size):
    """Seven samples on two ranks are dealt as 0 2 4 6 and 1 3 5 0: the last is the first's repetition."""
    run, total = trainer(), 0
    monkeypatch.setattr(Trainer, "world_size", world_size)
    for rank in range(world_size):
        dealt = [i % 7 for i in range(rank, -(-7 // world_size) * world_size, world_size)]
        monkeypatch.setattr(Trainer, "global_rank", rank)
        model = classifier()
        model.trainer = run
        model._begin()
        outputs = [model.validation_step(default_collate([samples()[i]]), 0) for i in dealt]
        total += model.metrics["clean"].samples.item()
        assert torch.cat([output["index"] for output in outputs]).tolist() == list(range(rank, 7, world_size))
    assert total == 7


class Precision(nn.Module):
    """Notes in which precision it ran."""

    def __init__(self):
        super().__init__()
        self.body, self.seen = per_pixel().float(), []

    def forward(self, image):
        self.seen.append((self.training, torch.is_autocast_enabled(image.device.type), image.dtype))
        return self.body(image)


def test_evaluation_leaves_autocast_and_training_does_not(trainer):
    network = Precision()
    trainer(precision="bf16-mixed", num_sanity_val_steps=0).fit(classifier(network), loader(), loader())
    assert set(network.seen) == {(True, True, torch.float32), (False, False, torch.float32)}


class TF32(Callback):
    def on_validation_batch_start(self, *_):
        self.during = allowed()


def allowed():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(params=[(True, False), (True, True), (False, False)], ids=str)
def tf32_before(request):
    saved = allowed()
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = request.param
    yield request.param
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = saved


def test_tf32_is_off_in_evaluation_and_as_it_was_afterwards(trainer, tf32_before):
    tf32 = TF32()
    trainer(callbacks=tf32).validate(classifier(), loader(), verbose=False)
    assert tf32.during == (False, False)
    assert allowed() == tf32_before


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.main, self.aux = per_pixel().float(), per_pixel().float()

    def forward(self, image):
        return {"out": self.main(image), "aux": self.aux(image) + 1}


def test_logits_are_the_main_ones_of_a_dict():
    network = TwoHeads()
    assert torch.equal(classifier(network)(IMAGE), network.main(IMAGE))


def test_a_checkpoint_holds_the_network_and_nothing_else(trainer):
    model = classifier()
    trainer().fit(model, loader(), loader())
    assert set(model.state_dict()) == {"network.weight", "network.bias"}


def test_the_network_can_be_read_from_a_checkpoint(trainer, tmp_path):
    """The state of optimizer, schedule and callbacks in it does not matter."""
    model = Classifier(Network("fcn_small", 3, mean=(0.1, 0.2, 0.3)), schedule=PolynomialLR)
    saving = ModelCheckpoint(tmp_path, "last", monitor="val/clean/miou")
    trainer(callbacks=saving, enable_checkpointing=True).fit(model, loader(batch_size=7), loader())
    content = torch.load(tmp_path / "last.ckpt", weights_only=False)
    assert content["optimizer_states"][0]["state"] and content["lr_schedulers"] and content["callbacks"]
    network = Network("fcn_small", 3)
    assert not torch.equal(network.model.classifier[0].weight, model.network.model.classifier[0].weight)
    load_weights(network, tmp_path / "last.ckpt")
    expected = model.network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_the_default_loss_is_cross_entropy_with_an_auxiliary_head():
    assert isinstance(classifier().loss, CrossEntropyLoss)


def test_a_multiplier_that_fits_no_parameter_is_told(make_trainer, noise_loader):
    module = Classifier(nn.Conv2d(3, 3, 1), lr_multipliers={"head": 10})
    with pytest.warns(UserWarning, match="the network has no parameters under 'head'; one is 'weight'"):
        make_trainer().fit(module, noise_loader())
