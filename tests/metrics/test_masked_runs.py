"""Many masked copies at once, against the same copies made one after another."""

import pytest
import torch

from finercam.metrics.masked_runs import masked_confidences
from finercam.metrics.masking import filling, ranking, top_count
from finercam.metrics.view import Cut
from finercam.models.run import Run
from support import literal_metrics as literal
from support import models
from support.masked import measured, rerun_of

SIZE = (6, 8)
PIXELS = 48


class Scorer:
    """A made-up classifier of five classes that counts what it is given."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.weights = torch.randn(5, 3 * PIXELS, generator=generator, dtype=torch.float64)
        self.seen = 0
        self.batches = []

    def __call__(self, images):
        self.seen += len(images)
        self.batches.append(len(images))
        return images.flatten(1) @ self.weights.T / 4

    def probabilities(self, images):
        return (images.flatten(1) @ self.weights.T / 4).softmax(1)


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, *SIZE, generator=generator, dtype=torch.float64)
    maps = torch.rand(2, 3, *SIZE, generator=generator, dtype=torch.float64).sub(0.4).relu()
    return Scorer(), images, maps, torch.tensor([[0, 3], [2, 1], [4, 0]])


def run(scorer, images, ranks, cuts, classes, *, copies=None, fill=None):
    unmasked = scorer.probabilities(images).gather(1, classes)
    scorer.seen, scorer.batches = 0, []
    return masked_confidences(
        rerun_of(scorer, copies),
        images,
        [{0: rank} for rank in ranks],
        cuts,
        classes,
        unmasked,
        fill=lambda name: fill if fill is not None and not name else filling(images, name or "mean"),
    )


@pytest.mark.parametrize("steps", [1, 7, 50, 96])
@pytest.mark.parametrize("copies", [1, 5, None])
def test_both_curves_are_those_computed_one_step_at_a_time(case, steps, copies):
    scorer, images, maps, classes = case
    counts = [top_count(step / steps, PIXELS) for step in range(steps + 1)]
    cuts = sorted({Cut(inserted, count) for inserted in (False, True) for count in counts})
    found = run(scorer, images, [ranking(m) for m in maps], cuts, classes, copies=copies)
    blurred = filling(images, "blur")
    for m, saliency in enumerate(maps):
        given = (scorer.probabilities, images, saliency, classes[:, 0], classes[:, 1])
        for inserted, expected in (
            (False, literal.deletion(*given, steps=steps, fill=torch.zeros_like(images))),
            (True, literal.insertion(*given, steps=steps, start=blurred)),
        ):
            own = found[m][:, [cuts.index(Cut(inserted, count)) for count in counts]]
            torch.testing.assert_close(own[..., 0], expected.target, rtol=0, atol=1e-12)
            torch.testing.assert_close(own[..., 1], expected.other, rtol=0, atol=1e-12)
    if copies:
        assert max(scorer.batches) <= copies


def test_drops_are_those_of_the_masked_image(case):
    scorer, images, maps, classes = case
    fill = filling(images, "black", (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    found = run(scorer, images, [ranking(maps[0])], [Cut(False, top_count(0.1, PIXELS))], classes, fill=fill)
    masked = literal.without_top(images, maps[0], literal.count_of(0.1, PIXELS), fill)
    expected = literal.drop(scorer.probabilities(images), scorer.probabilities(masked), classes[:, 0], classes[:, 1])
    fall = scorer.probabilities(images).gather(1, classes) - found[0, :, 0]
    torch.testing.assert_close(fall[:, 0] - fall[:, 1], expected.relative)
    torch.testing.assert_close(fall[:, 0], expected.confidence)


@pytest.mark.parametrize("name", ["pooled", "deep", "vit"])
def test_a_look_at_a_model_gives_what_its_module_gives_copy_by_copy(name):
    classifier = models.classifier(name)
    images = models.photos(3)
    saliency = torch.rand(3, *models.SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([[0, 3], [2, 1], [4, 0]])
    specs = ("deletion@steps=5", "insertion@steps=7", "relative-drop@0.1", "confidence-drop@0.3")

    def score(images):
        with torch.no_grad():
            return classifier.module(images).softmax(1)

    with classifier.look(images, Run(copies=4)) as look:
        found = measured(lambda given: look.logits, look.images, saliency, classes, specs, rerun=look.rerun)
        assert look.passes == 1
        # Four steps between nothing and all, all of it, 10 %, 30 %; none of it given back, and six steps.
        assert look.copies == 3 * (4 + 1 + 2 + 1 + 6)
    given = (score, images, saliency, classes[:, 0], classes[:, 1])
    zero = torch.zeros_like(images)
    deleted = literal.deletion(*given, steps=5, fill=zero)
    inserted = literal.insertion(*given, steps=7, start=filling(images, "blur"))
    falls = [
        literal.drop(
            score(images), score(literal.without_top(images, saliency, literal.count_of(f, 192), zero)), *classes.T
        )
        for f in (0.1, 0.3)
    ]
    for column, expected in {
        "deletion@steps=5": deleted.area,
        "deletion@steps=5 curve": deleted.target,
        "deletion@steps=5 curve of other": deleted.other,
        "insertion@steps=7": inserted.area,
        "insertion@steps=7 curve": inserted.target,
        "insertion@steps=7 curve of other": inserted.other,
        "relative-drop@0.1": falls[0].relative,
        "confidence-drop@0.3": falls[1].confidence,
    }.items():
        torch.testing.assert_close(torch.tensor(found[column], dtype=torch.float64), expected, rtol=0, atol=1e-12)


def test_each_distinct_copy_is_run_once(case):
    scorer, images, maps, classes = case
    one, other = (ranking(m) for m in maps)
    steps = [Cut(False, count) for count in range(0, PIXELS + 1, 12)]
    found = run(scorer, images, [one, other, one.clone(), one], steps, classes)
    # Nothing removed is known; 12, 24 and 36 pixels for two distinct rankings; all removed is the same for both.
    assert scorer.seen == 3 * (2 * 3 + 1)
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[0], found[3])
    assert not torch.equal(found[0], found[1])
    run(scorer, images, [one, other], [Cut(False, 0), Cut(True, PIXELS)], classes)
    assert scorer.seen == 0
    run(scorer, images, [one, other], [Cut(False, PIXELS), Cut(True, 0)], classes)
    assert scorer.seen == 3 * 2


def test_rankings_are_shared_only_where_those_of_every_image_agree(case):
    scorer, images, maps, classes = case
    mixed = maps[0].clone()
    mixed[1] = maps[1, 1]
    found = run(scorer, images, [ranking(maps[0]), ranking(mixed)], [Cut(False, 9)], classes)
    assert torch.equal(found[0, [0, 2]], found[1, [0, 2]])
    assert not torch.equal(found[0, 1], found[1, 1])


def test_nothing_is_blurred_unless_asked_for(case):
    scorer, images, maps, classes = case

    def fill(name):
        assert not name, "blurred for nothing"
        return filling(images)

    masked_confidences(
        rerun_of(scorer),
        images,
        [{0: ranking(maps[0])}],
        [Cut(False, 3)],
        classes,
        torch.zeros(3, 2, dtype=torch.float64),
        fill=fill,
    )


def test_copies_are_in_the_images_memory_order(case):
    scorer, images, maps, classes = case
    orders = []

    def seen(copies):
        orders.append(copies.is_contiguous(memory_format=torch.channels_last))
        return scorer(copies)

    own = images.contiguous(memory_format=torch.channels_last)
    masked_confidences(
        rerun_of(seen),
        own,
        [{0: ranking(maps[0])}],
        [Cut(False, 3), Cut(True, 3)],
        classes,
        torch.zeros(3, 2, dtype=torch.float64),
        fill=lambda name: filling(own, name or "mean"),
    )
    assert orders == [True]


def test_confidences_of_half_precision_logits_are_not_rounded_to_it(case):
    _, images, maps, classes = case
    logits = torch.tensor([[4.0, 4.0, 3.0, 0.0, 1.0]], dtype=torch.bfloat16)
    found = masked_confidences(
        rerun_of(lambda copies: logits.expand(len(copies), -1)),
        images,
        [{0: ranking(maps[0])}],
        [Cut(False, 3)],
        classes,
        torch.zeros(3, 2, dtype=torch.float64),
        fill=lambda name: filling(images, name or "mean"),
    )
    torch.testing.assert_close(found[0, 0, 0], logits[0].double().softmax(0)[classes[0]], rtol=1e-6, atol=0)
