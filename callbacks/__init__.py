"""What happens around the steps: the attack, the synthesis tasks, the gallery, the results file."""

from callbacks.attack import Attack
from callbacks.generation import Generation
from callbacks.inpainting import Inpainting
from callbacks.predictions import Predictions
from callbacks.records import Records
from callbacks.results import Results
from callbacks.sanity import SanityGate
from callbacks.speed import Speed
from callbacks.synthesis import Synthesis

__all__ = [
    "Attack",
    "Generation",
    "Inpainting",
    "Predictions",
    "Records",
    "Results",
    "SanityGate",
    "Speed",
    "Synthesis",
]
