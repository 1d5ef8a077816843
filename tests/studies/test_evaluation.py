"""What an evaluation may be asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from finercam.errors import FinercamError
from finercam.studies.evaluate.contrasts import contrast_name, contrasts_of
from finercam.studies.evaluate.evaluation import Evaluation
from support import evaluations
from support.evaluations import evaluate


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return evaluations.photos(tmp_path_factory.mktemp("photos"))


def test_contrasts_are_named_by_what_differs_from_the_paper():
    found = contrasts_of(
        gammas=[0.6, 1.0], references=(3, 1), against=("similar", "predicted@2"), weightings=("mean",),
        aggregates=("mean", "max"),
    )  # fmt: skip
    names = [contrast_name(contrast) for contrast in found]
    assert len(set(names)) == len(names) == 1 + 2 * 2 * 2 + 2 * 2
    assert names[:3] == ["plain", "finer", "finer gamma=1"]
    assert "finer gamma=1 references=1 max" in names
    assert "finer against=predicted@2 max" in names
    assert [contrast_name(c) for c in contrasts_of(weightings=("official", "softmax"))] == [
        "plain", "finer official", "finer softmax",
    ]  # fmt: skip
    assert [contrast_name(c) for c in contrasts_of(("finer",), gammas=[0.0, 0.25])] == ["plain", "finer gamma=0.25"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ("grad-cma",)}, "grad"),
        ({"metrics": ("deletoin",)}, "'deletion'"),
        ({"metrics": ("relative-drop@2",)}, "above 0 and up to 1"),
        ({"metrics": ("localization@boxes",)}, "'box'"),
        ({"metrics": ("class-sensitivity@3",)}, "takes no parameter"),
        ({"metrics": ()}, "at least one"),
        ({"steps": 0}, "steps is 0"),
        ({"target": "lable"}, "'label'"),
        ({"fill": "grey"}, "fill is 'grey'"),
    ],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(FinercamError, match=message):
        Evaluation(**options)


def test_what_the_data_does_not_have_cannot_be_asked_for(data, tmp_path):
    bare = replace(data, regions=())
    for metric, missing in (
        ("localization", "boxes or masks"), ("localization@difference", "difference"), ("parts", "part points"),
    ):  # fmt: skip
        with pytest.raises(FinercamError, match=missing):
            evaluate(evaluations.classifier(), bare, Evaluation(metrics=(metric,)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
