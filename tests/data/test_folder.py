"""Class folders, on disk and behind URIs."""

import os
import pickle
import sys
import zipfile

import fsspec
import numpy as np
import pytest

from finercam.data import photos, storage
from finercam.data.formats import folder
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from support.pictures import pixels, save_picture

PLAIN = ("Wren/b.jpg", "Wren/a.PNG", "Wren/more/deep/c.webp", "Crow/x.jpeg", "Crow/notes.txt", ".hidden/h.jpg")
SPLIT = ("train/Wren/1.png", "train/Crow/2.png", "test/Crow/3.png", "val/Wren/4.png", "val/Jay/5.png", "cover.jpg")


def build(root, names):
    for number, name in enumerate(names):
        if os.path.splitext(name)[1] == ".txt":
            (root / name).write_text("no photo")
        else:
            save_picture(root / name, number)
    return root


def listed(spec, split="test"):
    dataset = read_dataset(spec, split)
    return dataset.class_names, [(item.key, dataset.class_names[item.label]) for item in dataset.items()]


def test_classes_are_folders_and_photos_may_be_nested(tmp_path):
    build(tmp_path, PLAIN)
    names, items = listed(f"folder:{tmp_path}")
    assert names == ("Crow", "Wren")
    assert items == [
        ("Crow/x.jpeg", "Crow"),
        ("Wren/a.PNG", "Wren"),
        ("Wren/b.jpg", "Wren"),
        ("Wren/more/deep/c.webp", "Wren"),
    ]
    for split in ("train", "all"):
        assert listed(f"folder:{tmp_path}", split) == (names, items)
    dataset = read_dataset(f"folder:{tmp_path}")
    assert dataset.name == f"folder:{tmp_path}"
    assert (dataset.regions, dataset.part_names) == ((), ())
    second = list(dataset.items())[1]
    assert np.array_equal(np.asarray(dataset.open(second).photo), pixels(1))


def test_split_folders_are_used_and_share_their_classes(tmp_path):
    build(tmp_path, SPLIT)
    classes = ("Crow", "Jay", "Wren")
    spec = f"folder:{tmp_path}"
    assert listed(spec, "train") == (classes, [("train/Crow/2.png", "Crow"), ("train/Wren/1.png", "Wren")])
    assert listed(spec, "test") == (classes, [("test/Crow/3.png", "Crow")])
    assert [key for key, _ in listed(spec, "all")[1]] == [
        "train/Crow/2.png",
        "train/Wren/1.png",
        "test/Crow/3.png",
        "val/Jay/5.png",
        "val/Wren/4.png",
    ]


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_validation_stands_in_for_a_test_split(tmp_path, name):
    build(tmp_path, ("train/A/1.png", f"{name}/A/2.png"))
    assert [key for key, _ in listed(f"folder:{tmp_path}")[1]] == [f"{name}/A/2.png"]


@pytest.mark.parametrize("name", ["test", "train"])
def test_a_class_may_be_called_as_a_split(tmp_path, name):
    build(tmp_path, (f"{name}/1.png", "Wren/2.png"))
    assert listed(f"folder:{tmp_path}")[0] == ("Wren", name)


def test_the_same_behind_uris(tmp_path):
    build(tmp_path / "photos", PLAIN)
    here = listed(f"folder:{tmp_path / 'photos'}")
    memory = fsspec.filesystem("memory")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for name in PLAIN:
            memory.pipe(f"/bucket/photos/{name}", (tmp_path / "photos" / name).read_bytes())
            archive.write(tmp_path / "photos" / name, f"inside/{name}")
    for spec in (
        f"folder:file://{tmp_path}/photos",
        "folder:memory://bucket/photos",
        "folder:memory://bucket/photos/",
        f"folder:zip://inside::file://{tmp_path}/photos.zip",
    ):
        assert listed(spec) == here, spec
        dataset = read_dataset(spec, images=2, seed=1)
        for item in dataset.items():
            number = PLAIN.index(item.key)
            found = np.asarray(dataset.open(item).photo)
            assert found.shape == (24, 32, 3)
            if item.key.endswith("PNG"):
                assert np.array_equal(found, pixels(number))


def test_folders_are_listed_as_the_items_are_drawn(tmp_path, monkeypatch):
    build(tmp_path, [f"{name}/1.png" for name in "ABCDEFGH"])
    seen = []
    monkeypatch.setattr(folder, "listing", lambda place: seen.append(place) or storage.listing(place))
    items = read_dataset(f"folder:{tmp_path}").items()
    seen.clear()
    for expected in "ABC":
        assert next(items).key == f"{expected}/1.png"
    assert [os.path.basename(place) for place in seen] == ["A", "B", "C"]


def test_a_data_set_can_be_sent_to_another_process(tmp_path):
    build(tmp_path, PLAIN)
    dataset = read_dataset(f"folder:{tmp_path}", images=2)
    items = pickle.loads(pickle.dumps(dataset.items))
    assert list(items()) == list(dataset.items())


def test_what_is_not_a_data_set_is_refused(tmp_path):
    with pytest.raises(FinercamError, match=r"there is no file or folder .*/none'"):
        read_dataset(f"folder:{tmp_path}/none")
    with pytest.raises(FinercamError, match=r"there is no file or folder 'memory://none/such"):
        read_dataset("folder:memory://none/such")
    with pytest.raises(FinercamError, match="has no class folders"):
        read_dataset(f"folder:{tmp_path}")
    (tmp_path / "A").mkdir()
    with pytest.raises(FinercamError, match=r"there is no photo in .*; the names of photos end in .*\.jpg"):
        read_dataset(f"folder:{tmp_path}")
    build(tmp_path, ("A/1.png", "2.png", "3.png"))
    with pytest.raises(FinercamError, match=r"2 photos are not in a class folder, such as .*/2.png"):
        read_dataset(f"folder:{tmp_path}")
    with pytest.raises(FinercamError, match=r"2.png' is not a folder"):
        read_dataset(f"folder:{tmp_path}/2.png")
    fsspec.filesystem("memory").pipe("/alone/2.png", b"a picture")
    with pytest.raises(FinercamError, match=r"2.png' is not a folder"):
        read_dataset("folder:memory://alone/2.png")


def test_a_split_that_is_not_there_is_refused(tmp_path):
    build(tmp_path, ("train/A/1.png",))
    with pytest.raises(FinercamError, match=r"no folder for the split 'test', only train"):
        read_dataset(f"folder:{tmp_path}")
    build(tmp_path, ("test/1.png",))
    with pytest.raises(FinercamError, match=r"1 photos are not in a class folder, such as .*/test/1.png"):
        read_dataset(f"folder:{tmp_path}")


def test_files_that_would_be_photos_are_counted_at_the_end_of_a_pass(tmp_path, monkeypatch):
    photos.has_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for name in ("Wren/a.HEIC", "Wren/more/b.heic", "Crow/c.nef"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no picture")
    said = r"1 file skipped \(\.nef\); save them as JPEG or PNG"
    with pytest.raises(FinercamError, match=rf"there is no photo in .*; 2 files skipped \(\.heic\).*; {said}"):
        read_dataset(f"folder:{tmp_path}")
    build(tmp_path, ("Wren/a.png",))
    dataset = read_dataset(f"folder:{tmp_path}")
    with pytest.warns(UserWarning, match="skipped") as told:
        assert len(list(dataset.items())) == 1
    assert [str(one.message) for one in told] == [
        "2 files skipped (.heic); pip install pillow-heif",
        "1 file skipped (.nef); save them as JPEG or PNG",
    ]
    photos.has_heif.cache_clear()
