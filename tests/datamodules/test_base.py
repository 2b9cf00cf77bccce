import pickle
import warnings

import pytest
import torch
from one_line import one_line
from PIL import Image
from tiny_data import CAMVID_CLASSES, VOC_NAMES, write_camvid, write_coco, write_images, write_voc
from torch.utils.data import DataLoader

from datamodules import COCO, VOC, DataError, DataModule, SegmentationFolder, Shapes
from datamodules.base import collate

SMALL = {"crop": 72, "scale": (30, 60), "num_workers": 0}
"""Crops larger than some of the resized images, so that there is padding."""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_coco(root / "coco")
    write_voc(root / "voc")
    write_camvid(root / "camvid")
    return root


def make(name, root, **options):
    """A DataModule over the tiny data set of this name."""
    if name == "shapes":
        return Shapes(**{"train_samples": 10, "val_samples": 4, "size": 24, "batch_size": 4, **options})
    options = {**SMALL, "batch_size": 4, **options}
    if name == "camvid":
        return SegmentationFolder(
            str(root / name), list(CAMVID_CLASSES), "{split}", "{split}annot", void=[11], **options
        )
    return {"coco": COCO, "voc": VOC}[name](str(root / name), **options)


every_data_set = pytest.mark.parametrize("name", ["coco", "voc", "camvid", "shapes"])
on_disk = pytest.mark.parametrize("name", ["coco", "voc", "camvid"])


def check_batch(batch, size, classes):
    assert batch["image"].shape[1] == 3 and len(batch["image"]) == size
    assert batch["image"].dtype == torch.float32
    assert batch["image"].min() >= 0 and batch["image"].max() <= 1 and batch["image"].std() > 0.05
    assert batch["label"].dtype == torch.int64 and batch["label"].shape == (size, *batch["image"].shape[2:])
    assert ((batch["label"] < classes) & (batch["label"] >= 0) | (batch["label"] == 255)).all()
    assert batch["index"].dtype == torch.int64 and batch["index"].shape == (size,)


@every_data_set
def test_training_batches_keep_the_contract(root, name):
    data = make(name, root)
    data.setup("fit")
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.sets["train"]) // 4
    for batch in batches:
        check_batch(batch, 4, len(data.classes))
    indices = torch.cat([batch["index"] for batch in batches]).tolist()
    assert len(set(indices)) == len(indices)


@on_disk
def test_the_region_is_false_exactly_on_padding(root, name):
    torch.manual_seed(0)
    data = make(name, root)
    data.setup("fit")
    for batch in data.train_dataloader():
        region = batch["region"]
        assert region.dtype == torch.bool and region.shape == (4, 1, 72, 72)
        assert 0.1 < region.float().mean() < 0.9
        assert (batch["label"].unsqueeze(1)[~region] == 255).all()
        assert (batch["image"] * ~region == 0).all()
        black = (batch["image"] == 0).all(1, keepdim=True)
        assert (black & region).float().mean() < 0.01, "what is inside the region is a picture"


@every_data_set
@pytest.mark.parametrize("stage", ["validate", "test"])
def test_evaluation_batches_keep_the_contract_and_the_order(root, name, stage):
    data = make(name, root, eval_batch_size=1)
    data.setup(stage)
    batches = list(data.val_dataloader() if stage == "validate" else data.test_dataloader())
    for batch in batches:
        check_batch(batch, 1, len(data.classes))
        assert batch.get("region", torch.ones(1)).all()
    assert torch.cat([batch["index"] for batch in batches]).tolist() == list(range(len(batches)))
    assert len(batches) == len(data.sets["val" if stage == "validate" else "test"])


@every_data_set
def test_the_index_is_the_place_in_the_set(root, name):
    data = make(name, root, **({} if name == "shapes" else {"eval_size": (40, 40)}), batch_size=3)
    data.setup("fit")
    data.sets["train"] = data.make_set("val")  # without augmentation, so that samples can be compared
    for batch in data.train_dataloader():
        for image, label, index in zip(batch["image"], batch["label"], batch["index"].tolist(), strict=True):
            assert torch.equal(image, data.sets["train"][index]["image"])
            assert torch.equal(label, data.sets["train"][index]["label"])


