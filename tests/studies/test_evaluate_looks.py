"""One look at the model per batch, whatever is measured of it."""

from __future__ import annotations

import pytest

from finercam.models import look as looks
from finercam.models.run import Run
from finercam.studies.evaluate.evaluation import Evaluation
from support import evaluations
from support.evaluations import evaluate, rows_of

FOURS = Run(images=4)
#: The folded copy is compared with the network, on two images, when it is made.
COMPARED = 2 + 2


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return evaluations.photos(tmp_path_factory.mktemp("photos"), 12)


@pytest.fixture
def visits(monkeypatch):
    """Note every look that is opened."""
    seen = []
    entered = looks.Look.__init__

    def noted(self, *arguments, **options):
        seen.append(self)
        entered(self, *arguments, **options)

    monkeypatch.setattr(looks.Look, "__init__", noted)
    return seen


def model_with_hook():
    """A classifier, and the number of images of each run of its network (its folded copy's included)."""
    model, seen = evaluations.classifier(), []
    model.module.register_forward_hook(lambda module, images, output: seen.append(len(images[0])))
    return model, seen


@pytest.mark.parametrize(
    ("methods", "metrics", "copies"),
    [
        (("gradcam", "layercam", "hirescam"), ("localization", "class-sensitivity", "parts@0.2"), False),
        (("gradcam", "scorecam", "scorecam-consistent", "ablationcam"), ("localization",), True),
        (("gradcam", "layercam"), ("deletion", "insertion", "relative-drop@0.1", "class-sensitivity"), True),
        (("scorecam",), ("relative-drop@0.1",), True),
    ],
)
def test_the_model_is_run_once_per_batch_but_for_altered_copies(data, tmp_path, visits, methods, metrics, copies):
    model, runs = model_with_hook()
    study = Evaluation(methods=methods, metrics=metrics, steps=4)
    evaluate(model, data, study, tmp_path / "run", run=FOURS)
    assert {row["error"] for row in rows_of(tmp_path / "run")} == {None}
    assert [len(look.images) for look in visits] == [4, 4, 4]
    assert [look.passes for look in visits] == [1, 1, 1]
    assert all((look.copies > 0) == copies for look in visits)
    assert sum(runs) == sum(len(look.images) + look.copies for look in visits) + COMPARED * copies
    if not copies:
        assert runs == [4, 4, 4]


def test_methods_that_read_the_same_evidence_share_it(data, tmp_path, visits):
    for methods in (("scorecam",), ("scorecam", "scorecam-consistent", "scorecam-softmax")):
        study = Evaluation(methods=methods, metrics=("localization",))
        evaluate(evaluations.classifier(), data, study, tmp_path / str(len(methods)), run=FOURS)
    assert [look.copies for look in visits[:3]] == [look.copies for look in visits[3:]]
    assert visits[0].copies > 0


def test_a_score_method_collects_no_gradients(data, tmp_path, monkeypatch):
    asked = []

    def noted(self, *arguments, **options):
        asked.append(self)
        return gradients(self, *arguments, **options)

    gradients = looks.Look.gradients
    monkeypatch.setattr(looks.Look, "gradients", noted)
    for methods, wanted in ((("scorecam", "ablationcam"), 0), (("scorecam", "gradcam", "layercam"), 3)):
        evaluate(evaluations.classifier(), data, Evaluation(methods=methods), tmp_path / str(wanted), run=FOURS)
        assert len(asked) == wanted


def test_no_copy_is_run_of_a_photo_that_is_not_explained(data, tmp_path, visits):
    model, runs = model_with_hook()
    study = Evaluation(methods=("scorecam",), metrics=("relative-drop@0.1",), only_correct=True)
    evaluate(model, data, study, tmp_path / "run", run=FOURS)
    found = rows_of(tmp_path / "run")
    right = {row["id"] for row in found if row["correct"]}
    assert 0 < len(right) < 12
    whole = [look for look in visits if len(look.images) == 4]
    beside = [look for look in visits if len(look.images) < 4]
    assert len(whole) == 3
    # A batch with photos that are left out has one more look, at the others.
    assert sum(len(look.images) for look in beside) + sum(4 for look in whole if look.copies) == len(right)
    assert [look.passes for look in visits] == [1] * len(visits)
    assert sum(runs) == sum(len(look.images) + look.copies for look in visits) + COMPARED
