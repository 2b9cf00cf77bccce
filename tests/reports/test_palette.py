from reports.palette import VOID, color


def test_the_colours_are_vocs_and_void_is_white():
    assert [color(index) for index in (0, 1, 2, 15, 20)] == [
        (0, 0, 0),
        (128, 0, 0),
        (0, 128, 0),
        (192, 128, 128),
        (0, 64, 128),
    ]
    assert color(VOID) == (255, 255, 255)


def test_no_two_classes_share_a_colour():
    assert len({color(index) for index in range(256)}) == 256
