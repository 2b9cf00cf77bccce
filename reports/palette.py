"""The colours of classes in label maps."""

VOID = 255
"""The value of pixels that count nowhere."""


def color(index: int) -> tuple[int, int, int]:
    """Red, green and blue of a class: PASCAL VOC's colour map, and white for void.

    The bits of the index are dealt to red, green and blue from the highest bit down.
    """
    if index == VOID:
        return 255, 255, 255
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (index & 1) << bit
        green |= (index >> 1 & 1) << bit
        blue |= (index >> 2 & 1) << bit
        index >>= 3
    return red, green, blue
