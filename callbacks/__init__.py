"""What happens around the steps: the attack, the synthesis tasks, the gallery, the results file."""

from callbacks.attack import Attack
from callbacks.checkpoints import Checkpoints
from callbacks.evaluation_due import EvaluationDue
from callbacks.exact_resume import ExactResume
from callbacks.generation import Generation
from callbacks.inpainting import Inpainting
from callbacks.large_eps import LargeEps
from callbacks.overfitting_guard import OverfittingGuard
from callbacks.predictions import Predictions
from callbacks.records import Records
from callbacks.results import Results
from callbacks.sanity import SanityGate
from callbacks.speed import Speed
from callbacks.synthesis import Synthesis
from callbacks.weight_averaging import EMA

__all__ = [
    "EMA", "Attack", "Checkpoints", "EvaluationDue", "ExactResume", "Generation", "Inpainting", "LargeEps",
    "OverfittingGuard", "Predictions", "Records", "Results", "SanityGate", "Speed", "Synthesis",
]  # fmt: skip