def test_training_samples_come_in_another_order_each_epoch(root):
    torch.manual_seed(0)
    data = make("camvid", root)
    data.setup("fit")
    loader = data.train_dataloader()
    orders = set()
    for epoch in range(4):
        loader.sampler.set_epoch(epoch)
        orders.add(tuple(torch.cat([batch["index"] for batch in loader]).tolist()))
    assert len(orders) == 4
    assert {tuple(sorted(order)) for order in orders} == {tuple(range(8))}


@every_data_set
@pytest.mark.parametrize("split", ["train", "val"])
def test_sets_can_be_sent_to_workers(root, name, split):
    """A spawned worker gets the set pickled."""
    original = make(name, root).make_set(split)
    copy = pickle.loads(pickle.dumps(original))
    assert len(copy) == len(original)
    for index in range(len(original)):
        torch.manual_seed(index)
        expected = original[index]
        torch.manual_seed(index)
        sample = copy[index]
        assert sample.keys() == expected.keys()
        assert all(torch.equal(torch.as_tensor(sample[key]), torch.as_tensor(expected[key])) for key in expected)


@pytest.mark.parametrize("name", ["coco", "shapes"])
def test_a_worker_gives_the_same_samples(root, name):
    batches = []
    for num_workers in (0, 1):
        data = make(name, root, eval_batch_size=1, num_workers=num_workers)
        data.setup("validate")
        batches.append(list(data.val_dataloader()))
    assert len(batches[0]) == len(batches[1]) > 0
    for own, sent in zip(*batches, strict=True):
        assert all(torch.equal(own[key], sent[key]) for key in ("image", "label", "index"))


def test_an_error_in_a_worker_names_the_file(tmp_path):
    write_camvid(tmp_path)
    path = sorted((tmp_path / "val").iterdir())[0]
    path.write_bytes(path.read_bytes()[:300])  # the header is whole
    data = make("camvid", tmp_path.parent)
    data.root = tmp_path
    batches = iter(DataLoader(data.make_set("val"), num_workers=1))  # persistent ones take PyTorch 5 seconds to end
    with pytest.raises(DataError, match=path.name):
        next(batches)
    assert len(list(batches)) == 3, "the worker goes on"


@on_disk
@pytest.mark.parametrize(
    ("eval_size", "expected"),
    [(None, lambda height, width: (height, width)), ((30, 20), lambda height, width: (30, 20)), (32, None)],
)
def test_evaluation_is_at_native_size_or_a_short_side_or_a_fixed_size(root, name, eval_size, expected):
    data = make(name, root, eval_size=eval_size)
    data.setup("validate")
    for path, batch in zip(data.sets["val"].images, data.val_dataloader(), strict=True):
        size = tuple(batch["image"].shape[2:])
        width, height = Image.open(path).size
        if expected is None:
            assert min(size) == 32 and max(size) == 32 * max(height, width) // min(height, width)
        else:
            assert size == expected(height, width)
        assert batch["label"].shape[1:] == size


@pytest.mark.parametrize("name", ["coco", "voc"])
@pytest.mark.parametrize("eval_size", [None, 32])
def test_evaluation_does_not_pad_images_of_several_sizes(root, name, eval_size):
    """These sets are known to have several, which is told before any training."""
    with pytest.raises(DataError, match=one_line("several sizes", "--data.eval_batch_size 1", "--data.eval_size [")):
        make(name, root, eval_size=eval_size, eval_batch_size=2)


def test_a_batch_of_several_sizes_is_told():
    samples = [{"image": torch.zeros(3, height, 4), "index": height} for height in (4, 5)]
    with pytest.raises(DataError, match=one_line("2 sizes", "(4, 4) and (5, 4)", "--data.eval_batch_size 1")):
        collate(samples)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied", "/closed"), OSError(5, "I/O error")])
def test_a_folder_that_is_closed_to_us_is_told(root, monkeypatch, error):
    def closed(self, split):
        raise error

    data = make("coco", root)
    monkeypatch.setattr(type(data), "make_set", closed)
    with pytest.raises(DataError, match=one_line(error.filename or "COCO", "cannot be read", error.strerror)):
        data.setup("fit")


