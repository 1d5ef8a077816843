"""CUB-200-2011: in the publisher's files, in the aviary's export, and in the ten real classes."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finercam import aviary
from finercam.data.formats import cub
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from support.pictures import pixels, save_picture, write_lines

NAMES = ("001.Black_footed_Albatross", "002.Laysan_Albatross")
PHOTOS = (f"{NAMES[0]}/a_1.jpg", f"{NAMES[1]}/b_2.jpg", f"{NAMES[0]}/c_3.jpg")
IDS = (2, 5, 9)  # with gaps, as when some were taken out

REAL = Path(os.environ.get("FINERCAM_SHARED", "")) / "data" / "cub10"
needs_real = pytest.mark.skipif(
    not os.environ.get("FINERCAM_SHARED") or not REAL.is_dir(), reason="FINERCAM_SHARED has no data/cub10"
)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "CUB_200_2011"
    for seed, name in enumerate(PHOTOS):
        save_picture(root / "images" / name, seed)
    write_lines(root / "classes.txt", *(f"{n} {name}" for n, name in enumerate(NAMES, 1)))
    write_lines(root / "images.txt", *(f"{n} {name}" for n, name in zip(IDS, PHOTOS, strict=True)))
    write_lines(root / "image_class_labels.txt", "2 1", "5 2", "9 1", "11 2")
    write_lines(root / "train_test_split.txt", "2 0", "5 1", "9 0")
    write_lines(root / "bounding_boxes.txt", "2 0.0 0.0 32.0 24.0", "5 3.0 4.0 10.0 20.0", "9 1.5 2.0 4.5 8.0")
    write_lines(root / "parts" / "parts.txt", "1 back", "2 left eye")
    write_lines(
        root / "parts" / "part_locs.txt",
        *("2 1 12.0 3.0 1", "2 2 0.0 0.0 0", "5 1 0.0 0.0 0", "5 2 4.5 6.0 1", "9 1 7.0 8.0 1", "9 2 9.0 10.0 1"),
    )
    return root


def add_attributes(root, beside):
    names = ("1 has_bill_shape::dagger", "2 has_bill_shape::hooked_(seabird)", "3 has_size::small_(5_-_9_in)")
    write_lines(root.parent / "attributes.txt" if beside else root / "attributes" / "attributes.txt", *names)
    write_lines(root / "attributes" / "class_attribute_labels_continuous.txt", "0.0 12.5 100.0", "3.25 0.0 50.0")


def change(path, line, text):
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    write_lines(path, *lines)
    return path


def test_labels_boxes_and_parts_are_read(root):
    dataset = read_dataset(f"cub:{root}")
    assert (dataset.class_names, dataset.part_names) == (NAMES, ("back", "left eye"))
    assert dataset.regions == ("box", "parts")
    first, second = dataset.items()
    assert (first.key, first.label, first.mask) == (PHOTOS[0], 0, None)
    assert first.box == (0, 0, 32, 24)
    assert first.parts == ((12, 3), None)
    assert second.box == (1.5, 2, 6, 10)
    assert second.parts == ((7, 8), (9, 10))
    assert [item.key for item in read_dataset(f"cub:{root}", "train").items()] == [PHOTOS[1]]
    assert [item.key for item in read_dataset(f"cub:{root}", "all").items()] == list(PHOTOS)
    assert np.asarray(dataset.open(first).photo).shape == (24, 32, 3)


def test_the_folder_above_does_as_well(root):
    assert list(read_dataset(f"cub:{root.parent}").items()) == list(read_dataset(f"cub:{root}").items())


@pytest.mark.parametrize("inside", [True, False])
def test_segmentations_are_found_in_the_folder_and_beside_it(root, inside):
    folder = (root if inside else root.parent) / "segmentations"
    (root.parent / "segmentations").mkdir()  # one that is another data set's is passed over
    for seed, name in enumerate(PHOTOS):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels(seed)[:, :, 0] > 200).astype(np.uint8) * 51).save((folder / name).with_suffix(".png"))
    dataset = read_dataset(f"cub:{root}", "all")
    assert dataset.regions == ("box", "mask", "parts")
    for seed, item in enumerate(dataset.items()):
        assert np.array_equal(dataset.open(item).mask, pixels(seed)[:, :, 0] > 200)
    (folder / PHOTOS[1]).with_suffix(".png").unlink()
    with pytest.raises(FinercamError, match=r"1 of 3 segmentations are missing .*b_2.png"):
        read_dataset(f"cub:{root}")


def test_segmentations_beside_that_are_another_data_sets_are_passed_over(root):
    save_picture(root.parent / "segmentations" / "003.Other" / "a_1.png")
    dataset = read_dataset(f"cub:{root}")
    assert dataset.regions == ("box", "parts")
    assert [item.mask for item in dataset.items()] == [None, None]


def test_a_box_one_pixel_off_the_picture_is_cut(root):
    change(root / "bounding_boxes.txt", 1, "2 -1.0 -0.5 10.0 5.0")
    assert next(read_dataset(f"cub:{root}").items()).box == (0, 0, 9, 4.5)


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("images.txt", 2, "5", r"images.txt, line 2: '5' has 1 of 2 fields"),
        ("images.txt", 3, f"5 {PHOTOS[2]}", r"images.txt, line 3: id '5' is already in line 2"),
        ("image_class_labels.txt", 2, "5 3", r"labels.txt, line 2: class '3' is not in classes.txt, which has 2"),
        ("image_class_labels.txt", 2, None, r"image_class_labels.txt has no line for id '5', which images.txt lists"),
        ("train_test_split.txt", 1, "2 yes", r"split.txt, line 1: is_training_image is 'yes', not 0 or 1"),
        ("bounding_boxes.txt", 3, "9 1.5 2.0 4.5", r"boxes.txt, line 3: '9 1.5 2.0 4.5' has 4 of 5 fields"),
        ("bounding_boxes.txt", 3, "9 1.5 2.0 4.5 x", r"boxes.txt, line 3: the box is '1.5 2.0 4.5 x', not 4 numbers"),
        ("bounding_boxes.txt", 3, "9 1.5 2.0 4.5 nan", r"line 3: the box is .*nan', not 4 numbers"),
        ("bounding_boxes.txt", 1, "2 5.0 5.0 0.0 9.0", r"line 1: the box from \(5, 5\) to \(5, 14\) is empty"),
        ("bounding_boxes.txt", 1, "2 -5.0 5.0 9.0 9.0", r"line 1: the box .* begins outside the picture"),
        ("parts/part_locs.txt", 2, "2 3 0.0 0.0 0", r"part_locs.txt, line 2: part '3' is not in parts.txt"),
        ("parts/part_locs.txt", 2, "2 1 0.0 0.0 0", r"part_locs.txt, line 2: part '1' of id '2' is listed twice"),
        ("parts/part_locs.txt", 1, "2 1 0.0 ? 0", r"part_locs.txt, line 1: the place is '0.0 \?', not 2 numbers"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_bad_line_is_named(root, name, line, text, message, split):
    change(root / name, line, text)
    with pytest.raises(FinercamError, match=message):
        read_dataset(f"cub:{root}", split)


@pytest.mark.parametrize("name", ["images.txt", "classes.txt", "bounding_boxes.txt", "parts/part_locs.txt"])
def test_a_missing_file_is_named_with_the_page(root, name):
    (root / name).unlink()
    with pytest.raises(FinercamError, match=rf"CUB-200-2011: {name} is missing .*vision.caltech.edu"):
        read_dataset(f"cub:{root}")


def test_pictures_that_are_not_there_are_counted(root):
    (root / "images" / PHOTOS[0]).unlink()
    with pytest.raises(FinercamError, match=r"1 of 3 pictures are missing from .*a_1.jpg; the data is published at"):
        read_dataset(f"cub:{root}")
    (root / "images").rename(root / "elsewhere")
    with pytest.raises(FinercamError, match="the folder images is missing"):
        read_dataset(f"cub:{root}")


@pytest.mark.parametrize("beside", [True, False])
def test_class_attributes(root, beside):
    add_attributes(root, beside)
    attributes, strengths, names = cub.class_attributes(str(root))
    assert attributes[1] == "has_bill_shape::hooked_(seabird)"
    assert names == NAMES
    assert strengths.tolist() == [[0, 12.5, 100], [3.25, 0, 50]]
    path = root / "attributes" / "class_attribute_labels_continuous.txt"
    for text, message in (
        ("0.0 1.0", "line 2: 2 numbers for 3 attributes"),
        ("0.0 1.0 101.0", "line 2: values from 0 to 101, not percentages"),
        (None, "has 1 lines for 2 classes"),
    ):
        add_attributes(root, beside)
        change(path, 2, text)
        with pytest.raises(FinercamError, match=message):
            cub.class_attributes(str(root))


def test_image_attributes(root):
    add_attributes(root, True)
    with pytest.raises(FinercamError, match=r"image_attribute_labels.txt is missing"):
        cub.image_attributes(str(root))
    path = root / "attributes" / "image_attribute_labels.txt"
    write_lines(path, "2 1 1 3 27.7", "2 3 0 1 5.0", "9 2 1 4 0 1.5", "11 1 1 4 2.0")
    keys, present, certainty = cub.image_attributes(str(root))
    assert keys == PHOTOS
    assert present.tolist() == [[True, False, False], [False] * 3, [False, True, False]]
    assert certainty.tolist() == [[3, 0, 1], [0] * 3, [0, 4, 0]]
    for text, message in (("2 4 1 3 1.0", r"row 2, \[2, 4, 1, 3\], is out of range"), ("2 x 1 3 1.0", "whole numbers")):
        change(path, 2, text)
        with pytest.raises(FinercamError, match=message):
            cub.image_attributes(str(root))


def test_the_aviarys_export_is_read_back(tmp_path):
    root = aviary.export(tmp_path / "birds", 10, seed=1, size=64)
    dataset = read_dataset(f"cub:{root}", "all")
    assert dataset.part_names == aviary.PARTS
    samples = [*aviary.Aviary("train", 8, 1, size=64), *aviary.Aviary("test", 2, 1, size=64)]
    for item, sample in zip(dataset.items(), samples, strict=True):
        example = dataset.open(item)
        assert np.array_equal(np.asarray(example.photo), sample.image)
        assert np.array_equal(example.mask, np.logical_or.reduce(list(sample.masks.values())))
        assert item.box == sample.box
        assert item.label == sample.label
        assert dataset.class_names[item.label][4:].replace("_", " ") == sample.species
        for name, point in zip(dataset.part_names, item.parts, strict=True):
            assert (point is None) == (name not in sample.masks)
            assert point is None or sample.masks[name][int(point[1]), int(point[0])]
    assert len(list(read_dataset(f"cub:{root}").items())) == 2
    attributes, strengths, names = cub.class_attributes(str(root))
    assert len(attributes) == sum(map(len, aviary.ATTRIBUTES.values()))
    assert strengths.shape == (len(names), len(attributes)) == (len(aviary.SPECIES), len(attributes))


@needs_real
def test_ten_real_classes():
    dataset = read_dataset(f"cub:{REAL}", "all")
    items = list(dataset.items())
    assert len(items) == 420
    assert len(dataset.class_names) == 200
    assert len(dataset.part_names) == 15
    assert {dataset.class_names[item.label] for item in items} == {path.name for path in (REAL / "images").iterdir()}
    assert all(dataset.class_names[item.label] == item.key.split("/")[0] for item in items)
    splits = {split: {item.key for item in read_dataset(f"cub:{REAL}", split).items()} for split in ("train", "test")}
    assert not splits["train"] & splits["test"]
    assert splits["train"] | splits["test"] == {item.key for item in items}
    for item in items[::20]:
        width, height = dataset.open(item).photo.size
        assert 0 <= item.box[0] < item.box[2] <= width
        assert 0 <= item.box[1] < item.box[3] <= height
        assert all(0 <= x < width and 0 <= y < height for x, y in filter(None, item.parts))
    _, strengths, _ = cub.class_attributes(str(REAL))
    assert strengths.shape == (200, 312)
    assert strengths[0, 1] == 2.9197080292


@pytest.mark.parametrize("name", ["/etc/hostname", "../../etc/hostname", "a/../../b.jpg", "..\\b.jpg", "C:/b.jpg"])
def test_pictures_outside_of_the_folder_are_not_opened(root, name):
    change(root / "images.txt", 2, f"5 {name}")
    with pytest.raises(FinercamError, match=r"does not lie below .*images"):
        read_dataset(f"cub:{root}")
