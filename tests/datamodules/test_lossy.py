import numpy as np
import pytest
from one_line import one_line
from PIL import Image, features

from datamodules.images import DataError, read_label_map
from datamodules.lossy import is_lossy

LABEL = np.repeat(np.arange(3, dtype=np.uint8), 11)[None].repeat(40, axis=0)


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
@pytest.mark.parametrize("name", ["label.jp2", "label.j2k"])
@pytest.mark.parametrize("options", [{}, {"tile_size": (16, 16)}, {"precinct_size": (64, 64)}], ids=str)
def test_a_label_map_as_jpeg_2000_is_read_unless_its_wavelet_rounds(tmp_path, name, options):
    path = tmp_path / name
    Image.fromarray(LABEL).save(path, **options)
    np.testing.assert_array_equal(read_label_map(path), LABEL)
    Image.fromarray(LABEL).save(path, irreversible=True, **options)
    with pytest.raises(DataError, match=one_line(name, "a label map as JPEG2000, which changes the values")):
        read_label_map(path)


@pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
@pytest.mark.parametrize("where", ["component", "tile"])
def test_the_wavelet_of_one_component_or_tile_counts_too(tmp_path, where):
    path = tmp_path / "label.j2k"
    Image.fromarray(LABEL).save(path, tile_size=(16, 16), num_resolutions=1)
    content = path.read_bytes()
    start = content.index(b"\xff\x52")
    style = content[start : start + 14]
    assert style[13] == 1 and not is_lossy("JPEG2000", path)
    if where == "component":  # COC: marker, length, component, style, and the five numbers of COD's end
        place, more = start + 14, b"\xff\x53\x00\x09\x00\x00" + style[9:13] + b"\x00"
    else:
        place, more = content.rindex(b"\xff\x93"), style[:13] + b"\x00"
    path.write_bytes(content[:place] + more + content[place:])
    assert is_lossy("JPEG2000", path)


def test_a_label_map_as_webp_is_read_unless_it_has_lost_something(tmp_path):
    picture = Image.fromarray(np.stack([LABEL] * 3, axis=-1))
    picture.save(tmp_path / "exact.webp", lossless=True)
    np.testing.assert_array_equal(read_label_map(tmp_path / "exact.webp"), LABEL)
    picture.save(tmp_path / "lossy.webp")
    with pytest.raises(DataError, match=one_line("lossy.webp: a label map as WEBP, which changes the values")):
        read_label_map(tmp_path / "lossy.webp")


@pytest.mark.parametrize(("kind", "lossy"), [("PNG", False), ("TIFF", False), ("JPEG", True), ("AVIF", True)])
def test_other_kinds_are_known_by_their_name(tmp_path, kind, lossy):
    assert is_lossy(kind, tmp_path / "never read") == lossy
