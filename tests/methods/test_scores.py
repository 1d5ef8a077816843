"""Score evidence: streamed in batches, exact where it skips, one table for every contrast."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from finercam import METHODS, PLAIN, Classifier, Contrast, FinercamError, Run, answer, gather
from finercam.methods.scores import ScoreEvidence
from finercam.models.altering import OutOfMemory
from support import reference
from support.models import CLASSES, NETS, SIZE, AroundNet, DeepNet, Net, PooledNet, Probed, build, classifier, photos

#: What is altered, and a method that gathers it.
KINDS = {"masks": "scorecam-consistent", "ablation": "ablationcam"}
LITERAL = {"masks": reference.masked_scores, "ablation": reference.ablated_scores}


def gathered(kind: str, model: Classifier, images: Tensor, copies: int | None = None) -> ScoreEvidence:
    evidence, _ = gather(model, images, [PLAIN], method=KINDS[kind], run=Run(copies=copies))
    assert isinstance(evidence, ScoreEvidence)
    return evidence


def literal(kind: str, net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    assert isinstance(net, Net)
    scores = [LITERAL[kind](reference.Look(net, image)) for image in images]
    return torch.stack([torch.stack(table) for table, _ in scores]), torch.stack([baseline for _, baseline in scores])


def assert_close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-11) -> None:
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= tolerance * float(theirs.abs().max())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETS)
def test_the_table_is_a_run_per_channel(name: str, kind: str) -> None:
    evidence = gathered(kind, classifier(name), photos(3))
    table, baseline = literal(kind, classifier(name).module, photos(3))
    assert_close(evidence.table, table)
    assert_close(evidence.baseline, baseline)
    assert float((evidence.table - evidence.baseline[:, None]).abs().amax(2).min()) > 1e-6


def probed(kind: type[nn.Module], dtype: torch.dtype = torch.float64) -> tuple[Classifier, Probed]:
    net = Probed(build(kind, dtype=dtype))
    model = Classifier.of(net, f"inner.{kind.layer}", image_size=SIZE)
    net.batches.clear()
    return model, net


@pytest.mark.parametrize("copies", [1, 3, 4, 7, 100])
@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_streamed_in_full_batches(kind: str, copies: int) -> None:
    model, net = probed(DeepNet)
    evidence = gathered(kind, model, photos(3), copies=copies)
    # Of masked copies one more is run: the empty one.
    whole, rest = divmod(3 * 5 + (kind == "masks"), copies)
    assert net.batches == [3, *[copies] * whole, *[rest] * bool(rest)]
    assert_close(evidence.table, literal(kind, net.inner, photos(3))[0])


def test_the_copies_per_pass_reach_the_runs_through_gather() -> None:
    model, net = probed(DeepNet)
    gather(model, photos(), [PLAIN], method="scorecam", run=Run(copies=4))
    assert net.batches == [2, 4, 4, 3]


class DeadChannels(DeepNet):
    """Channel 1 is constant and not zero, channel 3 is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem.append(Dead())


