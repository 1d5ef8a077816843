"""Stanford Cars in its two forms, with real .mat files."""

import sys

import numpy as np
import pytest
from scipy.io import savemat

from finercam.data import matlab
from finercam.data.reading import check_download, read_dataset
from finercam.errors import FinercamError
from support.pictures import save_picture

NAMES = ("AM General Hummer SUV 2000", "Ram C/V Cargo Van Minivan 2012")
TRAIN = (("00001.jpg", 2, (1, 1, 32, 24)), ("00002.jpg", 1, (5, 6, 7, 6)))
TEST = (("00001.jpg", 1, (3, 4, 10, 20)),)
FIELDS = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")


def save_annotations(path, rows, fields, **more):
    """A struct array as MATLAB writes it: every field a matrix of its own."""
    table = np.zeros((1, len(rows)), [(name, object) for name in fields])
    for at, row in enumerate(rows):
        for name, value in zip(fields, row, strict=True):
            table[0, at][name] = value if isinstance(value, str) else np.array([[value]], np.uint16)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"annotations": table} | more)


def cell(names):
    return np.array([list(names)], object)


def two(root, train=TRAIN, test=TEST, test_path="cars_test_annos_withlabels.mat"):
    devkit = root / "devkit"
    devkit.mkdir(parents=True, exist_ok=True)
    savemat(devkit / "cars_meta.mat", {"class_names": cell(NAMES)})
    for rows, path in ((train, devkit / "cars_train_annos.mat"), (test, root / test_path)):
        save_annotations(path, [(*box, label, name) for name, label, box in rows], FIELDS)
    for folder, rows in (("cars_train", TRAIN), ("cars_test", TEST)):
        for name, *_ in rows:
            save_picture(root / folder / name)
    return root


def one(root):
    rows = [(f"car_ims/{n:06d}.jpg", *box, label, n % 2) for n, (_, label, box) in enumerate((*TRAIN, *TEST), 1)]
    fields = ("relative_im_path", *FIELDS[:4], "class", "test")
    save_annotations(root / "cars_annos.mat", rows, fields, class_names=cell(NAMES))
    for name, *_ in rows:
        save_picture(root / name)
    return root


def test_boxes_counted_from_one_with_both_ends(tmp_path):
    two(tmp_path)
    dataset = read_dataset(f"cars:{tmp_path}", "train")
    assert dataset.class_names == NAMES
    assert dataset.regions == ("box",)
    first, second = dataset.items()
    assert (first.key, first.label, first.box) == ("cars_train/00001.jpg", 1, (0, 0, 32, 24))
    assert (second.key, second.label, second.box) == ("cars_train/00002.jpg", 0, (4, 5, 7, 6))
    assert dataset.open(first).photo.size == (32, 24)
    (test,) = read_dataset(f"cars:{tmp_path}").items()
    assert (test.key, test.label, test.box) == ("cars_test/00001.jpg", 0, (2, 3, 10, 20))
    assert [item.key for item in read_dataset(f"cars:{tmp_path}", "all").items()] == [first.key, second.key, test.key]


def test_other_places_of_the_files(tmp_path):
    root = two(tmp_path / "stanford_cars", test_path="devkit/cars_test_annos_withlabels.mat")
    for name in ("cars_train", "cars_test"):
        (root / name).rename(root / "moved")
        (root / name).mkdir()
        (root / "moved").rename(root / name / name)
    assert [item.key for item in read_dataset(f"cars:{tmp_path}", "all").items()] == [
        "cars_train/cars_train/00001.jpg",
        "cars_train/cars_train/00002.jpg",
        "cars_test/cars_test/00001.jpg",
    ]