def test_evaluation_batches_of_one_size_are_stacked_and_none_is_dropped(root):
    data = make("voc", root, eval_size=(30, 20), eval_batch_size=2)
    data.setup("validate")
    assert [batch["image"].shape for batch in data.val_dataloader()] == [(2, 3, 30, 20), (1, 3, 30, 20)]


@pytest.mark.parametrize(("batch_size", "batches"), [(10, 1), (4, 2), (3, 3)])
def test_training_drops_the_last_batch_if_it_is_not_full(batch_size, batches):
    data = Shapes(train_samples=10, val_samples=2, size=16, batch_size=batch_size)
    data.setup("fit")
    assert [len(batch["index"]) for batch in data.train_dataloader()] == [batch_size] * batches


def test_a_training_set_that_fills_no_batch_is_told():
    data = Shapes(train_samples=10, val_samples=2, size=16, batch_size=11)
    data.setup("validate")
    with pytest.raises(DataError, match=one_line("10 training samples", "batch of 11", "--data.batch_size")):
        data.setup("fit")


def test_a_stage_reads_the_sets_it_needs_once(root):
    data = make("voc", root)
    data.setup("validate")
    assert data.sets.keys() == {"val"}
    validation = data.sets["val"]
    data.setup("fit")
    data.setup("test")
    assert data.sets.keys() == {"train", "val", "test"}
    assert data.sets["val"] is validation


@every_data_set
def test_the_folder_to_predict_is_read_one_image_at_a_time(root, tmp_path, name):
    paths = write_images(tmp_path)
    data = make(name, root, predict_images=str(tmp_path))
    data.setup("predict")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batches = list(data.predict_dataloader())
    assert [batch["path"] for batch in batches] == [[str(path)] for path in paths]
    assert [batch["index"].tolist() for batch in batches] == [[0], [1], [2]]
    for path, batch in zip(paths, batches, strict=True):
        width, height = Image.open(path).size
        assert [int(side) for side in batch["size"]] == [height, width]
        short = min(height, width) if name == "shapes" else 520
        assert min(batch["image"].shape[2:]) == short
        assert "label" not in batch


def test_predicting_without_a_folder_is_told(root):
    with pytest.raises(DataError, match=one_line("--data.predict_images")):
        make("voc", root).setup("predict")


def test_the_test_set_of_voc_is_its_validation_set(root):
    data = make("voc", root)
    assert [path.stem for path in data.make_set("test").images] == VOC_NAMES["val"]


@every_data_set
def test_the_sizes_of_the_classes_are_those_of_the_whole_training_set(root, name):
    data = make(name, root)
    train = data.make_set("train")
    if name == "shapes":
        labels = [sample["label"].numpy() for sample in train]
    else:
        labels = [train.read_label(index) for index in range(len(train))]
    expected = [sum(int((label == c).sum()) for label in labels) for c in range(len(data.classes))]
    assert data.class_sizes() == expected
    assert len(expected) == len(data.classes) and sum(expected) > 0


def test_the_sizes_of_image_level_classes_are_their_images():
    data = Shapes(labels="class", train_samples=12, val_samples=2, size=16)
    labels = [int(sample["label"]) for sample in data.make_set("train")]
    assert data.class_sizes() == [labels.count(c) for c in range(4)]


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        ((torch.zeros(3, 4, 4), 1), "not a tuple"),
        (None, "not a NoneType"),
        ({"image": "1.png", "label": 1, "index": 0}, "not a dict without a tensor `image`"),
    ],
)
def test_a_sample_that_is_no_dict_is_told(sample, told):
    with pytest.raises(DataError, match=one_line("a sample is a dict of image, label and index, ", told)):
        collate([sample])


class Mine(DataModule):
    """The least that a person's own says."""

    classes = ("dark", "bright")

    def make_set(self, split):
        return [{"image": torch.zeros(3, 4, 4), "label": 0, "index": i} for i in range(5)]


def test_a_data_module_of_ones_own_says_its_classes_and_its_sets():
    data = Mine()
    data.setup("validate")
    data.num_workers = 0
    assert [len(batch["index"]) for batch in data.val_dataloader()] == [1] * 5


def test_two_classes_of_one_name_are_told():
    data = Mine()
    data.classes = ("dark", "bright", "dark")
    with pytest.raises(DataError, match=one_line("Mine: two classes are called 'dark'")):
        data.setup("fit")
