"""From what a person writes to a data set, the draw of some of its pictures, and the aviary."""

import pickle
import tracemalloc
from functools import partial

import numpy as np
import pytest

from finercam import aviary
from finercam.data.dataset import Dataset, Item
from finercam.data.reading import FORMATS, draw, read_dataset
from finercam.errors import FinercamError
from support.pictures import save_picture


def numbered(n):
    return (Item(f"{index:07d}.jpg", f"/data/{index:07d}.jpg", index % 10) for index in range(n))


def large(n):
    return Dataset("large", tuple("0123456789"), partial(numbered, n))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fold:x", r"'fold:x' is no data set: did you mean 'folder'\? There are folder:DIR, cub:DIR,"),
        ("cars", r"'cars' is no data set: write cars:DIR"),
        ("cub:", r"'cub:' is no data set: write cub:DIR"),
        ("aviary:biazed", r"write aviary:biased, or aviary alone"),
        ("", r"'' is no data set"),
    ],
)
def test_what_is_no_data_set_is_refused(spec, message):
    with pytest.raises(FinercamError, match=message):
        read_dataset(spec)


def test_a_folder_without_its_format_is_told_apart(tmp_path):
    with pytest.raises(FinercamError, match=r"write its format before the folder: folder:DIR"):
        read_dataset(str(tmp_path))


@pytest.mark.parametrize("spec", ["aviary", "folder:here"])
def test_bad_arguments_are_refused(spec):
    with pytest.raises(FinercamError, match=r"split is 'tset'; did you mean 'test'"):
        read_dataset(spec, "tset")
    with pytest.raises(FinercamError, match=r"images is 0; give a number from 1"):
        read_dataset(spec, images=0)


def test_every_format_names_the_page_or_folder_that_is_missing(tmp_path):
    for name in FORMATS:
        with pytest.raises(FinercamError, match=r"there is no (file or )?folder"):
            read_dataset(f"{name}:{tmp_path}/none")


def test_a_draw_keeps_the_order_and_repeats_nothing():
    every = list(large(500).items())
    drawn = list(draw(large(500), 60, 0).items())
    assert len(drawn) == 60
    assert [item.key for item in drawn] == sorted({item.key for item in drawn})
    assert set(drawn) <= set(every)
    assert list(draw(large(500), 60, 0).items()) == drawn
    assert list(draw(large(500), 60, 1).items()) != drawn


def test_a_draw_is_part_of_a_larger_one_and_at_most_all():
    every = list(large(100).items())
    drawn = {n: set(draw(large(100), n, 3).items()) for n in (1, 10, 50, 99)}
    assert drawn[1] < drawn[10] < drawn[50] < drawn[99]
    assert list(draw(large(100), 100, 3).items()) == list(draw(large(100), 101, 3).items()) == every


def test_every_item_is_as_likely():
    counts = np.zeros(20)
    dataset = Dataset("some", tuple("0123456789"), partial(iter, tuple(numbered(20))))
    for seed in range(2000):
        for item in draw(dataset, 5, seed).items():
            counts[int(item.key[:7])] += 1
    # 500 expected each; the standard deviation is 19.4.
    assert abs(counts - 500).max() < 80


def test_a_draw_holds_no_more_than_it_draws():
    tracemalloc.start()
    drawn = draw(large(4000), 20, 0)
    assert sum(1 for _ in drawn.items()) == 20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The items alone would be more than 1 MB.
    assert peak < 200_000


def test_a_spec_gives_its_name_and_its_draw(tmp_path):
    for index in range(12):
        save_picture(tmp_path / "ab"[index % 2] / f"{index}.png", index)
    spec = f"folder:{tmp_path}"
    dataset = read_dataset(spec, images=5, seed=4)
    assert dataset.name == spec
    assert list(dataset.items()) == list(draw(read_dataset(spec), 5, 4).items())


def test_the_aviary_knows_everything():
    dataset = read_dataset("aviary", images=4, seed=5)
    assert dataset.name == "aviary"
    assert dataset.class_names == aviary.label_names
    assert dataset.part_names == aviary.PARTS
    assert dataset.regions == ("box", "mask", "parts", "difference")
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


def test_the_aviarys_items_are_drawn_once(monkeypatch):
    drawn = []
    real = aviary.Aviary.__getitem__
    monkeypatch.setattr(aviary.Aviary, "__getitem__", lambda self, index: drawn.append(index) or real(self, index))
    dataset = read_dataset("aviary", images=3, seed=77)
    for item in dataset.items():
        dataset.open(item)
    assert len(list(dataset.items())) == 3
    assert drawn == [0, 1, 2]
