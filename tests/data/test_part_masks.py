"""Masks of parts beside photos: numbers in one picture, or a picture for each part, and what they may not be."""

import json
import pickle
import warnings

import numpy as np
import pytest
from PIL import ExifTags, Image

from finercam.aviary import export
from finercam.data.dataset import Item
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from support.pictures import pixels, save_picture

NAMES = {"0": "background", "2": "eye", "1": "head", "7": "fin", "150": "wing", "300": "fin"}


def numbers(seed=0, width=32, height=24, of=(0, 1, 2)):
    return np.array(of, np.uint8)[np.random.default_rng(seed).integers(0, len(of), (height, width))]


def save_mask(path, values, mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    if mode == "P":
        picture.putpalette([200, 10, 10] * 256)
    picture.save(path)


@pytest.fixture
def root(tmp_path):
    """Two classes of photos; the masks of one of them beside, with names."""
    for number, name in enumerate(("Wren/a.jpg", "Wren/more/b.PNG", "Crow/c.jpeg")):
        save_picture(tmp_path / "photos" / name, number)
    save_mask(tmp_path / "masks" / "Wren" / "a.png", numbers(1))
    save_mask(tmp_path / "masks" / "Wren" / "more" / "b.png", numbers(2, of=(0, 2, 7)), "P")
    save_mask(tmp_path / "masks" / "Crow" / "c.png", numbers(3).astype(np.uint16) * 150)
    (tmp_path / "masks" / "parts.json").write_text(json.dumps(NAMES))
    return tmp_path


def opened(root, spec="folder@masks={0}/masks:{0}/photos", split="test"):
    dataset = read_dataset(spec.format(root), split)
    return dataset, {item.key: dataset.open(item) for item in pickle.loads(pickle.dumps(dataset.items))()}


def test_the_values_of_a_mask_number_the_parts(root):
    dataset, found = opened(root)
    assert dataset.part_names == ("head", "eye", "fin", "wing")
    assert dataset.regions == ("parts",)
    a, b, c = found["Wren/a.jpg"], found["Wren/more/b.PNG"], found["Crow/c.jpeg"]
    expected = {"head": numbers(1) == 1, "eye": numbers(1) == 2}
    assert a.part_masks.keys() == expected.keys()
    assert all(np.array_equal(a.part_masks[name], mask) for name, mask in expected.items())
    assert list(b.part_masks) == ["eye", "fin"]
    assert np.array_equal(c.part_masks["wing"], numbers(3) == 1)
    assert np.array_equal(c.part_masks["fin"], numbers(3) == 2)
    assert all(example.mask is None for example in found.values())
    # A point in the middle of each part in sight.
    for example in found.values():
        for name, point in zip(dataset.part_names, example.parts, strict=True):
            assert (point is None) == (name not in example.part_masks)
            assert point is None or example.part_masks[name][int(point[1]), int(point[0])]


def test_numbers_may_stand_without_quotes(root):
    for text, names in (
        ('\n{ 1: "head",\n2 :"eye", 7:"fin"}', ("head", "eye", "fin")),
        ('{"1": "head", "2": "{1: a, 2: b}"}', ("head", "{1: a, 2: b}")),
    ):
        (root / "masks" / "parts.json").write_text(text)
        assert read_dataset(f"photos@masks={root}/masks:{root}/photos").part_names == names


def test_a_point_is_on_its_part_and_nearest_to_its_middle(root):
    ring = np.zeros((24, 32), np.uint8)
    ring[4:20, 6:26] = 1
    ring[5:19, 7:25] = 0
    ring[10, 12:17] = 2
    save_mask(root / "masks" / "Wren" / "a.png", ring)
    _, found = opened(root)
    head, eye, fin, wing = found["Wren/a.jpg"].parts
    assert eye == (14.5, 10.5)
    assert ring[int(head[1]), int(head[0])] == 1
    assert fin is wing is None


def test_a_picture_for_each_part(root):
    (root / "masks" / "Wren" / "a.png").unlink()
    for name, value in (("head", 1), ("eye", 255)):
        save_mask(root / "masks" / "Wren" / "a" / f"{name}.png", numbers(5, of=(0, value)))
    save_mask(root / "masks" / "Wren" / "a" / "fin.png", np.zeros((24, 32), np.uint8))
    _, found = opened(root)
    masks = found["Wren/a.jpg"].part_masks
    assert set(masks) == {"head", "eye"}
    assert np.array_equal(masks["eye"], numbers(5, of=(0, 1)) == 1)
    assert found["Wren/a.jpg"].parts[2] is None
    # Of a name that nobody listed, where some are.
    save_mask(root / "masks" / "Wren" / "a" / "beak.png", numbers(5))
    with pytest.raises(FinercamError, match=r"mask '.*/a/beak.png' is of the part 'beak', which '.*parts.json' does"):
        opened(root)
    (root / "masks" / "parts.json").unlink()
    dataset, found = opened(root)
    assert dataset.part_names == ("part 2", "part 7", "part 150", "part 300", "beak", "eye", "fin", "head")
    assert set(found["Wren/a.jpg"].part_masks) == {"head", "eye", "beak"}


def test_without_names_parts_are_called_after_their_numbers(root):
    (root / "masks" / "parts.json").unlink()
    (root / "masks" / "Wren" / "more" / "b.png").write_bytes(b"no picture")
    dataset = read_dataset(f"folder@masks={root}/masks:{root}/photos")
    assert dataset.part_names == ("part 1", "part 2", "part 150", "part 300")
    crow, wren, other = dataset.items()
    assert set(dataset.open(wren).part_masks) == {"part 1", "part 2"}
    assert len(dataset.open(crow).parts) == 4
    with pytest.raises(FinercamError, match=r"b.png' is not a picture"):
        dataset.open(other)
    # Few are looked at, and what the others have besides is not passed over in silence.
    save_mask(root / "masks" / "Wren" / "more" / "b.png", numbers(2, of=(0, 8)))
    with pytest.raises(FinercamError, match=r"has the value 8, which none of 200 masks .* say in '.*parts.json'"):
        dataset.open(other)
    for path in (root / "masks").rglob("*.png"):
        path.unlink()
    with pytest.raises(FinercamError, match=r"there is no part in 0 masks of '.*/masks'; masks are PNGs that lie"):
        read_dataset(f"folder@masks={root}/masks:{root}/photos")
    save_mask(root / "masks" / "Wren" / "a.png", pixels(0))
    with pytest.raises(FinercamError, match=r"no part in 1 masks .*; mask '.*a.png' is of the mode RGB"):
        read_dataset(f"folder@masks={root}/masks:{root}/photos")


@pytest.mark.parametrize("spec", ["photos@{0}/masks:{0}/photos", "photos@masks={0}/masks:{0}/photos/Wren/.."])
def test_photos_that_are_not_sorted_may_have_masks(root, spec):
    _, found = opened(root, spec)
    assert {key: len(example.part_masks) for key, example in found.items()} == {
        "Crow/c.jpeg": 2,
        "Wren/a.jpg": 2,
        "Wren/more/b.PNG": 2,
    }


def test_masks_of_a_split_folder(tmp_path):
    save_picture(tmp_path / "photos" / "train" / "A" / "1.jpg")
    save_picture(tmp_path / "photos" / "test" / "A" / "1.jpg")
    save_mask(tmp_path / "masks" / "test" / "A" / "1.png", numbers())
    _, found = opened(tmp_path)
    assert set(found["test/A/1.jpg"].part_masks) == {"part 1", "part 2"}


def test_photos_without_a_mask_are_counted_once_in_a_pass(root):
    (root / "masks" / "Wren" / "a.png").unlink()
    (root / "masks" / "Crow" / "c.png").unlink()
    dataset = read_dataset(f"folder@masks={root}/masks:{root}/photos")
    with pytest.warns(UserWarning, match="no mask") as told:
        items = list(dataset.items())
    assert [str(one.message) for one in told] == [
        f"2 of 3 photos have no mask in '{root}/masks', such as 'Crow/c.png'",
    ]
    assert [item.part_mask is None for item in items] == [True, True, False]
    example = dataset.open(items[0])
    assert (example.part_masks, example.parts) == ({}, ())
    save_mask(root / "masks" / "Wren" / "a.png", numbers(1))
    save_mask(root / "masks" / "Crow" / "c.png", numbers(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(dataset.items())) == 3


def test_photos_with_masks_are_read_as_stored(root):
    picture = Image.fromarray(pixels(0, 24, 32))
    exif = picture.getexif()
    exif[ExifTags.Base.Orientation] = 6
    picture.save(root / "photos" / "Wren" / "a.jpg", exif=exif)
    save_mask(root / "masks" / "Wren" / "a.png", numbers(1, 24, 32))
    _, found = opened(root)
    assert found["Wren/a.jpg"].photo.size == (24, 32)
    assert found["Wren/a.jpg"].part_masks["head"].shape == (32, 24)
    (root / "masks" / "Wren" / "a.png").unlink()
    with pytest.warns(UserWarning, match="no mask"):
        assert opened(root)[1]["Wren/a.jpg"].photo.size == (32, 24)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (numbers(1, 30, 24), r"^mask '.*a.png' has 30 x 24 pixels, its photo '.*a.jpg' 32 x 24$"),
        (numbers(1, of=(0, 9)), r"a.png' has the value 9, which '.*parts.json' does not name; it names 1, 2, 7, 150"),
        (pixels(1), r"^mask '.*a.png' is of the mode RGB; the values of a mask number the parts: save it with a pal"),
    ],
)
def test_a_mask_that_does_not_fit_is_its_photos_failure(root, values, message):
    save_mask(root / "masks" / "Wren" / "a.png", values)
    dataset = read_dataset(f"folder@masks={root}/masks:{root}/photos")
    crow, wren, other = dataset.items()
    with pytest.raises(FinercamError, match=message):
        dataset.open(wren)
    assert dataset.open(crow).part_masks
    assert dataset.open(other).part_masks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"parts.json' is not JSON \(.*\); give the number and the name of each part, as {\"1\": \"head\""),
        ("\udcff", r"parts.json' is not JSON"),
        ("[" * 100_000, r"parts.json' is not JSON"),
        ('["head"]', r"parts.json' is not a mapping; give"),
        ('{1: "head", "2": "eye"', r"parts.json' is not JSON"),
        ("{}", r"parts.json' names no part; give"),
        ('{"0": "background"}', r"parts.json' names no part; give"),
        ('{"one": "head"}', r"'one' is not a value that a mask may have; give"),
        ('{"65536": "head"}', r"'65536' is not a value that a mask may have; give"),
        ('{"1": ""}', r"the part 1 is called ''; give"),
        ('{"1": 2}', r"the part 1 is called 2; give"),
    ],
)
def test_malformed_names_are_one_line(root, text, message):
    (root / "masks" / "parts.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(FinercamError, match=message) as error:
        read_dataset(f"photos@masks={root}/masks:{root}/photos")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600


def test_a_folder_of_masks_that_cannot_be_one_is_refused(root):
    with pytest.raises(FinercamError, match=r"there is no folder of masks '.*/none'"):
        read_dataset(f"folder@masks={root}/none:{root}/photos")
    (root / "masks").rename(root / "photos" / "masks")
    with pytest.raises(FinercamError, match=r"the masks of .* lie among the photos of .* put them beside"):
        read_dataset(f"folder@masks={root}/photos/masks:{root}/photos")


def test_what_the_aviary_writes_is_read_back(tmp_path):
    example = export(tmp_path / "example", 3, split="test")
    data = read_dataset(f"folder@masks={example}/segmentations:{example}/images")
    drawn = read_dataset("aviary", images=3)
    assert data.part_names == drawn.part_names
    expected = [drawn.open(item) for item in drawn.items()]
    photos = {example.photo.tobytes(): example for example in expected}
    items = list(data.items())
    assert len(items) == 3
    for item in items:
        found = data.open(item)
        drawing = photos[found.photo.tobytes()]
        assert found.part_masks.keys() == drawing.part_masks.keys()
        assert all(np.array_equal(found.part_masks[name], mask) for name, mask in drawing.part_masks.items())
        assert found.parts == drawing.parts


def test_an_item_with_a_mask_was_measured_as_stored():
    assert Item("a", "a", 0, part_mask="a.png").measured
    assert not Item("a", "a", 0, parts=(None,)).measured
