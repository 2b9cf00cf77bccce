"""What an evaluation measures of each sample, kept as it goes."""

import csv
import io
import json
import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from callbacks.attack import attack_of
from callbacks.evaluation.bootstrap import intervals
from callbacks.evaluation.worst_case import chosen, worst_case
from lightning_modules.counts import Counts, Outcome
from reports.files import write_whole
from reports.intervals import Interval

LAYOUT = 2
"""Of the lines below; records of another layout are not gone on with."""

Record = dict[str, Any]
"""Of one sample: `index`; `classes`, their number; by version of the image `counts`, `{class: [true positives, false
positives, false negatives]}` without those of all zeros, and `loss`; by attack `cost`, forwards, backwards, seconds;
`winners`, by ensemble the attack that its image is from."""


_KEYS = {"index", "classes", "counts", "loss", "cost", "winners"}


class Records(Callback):
    """Keeps what `validate` and `test` measure of each sample, and goes on where an evaluation was interrupted.

    Each process adds a line per sample to a file in `<run>/records/`; what has its line there is not attacked again. At
    the end there are `<run>/records.jsonl`, all lines in order, and `<run>/samples.csv`: index and name, the share of
    right pixels (0 or 1, for image-level labels) in every version of the image, and for each of the attacks' `worst`
    groups the lowest of them and which one that is; likewise, which attack of an `Ensemble` won.

    Args:
        key: tells this evaluation from every other; it is kept with the lines, by which an interrupted run is found.
    """

    def __init__(self, key: str = "") -> None:
        self.key = key
        self.records: dict[int, Record] = {}
        self.intervals: dict[str, dict[str, Interval]] = {}
        """Of label maps, by version of the image and by `worst` group: see `callbacks.evaluation.bootstrap`."""
        self._file: TextIO | None = None
        self._dense = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            return
        folder = _folder(trainer)
        self.records, self.intervals = _read(folder), {}
        if trainer.is_global_zero:
            write_whole(folder / "key", self.key)
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"{trainer.global_rank}.jsonl").open("a")
        self._file.write("\n")  # the last line may have been torn

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Put what is known into the batch, if all of it is."""
        if self._file is None:
            return
        index = batch["index"][pl_module.owned(batch["index"])].tolist()  # type: ignore[operator]
        if index and all(i in self.records for i in index):
            batch["measured"] = _as_outcome([self.records[i] for i in index], pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._dense = batch["label"].ndim > 1
        if self._file is None or "measured" in batch:
            return
        costs = {name: [value / len(batch["index"]) for value in cost] for name, cost in batch.get("cost", {}).items()}
        mine = pl_module.owned(batch["index"]).nonzero().flatten().tolist()  # type: ignore[operator]
        for i, record in zip(mine, _as_records(outputs), strict=True):
            winners = {name: names[i] for name, names in batch.get("winners", {}).items()}
            self._file.write(json.dumps({**record, "cost": costs, "winners": winners}) + "\n")
        self._file.flush()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._file is None:
            return
        self._close()
        trainer.strategy.barrier()  # all processes have written
        self.records = _read(_folder(trainer))
        validating = trainer.state.fn == TrainerFn.VALIDATING
        records = list(self.records.values())
        scores: dict[str, list[float]] = {}
        winners: dict[str, list[str]] = {}
        for record in records:
            for version, sparse in record["counts"].items():
                scores.setdefault(version, []).append(_score(sparse))
            for name, winner in record["winners"].items():
                winners.setdefault(f"{name}_attack", []).append(winner)
        cpu = torch.device("cpu")
        if self._dense:
            for version in records[0]["counts"] if records else ():
                self.intervals[version] = intervals(_as_outcome(records, cpu, [version])["counts"][version])
        for name, versions in _worst_groups(trainer).items():
            outcome = _as_outcome(records, cpu, versions)
            counts = Counts(*map(torch.stack, zip(*(outcome["counts"][version] for version in versions), strict=True)))
            loss = torch.stack([outcome["loss"][version] for version in versions])
            values, picked, lowest = worst_case(counts, loss, self._dense)
            pl_module.report("val" if validating else "test", name, values)  # type: ignore[operator]
            if self._dense:
                self.intervals[name] = intervals(chosen(counts, picked), chosen(counts, lowest))
            winners[f"{name}_attack"] = won = [versions[attack] for attack in picked.tolist()]
            scores[name] = [scores[version][i] for i, version in enumerate(won)]
        if trainer.is_global_zero:
            loader = trainer.val_dataloaders if validating else trainer.test_dataloaders
            name_of = getattr(loader.dataset, "sample_name", str)  # type: ignore[union-attr]
            columns: dict[str, Iterable[Any]] = {"index": self.records, "name": map(name_of, self.records)}
            columns |= {name: [f"{value:.6g}" for value in score] for name, score in scores.items()}
            run = Path(trainer.default_root_dir)
            write_whole(run / "samples.csv", _csv(columns | winners))
            write_whole(run / "records.jsonl", "".join(json.dumps(each) + "\n" for each in self.records.values()))

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Once the results are written, the lines of the single processes are not needed any more."""
        self._close()
        if trainer.is_global_zero and (Path(trainer.default_root_dir) / "results.json").is_file():
            shutil.rmtree(_folder(trainer), ignore_errors=True)

    on_test_start = on_validation_start
    on_test_batch_start = on_validation_batch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

    def cost(self) -> dict[str, dict[str, float]]:
        """Of each attack: forwards and backwards per image, and seconds in all."""
        costs: dict[str, list[list[float]]] = {}
        for record in self.records.values():
            for name, cost in record["cost"].items():
                costs.setdefault(name, []).append(cost)
        means = {name: [sum(each) / len(rows) for each in zip(*rows, strict=True)] for name, rows in costs.items()}
        return {
            name: {"forwards": forwards, "backwards": backwards, "seconds": seconds * len(costs[name])}
            for name, (forwards, backwards, seconds) in means.items()
        }

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def unfinished(run: Path, key: str) -> bool:
    """Whether a run is an interrupted evaluation of this key."""
    mark = run / "records" / "key"
    return mark.is_file() and mark.read_text() == key and not (run / "results.json").is_file()


