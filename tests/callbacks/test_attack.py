import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from one_line import one_line
from torch import nn

from attacks import FGSM, L2, PGD, AutoAttack, Ensemble, GaussianNoise, KLDivergence, Linf, Transfer
from attacks.ensemble import parts
from attacks.seeds import mix
from callbacks import Attack
from lightning_modules import TRADES, BatchError, Classifier

EPS = 0.03
PGD3 = PGD(Linf(EPS), steps=3, step_size=0.01)


class Spy(Callback):
    """Keeps what the module was given."""

    def __init__(self):
        self.batches = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches.append(batch)

    on_validation_batch_end = on_test_batch_end = lambda self, t, m, o, batch, i, dataloader_idx=0: self.batches.append(
        batch
    )


@pytest.mark.parametrize("attack_first", [True, False])
def test_training_sees_the_adversarial_image_and_keeps_the_clean_one(
    make_trainer, noise_loader, pixel_network, attack_first
):
    seen = []
    module = Classifier(
        pixel_network,
        loss=lambda network, batch: seen.append(batch["image"]) or network(batch["image"]).mean((1, 2, 3)),
    )
    spy = Spy()
    callbacks = [Attack(PGD3), spy] if attack_first else [spy, Attack(PGD3)]
    loader = noise_loader()
    make_trainer(callbacks=callbacks).fit(module, loader)
    clean = torch.cat([batch["clean"] for batch in spy.batches])
    adversarial = torch.cat(seen)
    assert torch.equal(clean, loader.dataset.image), "the data set's own images must not change"
    assert torch.equal(adversarial, torch.cat([batch["image"] for batch in spy.batches]))
    distance = (adversarial - clean).abs()
    assert distance.max() <= EPS + 1e-6
    assert (distance > EPS / 10).float().mean() > 0.5
    assert adversarial.min() >= 0 and adversarial.max() <= 1


def test_the_attack_is_the_one_of_its_seeds(make_trainer, noise_loader, pixel_network):
    spy = Spy()
    module = Classifier(pixel_network, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
    pixel_network[1].momentum = 0.0  # nothing of the network changes in training now
    make_trainer(callbacks=[Attack(PGD3), spy], max_epochs=2).fit(module, noise_loader())
    for position, batch in enumerate(spy.batches):
        epoch = position // 2
        expected = PGD3(pixel_network, batch["clean"], batch["label"], mix(0, epoch, batch["index"]))
        assert torch.equal(batch["image"], expected)
    assert not torch.equal(spy.batches[0]["image"], spy.batches[2]["image"]), "a new epoch draws new noise"


def test_no_training_attack_is_standard_training(make_trainer, noise_loader, pixel_network):
    spy = Spy()
    make_trainer(callbacks=[Attack(None), spy]).fit(Classifier(pixel_network), noise_loader())
    assert torch.equal(torch.cat([batch["image"] for batch in spy.batches]), noise_loader().dataset.image)


def test_fraction_attacks_its_share_of_samples_whatever_the_batch_size(make_trainer, noise_loader, pixel_network):
    attacked = {}
    for batch_size in (10, 25):
        spy = Spy()
        module = Classifier(pixel_network, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))
        attack = Attack(FGSM(Linf(EPS)), fraction=0.3)
        make_trainer(callbacks=[attack, spy]).fit(module, noise_loader(batch_size, length=200, size=2))
        moved = [(batch["image"] != batch["clean"]).flatten(1).any(1) for batch in spy.batches]
        attacked[batch_size] = torch.cat(moved)
    assert torch.equal(attacked[10], attacked[25])
    assert 0.2 < attacked[10].float().mean() < 0.4


