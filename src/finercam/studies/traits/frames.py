"""Many photos' maps laid over each other: on a frame of the part points, or of the boxes, of what is on the photos.

Coordinates are fractions: (0, 0) is the upper left corner of an input, or of the frame, and (1, 1) the lower right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from finercam.studies.traits.rows import HEAT, Carried

#: Cells of a frame each way.
CELLS = 64
#: A frame is so many times as wide and high as what it is made of.
_ROOM = 1.5
_STEPS, _FEWEST_POINTS = 30, 3
_HALVINGS = 20


@dataclass(frozen=True, eq=False)
class Frame:
    """Where photos lie on a frame that they have in common.

    Attributes:
        photos: which of those given have a place on it.
        places: of each of these, what takes a point of the frame to its input: ``place @ (x, y, 1)``.
        points: the parts' mean positions on the frame; NaN of those that are on no photo.
        aspect: the frame's width over its height.
    """

    photos: tuple[int, ...]
    places: Float[Tensor, "n 2 3"]
    points: Float[Tensor, "P 2"]
    aspect: float


def frame_of(rows: Sequence[Carried], shape: tuple[int, int], parts: Sequence[Sequence[int]] = ()) -> Frame | None:
    """Return the frame that photos have in common: of their part points, or else of their boxes; ``None`` without.

    Args:
        rows: the photos.
        shape: height and width of the input.
        parts: the numbers of the points that are one part of the frame, as those of a left and a right wing, whose
            mean then counts; each point on its own if left out.
    """
    height, width = shape
    if any(len(one.points) for one in rows):
        count = max(len(one.points) for one in rows) // 2
        given = torch.stack([_points(one, count) for one in rows])
        whole = torch.stack([given[:, list(own)].nanmean(1) for own in parts], 1) if parts else given
        return aligned(whole, width / height)
    known = [number for number, one in enumerate(rows) if len(one.box)]
    return boxed(known, torch.tensor([list(rows[at].box) for at in known]).double(), width / height) if known else None


def _points(one: Carried, count: int) -> Float[Tensor, "P 2"]:
    if not len(one.points):
        return torch.full((count, 2), torch.nan, dtype=torch.float64)
    return torch.tensor(list(one.points), dtype=torch.float64).reshape(-1, 2)


def boxed(photos: Sequence[int], boxes: Float[Tensor, "n 4"], aspect: float = 1.0) -> Frame:
    """Return the frame that is each photo's box x0 y0 x1 y1, with room about it."""
    middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-6)
    places = torch.zeros(len(boxes), 2, 3, dtype=torch.float64)
    places[:, [0, 1], [0, 1]] = _ROOM * size
    places[:, :, 2] = middle - _ROOM * size / 2
    shape = float((aspect * size[:, 0] / size[:, 1]).log().mean().exp())
    return Frame(tuple(photos), places, torch.empty(0, 2, dtype=torch.float64), shape)


