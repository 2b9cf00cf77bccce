import tracemalloc

import pytest
import torch

from lightning_modules.averages import averages_left_out
from lightning_modules.unpickling import Inert

WEIGHT, OTHER = torch.zeros(3), torch.ones(3)


@pytest.mark.parametrize(
    ("beside", "names"),
    [
        ({"ema": Inert()}, ["ema"]),
        ({"model_ema": {"conv.weight": OTHER}}, ["model_ema"]),
        ({"ema": {"decay": 0.999, "shadow_params": [OTHER, OTHER]}}, ["ema"]),
        ({"a": {"b": {"EMA": (OTHER,)}}}, ["a.b.EMA"]),
        ({"ema_model.conv.weight": OTHER, "ema_model.conv.bias": OTHER}, ["ema_model"]),
        ({"swa_state_dict": {"w": OTHER}, "averaged": Inert()}, ["averaged", "swa_state_dict"]),
        ({"ema": {"w": OTHER, "copy": WEIGHT}}, []),
        ({"ema": None, "ema_decay": 0.999, "n_averaged": torch.tensor(3), "schema": Inert(), "args": Inert()}, []),
        ({"optimizer": {"state": {0: {"exp_avg": OTHER}}}, 5: OTHER}, []),
        (WEIGHT, []),
    ],
    ids=str,
)
def test_averages_of_which_nothing_is_taken(beside, names):
    content = {"model": {"w": WEIGHT}, **beside} if isinstance(beside, dict) else beside
    assert sorted(averages_left_out(content, [WEIGHT])) == names


def test_a_file_may_hold_itself():
    content = {"ema": [OTHER]}
    content["ema"].append(content)
    assert averages_left_out(content, []) == ["ema"]


def test_depth_costs_neither_memory_nor_time():
    content = {"ema": OTHER}
    for _ in range(100_000):
        content = {"a": content}
    tracemalloc.start()
    assert averages_left_out(content, []) == []
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
