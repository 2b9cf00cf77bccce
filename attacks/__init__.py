"""Attacks on classifiers and segmentation networks, in torch alone.

from attacks import PGD, Linf
adversarial = PGD(Linf(eps=8/255), steps=10, step_size=2/255)(network, image, label)
"""

from attacks.adversary import Adversary, AttackCallable, undisturbed
from attacks.apgd import APGD, SEA, TargetedAPGD
from attacks.autoattack import AutoAttack
from attacks.constraints import L2, Box, Constraint, Intersection, Linf, Region
from attacks.contract import AttackError
from attacks.cost import Cost, counted
from attacks.data_free import DataFreeUAP
from attacks.deepfool import DeepFool
from attacks.ensemble import Ensemble, Transfer
from attacks.fab import FAB
from attacks.lbfgs import LBFGS
from attacks.loop import projected_gradient
from attacks.margins import DLR, TargetedDLR
from attacks.noise import GaussianNoise
from attacks.objectives import CrossEntropy, KLDivergence, Objective
from attacks.pgd import FGSM, IFGSM, PGD
from attacks.segmentation import (
    BalancedMaskedCrossEntropy,
    CosPGD,
    CosPGDLoss,
    JensenShannon,
    MaskedCrossEntropy,
    SegPGD,
    SegPGDLoss,
)
from attacks.square import Square
from attacks.stylization import Stylization
from attacks.transformations import ColorReversal, GaussianBlur, MedianFilter, Transformation
from attacks.twin import at_rest
from attacks.universal import UAP, Universal

__all__ = [
    "APGD", "DLR", "FAB", "FGSM", "IFGSM", "L2", "LBFGS", "PGD", "SEA", "UAP", "Adversary", "AttackCallable",
    "AttackError", "AutoAttack", "BalancedMaskedCrossEntropy", "Box", "ColorReversal", "Constraint", "CosPGD",
    "CosPGDLoss", "Cost", "CrossEntropy", "DataFreeUAP", "DeepFool", "Ensemble", "GaussianBlur", "GaussianNoise",
    "Intersection", "JensenShannon", "KLDivergence", "Linf", "MaskedCrossEntropy", "MedianFilter", "Objective",
    "Region", "SegPGD", "SegPGDLoss", "Square", "Stylization", "TargetedAPGD", "TargetedDLR", "Transfer",
    "Transformation", "Universal", "at_rest", "counted", "projected_gradient", "undisturbed",
]  # fmt: skip
