"""The aviary as a data set: its pictures, all that is known of them, and the attributes of its species."""

import pickle

import numpy as np
import pytest

from finercam import aviary
from finercam.aviary import PARTS, SPECIES
from finercam.aviary.species import differing
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError


def test_the_aviary_knows_everything():
    dataset = read_dataset("aviary", images=4, seed=5)
    assert dataset.name == "aviary"
    assert dataset.class_names == aviary.label_names
    assert dataset.part_names == aviary.PARTS
    assert dataset.regions == ("box", "mask", "parts", "difference", "present", "absent")
    items = list(dataset.items())
    assert [item.key for item in items] == [f"test/5/{index}" for index in range(4)]
    samples = aviary.Aviary("test", 4, 5)
    for item, sample in zip(items, samples, strict=True):
        example = pickle.loads(pickle.dumps(dataset.open))(pickle.loads(pickle.dumps(item)))
        assert np.array_equal(np.asarray(example.photo), sample.image)
        assert (item.label, example.box) == (sample.label, sample.box)
        assert np.array_equal(example.mask, sum(sample.masks.values()) > 0)
        assert {aviary.label_names[label] for label in example.differences} == set(sample.differences)
        for label, mask in example.differences.items():
            assert np.array_equal(mask, sample.differences[aviary.label_names[label]])
        assert set(example.part_masks) == set(sample.masks)
        for part, mask in example.part_masks.items():
            assert np.array_equal(mask, sample.masks[part])
        for part, point in zip(aviary.PARTS, example.parts, strict=True):
            if part not in sample.masks:
                assert point is None
                continue
            ys, xs = np.nonzero(sample.masks[part])
            away = np.hypot(point[0] - 0.5 - xs.mean(), point[1] - 0.5 - ys.mean())
            assert away == pytest.approx(np.hypot(xs - xs.mean(), ys - ys.mean()).min())
            assert sample.masks[part][int(point[1]), int(point[0])]


def test_the_aviarys_parts_are_those_of_its_export(tmp_path):
    root = aviary.export(tmp_path / "birds", 3, seed=2, split="test", size=128)
    exported, drawn = read_dataset(f"cub:{root}"), read_dataset("aviary", images=3, seed=2)
    for theirs, own in zip(exported.items(), drawn.items(), strict=True):
        there, here = exported.open(theirs), drawn.open(own)
        assert (there.parts, there.box, theirs.label) == (here.parts, here.box, own.label)


def test_splits_and_bias_of_the_aviary():
    keys = {split: [item.key for item in read_dataset("aviary", split, images=3).items()] for split in ("train", "all")}
    assert keys == {
        "train": ["train/0/0", "train/0/1", "train/0/2"],
        "all": ["train/0/0", "train/0/1", "test/0/0"],
    }
    biased = read_dataset("aviary:biased", images=2)
    assert biased.name == "aviary:biased"
    for index, item in enumerate(biased.items()):
        expected = aviary.Aviary("test", 2, 0, biased=True).picture(index)[0]
        assert np.array_equal(np.asarray(biased.open(item).photo), expected)


def test_another_place_is_refused():
    with pytest.raises(FinercamError, match=r"'aviary:biazed' is not a data set: write aviary:biased, or aviary alone"):
        read_dataset("aviary:biazed")


def test_the_aviarys_items_are_drawn_once(monkeypatch):
    drawn = []
    real = aviary.Aviary.__getitem__
    monkeypatch.setattr(aviary.Aviary, "__getitem__", lambda self, index: drawn.append(index) or real(self, index))
    dataset = read_dataset("aviary", images=3, seed=77)
    for item in dataset.items():
        dataset.open(item)
    assert len(list(dataset.items())) == 3
    assert drawn == [0, 1, 2]


def test_the_aviarys_attributes_are_its_traits():
    table = read_dataset("aviary", images=1).attributes()
    assert set(table.places) <= set(PARTS)
    for label, species in enumerate(SPECIES):
        for other in table.alike[label]:
            listed = table.listed(label, other, count=9)
            keys = differing(species, SPECIES[other])
            assert {one.name for one, _ in listed} == {f"{key}::{species.attributes[key]}" for key in keys}
            assert {one.name for one, _ in table.listed(label, other, in_words=True)} == {
                f"{key}::{species.attributes[key]}" for key in keys if species.attributes[key] not in ("none", "plain")
            }
