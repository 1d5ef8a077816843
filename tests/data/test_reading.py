"""From what a person writes to a data set, and the draw of some of its pictures."""

import tracemalloc
from functools import partial

import numpy as np
import pytest

from finercam.data.dataset import Dataset, Item
from finercam.data.format import FORMATS
from finercam.data.reading import draw, read_dataset
from finercam.errors import FinercamError
from support.pictures import save_picture


def numbered(n):
    return (Item(f"{index:07d}.jpg", f"/data/{index:07d}.jpg", index % 10) for index in range(n))


def large(n):
    return Dataset("large", tuple("0123456789"), partial(numbered, n))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("fold:x", r"'fold:x' is not a data set: did you mean 'folder:DIR', 'folder:URI'\?"),
        ("cub200:x", r"'cub200:x' is not a data set: did you mean 'cub:DIR'"),
        (
            "xyzzy:x",
            r"'xyzzy:x' is not a data set: choose from: .*aviary, aviary:biased.*cars:DIR, .*folder:DIR, folder:URI",
        ),
        ("cars", r"'cars' is not a data set: write cars:DIR"),
        ("folder:", r"'folder:' is not a data set: write folder:DIR or folder:URI"),
        ("cub:", r"'cub:' is not a data set: write cub:DIR"),
        ("cub@200:x", r"'cub@200': cub takes no parameter"),
        ("", r"'' is not a data set"),
    ],
)
def test_what_is_not_a_data_set_is_refused(spec, message):
    with pytest.raises(FinercamError, match=message):
        read_dataset(spec)


def test_a_folder_without_its_format_is_told_apart(tmp_path):
    with pytest.raises(FinercamError, match=r"write its format before the folder: .*folder:DIR, .*cars:DIR, "):
        read_dataset(str(tmp_path))


@pytest.mark.parametrize("spec", ["aviary", "folder:here"])
def test_bad_arguments_are_refused(spec):
    with pytest.raises(FinercamError, match=r"split is 'tset'; did you mean 'test'"):
        read_dataset(spec, "tset")
    with pytest.raises(FinercamError, match=r"images is 0; it must be at least 1"):
        read_dataset(spec, images=0)


def test_every_format_names_the_page_or_folder_that_is_missing(tmp_path):
    names = [name for name, known in FORMATS.items() if f"{name}:DIR" in known.specs]
    assert {"folder", "cub", "aircraft-family"} < set(names)
    for name in names:
        with pytest.raises(FinercamError, match=r"there is no (file or )?folder"):
            read_dataset(f"{name}:{tmp_path}/none")


def test_upper_case_and_hyphens_do_not_matter(tmp_path):
    save_picture(tmp_path / "a" / "1.png")
    assert read_dataset(f"Folder:{tmp_path}").name == f"Folder:{tmp_path}"
    with pytest.raises(FinercamError, match=r"FGVC-Aircraft: there is no folder"):
        read_dataset(f"aircraft_family:{tmp_path}/none")


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
