import json

import pytest
import yaml
from one_line import one_line

from reports.files import ReportError
from reports.origin import origin
from reports.results import read_results


def make_run(folder, config=None, command="fit", **results):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps({"metrics": {}, "command": command, **results}))
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def of(run):
    return origin(run, read_results(run))


def config(seed=0, lr=0.1, **data):
    return {
        "seed_everything": seed,
        "name": f"run of {seed}",
        "ckpt_path": f"runs/at_seed{seed}/checkpoints/last.ckpt",
        "trainer": {"max_epochs": 3, "default_root_dir": f"runs/{seed}", "logger": {"init_args": {"id": seed}}},
        "model": {"lr": lr, "weights": f"runs/pre_seed{seed}/last.ckpt", "places": [[1, 2], [3, 4]], "loss": None},
        "data": {"class_path": "datamodules.USPS", "init_args": {"root": f"/data{seed}/usps", "flip": 0.5, **data}},
    }


def test_settings_are_what_is_not_one_runs_own(tmp_path):
    first = of(make_run(tmp_path / "a", config(0)))
    assert first.settings == of(make_run(tmp_path / "b", config(1))).settings
    assert first.settings == {
        "trainer.max_epochs": "3",
        "model.lr": "0.1",
        "model.weights": "runs/pre_seed*/last.ckpt",
        "model.places.0": "[1, 2]",
        "model.places.1": "[3, 4]",
        "data.class_path": "datamodules.USPS",
        "data.init_args.flip": "0.5",
    }
    assert (first.network, first.seeds) == ("a", ("0", ""))


@pytest.mark.parametrize("other", [config(1, lr=0.2), config(1, layout="mass"), config(1, flip=0.0)])
def test_any_other_setting_is_a_difference(tmp_path, other):
    assert of(make_run(tmp_path / "a", config(0))).settings != of(make_run(tmp_path / "b", other)).settings


def test_options_of_the_data_are_those_that_change_what_is_evaluated(tmp_path):
    options = {"layout": "mass", "size": 32, "batch_size": 5, "crop": 9, "num_workers": 2}
    found = of(make_run(tmp_path / "a", config(**options)))
    assert (found.options, found.root) == ({"layout": "mass", "size": "32", "crop": "9"}, "usps")
    assert of(make_run(tmp_path / "b", config(eval_size=520, crop=9))).options == {"eval_size": "520"}
    assert of(make_run(tmp_path / "c")).options is None


@pytest.mark.parametrize("checkpoint", ["{}/at_seed1/checkpoints/last.ckpt", "gone/at_seed1/checkpoints/last.ckpt"])
@pytest.mark.parametrize("told", [{"training": {"run": "at_seed1", "seed": 1}}, {}])
def test_an_evaluation_goes_by_the_run_that_trained_its_network(tmp_path, checkpoint, told):
    """Where its checkpoint was, or beside it; a name that the checkpoint itself gives counts most."""
    make_run(tmp_path / "at_seed1", config(1, lr=0.3))
    path = {"path": checkpoint.format(tmp_path), "sha256": "0"}
    found = of(make_run(tmp_path / "at_seed1_test", config(0), "test", checkpoint=path, seed=0, **told))
    assert (found.network, found.seeds) == ("at_seed1", ("1", "0"))
    assert (found.settings["model.lr"], found.settings["training's model.lr"]) == ("0.1", "0.3")


def test_where_the_training_is_gone_the_checkpoint_tells_its_name_and_seed(tmp_path):
    training = {"run": "at_seed1", "seed": 1}
    found = of(make_run(tmp_path / "x_test", config(), "test", training=training, checkpoint={"path": "x.pt"}, seed=0))
    assert (found.network, found.seeds, found.settings) == ("at_seed1", ("1", "0"), None)
    assert of(make_run(tmp_path / "old_test", config(), "test")).network == "old_test"


def test_another_run_in_the_checkpoints_place_is_not_taken_for_it(tmp_path):
    make_run(tmp_path / "at", config(5))
    checkpoint = {"path": str(tmp_path / "at" / "checkpoints" / "last.ckpt")}
    run = make_run(tmp_path / "at_test", config(), "test", checkpoint=checkpoint, training={"run": "at8", "seed": 1})
    assert (of(run).network, of(run).seeds) == ("at8", ("1", ""))


@pytest.mark.parametrize(
    "content", ["a: [", "{" * 200, "? [1]\n: 2", "a: !!python/object:os.system {}", b"\xff\xfe\xfa", "x: " + "[" * 99]
)
def test_a_config_that_cannot_be_read_is_told(tmp_path, content):
    run = make_run(tmp_path / "a")
    (run / "config.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ReportError, match=one_line("a/config.yaml", "no config of a run")):
        of(run)


def test_a_config_that_unfolds_without_end_is_refused(tmp_path):
    run = make_run(tmp_path / "a")
    lines = ["a0: &a0 {k: 1}"] + [f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}" for i in range(1, 30)]
    (run / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(ReportError, match=one_line("a/config.yaml", "more than 10000 settings")):
        of(run)
