"""Attacks on classifiers and segmentation networks, in torch alone.

from attacks import PGD, Linf
adversarial = PGD(Linf(eps=8/255), steps=10, step_size=2/255)(network, image, label)
"""

from attacks.adversary import Adversary, AttackCallable, undisturbed
from attacks.constraints import L2, Box, Constraint, Intersection, Linf, Region
from attacks.loop import projected_gradient
from attacks.noise import GaussianNoise
from attacks.objectives import CrossEntropy, Objective
from attacks.pgd import FGSM, IFGSM, PGD

__all__ = [
    "FGSM", "IFGSM", "L2", "PGD", "Adversary", "AttackCallable", "Box", "Constraint", "CrossEntropy", "GaussianNoise",
    "Intersection", "Linf", "Objective", "Region", "projected_gradient", "undisturbed",
]  # fmt: skip
