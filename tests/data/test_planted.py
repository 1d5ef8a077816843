"""Planted differences: the mark of each class, both forms of each photo, and the pixels in which they differ."""

import hashlib
import os
import pickle
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finercam.data.dataset import Dataset, Example, Item
from finercam.data.format import FORMATS, data_format
from finercam.data.painting import NOTICED, changed, plant
from finercam.data.planting import HUES, KINDS, Mark, mark_of, place_of, radius_of
from finercam.data.reading import read_dataset
from finercam.errors import FinercamError
from support.pictures import pixels, save_picture

REAL = Path(os.environ.get("FINERCAM_SHARED", "")) / "data" / "cub10"
needs_real = pytest.mark.skipif(
    not os.environ.get("FINERCAM_SHARED") or not REAL.is_dir(), reason="FINERCAM_SHARED has no data/cub10"
)
PARTS = ("left wing", "beak", "right wing", "tail")
BOX = (20.0, 10.0, 180.0, 110.0)


def grey(value=110, width=200, height=120):
    return Image.new("RGB", (width, height), (value,) * 3)


def known(points=(), box=BOX, mask=None):
    return Example(grey(), mask, box=box, parts=tuple(points))


@pytest.fixture
def pens():
    """A data set of one's own: grey photos of two kinds of pens, with what ``known`` is given."""

    def register(repaint=None, **options):
        example = known(**options)

        def read(place: str, split: str) -> Dataset:
            items = [Item(f"{split}/{number}.png", "", number % 2, example.box) for number in range(6)]
            return Dataset(
                "pens",
                ("ball pen", "fountain pen"),
                partial(iter, items),
                lambda item: example,
                PARTS if example.parts else (),
                ("box",),
                repaint=repaint,
            )

        data_format("pens", "Pens", specs=("pens",))(read)

    with FORMATS.restored():
        yield register


@pytest.fixture
def folder(tmp_path):
    for number in range(8):
        name = f"{('train', 'test')[number % 2]}/{('Wren', 'Crow')[number // 4]}/{number}.png"
        save_picture(tmp_path / name, number, 80, 60)
    return tmp_path


def centre(region):
    ys, xs = np.nonzero(region)
    return xs.mean() + 0.5, ys.mean() + 0.5


def test_every_photo_is_there_in_both_forms():
    inner = read_dataset("aviary", images=4, seed=5)
    dataset = read_dataset("planted:aviary", images=4, seed=5)
    classes = len(inner.class_names)
    assert dataset.name == "planted:aviary"
    assert dataset.class_names[:classes] == inner.class_names
    for name, twin in zip(inner.class_names, dataset.class_names[classes:], strict=True):
        mark = mark_of(name, "tint", 0, inner.part_names)
        assert twin == f"{name} with a {mark.hue} tint"
    assert dataset.regions == inner.regions == ("box", "mask", "parts", "difference", "present", "absent")
    assert dataset.part_names == inner.part_names
    items = list(dataset.items())
    assert items[::2] == list(inner.items())
    for item, twin in zip(items[::2], items[1::2], strict=True):
        assert twin.key == f"planted/tint-0.09-0/{item.key}"
        assert (twin.label, twin.uri) == (item.label + classes, item.uri)
        before, plain, marked = inner.open(item), dataset.open(item), dataset.open(twin)
        assert plain.photo == before.photo
        assert marked.photo != before.photo
        for example in (plain, marked):
            assert (example.box, example.parts) == (before.box, before.parts)
            assert np.array_equal(example.mask, before.mask)
            assert example.part_masks.keys() == before.part_masks.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_the_difference_is_where_the_two_forms_differ(kind):
    dataset = read_dataset(f"planted@kind={kind}@size=0.15:aviary", images=6, seed=1)
    inner = read_dataset("aviary", images=6, seed=1)
    items = list(dataset.items())
    for item, twin in zip(items[::2], items[1::2], strict=True):
        plain, marked = dataset.open(item), dataset.open(twin)
        apart = np.abs(np.asarray(plain.photo, int) - np.asarray(marked.photo, int)).max(2)
        where = plain.differences[twin.label]
        assert np.array_equal(where, apart > NOTICED)
        assert np.array_equal(where, marked.differences[item.label])
        assert 0.0005 < where.mean() < 0.05
        # Small in area and in extent: it is one mark in one place.
        ys, xs = np.nonzero(apart)
        radius = radius_of(0.15, plain)
        assert max(np.ptp(xs), np.ptp(ys)) < 2 * radius
        # From the other species the bird differs as before, and with the mark there too.
        before = inner.open(item).differences
        assert set(plain.differences) == {*before, twin.label}
        for label, mask in before.items():
            assert np.array_equal(plain.differences[label], mask)
            assert np.array_equal(marked.differences[label], mask | where)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [(100.0, 60.0), (3.5, 118.0), (199.5, 0.5)])