class Dead(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        maps = maps.clone()
        maps[:, 1], maps[:, 3] = 0.7, 0
        return maps


@pytest.mark.parametrize("kind", KINDS)
def test_channels_that_cannot_matter_are_not_run_and_still_exact(kind: str) -> None:
    model, net = probed(DeadChannels)
    evidence = gathered(kind, model, photos(), copies=1)
    runs = 3 if kind == "masks" else 4  # a constant channel masks all; only a zero channel has nothing to ablate
    assert net.batches == [2, *[1] * (2 * runs + (kind == "masks"))]
    table, baseline = literal(kind, net.inner, photos())
    assert_close(evidence.table, table)
    assert_close(evidence.baseline, baseline)
    assert torch.equal(evidence.table[:, 3], evidence.baseline)


def test_a_channel_constant_in_one_image_only_is_run_for_the_other() -> None:
    model, net = probed(DeepNet)
    images = photos()
    images[0] = 0
    evidence = gathered("masks", model, images, copies=5)
    active = (evidence.activations.flatten(2).amax(2) > evidence.activations.flatten(2).amin(2)).sum(1).tolist()
    assert active[0] < active[1] == 5
    assert sum(net.batches) == 3 + sum(active)
    assert_close(evidence.table, literal("masks", net.inner, images)[0])


CONTRASTS = [
    Contrast([1, 2, 4]),
    Contrast([6], gamma=2),
    Contrast([1, 2], gamma=-0.5),
    Contrast("similar", weighting="softmax"),
    Contrast("predicted", references=2, reverse=True),
    PLAIN,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETS)
def test_one_table_answers_every_contrast_as_a_run_per_contrast_would(name: str, kind: str) -> None:
    """The literal loop scores one contrast with a model that puts out that contrast alone."""
    net = classifier(name).module
    assert isinstance(net, Net)
    evidence = gathered(kind, classifier(name), photos())
    for contrast in CONTRASTS:
        question = contrast.ask(evidence.logits, 3)
        found = answer(evidence, question).maps
        for i, image in enumerate(photos()):

            class Contrasted(nn.Module):
                row = question.rows[i, 0]

                def forward(self, images: Tensor) -> Tensor:
                    return net(images) @ self.row[:, None]

                def split(self, images: Tensor) -> object:
                    output, tail = net.split(images)
                    return output, lambda given: tail(given) @ self.row[:, None]

                def grid(self, output: Tensor) -> Tensor:
                    return net.grid(output)

            look = reference.Look(Contrasted(), image)
            scores, baseline = LITERAL[kind](look)
            sign = 1 if kind == "masks" else -1
            alpha = [sign * float(score - baseline) for score in scores]
            expected = reference._combined(alpha, look.activations)
            assert_close(found[i], expected, 1e-9)


def differentiated(model: Classifier) -> Classifier:
    other = copy.copy(model)
    object.__setattr__(other, "pooled", False)
    return other


def test_ablation_in_closed_form_is_ablation_by_runs() -> None:
    model, net = probed(PooledNet)
    assert model.pooled
    closed = gathered("ablation", model, photos())
    assert net.batches == [2]
    by_runs = gathered("ablation", differentiated(model), photos())
    assert sum(net.batches) == 4 + 10
    assert_close(closed.table, by_runs.table)
    assert_close(closed.table, literal("ablation", net.inner, photos())[0])


def test_ablation_leaves_the_prefix_tokens() -> None:
    model = classifier("vit")
    net = model.module
    evidence = gathered("ablation", model, photos(1))
    look = reference.Look(net, photos()[0])
    with torch.no_grad():
        output, tail = net.split(photos()[:1])
        for k in range(output.shape[2]):
            patches, everything = output.clone(), output.clone()
            patches[0, net.prefix :, k] = 0
            everything[0, :, k] = 0
            assert_close(evidence.table[0, k], tail(patches)[0])
            assert not torch.allclose(evidence.table[0, k], tail(everything)[0], rtol=1e-3)
    assert_close(evidence.activations[0], look.activations)


def test_ablation_leaves_what_goes_around_the_layer() -> None:
    net = build(AroundNet)
    evidence = gathered("ablation", Classifier.of(net, "same", image_size=SIZE), photos())
    assert_close(evidence.table, literal("ablation", net, photos())[0])


def test_a_contrast_whose_score_is_negative_does_not_flip_the_map() -> None:
    """Where the score is divided by, as in grad-cam, the sign of y - gamma y_d decides the map's."""
    model = classifier("deep")
    logits = gathered("ablation", model, photos(1)).logits[0]
    worst, best = int(logits.argmin()), int(logits.argmax())
    evidence, (question,) = gather(model, photos(1), [Contrast([best], gamma=1)], worst, method="ablationcam")
    assert float(logits[worst] - logits[best]) < 0
    scores, baseline = reference.ablated_scores(reference.Look(model.module, photos()[0]))
    asked = reference.Scored(worst, [best], [1.0], 1.0)
    expected = reference.ablation_cam(evidence.activations[0], scores, baseline, asked)
    assert_close(answer(evidence, question).maps[0], expected, 1e-9)


def test_printed_and_consistent_score_cam_differ_by_the_references_baseline() -> None:
    evidence, (question, plain) = gather(classifier("deep"), photos(), [Contrast([4]), PLAIN], 0, method="scorecam")
    assert isinstance(evidence, ScoreEvidence)
    printed, consistent = (
        answer(evidence.by(METHODS[f"scorecam{kind}"]), question).maps for kind in ("", "-consistent")
    )
    # alpha differs by gamma f(x_b)^d, for every channel alike.
    gap = -0.6 * evidence.baseline[:, 4, None, None] * evidence.activations.sum(1)
    assert_close(printed - consistent, gap, 1e-9)
    of_consistent = evidence.by(METHODS["scorecam-consistent"])
    assert torch.equal(answer(evidence, plain).maps, answer(of_consistent, plain).maps)


def test_memory_is_never_that_of_all_copies() -> None:
    """The largest tensor made while looking is no larger than a batch of copies, or the table."""
    largest = 0

    class Watched(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            output = func(*args, **(kwargs or {}))
            if isinstance(output, Tensor):
                largest = max(largest, output.numel())
            return output

    images = photos(3)
    with Watched():
        gathered("masks", classifier("deep"), images, copies=2)
    assert largest <= max(2 * images[0].numel(), images.numel(), 3 * 5 * 6 * 8)


class Crowded(Probed):
    """Runs out of memory above a number of images, or after a number of runs."""

    room, room_after = 3, 1000

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > self.room or len(self.batches) >= self.room_after:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(images)


@pytest.mark.parametrize("kind", KINDS)
def test_the_batch_is_halved_until_it_fits(kind: str) -> None:
    net = Crowded(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    net.batches.clear()
    evidence = gathered(kind, model, photos())
    assert max(net.batches) == 2  # 16, 8, 4, 2
    assert_close(evidence.table, literal(kind, net.inner, photos())[0])
    with pytest.raises(OutOfMemory, match="5 altered copies do not fit in memory; give fewer copies per pass"):
        gathered(kind, model, photos(), copies=5)
    net.room = 0
    with pytest.raises(torch.OutOfMemoryError):
        gathered(kind, model, photos())


@pytest.mark.parametrize("kind", KINDS)
def test_not_even_one_copy_fits(kind: str) -> None:
    net = Crowded(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    net.batches.clear()
    net.room_after = 1  # the images themselves still fit
    with pytest.raises(OutOfMemory, match="not even one altered copy fits in memory"):
        gathered(kind, model, photos())


@pytest.mark.parametrize("copies", [0, -1])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_holds_at_least_one_copy(kind: str, copies: int) -> None:
    with pytest.raises(FinercamError, match=f"copies per pass is {copies}; it must be at least 1"):
        gathered(kind, classifier("deep"), photos(), copies=copies)


@pytest.mark.parametrize("kind", KINDS)
def test_one_image_of_the_evidence(kind: str) -> None:
    evidence = gathered(kind, classifier("deep"), photos(3))
    one = evidence.of(slice(1, 2))
    assert one.table.shape == (1, 5, CLASSES)
    assert torch.equal(one.table[0], evidence.table[1])
    assert one.table.data_ptr() == evidence.table[1].data_ptr()
    assert (one.how, one.image_size) == (METHODS[KINDS[kind]], SIZE)


@pytest.mark.parametrize("kind", KINDS)
def test_altered_runs_that_break_are_reported_by_image(kind: str) -> None:
    class Brittle(Probed):
        breaks = False

        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images)
            return logits + float("nan") if self.breaks and sum(self.batches) > 8 else logits

    net = Brittle(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    net.batches.clear()
    net.breaks = True  # while the second image's copies run
    with pytest.raises(FinercamError, match="logits for image 1 are not numbers"):
        gathered(kind, model, photos(), copies=5)
