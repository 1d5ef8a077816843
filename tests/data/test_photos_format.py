"""Photos that are not sorted by class: whatever lies in a folder, on disk and behind a URI."""

import os
import pickle
import sys
import zipfile

import pytest

from finercam.contrast.labels import Labels
from finercam.data import photos
from finercam.data.dataset import UNKNOWN
from finercam.data.matching import match_classes
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from support.pictures import save_picture

NAMES = ("a.jpg", "b.PNG", "test/c.webp", "train/more/deep/d.jpg", "notes.txt", ".hidden/h.jpg")
KEYS = ["a.jpg", "b.PNG", "test/c.webp", "train/more/deep/d.jpg"]


@pytest.fixture
def root(tmp_path):
    for number, name in enumerate(NAMES):
        if name.endswith(".txt"):
            (tmp_path / "photos" / name).write_text("no photo")
        else:
            save_picture(tmp_path / "photos" / name, number)
    return tmp_path / "photos"


def test_every_photo_is_taken_wherever_it_lies(root):
    for split in ("train", "test", "all"):
        dataset = read_dataset(f"photos:{root}", split)
        assert (dataset.name, dataset.class_names, dataset.regions) == (f"photos:{root}", (UNKNOWN,), ())
        items = list(dataset.items())
        assert [(item.key, item.uri, item.label) for item in items] == [(key, f"{root}/{key}", 0) for key in KEYS]
        assert dataset.open(items[-1]).photo.size == (32, 24)
    sample = read_dataset(f"photos:{root}", images=2)
    assert {item.key for item in pickle.loads(pickle.dumps(sample.items))()} < set(KEYS)


def test_the_same_behind_uris(root):
    with zipfile.ZipFile(root.parent / "photos.zip", "w") as archive:
        for name in NAMES:
            archive.write(root / name, f"inside/{name}")
    dataset = read_dataset(f"photos:zip://inside::file://{root.parent}/photos.zip")
    assert [item.key for item in dataset.items()] == KEYS
    assert dataset.open(list(dataset.items())[2]).photo.size == (32, 24)


def test_names_that_are_not_utf8_are_taken(root):
    name = os.fsdecode(b"caf\xe9.jpg")
    save_picture(root / name)
    item = next(item for item in read_dataset(f"photos:{root}").items() if item.key not in KEYS)
    assert item.key == name
    assert os.path.exists(item.uri)


@pytest.mark.parametrize("spec", ["photos:{}", "folder:{}/.."])
def test_results_are_not_searched_and_that_is_said(root, spec):
    (root / "test" / "why").mkdir()
    (root / "test" / "why" / "explanations.jsonl").write_text("")
    save_picture(root / "test" / "why" / "c.png")
    dataset = read_dataset(spec.format(root))
    with pytest.warns(UserWarning, match=r"not searched: '.*/test/why', which hold results") as told:
        assert len(list(dataset.items())) == len(KEYS)
    assert len(told) == 1


def test_files_that_would_be_photos_are_counted(root, monkeypatch):
    photos.has_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (root / "x.HEIC").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"1 file skipped \(\.heic\); pip install pillow-heif"):
        assert len(list(read_dataset(f"photos:{root}").items())) == len(KEYS)
    photos.has_heif.cache_clear()


def test_what_holds_no_photo_is_refused(tmp_path):
    with pytest.raises(FinercamError, match=r"there is no file or folder .*/none'"):
        read_dataset(f"photos:{tmp_path}/none")
    with pytest.raises(FinercamError, match=r"there is no photo in .*; the names of photos end in .*\.jpg"):
        read_dataset(f"photos:{tmp_path}")
    with pytest.raises(FinercamError, match=r"'photos' is not a data set: write photos:DIR or photos:URI"):
        read_dataset("photos")


def test_no_class_of_a_model_is_theirs_unless_it_is_said():
    labels = Labels([UNKNOWN, "Wren"])
    with pytest.raises(FinercamError, match=r"not sorted by class, so .*--target predicted.*folder:DIR"):
        match_classes([UNKNOWN], labels)
    found = match_classes([UNKNOWN], labels, skip_unmatched=True)
    assert (found.indices.tolist(), found.unmatched) == ([-1], ())
    assert match_classes([UNKNOWN], labels, {UNKNOWN: "Wren"}).indices.tolist() == [1]
