"""Metrics by name, and one of a stranger's in a file of its own."""

import importlib.util

import pytest
import torch

from finercam.contrast.contrast import PLAIN, Contrast
from finercam.errors import FinercamError
from finercam.metrics.correlation import rank_correlation
from finercam.metrics.localization import average_precision, energy_inside, iou_of_top, pointing
from finercam.metrics.metric import METRICS, default_metrics, find_metric, metric
from finercam.metrics.points import PartPoints
from finercam.metrics.view import OTHER_CLASS, Asked, Cut, View

FAR = '''
from finercam.contrast.contrast import Contrast
from finercam.errors import FinercamError
from finercam.metrics.metric import Summary, metric
from finercam.metrics.view import Needs, OtherMap, View


def needs(quantile):
    if not 0 < quantile < 1:
        raise FinercamError(f"the quantile is {quantile}; it must lie between 0 and 1")
    return Needs(regions=("box",))


def ranked(number, labels):
    return number.argsort().argsort() + 100 * labels


RANK = Summary("far-rank", "Rank", "lower", ("",), ranked)


@metric("far", title="Far", better="lower", needs=needs, summaries=[RANK])
def far(view: View, *, quantile: float = 0.9):
    """Return the share of the image that is salient and outside of the box."""
    high = view.saliency > view.saliency.flatten(1).quantile(quantile, 1)[:, None, None]
    return (high & ~view.region("box")).flatten(1).double().mean(1)


REVERSED = OtherMap("reversed", lambda asked: (Contrast(reverse=True), asked.targets))


@metric("overlap", numbers=("", "peak"), lists=("rows",), needs=Needs(maps=(REVERSED,)))
def overlap(view):
    both = view.saliency.minimum(view.answer(REVERSED))
    return {"": both.sum((1, 2)), "peak": both.amax((1, 2)), "rows": both.sum(2)}
'''


@pytest.fixture
def strangers(tmp_path):
    """Their module; what it registers is forgotten afterwards."""
    path = tmp_path / "far.py"
    path.write_text(FAR)
    spec = importlib.util.spec_from_file_location("far", path)
    module = importlib.util.module_from_spec(spec)
    with METRICS.restored():
        spec.loader.exec_module(module)
        yield module
    assert "far" not in METRICS


def box():
    region = torch.zeros(2, 4, 5, dtype=torch.bool)
    region[:, 1:3, 1:4] = True
    return region


def test_a_strangers_metric_has_a_parameter_and_a_region(strangers):
    saliency = torch.arange(40.0).reshape(2, 4, 5)
    view = View(saliency, {"box": box()})
    default, own = find_metric("far"), find_metric("Far@0.5")
    assert (default.spec, default.title, default.better) == ("far", "Far", "lower")
    assert (own.spec, own.title, own.parameters) == ("far@0.5", "Far (0.5)", (("quantile", 0.5),))
    assert own.needs.regions == ("box",)
    assert own.needs.places
    # Of the 10 upper half's pixels, 3 are in the box; of the 2 highest, none.
    assert own.compute(view) == {"far@0.5": [0.35, 0.35]}
    assert default.compute(view) == {"far": [0.1, 0.1]}
    assert find_metric("far@quantile=0.5").compute(view) == {"far@quantile=0.5": [0.35, 0.35]}
    (summary,) = own.summaries
    assert summary.column.heading == "Rank ↓"
    assert summary.column.spec == "far-rank@0.5"
    assert [column.spec for column in own.columns] == ["far@0.5", "far-rank@0.5"]
    assert summary.compute({"far@0.5": [0.3, 0.1]}, [0, 2]).tolist() == [1.0, 200.0]


def test_a_strangers_metric_asks_for_another_map_and_writes_several_columns(strangers):
    found = find_metric("overlap")
    (other,) = found.needs.maps
    asked = Asked(PLAIN, torch.rand(2, 5), torch.tensor([1, 2]), torch.tensor([0, 4]), None)
    contrast, about = other.asks(asked)
    assert (contrast, about.tolist()) == (Contrast(reverse=True), [1, 2])
    assert [column.spec for column in found.numbers] == ["overlap", "overlap peak"]
    assert found.lists == ("overlap rows",)
    ones = torch.ones(1, 2, 3)
    ones[0, 0, 0] = torch.nan
    assert found.compute(View(torch.full((1, 2, 3), 2.0), maps={"reversed": ones})) == {
        "overlap": [None],
        "overlap peak": [None],
        "overlap rows": [[None, 3.0]],
    }
    # A control answers no question.
    assert found.compute(View(ones)) == {"overlap": [None], "overlap peak": [None], "overlap rows": [None]}


