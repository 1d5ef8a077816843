"""The sanity checks over a classifier, against explanations of networks made random by hand."""

import csv
import io
from dataclasses import replace

import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import nn

import finercam
from finercam import METHODS, PLAIN, Classifier, Contrast, FinercamError, Objective, gather, saliency
from finercam.methods.method import method
from finercam.models.run import Run
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.runs.rows import Rows
from finercam.studies.sanity.checking import check
from finercam.studies.sanity.classes import ClassRow, ClassSensitivity
from finercam.studies.sanity.randomisation import Randomisation, RandomisedRow, running_order
from finercam.studies.sanity.randomising import Randomised
from support.models import NETS, SIZE, DeepNet, PooledNet, build, classifier, photos
from support.studies import Given, measured, runs_of

IMAGES = photos(5)
#: Their labels, which are the classes of the nets that they stand for.
LABELS = [0, 1, 2, 3, 4]
ALL = list(range(7))


def rows_over(study, model, batch=16, images=IMAGES, labels=LABELS):
    """Run a study over the images; labels are the model's classes."""
    given = Given(images, labels)
    kind = ClassRow if isinstance(study, ClassSensitivity) else RandomisedRow
    return measured(study, given.classifier(model), given.dataset, lambda rows: rows.records(kind), ALL, batch)


def randomisation(model, contrast=None, batch=16, **options):
    options |= {} if contrast is None else {"contrast": contrast}
    return rows_over(Randomisation(**options), model, batch)


def class_sensitivity(model, batch=16, **options):
    return rows_over(ClassSensitivity(**options), model, batch)


def by_hand(model, module, images, contrast, targets, method):
    """Answers of a classifier of the random module, made anew, with the references named that the intact one chose."""
    kind = NETS[model]
    other = Classifier.of(module, kind.layer, grid=classifier(model).grids[0], image_size=SIZE)
    evidence, (question,) = gather(other, images, [contrast], targets, method=method)
    return finercam.answer(evidence, question)


def likeness(first, second):
    a, b = first.flatten().numpy(), second.flatten().numpy()
    if a.max() == a.min() or b.max() == b.min():
        return None, None
    return spearmanr(a, b).statistic, pearsonr(a, b).statistic


@pytest.mark.parametrize(
    ("model", "method"),
    [
        ("pooled", "gradcam"),
        ("deep", "gradcam"),
        ("vit", "layercam"),
        ("deep", "gradcam++"),
        ("deep", "scorecam"),
        ("deep", "mask@cells=3@steps=2"),
    ],
)
@pytest.mark.parametrize("order", ["top-down", "independent"])
def test_rows_compare_the_intact_network_with_the_random_one(model, method, order):
    whole = classifier(model)
    rows = randomisation(whole, method=method, order=order, batch=2, seed=1)
    _, (question,) = gather(whole, IMAGES, [Contrast()])
    named = Contrast(against=question.references.tolist())
    targets = question.targets
    intact = by_hand(model, whole.module, IMAGES, named, targets, method)
    names = running_order(whole)
    assert [row.layer for row in rows] == [name or "(itself)" for _ in IMAGES for name in names[::-1]]
    for layer, module in Randomised(whole.module, names, order=order, seed=1):
        found = by_hand(model, module, IMAGES, named, targets, method)
        own = [row for row in rows if row.layer == (layer or "(itself)")]
        assert [row.id for row in own] == list(range(5))
        for i, row in enumerate(own):
            # Pixels whose values differ by rounding only may tie or not.
            expected = likeness(intact.saliency[i], found.saliency[i])
            assert (row.ranks, row.values) == pytest.approx(expected, abs=1e-3)
            assert row.signed == pytest.approx(likeness(intact.maps[i], found.maps[i])[0], abs=1e-3)
            assert row.empty == (float(found.saliency[i].max()) <= 0)
    assert min(row.signed for row in rows) < 0.9


def test_the_question_stays_that_of_the_intact_network():
    # A random last layer names other classes: with the target left open, the question would change with it.
    whole = classifier("deep")
    _, (question,) = gather(whole, IMAGES, [PLAIN])
    named = rows_over(Randomisation(PLAIN, target="label"), whole, labels=question.targets.tolist())
    assert named == randomisation(whole, PLAIN)
    assert named != randomisation(whole, PLAIN, target="label")
    for _, module in Randomised(whole.module, ["head"]):
        assert not torch.equal(module(IMAGES).argmax(1), question.targets)


