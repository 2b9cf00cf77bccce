"""`cli.py paint`, as a person types it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from saved_run import save_run
from test_cli import QUICK
from tiny_data import picture, write_images

from callbacks import Inpainting, Synthesis
from cli import main

QUICKLY = ["--task.constraint", "3", "--task.steps", "3", "--task.step_size", "0.5"]
FEW = [*QUICKLY, "--task.size", "8"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SADDLE_DEBUG", raising=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the quickstart, shrunken."""
    runs = tmp_path_factory.mktemp("trained")
    main(["fit", *QUICK, "--runs", str(runs)])
    return str(runs / "quickstart")


@pytest.fixture
def photos(tmp_path):
    """Three pictures of three sizes: `first` of 48 x 64 pixels, `second` of 56 x 40, `below/third` of 40 x 40, grey."""
    write_images(tmp_path / "photos")
    return tmp_path / "photos"


def paint(*args, skipped=0):
    """What `paint.json` says."""
    command = ["paint", *map(str, args)]
    if skipped:
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 1
    else:
        main(command)
    out = args[args.index("--out") + 1] if "--out" in args else "painted"
    told = json.loads(Path(out, "paint.json").read_text())
    assert len(told["skipped"]) == skipped
    return told


def error_of(capsys, *args):
    with pytest.raises(SystemExit) as ended:
        main(["paint", *map(str, args)])
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    return line


def pixels(path):
    with Image.open(path) as found:
        return np.asarray(found.convert("RGB"))


def written(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_mask(path, size, inside=(slice(2, 9), slice(3, 11))):
    mask = np.zeros(size, dtype=np.uint8)
    mask[inside] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)


@pytest.mark.parametrize("task", ["Inpainting", "Generation", "LargeEps", "GradientPictures"])
def test_a_trained_run_paints_on_files_under_their_names_and_at_their_sizes(task, trained, photos, capsys):
    settings = [] if task == "GradientPictures" else QUICKLY
    told = paint(task, "--run", trained, "--images", "photos", *settings)
    assert set(told["pictures"]) == {"first", "second", "below/third"}
    for name, size in (("first", (48, 64)), ("second", (56, 40)), ("below/third", (40, 40))):
        entry = told["pictures"][name]
        (result,) = entry["painted"]["quickstart"]
        assert result["files"] == [f"{name}.png"] and entry["size"] == list(size)
        assert pixels(Path("painted", f"{name}.png")).shape == (*size, 3)
        assert set(result["seen"]) <= {"background", "disc", "square", "triangle", "cross"}
    assert pixels("painted/contact_sheet.png").shape[0] > 3 * 100
    assert told["networks"]["quickstart"]["size"] == 16, "what its evaluation makes of images"
    assert "3 pictures painted: painted/contact_sheet.png, painted/paint.json" in capsys.readouterr().out
    assert not [path for path in Path("painted").rglob("*") if path.name.startswith(".first")]


def test_maps_that_random_weights_give_too_are_told(trained, photos, capsys):
    settings = ["--task.methods", "[vanilla]", "--task.randomization", "3"]
    told = paint("SensitivityMaps", "--run", trained, "--images", "photos", *settings)
    (result,) = told["pictures"]["second"]["painted"]["quickstart"]
    assert result["files"] == [
        "second_vanilla.png",
        "second_vanilla_randomized.png",
        "second_vanilla_randomization.json",
    ]
    last = json.loads(Path("painted", result["files"][2]).read_text())[-1]
    assert last["rank"] == pytest.approx(result["scores"]["vanilla_rank_random"], abs=1e-4)
    ranks = [told["scores"]["quickstart"][f"vanilla_rank_{name}"] for name in ("stages", "random")]
    note = "quickstart: vanilla: as layers become random from the output down, the map stays much the same"
    assert (note in " ".join(capsys.readouterr().out.split())) == (max(ranks) > 0.5)


