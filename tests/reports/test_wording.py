import math

import pytest

from reports.wording import (
    attack_text,
    ball,
    clean,
    eps_text,
    group_text,
    number_text,
    painting_text,
    printable,
    strength,
)

LINF = {"class": "Linf", "eps": 8 / 255}


@pytest.mark.parametrize(
    ("eps", "text"),
    [
        (0, "0"),
        (1 / 255, "1/255"),
        (8 / 255, "8/255"),
        (1.6 / 255, "1.6/255"),
        (128 / 255, "128/255"),
        (0.03, "0.03"),
        (0.2, "0.2"),
        (0.3, "0.3"),
        (0.5, "0.5"),
        (1, "1"),
        (21.6, "21.6"),
        (0.0123456, "0.0123456"),
        (1e300, "1e+300"),
    ],
)
def test_a_radius_is_said_as_people_say_it(eps, text):
    assert eps_text(eps) == text


@pytest.mark.parametrize(
    ("settings", "name", "text"),
    [
        ({"class": "PGD", "constraint": LINF, "steps": 20, "restarts": 1}, "pgd", "Linf 8/255, 20 steps"),
        ({"class": "PGD", "constraint": LINF, "steps": 1, "restarts": 5}, "pgd20", "Linf 8/255, 1 step, 5 restarts"),
        ({"class": "PGD", "constraint": {"class": "L2", "eps": 0.5}}, "strong", "PGD, L2 0.5"),
        ({"class": "SegPGD", "constraint": LINF, "steps": 100}, "seg_pgd", "Linf 8/255, 100 steps"),
        ({"class": "Square", "constraint": LINF, "queries": 5000}, "square", "Linf 8/255, 5000 queries"),
        ({"class": "GaussianNoise", "std": 8 / 255}, "noise", "GaussianNoise, std 8/255"),
        ({"class": "GaussianBlur", "sigma": 2.0, "kernel_size": 31}, "blur_2_0", "GaussianBlur, sigma 2"),
        ({"class": "GaussianBlur", "sigma": 1 / 3}, "gaussian_blur", "sigma 0.333333"),
        ({"class": "MedianFilter", "passes": 3, "kernel_size": 3}, "median_3", "MedianFilter, 3 passes"),
        ({"class": "MedianFilter", "passes": 1, "kernel_size": 3}, "median_filter", "1 pass"),
        ({"class": "ColorReversal"}, "reversed", "ColorReversal"),
        ({"class": "DeepFool", "steps": 50}, "deepfool", "50 steps"),
        ({"class": "PGD", "constraint": {"class": "Intersection", "first": LINF}}, "pgd", "Linf 8/255"),
        (
            {"class": "AutoAttack", "constraint": LINF, "steps": 100, "attacks": [{"class": "APGD"}]},
            "aa",
            "AutoAttack, Linf 8/255, 100 steps",
        ),
        (
            {"class": "Ensemble", "attacks": [{"class": name, "constraint": LINF} for name in ("FGSM", "PGD")]},
            "both",
            "Ensemble, of FGSM + PGD, Linf 8/255",
        ),
        ({"class": "Transfer", "attack": {"class": "PGD", "constraint": LINF}}, "transfer", "of PGD, Linf 8/255"),
        ("foolbox_pgd", "theirs", "foolbox_pgd"),
        (None, "pgd", ""),
        ({"class": ["PGD"], "constraint": 3, "steps": "many"}, "pgd", ""),
    ],
)
def test_an_attack_is_said_by_class_set_and_steps(settings, name, text):
    assert attack_text(settings, name) == text


def test_a_group_is_said_by_what_its_attacks_share():
    one, two = ({"class": "SEA", "constraint": LINF, "steps": steps} for steps in (300, 100))
    assert group_text(["a", "b"], {"a": one, "b": one}) == "worst of 2, SEA, Linf 8/255, 300 steps"
    assert group_text(["a", "b"], {"a": one, "b": two}) == "worst of 2, Linf 8/255"
    assert group_text(["a", "clean"], {"a": one}) == "worst of a, clean"


def test_a_painting_is_said_by_all_its_task_was_told():
    settings = {"constraint": {"class": "L2", "eps": 21.6}, "steps": 720, "step_size": 0.1, "size": [100, 100]}
    settings |= {"places": None, "weight": 10.0, "targets": []}
    assert painting_text(settings) == "L2 21.6, 720 steps of 0.1, size 100 x 100, weight 10"
    assert painting_text({}) == painting_text(None) == ""


@pytest.mark.parametrize("constraint", [None, 3, {}, {"class": 1, "eps": 1}, {"class": "Linf"}, {"first": []}])
def test_what_is_no_ball_has_none(constraint):
    assert ball({"constraint": constraint}) is None


@pytest.mark.parametrize("eps", [math.nan, math.inf, -1, "8/255", True, None, 10**400])
def test_what_is_no_radius_is_none(eps):
    assert ball({"constraint": {"class": "Linf", "eps": eps}}) is None


def test_commands_of_a_terminal_are_replaced_and_long_texts_cut():
    assert printable("\x1b[31mred\x07\u202e") == "\ufffd[31mred\ufffd\ufffd"
    assert printable("Größe 8 %") == "Größe 8 %"
    assert len(printable("a" * 10_000)) == 200


def test_depth_is_bounded():
    value = []
    for _ in range(41):
        value = [value]
    with pytest.raises(ValueError, match="deeply"):
        clean(value)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"class": "PGD", "constraint": LINF, "steps": 20}, ("eps", "Linf", 8 / 255)),
        ({"class": "Noisy", "constraint": LINF, "std": 0.1}, ("eps", "Linf", 8 / 255)),
        ({"class": "GaussianBlur", "sigma": 2.0, "kernel_size": 31}, ("sigma", "GaussianBlur", 2)),
        ({"class": "MedianFilter", "passes": 0}, ("passes", "MedianFilter", 0)),
        ({"class": "GaussianNoise", "std": 8 / 255}, ("std", "GaussianNoise", 8 / 255)),
        ({"class": "Odd", "std": -1, "sigma": 10**400, "passes": True}, None),
        ({"class": "Odd", "sigma": math.inf, "passes": 2}, ("passes", "Odd", 2)),
        ({"class": 3, "sigma": 2.0}, None),
        ({"class": "DeepFool", "steps": 50}, None),
        ("my_attack", None),
        (None, None),
    ],
)
def test_how_strong_an_attack_is(settings, found):
    assert strength(settings) == found


def test_numbers_are_grey_levels_where_they_are_pixels():
    assert [number_text(name, 1 / 255) for name in ("eps", "std", "sigma")] == ["1/255", "1/255", "0.00392157"]