def _folder(trainer: Trainer) -> Path:
    return Path(trainer.default_root_dir) / "records"


def _read(folder: Path) -> dict[int, Record]:
    """All whole lines of all processes, by index and in its order."""
    found = {}
    for path in folder.glob("*.jsonl"):
        for line in path.read_text(errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # torn, when the process ended
                continue
            if isinstance(record, dict) and record.keys() == _KEYS:
                found[record["index"]] = record
    return dict(sorted(found.items()))


def _as_records(outcome: Outcome) -> Iterator[Record]:
    for i, index in enumerate(outcome["index"].tolist()):
        record: Record = {"index": index, "classes": 0, "counts": {}, "loss": {}}
        for version, counts in outcome["counts"].items():
            rows = torch.stack([each[i] for each in counts], 1)  # (C, 3)
            record["classes"] = len(rows)
            record["counts"][version] = {c: rows[c].tolist() for c in rows.any(1).nonzero().flatten().tolist()}
            record["loss"][version] = outcome["loss"][version][i].item()
        yield record


def _as_outcome(records: list[Record], device: torch.device, versions: Iterable[str] | None = None) -> Outcome:
    """Of some versions of the images, by default of all."""
    outcome = Outcome(index=torch.tensor([record["index"] for record in records], device=device), counts={}, loss={})
    for version in (versions or records[0]["counts"]) if records else ():
        rows = torch.zeros(len(records), records[0]["classes"], 3, dtype=torch.int32)
        sparse = [record["counts"][version] for record in records]
        places = [(i, int(c)) for i, counts in enumerate(sparse) for c in counts]
        if places:
            values = [row for counts in sparse for row in counts.values()]
            rows[torch.tensor(places).unbind(1)] = torch.tensor(values, dtype=torch.int32)
        outcome["counts"][version] = Counts(*rows.to(device).unbind(2))
        losses = [record["loss"][version] for record in records]
        outcome["loss"][version] = torch.tensor(losses, dtype=torch.float64, device=device)
    return outcome


def _score(counts: dict[str, list[int]]) -> float:
    """A sample's share of right pixels, NaN where all is void."""
    right, missed = (sum(row[i] for row in counts.values()) for i in (0, 2))
    return right / (right + missed) if right + missed else math.nan


def _worst_groups(trainer: Trainer) -> dict[str, list[str]]:
    return attack_of(trainer).worst


def _csv(columns: dict[str, Iterable[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