def test_a_picture_that_is_turned_by_exif_is_painted_upright(trained):
    Path("photos").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(0, 40, 60)).save("photos/turned.jpg", exif=exif)
    paint("Generation", "--run", trained, "--images", "photos", *QUICKLY)
    assert pixels("painted/turned.png").shape == (60, 40, 3)


def test_one_file_is_painted_too(trained, photos):
    assert set(paint("LargeEps", "--run", trained, "--images", "photos/second.png", *QUICKLY)["pictures"]) == {"second"}


def test_runs_stand_side_by_side_each_in_a_folder(photos):
    one, other = save_run(Path("runs/one")), save_run(Path("runs/other"), factor=0.5)
    told = paint("LargeEps", "--run", one, "--run", other, "--images", "photos", *QUICKLY)
    for run in ("one", "other"):
        assert told["pictures"]["first"]["painted"][run][0]["files"] == [f"{run}/first.png"]
    assert Path("painted/one/first.png").read_bytes() != Path("painted/other/first.png").read_bytes()
    alone = paint("LargeEps", "--run", other, "--images", "photos", "--out", "alone", *QUICKLY)
    assert Path("alone/first.png").read_bytes() == Path("painted/other/first.png").read_bytes()
    assert alone["networks"]["other"]["sha256"] == told["networks"]["other"]["sha256"]
    twice = paint("LargeEps", "--run", one, "--run", one, "--images", "photos", "--out", "twice", *QUICKLY)
    assert set(twice["networks"]) == {"one", "one-2"}


def test_a_network_goes_by_its_name(photos):
    network = ["--network.name", "resnet_small", "--network.num_classes", "4"]
    with pytest.warns(UserWarning, match="an untrained network paints"):
        told = paint("LargeEps", *network, "--images", photos, "--size", "16", *QUICKLY)
    assert set(told["pictures"]["first"]["painted"]) == {"resnet_small"}
    with pytest.warns(UserWarning, match="an untrained network paints"):
        paint("LargeEps", *network, "--images", photos, "--size", "16", "--out", "again", *QUICKLY)
    assert Path("again/first.png").read_bytes() == Path("painted/first.png").read_bytes()


def test_outside_an_exact_mask_every_pixel_is_that_of_the_file(photos):
    run = save_run(Path("run"))
    for name, size in (("first", (48, 64)), ("second", (56, 40)), ("below/third", (40, 40))):
        write_mask(Path("masks", f"{name}.png"), size)
    exact = ["--masks", "masks", "--task.exact", "true"]
    paint("Inpainting", "--run", run, "--images", "photos", *exact, *QUICKLY)
    for path in sorted(photos.rglob("*.*")):
        if path.suffix == ".txt":
            continue
        name = path.relative_to(photos).with_suffix(".png")
        stored, found, inside = pixels(path), pixels("painted" / name), pixels("masks" / name) > 127
        assert (found[~inside] == stored[~inside]).all()
        assert (found[inside] != stored[inside]).mean() > 0.5


def test_one_mask_does_for_all_pictures_of_its_size(photos):
    write_mask(Path("mask.png"), (48, 64))
    told = paint(
        "Inpainting", "--run", save_run(Path("run")), "--images", "photos", "--masks", "mask.png", *QUICKLY, skipped=2
    )
    assert set(told["pictures"]) == {"first"}
    assert (
        "mask.png: the mask is 48 x 64 pixels, and its picture photos/second.png 56 x 40" in told["skipped"]["second"]
    )


