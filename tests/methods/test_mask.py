"""Mask: the literal objective by autograd, its course, and what it promises about scale, batches and questions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from finercam import PLAIN, Classifier, Contrast, Explanation, FinercamError, Run, answer, explain, gather
from finercam.methods.evidence import NotGathered
from finercam.methods.mask import MaskEvidence, blurred_by
from support.models import NETS, SIZE, DeepNet, Net, Probed, build, classifier, photos
from support.states import disturbing_net, untouched

#: Few steps and cells; the photo is moved by up to a pixel.
SPEC = "mask@cells=3@steps=4@blur=0.1@jitter=1"
CONTRAST = Contrast([1, 2], gamma=0.6)


def learned(
    model: Classifier, images: Tensor, spec: str = SPEC, target: object = 0, run: Run | None = None
) -> MaskEvidence:
    evidence, _ = gather(model, images, [PLAIN, CONTRAST], target, method=spec, run=run)
    assert isinstance(evidence, MaskEvidence)
    return evidence


# --- literally ---------------------------------------------------------------------------------------------------


def literal_blur(image: Tensor, sigma: float) -> Tensor:
    """A Gaussian over three sigmas each way, its weights summing to 1; beyond the border the border is repeated."""
    reach, (height, width) = math.ceil(3 * sigma), image.shape[1:]
    offsets = range(-reach, reach + 1)
    weight = {d: math.exp(-d * d / (2 * sigma * sigma)) for d in offsets}
    total = sum(weight.values())
    out = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            for dy in offsets:
                for dx in offsets:
                    at = image[:, min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)]
                    out[:, y, x] += weight[dy] * weight[dx] / total**2 * at
    return out


def literal_spread(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """Each pixel the mean of all cells, weighted by a Gaussian of 0.625 cells."""
    count = len(cells)

    def weights(pixel: int, side: int) -> list[float]:
        place = (pixel + 0.5) * count / side
        raw = [math.exp(-((place - (cell + 0.5)) ** 2) / (2 * 0.625**2)) for cell in range(count)]
        return [one / sum(raw) for one in raw]

    down = torch.tensor([weights(y, size[0]) for y in range(size[0])], dtype=torch.float64)
    across = torch.tensor([weights(x, size[1]) for x in range(size[1])], dtype=torch.float64)
    return torch.einsum("yi,ij,xj->yx", down, cells, across)


def moved(image: Tensor, down: int, across: int) -> Tensor:
    height, width = image.shape[1:]
    out = torch.empty_like(image)
    for y in range(height):
        for x in range(width):
            out[:, y, x] = image[:, min(max(y - down, 0), height - 1), min(max(x - across, 0), width - 1)]
    return out


def literal(
    net: Net, image: Tensor, row: Tensor, game: str, *, cells: int, steps: int, blur: float, jitter: int
) -> tuple[Tensor, Tensor]:
    """The mask and the objective's course: gradients by autograd, Adam as in its paper's Algorithm 1."""
    blurred = literal_blur(image, blur * max(image.shape[1:]))

    def value(z: Tensor) -> Tensor:
        return (net(z[None])[0] * row).sum()

    with torch.no_grad():
        whole, empty = value(image), value(blurred)
    moves = torch.randint(-jitter, jitter + 1, (steps + 1, 2), generator=torch.Generator().manual_seed(0)).tolist()
    moves[0] = moves[-1] = [0, 0]
    m = torch.full((cells, cells), 0.5, dtype=torch.float64)
    mean, square, course = torch.zeros_like(m), torch.zeros_like(m), []
    for step, (down, across) in enumerate(moves):
        m.requires_grad_()
        seen = literal_spread(m, (image.shape[1], image.shape[2]))
        z = seen * moved(image, down, across) + (1 - seen) * moved(blurred, down, across)
        score = (value(z) - empty) / (whole - empty).abs()
        rough = sum((m.diff(dim=axis).abs() ** 3).mean() for axis in (0, 1))
        if game == "deletion":
            objective = 1.0 * (1 - m).mean() + 5.0 * rough + score
        else:
            objective = 1.0 * m.mean() + 5.0 * rough - score
        course.append(float(objective.detach()))
        (slope,) = torch.autograd.grad(objective, m)
        m = m.detach()
        if step < steps:
            mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
            corrected = mean / (1 - 0.9 ** (step + 1)), square / (1 - 0.999 ** (step + 1))
            m = (m - 0.1 * corrected[0] / (corrected[1].sqrt() + 1e-8)).clamp(0, 1)
    return (1 - m if game == "deletion" else m), torch.tensor(course, dtype=torch.float64)


@pytest.mark.parametrize("game", ["deletion", "preservation"])
@pytest.mark.parametrize("name", NETS)
def test_it_is_the_literal_descent(name: str, game: str) -> None:
    model, images = classifier(name), photos()
    evidence = learned(model, images, f"{SPEC}@game={game}", [0, 3])
    for i, image in enumerate(images):
        for row in range(2):
            theirs, course = literal(
                model.module, image, evidence.rows[i, row], game, cells=3, steps=4, blur=0.1, jitter=1
            )
            assert torch.allclose(evidence.masks[i, row], theirs, rtol=0, atol=1e-10)
            assert torch.allclose(evidence.course[i, row], course, rtol=1e-10, atol=1e-10)
    assert float(evidence.masks.std()) > 0.005


def test_blurring_is_a_gaussian_whose_weights_sum_to_one() -> None:
    image = photos(1)[0]
    assert torch.allclose(blurred_by(image[None], 1.7)[0], literal_blur(image, 1.7), atol=1e-12)
    flat = torch.full((1, 3, *SIZE), 0.7, dtype=torch.float64)
    assert torch.allclose(blurred_by(flat, 5.0), flat)


# --- the course --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("game", ["deletion", "preservation"])
@pytest.mark.parametrize("name", NETS)
def test_the_objective_falls_and_comes_to_rest(name: str, game: str) -> None:
    evidence = learned(classifier(name), photos(), f"mask@cells=4@steps=60@jitter=0@game={game}", [0, 3])
    course = evidence.course
    assert course.shape == (2, 2, 61)
    assert bool((course[..., -1] < course[..., 0] - 0.05).all())
    assert bool((course[..., -10:].std(2) < 0.05).all())
    assert float(evidence.masks.min()) >= 0
    assert float(evidence.masks.max()) <= 1


def test_what_is_blurred_is_what_the_answer_needs() -> None:
    """A network that looks at one corner: only that corner has to be blurred, or to be seen."""

    class Corner(DeepNet):
        def forward(self, images: Tensor) -> Tensor:
            corner = torch.zeros_like(images)
            corner[..., :6, :8] = images[..., :6, :8]
            energy = corner.square().mean((2, 3))
            return self.head(torch.cat([energy, energy], 1)) + 0 * super().forward(images)

    model = Classifier.of(build(Corner), "stem", image_size=SIZE)
    for game in ("deletion", "preservation"):
        spec = f"mask@cells=4@steps=60@jitter=0@blur=0.2@smooth=0.2@area=0.5@game={game}"
        evidence, _ = gather(model, photos(), [PLAIN], method=spec)
        inside = evidence.masks[:, 0, :2, :2].mean((1, 2))
        far = evidence.masks[:, 0, 3].mean(1)
        assert bool((inside > 0.5).all()), game
        assert bool((far < 0.2).all()), game


def test_the_scale_of_the_logits_makes_no_difference() -> None:
    class Louder(DeepNet):
        def tail(self, maps: Tensor) -> Tensor:
            return 1000 * super().tail(maps) + 50

    loud = Classifier.of(build(Louder), "stem", image_size=SIZE)
    ours, theirs = learned(classifier("deep"), photos()), learned(loud, photos())
    assert torch.allclose(ours.masks, theirs.masks, atol=1e-9)
    assert torch.allclose(ours.course, theirs.course, atol=1e-9)


def test_an_answer_that_blurring_does_not_change_is_guarded() -> None:
    """A row whose value blurring hardly changes is scaled by what blurring does to single logits, not blown up."""
    model, images = classifier("deep"), photos(1)
    blurred = blurred_by(images, 0.1 * max(SIZE))
    with model.look(images) as look, look.beside(blurred) as other:
        change = (look.logits - other.logits)[0]
    row = torch.zeros_like(change)
    row[0], row[1] = 1.0, -float(change[0] / change[1])  # the same difference, taken away
    from finercam.methods.method import find_method

    with model.look(images) as look:
        evidence = find_method(SPEC).gather(look, row[None, None])
    assert bool(evidence.course.isfinite().all())
    assert float(evidence.course.abs().max()) < 100
    flat = torch.full((1, 3, *SIZE), 0.3, dtype=torch.float64)
    assert bool(learned(model, flat).course.isfinite().all())


# --- promises ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETS)
def test_a_batch_is_its_single_images(name: str) -> None:
    model, images = classifier(name), photos(3)
    together = learned(model, images, target=[0, 3, 1])
    for i, target in enumerate([0, 3, 1]):
        alone = learned(model, images[i : i + 1], target=[target], run=Run(images=1))
        assert torch.allclose(together.masks[i : i + 1], alone.masks, atol=1e-10)
        assert torch.allclose(together.course[i : i + 1], alone.course, atol=1e-10)


def test_it_runs_no_more_images_at_once_than_asked() -> None:
    net = Probed(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    net.batches.clear()
    learned(model, photos(3), run=Run(images=2))
    assert net.batches[:2] == [3, 3]  # the look, and the blurred photos
    assert set(net.batches[2:]) == {2}
    assert sum(net.batches[2:]) == 3 * 2 * 5


def test_without_gamma_it_is_the_plain_mask() -> None:
    evidence, questions = gather(classifier("deep"), photos(), [PLAIN, Contrast([1, 2], gamma=0)], 0, method=SPEC)
    plain, none = (answer(evidence, question).maps for question in questions)
    assert torch.equal(plain, none)


@pytest.mark.parametrize("kind", NETS.values())
def test_the_model_is_untouched(kind: type[Net]) -> None:
    net = disturbing_net(kind)
    with untouched(net):
        explain(Classifier.of(net, kind.layer, image_size=SIZE), photos(), 0, method=SPEC, keep=True)


def test_it_answers_what_was_asked_only(tmp_path) -> None:
    net = Probed(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    found = explain(model, photos()[0], 0, against=[1], method=SPEC, keep=True)
    net.batches.clear()
    assert torch.equal(found.again().map, found.map)
    plain = found.again(gamma=0)
    assert torch.equal(plain.saliency, found.plain)
    for change in ({"gamma": 1.0}, {"against": [2]}):
        with pytest.raises(NotGathered, match=r"this question was not asked.*collect=True"):
            found.again(**change)
    assert net.batches == []
    again = found.again(gamma=1.0, collect=True)
    assert torch.allclose(again.map, explain(model, photos()[0], 0, against=[1], gamma=1.0, method=SPEC).map)
    found.save(tmp_path / "one.safetensors")
    loaded = Explanation.load(tmp_path / "one.safetensors")
    assert torch.equal(loaded.again().map, found.map)
    assert loaded.evidence.course.shape == (1, 2, 5)
    with pytest.raises(NotGathered, match="this question was not asked"):
        loaded.again(gamma=1.0)


def test_several_references_have_a_mask_each() -> None:
    contrast = Contrast([1, 2], gamma=0.6, aggregate="max")
    evidence, (question,) = gather(classifier("deep"), photos(), [contrast], 0, method=SPEC, collect=[])
    assert evidence.masks.shape[1] == 2
    assert torch.equal(answer(evidence, question).maps, evidence.masks.amax(1))


@pytest.mark.parametrize(
    "spec",
    [
        "cells=1", "cells=13", "steps=0", "rate=0", "rate=2", "area=-1", "smooth=-0.1", "blur=0", "blur=2", "jitter=-1",
        "jitter=13", "seed=-1",
    ],
)  # fmt: skip
def test_parameters_out_of_range(spec: str) -> None:
    name = spec.partition("=")[0]
    others = "".join(f"@{one}" for one in ("cells=3", "steps=1") if not one.startswith(name))
    with pytest.raises(FinercamError, match=rf"mask.*: {name} is .*(give a number from|must be a finite number)"):
        gather(classifier("deep"), photos(), [PLAIN], method=f"mask@{spec}{others}")
