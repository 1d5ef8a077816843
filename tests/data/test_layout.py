"""What downloads hold, as their publishers describe them, and what a check says of them."""

import shutil
import sys
import warnings

import pytest
from PIL import Image

from finercam.cli.main import main
from finercam.data.reading import check_download, read_dataset
from finercam.errors import FinercamError
from support.pictures import save_picture, write_lines

#: The published trees, but for photos and lines: what each archive unpacks to.
CUB = {
    "CUB_200_2011/README": [],
    "CUB_200_2011/images.txt": ["1 001.Black_footed_Albatross/a.jpg", "2 002.Laysan_Albatross/b.jpg"],
    "CUB_200_2011/image_class_labels.txt": ["1 1", "2 2"],
    "CUB_200_2011/classes.txt": ["1 001.Black_footed_Albatross", "2 002.Laysan_Albatross"],
    "CUB_200_2011/train_test_split.txt": ["1 0", "2 1"],
    "CUB_200_2011/bounding_boxes.txt": ["1 1.0 2.0 10.0 12.0", "2 1.0 2.0 10.0 12.0"],
    "CUB_200_2011/parts/parts.txt": ["1 back"],
    "CUB_200_2011/parts/part_locs.txt": ["1 1 3.0 4.0 1", "2 1 0.0 0.0 0"],
    "CUB_200_2011/parts/part_click_locs.txt": [],
    "CUB_200_2011/attributes/certainties.txt": ["1 not visible"],
    "CUB_200_2011/attributes/class_attribute_labels_continuous.txt": ["0.0", "9.5"],
    "CUB_200_2011/attributes/image_attribute_labels.txt": ["1 1 0 3 1.5", "2 1 1 4 1.5"],
    "attributes.txt": ["1 has_bill_shape::dagger"],
}
CUB_PHOTOS = ("CUB_200_2011/images/001.Black_footed_Albatross/a.jpg", "CUB_200_2011/images/002.Laysan_Albatross/b.jpg")

AIRCRAFT = {
    "fgvc-aircraft-2013b/README.md": [],
    "fgvc-aircraft-2013b/vl_argparse.m": [],
    "fgvc-aircraft-2013b/data/variants.txt": ["707-320"],
    "fgvc-aircraft-2013b/data/families.txt": ["Boeing 707"],
    "fgvc-aircraft-2013b/data/manufacturers.txt": ["Boeing"],
    "fgvc-aircraft-2013b/data/images_box.txt": ["1025794 1 1 20 10", "1340192 1 1 20 10", "0056978 1 1 20 10"],
} | {
    f"fgvc-aircraft-2013b/data/images_{level}_{split}.txt": [f"{number} {name}" for number in numbers]
    for level, name in (("variant", "707-320"), ("family", "Boeing 707"), ("manufacturer", "Boeing"))
    for split, numbers in (
        ("train", ["1025794"]),
        ("val", ["1340192"]),
        ("trainval", ["1025794", "1340192"]),
        ("test", ["0056978"]),
    )
}
AIRCRAFT_PHOTOS = tuple(f"fgvc-aircraft-2013b/data/images/{number}.jpg" for number in ("1025794", "1340192", "0056978"))

FISH_HEAD = "filename,file_name,standardized_species,family,source"
FISH = {
    "README.md": [],
    "download_and_process_nd_images.py": [],
    **{
        f"classification_{part}.csv": [FISH_HEAD, f"{part}.jpg,Images/chunk_1/{part}.jpg,esox lucius,Esocidae,GLIN"]
        for part in ("train", "val", "test")
    },
    **{f"segmentation_{part}.csv": [FISH_HEAD] for part in ("train", "val", "test")},
    **{f"identification_{part}.csv": [FISH_HEAD] for part in ("train", "val", "test_insp", "test_lvsp")},
}
FISH_PHOTOS = ("Images/chunk_1/train.jpg", "Images/chunk_1/val.jpg", "Images/chunk_6/test.jpg")

BIRDS_HEAD = "class id,filepaths,labels,data set,scientific name"
BIRDS = {
    "birds.csv": [
        BIRDS_HEAD,
        *(
            f"0.0,{part}/ABBOTTS BABBLER/{name},ABBOTTS BABBLER,{part},MALACOCINCLA ABBOTTI"
            for part, name in (("train", "001.jpg"), ("test", "1.jpg"), ("valid", "1.jpg"))
        ),
    ],
    "EfficientNetB0-525-(224 X 224)- 98.97.h5": [],
}
BIRDS_PHOTOS = tuple(
    f"{part}/ABBOTTS BABBLER/{name}" for part, name in (("train", "001.jpg"), ("test", "1.jpg"), ("valid", "1.jpg"))
)