@pytest.mark.parametrize("inference_mode", [True, False])
@pytest.mark.parametrize("command", ["validate", "test"])
def test_evaluation_adds_attacked_versions_that_hurt(make_trainer, noise_loader, inference_mode, command):
    network = nn.Conv2d(3, 3, 1)
    with torch.no_grad():
        network.weight.copy_(torch.eye(3).view(3, 3, 1, 1) * 50)
        network.bias.zero_()
    loader = noise_loader()
    loader.dataset.image.mul_(0.01).add_(0.5)  # margins below eps: one step flips every pixel
    loader.dataset.label = loader.dataset.image.argmax(1)
    module = Classifier(network)
    spy = Spy()
    attack = Attack(evaluate={"fgsm": FGSM(Linf(EPS)), "pgd": PGD3})
    trainer = make_trainer(callbacks=[attack, spy], inference_mode=inference_mode)
    getattr(trainer, command)(module, loader, verbose=False)
    assert torch.equal(torch.cat([batch["image"] for batch in spy.batches]), loader.dataset.image)
    assert module.results["clean"]["accuracy"] == 1
    assert module.results["fgsm"]["accuracy"] == 0
    assert module.results["pgd"]["accuracy"] < 0.01
    assert set(spy.batches[0]["attacked"]) == {"fgsm", "pgd"}