def aligned(points: Float[Tensor, "n P 2"], aspect: float = 1.0) -> Frame | None:
    """Return the frame on which photos' parts lie over each other as well as turned, scaled and mirrored they can.

    Generalised Procrustes analysis (Gower, "Generalized Procrustes analysis", Psychometrika 40, 1975) with points out
    of sight left out (each photo is fitted by those that it shows). Photos are mirrored where that fits better, so that
    animals that face left and right are laid over each other. The frame stands upright, and faces as most of them do.

    Args:
        points: of the photos' parts, NaN where out of sight. Photos with fewer than three in sight have no place.
        aspect: the input's width over its height.

    Returns:
        The frame; ``None`` where no two photos can be laid over each other.
    """
    given = torch.complex(points[..., 0] * aspect, points[..., 1])
    seen = ~points.isnan().any(-1)
    given = torch.where(seen, given, 0)
    enough = seen.sum(1) >= _FEWEST_POINTS
    if int(enough.sum()) < 2:
        return None
    mean, known = _unit(given[int(seen.sum(1).argmax())], seen[int(seen.sum(1).argmax())])
    for _ in range(_STEPS):
        turn, shift, mirrored, fits = _fitted(given, seen, mean, known)
        fits &= enough
        if not bool(fits.any()):
            return None
        laid = turn[:, None] * torch.where(mirrored[:, None], given.conj(), given) + shift[:, None]
        counted = seen & fits[:, None]
        known = counted.any(0)
        mean = torch.where(known, torch.where(counted, laid, 0).sum(0) / counted.sum(0).clamp(min=1), 0)
        mean, known = _unit(mean, known)
    turn, shift, mirrored, fits = _fitted(given, seen, mean, known)
    fits &= enough
    # What most photos show unmirrored, and upright: up is -i, and -i mirrored is i.
    if int(mirrored[fits].sum()) * 2 > int(fits.sum()):
        turn, shift, mean, mirrored = turn.conj(), shift.conj(), mean.conj(), ~mirrored
    up = torch.where(mirrored, 1j, -1j) * turn / turn.abs().clamp(min=1e-12)
    upright = -1j / up[fits].sum()
    upright = upright / upright.abs()
    turn, shift, mean = turn * upright, shift * upright, mean * upright
    return _laid(turn[fits], shift[fits], mirrored[fits], mean, known, fits, aspect)


def _unit(points: Complex[Tensor, " P"], known: Bool[Tensor, " P"]) -> tuple[Complex[Tensor, " P"], Bool[Tensor, " P"]]:
    """Return points about 0, at a mean square distance of 1: fitted to themselves again and again they would shrink."""
    centred = torch.where(known, points - points[known].mean(), 0)
    return centred / centred[known].abs().square().mean().sqrt().clamp(min=1e-12), known


def _fitted(
    given: Complex[Tensor, "n P"], seen: Bool[Tensor, "n P"], mean: Complex[Tensor, " P"], known: Bool[Tensor, " P"]
) -> tuple[Complex[Tensor, " n"], Complex[Tensor, " n"], Bool[Tensor, " n"], Bool[Tensor, " n"]]:
    """Return ``a`` and ``b`` with ``a z + b`` nearest to the mean points, whether z is mirrored, and who has enough."""
    both = seen & known
    count = both.sum(1).clamp(min=1)

    def centred(values: Tensor) -> tuple[Tensor, Tensor]:
        middle = torch.where(both, values, 0).sum(1) / count
        return torch.where(both, values - middle[:, None], 0), middle

    wanted, to = centred(mean.expand_as(given))
    found = []
    for z in (given, given.conj()):
        own, start = centred(z)
        a = (own.conj() * wanted).sum(1) / own.abs().square().sum(1).clamp(min=1e-12)
        off = (a[:, None] * own - wanted).abs().square().sum(1)
        found.append((off, a, to - a * start))
    mirrored = found[1][0] < found[0][0] - 1e-12
    turn, shift = (torch.where(mirrored, found[1][at], found[0][at]) for at in (1, 2))
    return turn, shift, mirrored, (both.sum(1) >= _FEWEST_POINTS) & (turn.abs() > 1e-9)


