import pytest
import torch

from attacks.exemplars import SIDE, Exemplars


def images(count, classes=3, size=4):
    """Samples of one class each: all pixels of the i-th are i / 100."""
    return [{"image": torch.full((3, size, size), i / 100), "label": i % classes} for i in range(count)]


def maps(count=8, height=10, width=12):
    """Label maps with a 2 x 3 block of class 1 or 2 on class 0, each class of a colour of its own."""
    samples = []
    for i in range(count):
        label = torch.zeros(height, width, dtype=torch.long)
        label[2 + i % 4 : 4 + i % 4, i % 5 : i % 5 + 3] = 1 + i % 2
        image = torch.stack([label == 0, label == 1, label == 2]).float() * (0.5 + i / 100)
        samples.append({"image": image, "label": label})
    return samples


def chances(count, *values):
    return torch.tensor([values]).expand(count, 3)


def test_an_image_is_to_become_another_class_never_its_own():
    exemplars = Exemplars(images(30), 3, 4)
    label = torch.arange(60) % 3
    aim = exemplars.aim(torch.rand(60, 3, 4, 4), label, torch.rand(60, 3))
    assert (aim.label != label).all() and aim.known.all()
    assert all((aim.label[label == c]).unique().numel() == 2 for c in range(3)), "each of the others comes up"


def test_nearest_is_the_nearest_of_the_exemplars_mean_their_mean_and_random_one_of_them():
    data = images(30)
    exemplars = Exemplars(data, 3, 5)
    image, label = torch.full((1, 3, 4, 4), 0.123), torch.tensor([0])
    for towards in ("nearest", "mean", "random"):
        aim = exemplars.aim(image, label, chances(1, 0.0, 0.0, 0.7), towards)
        ours = exemplars.images[int(aim.label)][:, :3].float() / 255
        distances = (ours - image).flatten(1).norm(dim=1)
        expected = {"nearest": ours[distances.argmin()], "mean": ours.mean(0), "random": ours[int(0.7 * 5)]}
        torch.testing.assert_close(aim.direction[0], expected[towards] - image[0])
    assert all(len(each) == 5 for each in exemplars.images)


def test_the_order_is_by_lot_and_the_same_every_time():
    one, other = (Exemplars(images(300), 3, 5) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.images, other.images, strict=True))
    assert one.images[0].float().mean() > 30, "not the first ones"


def test_what_is_skipped_is_no_exemplar():
    exemplars = Exemplars(images(12), 3, 12, skip=range(0, 12, 2))
    seen = {round(float(each) * 100 / 255) for c in exemplars.images for each in c[:, 0, 0, 0]}
    assert seen == {1, 3, 5, 7, 9, 11}


def test_of_many_classes_no_more_is_read_than_asked_for():
    read = []

    class Counted(list):
        def __getitem__(self, place):
            read.append(place)
            return super().__getitem__(place)

    exemplars = Exemplars(Counted(images(100, classes=50)), 50, 20, skip=[3], most=10)
    assert len(read) == 10 == sum(map(len, exemplars.images)) and 3 not in read
    aim = exemplars.aim(torch.rand(30, 3, 4, 4), torch.arange(30), torch.rand(30, 3))
    assert exemplars.known[aim.label].all(), "what has no exemplars is never aimed at"


def test_of_a_label_map_one_class_is_to_become_another_and_the_rest_stays():
    exemplars = Exemplars(maps(), 3, 4)
    sample = maps()[1]
    image, label = sample["image"][None], sample["label"][None]
    aim = exemplars.aim(image, label, chances(1, 0.99, 0.0, 0.0))  # its class 2 to class 0
    assert torch.equal(aim.label, torch.where(label == 2, 0, 255))
    assert not aim.direction[:, :, label[0] != 2].any()
    goal = (image + aim.direction)[0][:, label[0] == 2]
    assert (goal[0] >= 0.5 - 1 / 255).all() and (goal[1:] < 1e-6).all(), "the colour of class 0"


def test_a_cut_out_lies_in_the_middle_of_the_region_amid_the_mean_colour():
    exemplars = Exemplars(maps(), 3, 4)
    sample = maps()[1]
    image, label = sample["image"][None], sample["label"][None].clone()
    aim = exemplars.aim(image, torch.where(label == 2, 0, label), chances(1, 0.0, 0.0, 0.0), "random")
    assert (aim.label == 1).all(), "all of it"
    goal = (image + aim.direction)[0]
    mean, cut_out = exemplars.means[1].flatten(), exemplars.images[1][0, :3].float() / 255
    torch.testing.assert_close(goal[:, 0, 0], mean)
    torch.testing.assert_close(goal[:, 4:6, 5:8], cut_out)  # the middle 2 x 3 of 10 x 12 pixels


def test_void_and_what_has_no_exemplars_is_no_aim():
    exemplars = Exemplars(maps(), 4, 4)
    assert exemplars.known.tolist() == [True, True, True, False]
    image, label = torch.rand(2, 3, 10, 12), torch.full((2, 10, 12), 255)
    label[1, :5] = 1
    aim = exemplars.aim(image, label, torch.rand(2, 3))
    assert aim.known.tolist() == [False, True]
    assert (aim.label[0] == 255).all() and not aim.direction[0].any()
    assert aim.label[1, :5].unique().item() in (0, 2) and (aim.label[1, 5:] == 255).all()


@pytest.mark.parametrize("towards", ["nearest", "mean", "random"])
def test_nothing_depends_on_the_batch(towards):
    exemplars, samples = Exemplars(maps(), 3, 4), maps()
    image, label = (torch.stack([sample[key] for sample in samples]) for key in ("image", "label"))
    chance = torch.rand(8, 3)
    together = exemplars.aim(image, label, chance, towards)
    for i in range(8):
        alone = exemplars.aim(image[[i]], label[[i]], chance[[i]], towards)
        assert torch.equal(alone.label[0], together.label[i])
        assert torch.equal(alone.direction[0], together.direction[i])


def test_a_large_class_is_cut_to_its_middle():
    label = torch.zeros(300, 400, dtype=torch.long)
    label[100:110, :] = 1
    exemplars = Exemplars([{"image": torch.rand(3, 300, 400), "label": label}], 2, 1)
    assert exemplars.images[0].shape == (1, 4, SIDE, SIDE) and exemplars.images[1].shape == (1, 4, 10, SIDE)


def test_too_few_classes_and_several_sizes_are_one_line():
    with pytest.raises(ValueError, match="5 images hold 1 classes: two or more are needed"):
        Exemplars(images(5, classes=1), 3)
    several = [*images(3), *images(3, size=5)]
    with pytest.raises(ValueError, match=r"images of 2 sizes, such as \(4, 4\) and \(5, 5\): give them one size"):
        Exemplars(several, 3)
