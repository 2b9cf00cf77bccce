import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import RichProgressBar

from callbacks import Generation
from callbacks.synthesis.progress_bar import painting_bar
from lightning_modules import Classifier


def test_a_painting_joins_the_runs_progress_bar_and_leaves_it(make_trainer, noise_loader, pixel_network, monkeypatch):
    trainer = make_trainer(enable_progress_bar=True, callbacks=[Generation(5.0, 3, 0.1, samples=2)])
    bar = trainer.progress_bar_callback
    assert isinstance(bar, RichProgressBar), "Lightning's own choice"
    seen = []
    synthesize = Generation.synthesize

    def watched(task, network, batch):
        paintings = synthesize(task, network, batch)
        seen.append([(each.description.split("]")[-1], each.completed) for each in bar.progress.tasks])
        return paintings

    monkeypatch.setattr(Generation, "synthesize", watched)
    trainer.fit(Classifier(pixel_network), noise_loader(), noise_loader())
    assert ("generation", 3) in seen[0]
    assert not any("generation" in each.description for each in bar.progress.tasks)
    batch = {"image": torch.rand(1, 3, 8, 8), "label": torch.zeros(1, 8, 8, dtype=torch.long)}
    synthesize(trainer.callbacks[0], pixel_network, batch)  # afterwards, without a run


def test_a_run_without_a_bar_shows_none(tmp_path):
    trainer = Trainer(enable_progress_bar=False, logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    with painting_bar(trainer, "generation", 10) as tick:
        tick(1)