def test_every_kind_changes_pixels_of_the_mark_only(kind, at):
    photo = Image.fromarray(pixels(3, 200, 120))
    mark = Mark(kind, "red", 0.4)
    marked = plant(photo, mark, at, 14.0)
    apart = (np.asarray(photo) != np.asarray(marked)).any(2)
    x, y = np.meshgrid(np.arange(200) + 0.5, np.arange(120) + 0.5)
    away = np.hypot(x - at[0], y - at[1])
    assert not apart[away >= 14].any()
    assert changed(photo, marked)[away < 9].mean() > 0.2
    # In the middle more than at the soft edge.
    size = np.abs(np.asarray(photo, int) - np.asarray(marked, int)).sum(2)
    assert size[away < 9].mean() > 2 * size[(away > 12.5) & (away < 14)].mean()


@pytest.mark.parametrize("value", [0, 30, 128, 225, 255])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "missing"])
def test_marks_are_seen_on_dark_and_on_light_photos(kind, value):
    photo = grey(value)
    for hue in HUES:
        where = changed(photo, plant(photo, Mark(kind, hue, 0.3), (100.0, 60.0), 20.0))
        assert where.sum() > 0.25 * np.pi * 20**2


@pytest.mark.parametrize("size", [(200, 120), (44, 44)])
def test_what_is_missing_is_filled_from_around_it(size):
    width, height = size
    # A ramp of colours with a black spot; the small photo has no room for a copy.
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    ramp = np.stack([60 + 120 * x, 200 - 100 * y, 80 + 60 * (x + y)], 2).round().astype(np.uint8)
    spotted = ramp.copy()
    at = (width / 2, height / 2)
    ys, xs = np.mgrid[:height, :width] + 0.5
    spotted[np.hypot(xs - at[0], ys - at[1]) < 8] = 0
    filled = plant(Image.fromarray(spotted), Mark("missing", "red", 0.0), at, 14.0)
    assert np.abs(np.asarray(filled, int) - ramp).max() <= 4


def test_a_gap_is_filled_with_texture_where_there_is_some():
    photo = Image.fromarray(pixels(5, 200, 120))
    filled = np.asarray(plant(photo, Mark("missing", "red", 0.0), (100.0, 60.0), 20.0), float)
    core = filled[50:70, 90:110]
    assert core.std() == pytest.approx(np.asarray(photo, float).std(), rel=0.15)


def test_a_mark_is_cut_at_the_objects_outline():
    mask = np.zeros((120, 200), bool)
    mask[:, :100] = True
    mark = Mark("tint", "red", 0.0)
    cut = changed(grey(), plant(grey(), mark, (98.0, 60.0), 20.0, mask))
    whole = changed(grey(), plant(grey(), mark, (98.0, 60.0), 20.0))
    assert np.array_equal(cut, whole & mask)
    assert whole[:, 100:].any()
    # Off the object hardly anything would be left; a gap is not cut, else an outline would stay.
    assert plant(grey(), mark, (120.0, 60.0), 20.0, mask) == plant(grey(), mark, (120.0, 60.0), 20.0)
    photo = Image.fromarray(pixels(1, 200, 120))
    gap = Mark("missing", "red", 0.0)
    assert plant(photo, gap, (98.0, 60.0), 20.0, mask) == plant(photo, gap, (98.0, 60.0), 20.0)


def test_a_mark_lies_on_the_classs_part():
    points = {"left wing": (60.0, 60.0), "right wing": (90.0, 60.0), "beak": (150.0, 30.0), "tail": (30.0, 90.0)}
    first = set()
    for name in map(str, range(12)):
        mark = mark_of(name, "missing", 0, PARTS)
        assert sorted(mark.parts) == ["beak", "tail", "wing"]
        first.add(mark.parts[0])
        shown = dict(points)
        for part in mark.parts:
            example = known([shown.get(each) for each in PARTS])
            expected = points["left wing" if part == "wing" else part]
            assert place_of(mark, example, PARTS, 10.0, 0, "key") == expected
            # That part out of sight, the next one of the class's.
            shown = {each: at for each, at in shown.items() if part not in each}
        right_only = known([None, None, points["right wing"], None])
        assert place_of(mark, right_only, PARTS, 10.0, 0, "key") == points["right wing"]
    assert first == {"beak", "tail", "wing"}


