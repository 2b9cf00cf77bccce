from paint.progress import Bars


def test_bars_count_pictures_and_steps_and_lines_are_said_as_they_are(capsys):
    with Bars(3) as bars:
        bars.begin(10)
        bars.tick(4)
        bars.tick(1)
        assert (bars.bars.tasks[-1].completed, bars.bars.tasks[-1].total) == (5, 10)
        bars.done(2)
        assert bars.bars.tasks[0].completed == 2
        bars.begin(0)
        assert (bars.bars.tasks[-1].completed, bars.bars.tasks[-1].total) == (0, None)
        bars.tell("skipped: [bold]a\x1b[2J" + "b" * 300)
    assert capsys.readouterr().err == "skipped: [bold]a?[2J" + "b" * 300 + "\n"
