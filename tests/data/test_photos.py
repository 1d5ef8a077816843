"""Photos in every form people have them in."""

import numpy as np
import pytest
from PIL import Image

from finercam.data.finding import find_photos
from finercam.data.photos import open_photo
from finercam.errors import FinercamError


def gradient(height=20, width=30):
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    return np.stack(
        [np.tile(ramp, (height, 1)), np.full((height, width), 80, np.uint8), np.tile(ramp[::-1], (height, 1))], 2
    )


def test_a_file_a_picture_and_an_array_are_the_same_photo(tmp_path):
    array = gradient()
    Image.fromarray(array).save(tmp_path / "a.png")
    for photo in (array, Image.fromarray(array), tmp_path / "a.png", str(tmp_path / "a.png")):
        assert np.array_equal(np.asarray(open_photo(photo)), array)


def test_exif_orientation_turns_the_photo_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    Image.fromarray(gradient()).save(tmp_path / "a.png", exif=exif)
    upright = np.asarray(open_photo(tmp_path / "a.png"))
    assert np.array_equal(upright, np.rot90(gradient(), -1))


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path):
    values = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    expected = np.round(values / 257).astype(np.uint8)
    for photo in (tmp_path / "a.png", values):
        opened = np.asarray(open_photo(photo))
        assert opened.shape == (8, 8, 3)
        assert np.array_equal(opened[:, :, 1], expected)


def test_transparency_is_laid_over_white(tmp_path):
    rgba = np.dstack([np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 0, np.uint8)])
    rgba[0, 0, 3] = 255
    rgba[1, 1, 3] = 128
    opened = np.asarray(open_photo(rgba))
    assert opened[0, 0].tolist() == [0, 0, 0]
    assert opened[3, 3].tolist() == [255, 255, 255]
    assert abs(int(opened[1, 1, 0]) - 127) <= 1
    palette = Image.fromarray(rgba).quantize(4)
    palette.save(tmp_path / "a.png")
    assert np.asarray(open_photo(tmp_path / "a.png"))[3, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr", "LA", "HSV"])
def test_every_mode_becomes_rgb(mode):
    image = Image.fromarray(gradient()).convert(mode)
    opened = open_photo(image)
    assert opened.mode == "RGB"
    expected = image.convert("RGB") if mode != "LA" else image.convert("L").convert("RGB")
    assert np.abs(np.asarray(opened).astype(int) - np.asarray(expected).astype(int)).max() <= 1


def test_floats_in_the_unit_range_are_taken():
    array = gradient().astype(np.float32) / 255
    assert np.array_equal(np.asarray(open_photo(array)), gradient())


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 20, 30), np.uint8), "shape"),
        (np.full((4, 4, 3), 7.5), "floats in 0..1"),
        (np.full((4, 4), np.nan), "floats in 0..1"),
        (np.full((4, 4), -1), "uint8"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
    ],
)
def test_an_array_that_is_no_photo_is_refused(array, message):
    with pytest.raises(FinercamError, match=message):
        open_photo(array)


def test_files_that_are_no_photos_are_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    Image.fromarray(gradient(200, 300)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:300])
    with pytest.raises(FinercamError, match="not a picture"):
        open_photo(tmp_path / "text.jpg")
    with pytest.raises(FinercamError, match="cannot be read"):
        open_photo(tmp_path / "cut.png")
    with pytest.raises(FinercamError, match="there is no file"):
        open_photo(tmp_path / "missing.png")
    with pytest.raises(FinercamError, match="cannot be read"):
        open_photo(tmp_path)


def test_photos_folders_and_patterns_are_found_once(tmp_path):
    for name in ("b/one.jpg", "b/c/two.PNG", "b/notes.txt", "three.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = list(find_photos([str(tmp_path / "b"), str(tmp_path / "*.webp"), str(tmp_path / "b" / "one.jpg")]))
    assert [str(relative) for _, relative in found] == ["c/two.PNG", "one.jpg", "three.webp"]
    with pytest.raises(FinercamError, match="no photo at"):
        list(find_photos([str(tmp_path / "*.gif")]))
