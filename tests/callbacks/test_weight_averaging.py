import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from attacks import PGD, Linf
from callbacks import EMA, Attack
from lightning_modules import Classifier

ATTACK = PGD(Linf(0.03), steps=2)


class Weights(Callback):
    """Copies of the network's state: what is trained after each step, and what is there in each evaluation."""

    def __init__(self):
        self.trained, self.evaluated, self.attacked = [], [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.trained.append(state_of(pl_module))

    def on_validation_epoch_end(self, trainer, pl_module):
        self.evaluated.append(state_of(pl_module))


def state_of(module):
    return {name: value.clone() for name, value in module.network.state_dict().items()}


def assert_equal(one, other):
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


def averages(states, decay):
    """The definition: the first state, and from then on a share of each next one."""
    average = states[0]
    yield average
    for state in states[1:]:
        average = {
            name: decay * average[name] + (1 - decay) * value if value.is_floating_point() else value
            for name, value in state.items()
        }
        yield average


@pytest.fixture
def module(pixel_network):
    return Classifier(pixel_network, optimizer=lambda p: torch.optim.SGD(p, lr=0.5))


def fit(make_trainer, noise_loader, module, callbacks, **options):
    ckpt_path = options.pop("ckpt_path", None)
    trainer = make_trainer(callbacks=callbacks, num_sanity_val_steps=0, **options)
    trainer.fit(module, noise_loader(2), noise_loader(2), ckpt_path=ckpt_path)
    return trainer


@pytest.mark.parametrize("ema_first", [True, False])
@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
def test_the_average_is_evaluated_and_something_else_is_trained(
    make_trainer, noise_loader, module, ema_first, precision
):
    spy = Weights()
    callbacks = [EMA(0.8), spy] if ema_first else [spy, EMA(0.8)]
    fit(make_trainer, noise_loader, module, callbacks, max_epochs=3, precision=precision)
    *_, last = expected = list(averages(spy.trained, 0.8))
    assert len(expected) == 12
    for epoch, seen in enumerate(spy.evaluated):
        torch.testing.assert_close(seen, expected[4 * epoch + 3])
        assert not torch.allclose(seen["0.weight"], spy.trained[4 * epoch + 3]["0.weight"], rtol=1e-2)
    torch.testing.assert_close(state_of(module), last)  # left in the network after the run


def test_training_is_what_it_would_be_without_averaging(make_trainer, noise_loader, pixel_network):
    start = state_of(Classifier(pixel_network))
    trained = []
    for callbacks in ([Attack(ATTACK, {"pgd": ATTACK}), EMA(0.8)], [Attack(ATTACK, {"pgd": ATTACK})]):
        pixel_network.load_state_dict(start)
        torch.manual_seed(0)  # of dropout
        module, spy = Classifier(pixel_network, optimizer=lambda p: torch.optim.SGD(p, lr=0.5)), Weights()
        fit(make_trainer, noise_loader, module, [*callbacks, spy], max_epochs=2)
        trained.append(spy.trained)
    for one, other in zip(*trained, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("ema_first", [True, False])
def test_evaluation_attacks_see_the_weights_that_are_evaluated(make_trainer, noise_loader, module, ema_first):
    """And the training attack sees those that are trained."""
    spy, seen = Weights(), {"train": [], "pgd": []}

    def looking(where):
        def attack(network, image, label, seed=None, region=None):
            seen[where].append({name: value.clone() for name, value in network.state_dict().items()})
            return image

        return attack

    attack = Attack(looking("train"), {"pgd": looking("pgd")})
    fit(make_trainer, noise_loader, module, [EMA(0.8), attack, spy] if ema_first else [spy, attack, EMA(0.8)])
    for state in seen["pgd"]:
        assert_equal(state, spy.evaluated[0])
    for before, state in zip(spy.trained[:-1], seen["train"][1:], strict=True):
        assert_equal(before, state)


def test_the_metrics_of_fit_are_those_of_testing_its_checkpoint(make_trainer, noise_loader, module, tmp_path):
    """Which holds the average, with and without the callback."""
    attack, loader = Attack(ATTACK, {"pgd": ATTACK}), noise_loader(2)
    checkpoint = ModelCheckpoint(tmp_path, "last", save_on_train_epoch_end=True)
    callbacks = [attack, EMA(0.8), checkpoint]
    fit(make_trainer, noise_loader, module, callbacks, max_epochs=2, enable_checkpointing=True)
    fitted = module.results
    for callbacks in ([attack], [EMA(0.8), attack]):
        for value in module.network.state_dict().values():
            value.zero_()
        make_trainer(callbacks=callbacks).validate(module, loader, ckpt_path=tmp_path / "last.ckpt", verbose=False)
        assert module.results == fitted


def test_a_resumed_run_is_the_run_that_was_never_interrupted(make_trainer, noise_loader, tmp_path):
    def network():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))

    def run(epochs, ckpt_path=None):
        module, spy = Classifier(network(), optimizer=lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9)), Weights()
        kept = ModelCheckpoint(tmp_path / str(epochs), "last", save_on_train_epoch_end=True)
        callbacks = [Attack(ATTACK), EMA(0.8), spy, kept]
        options = {"max_epochs": epochs, "ckpt_path": ckpt_path, "enable_checkpointing": True}
        fit(make_trainer, noise_loader, module, callbacks, **options)
        return spy, state_of(module)

    whole, average = run(3)
    run(1)
    rest, average_again = run(3, tmp_path / "1" / "last.ckpt")
    for one, other in zip(whole.trained[4:], rest.trained, strict=True):
        assert_equal(one, other)
    assert_equal(average, average_again)


