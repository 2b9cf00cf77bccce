"""A W&B workspace that shows the keys of a run in a sensible layout."""

from collections.abc import Sequence
from typing import Any

from reports.files import ReportError

AXIS = "trainer/global_step"

TASKS = (
    "inpainting", "generation", "translation", "sketch_to_image", "super_resolution", "feature_painting", "inversion",
    "interpolation", "feature_visualization", "feature_addition", "decision_insight", "large_eps", "gradient_pictures",
    "sensitivity_maps", "first_filters", "layer_visualization", "localization",
)  # fmt: skip
"""What shows pictures, by its key below `synthesis/`."""


def workspace(
    entity: str, project: str, attacks: Sequence[str], name: str = "Saddle", tasks: Sequence[str] = TASKS[:2]
) -> Any:
    """A `wandb_workspaces.workspaces.Workspace`: robust beside clean, classes, pictures, training, speed.

    Args:
        entity: the user or team whose project it is.
        project: the project.
        attacks: names of the evaluation attacks; the first is shown class by class.
        name: what the workspace is called.
        tasks: those of `TASKS` that have pictures.

    Raises:
        ReportError: without the package wandb-workspaces.
    """
    try:
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ImportError:
        raise ReportError("dashboard: needs a package that is not installed: pip install wandb-workspaces") from None

    def lines(title: str, *keys: str, regex: str | None = None, **options: Any) -> Any:
        return wr.LinePlot(title=title, x=AXIS, y=list(keys), metric_regex=regex, **options)

    versions = ("clean", *attacks)
    robust = [
        lines(title, *(f"val/{version}/{key}" for version in versions))
        for title, key in (("mIoU", "miou"), ("accuracy", "accuracy"), ("loss", "loss"))
    ]
    classes = [lines(f"IoU of each class, {version}", regex=f"val/{version}/iou/.*") for version in versions[:2]]
    pictures = [
        wr.MediaBrowser(title=task.replace("_", " "), media_keys=[f"synthesis/{task}"], num_columns=1) for task in tasks
    ]
    scores = [
        lines(
            "scores of the pictures",
            regex="synthesis/[a-z_]*_(acc|error|success|distance|loc|rank|norm|psnr|ssim|lpips|judged).*",
        )
    ]
    training = [
        lines("training loss", "train/loss"),
        lines("parts of a loss on gradients", "train/cross_entropy", "train/penalty"),
        lines("gradient norm", "train/gradient_norm", log_y=True),
        lines("learning rate", regex="lr-.*"),
        lines("gradients that are zero", "attack/zero_gradients"),
        lines("eps of a warm-up", "attack/eps"),
        lines("overfitting guard", "overfitting_guard/accuracy"),
        lines("alignment of gradients", regex="insight/alignment_.*"),
    ]
    speed = [
        lines("images per second", "speed/images_per_second"),
        lines("shares of the time", "speed/attack_share", "speed/data_share"),
        lines("memory in GiB", "speed/memory_gib"),
        lines("hours left", "speed/hours_left"),
    ]
    sections = {
        "Robust and clean": robust,
        "Pictures": [*pictures, *scores],
        "Classes": classes,
        "Training": training,
        "Speed": speed,
    }
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[ws.Section(name=title, panels=panels, is_open=True) for title, panels in sections.items()],
        settings=ws.WorkspaceSettings(x_axis=AXIS),
    )