def test_evaluation_is_the_same_every_time_and_for_any_batch_size(make_trainer, noise_loader, pixel_network):
    images: list[torch.Tensor] = []
    for batch_size in (4, 4, 1):
        spy = Spy()
        trainer = make_trainer(callbacks=[Attack(evaluate={"pgd": PGD3}), spy], precision="64-true")
        trainer.validate(Classifier(pixel_network), noise_loader(batch_size), verbose=False)
        images.append(torch.cat([batch["attacked"]["pgd"] for batch in spy.batches]))
    assert torch.equal(images[0], images[1])
    assert torch.allclose(images[0], images[2], atol=1e-12)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_attack_adds_nothing_to_the_weights_gradients(make_trainer, noise_loader, accumulate):
    """Training with the attack equals training on the same adversarial images made beforehand."""
    torch.manual_seed(0)
    start = nn.Conv2d(3, 3, 3, padding=1).state_dict()

    def train(callbacks, loader):
        network = nn.Conv2d(3, 3, 3, padding=1)
        network.load_state_dict(start)
        module = Classifier(network, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
        make_trainer(callbacks=callbacks, accumulate_grad_batches=accumulate).fit(module, loader)
        return network.weight.detach()

    spy = Spy()
    attacked = train([Attack(PGD3), spy], noise_loader(2, length=8))
    beforehand = noise_loader(2, length=8)
    beforehand.dataset.image = torch.cat([batch["image"] for batch in spy.batches])
    assert torch.equal(attacked, train([], beforehand))
    assert not torch.equal(attacked, train([], noise_loader(2, length=8)))


def test_a_foreign_attack_cannot_disturb_training(make_trainer, noise_loader, pixel_network):
    """An attack with the habits of others: train mode, `.backward()` on the weights, global randomness."""

    def foreign(network, image, label, seed=None, region=None):
        network.train()
        image = (image + 0.01 * torch.randn_like(image)).requires_grad_()
        network.eval()
        nn.functional.cross_entropy(network(image), label, ignore_index=255).backward()
        return (image + 0.01 * image.grad.sign()).clamp(0, 1)

    class Before(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.state = torch.get_rng_state()

    class After(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            self.state = torch.get_rng_state()
            self.grads = [p.grad for p in pl_module.network.parameters()]
            self.modes = [module.training for module in pl_module.network.modules()]

    before, after = Before(), After()
    callbacks = [before, Attack(foreign), after]
    make_trainer(callbacks=callbacks, max_steps=1).fit(Classifier(pixel_network), noise_loader(7))
    assert torch.equal(before.state, after.state)
    assert after.grads == [None] * 6
    assert all(after.modes)


@pytest.mark.parametrize(("twin", "looks"), [("off", 0), ("exact", 3)])  # at the network, at its parts, at the twin
def test_the_network_trains_in_train_mode_and_is_attacked_in_eval_mode(
    make_trainer, noise_loader, pixel_network, twin, looks
):
    modes = []
    pixel_network.register_forward_hook(lambda module, args, output: modes.append(module.training))
    make_trainer(callbacks=[Attack(PGD3, twin=twin)], max_steps=2).fit(Classifier(pixel_network), noise_loader())
    assert modes == [False] * (looks + 3) + [True] + [False] * 3 + [True]
    assert pixel_network[1].num_batches_tracked == 2


def test_what_is_attacked_is_the_twin_and_what_is_measured_the_network(make_trainer, noise_loader, pixel_network):
    class Looks(PGD):
        def perturb(self, network, *args):
            seen.append(network)
            return super().perturb(network, *args)

    for twin, same in (("exact", False), ("off", True), ("bf16", False)):
        seen = []
        module, attack = Classifier(pixel_network), Looks(Linf(0.1), 1)
        callback = Attack(attack, {"pgd": attack}, twin=twin)
        make_trainer(callbacks=[callback], max_steps=1).fit(module, noise_loader(), noise_loader())
        assert {network is pixel_network for network in seen} == {same}
        assert len({id(network) for network in seen}) == (1 if same else len(seen))


def test_a_checkpoint_has_the_same_keys_with_and_without_the_attack(
    make_trainer, noise_loader, pixel_network, tmp_path
):
    keys = []
    for callbacks in ([Attack(PGD3, {"pgd": PGD3})], []):
        trainer = make_trainer(callbacks=callbacks)
        trainer.fit(Classifier(pixel_network), noise_loader(), noise_loader())
        trainer.save_checkpoint(tmp_path / "a.ckpt")
        checkpoint = torch.load(tmp_path / "a.ckpt", weights_only=True)
        keys.append((set(checkpoint), set(checkpoint["state_dict"]), set(checkpoint["callbacks"])))
    assert keys[0] == keys[1]


def test_nothing_moves_outside_the_region(make_trainer, noise_loader, pixel_network):
    loader = noise_loader(7)
    region = torch.zeros(7, 1, 8, 8, dtype=torch.bool)
    region[:, :, :4] = True
    items = [{**loader.dataset[i], "region": region[i]} for i in range(7)]
    spy = Spy()
    make_trainer(callbacks=[Attack(PGD3), spy]).fit(Classifier(pixel_network), torch.utils.data.DataLoader(items, 7))
    (batch,) = spy.batches
    moved = (batch["image"] != batch["clean"]).any(1)
    assert not moved[:, 4:].any() and moved[:, :4].float().mean() > 0.9


def test_a_batch_that_is_no_dict_gets_one_clear_line(make_trainer, pixel_network):
    tuples = torch.utils.data.DataLoader([(torch.rand(3, 8, 8), torch.zeros(8, 8, dtype=torch.long))] * 4, 2)
    with pytest.raises(BatchError, match="a batch is a dict with image, label, index, not a list"):
        make_trainer(callbacks=[Attack(PGD3)]).fit(Classifier(pixel_network), tuples)


@pytest.mark.parametrize(
    "settings",
    [{"fraction": 1.5}, {"evaluate": {"clean": PGD3}}, {"evaluate": {"a.b": PGD3}}, {"evaluate": {"train": PGD3}},
     {"evaluate": {"index": PGD3}}, {"warm_up": -1},
     {"warm_up": float("nan")}],
)  # fmt: skip
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match=r"fraction|name an attack|warm_up=.*: a number of epochs"):
        Attack(PGD3, **settings)


class Frozen(Classifier):
    """A network that training does not change, so that only the attack does."""

    def __init__(self, network):
        network[1].momentum = 0.0
        super().__init__(network, optimizer=lambda p: torch.optim.SGD(p, lr=0.0))


def test_a_warm_up_grows_eps_and_step_size_with_the_optimizers_steps(make_trainer, noise_loader, pixel_network):
    """Four batches of an epoch are two steps: a warm-up of an epoch and a half has 0, 1/3, 2/3 and all of eps."""
    spy, attack = Spy(), PGD(Linf(EPS), steps=3, step_size=0.01)
    options = {"max_epochs": 3, "accumulate_grad_batches": 2}
    trainer = make_trainer(callbacks=[Attack(attack, warm_up=1.5), spy], **options)
    trainer.fit(Frozen(pixel_network), noise_loader(2))
    for position, batch in enumerate(spy.batches):
        share = min(1, position // 2 / 3)
        smaller = PGD(Linf(EPS * share), steps=3, step_size=0.01 * share)
        expected = smaller(pixel_network, batch["clean"], batch["label"], mix(0, position // 4, batch["index"]))
        torch.testing.assert_close(batch["image"], expected)
    assert torch.equal(spy.batches[0]["image"], spy.batches[0]["clean"])
    assert (attack.constraint.eps, attack.step_size) == (EPS, 0.01), "the attack itself does not change"


def test_one_argument_sets_the_radius_of_all_evaluation_attacks(pixel_network):
    ball = Linf(0.03)
    train = PGD(ball, steps=3, step_size=0.01)
    evaluate = {
        "pgd": train,
        "fgsm": FGSM(ball),
        "autoattack": AutoAttack(ball),
        "others": Ensemble([PGD(Linf("0.03"), steps=10), Transfer(PGD(ball, steps=5), pixel_network)]),
    }
    attack = Attack(train, evaluate, eps="8/255")
    found = [part for each in attack.evaluate.values() for part, _ in parts(each)]
    assert {part.constraint.eps for part in found if hasattr(part, "constraint")} == {8 / 255}
    grown = (8 / 255) / 0.03
    expected = [0.01 * grown, 0.03 * grown, 0.0075 * grown, 0.015 * grown]
    assert [part.step_size for part in found if isinstance(part, PGD)] == pytest.approx(expected)
    assert attack.train is train and (train.step_size, ball.eps) == (0.01, 0.03), "the training attack is untouched"
    assert Attack(train, evaluate).evaluate is evaluate
    assert repr(Attack(evaluate={"pgd": train}, eps=0.06).evaluate["pgd"].constraint) == "Linf(eps=0.06)"


def test_an_evaluation_at_another_radius_stays_in_it(make_trainer, noise_loader, pixel_network):
    spy = Spy()
    trainer = make_trainer(callbacks=[Attack(evaluate={"pgd": PGD3}, eps=0.1), spy])
    trainer.test(Classifier(pixel_network), noise_loader(), verbose=False)
    moved = max(float((batch["attacked"]["pgd"] - batch["image"]).abs().max()) for batch in spy.batches)
    assert EPS < moved <= 0.1 + 1e-6


@pytest.mark.parametrize(
    ("evaluate", "eps", "message"),
    [({"noise": GaussianNoise(0.1)}, 0.1, r"eps=0.1: noise, GaussianNoise\(std=0.1\), has no constraint Linf or L2"),
     ({"two": Ensemble([PGD3, GaussianNoise(0.1)])}, 0.1, r"two, GaussianNoise\(std=0.1\), has no constraint"),
     ({"a": lambda network, image, label, seed=None, region=None: image}, 0.1, "a, <lambda>, has no constraint"),
     ({"a": FGSM(Linf(0.1)), "b": FGSM(Linf(0.2))}, 0.3, r"must have one norm and radius, not Linf 0.1, Linf 0.2;"),
     ({"a": FGSM(Linf(0.1)), "b": FGSM(L2(0.1))}, 0.3, "not L2 0.1, Linf 0.1; leave eps out"),
     ({"a": FGSM(Linf(0))}, 0.3, "not Linf 0; leave eps out"),
     ({}, 0.3, "must have one norm and radius, not none"),
     ({"a": FGSM(Linf(0.1))}, 8, "write 8/255"),
     ({"a": FGSM(Linf(0.1))}, "much", "'much' is no number")],
)  # fmt: skip
def test_a_radius_that_not_all_can_have_is_refused_in_one_line(evaluate, eps, message):
    with pytest.raises(ValueError, match=message) as caught:
        Attack(PGD3, evaluate, eps=eps)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("train", [FGSM(L2(0.5)), PGD(L2(0.5), steps=2)])
def test_a_warm_up_is_the_same_after_a_resume(make_trainer, noise_loader, pixel_network, tmp_path, train):
    def run(epochs, ckpt_path=None):
        spy = Spy()
        trainer = make_trainer(callbacks=[Attack(train, warm_up=2), spy], max_epochs=epochs)
        trainer.fit(Frozen(pixel_network), noise_loader(), ckpt_path=ckpt_path)
        trainer.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return [batch["image"] for batch in spy.batches]

    whole = run(3)
    run(1)
    for one, other in zip(whole[2:], run(3, tmp_path / "1.ckpt"), strict=True):
        assert torch.equal(one, other)


def test_a_warm_ups_eps_is_logged(make_trainer, noise_loader, pixel_network):
    class Logged(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            eps.append(float(trainer.callback_metrics["attack/eps"]))

    eps: list[float] = []
    callbacks = [Attack(PGD3, warm_up=2), Logged()]
    make_trainer(callbacks=callbacks, max_epochs=3).fit(Classifier(pixel_network), noise_loader())
    assert eps == pytest.approx([0, EPS / 4, EPS / 2, 3 * EPS / 4, EPS, EPS])


def test_a_warm_up_needs_a_ball_that_can_grow(make_trainer, pixel_network):
    for train in (GaussianNoise(0.1), lambda network, image, label, seed=None, region=None: image):
        with pytest.raises(ValueError, match="has no constraint Linf or L2 to grow; set warm_up to 0"):
            Attack(train, warm_up=1)
    Attack(None, warm_up=1)  # standard training with the same config

    class Endless(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter([{"image": torch.rand(3, 8, 8), "label": torch.zeros(8, 8).long(), "index": 0}] * 4)

    with pytest.raises(MisconfigurationException, match="the data have no length"):
        loader = torch.utils.data.DataLoader(Endless(), 2)
        make_trainer(callbacks=[Attack(PGD3, warm_up=1)]).fit(Classifier(pixel_network), loader)


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_trades_trains_on_both_versions_of_the_image(make_trainer, noise_loader, pixel_network, fraction):
    spy = Spy()
    attack = Attack(PGD(Linf(EPS), steps=2, objective=KLDivergence), fraction=fraction)
    module = Classifier(pixel_network, TRADES(), optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
    trainer = make_trainer(callbacks=[attack, spy], precision="bf16-mixed", max_epochs=2)
    trainer.fit(module, noise_loader(4))
    assert pixel_network[1].num_batches_tracked == 2 * 4, "each step shows it the clean and the attacked images"
    assert trainer.callback_metrics["train/loss"].isfinite()


def test_trades_without_an_attack_ends_in_one_clear_line(make_trainer, noise_loader, pixel_network):
    with pytest.raises(MisconfigurationException, match=r"attack\.train is null"):
        make_trainer(callbacks=[Attack(None)]).fit(Classifier(pixel_network, TRADES()), noise_loader())


# The contract of attacks of others; its parts are tested in tests/attacks/test_contract.py.


def nan(network, image, label, seed=None, region=None):
    return image * float("nan")


def ends(network, image, label, seed=None, region=None):
    return next(iter(()))


@pytest.mark.parametrize(("attack", "part"), [(nan, "NaN"), (ends, "StopIteration")])
@pytest.mark.parametrize("stage", ["validate", "test", "fit"])
def test_a_breach_of_contract_names_the_attacks_place_in_the_config(
    make_trainer, noise_loader, pixel_network, stage, attack, part
):
    with pytest.raises(MisconfigurationException, match=one_line("attack.evaluate.mine: ", part)):
        trainer = make_trainer(callbacks=[Attack(evaluate={"mine": attack})])
        getattr(trainer, stage)(Classifier(pixel_network), *[noise_loader()] * (2 if stage == "fit" else 1))
    for fraction in (1, 0.9):
        with pytest.raises(MisconfigurationException, match=one_line("attack.train: ", part)):
            trainer = make_trainer(callbacks=[Attack(attack, fraction=fraction)])
            trainer.fit(Classifier(pixel_network), noise_loader())


@pytest.mark.parametrize(
    "attack",
    [lambda network, image, label: image, lambda image: image, PGD, "PGD"],
    ids=["three", "one", "class", "word"],
)
def test_what_cannot_be_called_like_an_attack_is_told_at_once(attack):
    with pytest.raises(
        ValueError, match=one_line("evaluate.mine: ", "must be callable as attack(network, image, label")
    ):
        Attack(evaluate={"mine": attack})
    with pytest.raises(ValueError, match=one_line("train: ", "must be callable")) as told:
        Attack(attack)
    assert " at 0x" not in str(told.value)


def test_a_module_is_held_to_its_forward():
    class Brighter(torch.nn.Module):
        def forward(self, network, image, label):
            return (image + 0.1).clamp(max=1)

    with pytest.raises(ValueError, match=one_line("evaluate.mine: ", "unexpected keyword argument 'seed'")):
        Attack(evaluate={"mine": Brighter()})
