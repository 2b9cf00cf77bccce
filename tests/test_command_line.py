import pytest

from command_line import deepest

UNION = """Parser key "attack.train":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'attacks.adversary.Adversary'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'attacks.PGD':
        Option 'step' is not accepted
    - Expected a <class 'NoneType'>
  Given value type: <class 'dict'>
  Given value: {'class_path': 'PGD'}"""


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (UNION, "attack.train: Option 'step' is not accepted"),
        ('Parser key "trainer.max_epochs":\n  Expected a <class \'int\'>\nGiven value: x',
         "trainer.max_epochs: Expected a <class 'int'>, not x"),
        ("unrecognized arguments: --foo", "unrecognized arguments: --foo"),
        ('Parser key "data":\n  Expected a dot import path string: Shape',
         "data: no class or function Shape; ours go by their names, such as PGD, others by their import path"),
    ],
)  # fmt: skip
def test_the_one_line_that_says_what_is_wrong(message, line):
    assert deepest(message) == line
