import json
from types import SimpleNamespace

import pytest
from lightning.pytorch.loggers import WandbLogger

from callbacks import Dashboard
from callbacks.dashboard import Once, mark_preempting


class Run:
    """What W&B's client does with rows, as far as we see it."""

    def __init__(self, starting_step=0, resumed=False):
        self.starting_step, self.resumed = starting_step, resumed
        self.rows, self.axes, self.preempting = [], [], False

    def log(self, row):
        self.rows.append(row)

    def define_metric(self, name, step_metric=None, step_sync=None):
        self.axes.append((name, step_metric, step_sync))

    def mark_preempting(self):
        self.preempting = True


@pytest.fixture
def begin(tmp_path):
    def begin(run=None, again=False, version="abc", prefix=""):
        run = Run() if run is None else run
        logger = SimpleNamespace(experiment=run, version=version, _prefix=prefix)
        return Once(logger, tmp_path / "wandb" / "logged.jsonl", again), run

    return begin


def test_all_is_drawn_over_our_axis(begin):
    log, run = begin()
    assert run.axes == [("trainer/global_step", None, None), ("*", "trainer/global_step", True)]
    log({"a": 1.0}, 7)
    log({"b": 2.0})
    assert run.rows == [{"a": 1.0, "trainer/global_step": 7}, {"b": 2.0}]


def test_one_process_logs_what_it_is_told(begin):
    """Several rows of a step among them, and steps that go back by one at an epoch's end."""
    log, run = begin()
    for row, step in (({"a": 1}, 4), ({"b": 1, "epoch": 0}, 4), ({"epoch": 0, "c": 1}, 4), ({"a": 2}, 3)):
        log(row, step)
    assert [len(row) - 1 for row in run.rows] == [1, 2, 2, 1]


def test_the_next_one_leaves_out_what_is_there_by_key(begin):
    first, _ = begin()
    for step in (10, 20, 30):
        first({"loss": 1.0}, step)
    first({"miou": 0.5}, 20)
    second, run = begin()
    for step in (20, 30, 40):
        second({"loss": 1.0, "miou": 0.5}, step)
    assert run.rows == [
        {"miou": 0.5, "trainer/global_step": 30},
        {"loss": 1.0, "miou": 0.5, "trainer/global_step": 40},
    ]
    third, run = begin()
    third({"loss": 1.0, "miou": 0.5}, 40)
    assert run.rows == []


def test_what_did_not_arrive_is_logged_again(begin):
    """The server has three rows of four, and says so."""
    first, _ = begin()
    first({"of no step": 1.0})
    for step in (10, 20, 30):
        first({"loss": 1.0}, step)
    second, run = begin(Run(starting_step=3, resumed=True))
    for step in (20, 30):
        second({"loss": 1.0}, step)
    assert [row["trainer/global_step"] for row in run.rows] == [30]
    third, run = begin(Run(starting_step=4, resumed=True))
    third({"loss": 1.0}, 30)
    assert run.rows == []


def test_from_a_checkpoint_of_ones_choice_all_is_logged_and_counts_from_there(begin):
    first, _ = begin()
    first({"loss": 1.0}, 30)
    second, run = begin(again=True)
    second({"loss": 2.0}, 20)
    assert len(run.rows) == 1
    third, run = begin()
    third({"loss": 2.0}, 20)
    third({"loss": 2.0}, 30)
    assert [row["trainer/global_step"] for row in run.rows] == [30]


def test_another_dashboard_starts_anew(begin):
    begin()[0]({"loss": 1.0}, 30)
    log, run = begin(version="def")
    log({"loss": 1.0}, 30)
    assert len(run.rows) == 1


def test_a_prefix_is_of_the_keys_alone(begin):
    log, run = begin(prefix="mine")
    log({"loss": 1.0}, 30)
    assert run.rows == [{"mine-loss": 1.0, "trainer/global_step": 30}]


@pytest.mark.parametrize(
    "broken", ["", "[]", '{"row": 1', '{"row": "x", "step": 1, "keys": ["a"]}', '{"keys": 3}', "null", "[" * 9999]
)
def test_what_cannot_be_read_of_the_file_is_passed_over(begin, tmp_path, broken):
    begin()[0]({"loss": 1.0}, 30)
    path = tmp_path / "wandb" / "logged.jsonl"
    path.write_text(path.read_text() + broken)
    log, run = begin()
    log({"loss": 1.0}, 30)
    assert run.rows == []
    path.write_text(broken)
    log, run = begin()
    log({"loss": 1.0}, 30)
    assert len(run.rows) == 1
    assert json.loads(path.read_text().splitlines()[0]) == {"id": "abc"}


def test_a_file_that_cannot_be_written_is_no_reason_to_stop(begin, tmp_path):
    (tmp_path / "wandb" / "logged.jsonl").mkdir(parents=True)
    log, run = begin()
    log({"loss": 1.0}, 30)
    assert len(run.rows) == 1


class Mine(WandbLogger):
    def __init__(self, run):
        super().__init__(id="abc", experiment=run)

    @property
    def experiment(self):
        return self._experiment

    @property
    def version(self):
        return self._id


@pytest.mark.parametrize(("checkpoint", "rows"), [(None, 0), ("x/last.ckpt", 0), ("x/best.ckpt", 1)])
def test_the_callback_puts_itself_before_the_logger(tmp_path, begin, checkpoint, rows):
    begin()[0]({"picture": 1.0}, 30)
    run = Run()
    logger = Mine(run)
    trainer = SimpleNamespace(
        loggers=[logger, SimpleNamespace()], is_global_zero=True, default_root_dir=tmp_path, ckpt_path=checkpoint
    )
    Dashboard().setup(trainer, None, "fit")
    Dashboard().setup(trainer, None, "fit")
    assert len(run.axes) == 2, "once"
    logger.log_metrics({"picture": 1.0}, step=30)
    assert len(run.rows) == rows
    mark_preempting(trainer)
    assert run.preempting
