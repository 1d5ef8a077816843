"""What an evaluation may be asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from finercam.contrast.contrast import PLAIN, Contrast
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
        gammas=[0.6, 1.0],
        references=(3, 1),
        against=("similar", "predicted@2"),
        weightings=("mean",),
        aggregates=("mean", "max"),
    )
    names = [contrast_name(contrast) for contrast in found]
    assert len(set(names)) == len(names) == 1 + 2 * 2 * 2 + 2 * 2
    assert names[:3] == ["plain", "finer", "finer gamma=1"]
    assert "finer gamma=1 references=1 max" in names
    assert "finer against=predicted@2 max" in names
    assert [contrast_name(c) for c in contrasts_of(weightings=("official", "softmax"))] == [
        "plain",
        "finer official",
        "finer softmax",
    ]
    assert [contrast_name(c) for c in contrasts_of(("finer",), gammas=[0.0, 0.25])] == ["plain", "finer gamma=0.25"]


def test_names_are_exact():
    """Two strengths are one name only if they are one number."""
    close = contrasts_of(("finer",), gammas=[1.2345671, 1.2345674, 0.6, 0.6000000000000001, 1.0, 1.0, 2e-9, 1e5])
    assert [contrast_name(contrast) for contrast in close] == [
        "finer gamma=1.2345671",
        "finer gamma=1.2345674",
        "finer",
        "finer gamma=0.6000000000000001",
        "finer gamma=1",
        "finer gamma=2e-09",
        "finer gamma=100000",
    ]
    named = [Contrast(against=names) for names in (["a,b"], ["a", "b"], ["a b"], [1, 2])]
    assert len({contrast_name(contrast) for contrast in named}) == 4


def test_what_is_named_twice_is_measured_once():
    study = Evaluation(
        methods=("GradCAM", "gradcam", "maps:a", "maps:a"),
        contrasts=(PLAIN, Contrast(gamma=0.0), Contrast()),
        metrics=("deletion", "deletion", "relative-drop@0.1"),
    )
    assert study.methods == ("gradcam", "maps:a")
    assert [contrast_name(contrast) for contrast in study.contrasts] == ["plain", "finer"]
    assert study.metrics == ("deletion", "relative-drop@0.1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ("grad-cma",)}, "grad"),
        ({"metrics": ("deletoin",)}, "'deletion'"),
        ({"metrics": ("relative-drop@2",)}, "above 0 and up to 1"),
        ({"metrics": ("localization@boxes",)}, "'box'"),
        ({"metrics": ("class-sensitivity@3",)}, "of is '3'"),
        ({"other": "knwon"}, "other is 'knwon'"),
        ({"metrics": ()}, "at least one"),
        ({"contrasts": (Contrast(against=[["ant"], ["bee"]]),)}, "for one batch"),
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
        ("localization", "boxes or masks"),
        ("localization@difference", "difference"),
        ("parts", "part points"),
    ):
        with pytest.raises(FinercamError, match=missing):
            evaluate(evaluations.classifier(), bare, Evaluation(metrics=(metric,)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
