"""Opening an item: stored pixels where something was measured in them, upright where nothing was."""

import io
import pickle

import fsspec
import numpy as np
import pytest
from PIL import Image

from finercam.data.dataset import Item, open_files, open_mask
from finercam.errors import FinercamError
from support.pictures import pixels, save_picture

TURNED = Image.Exif()
TURNED[0x0112] = 6  # turn by 90 degrees to see it upright


@pytest.fixture
def turned(tmp_path):
    save_picture(tmp_path / "a.png", 3, exif=TURNED)
    return str(tmp_path / "a.png")


def save_mask(path, values, mode="L"):
    Image.fromarray(values).convert(mode).save(path)
    return str(path)


def test_a_photo_is_upright_unless_something_was_measured_in_it(turned, tmp_path):
    mask = save_mask(tmp_path / "m.png", np.ones((24, 32), np.uint8))
    upright = np.rot90(pixels(3), -1)
    assert np.array_equal(np.asarray(open_files(Item("a", turned, 0)).photo), upright)
    assert np.array_equal(np.asarray(open_files(Item("a", turned, 0, parts=(None, None))).photo), upright)
    for known in ({"box": (0.0, 0.0, 32.0, 24.0)}, {"mask": mask}, {"parts": (None, (31.5, 2.0))}):
        assert np.array_equal(np.asarray(open_files(Item("a", turned, 0, **known)).photo), pixels(3)), known


def test_a_photo_behind_a_uri_is_the_same(turned):
    with fsspec.open("memory://opened/a.png", "wb") as file, open(turned, "rb") as stored:
        file.write(stored.read())
    for item in (Item("a", turned, 0), Item("a", turned, 0, box=(0.0, 0.0, 5.0, 5.0))):
        there = Item("a", "memory://opened/a.png", 0, box=item.box)
        assert np.array_equal(np.asarray(open_files(there).photo), np.asarray(open_files(item).photo))


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "P", "RGB", "LA", "RGBA"])
def test_every_form_of_mask_is_what_is_not_zero(tmp_path, mode):
    expected = np.random.default_rng(0).random((24, 32)) < 0.4
    if mode == "P":
        picture = Image.fromarray(expected.astype(np.uint8) * 7, mode="P")
        picture.putpalette([255, 255, 255] + [0, 0, 0] * 9)  # white is index 0: the index counts, not the colour
    elif mode == "I;16":
        picture = Image.fromarray(expected.astype(np.uint16) * 256)
    else:
        picture = Image.fromarray(expected.astype(np.uint8) * (255 if mode == "1" else 1)).convert(mode)
    picture.save(tmp_path / "m.png")
    assert Image.open(tmp_path / "m.png").mode == mode
    found = open_mask(str(tmp_path / "m.png"))
    assert found.dtype == bool
    assert np.array_equal(found, expected)


def test_a_single_colour_counts_and_what_is_transparent_does_not(tmp_path):
    values = np.zeros((3, 3, 4), np.uint8)
    values[..., 3] = 255
    values[0, 0, 2] = 1
    values[1, 1] = (255, 255, 255, 0)
    Image.fromarray(values).save(tmp_path / "m.png")
    expected = np.zeros((3, 3), bool)
    expected[0, 0] = True
    assert np.array_equal(open_mask(str(tmp_path / "m.png")), expected)


def test_a_mask_or_box_that_does_not_fit_is_refused(turned, tmp_path):
    mask = save_mask(tmp_path / "m.png", np.ones((32, 24), np.uint8))
    with pytest.raises(FinercamError, match=r"24 x 32 pixels, its photo .* 32 x 24"):
        open_files(Item("a", turned, 0, mask=mask))
    with pytest.raises(FinercamError, match=r"box \(32.0, 0.0, 40.0, 5.0\) of 'a' lies outside its photo of 32 x 24"):
        open_files(Item("a", turned, 0, box=(32.0, 0.0, 40.0, 5.0)))
    assert open_files(Item("a", turned, 0, box=(31.0, 0.0, 40.0, 5.0))).mask is None


def test_files_that_cannot_be_opened_are_named(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(pixels(0, 300, 200)).save(stream, "PNG")
    (tmp_path / "cut.png").write_bytes(stream.getvalue()[:400])
    (tmp_path / "text.png").write_text("no picture")
    for name, message in (("cut.png", "cannot be read"), ("text.png", "not a picture"), ("none.png", "no file")):
        with pytest.raises(FinercamError, match=rf"{name}.*|{message}") as caught:
            open_files(Item("a", str(tmp_path / name), 0))
        assert message in str(caught.value)
        assert name in str(caught.value)
    with pytest.raises(FinercamError, match=r"nowhere://a.png.* cannot be read: ValueError: Protocol not known"):
        open_mask("nowhere://a.png")


def test_opening_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(open_files)) is open_files