def test_a_map_that_ignores_what_was_learned_above_its_layer_fails():
    with METHODS.restored():
        # Whatever the class, and whatever the layers behind.
        @method("mean")
        def mean(activations, gradients):
            return activations.mean(1)

        rows = randomisation(classifier("deep"), method="mean", order="top-down")
        sensitivity = class_sensitivity(classifier("deep"), method="mean")
    above = {"head", "norm", "more.0"}
    alike = {row.layer: [] for row in rows}
    for row in rows:
        alike[row.layer].append(row.signed)
    assert all(alike[layer] == pytest.approx([1.0] * 5) for layer in above)
    assert alike["stem.0"] != pytest.approx([1.0] * 5)
    assert [row.signed for row in sensitivity] == pytest.approx([1.0] * 5)


def test_batches_do_not_change_the_rows_with_noise_or_without():
    for samples in (0, 3):
        options = {"target": "label", "layers": ("stem", "head"), "samples": samples}
        runs = [randomisation(classifier("deep"), Contrast(against=[6, 5]), batch, **options) for batch in (1, 2, 16)]
        assert len(runs[0]) == 10
        for other in runs[1:]:
            for a, b in zip(runs[0], other, strict=True):
                assert (a.layer, a.id, a.empty) == (b.layer, b.id, b.empty)
                # Pixels whose values differ by rounding only may tie or not.
                assert (a.ranks, a.values, a.signed) == pytest.approx((b.ranks, b.values, b.signed), abs=1e-3)


def test_maps_are_the_mean_over_noisy_copies():
    whole = classifier("deep")
    seen = []
    with METHODS.restored():

        @method("noted")
        def noted(activations, gradients):
            seen.append(activations.mean(1))
            return seen[-1]

        rows = randomisation(whole, method="noted", layers=("stem",), samples=2, noise=0.3)
    intact, found = torch.stack(seen[:2]).mean(0), torch.stack(seen[2:]).mean(0)
    expected = [spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(intact, found, strict=True)]
    assert [row.signed for row in rows] == pytest.approx(expected)
    assert float((seen[0] - seen[1]).std()) > 0.1
    columns = [
        [row.signed for row in randomisation(whole, layers=("stem",), samples=samples, noise=noise)]
        for samples, noise in ((0, 0.1), (2, 0.0), (2, 0.3))
    ]
    assert columns[0] == pytest.approx(columns[1])
    assert columns[0] != pytest.approx(columns[2], abs=1e-3)


def test_the_classifier_stays_as_it_was():
    model = Classifier.of(build(PooledNet), PooledNet.layer, image_size=SIZE)
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    generator, head = torch.get_rng_state(), model.head
    rows = randomisation(model, Objective(lambda y: y[:, 0] - y[:, 1]), redraw="reset")
    assert len(rows) == 25
    assert model.pooled
    assert model.head is head
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())
    assert not any(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.module.modules())


def test_the_model_is_run_once_per_batch_and_so_is_every_random_one():
    model = Classifier.of(build(DeepNet), DeepNet.layer, image_size=SIZE)
    with runs_of(model.module) as runs:
        class_sensitivity(model, batch=2)
    assert runs == [2, 2, 1]
    # Hooks are copied with a network.
    with runs_of(model.module) as runs:
        randomisation(model, batch=2, layers=("stem", "norm", "head"))
    assert runs == [2] * 4 + [2] * 4 + [1] * 4


