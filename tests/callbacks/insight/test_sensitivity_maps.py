import json

import pytest
import torch
from networks import fcn, per_pixel, ragged_labels, seeded, uniform
from one_line import one_line
from PIL import Image
from torch import nn

from attacks.seeds import mix
from callbacks import SensitivityMaps
from callbacks.insight import sensitivity
from callbacks.insight.gradient_pictures import gradient_picture
from callbacks.insight.map_pictures import absolute
from callbacks.insight.randomization import DEPENDS_HARDLY
from lightning_modules import Classifier, Network
from reports.paintings import read_task

ALL = ["vanilla", "loss", "guided", "smoothgrad", "integrated"]


def classifier():
    network = seeded(lambda: Network("resnet_small", 4)).double()
    network.model.backbone[0][1].running_mean.copy_(uniform(16) - 0.5)  # or it would be linear on any ray from grey
    return network


@pytest.fixture
def batch():
    return {"image": uniform(3, 3, 16, 16), "label": torch.tensor([0, 2, 3]), "index": torch.tensor([4, 9, 1])}


def dense():
    return {"image": uniform(4, 3, 6, 6), "label": ragged_labels(), "index": torch.arange(4)}


def test_each_method_is_a_picture_of_its_map(batch):
    network = classifier()
    paintings = SensitivityMaps(ALL, points=5).synthesize(network, batch)
    assert [painting.variant for painting in paintings] == ALL
    assert network.training
    image, label, seed = batch["image"], batch["label"], mix(batch["index"])
    network.eval()
    expected = {method: getattr(sensitivity, method)(network, image, label) for method in ALL[:3]}
    expected["smoothgrad"] = sensitivity.smoothgrad(network, image, label, seed, points=5)
    expected["integrated"] = sensitivity.integrated(network, image, label, points=5)
    for painting in paintings:
        assert torch.allclose(painting.result, gradient_picture(expected[painting.variant]))
        assert torch.equal(painting.original, image) and torch.allclose(painting.logits, network(image))
    assert len({painting.result.sum().item() for painting in paintings}) == len(ALL)


@pytest.mark.parametrize("network", [classifier, fcn])
def test_nothing_depends_on_the_batch(network, batch):
    given = dense() if network is fcn else batch
    task = SensitivityMaps(ALL, points=4, randomization=2)
    together = task.synthesize(network(), given)
    for i in range(len(given["image"])):
        alone = task.synthesize(network(), {key: value[i : i + 1] for key, value in given.items()})
        for one, all_ in zip(alone, together, strict=True):
            assert torch.allclose(one.result[0], all_.result[i], atol=1e-6)
            assert torch.allclose(one.beside["randomized"][0], all_.beside["randomized"][i], atol=1e-6)
            for name, values in one.scores.items():
                assert torch.allclose(values[0], all_.scores[name][i], atol=1e-4, equal_nan=True)


def test_a_target_is_asked_about_instead_of_the_label(batch):
    task, network = SensitivityMaps(["vanilla"], target="b"), classifier()
    task.classes = ["a", "b", "c", "d"]
    (painting,) = task.synthesize(network, batch)
    expected = sensitivity.vanilla(network.eval(), batch["image"], torch.tensor([1, 1, 1]))
    assert torch.allclose(painting.result, gradient_picture(expected))


def seen_at(painting):
    return (painting.result != 0.5).any(1)


def test_of_a_label_map_the_pixels_of_the_target_count_or_those_of_a_mask():
    given, network = dense(), per_pixel()
    (painting,) = SensitivityMaps(["vanilla"]).synthesize(network, given)
    assert torch.equal(seen_at(painting), given["label"] != 255)
    (painting,) = SensitivityMaps(["vanilla"], target=1).synthesize(network, given)
    assert torch.equal(seen_at(painting), given["label"] == 1)
    mask = torch.zeros(4, 1, 6, 6, dtype=torch.bool)
    mask[..., 2:5] = True
    (painting,) = SensitivityMaps(["vanilla"], target=1).synthesize(network, {**given, "mask": mask})
    assert torch.equal(seen_at(painting), mask[:, 0] & (given["label"] != 255))
    counts = seen_at(painting)[0]
    weight = network.weight[1, :, 0, 0].detach()
    expected = gradient_picture((counts[None] * weight.view(3, 1, 1))[None])
    assert torch.allclose(painting.result[:1], expected), "the target's logit, whatever the label"


def test_without_labels_it_is_asked_about_the_prediction(batch):
    network = classifier().eval()
    (painting,) = SensitivityMaps(["vanilla"], display="absolute").synthesize(network, {"image": batch["image"]})
    predicted = network(batch["image"]).argmax(1)
    assert torch.allclose(painting.result, absolute(sensitivity.vanilla(network, batch["image"], predicted)))


class ByTheImage(nn.Module):
    """Its map is the image, whatever its weights are: a rectifier of what was learnt."""

    def __init__(self):
        super().__init__()
        self.fc, self.first = nn.Linear(3, 4), nn.Conv2d(3, 3, 1)

    def forward(self, image):
        learnt = self.fc(self.first(image).mean((2, 3)))
        return image.square().sum((1, 2, 3))[:, None] + 0 * learnt


