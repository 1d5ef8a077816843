"""Many masked copies at once, against the same copies made one after another."""

import pytest
import torch

from finercam.errors import FinercamError
from finercam.metrics.masked_runs import Cut, masked_confidences
from finercam.metrics.masking import deletion, drop, filling, insertion, ranking, top_count, without_top

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
        return (images.flatten(1) @ self.weights.T / 4).softmax(1)


@pytest.fixture
def case():
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(3, 3, *SIZE, generator=generator, dtype=torch.float64)
    maps = torch.rand(2, 3, *SIZE, generator=generator, dtype=torch.float64).sub(0.4).relu()
    return Scorer(), images, maps, torch.tensor([[0, 3], [2, 1], [4, 0]])


def run(scorer, images, ranks, cuts, classes, **options):
    unmasked = scorer(images).gather(1, classes)
    scorer.seen, scorer.batches = 0, []
    return masked_confidences(
        scorer, images, ranks, cuts, classes, unmasked,
        fill=options.pop("fill", filling(images)), blurred=lambda: filling(images, "blur"), **options,
    )  # fmt: skip


@pytest.mark.parametrize("steps", [1, 7, 50, 96])
@pytest.mark.parametrize("batch_size", [1, 5, None])
def test_both_curves_are_those_computed_one_step_at_a_time(case, steps, batch_size):
    scorer, images, maps, classes = case
    counts = [top_count(step / steps, PIXELS) for step in range(steps + 1)]
    cuts = sorted({Cut(inserted, count) for inserted in (False, True) for count in counts})
    found = run(scorer, images, [ranking(m) for m in maps], cuts, classes, batch_size=batch_size)
    for m, saliency in enumerate(maps):
        for inserted, curve in ((False, deletion), (True, insertion)):
            literal = curve(Scorer(), images, saliency, classes[:, 0], classes[:, 1], steps=steps)
            own = found[m][:, [cuts.index(Cut(inserted, count)) for count in counts]]
            torch.testing.assert_close(own[..., 0], literal.target)
            torch.testing.assert_close(own[..., 1], literal.other)
    if batch_size:
        assert max(scorer.batches) <= batch_size


def test_drops_are_those_of_the_masked_image(case):
    scorer, images, maps, classes = case
    fill = filling(images, "black", (0.5, 0.4, 0.3), (0.2, 0.2, 0.1))
    found = run(scorer, images, [ranking(maps[0])], [Cut(False, top_count(0.1, PIXELS))], classes, fill=fill)
    masked = without_top(images, ranking(maps[0]), 0.1, fill)
    literal = drop(scorer(images), scorer(masked), classes[:, 0], classes[:, 1])
    fall = scorer(images).gather(1, classes) - found[0, :, 0]
    torch.testing.assert_close(fall[:, 0] - fall[:, 1], literal.relative)
    torch.testing.assert_close(fall[:, 0], literal.confidence)


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

    def refuse():
        raise AssertionError("blurred for nothing")

    masked_confidences(
        scorer, images, [ranking(maps[0])], [Cut(False, 3)], classes, torch.zeros(3, 2, dtype=torch.float64),
        fill=filling(images), blurred=refuse,
    )  # fmt: skip


def test_a_batch_size_below_one_is_refused(case):
    scorer, images, maps, classes = case
    with pytest.raises(FinercamError, match="at least 1"):
        run(scorer, images, [ranking(maps[0])], [Cut(False, 3)], classes, batch_size=0)
