"""Regions in files of other tools, read back by the formats' own libraries where they are, and by literal readers."""

import csv
import json
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from finercam import Classifier, Contrast, explain_files
from finercam.cli.main import main
from finercam.data.dataset import open_mask
from finercam.explanations.explaining import Asked
from finercam.explanations.outlining import outline_folder
from finercam.report.regions.coco import counted, run_lengths
from finercam.report.regions.label_studio import packed_mask
from support.colour_birds import SPECIES, ColourNet, draw_bird, to_tensor

NAMES = ('Ruby <Jay> "& Co."', *SPECIES[1:])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explained")
    photos = folder / "photos"
    (photos / "deep").mkdir(parents=True)
    for number, size in enumerate([(90, 61), (47, 120)]):
        draw_bird(number).resize(size).save(photos / "deep" / f"{number}.png")
    (photos / "broken.png").write_text("no picture")
    model = Classifier.of(
        ColourNet(), preprocess=lambda p: to_tensor(p.resize((64, 64))), class_names=NAMES, name="colours"
    )
    list(explain_files(model, [photos], folder / "out", {"a": Asked(Contrast()), "b": Asked(Contrast(gamma=0))}))
    return folder / "out"


@pytest.fixture
def run(results, tmp_path, monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["finercam", "regions", str(results), "--out", str(tmp_path), *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code, capsys.readouterr().err

    return call


def expected(results, by="threshold"):
    return [one for one in outline_folder(results, by) if one.error is None]


def from_counts(text, height, width):
    """COCO's run lengths, read literally."""
    lengths, at = [], 0
    while at < len(text):
        value, shift, more = 0, 0, True
        while more:
            bits = ord(text[at]) - 48
            value |= (bits & 0x1F) << shift
            more, at, shift = bool(bits & 0x20), at + 1, shift + 5
            if not more and bits & 0x10:
                value |= -1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(width, height).T


def from_brush(packed):
    """The bytes of Label Studio's brush, read literally."""
    text = "".join(f"{byte:08b}" for byte in packed)
    place = 0

    def read(bits):
        nonlocal place
        place += bits
        return int(text[place - bits : place], 2)

    count, word, sizes = read(32), read(5) + 1, [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < count:
        same, length = read(1), read(sizes[read(2)]) + 1
        values += [read(word)] * length if same else [read(word) for _ in range(length)]
    assert len(text) - place < 8
    return np.array(values, np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_masks_come_back_from_run_lengths(seed):
    chance = np.random.default_rng(seed)
    mask = chance.random((chance.integers(1, 40), chance.integers(1, 300))) < chance.random()
    assert np.array_equal(from_counts(counted(run_lengths(mask)), *mask.shape), mask)
    pixels = from_brush(packed_mask(mask)).reshape(*mask.shape, 4)
    assert np.array_equal(pixels, np.repeat(255 * mask.astype(np.uint8)[:, :, None], 4, 2))


def test_long_runs_and_full_masks_come_back():
    for mask in (np.ones((200, 300), bool), np.zeros((200, 300), bool), np.arange(60_000).reshape(200, 300) > 39_999):
        assert np.array_equal(from_counts(counted(run_lengths(mask)), *mask.shape), mask)
        assert np.array_equal(from_brush(packed_mask(mask)).reshape(200, 300, 4)[:, :, 3] > 0, mask)


def test_coco_has_every_region_of_every_photo_once(results, tmp_path, run):
    code, err = run("--format", "coco")
    assert code == 1
    there = expected(results)
    assert f"{sum(len(one.regions) for one in there)} regions of 4 explanations, 0 failed, 1 had failed" in err
    # That was said when it was explained.
    assert "broken.png" not in err
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [(i["width"], i["height"]) for i in content["images"]] == [(90, 61), (47, 120)]
    names = {category["id"]: category["name"] for category in content["categories"]}
    images = {image["id"]: image["file_name"] for image in content["images"]}
    assert [a["id"] for a in content["annotations"]] == list(range(1, len(content["annotations"]) + 1))
    regions = [(one, region) for one in there for region in one.regions]
    for annotation, (one, region) in zip(content["annotations"], regions, strict=True):
        assert images[annotation["image_id"]] == one.record["image"]
        assert [names[annotation["category_id"]], *annotation["against"]] == list(region.classes)
        x, y, width, height = annotation["bbox"]
        assert (x, y, x + width, y + height) == region.box
        assert (annotation["score"], annotation["area"]) == (region.score, region.area)
        own = from_counts(annotation["segmentation"]["counts"], *annotation["segmentation"]["size"])
        assert np.array_equal(own, region.mask)


@pytest.mark.parametrize("shape", ["mask", "polygon", "box"])
def test_cocos_own_library_reads_it(results, tmp_path, run, shape):
    coco = pytest.importorskip("pycocotools.coco")
    run("--format", f"coco@{shape}")
    api = coco.COCO(str(tmp_path / "coco.json"))
    regions = [region for one in expected(results) for region in one.regions]
    for annotation, region in zip(api.loadAnns(api.getAnnIds()), regions, strict=True):
        if shape == "box":
            assert annotation["segmentation"] == []
            continue
        own = api.annToMask(annotation).astype(bool)
        assert (own & region.mask).sum() / (own | region.mask).sum() > (0.9 if shape == "polygon" else 0.999)


@pytest.mark.parametrize("shape", ["mask", "polygon", "box"])
def test_label_studio_has_a_task_for_each_photo_and_its_labels(results, tmp_path, run, shape):
    run("--format", f"label-studio@{shape}", "--by", "energy@0.7")
    tasks = json.loads((tmp_path / "label-studio.json").read_text())
    there = expected(results, "energy@0.7")
    assert [len(task["predictions"]) for task in tasks] == [2, 2]
    assert len({task["data"]["image"] for task in tasks}) == 2
    predictions = [prediction for task in tasks for prediction in task["predictions"]]
    setup = ElementTree.parse(tmp_path / "label-studio.xml").getroot()
    kind = {"mask": "BrushLabels", "polygon": "PolygonLabels", "box": "RectangleLabels"}[shape]
    assert {label.get("value") for label in setup.find(kind)} == {one.regions[0].classes[0] for one in there}
    for prediction, one in zip(predictions, there, strict=True):
        assert prediction["score"] == one.regions[0].score
        assert prediction["model_version"] == "colours, gradcam"
        for result, region in zip(prediction["result"], one.regions, strict=True):
            width, height = result["original_width"], result["original_height"]
            assert ((width, height), result["type"]) == (region.photo, kind.lower())
            value = result["value"]
            assert value[kind.lower()] == [region.classes[0]]
            if shape == "mask":
                pixels = from_brush(value["rle"]).reshape(height, width, 4)
                assert np.array_equal(pixels[:, :, 3] > 0, region.mask)
            elif shape == "polygon":
                points = [(x * width / 100, y * height / 100) for x, y in value["points"]]
                assert np.allclose(points, region.polygon)
            else:
                x0, y0, x1, y1 = region.box
                found = [value[name] for name in ("x", "y", "width", "height")]
                wanted = [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]
                assert np.allclose(found, np.array(wanted) * 100)
        assert len({result["id"] for task in tasks for p in task["predictions"] for result in p["result"]}) > 1


def test_the_table_and_the_masks_say_the_same(results, tmp_path, run):
    run("--format", "csv,masks")
    with (tmp_path / "regions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    regions = [(one, region) for one in expected(results) for region in one.regions]
    for row, (one, region) in zip(rows, regions, strict=True):
        assert (row["image"], row["class"]) == (one.record["image"], region.classes[0])
        assert tuple(int(row[name]) for name in ("x0", "y0", "x1", "y1")) == region.box
        path = tmp_path / "masks" / row["explanation"].replace(".safetensors", ".png")
        values = np.asarray(Image.open(path))
        assert np.array_equal(values == int(row["region"]), region.mask)
        assert (values > 0).sum() == sum(other.area for other in one.regions) == open_mask(str(path)).sum()


def test_a_picture_with_more_regions_than_a_byte_counts_keeps_all(tmp_path):
    from finercam.data.regions import Region
    from finercam.explanations.outlining import Outlined
    from finercam.report.regions.masks import Masks

    dots = []
    for number in range(300):
        mask = np.zeros((40, 60), bool)
        mask[2 * (number // 30), 2 * (number % 30)] = True
        dots.append(Region.of(mask))
    record = {"image": "a.jpg", "files": {"maps": "../../a.safetensors"}}
    file = Masks(tmp_path / "out")
    file.add(Outlined(record, (60, 40), tuple(dots)))
    # A name leads nowhere else.
    (path,) = tmp_path.rglob("*.png")
    assert path.is_relative_to(tmp_path / "out" / "masks")
    assert np.asarray(Image.open(path)).max() == 300


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "coko"), "did you mean 'coco'"),
        (("--format", "coco@ellipse"), "choose from: mask, polygon, box"),
        (("--format", "csv@box"), "takes no parameter"),
        (("--format", "coco,coco@box"), "written as coco once"),
        (("--by", "peak"), "threshold"),
        (("--least", "2"), "at most 1"),
    ],
)
def test_what_cannot_be_is_one_line(run, tmp_path, arguments, said):
    code, err = run(*arguments)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_without_results_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["finercam", "regions", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "give the --out folder of finercam explain" in capsys.readouterr().err