def test_points_outside_the_photo_are_not_seen():
    mark = mark_of("any", "missing", 0, PARTS)
    example = known([(500.0, 60.0), (-1.0, 3.0), (20.0, 120.0), (40.0, 50.0)])
    assert place_of(mark, example, PARTS, 10.0, 0, "key") == (40, 50)


def test_marks_that_are_drawn_move_inwards_from_the_outline():
    mark = mark_of("any", "tint", 0, ("crown", "belly"))
    crown, belly = (50.0, 20.0), (50.0, 100.0)
    place = {"crown": (50.0, 25.0), "belly": (50.0, 95.0)}[mark.parts[0]]
    assert place_of(mark, known([crown, belly]), ("crown", "belly"), 10.0, 0, "key") == pytest.approx(place)
    # Never past the middle of what is seen.
    assert place_of(mark, known([crown, (50.0, 22.0)]), ("crown", "belly"), 10.0, 0, "key") == pytest.approx((50, 21))
    assert place_of(mark, known([crown, None]), ("crown", "belly"), 10.0, 0, "key") == crown


def test_where_no_part_is_known_the_place_is_drawn_on_the_object():
    mark = mark_of("any", "tint", 0)
    keys = [f"{number}.jpg" for number in range(40)]
    places = [place_of(mark, known(), (), 10.0, 0, key) for key in keys]
    assert all(60 <= x < 140 and 35 <= y < 85 for x, y in places)
    assert len(set(places)) == 40
    assert places == [place_of(mark, known(), (), 10.0, 0, key) for key in keys]
    assert places != [place_of(mark, known(), (), 10.0, 1, key) for key in keys]
    # On a mask rather than in the box: a thick arm with a thin one.
    mask = np.zeros((120, 200), bool)
    mask[40:80, 20:60] = True
    mask[59:61, 60:180] = True
    on_mask = [place_of(mark, known(mask=mask), (), 10.0, 0, key) for key in keys]
    assert all(mask[int(y), int(x)] for x, y in on_mask)
    assert np.mean([x < 60 for x, _ in on_mask]) > 0.95


def test_sizes_are_shares_of_the_object():
    assert radius_of(0.1, known()) == pytest.approx(0.1 * (160 * 100) ** 0.5)
    mask = np.zeros((120, 200), bool)
    mask[30:55, 10:110] = True
    assert radius_of(0.1, known(mask=mask)) == radius_of(0.1, known())
    assert radius_of(0.1, known(box=None, mask=mask)) == pytest.approx(5)
    assert radius_of(0.1, known(box=None)) == pytest.approx(0.1 * (200 * 120) ** 0.5)
    assert radius_of(0.1, known(box=(150.0, 100.0, 300.0, 300.0))) == pytest.approx(0.1 * (50 * 20) ** 0.5)
    assert radius_of(0.001, known()) == 2


@pytest.mark.parametrize("size", [0.05, 0.1, 0.2])
def test_the_area_of_a_mark_goes_with_its_size(pens, size):
    pens()
    dataset = read_dataset(f"planted@size={size}:pens")
    item = next(dataset.items())
    radius = size * (160 * 100) ** 0.5
    area = dataset.open(item).differences[item.label + 2].sum()
    assert 0.75 * np.pi * radius**2 < area < np.pi * radius**2


def test_another_seed_gives_other_marks(folder):
    marks = [[mark_of(str(name), "mixed", seed, PARTS) for name in range(60)] for seed in (0, 0, 1)]
    assert marks[0] == marks[1]
    for about in ("kind", "hue", "angle", "parts"):
        same = sum(getattr(a, about) == getattr(b, about) for a, b in zip(marks[0], marks[2], strict=True))
        assert same < 30
        assert len({getattr(mark, about) for mark in marks[0]}) >= 6
    photos = {}
    for seed in (0, 1):
        dataset = read_dataset(f"planted@kind=stripes@seed={seed}:folder:{folder}")
        items = list(dataset.items())[1::2]
        photos[seed] = [np.asarray(dataset.open(item).photo) for item in items]
        assert all(item.key.startswith(f"planted/stripes-0.09-{seed}/test/") for item in items)
    for a, b in zip(photos[0], photos[1], strict=True):
        assert not np.array_equal(a, b)