def test_label_maps_say_what_is_wanted(photos):
    run = save_run(Path("run"))
    for name, size in (("first", (48, 64)), ("second", (56, 40)), ("below/third", (40, 40))):
        label = Image.fromarray(np.full(size, 1, dtype=np.uint8))
        Path("labels", name).parent.mkdir(parents=True, exist_ok=True)
        label.save(Path("labels", f"{name}.png"))
    strong = ["--task.constraint", "30", "--task.steps", "20", "--task.step_size", "2"]
    told = paint("Generation", "--run", run, "--images", "photos", "--labels", "labels", "--judge", run, *strong)
    assert all(entry["painted"]["run"][0]["seen"]["road"] > 0.9 for entry in told["pictures"].values())
    assert told["scores"]["run"]["judged"] > 0.9, "the judge is the painter here"
    assert told["judge"]["checkpoint"] == "run/checkpoints/last.ckpt"
    assert told["sets"]["run"]["note"].startswith("no Inception Score and no FID"), "the judge ends in no linear map"


def test_classes_come_as_predict_writes_them(photos):
    run = save_run(Path("run"), "saved_run.colour", ["red", "green", "blue"], {"resize": 24})
    Path("classes.json").write_text(json.dumps({"photos/first.jpg": "blue", "second": 2, "below/third.JPG": "red"}))
    strong = ["--task.constraint", "30", "--task.steps", "20", "--task.step_size", "2", "--task.start", "mean"]
    told = paint("Generation", "--run", run, "--images", "photos", "--labels", "classes.json", *strong)
    assert [[*entry["painted"]["run"][0]["seen"]] for entry in told["pictures"].values()] == [
        ["red"],
        ["blue"],
        ["blue"],
    ]
    assert [entry["sources"]["label"] for entry in told["pictures"].values()] == ["red", "blue", 2]


def test_pairs_are_the_next_picture_or_files_of_the_same_names(photos):
    run = save_run(Path("run"), "saved_run.colour", data={"resize": 24})
    task = ["Interpolation", "--run", run, "--images", "photos", *QUICKLY, "--task.points", "3"]
    told = paint(*task)
    first = told["pictures"]["first"]
    assert first["sources"]["other"] == told["pictures"]["second"]["sources"]["image"]
    assert told["pictures"]["second"]["sources"]["other"] == told["pictures"]["below/third"]["sources"]["image"]
    assert [result["variant"] for result in first["painted"]["run"]] == ["at_0.00", "at_0.50", "at_1.00"]
    assert Path("painted/first_at_0.00_strip.png").is_file()
    assert (
        paint(*task, "--others", "photos", "--out", "same")["pictures"]["first"]["sources"]["other"]
        == (first["sources"]["image"])
    )


def test_a_strip_and_an_animation_of_the_way(photos):
    run = save_run(Path("run"))
    told = paint("LargeEps", "--run", run, "--images", "photos/first.jpg", *QUICKLY, "--task.frames", "3")
    assert told["pictures"]["first"]["painted"]["run"][0]["files"] == ["first.png", "first_way.png", "first_way.gif"]
    with Image.open("painted/first_way.gif") as way, Image.open("painted/first_way.png") as strip:
        assert way.n_frames == 4 and strip.size == (4 * 32 + 3 * 2, 24)


def test_a_larger_result_keeps_its_size(photos):
    run = save_run(Path("run"), "saved_run.colour")
    small = ["--size", "full", "--task.given", "small", "--task.factor", "2"]
    paint("SuperResolution", "--run", run, "--images", "photos", *small, *QUICKLY)
    assert pixels("painted/first.png").shape == pixels("painted/first_bicubic.png").shape == (96, 128, 3)


def test_what_is_painted_does_not_depend_on_the_batch(photos):
    """Beyond the rounding of float64, that is: the files are the same."""
    run = save_run(Path("run"))
    for number in range(5):
        Image.fromarray(picture(number + 3, 48, 64)).save(f"photos/more{number}.png")
    task = ["Inpainting", "--run", run, "--images", "photos", "--seed", "3", *FEW]
    for size in ("1", "4", "6"):
        paint(*task, "--batch_size", size, "--out", f"by{size}")
    assert written(Path("by1")).keys() == written(Path("by4")).keys()
    png = [{name: value for name, value in written(Path(f"by{n}")).items() if name.endswith("g")} for n in (1, 4, 6)]
    assert png[0] == png[1] == png[2]
    Path("photos/more0.png").unlink()
    paint(*task, "--out", "fewer")
    assert Path("fewer/more1.png").read_bytes() == Path("by1/more1.png").read_bytes(), "nor on the other pictures"
    task[task.index("3")] = "4"
    paint(*task, "--out", "other")
    assert Path("other/more1.png").read_bytes() != Path("by1/more1.png").read_bytes(), "the holes are elsewhere"


