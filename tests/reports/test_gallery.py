import json
import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import pytest
from PIL import Image

from reports.files import ReportError
from reports.gallery import is_ours, save_picture, write_page
from reports.paintings import Seen, Task

METRICS = {"clean": {"accuracy": 0.9123, "miou": 0.5, "samples": 4}, "pgd": {"accuracy": 0.25, "miou": 0.125}}


def make_run(
    folder, task="inpainting", samples=("0003",), epochs=(0,), given=("original", "label", "start"), metrics=METRICS
):
    """A run's folder as the callbacks leave it."""
    for sample in samples:
        for name in (*given, *(f"epoch_{epoch:04}" for epoch in epochs)):
            save_picture(Image.new("RGB", (8, 8)), folder / "gallery" / task / sample / f"{name}.png")
    folder.mkdir(parents=True, exist_ok=True)
    if metrics is not None:
        (folder / "results.json").write_text(json.dumps({"metrics": metrics}))
    return folder


class Page(HTMLParser):
    """The pictures (alt, src), the texts and the tags of a page."""

    def __init__(self, path):
        super().__init__()
        self.pictures, self.texts, self.tags = [], [], []
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append((dict(attrs)["alt"], dict(attrs)["src"]))

    def handle_data(self, data):
        if data.strip():
            self.texts.append(data.strip())

    @property
    def kinds(self):
        return [kind for kind, _ in self.pictures]


def linked_files(page, path):
    """The files that a browser opens for the page's pictures."""
    addresses = [urlsplit(source) for _, source in page.pictures]
    assert not any(address.scheme or address.netloc for address in addresses), "no server is needed"
    return [path.parent / unquote(address.path) for address in addresses]


def test_the_page_of_a_run_shows_given_pictures_then_epochs_in_order(tmp_path):
    run = make_run(tmp_path / "at50", epochs=(10, 2, 0))
    path = run / "gallery" / "index.html"
    write_page([run], path)
    page = Page(path)
    assert page.kinds == ["original", "label", "start", "epoch 1", "epoch 3", "epoch 11"]
    expected = [f"{name}.png" for name in ("original", "label", "start", "epoch_0000", "epoch_0002", "epoch_0010")]
    assert [source for _, source in page.pictures] == [f"inpainting/0003/{name}" for name in expected]
    assert all(file.is_file() for file in linked_files(page, path))


