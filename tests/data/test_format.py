"""Data formats as somebody outside this package adds them."""

import subprocess
import sys
from functools import partial
from importlib import import_module

import pytest

from finercam.data.dataset import Dataset, Item
from finercam.data.format import FORMATS, KNOWN, data_format
from finercam.data.reading import draw, read_dataset
from finercam.errors import FinercamError
from support.pictures import save_picture

SHELLS = '''
"""Shells: photos named CLASS-NUMBER.png in one folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from finercam.data.dataset import Dataset, Item
from finercam.data.format import data_format


@data_format("shells", "Shells of the North Sea", knows=("box",), source="https://example.org/shells")
def read(place: str, split: str, *, upper: bool = False, least: int = 0) -> Dataset:
    """Read shells."""
    files = sorted(Path(place).glob("*.png"))
    files = [file for file in files if int(file.stem.split("-")[1]) >= least]
    names = sorted({file.stem.split("-")[0] for file in files})
    labels = [names.index(file.stem.split("-")[0]) for file in files]
    box = (0.0, 0.0, 4.0, 4.0)
    items = [Item(f"{split}/{file.name}", str(file), label, box) for file, label in zip(files, labels)]
    shown = [name.upper() for name in names] if upper else names
    return Dataset("shells", tuple(shown), partial(iter, items), regions=("box",))
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A folder on the import path; its module and its format are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    with FORMATS.restored():
        yield tmp_path
    sys.modules.pop("my_shells", None)


@pytest.fixture
def shells(tmp_path):
    for number in range(6):
        save_picture(tmp_path / "photos" / f"{('cockle', 'whelk')[number % 2]}-{number}.png", number)
    return tmp_path / "photos"


def run(code, *paths):
    """Run code in a process of its own, for registries are filled once; return stdout and stderr."""
    inserted = f"import sys; sys.path[:0] = {[str(path) for path in paths]}\n"
    done = subprocess.run([sys.executable, "-c", inserted + code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def test_a_module_that_is_imported_adds_its_format(outside, shells):
    (outside / "my_shells.py").write_text(SHELLS)
    with pytest.raises(FinercamError, match=r"'shells:x' is not a data set"):
        read_dataset("shells:x")
    import_module("my_shells")
    dataset = read_dataset(f"shells:{shells}", "train")
    assert (dataset.name, dataset.class_names, dataset.regions) == (f"shells:{shells}", ("cockle", "whelk"), ("box",))
    items = list(dataset.items())
    assert [item.key for item in items] == [f"train/{path.name}" for path in sorted(shells.iterdir())]
    assert dataset.open(items[0]).box == (0, 0, 4, 4)
    drawn = read_dataset(f"shells:{shells}", "train", images=2, seed=3)
    assert list(drawn.items()) == list(draw(dataset, 2, 3).items())
    assert list(FORMATS)[-1] == "shells"
    known = FORMATS["shells"]
    assert (known.title, known.specs, known.knows) == ("Shells of the North Sea", ("shells:DIR",), ("box",))
    assert (known.source, known.read.__doc__) == ("https://example.org/shells", "Read shells.")
    assert (known.needs_place, known.draws) == (True, False)
    with pytest.raises(FinercamError, match=r"'shells' is not a data set: write shells:DIR"):
        read_dataset("shells")


def test_keyword_only_parameters_come_before_the_colon(outside, shells):
    (outside / "my_shells.py").write_text(SHELLS)
    import_module("my_shells")
    dataset = read_dataset(f"shells@upper=yes@least=4:{shells}")
    assert (dataset.class_names, len(list(dataset.items()))) == (("COCKLE", "WHELK"), 2)
    with pytest.raises(FinercamError, match=r"'shells@least=few': least is 'few'; it must be a whole number"):
        read_dataset(f"shells@least=few:{shells}")
    with pytest.raises(FinercamError, match=r"shells has no parameter 'most'; shells takes upper .*, least"):
        read_dataset(f"shells@most=3:{shells}")


def test_a_reader_that_makes_its_pictures_is_told_how_many():
    asked = []

    def items(images):
        asked.append(images)
        yield from (Item(str(index), "", 0) for index in range(images))

    with FORMATS.restored():

        @data_format("noise", "Noise", specs=("noise", "noise:pink"))
        def read(place: str, split: str, images: int | None = None, seed: int = 0) -> Dataset:
            asked.append((place, split, images, seed))
            return Dataset("noise", ("a",), partial(items, images or 9))

        assert FORMATS["noise"].draws
        drawn = read_dataset("noise", images=3, seed=5)
        assert len(list(read_dataset("noise:pink", "all").items())) == 9
        # Nothing is drawn from what was made to order: no pass over the items before the first one asked for.
        assert asked == [("", "test", 3, 5), ("pink", "all", None, 0), 9]
        assert [item.key for item in drawn.items()] == ["0", "1", "2"]
    assert "noise" not in FORMATS


@pytest.mark.parametrize("name", ["cub", "CUB", "aircraft_family"])
def test_a_name_that_is_taken_is_refused(name):
    before = list(FORMATS)
    with pytest.raises(FinercamError, match=r"there is a data format '(cub|aircraft-family)' already; give"):
        data_format(name, "Mine")(lambda place, split: None)
    assert list(FORMATS) == before


def test_the_name_of_a_built_in_format_is_refused_before_those_are_loaded_too():
    code = (
        "from finercam.data.format import FORMATS, data_format\n"
        "data_format('cub', 'Mine')(lambda place, split: None)\n"
        "for _ in range(2):\n"
        "    try:\n"
        "        print(len(FORMATS))\n"
        "    except ValueError as error:\n"
        "        print(error)"
    )
    message = "there is a data format 'cub' already; give yours another name"
    assert run(code)[0].splitlines() == [message, message]


@pytest.mark.parametrize(
    ("name", "knows", "message"),
    [
        ("a:b", (), r"'a:b' cannot be the name of a data format: the place follows the first colon"),
        ("a@b", (), r"'a@b' cannot be the name of a data format: no spaces, commas, '@' or '='"),
        ("mine", ("bbox",), r"data format 'mine' says that it knows 'bbox'; did you mean 'box'"),
    ],
)
def test_a_format_that_cannot_be_asked_for_is_refused(name, knows, message):
    with pytest.raises(FinercamError, match=message):
        data_format(name, "Mine", knows=knows)(lambda place, split: None)
    assert name not in FORMATS


def test_what_is_built_in_says_what_it_is():
    assert len(FORMATS) >= 9
    for known in FORMATS.values():
        assert known.title
        assert known.read.__doc__
        assert all(way.partition(":")[0] == known.name for way in known.specs)
        assert set(known.knows) <= set(KNOWN)
        assert known.source or known.name in ("folder", "photos", "aviary")
    with_attributes = [known.name for known in FORMATS.values() if "attributes" in known.knows]
    assert sorted(with_attributes) == ["aviary", "cub"]


def add_package(root, name, module):
    """Write what an installed package leaves behind: its metadata with an entry point in the group of formats."""
    folder = root / f"{name}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[finercam.formats]\n{name} = {module}\n")


def test_a_plug_in_is_found_and_a_broken_one_does_not_stop_the_rest(tmp_path, shells):
    site = tmp_path / "site"
    site.mkdir()
    (site / "shells_of_mine.py").write_text(SHELLS)
    (site / "broken_birds.py").write_text("import a_package_that_is_not_installed")
    add_package(site, "broken", "broken_birds")
    add_package(site, "shells", "shells_of_mine")
    out, warned = run(
        "from finercam.data.format import FORMATS\n"
        "from finercam.data.reading import read_dataset\n"
        f"print(read_dataset('shells:{shells}').class_names, 'cub' in FORMATS, 'aviary' in FORMATS)",
        site,
    )
    assert out == "('cockle', 'whelk') True True"
    assert "the data format 'broken' of broken cannot be loaded: ModuleNotFoundError" in warned
    assert "a_package_that_is_not_installed" in warned


def test_reading_a_data_set_loads_neither_torch_nor_scipy(shells):
    code = (
        "from finercam.data.format import FORMATS\n"
        "from finercam.data.reading import read_dataset\n"
        "list(FORMATS.values()); next(read_dataset('aviary', images=1).items())\n"
        "print([name for name in ('torch', 'scipy', 'timm', 'fsspec', 'matplotlib') if name in sys.modules])"
    )
    assert run(code) == ("[]", "")
