"""BIRDS 525 SPECIES in the publisher's folders, with the slips of its spelling."""

import shutil

import pytest

from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from support.pictures import save_picture, write_lines

#: Photo -> how birds.csv writes it.
PHOTOS = {
    "train/ABBOTTS BABBLER/001.jpg": None,
    "train/PARAKETT  AUKLET/001.jpg": "train/PARAKETT  AKULET/001.jpg",
    "train/ZEBRA DOVE/001.jpg": None,
    "valid/ABBOTTS BABBLER/1.jpg": None,
    "valid/PARAKETT AUKLET/1.jpg": "valid/PARAKETT  AKULET/1.jpg",
    "test/ABBOTTS BABBLER/1.jpg": None,
    "test/PARAKETT  AUKLET/1.jpg": "test/PARAKETT  AKULET/1.jpg",
    "test/ZEBRA DOVE/1.jpg": None,
}


@pytest.fixture
def root(tmp_path):
    for name in PHOTOS:
        save_picture(tmp_path / name)
    rows = (f"0.0,{written or name},{name.split('/')[1]},{name.split('/')[0]},X" for name, written in PHOTOS.items())
    write_lines(tmp_path / "birds.csv", "class id,filepaths,labels,data set,scientific name", *rows)
    return tmp_path


@pytest.mark.parametrize(("split", "folders"), [("train", "train"), ("test", "test"), ("all", "train valid test")])
def test_splits_share_their_classes_however_spelled(root, split, folders):
    dataset = read_dataset(f"birds525:{root}", split)
    assert dataset.class_names == ("ABBOTTS BABBLER", "PARAKETT AUKLET", "ZEBRA DOVE")
    items = list(dataset.items())
    assert [item.key for item in items] == [
        name for folder in folders.split() for name in PHOTOS if name.startswith(f"{folder}/")
    ]
    for item in items:
        assert dataset.class_names[item.label] == " ".join(item.key.split("/")[1].split())
        assert dataset.open(item).photo.size == (32, 24)


def test_without_the_table_the_folders_are_taken_as_they_are(root):
    (root / "test" / "ZEBRA DOVE" / "1.jpg").unlink()
    (root / "birds.csv").unlink()
    assert len(list(read_dataset(f"birds525:{root}").items())) == 2


def test_photos_that_the_table_lists_have_to_be_there(root):
    (root / "test" / "PARAKETT  AUKLET" / "1.jpg").unlink()
    shutil.rmtree(root / "train" / "ZEBRA DOVE")
    message = r"BIRDS 525 SPECIES: 2 of 8 pictures .*train/ZEBRA DOVE/001.jpg.*test/PARAKETT  AUKLET/1.jpg; .*kaggle"
    with pytest.raises(FinercamError, match=message):
        read_dataset(f"birds525:{root}")


def test_a_bad_table_is_named(root):
    write_lines(root / "birds.csv", "filepaths,labels", "test/ZEBRA DOVE/1.jpg,x", "ZEBRA DOVE,x")
    with pytest.raises(FinercamError, match=r"birds.csv, line 3: 'ZEBRA DOVE' is not SPLIT/SPECIES/photo.jpg"):
        read_dataset(f"birds525:{root}")
    write_lines(root / "birds.csv", "path,labels")
    with pytest.raises(FinercamError, match=r"birds.csv has no column 'filepaths'; its columns are path, labels"):
        read_dataset(f"birds525:{root}")


def test_a_missing_split_is_named(root):
    shutil.rmtree(root / "valid")
    with pytest.raises(FinercamError, match=r"the folder valid is missing .*gpiosenka"):
        read_dataset(f"birds525:{root}")


def test_a_table_that_is_not_utf8_is_one_line(root):
    (root / "birds.csv").write_bytes("filepaths\ntrain/ÉPERVIER/1.jpg\n".encode("latin-1"))
    with pytest.raises(FinercamError, match=r"birds.csv cannot be read: 'utf-8' codec"):
        read_dataset(f"birds525:{root}")


def test_pictures_outside_of_the_folder_are_refused(root):
    (root / "birds.csv").write_text("filepaths\n../../secret.jpg\n")
    with pytest.raises(FinercamError, match="does not lie below"):
        read_dataset(f"birds525:{root}")