def test_the_form_with_one_file(tmp_path):
    dataset = read_dataset(f"cars:{one(tmp_path)}")
    assert dataset.class_names == NAMES
    items = [(item.key, item.label, item.box) for item in dataset.items()]
    assert items == [("car_ims/000001.jpg", 1, (0, 0, 32, 24)), ("car_ims/000003.jpg", 0, (2, 3, 10, 20))]
    assert [item.key for item in read_dataset(f"cars:{tmp_path}", "train").items()] == ["car_ims/000002.jpg"]
    assert len(list(read_dataset(f"cars:{tmp_path}", "all").items())) == 3
    assert dataset.open(next(dataset.items())).photo.size == (32, 24)
    (tmp_path / "car_ims" / "000002.jpg").unlink()
    with pytest.raises(FinercamError, match=r"1 of 3 pictures are missing from .*car_ims/000002.jpg"):
        read_dataset(f"cars:{tmp_path}")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("00003.jpg", 3, (1, 1, 5, 5)), r"annotation 2: class 3 is out of range: there are 2, from 1"),
        (("00003.jpg", 0, (1, 1, 5, 5)), r"annotation 2: class 0 is out of range"),
        (("00003.jpg", "x", (1, 1, 5, 5)), r"annotation 2: class and box are 'x' 1 1 5 5, not whole numbers"),
        (("00003.jpg", 1, (6, 1, 5, 5)), r"annotation 2: the box from \(5, 0\) to \(5, 5\) is empty"),
        (("00001.jpg", 1, (1, 1, 5, 5)), r"annotation 2: picture '00001.jpg' is annotated twice"),
    ],
)
def test_a_bad_annotation_is_named(tmp_path, row, message):
    two(tmp_path, test=(TEST[0], row))
    with pytest.raises(FinercamError, match=rf"withlabels.mat, {message}"):
        read_dataset(f"cars:{tmp_path}")


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FinercamError, match=r"Stanford Cars: there is no folder .*jkrause"):
        read_dataset(f"cars:{tmp_path}/none")
    with pytest.raises(FinercamError, match=r"devkit/cars_meta.mat or cars_meta.mat is missing"):
        read_dataset(f"cars:{tmp_path}")
    two(tmp_path)
    (tmp_path / "cars_test_annos_withlabels.mat").rename(tmp_path / "devkit" / "cars_test_annos.mat")
    with pytest.raises(FinercamError, match=r"withlabels.mat is missing .*; cars_test_annos.mat alone has no labels"):
        read_dataset(f"cars:{tmp_path}")
    assert len(list(read_dataset(f"cars:{tmp_path}", "train").items())) == 2
    (tmp_path / "cars_train" / "00002.jpg").unlink()
    with pytest.raises(FinercamError, match=r"1 of 2 pictures are missing from .*cars_train': 00002.jpg"):
        read_dataset(f"cars:{tmp_path}", "train")


def test_damaged_annotations_are_named(tmp_path):
    two(tmp_path)
    path = tmp_path / "cars_test_annos_withlabels.mat"
    save_annotations(path, [(1, 1, 5, 5, "00001.jpg")], (*FIELDS[:4], "fname"))
    with pytest.raises(FinercamError, match=r"the annotations have no field 'class'; they have bbox_x1"):
        read_dataset(f"cars:{tmp_path}")
    path.write_bytes(b"not a matrix" * 20)
    with pytest.raises(FinercamError, match=r"withlabels.mat cannot be read"):
        read_dataset(f"cars:{tmp_path}")
    savemat(path, {"other": 1})
    with pytest.raises(FinercamError, match=r"has no variable 'annotations'"):
        read_dataset(f"cars:{tmp_path}")


def test_without_scipy_it_says_what_to_install(tmp_path, monkeypatch):
    two(tmp_path)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(FinercamError, match="pip install scipy"):
        read_dataset(f"cars:{tmp_path}")


def test_a_damaged_file_is_one_line_whatever_it_does_to_scipy(tmp_path):
    root = two(tmp_path)
    path = root / "devkit" / "cars_train_annos.mat"
    whole = bytearray(path.read_bytes())
    random = np.random.default_rng(0)
    read = 0
    for _ in range(5):
        damaged = bytearray(whole)
        for at in random.integers(0, len(whole), 4):
            damaged[at] = int(random.integers(0, 256))
        path.write_bytes(damaged)
        try:
            read_dataset(f"cars:{root}", "train")
            read += 1
        except FinercamError:
            pass
    assert read < 5


def test_a_child_that_dies_is_one_line(tmp_path, monkeypatch):
    root = two(tmp_path)
    monkeypatch.setattr(matlab, "_CHILD", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(FinercamError, match=r"cars_meta.mat cannot be read: .*scipy crashed on it"):
        read_dataset(f"cars:{root}", "train")


@pytest.mark.parametrize("name", ["../cars_test/00001.jpg", "/etc/hostname", "a/../../x.jpg", "C:\\x.jpg"])
def test_pictures_outside_of_the_folder_are_not_opened(tmp_path, name):
    root = two(tmp_path, train=((name, 1, (1, 1, 3, 3)),))
    with pytest.raises(FinercamError, match="does not lie below"):
        read_dataset(f"cars:{root}", "train")


def test_a_mirror_with_the_annotations_of_other_photos_is_read_by_the_devkit(tmp_path):
    """As mirrors have it: photos in folders twice, and ``cars_annos.mat``, whose ``car_ims`` are not there."""
    root = two(tmp_path)
    for name in ("cars_train", "cars_test"):
        (root / name).rename(root / "moved")
        (root / name).mkdir()
        (root / "moved").rename(root / name / name)
    one(tmp_path / "other")
    (tmp_path / "other" / "cars_annos.mat").rename(root / "cars_annos.mat")
    assert len(list(read_dataset(f"cars:{root}", "all").items())) == 3
    _, found = check_download(f"cars:{root}")
    assert not [line for line in found if line.lacking]
    (root / "devkit" / "cars_meta.mat").unlink()
    with pytest.raises(FinercamError, match=r"devkit/cars_meta.mat or cars_meta.mat is missing"):
        read_dataset(f"cars:{root}", "all")
    assert [line.part for line in check_download(f"cars:{root}")[1] if line.lacking] == [
        "devkit/cars_meta.mat or cars_meta.mat"
    ]
