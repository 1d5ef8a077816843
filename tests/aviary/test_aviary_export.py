import numpy as np
import pytest
from PIL import Image

from finercam import aviary
from finercam.aviary import ATTRIBUTES, PARTS, SPECIES, Aviary, cub_export
from finercam.errors import FinercamError

N = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return aviary.export(tmp_path_factory.mktemp("exports") / "birds", N, seed=1, size=64)


def table(path):
    """The literal format: an id, then fields separated by single spaces."""
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        number, *fields = line.split(" ")
        rows.setdefault(int(number), []).append(fields)
    return rows


def one(path):
    rows = table(path)
    assert all(len(fields) == 1 for fields in rows.values())
    return {number: fields[0] for number, fields in rows.items()}


@pytest.fixture(scope="module")
def expected():
    return [*Aviary("train", 32, 1, size=64), *Aviary("test", 8, 1, size=64)]


def test_images_and_labels_read_back(folder, expected):
    images, labels = one(folder / "images.txt"), one(folder / "image_class_labels.txt")
    classes, training = one(folder / "classes.txt"), one(folder / "train_test_split.txt")
    assert list(images) == list(labels) == list(training) == list(range(1, N + 1))
    assert list(classes) == list(range(1, len(SPECIES) + 1))
    for number, sample in enumerate(expected, 1):
        (path,), (label,), (flag,) = images[number], labels[number], training[number]
        assert np.array_equal(np.asarray(Image.open(folder / "images" / path)), sample.image)
        assert int(label) == sample.label + 1
        assert path.split("/")[0] == classes[int(label)][0] == f"{int(label):03d}.{sample.species.replace(' ', '_')}"
        assert flag == ("1" if number <= 32 else "0")
    on_disk = {str(path.relative_to(folder / "images")) for path in (folder / "images").rglob("*.png")}
    assert on_disk == {path for (path,) in images.values()}


def test_boxes_parts_and_captions_read_back(folder, expected):
    boxes, places = one(folder / "bounding_boxes.txt"), table(folder / "parts" / "part_locs.txt")
    assert [fields[0] for fields in one(folder / "parts" / "parts.txt").values()] == list(PARTS)
    captions = one(folder / "captions.txt")
    for number, sample in enumerate(expected, 1):
        x, y, width, height = map(float, boxes[number])
        assert (x, y, x + width, y + height) == sample.box
        assert " ".join(captions[number]) == sample.caption
        assert [int(part) for part, *_ in places[number]] == list(range(1, len(PARTS) + 1))
        for part, x, y, visible in places[number]:
            name = PARTS[int(part) - 1]
            assert visible == str(int(name in sample.masks))
            if name in sample.masks:
                mask = sample.masks[name]
                assert mask[int(float(y)), int(float(x))]
                ys, xs = np.nonzero(mask)
                middle = np.hypot(float(y) - 0.5 - ys.mean(), float(x) - 0.5 - xs.mean())
                assert middle <= np.hypot(ys - ys.mean(), xs - xs.mean()).min() + 1e-6


def test_segmentations_read_back(folder, expected):
    for (path,), sample in zip(one(folder / "images.txt").values(), expected, strict=True):
        picture = Image.open(folder / "segmentations" / path)
        assert picture.mode == "P"
        numbers = np.asarray(picture)
        for number, part in enumerate(PARTS, 1):
            assert np.array_equal(numbers == number, sample.masks.get(part, np.zeros_like(numbers, bool)))


def test_attributes_read_back(folder):
    names = [fields[0] for fields in one(folder / "attributes" / "attributes.txt").values()]
    lines = (folder / "attributes" / "class_attribute_labels_continuous.txt").read_text().splitlines()
    assert len(lines) == len(SPECIES)
    for line, species in zip(lines, SPECIES, strict=True):
        held = {name for name, value in zip(names, map(float, line.split(" ")), strict=True) if value == 100.0}
        assert held == {f"has_{key}::{value}" for key, value in species.attributes.items()}
    assert len(names) == sum(map(len, ATTRIBUTES.values()))


def test_one_split_and_the_bias(tmp_path):
    out = aviary.export(tmp_path / "biased", 6, seed=2, split="test", biased=True, size=32)
    assert {flag for (flag,) in one(out / "train_test_split.txt").values()} == {"0"}
    (path,) = one(out / "images.txt")[4]
    assert np.array_equal(np.asarray(Image.open(out / "images" / path)), Aviary("test", 6, 2, True, 32)[3].image)


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    written = []

    def breaks(sample):
        assert not (tmp_path / "birds").exists()
        written.append(sample)
        if len(written) == 3:
            raise OSError("no space left")
        return Image.new("P", (1, 1))

    monkeypatch.setattr(cub_export, "_segmentation", breaks)
    with pytest.raises(OSError, match="no space left"):
        aviary.export(tmp_path / "birds", 5, size=32)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "birds").mkdir()
    with pytest.raises(FinercamError, match="exists already"):
        aviary.export(tmp_path / "birds", 2, size=32)
    with pytest.raises(FinercamError, match="is not a folder"):
        aviary.export(tmp_path / "missing" / "birds", 2, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["birds"]
