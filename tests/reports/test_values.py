import math

import pytest

from reports.values import as_dict, as_list, boolean, count, dicts, number, perhaps, share, text, texts


def test_values_of_their_kind_come_through():
    assert (number(3, "k"), count(0, "k"), perhaps(2, "k"), perhaps(None, "k")) == (3, 0, 2, None)
    assert math.isnan(number(math.nan, "k"))
    assert (share(0.5, "k"), share(None, "k"), share(math.nan, "k")) == (0.5, None, None)
    assert (text("a", "k"), text(None, "k"), boolean(False, "k")) == ("a", "", False)
    assert (as_dict(None, "k"), as_dict({"a": 1}, "k"), as_list(None, "k"), as_list([1], "k")) == (
        {},
        {"a": 1},
        [],
        [1],
    )
    assert (dicts({"a": {"b": 1}}, "k"), texts(["a"], "k")) == ({"a": {"b": 1}}, ["a"])


@pytest.mark.parametrize(
    ("read", "value", "kind"),
    [
        (number, "3", "a number"), (number, True, "a number"), (number, 10**400, "a number"),
        (count, -1, "a count"), (count, math.inf, "a count"), (count, math.nan, "a count"), (perhaps, -1, "a count"),
        (share, 84.6, "a fraction of 1"), (text, 3, "a text"), (boolean, 1, "true or false"), (boolean, None, "true"),
        (as_dict, [], "an object"), (as_list, {}, "a list"), (dicts, {"a": 1}, "an object"), (texts, [1], "a text"),
    ],
)  # fmt: skip
def test_others_are_told_with_their_key(read, value, kind):
    with pytest.raises(ValueError, match=rf"^the\.key(\.a)? is .*, not {kind}"):
        read(value, "the.key")


def test_a_value_without_end_is_cut_off():
    with pytest.raises(ValueError, match="not a number") as told:
        number("x" * 10_000, "k")
    assert len(str(told.value)) < 100