def interrupt_after(monkeypatch, batches):
    synthesize, left = Synthesis.synthesize, [batches]

    def interrupted(self, network, batch):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return synthesize(self, network, batch)

    monkeypatch.setattr(Synthesis, "synthesize", interrupted)


def test_an_interrupted_painting_goes_on_where_it_stopped(photos, monkeypatch, capsys):
    one, other = save_run(Path("runs/one")), save_run(Path("runs/other"), factor=0.5)
    Path("photos/bad.png").write_text("no picture")
    task = ["Inpainting", "--run", one, "--run", other, "--images", "photos", *FEW]
    paint(*task, "--out", "whole", skipped=1)
    for batches in (0, 2, 2):
        with monkeypatch.context() as patched, pytest.raises(SystemExit) as ended:
            interrupt_after(patched, batches)
            main(["paint", *map(str, task)])
        assert ended.value.code == 130
        assert "the same command goes on where this one stopped" in capsys.readouterr().err
    assert (
        sum(len(entry["painted"]) for entry in json.loads(Path("painted/paint.json").read_text())["pictures"].values())
        == 4
    )
    paint(*task, skipped=1)
    assert written(Path("painted")) == written(Path("whole"))
    times = {path: path.stat().st_mtime_ns for path in Path("painted").glob("one/**/*.png")}
    paint(*task, skipped=1)
    assert times == {path: path.stat().st_mtime_ns for path in Path("painted").glob("one/**/*.png")}, "all was done"


def test_a_picture_that_has_changed_or_whose_result_is_gone_is_painted_again(photos):
    task = ["LargeEps", "--run", save_run(Path("run")), "--images", "photos", *QUICKLY]
    before = paint(*task)
    results = {name: Path("painted", f"{name}.png").read_bytes() for name in before["pictures"]}
    Path("painted/second.png").unlink()
    Image.fromarray(picture(9, 48, 64)).save("photos/first.jpg")
    paint(*task)
    assert Path("painted/first.png").read_bytes() != results["first"]
    assert Path("painted/second.png").read_bytes() == results["second"]


def test_other_settings_in_the_same_folder_are_refused_and_nothing_is_touched(photos, capsys):
    run = save_run(Path("run"))
    task = ["LargeEps", "--run", run, "--images", "photos"]
    paint(*task, *QUICKLY)
    before = written(Path("painted"))
    line = error_of(capsys, *task, *QUICKLY, "--seed", "1")
    assert line == "error: --out painted: was painted with other settings, seed 0, now 1; name a new folder"
    assert 'arguments {"constraint"' in error_of(capsys, *task, *QUICKLY, "--task.steps", "4")
    assert written(Path("painted")) == before
    Path("other").mkdir()
    Path("other/mine.txt").write_text("")
    line = error_of(capsys, *task, *QUICKLY, "--out", "other")
    assert line == "error: --out other: holds other things than paintings; name a new folder"
    assert "--out photos: these are the pictures" in error_of(capsys, *task, *QUICKLY, "--out", "photos")
    assert "first.jpg: is a file" in error_of(capsys, *task, *QUICKLY, "--out", "photos/first.jpg")
    Path("painted/paint.json").write_text("{}")
    assert "painted/paint.json: not as `paint` writes it" in error_of(capsys, *task, *QUICKLY)


def test_results_below_the_pictures_are_no_pictures(photos):
    run = save_run(Path("run"))
    for _ in range(2):
        told = paint("LargeEps", "--run", run, "--images", "photos", "--out", "photos/painted", *QUICKLY)
        assert set(told["pictures"]) == {"first", "second", "below/third"}