def test_a_class_has_the_same_mark_whatever_else_the_data_set_has():
    few, many = mark_of("Wren", "mixed", 3, ("beak", "tail")), mark_of("Wren", "mixed", 3, ("tail", "beak", "back"))
    assert (few.kind, few.hue, few.angle) == (many.kind, many.hue, many.angle)
    assert few.parts == tuple(part for part in many.parts if part != "back")


@pytest.mark.parametrize("kind", KINDS)
def test_the_name_of_a_twin_says_what_is_seen(kind):
    names = {mark_of(str(name), kind, 0).words for name in range(40)}
    assert len(names) == (6 if kind in ("tint", "stripes", "spots") else 1)


CODE = """
import hashlib
from finercam.data.reading import read_dataset
for spec in {specs}:
    dataset = read_dataset(spec, "test", images=3, seed=2)
    for item in dataset.items():
        example = dataset.open(item)
        print(item.key, item.label, hashlib.sha256(example.photo.tobytes()).hexdigest())
        for label, mask in sorted(example.differences.items()):
            print("    ", label, hashlib.sha256(mask.tobytes()).hexdigest())
"""


def test_photos_are_the_same_in_every_process(folder):
    specs = ["planted@mixed@size=0.2:aviary", f"planted@kind=spots:folder:{folder}"]
    printed = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        code = CODE.format(specs=specs)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    assert len(printed) == 1
    lines = [line for line in printed.pop().splitlines() if not line.startswith("    ")]
    # And here, where the data set has been through a pickle, as on its way to a worker.
    for spec in specs:
        dataset = read_dataset(spec, "test", images=3, seed=2)
        opener, items = pickle.loads(pickle.dumps((dataset.open, list(dataset.items()))))
        for item in items:
            sha = hashlib.sha256(opener(item).photo.tobytes()).hexdigest()
            assert lines.pop(0) == f"{item.key} {item.label} {sha}"
        assert pickle.loads(pickle.dumps(dataset.repaint))(items[1], items[0].label) == opener(items[0]).photo
    assert not lines


def test_folders_need_no_annotations(folder):
    dataset = read_dataset(f"planted:folder:{folder}")
    assert dataset.regions == ("difference", "present", "absent")
    assert dataset.class_names[:2] == ("Crow", "Wren")
    for item in dataset.items():
        example = dataset.open(item)
        (where,) = example.differences.values()
        assert where.any()
        x, y = centre(where)
        assert 18 < x < 62
        assert 13 < y < 47


def test_splits_and_draws_are_the_other_data_sets(folder):
    for split in ("train", "test", "all"):
        inner = [item.key for item in read_dataset(f"folder:{folder}", split).items()]
        ours = [item.key for item in read_dataset(f"planted:folder:{folder}", split).items()]
        assert ours == [key for one in inner for key in (one, f"planted/tint-0.09-0/{one}")]
    drawn = list(read_dataset(f"folder:{folder}", "all", images=3, seed=4).items())
    ours = list(read_dataset(f"planted:folder:{folder}", "all", images=3, seed=4).items())
    assert ours[::2] == drawn
    assert len(ours) == 6
    # The draw's seed is not the marks'.
    assert all(item.key.startswith("planted/tint-0.09-0/") for item in ours[1::2])


def test_a_mark_can_be_taken_away_again(folder):
    spec = f"folder:{folder}"
    inner, dataset = read_dataset(spec), read_dataset(f"planted@kind=texture:{spec}")
    plain, marked, *_ = dataset.items()
    photo = inner.open(next(inner.items())).photo
    assert dataset.repaint(marked, plain.label) == photo
    assert dataset.repaint(plain, marked.label) == dataset.open(marked).photo
    assert dataset.repaint(plain, plain.label) == photo
    assert dataset.repaint(marked, marked.label) == dataset.open(marked).photo
    other = 1 - plain.label
    for item in (plain, marked):
        assert dataset.repaint(item, other) is None
        assert dataset.repaint(item, other + 2) is None