def test_a_name_is_given_once(strangers):
    for name in ("far", "FAR", "Relative_Drop", "deletion"):
        with pytest.raises(FinercamError, match="there is a metric"):
            metric(name)(strangers.far)
    with pytest.raises(FinercamError, match="cannot be the name"):
        metric("far@half")(strangers.far)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("far@quantil=0.5", r"no parameter 'quantil'; far takes quantile \(default 0.9\)"),
        ("far@0.5@0.6", r"far takes quantile \(default 0.9\)"),
        ("far@quantile=0.5@quantile=0.6", "given twice"),
        ("far@lots", "quantile is 'lots'; it must be a number"),
        ("far@nan", "quantile is 'nan'; it must be a finite number"),
        ("parts@inf", "radius is 'inf'; it must be a finite number"),
        ("far@1.5", "'far@1.5': the quantile is 1.5; it must lie between 0 and 1"),
        ("fur", "no metric 'fur'; did you mean 'far'"),
        ("class-sensitivity@d", "of is 'd'; choose from: other, random, reversed"),
        ("localization@boxs", r"'localization@boxs': region is 'boxs'; did you mean 'box'"),
        ("iou@0", "the fraction is 0.0"),
        ("pointing@tolerance=-1", "a distance in pixels must be a number from 0 upwards, not -1.0"),
        ("parts@-1", "the fraction is -1.0"),
        ("deletion@step=3", r"no parameter 'step'; deletion takes steps \(default 50\), fill"),
        ("deletion@fill=grey", "fill is 'grey'"),
        ("deletion@cells=-1", "cells is -1; it must lie between 0"),
    ],
)
def test_what_cannot_be_asked_for_is_told_with_what_can(strangers, spec, message):
    with pytest.raises(FinercamError, match=message):
        find_metric(spec)


def test_what_is_returned_must_be_what_was_declared():
    with METRICS.restored():
        metric("other-columns", numbers=("", "more"))(lambda view: {"": view.saliency.sum((1, 2))})
        metric("map")(lambda view: view.saliency.sum(1))
        metric("one-for-all")(lambda view: view.saliency.sum()[None])
        view = View(torch.rand(3, 4, 5))
        for spec, message in (
            ("other-columns", "returned 'other-columns'; it declares 'other-columns', 'other-columns more'"),
            ("map", r"returned 'map' in the shape \(3, 5\); expected one number for each of 3 images"),
            ("one-for-all", r"in the shape \(1,\)"),
        ):
            with pytest.raises(FinercamError, match=message):
                find_metric(spec).compute(view)


def test_what_was_not_declared_is_not_there(strangers):
    view = View(torch.rand(2, 4, 5))
    with pytest.raises(FinercamError, match=r"no region 'box' here; .*Needs\(regions=\('box',\)\)"):
        find_metric("far").compute(view)
    with pytest.raises(FinercamError, match="no masked copies"):
        view.confidence(Cut(False, 3))
    with pytest.raises(FinercamError, match="no part points"):
        view.discs(0.1)
    with pytest.raises(FinercamError, match="'other class' was not asked for"):
        view.answer(OTHER_CLASS)


@pytest.mark.parametrize(
    ("spec", "title", "lists"),
    [
        ("deletion", "Del.", ("deletion curve", "deletion curve of other")),
        ("deletion@steps=20", "Del. (steps=20)", ("deletion@steps=20 curve", "deletion@steps=20 curve of other")),
        ("insertion", "Ins.", ("insertion curve", "insertion curve of other")),
        ("relative-drop@0.05", "RD@0.05", ()),
        ("relative-drop", "RD@0.05", ()),
        ("relative-drop@0.05@fill=blur", "RD@0.05 (blur)", ()),
        ("relative-drop@0.05@cells=14", "RD@0.05 (14 cells)", ()),
        ("confidence-drop@0.1@blur@7", "Drop@0.1 (blur, 7 cells)", ()),
        ("confidence-drop@0.1", "Drop@0.1", ()),
        ("localization", "Loc.", ()),
        ("localization@mask", "Loc. (mask)", ()),
        ("average-precision@difference", "AP (difference)", ()),
        ("pointing@box", "Pointing (box)", ()),
        ("iou", "IoU", ()),
        ("iou@0.1", "IoU@0.1", ()),
        ("iou@0.1@region=mask", "IoU@0.1 (mask)", ()),
        ("parts@0.1", "Parts@0.1", ("parts@0.1 shares",)),
        ("class-sensitivity", "Correlation with d", ()),
        ("class-sensitivity@random", "Correlation with a random class", ()),
        ("parts-precision@0.1", "AP (parts@0.1)", ()),
    ],
)
def test_columns_are_called_what_was_asked_for(spec, title, lists):
    found = find_metric(f" {spec} ")
    assert (found.spec, found.title, found.lists) == (spec, title, lists)
    assert [column.spec for column in found.numbers] == [spec]
    assert find_metric(found) is found


