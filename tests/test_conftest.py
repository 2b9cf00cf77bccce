import importlib

import pytest


@pytest.mark.parametrize("value", [1, 2])
def test_a_module_of_a_test_is_not_that_of_the_test_before(tmp_path, monkeypatch, value):
    (tmp_path / "own_module.py").write_text(f"value = {value}")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("own_module").value == value
