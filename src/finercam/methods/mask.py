"""Mask: the smallest part of the photo whose blurring undoes the answer, learned for it (Fong and Vedaldi, ICCV 2017).

A small mask, of cells that are seen (1) or blurred (0), is optimised by gradient descent through the model: the answer
shall vanish (the deletion game) or stay (the preservation game), with as few cells and as smooth a mask as will do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.errors import FinercamError
from finercam.methods.evidence import Evidence
from finercam.methods.method import explainer
from finercam.methods.scores import ruled_in
from finercam.methods.span import picked
from finercam.models.look import INPUT, Look

Game = Literal["deletion", "preservation"]
#: Sigma of the Gaussian that spreads a cell over the image, in cells: 5 pixels for cells of 8, as in the paper.
_SPREAD = 0.625
#: Power of the differences of neighbouring cells, beta in the paper.
_POWER = 3
#: Where blurring the whole photo hardly changes the answer, for better or worse, a change counts as if it were this
#: share of what blurring does to one class's logit on average.
_LEAST = 0.05
_MOST_STEPS = 100_000


@dataclass(frozen=True, eq=False)
class MaskEvidence(Evidence):
    """Masks that were learned for some rows. It answers these rows only: a mask is not linear in the question.

    Attributes:
        rows: what was asked.
        masks: for each row how much of each cell has to be blurred (deletion) or seen (preservation), 0 to 1.
        course: the objective before each step and after the last.
    """

    rows: Float[Tensor, "b m C"]
    masks: Float[Tensor, "b m s s"]
    course: Float[Tensor, "b m steps_and_one"]

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r s s"]:
        """Return the mask of each row; it is never negative.

        Raises:
            NotGathered: no mask was learned for one of them.
        """
        return picked(self.rows, rows, self.masks)

    def of(self, images: slice | Int[Tensor, " n"]) -> MaskEvidence:
        """Return the evidence of some images of the batch."""
        return replace(
            self,
            logits=self.logits[images],
            rows=self.rows[images],
            masks=self.masks[images],
            course=self.course[images],
        )


@explainer("mask", title="Mask", source="arXiv 1704.03296", spans=False)
def mask(
    look: Look,
    rows: Float[Tensor, "b m C"],
    *,
    game: Game = "deletion",
    cells: int = 28,
    steps: int = 150,
    rate: float = 0.1,
    area: float = 1.0,
    smooth: float = 5.0,
    blur: float = 0.05,
    jitter: int = 4,
    seed: int = 0,
) -> MaskEvidence:
    """Learn a mask m for each image and row D: so many runs of the model, with gradients, for each of them.

    The deletion game minimises ``area * mean(1 - m) + smooth * R(m) + S(z)`` over cells m from 0 to 1, where the image
    ``z = m x + (1 - m) x_blurred`` is the photo where it is seen and blurred where it is not, and R the mean of
    ``|difference|^3`` of neighbouring cells (the paper's objective with total variation and jitter). The preservation
    game minimises ``area * mean(m) + smooth * R(m) - S(z)``. Adam, from m = 1/2 everywhere; after each step m is cut
    off at 0 and 1. A Gaussian spreads the cells over the pixels.

    The paper's S is a probability. The value of a row is a difference of logits of any size and has no bounds, so it is
    scaled, ``S(z) = (D(z) - D(x_blurred)) / |D(x) - D(x_blurred)|``: 1 for the photo, 0 for the blurred photo, and
    ``area`` weighs the same for every photo and question. Where blurring raises the answer, nothing speaks for it: S is
    -1 for the photo then. A difference that is small against what blurring does to the logits of single classes is
    put up to 5 % of that.

    Args:
        look: at the model.
        rows: of coefficients.
        game: ``deletion`` or ``preservation``.
        cells: of the mask, in height and in width.
        steps: of the descent.
        rate: of learning.
        area: weight of the share of the image that is blurred (seen). With 1 the whole image costs as much as the
            whole answer is worth.
        smooth: weight of the roughness.
        blur: sigma of the blurred photo, as a share of its larger side.
        jitter: by how many pixels the photo is moved under the mask from step to step, at most; 0 leaves it.
        seed: of the movements.

    Raises:
        FinercamError: a parameter is out of range, or no gradient arrives at the images.
    """
    _check(cells, steps, rate, area, smooth, blur, jitter, seed, look.image_size)
    v, sign = rows.to(look.logits), 1.0 if game == "deletion" else -1.0
    pair = _Pair(look.images, blurred_by(look.images, blur * max(look.image_size)))
    with look.beside(pair.blurred) as beside:
        hidden = ruled_in(beside.logits)
    empty, scale = _scale(v, ruled_in(look.logits), hidden)
    spread = _Spread.over(cells, look.image_size, look.logits)
    seen = look.logits.new_full((*v.shape[:2], cells, cells), 0.5)
    descent, course = _Adam(rate, torch.zeros_like(seen), torch.zeros_like(seen)), []
    moves = _moves(steps, jitter, seed)
    for step, move in enumerate(moves):
        score, slope = _scores(look, v, pair.moved(*move), spread.out(seen))
        rough, rough_slope = _roughness(seen)
        share = (1 - seen if sign > 0 else seen).mean((2, 3))
        course.append(sign * (score - empty) / scale + area * share + smooth * rough)
        if step < steps:
            by_cell = sign * spread.back(slope) / scale[:, :, None, None]
            seen = descent.step(seen, by_cell - sign * area / cells**2 + smooth * rough_slope).clamp(0, 1)
    return MaskEvidence(look.logits, look.image_size, v, 1 - seen if sign > 0 else seen, torch.stack(course, 2))


def blurred_by(images: Float[Tensor, "b c H W"], sigma: float) -> Float[Tensor, "b c H W"]:
    """Return images under a Gaussian blur of that sigma in pixels; pixels beyond the border repeat it."""
    reach = math.ceil(3 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma) ** 2)
    weights = (kernel / kernel.sum()).to(images).expand(3, 1, 1, -1)
    padded = torch.nn.functional.pad(images, (reach,) * 4, mode="replicate")
    across = torch.nn.functional.conv2d(padded, weights, groups=3)
    return torch.nn.functional.conv2d(across, weights.mT, groups=3)


@dataclass(frozen=True, eq=False)
class _Pair:
    """The photos, seen and blurred."""

    images: Float[Tensor, "b c H W"]
    blurred: Float[Tensor, "b c H W"]

    def moved(self, down: int, across: int) -> _Pair:
        """Return both, moved by so many pixels; the border is repeated."""
        return _Pair(_moved(self.images, down, across), _moved(self.blurred, down, across))


def _moved(images: Tensor, down: int, across: int) -> Tensor:
    h, w = images.shape[-2:]
    rows, columns = (torch.arange(length, device=images.device) for length in (h, w))
    return images[:, :, (rows - down).clamp(0, h - 1)][:, :, :, (columns - across).clamp(0, w - 1)]


def _moves(steps: int, jitter: int, seed: int) -> list[tuple[int, int]]:
    """Return how far the photos are moved at each step, the same for all of them; not at the first and the last."""
    drawn = torch.randint(-jitter, jitter + 1, (steps + 1, 2), generator=torch.Generator().manual_seed(seed))
    drawn[0] = drawn[-1] = 0
    return [(down, across) for down, across in drawn.tolist()]


def _scale(
    v: Float[Tensor, "b m C"], logits: Float[Tensor, "b C"], hidden: Float[Tensor, "b C"]
) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m"]]:
    """Return each row's value for the blurred photo, and by how much blurring changes it, which is never zero."""
    change = logits - hidden
    full = torch.einsum("bmc,bc->bm", v, change).abs()
    least = _LEAST * v.norm(dim=2) * change.square().mean(1, keepdim=True).sqrt()
    scale = torch.maximum(full, least)
    return torch.einsum("bmc,bc->bm", v, hidden), torch.where(scale > 0, scale, 1)


def _scores(
    look: Look, v: Float[Tensor, "b m C"], pair: _Pair, masks: Float[Tensor, "b m H W"]
) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m H W"]]:
    """Return each row's value for the photo under its own mask, and its slope in the mask's pixels."""
    image = torch.arange(len(v), device=v.device).repeat_interleave(v.shape[1])
    scores, slopes = [], []
    parts = (image, v.flatten(0, 1), masks.flatten(0, 1))
    for which, rows, mask in zip(*(part.split(look.run.images) for part in parts), strict=True):
        blurred = pair.blurred[which]
        way = pair.images[which] - blurred
        with look.beside(blurred + way * mask[:, None].to(way), at=(INPUT,)) as beside:
            (gradients,) = beside.gradients(rows[:, None], (INPUT,))
            scores.append((rows * ruled_in(beside.logits)).sum(1))
        # The photo under the mask is linear in the mask.
        slopes.append((gradients[:, 0] * way).sum(1).to(v))
    return torch.cat(scores).unflatten(0, v.shape[:2]), torch.cat(slopes).unflatten(0, v.shape[:2])


def _roughness(seen: Float[Tensor, "b m s s"]) -> tuple[Float[Tensor, "b m"], Float[Tensor, "b m s s"]]:
    """Return the mean of ``|difference|^3`` of neighbouring cells, down and across, and its slope."""
    total, slope = seen.new_zeros(seen.shape[:2]), torch.zeros_like(seen)
    for axis in (2, 3):
        step = seen.diff(dim=axis)
        total += step.abs().pow(_POWER).mean((2, 3))
        each = _POWER * step * step.abs().pow(_POWER - 2) / step[0, 0].numel()
        slope.narrow(axis, 1, step.shape[axis]).add_(each)
        slope.narrow(axis, 0, step.shape[axis]).sub_(each)
    return total, slope


@dataclass(frozen=True)
class _Spread:
    """How cells make the pixels of a mask: in each pixel a weighted mean of the cells around it."""

    down: Float[Tensor, "H s"]
    across: Float[Tensor, "W s"]

    @classmethod
    def over(cls, cells: int, size: tuple[int, int], like: Tensor) -> _Spread:
        """Return it for masks of that height and width."""
        return cls(*(cls._side(cells, side).to(like) for side in size))

    @staticmethod
    def _side(cells: int, pixels: int) -> Float[Tensor, "pixels s"]:
        at = (torch.arange(pixels, dtype=torch.float64) + 0.5) * cells / pixels
        off = at[:, None] - (torch.arange(cells, dtype=torch.float64) + 0.5)
        return (-0.5 * (off / _SPREAD) ** 2).softmax(1)

    def out(self, masks: Float[Tensor, "b m s s"]) -> Float[Tensor, "b m H W"]:
        """Return masks of pixels."""
        return self.down @ masks @ self.across.mT

    def back(self, slopes: Float[Tensor, "b m H W"]) -> Float[Tensor, "b m s s"]:
        """Return slopes in the cells."""
        return self.down.mT @ slopes @ self.across


@dataclass
class _Adam:
    """Adam (arXiv 1412.6980, Algorithm 1) with its usual constants; no tensor's ``.grad`` is needed."""

    rate: float
    mean: Tensor
    square: Tensor
    count: int = 0

    def step(self, at: Tensor, slope: Tensor) -> Tensor:
        """Return where a step leads."""
        self.count += 1
        self.mean = 0.9 * self.mean + 0.1 * slope
        self.square = 0.999 * self.square + 0.001 * slope.square()
        mean, square = self.mean / (1 - 0.9**self.count), self.square / (1 - 0.999**self.count)
        return at - self.rate * mean / (square.sqrt() + 1e-8)


def _check(
    cells: int,
    steps: int,
    rate: float,
    area: float,
    smooth: float,
    blur: float,
    jitter: int,
    seed: int,
    size: tuple[int, int],
) -> None:
    side = min(size)
    bounds = (
        ("cells", cells, 2, side),
        ("steps", steps, 1, _MOST_STEPS),
        ("rate", rate, 1e-6, 1.0),
        ("area", area, 0.0, 1000.0),
        ("smooth", smooth, 0.0, 1000.0),
        ("blur", blur, 0.001, 1.0),
        ("jitter", jitter, 0, side),
        ("seed", seed, 0, 2**63 - 1),
    )
    for name, given, least, most in bounds:
        if not least <= given <= most:
            raise FinercamError(f"mask: {name} is {given}; give a number from {least:g} to {most:g}")