def test_bad_files_are_named_and_skipped_and_the_others_are_painted(photos, capsys):
    run = save_run(Path("run"))
    Path("photos/bad.png").write_text("no picture")
    Path("photos/phone.heic").write_bytes(b"0123")
    whole = Path("photos/first.jpg").read_bytes()
    Path("photos/cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(picture(5, 48, 64)).save("photos/contact_sheet.png")
    told = paint("LargeEps", "--run", run, "--images", "photos", *QUICKLY, skipped=4)
    assert set(told["pictures"]) == {"first", "second", "below/third"}
    assert set(told["skipped"]) == {"bad", "phone", "cut", "contact_sheet"}
    lines = capsys.readouterr().err.splitlines()
    for name in ("bad.png", "phone.heic", "cut.jpg", "contact_sheet.png"):
        assert sum(line.startswith(f"skipped: photos/{name}: ") for line in lines) == 1
    for _ in range(2):
        paint("LargeEps", "--run", run, "--images", "photos", *QUICKLY, skipped=4)


def test_a_network_that_meets_nan_is_told_and_the_others_are_painted(photos, monkeypatch):
    run = save_run(Path("run"))

    def broken(self, network, batch):
        paintings = painted(self, network, batch)
        for painting in paintings:
            painting.result[batch["index"] == batch["index"].max()] = torch.nan
        return paintings

    painted = Inpainting.synthesize
    for number in range(3):
        Image.fromarray(picture(number + 3, 56, 40)).save(f"photos/more{number}.png")
    monkeypatch.setattr(Inpainting, "synthesize", broken)
    told = paint("Inpainting", "--run", run, "--images", "photos", *FEW, skipped=3)
    assert len(told["pictures"]) == 3
    assert all("run met NaN or infinity" in reason for reason in told["skipped"].values())


MISTAKES = [
    (["Inpaintng"], "paint: no task is called Inpaintng; did you mean Inpainting?"),
    ([], "paint: name a task first; there are DecisionInsight, FeatureAddition"),
    (["--run", "run"], "paint: name a task first; there are "),
    (["Synthesis"], "paint Synthesis: is no task itself"),
    (["EMA"], "paint: no task is called EMA (EMA is another kind); there are "),
    (["mine.Task"], "paint: mine.Task: no module mine; its folder must be on PYTHONPATH"),
    (["Inpainting", "--task.samples", "3"], "--task.samples: all pictures of --images are painted; --samples 8"),
    (["Inpainting", "--task.every_n_epochs=2"], "--task.every_n_epochs: there are no epochs here; leave it out"),
    (["Inpainting", "--task.judge", "x"], "--task.judge: give the network's run as --judge"),
    (["Inpainting", "--run", "run"], "no pictures; give --images FOLDER"),
    (["Inpainting", "--images", "photos"], "paint: no network; give --run RUN, or --network.name"),
    (["Inpainting", "--run", "rum", "--images", "photos"], "--run rum: no such run; did you mean run?"),
    (["Inpainting", "--run", "photos", "--images", "photos"], "--run photos: no run: there is no photos/config.yaml"),
    (["--images", "nowhere"], "--images nowhere: no such file or folder"),
    (["--images", "empty"], "--images empty: no pictures in it"),
    (["--task.weight", "-1"], "Inpainting: weight=-1.0: a number, 0 or more"),
    (["--task.wieght", "1"], "unrecognized arguments: --task.wieght 1; did you mean task.weight?"),
    (["--task.weight", "null"], "task.weight: Expected a <class 'float'>, not None"),
    (["--task.steps", "many"], "task.steps: Expected a <class 'int'>, not many"),
    (["--task.frames", "900"], "Inpainting: frames=900: between 0 and the number of steps"),
    (["--size", "-3"], "--size -3: is the short side in pixels, or full"),
    (["--batch_size", "0"], "batch_size: Not of type PositiveInt"),
    (["--masks", "nowhere"], "--masks nowhere: no such file or folder"),
    (["--masks", "empty"], "--masks empty: no pictures in it"),
    (["--masks", "others"], "--masks others: none is of a picture's name; a mask of below/third is called like it"),
    (["--labels", "nowhere.json"], "--labels nowhere.json: no such file or folder"),
    (["--labels", "none.json"], "--labels none.json: names none of the pictures, such as below/third"),
    (["--labels", "list.json"], "--labels list.json: classes are {\"picture\": \"class\"}, as `predict` writes"),
    (["--labels", "broken.json"], "--labels broken.json: no JSON of classes ("),
    (["--labels", "classes.json"], "--labels: say one class for each image, and run says a class for each pixel"),
    (["--labels", "photos/notes.txt"], "none of the 3 pictures can be painted: photos/notes.txt: corrupt or truncated"),
    (["--masks", "black.png"], "none of the 3 pictures can be painted: black.png: the mask has no pixel inside"),
    (["--images", "bad"], "none of the 2 pictures can be painted: bad/one.png: corrupt or truncated image"),
    (["--labels", "wrong.json"], "--labels: no class 'roda'; did you mean road?"),
    (["--labels", "many.json"], "--labels: no class 3; they are 0 to 2"),
    (["--judge", "nowhere"], "--judge nowhere: no such run"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "line"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_a_mistake_is_one_line_before_any_work(args, line, photos, capsys):
    save_run(Path("run"))
    Path("empty").mkdir()
    write_mask(Path("others/elsewhere.png"), (48, 64))
    write_mask(Path("black.png"), (40, 40), slice(0))
    Path("bad").mkdir()
    for name in ("one", "other"):
        Path("bad", f"{name}.png").write_text("no picture")
    for name, content in {
        "none": '{"x": "sky"}',
        "list": '["sky"]',
        "broken": "{",
        "classes": '{"first": "sky", "second": "sky", "below/third": "sky"}',
        "wrong": '{"first": "roda"}',
        "many": '{"first": 3}',
    }.items():
        Path(f"{name}.json").write_text(content)
    task = args if (args[:1] and not args[0].startswith("--")) or args[:1] in ([], ["--run"]) else None
    given = ["Inpainting", "--run", "run", "--images", "photos", *FEW, *args] if task is None else args
    assert line in error_of(capsys, *given)
    assert not Path("painted").exists()


def test_what_a_task_cannot_do_is_told_before_any_work(photos, capsys):
    maps, classes = save_run(Path("maps")), save_run(Path("classes"), "saved_run.colour", data={"resize": 24})
    target = ["--images", "photos", *QUICKLY, "--task.target"]
    line = error_of(capsys, "Translation", "--run", maps, "--run", classes, *target, "raod")
    assert line == "error: Translation: target=raod: no class is called so; did you mean road?"
    line = error_of(capsys, "Inversion", "--run", classes, "--images", "photos", "--task.layer", "nowhere", *QUICKLY)
    assert line.startswith("error: Inversion: layer=nowhere")
    line = error_of(capsys, "Generation", "--run", maps, "--judge", classes, "--images", "photos", *QUICKLY)
    assert line.startswith("error: Generation: judge: tells")
    assert "has no scores" in error_of(capsys, "GradientPictures", "--run", maps, "--judge", maps, "--images", "photos")
    line = error_of(capsys, "Interpolation", "--run", classes, "--images", "photos/first.jpg", *QUICKLY)
    assert line == "error: --images: pairs are painted; give another picture, or --others"
    if not torch.cuda.is_available():
        line = error_of(capsys, "LargeEps", "--run", maps, "--images", "photos", "--device", "cuda", *QUICKLY)
        assert line == "error: --device cuda: there is no GPU that torch can use; take auto or cpu"
    assert not Path("painted").exists()


def test_a_task_of_ones_own_paints(photos, tmp_path, monkeypatch):
    Path("mine.py").write_text(
        "from callbacks import Synthesis\n"
        "from callbacks.synthesis.base import Plan, labels_of\n"
        "from attacks import CrossEntropy\n"
        "class Mine(Synthesis):\n"
        "    task = 'mine'\n"
        "    def __init__(self, brightness: float = 0.5, **kwargs):\n"
        "        super().__init__(1.0, 2, 0.1, **kwargs)\n"
        "        self.brightness = brightness\n"
        "    def plans(self, network, batch, seed):\n"
        "        start = batch['image'] * self.brightness\n"
        "        label = labels_of(network, batch)\n"
        "        yield Plan(start, CrossEntropy(network, start, label), self.constraint, 'darker')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    told = paint("mine.Mine", "--run", save_run(Path("run")), "--images", "photos", "--task.brightness", "0.25")
    assert told["settings"]["arguments"] == {"brightness": 0.25, "frames": 0, "twin": "exact"}
    assert pixels("painted/first_darker.png").mean() < 0.4 * pixels("photos/first.jpg").mean()


@pytest.mark.parametrize("args", [["--help"], ["Translation", "--help"]])
def test_help(args, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["paint", *args])
    assert not ended.value.code
    shown = capsys.readouterr().out
    assert "usage: cli.py paint" in shown and "--images" in shown
    assert ("--task.target" in shown) == (len(args) == 2) and "--task.samples" not in shown


def test_validation_samples_of_the_run_are_painted_with_their_labels(trained):
    paint("Generation", "--task.steps", "2", "--run", trained, "--samples", "3", "--out", "p")
    images = sorted(path.name for path in next(Path("p/given").glob("samples_3_*/images")).iterdir())
    assert len(images) == 3 and images == sorted(path.name for path in Path("p").glob("0*.png"))
    record = json.loads(Path("p/paint.json").read_text())
    assert all("label" in picture["sources"] for picture in record["pictures"].values())
    before = written(Path("p"))
    paint("Generation", "--task.steps", "2", "--run", trained, "--samples", "3", "--out", "p")
    assert written(Path("p")) == before


def test_a_picture_is_generated_from_a_label_map_that_was_drawn(trained):
    Path("drawn").mkdir()
    label = np.zeros((16, 24), np.uint8)
    label[4:12, 8:16] = 2
    Image.fromarray(label).save("drawn/square.png")
    paint("Generation", "--task.steps", "2", "--run", trained, "--labels", "drawn", "--out", "p")
    assert pixels("p/square.png").shape == (16, 24, 3)
    assert pixels("p/square.png").std() > 0


@pytest.mark.parametrize(
    ("args", "line"),
    [([], "paint: no pictures; give --images FOLDER, or --samples 8 of the run"),
     (["--samples", "2", "--images", "photos"], "--images photos and --samples 2: the one or the other"),
     (["--samples", "0"], "samples"),
     (["--samples", "2", "--task.targets", "[zzz]"], "targets=zzz: no class is called")],
)  # fmt: skip
def test_pictures_that_are_not_there_are_told_and_nothing_is_left(args, line, trained, photos, capsys):
    assert line in error_of(capsys, "Generation", "--run", str(trained), "--out", "p", *args)
    assert not Path("p").exists()


def test_samples_are_written_into_no_folder_of_something_else(trained, capsys):
    task = ["Generation", "--task.steps", "2", "--run", trained, "--samples"]
    paint(*task, "3", "--out", "p")
    before = written(Path("p"))
    assert "samples 3, now 2" in error_of(capsys, *task, "2", "--out", "p")
    assert written(Path("p")) == before
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("")
    assert "mine: holds other things than paintings" in error_of(capsys, *task, "3", "--out", "mine")
    assert [path.name for path in Path("mine").iterdir()] == ["letter.txt"]