def test_a_check_writes_its_table_and_goes_on(tmp_path):
    given = Given(photos(20), [n % 7 for n in range(20)])
    model = loaded_classifier(given.classifier(classifier("deep")))
    study = Randomisation(layers=("stem", "head"))

    def run(**options):
        return check(study, model, given.dataset, str(tmp_path), ALL, engine=Local(workers=0), **options)

    with pytest.raises(KeyboardInterrupt):
        run(advance=stop_after_a_part)
    with runs_of(model.model.module) as runs:
        lines = run(run=Run(images=16))
    # The second part is all that was left to do.
    assert runs == [4, 4, 4]
    assert [line.of for line in lines] == ["head", "stem"]
    assert {line.images for line in lines} == {20}
    table = (tmp_path / "table.md").read_text()
    assert "| head | " in table
    assert "20 images" in table
    first = next(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert first["layer"] == "head"
    assert float(first["signed"]) == pytest.approx(lines[0].signed.mean, rel=1e-5)
    assert first["signed n"] == "20"


def stop_after_a_part(come):
    if come.done:
        raise KeyboardInterrupt


def test_what_cannot_be_checked_is_said_before_anything_is_written(tmp_path):
    given = Given(IMAGES, LABELS)
    model = loaded_classifier(given.classifier(classifier("vit")))
    for make, message in [
        (lambda: Randomisation(samples=-1), "samples is -1"),
        (lambda: Randomisation(target="labels"), "target is 'labels'; did you mean 'label'"),
        (lambda: ClassSensitivity(target="top"), "target is 'top'"),
        (lambda: ClassSensitivity(method="gradcm"), "did you mean 'gradcam'"),
        (lambda: ClassSensitivity(other=7), "7"),
        (lambda: Randomisation(layers=("haed",)), "there is no layer 'haed'"),
        (lambda: Randomisation(redraw="reset"), "no reset_parameters"),
        (lambda: Randomisation(order="topdown"), "order is 'topdown'"),
    ]:
        with pytest.raises(FinercamError, match=message):
            check(make(), model, given.dataset, str(tmp_path / "out"), ALL)
    assert not (tmp_path / "out").exists()


def test_layers_are_gone_through_as_they_run_and_not_as_they_were_made():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.head = nn.Linear(5, 4)
            self.attend = nn.MultiheadAttention(5, 1, batch_first=True)
            self.stem = nn.Conv2d(3, 5, 3)

        def forward(self, images):
            tokens = (self.scale * self.stem(images)).flatten(2).mT
            return self.head(self.attend(tokens, tokens, tokens)[0].mean(1))

    model = Classifier.of(Backwards(), "stem", image_size=SIZE)
    assert running_order(model) == ["", "stem", "attend", "attend.out_proj", "head"]
    assert running_order(classifier("vit"))[:2] == ["", "patch"]


def test_likeness_of_two_classes_maps():
    whole = classifier("deep")
    logits = whole.module(IMAGES).detach()
    top = logits.argmax(1)
    rows = class_sensitivity(whole, batch=2)
    second = logits.scatter(1, top[:, None], -torch.inf).argmax(1)
    assert [(row.target, row.other) for row in rows] == list(zip(top.tolist(), second.tolist(), strict=True))
    maps = [saliency(whole, IMAGES, each, contrast=PLAIN) for each in (top, second)]
    for row, a, b in zip(rows, *maps, strict=True):
        assert (row.ranks, row.values) == pytest.approx(likeness(a, b), abs=1e-3)
        assert row.empty == (min(float(a.max()), float(b.max())) <= 0)
    assert [row.id for row in rows] == list(range(5))


@pytest.mark.parametrize("how", ["gradcam", "scorecam", "mask@cells=3@steps=2"])
def test_a_class_is_like_itself_and_the_opposite_of_the_one_it_is_contrasted_with(how):
    whole = classifier("deep")
    same = rows_over(ClassSensitivity(target="label", other=3, method=how), whole, labels=[3] * 5)
    assert [(row.target, row.other) for row in same] == [(3, 3)] * 5
    assert [row.signed for row in same] == pytest.approx([1.0] * 5)
    study = ClassSensitivity(Contrast(against=[1, 2], gamma=1.0), target="label", other=2)
    opposite = rows_over(study, whole, batch=2, labels=[1] * 5)
    assert [row.signed for row in opposite] == pytest.approx([-1.0] * 5)


def test_a_summary_is_the_mean_over_images_where_there_is_one():
    one = RandomisedRow(0, 0.2, 0.4, -0.5, False, "fc")
    rows = [one, replace(one, id=1, ranks=None, values=None, signed=0.1, empty=True), replace(one, layer="conv")]

    class Kept(Rows):
        def records(self, kind, where=None):
            return rows

    fc, conv = Randomisation().summary(Kept(""))
    assert (fc.of, fc.ranks.mean, fc.ranks.n, fc.values.mean, fc.empty, fc.images) == ("fc", 0.2, 1, 0.4, 0.5, 2)
    assert (fc.signed.mean, fc.signed.n) == (pytest.approx(-0.2), 2)
    assert (conv.of, conv.empty) == ("conv", 0)
