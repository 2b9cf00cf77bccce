from functools import partial

from attacks import FGSM, L2, SEA, BalancedMaskedCrossEntropy, Ensemble, GaussianBlur, Linf, MedianFilter
from callbacks.settings import settings


def test_settings_say_what_an_attack_is_made_of():
    objective = partial(BalancedMaskedCrossEntropy, pixels=[1, 2])
    attack = Ensemble([SEA(Linf("4/255"), objective, steps=10), FGSM(L2(1))])
    sea, fgsm = settings(attack)["attacks"]
    assert sea["objective"] == {"class": "BalancedMaskedCrossEntropy", "pixels": [1, 2]}
    assert (sea["class"], sea["steps"], sea["constraint"]["eps"]) == ("SEA", 10, 4 / 255)
    assert fgsm["objective"] == "CrossEntropy"
    assert settings(None) is None


def test_transformations_say_how_strong_they_are():
    assert settings(GaussianBlur(2.0)) == {"class": "GaussianBlur", "sigma": 2.0, "kernel_size": 31}
    assert settings(MedianFilter(3)) == {"class": "MedianFilter", "passes": 3, "kernel_size": 3}


def test_an_attack_of_others_has_the_same_settings_in_every_process():
    class Own:
        def __call__(self, network, image, label, seed=None, region=None):
            return image

    assert settings(Own()) == settings(Own()) and "Own object" in settings(Own())