def test_a_map_that_does_not_depend_on_the_network_is_told(batch):
    task = SensitivityMaps(["vanilla"], randomization=2)
    (painting,) = task.synthesize(ByTheImage().double(), batch)
    assert torch.allclose(painting.scores["vanilla_rank_random"], torch.ones(3))
    assert torch.allclose(painting.scores["vanilla_ssim_random"], torch.ones(3))
    assert torch.allclose(painting.scores["vanilla_rank_stages"], torch.ones(3))
    for scores in ({"vanilla_rank_random": 1.0}, {"vanilla_rank_random": 0.1, "vanilla_rank_stages": 0.9}):
        (note,) = task.notes(scores)
        assert note.startswith("vanilla: as layers become random") and "\n" not in note
        assert all(f"{value:.2f}" in note for value in scores.values())
    assert not task.notes({"vanilla_rank_random": DEPENDS_HARDLY, "loss_rank_random": 1.0}) and not task.notes({})


def test_the_stages_stand_beside_and_in_a_table(batch):
    task = SensitivityMaps(["vanilla", "guided"], randomization=8)
    network = classifier()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for painting in task.synthesize(network, batch):
        assert painting.beside["randomized"].shape == (3, 3, 16, 5 * 16)
        (table, *_) = painting.tables["randomization"]
        assert [row["randomized"] for row in table][:2] == ["model.fc", "model.backbone.3.0 to 1"]
        for name in ("rank", "ssim"):
            (score,) = [value for key, value in painting.scores.items() if key == f"{painting.variant}_{name}_random"]
            assert table[-1][name] == pytest.approx(float(score[0]), abs=1e-4)
            if name == "rank":
                mean = sum(row[name] for row in table) / len(table)
                assert float(painting.scores[f"{painting.variant}_rank_stages"][0]) == pytest.approx(mean, abs=1e-4)
            assert all(-1 <= row[name] <= 1 for row in table) and len({row[name] for row in table}) > 2
        assert float(painting.scores[f"{painting.variant}_rank_random"].max()) < 0.99
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "line"),
    [({"methods": []}, "methods=[]"), ({"methods": ["loss", "loss"]}, "each once"),
     ({"methods": ["vanila"]}, "methods: vanila: did you mean vanilla?"), ({"methods": ["lrp"]}, "lrp: none of"),
     ({"display": "rgb"}, "display=rgb: none of channels, signed, absolute"), ({"points": 0}, "points=0"),
     ({"chunk": 0}, "chunk=0"), ({"sigma": -0.1}, "sigma=-0.1"), ({"randomization": 1}, "randomization=1"),
     ({"randomization": -2}, "randomization=-2")],
)  # fmt: skip
def test_settings_out_of_their_range(settings, line):
    with pytest.raises(ValueError, match=one_line(line)):
        SensitivityMaps(**settings)


@pytest.mark.parametrize(
    ("task", "changes", "line"),
    [(SensitivityMaps(target=4), {}, "target=4: the network tells 4 classes apart"),
     (SensitivityMaps(target=-1), {}, "target=-1: classes are numbered from 0"),
     (SensitivityMaps(target="cat"), {}, "target=cat: no class is called so"),
     (SensitivityMaps(), {"label": torch.tensor([0, 4, 1])}, "class 4 is wanted, and the network tells 4"),
     (SensitivityMaps(), {"label": torch.zeros(3, 16, 16, dtype=torch.long)}, "the labels are a class for each pixel"),
     (SensitivityMaps(), {"mask": torch.zeros(3, 1, 16, 16, dtype=torch.bool)}, "a mask has no pixel inside")],
)  # fmt: skip
def test_what_does_not_fit_is_told_at_the_first_look(task, changes, line, batch):
    with pytest.raises(ValueError, match=one_line(line)):
        task.check(classifier(), {**batch, **changes})


def test_a_network_without_relus_has_no_guided_map(batch):
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 4)).double()
    with pytest.raises(ValueError, match=one_line("guided: a network without ReLUs")):
        SensitivityMaps().check(network, batch)
    SensitivityMaps(["vanilla", "loss"]).check(network, batch)


def test_it_says_how_many_steps_it_takes(batch):
    task, steps = SensitivityMaps(ALL, points=6, randomization=2), []
    task.check(classifier(), batch)
    task.tick = steps.append
    task.synthesize(classifier(), batch)
    assert sum(steps) == task.ticks == 3 * 15


@pytest.mark.parametrize("is_dense", [True, False])
def test_it_shows_maps_and_notes_while_a_network_trains(make_trainer, noise_loader, tmp_path, is_dense):
    network = nn.Conv2d(3, 3, 1) if is_dense else nn.Sequential(nn.Conv2d(3, 3, 8), nn.Flatten())
    task = SensitivityMaps(["vanilla"], randomization=2, samples=2)
    loader = noise_loader(dense=is_dense)
    task.notes = lambda scores: [f"rank {scores['vanilla_rank_random']:.1f}"]
    trainer = make_trainer(callbacks=[task])
    with pytest.warns(UserWarning, match="sensitivity_maps: rank"):
        trainer.fit(Classifier(network), loader, loader)
    folder = tmp_path / "gallery" / "sensitivity_maps"
    samples = sorted(each for each in folder.glob("*/"))
    assert [each.name for each in samples] == ["000000_vanilla", "000003_vanilla"]
    table = json.loads((samples[0] / "randomization_0000.json").read_text())
    assert [row["randomized"] for row in table] == ["network" if is_dense else "0"]
    with Image.open(samples[0] / "randomized_0000.png") as strip:
        assert strip.size == (8, 8)
    (note,) = read_task(folder).notes
    assert note == f"rank {task.results['vanilla_rank_random']:.1f}"
    assert note in (tmp_path / "gallery" / "index.html").read_text()
