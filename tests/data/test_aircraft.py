"""FGVC-Aircraft in the publisher's files."""

import numpy as np
import pytest
from PIL import Image

from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from support.pictures import save_picture, write_lines

VARIANTS = ("707-320", "F/A-18", "Cessna 172")
FAMILIES = ("Boeing 707", "Cessna 172", "F/A-18")


@pytest.fixture
def root(tmp_path):
    data = tmp_path / "fgvc-aircraft-2013b" / "data"
    for seed, number in enumerate(("0000001", "0000002", "0000003")):
        save_picture(data / "images" / f"{number}.jpg", seed, width=32, height=50)
    write_lines(data / "variants.txt", *VARIANTS)
    write_lines(data / "families.txt", *FAMILIES)
    write_lines(data / "images_variant_trainval.txt", "0000002 Cessna 172")
    write_lines(data / "images_variant_test.txt", "0000003 F/A-18", "0000001 707-320")
    write_lines(data / "images_family_trainval.txt", "0000002 Cessna 172")
    write_lines(data / "images_family_test.txt", "0000003 F/A-18", "0000001 Boeing 707")
    write_lines(data / "images_box.txt", "0000001 1 1 32 30", "0000002 3 4 3 4", "0000003 5 6 7 50", "0000009 1 1 2 2")
    return tmp_path


def test_boxes_counted_from_one_with_both_ends(root):
    dataset = read_dataset(f"aircraft:{root}")
    assert dataset.class_names == VARIANTS
    assert dataset.regions == ("box",)
    first, second = dataset.items()
    assert (first.key, first.label, first.box) == ("images/0000003.jpg", 1, (4, 5, 7, 50))
    assert (second.key, second.label, second.box) == ("images/0000001.jpg", 0, (0, 0, 32, 30))
    (train,) = read_dataset(f"aircraft:{root}", "train").items()
    assert (train.key, train.label, train.box) == ("images/0000002.jpg", 2, (2, 3, 3, 4))
    assert list(read_dataset(f"aircraft:{root}", "all").items()) == [train, first, second]


@pytest.mark.parametrize("inside", ["", "fgvc-aircraft-2013b", "fgvc-aircraft-2013b/data"])
def test_any_of_the_archives_folders_will_do(root, inside):
    given = root / inside
    assert len(list(read_dataset(f"aircraft:{given}").items())) == 2


def test_families(root):
    dataset = read_dataset(f"aircraft-family:{root}")
    assert dataset.class_names == FAMILIES
    assert dataset.name == f"aircraft-family:{root}"
    assert [item.label for item in dataset.items()] == [2, 0]
    same = read_dataset(f"aircraft@family:{root}")
    assert (same.class_names, list(same.items())) == (FAMILIES, list(dataset.items()))
    with pytest.raises(FinercamError, match=r"'aircraft@genus': level is 'genus'; choose from: variant, family"):
        read_dataset(f"aircraft@genus:{root}")


def test_the_notice_below_the_photo_is_cut_off(root):
    dataset = read_dataset(f"aircraft:{root}")
    item = next(dataset.items())
    photo = dataset.open(item).photo
    assert photo.size == (32, 30)
    assert np.array_equal(np.asarray(photo), np.asarray(Image.open(item.uri))[:30])
    save_picture(item.uri, height=20)
    with pytest.raises(FinercamError, match=r"is 20 pixels high, no more than the notice"):
        dataset.open(item)


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("images_variant_test.txt", "0000001 707-321", r"test.txt, line 1: '707-321' is not in variants.txt"),
        ("images_variant_test.txt", "0000001", r"test.txt, line 1: '0000001' has 1 of 2 fields"),
        ("images_box.txt", "0000001 1 1 32 30", r"images_box.txt has no line for id '0000003'"),
        ("images_box.txt", "0000003 1 1 x 30", r"images_box.txt, line 1: the box is '1 1 x 30', not 4 numbers"),
        ("images_box.txt", "0000003 9 1 8 30", r"images_box.txt, line 1: the box .* is empty"),
        ("images_variant_test.txt", "0000004 F/A-18", r"no line for id '0000004', which images_variant_test.txt lists"),
    ],
)
def test_a_bad_line_is_named(root, name, line, message):
    write_lines(root / "fgvc-aircraft-2013b" / "data" / name, line)
    with pytest.raises(FinercamError, match=message):
        read_dataset(f"aircraft:{root}")


def test_a_photo_in_both_splits_is_refused(root):
    write_lines(root / "fgvc-aircraft-2013b" / "data" / "images_variant_trainval.txt", "0000003 F/A-18")
    with pytest.raises(FinercamError, match=r"test.txt, line 1: photo 0000003 is also in the other split"):
        read_dataset(f"aircraft:{root}", "all")


def test_what_is_missing_is_named(root):
    data = root / "fgvc-aircraft-2013b" / "data"
    (data / "images" / "0000001.jpg").unlink()
    with pytest.raises(FinercamError, match=r"1 of 2 photos are missing from .*images/0000001.jpg"):
        read_dataset(f"aircraft:{root}")
    assert len(list(read_dataset(f"aircraft:{root}", "train").items())) == 1
    for name in ("images_box.txt", "variants.txt"):
        (data / name).unlink()
        with pytest.raises(FinercamError, match=rf"FGVC-Aircraft: {name} is missing .*robots.ox.ac.uk"):
            read_dataset(f"aircraft:{root}")
