"""Animals on photos: the model is shown a square, and the map lies on the whole photo."""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

from finercam import Classifier, Contrast, Crop, Explanation, explain, explain_files, read_boxes
from finercam.data.finding import find_photos
from finercam.data.placement import Axis, Placement
from finercam.explanations.explaining import Asked
from finercam.explanations.outlining import outline_folder
from support.colour_birds import SPECIES, ColourNet, draw_bird, to_tensor
from test_fields import RECORD


def letterboxed(picture):
    """In the middle of a square, with padding above and below or at the sides."""
    side = max(picture.size)
    square = Image.new("RGB", (side, side), "#777777")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return to_tensor(square.resize((64, 64)))


def squashed(picture):
    return to_tensor(picture.resize((64, 64)))


def field():
    """Two birds in a field of 400 x 300; the first is at (40, 30) and 96 wide, the second at (250, 140) and 128."""
    photo = Image.new("RGB", (400, 300), "#777777")
    photo.paste(draw_bird(0).resize((96, 96)), (40, 30))
    photo.paste(draw_bird(1).resize((128, 128)), (250, 140))
    return photo


def model(preprocess):
    return Classifier.of(ColourNet(), preprocess=preprocess, class_names=SPECIES, name="colours")


@pytest.mark.parametrize("preprocess", [squashed, letterboxed])
@pytest.mark.parametrize("box", [(40, 30, 136, 126), (250, 140, 378, 268), (0, 0, 400, 60)])
def test_the_map_of_the_square_lies_where_the_square_is(preprocess, box):
    classifier, photo = model(preprocess), field()
    crop = Crop(photo, box, margin=0.25)
    e = explain(classifier, crop)
    left, top, right, bottom = crop.square(photo.size)
    alone = explain(classifier, photo.crop((left, top, right, bottom)))
    torch.testing.assert_close(e.saliency, alone.saliency)
    laid = e.on_photo()
    assert laid.shape == (300, 400)
    torch.testing.assert_close(laid[top:bottom, left:right], alone.on_photo())
    outside = np.ones((300, 400), bool)
    outside[top:bottom, left:right] = False
    assert laid.isnan()[torch.from_numpy(outside)].all()
    assert e.photo().size == e.overlay().size == (400, 300)
    assert e.view()[0].size == (right - left, bottom - top)
    # Regions, too, are on the whole photo, and none is in the padding.
    for region, own in zip(e.regions("energy@0.9"), alone.regions("energy@0.9"), strict=True):
        x0, y0, x1, y1 = own.box
        assert region.box == (x0 + left, y0 + top, x1 + left, y1 + top)
        assert region.photo == (400, 300)


def test_a_region_of_the_whole_photo_speaks_as_its_part_in_the_square():
    classifier, photo = model(letterboxed), field()
    crop = Crop(photo, (250, 140, 378, 200), margin=0)
    e = explain(classifier, crop, keep=True)
    left, top, right, bottom = crop.square(photo.size)
    alone = explain(classifier, photo.crop((left, top, right, bottom)), keep=True)
    inside = e.speaks((left, top, right - 40, bottom))
    torch.testing.assert_close(inside.shares, alone.speaks((0, 0, right - left - 40, bottom - top)).shares)
    torch.testing.assert_close(
        e.speaks((0, 0, 400, 300)).shares, alone.speaks((0, 0, right - left, bottom - top)).shares
    )
    assert e.speaks((0, 0, 100, 100)).area == 0


def test_parts_and_wholes_of_a_placement_undo_one_another():
    placed = Placement(Axis(0.5, 3.0, 100, 64), Axis(-0.25, 60.0, 80, 64))
    back = placed.within((40, 30, 140, 110), (400, 300)).part((40, 30, 140, 110))
    assert back == placed
    within = placed.within((40, 30, 140, 110), (400, 300))
    assert within.window == (40, 30, 140, 110)
    assert placed.window is None
    small = within.resized((200, 150))
    assert small.window == (20, 15, 70, 55)
    assert small.x.to_input(torch.tensor(20.0)) == within.x.to_input(torch.tensor(40.0)) == 3.0


@pytest.fixture
def done(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    field().save(photos / "a.png")
    field().save(photos / "b.png")
    found = [
        {"category": "animal", "confidence": 0.9, "bbox": [40, 30, 136, 126]},
        {"category": "animal", "confidence": 0.8, "bbox": [250, 140, 378, 268]},
        {"category": "animal", "confidence": 0.7, "bbox": [500, 140, 600, 268]},
    ]
    boxes = [{"file": "a.png", "detections": found}, {"file": "b.png", "detections": []}]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))

    def run(gammas=(0.6,), keep=False):
        crops = read_boxes(tmp_path / "boxes.json").crops(find_photos([str(photos)]))
        asked = [Asked(Contrast(gamma=gamma)) for gamma in gammas]
        names = asked if len(asked) == 1 else {f"gamma {gamma}": one for gamma, one in zip(gammas, asked, strict=True)}
        saved = list(explain_files(model(squashed), crops, tmp_path / "out", names, keep=keep))
        lines = (tmp_path / "out" / "explanations.jsonl").read_text().splitlines()
        return saved, [json.loads(line) for line in lines], tmp_path / "out"

    return run


def test_each_animal_has_its_record_and_files_and_one_that_fails_is_told(done):
    saved, records, out = done()
    assert [one.error is None for one in saved] == [True, True, False]
    for record in records:
        jsonschema.validate(record, RECORD)
    first, second, failed = records
    assert first["box"] == {
        **{"number": 1, "x0": 40.0, "y0": 30.0, "x1": 136.0, "y1": 126.0},
        **{"category": "animal", "confidence": 0.9},
    }
    assert first["files"]["picture"] == "a/box 1.png"
    assert [record["target"]["name"] for record in (first, second)] == list(SPECIES[:2])
    assert (failed["box"], "has nothing of the photo" in failed["error"]) == ({"number": 3}, True)
    (region,) = [one.regions[0] for one in outline_folder(out, "threshold") if one.record.get("box") == second["box"]]
    x0, y0, x1, y1 = region.box
    assert min(x0 - 230, y0 - 120, 400 - x1, 290 - y1) >= 0
    table = (out / "explanations.csv").read_text().splitlines()
    assert {"box.number", "box.confidence"} <= set(table[0].split(","))


def test_a_second_run_replaces_each_animals_own_record_only(done):
    _, before, _ = done()
    _, after, out = done()
    assert [record.get("box") for record in after] == [record.get("box") for record in before]
    assert sorted(path.name for path in out.rglob("*.png")) == ["box 1.png", "box 2.png"]
    _, several, _ = done((0, 1))
    assert (out / "a" / "box 2" / "gamma 1.png").is_file()
    assert sum("error" in record for record in several) == 1


def test_what_was_kept_knows_its_box(done):
    saved, (first, *_), out = done(keep=True)
    loaded = Explanation.load(out / first["files"]["maps"])
    assert loaded.record()["box"] == first["box"]
    torch.testing.assert_close(loaded.on_photo(), saved[0].explanations[0].on_photo(), equal_nan=True)
    assert loaded.figure().size == saved[0].explanations[0].figure().size
    # The copy that is kept of a large photo is smaller than the photo.
    photo = field().resize((2400, 1800))
    e = explain(model(squashed), Crop(photo, (240, 180, 816, 756)), keep=True)
    again = Explanation.load(e.save(out / "large.safetensors"))
    assert again.photo().width == 1024
    assert abs(again.view()[0].width / 1024 - e.view()[0].width / 2400) < 0.01
    assert replace(again, evidence=None).figure().size == e.figure().size