def _laid(
    turn: Complex[Tensor, " n"],
    shift: Complex[Tensor, " n"],
    mirrored: Bool[Tensor, " n"],
    mean: Complex[Tensor, " P"],
    known: Bool[Tensor, " P"],
    fits: Bool[Tensor, " all"],
    aspect: float,
) -> Frame:
    """Return the frame around the mean points: a square, as what is seen of an animal is more than its points."""
    x, y = mean.real[known], mean.imag[known]
    side = _ROOM * float(torch.stack([x.max() - x.min(), y.max() - y.min()]).max())
    corner = complex(float(x.max() + x.min()) / 2 - side / 2, float(y.max() + y.min()) / 2 - side / 2)
    # w = side f + corner on the frame is a z + b in the input, or a conj(z) + b: z is linear in f.
    steps = torch.tensor([1, 1j, 0], dtype=turn.dtype) * side
    steps = steps.expand(len(turn), 3) / turn[:, None]
    steps = steps + torch.tensor([0, 0, 1]) * ((corner - shift) / turn)[:, None]
    steps = torch.where(mirrored[:, None], steps.conj(), steps)
    places = torch.stack([steps.real / aspect, steps.imag], 1)
    at = torch.stack([(mean.real - corner.real) / side, (mean.imag - corner.imag) / side], 1)
    return Frame(tuple(fits.nonzero().flatten().tolist()), places, at.masked_fill(~known[:, None], torch.nan), 1.0)


def on_frame(
    values: Float[Tensor, "n c h w"], places: Float[Tensor, "n 2 3"], cells: int = CELLS
) -> Float[Tensor, "n c cells cells"]:
    """Return what photos show at the frame's cells; 0 beyond the input."""
    # align_corners=False: -1 and 1 are the edges, as 0 and 1 are here.
    to_unit = torch.tensor([[0.5, 0, 0.5], [0, 0.5, 0.5], [0, 0, 1]], dtype=places.dtype)
    theta = 2 * (places @ to_unit)
    theta[:, :, 2] -= 1
    grid = torch.nn.functional.affine_grid(theta, [len(values), values.shape[1], cells, cells], align_corners=False)
    return torch.nn.functional.grid_sample(values.to(grid.dtype), grid, align_corners=False)


@dataclass(frozen=True, eq=False)
class Evidence:
    """The saliency of photos on their frame, as the share of all of it that each cell has.

    Attributes:
        mean: over the photos.
        error: its standard error; NaN of a single photo.
        outside: the share that lies beyond the frame, or was cut off with the input, the mean over the photos.
        agreement: the correlation of the mean maps of two halves of the photos, the mean over several halvings; NaN of
            fewer than four.
        photos: how many photos have saliency and a place on the frame.
    """

    mean: Float[Tensor, "cells cells"]
    error: Float[Tensor, "cells cells"]
    outside: float
    agreement: float
    photos: int

    @property
    def told(self) -> Float[Tensor, "cells cells"]:
        """The mean where it is at least twice its standard error, else 0: what may be more than a few photos' own."""
        return torch.where(self.mean > 2 * self.error, self.mean, 0)


def evidence_on(rows: Sequence[Carried], frame: Frame) -> Evidence | None:
    """Return where the saliency of photos lies on a frame; ``None`` where none of them has any there.

    A share of the saliency is kept when it is moved: a cell has what lies on as much of the input as it covers there.
    """
    chosen = [at for at, number in enumerate(frame.photos) if not rows[number].empty]
    if not chosen:
        return None
    heat = torch.tensor([list(rows[frame.photos[at]].heat) for at in chosen], dtype=torch.float64)
    places = frame.places[chosen]
    covers = places[:, :, :2].det().abs() * (HEAT / CELLS) ** 2
    laid = on_frame(heat.reshape(-1, 1, HEAT, HEAT), places)[:, 0] * covers[:, None, None]
    error = laid.std(0) / len(laid) ** 0.5 if len(laid) > 1 else torch.full_like(laid[0], torch.nan)
    outside = max(0.0, 1 - float(laid.sum((1, 2)).mean()))
    return Evidence(laid.mean(0), error, outside, _agreement(laid), len(laid))


def _agreement(laid: Float[Tensor, "n cells cells"]) -> float:
    if len(laid) < 4:
        return torch.nan
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(_HALVINGS):
        one, other = laid[torch.randperm(len(laid), generator=generator)].tensor_split(2)
        found.append(torch.corrcoef(torch.stack([one.mean(0).flatten(), other.mean(0).flatten()]))[0, 1])
    return float(torch.stack(found).mean())
