"""What detectors write, and the animals on photos that it makes."""

import json
from pathlib import Path

import pytest
from PIL import Image

from finercam import Crop, FinercamError, open_photo, read_boxes
from finercam.data.finding import Found, find_photos

#: The box of the first animal on cam1/a.jpg, in pixels of its 200 x 100.
FIRST = (20.0, 10.0, 60.0, 40.0)
BATCH = {
    "info": {"format_version": "1.6", "detector": "MDV5A", "detector_metadata": {"typical_detection_threshold": 0.2}},
    "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
    "images": [
        {
            "file": "cam1/a.jpg",
            "detections": [
                {
                    "category": "1",
                    "conf": 0.926,
                    "bbox": [0.1, 0.1, 0.2, 0.3],
                    "classifications": [["3", 0.901], ["1", 0.071]],
                },
                {"category": "2", "conf": 0.9, "bbox": [0.5, 0.5, 0.1, 0.1]},
                {"category": "1", "conf": 0.061, "bbox": [0, 0, 0.1, 0.1]},
                {"category": "1", "conf": 0.5, "bbox": [0.5, 0.5, 0.5, 0.5]},
            ],
        },
        {"file": "cam1\\b.jpg", "detections": []},
        {"file": "cam2/a.jpg", "failure": "Failure image access", "detections": None},
        {"file": "v.mp4", "frame_rate": 20, "frames_processed": [0], "detections": []},
    ],
}
#: Format 1.0: what is not there now, and nothing of what came later.
OLD = {
    "info": {"format_version": "1.0", "detection_completion_time": "2019-12-09 21:00:00"},
    "detection_categories": {"1": "animal", "2": "person"},
    "classification_categories": {},
    "images": [
        {
            "file": "cam1/a.jpg",
            "meta": "",
            "max_detection_conf": 0.926,
            "detections": [{"category": "1", "conf": 0.926, "bbox": [0.1, 0.1, 0.2, 0.3]}],
        },
        {"file": "cam1/b.jpg", "max_detection_conf": 0.0, "detections": []},
    ],
}
MICROSOFTS = [
    {
        "file": "cam1/a.jpg",
        "detections": [{"category": "animal", "confidence": 0.93, "bbox": [20.0, 10.0, 60.0, 40.0]}],
    },
    {"file": "cam1/b.jpg", "detections": []},
]
WILDLIFE = {
    "annotations": [{"img_id": "cam1/a.jpg", "bbox": [[20, 10, 60, 40]], "category": [0], "confidence": [0.93]}],
    "categories": {"0": "animal", "1": "person"},
}
COCO = {
    "images": [
        {"id": 7, "file_name": "cam1/a.jpg", "width": 200, "height": 100},
        {"id": 3, "file_name": "cam1/b.jpg", "width": 200, "height": 100},
    ],
    "annotations": [{"id": 1, "image_id": 7, "category_id": 16, "bbox": [20, 10, 40, 30], "area": 1200, "iscrowd": 0}],
    "categories": [{"id": 16, "name": "bird"}],
}


@pytest.fixture
def season(tmp_path):
    for name in ("cam1/a.jpg", "cam1/b.jpg", "cam2/a.jpg"):
        (tmp_path / "season" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100)).save(tmp_path / "season" / name)
    return tmp_path / "season"


def boxes(folder, content):
    (folder / "boxes.json").write_text(json.dumps(content))
    return read_boxes(folder / "boxes.json")


@pytest.mark.parametrize("content", [BATCH, OLD, MICROSOFTS, WILDLIFE, COCO])
def test_every_format_gives_the_same_box_in_pixels(season, content):
    found = boxes(season.parent, content).crops(find_photos([str(season)]))
    crop, relative = found.photos[0]
    assert crop.photo == season / "cam1" / "a.jpg"
    assert crop.pixels((200, 100)) == pytest.approx(FIRST)
    assert crop.category == ("bird" if content is COCO else "animal")
    assert crop.confidence == (None if content is COCO else pytest.approx(0.93, abs=0.01))
    assert relative == Path("cam1/a/box 1.jpg")
    assert str(crop) == f"{season / 'cam1' / 'a.jpg'}, box 1"


def test_what_is_passed_over_is_counted(season):
    found = boxes(season.parent, BATCH).crops(find_photos([str(season)]))
    assert [crop.number for crop, _ in found.photos] == [1, 4]
    assert found.skipped == (
        "1 photo without a detection",
        "1 photo that the detector could not read",
        "1 boxes with a confidence below 0.2 passed over",
        "boxes of others than animals passed over: 1 person",
    )
    every = boxes(season.parent, BATCH).crops(find_photos([str(season)]), confidence=0)
    assert [crop.number for crop, _ in every.photos] == [1, 3, 4]
    (sentence,) = [s for s in boxes(season.parent, OLD).crops(find_photos([str(season)])).skipped if "not in" in s]
    for said in ("1 photo not in", "cam2/a.jpg", "called like 'cam1/a.jpg'"):
        assert said in sentence