def test_tasks_and_samples_have_their_own_strips(tmp_path):
    run = make_run(tmp_path / "at50", samples=("0001", "0000"))
    make_run(run, task="generation", samples=("0007",), given=("start",))
    write_page([run], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    titles = [text for text in page.texts if text in ("Generation", "Inpainting") or text.startswith("sample")]
    assert titles == ["Generation", "sample 0007", "Inpainting", "sample 0000", "sample 0001"]
    assert page.kinds[:2] == ["start", "epoch 1"]
    assert "generation/0007" in page.pictures[0][1]


def test_two_runs_are_shown_below_each_other_with_the_given_pictures_once(tmp_path):
    runs = [make_run(tmp_path / "robust", epochs=(0, 1)), make_run(tmp_path / "standard", epochs=(1,))]
    path = tmp_path / "report" / "page.html"
    write_page(runs, path)
    page = Page(path)
    assert page.kinds == ["original", "label", "start", "epoch 1", "epoch 2", "epoch 2"]
    assert ["standard" in source for _, source in page.pictures] == [False] * 5 + [True]
    assert all(file.is_file() for file in linked_files(page, path))
    assert "robust and standard" in page.texts


def test_a_sample_that_only_the_second_run_has_is_shown_with_its_given_pictures(tmp_path):
    runs = [make_run(tmp_path / "one", samples=("0000",)), make_run(tmp_path / "two", samples=("0000", "0001"))]
    write_page(runs, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    second = [source for _, source in page.pictures if "0001" in source]
    assert [os.path.basename(source) for source in second] == [
        "original.png",
        "label.png",
        "start.png",
        "epoch_0000.png",
    ]
    assert all(source.startswith("two/") for source in second)


def test_a_number_that_stands_for_two_images_is_two_samples(tmp_path):
    """As when one run painted validation images, and the other test images."""
    runs = [make_run(tmp_path / name, epochs=(1,)) for name in ("fit", "again", "test")]
    save_picture(Image.new("RGB", (8, 8), "red"), runs[2] / "gallery" / "inpainting" / "0003" / "original.png")
    write_page(runs, tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    given = ["original", "label", "start"]
    assert page.kinds == [*given, "epoch 2", "epoch 2", *given, "epoch 2"]
    assert all(source.startswith("test/") for _, source in page.pictures[5:])


@pytest.mark.parametrize("name", ["<b>bold & run", "run #2", "eps 50%", "what?", 'the "best"', "é: 1", "%41"])
def test_any_name_of_a_run_is_shown_and_linked(tmp_path, name):
    run = make_run(tmp_path / name)
    path = tmp_path / "page.html"
    write_page([run], path)
    page = Page(path)
    assert page.texts.count(run.name) >= 3, "in the title, in the table and beside the strip"
    assert "b" not in page.tags
    assert [file for file in linked_files(page, path) if not file.is_file()] == []


@pytest.mark.parametrize("task", ["inpainting", "my <i>task"])
def test_the_name_of_a_task_is_escaped(tmp_path, task):
    run = make_run(tmp_path / "run", task=task)
    write_page([run], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert "i" not in page.tags
    assert any(text.lower() == task for text in page.texts)


@pytest.mark.parametrize("page", ["page.html", "away/from/here.html", "runs/one/gallery/index.html"])
@pytest.mark.parametrize("absolute", [(False, False), (False, True), (True, False), (True, True)])
def test_a_page_may_lie_anywhere(tmp_path, monkeypatch, page, absolute):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "one")
    given_run, given_page = (
        tmp_path / p if whole else p for p, whole in zip(("runs/one", page), absolute, strict=True)
    )
    write_page([Path(given_run)], Path(given_page))
    files = linked_files(Page(tmp_path / page), tmp_path / page)
    assert len(files) == 4 and all(file.is_file() for file in files)


def test_metrics_are_shown_in_percent(tmp_path):
    run = make_run(tmp_path / "at50")
    write_page([run], tmp_path / "page.html")
    texts = Page(tmp_path / "page.html").texts
    rows = {"clean accuracy": "91.2 %", "clean mIoU": "50.0 %", "pgd accuracy": "25.0 %", "pgd mIoU": "12.5 %"}
    assert {name: texts[texts.index(name) + 1] for name in rows} == rows


def test_what_cannot_be_trusted_is_noted_below_the_table(tmp_path):
    check = {"name": "gradients are seldom zero", "passed": False, "found": "97 % are exactly zero"}
    run = make_run(tmp_path / "masked")
    results = {"metrics": METRICS, "sanity": {"passed": False, "checks": [check]}}
    (run / "results.json").write_text(json.dumps(results))
    write_page([run], tmp_path / "page.html")
    texts = Page(tmp_path / "page.html").texts
    assert "12.5 %*" in texts and "50.0 %" in texts
    assert any("masked may hide its gradients" in text and "97 % are exactly zero" in text for text in texts)


def test_a_sweep_of_eps_is_drawn(tmp_path):
    run = make_run(tmp_path / "at8")
    attacks = {
        f"pgd{eps}": {"class": "PGD", "constraint": {"class": "Linf", "eps": eps / 255}, "steps": 10} for eps in (4, 8)
    }
    metrics = {"clean": {"accuracy": 0.9}, "pgd4": {"accuracy": 0.6}, "pgd8": {"accuracy": 0.3}}
    (run / "results.json").write_text(json.dumps({"metrics": metrics, "attacks": attacks}))
    write_page([run], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.tags.count("polyline") == 1 and page.tags.count("circle") == 3
    assert "4/255" in page.texts and "at8: PGD-10" in page.texts


def test_an_evaluation_of_an_older_version_claims_no_epoch(tmp_path):
    run = make_run(tmp_path / "at50_test")
    (run / "results.json").write_text(json.dumps({"metrics": METRICS, "command": "test"}))
    write_page([run], tmp_path / "page.html")
    assert Page(tmp_path / "page.html").kinds == ["original", "label", "start", "result"]


def test_below_a_painting_stands_what_the_network_sees_and_below_the_label_map_its_classes(tmp_path):
    run = make_run(tmp_path / "at50", given=("original", "label", "start", "prediction_0000"))
    seen = Seen(classes=[0, 2, 255, 7])
    Task({}, ["background", "<i>cat", "dog"], {"0003": seen}).write(run / "gallery" / "inpainting")
    write_page([run], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.kinds == ["original", "label", "start", "epoch 1", "seen in epoch 1"]
    assert all(file.is_file() for file in linked_files(page, tmp_path / "page.html"))
    legend = page.texts[page.texts.index("sample 0003") + 1 :][:4]
    assert legend == ["background", "dog", "class 7", "void"], "and none that does not occur"
    assert all(color in (tmp_path / "page.html").read_text() for color in ("#000000", "#008000", "#ffffff"))


def test_of_image_labels_the_caption_says_what_the_network_sees(tmp_path):
    run = make_run(tmp_path / "at", given=("original", "start"), epochs=(0, 7))
    seen = Seen(label="cat", predictions={"epoch_0007.png": "<i>dog 93 %"})
    Task({}, [], {"0003": seen}).write(run / "gallery" / "inpainting")
    write_page([run], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.kinds == ["original", "start", "epoch 1", "epoch 8: <i>dog 93 %"]
    assert "sample 0003: cat" in page.texts and "i" not in page.tags


@pytest.mark.parametrize("same", [True, False])
def test_how_a_task_painted_stands_in_its_heading(tmp_path, same):
    runs = [make_run(tmp_path / name) for name in "ab"]
    for run, steps in zip(runs, (60, 60 if same else 20), strict=True):
        settings = {"constraint": {"class": "L2", "eps": 20.0}, "steps": steps, "step_size": 0.25, "size": [24, 24]}
        Task(settings).write(run / "gallery" / "inpainting")
    write_page(runs, tmp_path / "page.html")
    texts = Page(tmp_path / "page.html").texts
    said = "L2 20, {} steps of 0.25, size 24 x 24"
    heading = [said.format(60)] if same else [f"a: {said.format(60)}", f"b: {said.format(20)}"]
    assert texts[texts.index("Inpainting") + 1 :][: len(heading)] == heading


def test_what_is_told_of_the_pictures_stands_above_them(tmp_path):
    runs = [make_run(tmp_path / name) for name in ("at50", "plain")]
    Task(notes=["guided: <much> the same"]).write(runs[1] / "gallery" / "inpainting")
    write_page(runs, tmp_path / "page.html")
    assert "plain: guided: <much> the same" in Page(tmp_path / "page.html").texts


def test_a_damaged_file_of_a_task_is_passed_over_with_a_note(tmp_path):
    run = make_run(tmp_path / "at50")
    (run / "gallery" / "inpainting" / "task.json").write_text("{")
    write_page([run], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.kinds == ["original", "label", "start", "epoch 1"]
    assert any("at50: gallery/inpainting/task.json is passed over" in text for text in page.texts)


def test_a_sample_without_pictures_is_not_shown(tmp_path):
    run = make_run(tmp_path / "at50")
    (run / "gallery" / "inpainting" / "0009").mkdir()
    (run / "gallery" / "inpainting" / "0003" / "original.png").write_text("no picture")
    write_page([run], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.kinds == ["label", "start", "epoch 1"]
    assert "sample 0009" not in page.texts


def test_names_of_any_bytes_are_linked(tmp_path):
    run = make_run(tmp_path / os.fsdecode(b"a\xff"), task=os.fsdecode(b"\x1b[2Jt"))
    write_page([run], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    sources = [unquote_to_bytes(source) for _, source in page.pictures]
    assert len(sources) == 4 and all((tmp_path / os.fsdecode(source)).is_file() for source in sources)
    assert "\x1b" not in (tmp_path / "page.html").read_text()


def test_a_page_of_ours_is_known(tmp_path):
    write_page([make_run(tmp_path / "at50")], tmp_path / "page.html")
    (tmp_path / "other.html").write_text("<!doctype html><html><head><title>Mine</title></head></html>")
    assert is_ours(tmp_path / "page.html")
    assert not is_ours(tmp_path / "other.html") and not is_ours(tmp_path)


def test_a_run_without_results_has_a_gallery_all_the_same(tmp_path):
    """While it trains, there are none."""
    run = make_run(tmp_path / "at50", metrics=None)
    write_page([run], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.kinds == ["original", "label", "start", "epoch 1"]
    assert "table" not in page.tags


def test_a_run_without_a_gallery_has_its_metrics_shown(tmp_path):
    write_page([make_run(tmp_path / "at50", samples=())], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.pictures == []
    assert "91.2 %" in page.texts


def test_files_of_others_in_the_gallery_do_no_harm(tmp_path):
    run = make_run(tmp_path / "at50")
    for name in ("gallery/.DS_Store", "gallery/inpainting/notes.txt", "gallery/inpainting/0003/.epoch_0001.png.77"):
        (run / name).write_text("")
    write_page([run], tmp_path / "page.html")
    page = Page(tmp_path / "page.html")
    assert page.kinds == ["original", "label", "start", "epoch 1"]
    assert page.tags.count("h2") == 1
    assert sum(text.startswith("sample") for text in page.texts) == 1


def test_a_broken_results_file_leaves_the_page_as_it_was(tmp_path):
    run = make_run(tmp_path / "at50")
    write_page([run], tmp_path / "page.html")
    before = (tmp_path / "page.html").read_text()
    (run / "results.json").write_text("{")
    with pytest.raises(ReportError, match=r"results\.json"):
        write_page([run], tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == before


def test_a_picture_is_saved_as_png_pixel_by_pixel(tmp_path):
    picture = Image.linear_gradient("L").resize((16, 16)).convert("RGB")
    save_picture(picture, tmp_path / "gallery" / "0000" / "start.png")
    saved = Image.open(tmp_path / "gallery" / "0000" / "start.png")
    assert saved.format == "PNG" and saved.tobytes() == picture.tobytes()
    assert os.listdir(tmp_path / "gallery" / "0000") == ["start.png"]
