"""Attacks on classifiers and segmentation networks, in torch alone.

from attacks import PGD, Linf
adversarial = PGD(Linf(eps=8/255), steps=10, step_size=2/255)(network, image, label)
"""

from attacks.adversary import Adversary, AttackCallable, undisturbed
from attacks.apgd import APGD, SEA, TargetedAPGD
from attacks.autoattack import AutoAttack
from attacks.constraints import L2, Box, Constraint, Intersection, Linf, Region
from attacks.cost import Cost, counted
from attacks.ensemble import Ensemble, Transfer
from attacks.fab import FAB
from attacks.loop import projected_gradient
from attacks.margins import DLR, TargetedDLR
from attacks.noise import GaussianNoise
from attacks.objectives import CrossEntropy, Objective
from attacks.pgd import FGSM, IFGSM, PGD
from attacks.segmentation import BalancedMaskedCrossEntropy, CosPGD, JensenShannon, MaskedCrossEntropy, SegPGD
from attacks.square import Square

__all__ = [
    "APGD", "DLR", "FAB", "FGSM", "IFGSM", "L2", "PGD", "SEA", "Adversary", "AttackCallable", "AutoAttack",
    "BalancedMaskedCrossEntropy", "Box", "Constraint", "CosPGD", "Cost", "CrossEntropy", "Ensemble", "GaussianNoise",
    "Intersection", "JensenShannon", "Linf", "MaskedCrossEntropy", "Objective", "Region", "SegPGD", "Square",
    "TargetedAPGD", "TargetedDLR", "Transfer", "counted", "projected_gradient", "undisturbed",
]  # fmt: skip