def test_a_photo_is_the_one_whose_path_ends_alike_and_no_other(season, monkeypatch):
    absolute = [{**MICROSOFTS[0], "file": "C:\\trap\\cam1\\a.jpg"}]
    found = boxes(season.parent, absolute).crops(find_photos([str(season)]))
    assert [str(crop.photo) for crop, _ in found.photos] == [str(season / "cam1" / "a.jpg")]
    # A name alone is not a photo of another camera's.
    others = [{**MICROSOFTS[0], "file": "cam9/a.jpg"}]
    with pytest.raises(FinercamError, match=r"nothing to explain: 3 photos not in .* called like 'cam9/a.jpg'"):
        boxes(season.parent, others).crops(find_photos([str(season)]))
    two = [{**MICROSOFTS[0], "file": "x/cam1/a.jpg"}, {**MICROSOFTS[0], "file": "y/cam1/a.jpg"}]
    with pytest.raises(FinercamError, match=r"may be 'x/cam1/a.jpg' or 'y/cam1/a.jpg'"):
        boxes(season.parent, two).crops(find_photos([str(season)]))
    monkeypatch.chdir(season)
    assert len(boxes(season.parent, MICROSOFTS).crops(find_photos(["cam1/a.jpg"]))) == 1


def test_where_nothing_was_found_there_is_nothing_to_explain(season):
    with pytest.raises(FinercamError, match="nothing to explain: 1 photo without a detection"):
        boxes(season.parent, BATCH).crops(find_photos([str(season / "cam1" / "b.jpg")]))
    with pytest.raises(FinercamError, match="there is no photo"):
        boxes(season.parent, BATCH).crops(Found(()))
    for options in ({"confidence": 2}, {"margin": -1}):
        with pytest.raises(FinercamError, match="must be at least 0"):
            boxes(season.parent, BATCH).crops(find_photos([str(season)]), **options)


@pytest.mark.parametrize(
    ("box", "margin", "size", "square"),
    [
        # Around the middle of the box, as wide as its longer side and both margins.
        ((40, 40, 60, 50), 0.1, (200, 100), (38, 33, 62, 57)),
        ((40, 40, 60, 50), 0, (200, 100), (40, 35, 60, 55)),
        # Moved into the photo; and no wider than that.
        ((0, 0, 20, 10), 0.5, (200, 100), (0, 0, 40, 40)),
        ((150, 10, 200, 100), 0.5, (200, 100), (20, 0, 200, 100)),
        ((-5, -5, 300, 300), 0.1, (20, 30), (0, 0, 20, 30)),
        ((3.2, 3.2, 3.4, 3.3), 0, (9, 9), (3, 3, 4, 4)),
    ],
)
def test_the_model_is_shown_a_square_in_the_photo(box, margin, size, square):
    crop = Crop("a.jpg", box, margin)
    assert crop.square(size) == square
    # The box itself is always in it.
    x0, y0, x1, y1 = crop.pixels(size)
    left, top, right, bottom = square
    assert max(left - x0, top - y0, x1 - right, y1 - bottom) <= 0.5


def test_a_crop_is_opened_upright_and_a_box_elsewhere_is_told(tmp_path):
    picture = Image.new("RGB", (100, 200), "white")
    picture.paste("red", (10, 140, 40, 180))
    exif = Image.Exif()
    exif[274] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    # As it is seen, it is 200 x 100, and the red lies at 20 to 60, 10 to 40.
    red = open_photo(Crop(tmp_path / "a.png", FIRST, margin=0))
    assert red.size == (40, 40)
    assert red.getpixel((1, 20)) == red.getpixel((38, 30)) == (255, 0, 0)
    for box in ((1, 2, 3), (1, 2, 3, float("nan"))):
        with pytest.raises(FinercamError, match="four numbers"):
            Crop(tmp_path / "a.png", box)
    with pytest.raises(FinercamError, match="has nothing of the photo of 200 x 100"):
        open_photo(Crop(tmp_path / "a.png", (200, 0, 210, 10)))
    with pytest.raises(
        FinercamError, match="measured on a picture of 100 x 200 pixels; upright, the photo has 200 x 100"
    ):
        open_photo(Crop(tmp_path / "a.png", FIRST, measured=(100, 200)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nonsense", "is not JSON"),
        (3, "neither a list nor a mapping"),
        ({"predictions": []}, "it has 'predictions'; give a MegaDetector file"),
        ([{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}], "KeyError"),
        (
            {"images": [{"file": "a.jpg", "detections": [{"category": "1", "conf": 1, "bbox": [1, 2]}]}]},
            "not four numbers",
        ),
        ([{"file": "a.jpg", "detections": [{"category": "a", "confidence": 1, "bbox": [1, 2, 3, None]}]}], "not as"),
        ({**COCO, "annotations": [{"id": 5, "image_id": 9, "bbox": [1, 2, 3, 4]}]}, "annotation 5 is of image 9"),
        ({"images": 3}, "not as detectors write it"),
    ],
)
def test_what_no_detector_writes_is_one_line(tmp_path, content, said):
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / "boxes.json").write_text(text)
    with pytest.raises(FinercamError, match=said) as told:
        read_boxes(tmp_path / "boxes.json")
    assert len(str(told.value).splitlines()) == 1
    with pytest.raises(FinercamError, match="No such file"):
        read_boxes(tmp_path / "none.json")
