import pytest
import torch
from networks import fcn, linear, per_pixel, uniform
from one_line import one_line

from callbacks import SketchToImage, Translation
from lightning_modules import Classifier

IMAGE = uniform(4, 3, 4, 4)
LABEL = torch.tensor([0, 1, 1, 0])


def test_of_two_classes_each_image_becomes_the_other():
    network = linear()
    (painting,) = Translation(steps=50).synthesize(network, {"image": IMAGE, "label": LABEL})
    assert torch.equal(painting.wanted, 1 - LABEL)
    assert torch.equal(painting.logits.argmax(1), 1 - LABEL)


def test_a_linear_classifier_is_followed_along_its_weights():
    """From the middle of the box one step of L2 goes along w_1 - w_0, whatever the logits are."""
    network, grey = linear(), torch.full((1, 3, 4, 4), 0.5, dtype=torch.float64)
    (painting,) = Translation(steps=1, step_size=0.1, target=1).synthesize(network, {"image": grey})
    direction = (network[1].weight[1] - network[1].weight[0]).detach()
    moved = (painting.result - grey).flatten()
    assert torch.allclose(moved, 0.1 * direction / direction.norm())


def test_a_class_goes_by_its_name_and_images_of_another_source_stay():
    task = Translation(target="zebra", source="horse", steps=30)
    task.classes = ["horse", "zebra", "cow"]
    label = torch.tensor([0, 2, 1, 0])
    (painting,) = task.synthesize(linear(3), {"image": IMAGE, "label": label})
    assert painting.variant == "to_zebra"
    assert painting.wanted.tolist() == [1, 2, 1, 1]


def test_of_a_label_map_the_pixels_of_the_source_become_the_target_and_the_rest_stays():
    label = torch.zeros(4, 4, 4, dtype=torch.long)
    label[:, :2], label[:, 3] = 2, 255
    task = Translation(target=1, source=2, steps=100)
    (painting,) = task.synthesize(per_pixel(), {"image": IMAGE, "label": label})
    expected = label.clone()
    expected[:, :2] = 1
    assert painting.wanted.unique().tolist() == [1, 255] and (painting.wanted == 1)[:, :2].all()
    seen = painting.logits.argmax(1)
    assert (seen == expected)[label != 255].float().mean() > 0.9
    (painting,) = Translation(target=1).synthesize(per_pixel(), {"image": IMAGE, "label": label})
    assert painting.wanted.unique().tolist() == [1, 255]


@pytest.mark.parametrize(
    ("setting", "line"),
    [({}, "target: of more than two classes"), ({"target": "zebr"}, "did you mean zebra"),
     ({"target": 1, "source": "zzz"}, "source=zzz: no class is called so"), ({"target": 3}, "target=3: classes are")],
)  # fmt: skip
def test_a_class_that_is_not_there_is_told(setting, line):
    task = Translation(**setting)
    task.classes = ["horse", "zebra", "cow"]
    with pytest.raises(ValueError, match=one_line(line)):
        task.check(linear(3), {"image": IMAGE})


@pytest.mark.parametrize("dense", [True, False])
def test_it_runs_in_a_fit(make_trainer, noise_loader, tmp_path, dense):
    loader = noise_loader(dense=dense)
    network = (fcn() if dense else linear(3, 8)).float()
    tasks = [Translation(target=2, steps=2, samples=3), SketchToImage(target=1, steps=2, samples=2)]
    make_trainer(callbacks=tasks).fit(Classifier(network), loader, loader)
    assert len(list(tmp_path.glob("gallery/translation/*_to_2/epoch_0000.png"))) == 3
    assert len(list(tmp_path.glob("gallery/sketch_to_image/*_to_1/epoch_0000.png"))) == 2
