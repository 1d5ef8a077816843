"""Fish-Vista in the publisher's files, in chunks and moved together."""

import json

import numpy as np
import pytest
from PIL import Image

from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from finercam.metrics.metric import default_metrics
from support.pictures import pixels, save_picture, write_lines

HEADER = "filename,source_filename,family,standardized_species,file_name"
ROWS = {
    "train": (("INHS_1.jpg", "Salvelinus fontinalis"), ("INHS_2.jpg", "Esox lucius")),
    "val": (("INHS_3.jpg", "Perca flavescens"),),
    "test": (("INHS_4.jpg", "Esox lucius"), ("INHS_5.jpg", "Perca flavescens")),
}
#: As published: 154 bytes that are no JSON, for the numbers have no quotes.
TRAITS = (
    '{0: "Background", 1: "Head", 2: "Eye", 3: "Dorsal fin", 4: "Pectoral fin", 5: "Pelvic fin", 6: "Anal fin", '
    '7: "Caudal fin", 8: "Adipose fin", 9: "Barbel"}'
)
SPECIES = ("Esox lucius", "Perca flavescens", "Salvelinus fontinalis")


def table(path, rows):
    write_lines(path, HEADER, *(f'{name},"a, b",F,{species},Images/chunk_1/{name}' for name, species in rows))


@pytest.fixture(params=["chunks", "together"])
def root(tmp_path, request):
    number = 0
    for part, rows in ROWS.items():
        table(tmp_path / f"classification_{part}.csv", rows)
        for name, _ in rows:
            number += 1
            folder = tmp_path / "Images" / (f"chunk_{number % 2 + 1}" if request.param == "chunks" else "")
            save_picture(folder / name, number)
    return tmp_path


def add_mask(root, name, seed):
    path = root / "segmentation_masks" / "images" / f"{name[:-4]}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed)[:, :, 0] % 10).save(path)
    return pixels(seed)[:, :, 0] % 10 != 0


@pytest.mark.parametrize(("split", "parts"), [("train", "train"), ("test", "test"), ("all", "train val test")])
def test_splits_share_their_species(root, split, parts):
    dataset = read_dataset(f"fishvista:{root}", split)
    assert dataset.class_names == SPECIES
    assert dataset.regions == ()
    items = list(dataset.items())
    assert [(item.key, SPECIES[item.label]) for item in items] == [row for part in parts.split() for row in ROWS[part]]
    for item in items:
        stored = np.asarray(Image.open(item.uri))
        assert item.uri.endswith(item.key)
        assert np.array_equal(np.asarray(dataset.open(item).photo), stored)


def test_masks_are_taken_where_they_are(root):
    expected = add_mask(root, "INHS_5.jpg", 9)
    dataset = read_dataset(f"fishvista:{root}")
    assert dataset.regions == ("mask", "parts")
    first, second = dataset.items()
    assert dataset.open(first).mask is None
    assert (dataset.open(first).part_masks, dataset.open(first).parts) == ({}, ())
    assert np.array_equal(dataset.open(second).mask, expected)


def test_the_traits_are_parts(root):
    add_mask(root, "INHS_5.jpg", 9)
    values = pixels(9)[:, :, 0] % 10
    dataset = read_dataset(f"fishvista:{root}")
    assert (dataset.part_names[0], dataset.part_names[-1], len(dataset.part_names)) == ("Head", "Barbel", 9)
    _, item = dataset.items()
    example = dataset.open(item)
    assert tuple(example.part_masks) == dataset.part_names
    for number, (name, point) in enumerate(zip(dataset.part_names, example.parts, strict=True), 1):
        assert np.array_equal(example.part_masks[name], values == number)
        assert example.part_masks[name][int(point[1]), int(point[0])]
    assert np.array_equal(np.logical_or.reduce(list(example.part_masks.values())), example.mask)
    # What evaluate measures where nothing is said needs boxes for part points, which there are none of.
    assert default_metrics(dataset.regions) == default_metrics(("mask",))
    # The publisher's own list is asked first.
    listed = root / "segmentation_masks" / "seg_id_trait_map.json"
    listed.write_text(TRAITS)
    assert read_dataset(f"fishvista:{root}").part_names == dataset.part_names
    names = ("Background", *dataset.part_names[:-1], "Whisker")
    listed.write_text(json.dumps({str(number): name for number, name in enumerate(names)}))
    assert read_dataset(f"fishvista:{root}").part_names[-1] == "Whisker"
    listed.write_text("{")
    with pytest.raises(FinercamError, match=r"seg_id_trait_map.json' is not JSON"):
        read_dataset(f"fishvista:{root}")


def test_the_segmentation_task_has_a_mask_for_every_photo(root):
    for part in ROWS:
        table(root / f"segmentation_{part}.csv", ROWS[part][:1])
        add_mask(root, ROWS[part][0][0], 1)
    dataset = read_dataset(f"fishvista-segmentation:{root}")
    assert dataset.name == f"fishvista-segmentation:{root}"
    (item,) = dataset.items()
    assert item.key == "INHS_4.jpg"
    assert dataset.open(item).mask.shape == (24, 32)
    (root / "segmentation_masks" / "images" / "INHS_4.png").unlink()
    with pytest.raises(FinercamError, match=r"1 of 1 pictures are missing from .*segmentation_masks/images/INHS_4.png"):
        read_dataset(f"fishvista-segmentation:{root}")


def test_what_is_missing_is_named(root):
    for path in root.glob("Images/**/INHS_4.jpg"):
        path.unlink()
    message = r"Fish-Vista: 1 of 2 pictures are missing .*: INHS_4.jpg \(download_and_process_nd_images.py .*imageomics"
    with pytest.raises(FinercamError, match=message):
        read_dataset(f"fishvista:{root}")
    (root / "classification_val.csv").unlink()
    with pytest.raises(FinercamError, match=r"classification_val.csv is missing"):
        read_dataset(f"fishvista:{root}")
    (root / "Images").rename(root / "elsewhere")
    table(root / "classification_val.csv", ())
    with pytest.raises(FinercamError, match=r"the folder Images is missing"):
        read_dataset(f"fishvista:{root}")
    with pytest.raises(FinercamError, match=r"segmentation_train.csv is missing"):
        read_dataset(f"fishvista-segmentation:{root}")


def test_a_bad_line_is_named(root):
    path = root / "classification_test.csv"
    table(path, (*ROWS["test"], ROWS["test"][0]))
    with pytest.raises(FinercamError, match=r"classification_test.csv, line 4: photo 'INHS_4.jpg' is listed twice"):
        read_dataset(f"fishvista:{root}")
    table(path, (ROWS["test"][0], ("INHS_5.jpg", " ")))
    with pytest.raises(FinercamError, match=r"classification_test.csv, line 3: standardized_species is empty"):
        read_dataset(f"fishvista:{root}", "train")
    write_lines(path, "filename,species", "INHS_4.jpg,x")
    with pytest.raises(FinercamError, match=r"no column 'standardized_species'; its columns are filename, species"):
        read_dataset(f"fishvista:{root}")
