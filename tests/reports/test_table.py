import pytest

from reports.table import FORMATS, Comparison


@pytest.fixture
def comparison():
    rows = {"clean accuracy": ["95.0 %", "98.0 %"], "clean mIoU": ["81.2 %", "91.0 %"]}
    return Comparison(["robust", "standard"], rows)


def test_a_terminal_shows_names_and_values_in_a_frame(comparison):
    lines = comparison.text("terminal").splitlines()
    assert "robust" in lines[1] and "standard" in lines[1]
    assert len({len(line) for line in lines}) == 1
    assert any("clean mIoU" in line and "81.2 %" in line and "91.0 %" in line for line in lines)


def test_markdown(comparison):
    lines = comparison.text("markdown").splitlines()
    assert [cell.strip() for cell in lines[0].split("|")] == ["", "", "robust", "standard", ""]
    assert set(lines[1]) <= set("|-:")
    assert [cell.strip() for cell in lines[2].split("|")] == ["", "clean accuracy", "95.0 %", "98.0 %", ""]


def test_notes_stand_below_a_table_of_markdown_and_are_no_list():
    text = Comparison(["a|b"], {"clean accuracy": ["50.0 %"]}, ["* a|b may hide"], "In brackets").text("markdown")
    lines = text.splitlines()
    assert r"a\|b" in lines[0]
    assert lines[3:] == ["", "In brackets", "", r"\* a\|b may hide"]


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("at50_pgd", "at50_pgd"),
        ("_a_ *b*", r"\_a\_ \*b\*"),
        ("<b>&lt;`x`", r"\<b\>\&lt;\`x\`"),
        ("[a](b)\\$x$~", r"[a\](b)\\\$x\$\~"),
    ],
)
def test_markdown_shows_a_name_as_it_is(name, written):
    assert written in Comparison([name], {"row": [""]}).text("markdown").splitlines()[0]


def test_latex_escapes_what_it_must_and_comments_the_notes():
    rows = {r"a&b%$#_{}~^\input": [r"25.0 %*"], "[2pt] x": ["<1>"], "*": ["x"]}
    lines = Comparison(["at_50"], rows, ["* at_50 may hide"]).text("latex").splitlines()
    assert any(r"at\_50" in line for line in lines)
    (row,) = [line for line in lines if line.strip().startswith("a")]
    assert r"a\&b\%\$\#\_\{\}\textasciitilde{}\^{}\textbackslash{}input" in row and r"25.0 \%*" in row
    assert any(line.strip().startswith("{}[2pt] x") for line in lines), "no optional argument of the line before"
    assert any(line.strip().startswith("{}*") for line in lines)
    assert lines[-1] == "% * at_50 may hide"


@pytest.mark.parametrize("form", FORMATS)
def test_runs_that_measured_nothing_make_an_empty_table(form):
    assert "idle" in Comparison(["idle"]).text(form)