@pytest.mark.parametrize("stage", ["evaluation", "training"])
def test_an_interruption_keeps_the_two_sets_of_weights_apart(make_trainer, noise_loader, module, tmp_path, stage):
    def interrupt(network, image, label, seed=None, region=None):
        if stage == "evaluation" or len(spy.trained) == 6:
            raise InterruptedError
        return image

    spy = Weights()
    attack = Attack(None, {"pgd": interrupt}) if stage == "evaluation" else Attack(interrupt)
    checkpoint = ModelCheckpoint(tmp_path, "last", save_on_exception=True, enable_version_counter=False)
    with pytest.raises(InterruptedError):
        callbacks = [attack, EMA(0.8), spy, checkpoint]
        fit(make_trainer, noise_loader, module, callbacks, max_epochs=2, enable_checkpointing=True)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    *_, average = averages(spy.trained, 0.8)
    for name, value in average.items():
        torch.testing.assert_close(saved["state_dict"][f"network.{name}"], value)
        assert torch.equal(saved["current_model_state"][f"network.{name}"], spy.trained[-1][name])


def test_what_is_frozen_stays_as_it_is_to_the_bit(make_trainer, noise_loader, pixel_network):
    pixel_network[0].weight.data.uniform_(-1, 1)
    pixel_network.register_buffer("mean", torch.rand(1000))
    start = {name: value.clone() for name, value in pixel_network.state_dict().items()}
    module = Classifier(pixel_network, optimizer=lambda p: torch.optim.SGD(p, lr=0.5), frozen=["0", "1"])
    fit(make_trainer, noise_loader, module, [EMA()], max_epochs=3)
    for name, value in module.network.state_dict().items():
        assert torch.equal(value, start[name]) == (not name.startswith("4.")), name


def test_batch_norm_goes_with_the_average(make_trainer, noise_loader, module):
    """Its statistics lie between those seen in training; its counter is that of the steps."""
    spy = Weights()
    fit(make_trainer, noise_loader, module, [EMA(), spy], max_epochs=3)
    state = state_of(module)
    assert state["1.num_batches_tracked"] == 12
    for name in ("1.running_mean", "1.running_var"):
        seen = torch.stack([trained[name] for trained in spy.trained])
        assert ((seen.amin(0) <= state[name]) & (state[name] <= seen.amax(0))).all()


@pytest.mark.parametrize("where", [{"device": "meta"}, {"dtype": torch.float64}])
def test_the_average_is_where_the_network_is_and_as_precise(make_trainer, module, where):
    """Though it is made before Lightning moves the network; there is no GPU here, but there is meta."""
    ema = EMA()
    trainer = make_trainer(callbacks=[ema])
    ema.setup(trainer, module, "fit")
    ema.on_fit_start(trainer, module.to(**where))
    of_average, of_network = (
        [(value.device.type, value.dtype) for value in part.network.state_dict().values()]
        for part in (ema._average_model.module, module)
    )
    assert of_average == of_network


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_is_no_share_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay=.* must be 0 or more and below 1"):
        EMA(decay)