def test_repainting_as_another_class_is_the_other_data_sets(pens):
    asked = []

    def repaint(item, label):
        asked.append((item.key, item.label, label))
        return grey(7)

    pens(repaint=repaint)
    dataset = read_dataset("planted:pens")
    plain, marked, *_ = dataset.items()
    for item in (plain, marked):
        assert dataset.repaint(item, 1) == grey(7)
        assert dataset.repaint(item, 3) is None
    assert asked == [("test/0.png", 0, 1)] * 2


def test_it_is_told_which_photos_lack_the_trait(folder):
    for kind in KINDS:
        dataset = read_dataset(f"planted@kind={kind}:folder:{folder}")
        plain, marked, *_ = dataset.items()
        absent = [dataset.open(item).absent for item in (plain, marked)]
        # Where a part is taken away, it is the photo with the mark that lacks it.
        expected = [frozenset(), {plain.label}] if kind == "missing" else [{marked.label}, frozenset()]
        assert absent == expected


def test_mixed_draws_a_kind_for_each_class():
    counts = Counter(mark_of(str(name), "mixed", 0).kind for name in range(600))
    assert set(counts) == set(KINDS)
    assert min(counts.values()) > 70
    dataset = read_dataset("planted@kind=mixed:aviary", images=1)
    half = len(dataset.class_names) // 2
    for name, twin in zip(dataset.class_names[:half], dataset.class_names[half:], strict=True):
        assert twin == f"{name} with {mark_of(name, 'mixed', 0).words}"


def test_twins_may_have_twins(pens):
    pens()
    dataset = read_dataset("planted@kind=spots:planted@kind=tint:pens")
    items = list(dataset.items())
    assert [item.label for item in items[:4]] == [0, 4, 2, 6]
    assert len({item.key for item in items}) == len(items) == 24
    plain, spots, tint, both = (dataset.open(item) for item in items[:4])
    assert set(plain.differences) == {2, 4}
    assert set(both.differences) == {0, 2}
    assert np.array_equal(tint.differences[0], changed(tint.photo, plain.photo))
    assert np.array_equal(spots.differences[0], changed(spots.photo, plain.photo))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("planted@size=0:aviary", r"the size of planted marks is 0.0; it must be above 0, up to 0.5"),
        ("planted@size=0.51:aviary", r"the size of planted marks is 0.51; it must be above 0"),
        ("planted@size=nan:aviary", r"size is 'nan'; it must be a finite number"),
        ("planted@size=small:aviary", r"'planted@size=small': size is 'small'; it must be a number"),
        ("planted@kind=tnit:aviary", r"'planted@kind=tnit': kind is 'tnit'; did you mean 'tint'"),
        ("planted@seed=x:aviary", r"seed is 'x'; it must be a whole number"),
        ("planted@colour=red:aviary", r"planted has no parameter 'colour'; planted takes kind .*, size .*, seed"),
        ("planted", r"'planted' is not a data set: write planted:DATASET"),
        ("planted:", r"'planted:' is not a data set: write planted:DATASET"),
        ("planted:cubb:/birds", r"'cubb:/birds' is not a data set: did you mean 'cub:DIR'"),
        ("planted:cub:/no/birds", r"CUB-200-2011: there is no folder '/no/birds'"),
        ("planted:aircraft@clan:/planes", r"'aircraft@clan': level is 'clan'"),
        ("planted:aviary:biazed", r"'aviary:biazed' is not a data set"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(spec, message):
    with pytest.raises(FinercamError, match=message) as error:
        read_dataset(spec)
    assert "\n" not in str(error.value)


@needs_real
def test_marks_on_real_photos():
    spec = f"cub:{REAL}"
    dataset = read_dataset(f"planted@kind=mixed:{spec}", "test", images=24, seed=6)
    assert len(dataset.class_names) == 400
    assert dataset.regions == ("box", "parts", "difference", "present", "absent")
    shares = []
    for item in dataset.items():
        example = dataset.open(item)
        ((other, where),) = example.differences.items()
        assert other == (item.label + 200) % 400
        shares.append(where.mean())
        if not where.any():
            continue
        # On a part of the bird that is seen, or half a radius inwards of it.
        x, y = centre(where)
        nearest = min(np.hypot(x - px, y - py) for px, py in filter(None, example.parts))
        assert nearest < 1.1 * radius_of(0.09, example)
    assert len(shares) == 48
    assert np.mean([share > 0.001 for share in shares]) > 0.9
    assert max(shares) < 0.03