#: format: (files, photos, a part that is needed, photos and classes that can be read, and were published)
DOWNLOADS = {
    "cub": (
        CUB,
        CUB_PHOTOS,
        "CUB_200_2011/parts/part_locs.txt",
        "2 photos of 2 classes",
        "11,788 photos of 200 classes",
    ),
    "aircraft": (
        AIRCRAFT,
        AIRCRAFT_PHOTOS,
        "fgvc-aircraft-2013b/data/images_box.txt",
        "3 photos of 1",
        "10,000 photos of 100",
    ),
    "aircraft@family": (
        AIRCRAFT,
        AIRCRAFT_PHOTOS,
        "fgvc-aircraft-2013b/data/images_family_test.txt",
        "3 photos of 1",
        "10,000 photos of 70",
    ),
    "fishvista": (FISH, FISH_PHOTOS, "classification_val.csv", "3 photos of 1", "419 classes"),
    "birds525": (BIRDS, BIRDS_PHOTOS, "valid", "3 photos of 1", "89,885 photos of 525"),
}


def download(folder, files, photos):
    for name, lines in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_lines(folder / name, *lines)
    for name in photos:
        save_picture(folder / name, height=40)
    return folder


@pytest.fixture
def check(monkeypatch, capsys):
    def run(spec):
        monkeypatch.setattr(sys, "argv", ["finercam", "datasets", "check", spec])
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    return run


@pytest.mark.parametrize("spec", DOWNLOADS)
def test_a_whole_download_is_read_and_what_is_missing_is_named(spec, check, tmp_path):
    files, photos, needed, readable, published = DOWNLOADS[spec]
    root = download(tmp_path, files, photos)
    assert len(list(read_dataset(f"{spec}:{root}", "all").items())) == len(photos)
    code, out, _ = check(f"{spec}:{root}")
    assert code == 0
    assert readable in out
    assert f"published: {published}" in out
    assert "MISSING" not in out
    if (root / needed).is_dir():
        shutil.rmtree(root / needed)
    else:
        (root / needed).unlink()
    name = needed.rpartition("/data/")[2].removeprefix("CUB_200_2011/")
    code, out, err = check(f"{spec}:{root}")
    assert (code, "MISSING" in out) == (1, True)
    assert f"{name}" in err
    # The reader misses the same.
    with pytest.raises(FinercamError, match=rf"{name} is missing"):
        read_dataset(f"{spec}:{root}", "all")


def test_photos_that_are_listed_and_not_there_are_told(check, tmp_path):
    root = download(tmp_path, CUB, CUB_PHOTOS[:1])
    code, _, err = check(f"cub:{root}")
    assert code == 1
    assert "1 of 2 pictures are missing" in err
    code, _, err = check(f"cub:{root}/none")
    assert (code, "there is no folder" in err) == (2, True)
    code, _, err = check(f"cub:{root}/CUB_200_2011/parts")
    assert code == 1
    assert "images.txt, the folder images, classes.txt" in err


def test_what_can_be_done_without_is_told_as_that(check, tmp_path):
    _, out, _ = check(f"cub:{download(tmp_path, CUB, CUB_PHOTOS)}")
    assert out.count("missing, not needed") == 1
    layout, found = check_download(f"cub:{tmp_path}")
    (masks,) = [one for one in found if one.place is None]
    assert (masks.part, masks.gives, masks.lacking) == ("the folder segmentations or ../segmentations", "masks", False)
    assert layout.publication.name == "CUB-200-2011"


def test_a_format_without_a_published_layout_is_counted(check, tmp_path):
    save_picture(tmp_path / "jay" / "a.png")
    code, out, _ = check(f"folder:{tmp_path}")
    assert (code, out) == (0, "1 photos of 1 classes can be read\n")


def test_masks_of_parts_are_counted(check, tmp_path):
    save_picture(tmp_path / "photos" / "jay" / "a.png")
    save_picture(tmp_path / "photos" / "jay" / "b.png")
    (tmp_path / "masks" / "jay").mkdir(parents=True)
    Image.new("L", (32, 24), 2).save(tmp_path / "masks" / "jay" / "a.png")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        _, out, err = check(f"folder@masks={tmp_path}/masks:{tmp_path}/photos")
        assert out.splitlines()[1] == "1 of them with a mask of their parts: part 2"
        assert err.count("1 of 2 photos have no mask") == 1
        (tmp_path / "masks" / "parts.json").write_text('{"1": "head", "2": "eye"}')
        _, out, _ = check(f"photos@masks={tmp_path}/masks:{tmp_path}/photos")
        assert out.splitlines()[1] == "1 of them with a mask of their parts: head, eye"


def test_the_list_is_still_there(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["finercam", "datasets"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    assert "cub:DIR" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("chek", "cub:x"), ("check",), ("cub:x",)])
def test_another_action_is_one_line(monkeypatch, capsys, words):
    monkeypatch.setattr(sys, "argv", ["finercam", "datasets", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "write finercam datasets check FORMAT:DIR" in capsys.readouterr().err
