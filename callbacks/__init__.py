"""What happens around the steps: the attack, the synthesis tasks, the gallery, the results file."""

from callbacks.attack import Attack
from callbacks.checkpoints import Checkpoints
from callbacks.dashboard import Dashboard
from callbacks.divergence import Divergence
from callbacks.evaluation.predictions import Predictions
from callbacks.evaluation.records import Records
from callbacks.evaluation.results import Results
from callbacks.evaluation.sanity import SanityGate
from callbacks.evaluation_due import EvaluationDue
from callbacks.exact_resume import ExactResume
from callbacks.insight.alignment import Alignment
from callbacks.insight.first_filters import FirstFilters
from callbacks.insight.gradient_pictures import GradientPictures
from callbacks.insight.localization import Localization
from callbacks.insight.measurement import Measurement
from callbacks.insight.sensitivity_maps import SensitivityMaps
from callbacks.overfitting_guard import OverfittingGuard
from callbacks.progress import Progress
from callbacks.speed import Speed
from callbacks.synthesis.base import Synthesis
from callbacks.synthesis.callback import PictureCallback
from callbacks.synthesis.decision_insight import DecisionInsight
from callbacks.synthesis.feature_addition import FeatureAddition
from callbacks.synthesis.feature_painting import FeaturePainting
from callbacks.synthesis.feature_visualization import FeatureVisualization
from callbacks.synthesis.generation import Generation
from callbacks.synthesis.inpainting import Inpainting
from callbacks.synthesis.interpolation import Interpolation
from callbacks.synthesis.inversion import Inversion
from callbacks.synthesis.large_eps import LargeEps
from callbacks.synthesis.layer_visualization import LayerVisualization
from callbacks.synthesis.super_resolution import SuperResolution
from callbacks.synthesis.translation import SketchToImage, Translation
from callbacks.weight_averaging import EMA
from callbacks.zero_gradients import ZeroGradients

__all__ = [
    "EMA", "Alignment", "Attack", "Checkpoints", "Dashboard", "DecisionInsight", "Divergence", "EvaluationDue",
    "ExactResume", "FeatureAddition", "FeaturePainting", "FeatureVisualization", "FirstFilters", "Generation",
    "GradientPictures", "Inpainting", "Interpolation", "Inversion", "LargeEps", "LayerVisualization",
    "Localization", "Measurement", "OverfittingGuard", "PictureCallback", "Predictions", "Progress", "Records",
    "Results", "SanityGate", "SensitivityMaps", "SketchToImage", "Speed", "SuperResolution", "Synthesis",
    "Translation", "ZeroGradients",
]  # fmt: skip