def test_a_default_holds_for_what_the_spec_leaves_open():
    def counts(spec, **defaults):
        return [cut.count for cut in find_metric(spec, **defaults).needs.cuts(100)]

    assert counts("deletion@steps=4", steps=2) == counts("deletion@4") == counts("deletion", steps=4)
    assert counts("insertion", steps=4) == [0, 25, 50, 75, 100]
    assert len(counts("deletion")) == 51
    assert find_metric("deletion", steps=4).spec == "deletion"
    assert counts("relative-drop@0.1", steps=4) == [0, 10]
    with pytest.raises(FinercamError, match="steps is 0"):
        find_metric("deletion", steps=0)


def test_regions_and_maps_of_the_metrics_that_ship():
    generator = torch.Generator().manual_seed(0)
    saliency, other = torch.rand(2, 2, 4, 5, generator=generator, dtype=torch.float64)
    mask = torch.rand(2, 4, 5, generator=generator) < 0.4
    mask[1] = False
    view = View(
        saliency, {"object": box(), "box": box(), "mask": mask, "difference": mask}, maps={"other class": other}
    )
    for spec, expected in {
        "localization": energy_inside(saliency, box()),
        "localization@mask": energy_inside(saliency, mask),
        "average-precision@difference": average_precision(saliency, mask),
        "pointing@mask": pointing(saliency, mask),
        "pointing@mask@tolerance=1.5": pointing(saliency, mask, 1.5),
        "iou": iou_of_top(saliency, box()),
        "iou@0.3": iou_of_top(saliency, box(), 0.3),
        "class-sensitivity": rank_correlation(saliency, other),
    }.items():
        values = [None if value != value else value for value in expected.tolist()]
        assert find_metric(spec).compute(view) == {spec: values}
        assert ("mask" in spec or "difference" in spec) == (None in values)


def test_what_other_maps_are_asked():
    logits, targets, others, drawn = torch.rand(2, 6), torch.tensor([0, 1]), torch.tensor([4, 5]), torch.tensor([2, 2])

    def asked(of, contrast, drawn=drawn):
        (other,) = find_metric(f"class-sensitivity@{of}").needs.maps
        found = other.asks(Asked(contrast, logits, targets, others, drawn))
        return None if found is None else (found[0], found[1].tolist())

    finer = Contrast(gamma=1, references=2)
    assert asked("other", finer) == asked("other", PLAIN) == (PLAIN, [4, 5])
    assert asked("random", finer) == (finer, [2, 2])
    assert asked("random", PLAIN) == (PLAIN, [2, 2])
    assert asked("random", finer, None) is None
    assert asked("reversed", finer) == (Contrast(gamma=1, references=2, reverse=True), [0, 1])
    assert asked("reversed", Contrast(reverse=True)) == (Contrast(), [0, 1])
    assert asked("reversed", PLAIN) == (PLAIN, [4, 5])
    # The official weighting has no reverse.
    assert asked("reversed", Contrast(weighting="official")) is None


@pytest.mark.parametrize(
    ("spec", "known", "missing"),
    [
        ("localization", ("mask",), ""),
        ("localization", ("parts",), "boxes or masks"),
        ("localization@box", ("mask",), "box"),
        ("localization@difference", ("box", "mask"), "difference"),
        ("iou@0.1", ("box",), ""),
        ("parts", (), "part points and boxes"),
        ("parts", ("parts",), "boxes"),
        ("parts", ("parts", "box"), ""),
        ("deletion", (), ""),
    ],
)
def test_what_a_data_set_lacks(spec, known, missing):
    assert find_metric(spec).needs.missing(known) == missing


def test_what_is_measured_where_nothing_is_said():
    drops = ("relative-drop@0.05", "relative-drop@0.1", "relative-drop@0.05@fill=blur", "relative-drop@0.05@cells=14")
    masked = ("deletion", "deletion@steps=20@fill=blur", *drops)
    where = ("localization", "average-precision")
    same = ("class-sensitivity@random", "class-sensitivity@reversed")
    known = tuple(f"{name}@difference" for name in ("pointing", "average-precision", "localization"))
    assert default_metrics(()) == (*masked, *same)
    assert default_metrics(("mask", "parts")) == (*masked, *where, *same)
    assert default_metrics(("box", "difference")) == (*known, *masked, *where, *same)
    everything = ("box", "parts", "difference", "present", "absent")
    sides = ("average-precision@present", "average-precision@absent")
    assert default_metrics(everything) == (*known, *sides, *masked, *where, "parts-precision@0.1", *same)
    for spec in default_metrics(everything):
        assert find_metric(spec).spec == spec


def test_discs_are_made_once_for_all_maps_of_a_batch():
    parts = PartPoints(torch.tensor([[[2.0, 2.0]]]), torch.tensor([10.0]))
    views = [View(torch.rand(1, 4, 5), parts=parts) for _ in range(2)]
    assert views[0].discs(0.2) is views[1].discs(0.2)
    assert views[0].discs(0.2).sum() > views[0].discs(0.1).sum()
