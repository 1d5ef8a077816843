"""RISE against the paper's formula with every mask made and kept, and on a network whose answer is known."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from finercam import METHODS, PLAIN, Classifier, Contrast, Explanation, FinercamError, Run, answer, explain, gather
from finercam.methods.evidence import NotGathered
from finercam.methods.method import find_method
from finercam.methods.rise import Masks, RiseEvidence
from support import reference
from support.models import CLASSES, NETS, SIZE, DeepNet, Net, Probed, build, classifier, photos
from support.states import untouched

SPEC = "rise@masks=40@cells=3"


def gathered(model: Classifier, images: Tensor, spec: str = SPEC, **run: object) -> RiseEvidence:
    evidence, _ = gather(model, images, [PLAIN], 0, method=spec, run=Run(**run))
    assert isinstance(evidence, RiseEvidence)
    return evidence


def assert_same(ours: Tensor, theirs: Tensor, tolerance: float = 1e-11) -> None:
    peak = float(theirs.abs().max())
    assert peak > 0
    assert ours.shape == theirs.shape
    assert float((ours - theirs).abs().max()) <= tolerance * peak


# --- the paper, literally ----------------------------------------------------------------------------------------


def literal_mask(grid: Tensor, offset: Tensor, size: tuple[int, int]) -> Tensor:
    """Section 3.2: the grid, upsampled bilinearly to one cell more than the image, is cropped at its offset."""
    (height, width), cells = size, len(grid)
    cell = math.ceil(height / cells), math.ceil(width / cells)
    large = reference.resized(grid.double(), ((cells + 1) * cell[0], (cells + 1) * cell[1]))
    top, left = offset.tolist()
    assert 0 <= top < cell[0]
    assert 0 <= left < cell[1]
    return large[top : top + height, left : left + width]


def literal_masks(evidence: RiseEvidence) -> list[Tensor]:
    return [
        literal_mask(grid, offset, evidence.image_size)
        for grid, offset in zip(evidence.grids, evidence.offsets, strict=True)
    ]


def literal_map(scores: list[float], masks: list[Tensor], keep: float) -> Tensor:
    """Eq. 6: ``S = 1 / (E[M] N) sum_i f(I * M_i) M_i``."""
    total = torch.zeros_like(masks[0])
    for score, mask in zip(scores, masks, strict=True):
        total = total + score * mask
    return total / (keep * len(masks))


@pytest.mark.parametrize("keep", [0.5, 0.3])
@pytest.mark.parametrize("name", NETS)
def test_not_centred_it_is_the_papers_formula(name: str, keep: float) -> None:
    net = classifier(name).module
    evidence = gathered(classifier(name), photos(), f"{SPEC}@keep={keep}@centred=no")
    masks = literal_masks(evidence)
    maps = evidence.maps(torch.eye(CLASSES, dtype=torch.float64).expand(2, -1, -1))
    assert maps.shape == (2, CLASSES, *SIZE)
    for i, image in enumerate(photos()):
        with torch.no_grad():
            scores = [net((image * mask)[None])[0] for mask in masks]
        for c in range(CLASSES):
            assert_same(maps[i, c], literal_map([float(y[c]) for y in scores], masks, keep))


@pytest.mark.parametrize("keep", [0.5, 0.3])
@pytest.mark.parametrize("name", NETS)
def test_centred_it_is_the_covariance_of_score_and_mask(name: str, keep: float) -> None:
    net = classifier(name).module
    contrast = Contrast([[4, 0, 6], [1, 2, 3]], gamma=0.7)
    evidence, (question,) = gather(
        classifier(name), photos(), [contrast], [2, 5], method=f"rise@masks=40@cells=3@keep={keep}"
    )
    assert isinstance(evidence, RiseEvidence)
    maps = answer(evidence, question).maps
    masks = literal_masks(evidence)
    mean_mask = sum(masks) / len(masks)
    for i, image in enumerate(photos()):
        objective = reference.mean_finer([2, 5][i], [[4, 0, 6], [1, 2, 3]][i], 0.7)
        with torch.no_grad():
            scores = [float(objective(net((image * mask)[None])[0])) for mask in masks]
        mean = sum(scores) / len(scores)
        covariance = sum((f - mean) * (mask - mean_mask) for f, mask in zip(scores, masks, strict=True)) / len(masks)
        assert_same(maps[i], covariance / (keep * (1 - keep)))


# --- a network whose answer is known -----------------------------------------------------------------------------

SMALL = (8, 12)


class Patches(nn.Module):
    """Each class's logit is linear in the pixels of one patch, and may be far from zero."""

    patches = ((slice(0, 2), slice(0, 2)), (slice(2, 4), slice(4, 6)), (slice(1, 2), slice(3, 4)))

    def __init__(self, size: tuple[int, int], scale: int = 1, offset: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Identity()
        self.share = nn.Parameter(torch.zeros(3, *size, dtype=torch.float64))
        self.offset = offset
        for k, (down, across) in enumerate(self.patches):
            rows, columns = (slice(scale * part.start, scale * part.stop) for part in (down, across))
            with torch.no_grad():
                self.share[k, rows, columns] = torch.linspace(1, 2, self.share[k, rows, columns].numel()).reshape(
                    self.share[k, rows, columns].shape
                )

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("bchw,khw->bk", self.stem(images), self.share) + self.offset


def balanced(evidence: RiseEvidence, image: Tensor, net: nn.Module) -> RiseEvidence:
    """The evidence of as many masks as give every expectation of two cells exactly, p = 1/2: an orthogonal array.

    Every cell is kept in half of the grids and every two cells, independently, in a quarter; with every offset.
    """
    cells, size = evidence.grids.shape[1], evidence.image_size
    grids = [
        torch.tensor([(run & (cell + 1)).bit_count() % 2 == 1 for cell in range(cells**2)]).reshape(cells, cells)
        for run in range(2 ** (cells**2).bit_length())
    ]
    places = itertools.product(*(range(math.ceil(side / cells)) for side in size))
    drawn = [(grid, torch.tensor(place)) for place in places for grid in grids]
    with torch.no_grad():
        table = torch.stack([net((image * literal_mask(*one, size))[None])[0] for one in drawn])
    return replace(
        evidence,
        table=table[None],
        grids=torch.stack([grid for grid, _ in drawn]),
        offsets=torch.stack([place for _, place in drawn]),
    )


def test_in_expectation_a_linear_network_is_read_off_exactly() -> None:
    """With ``f = sum_m a_m M_m`` the covariance over p (1 - p) is ``sum_m a_m (shared cells of m and l)``."""
    net = Patches(SMALL)
    model = Classifier.of(net, "stem", image_size=SMALL)
    image = 1 + torch.rand(1, 3, *SMALL, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    evidence = balanced(gathered(model, image, "rise@masks=2@cells=4"), image[0], net)
    rows = torch.eye(3, dtype=torch.float64)[None]
    centred = evidence.maps(rows)[0]

    shared = torch.zeros(*SMALL, *SMALL, dtype=torch.float64)
    for place in itertools.product(range(2), range(3)):
        for unit in torch.eye(16).reshape(16, 4, 4):
            share = literal_mask(unit, torch.tensor(place), SMALL)
            shared += share[:, :, None, None] * share / 6
    weight = image[0].sum(0) * net.share.detach()
    expected = torch.einsum("kij,ijhw->khw", weight, shared)
    assert_same(centred, expected)
    # The paper's map is the same, with the score's mean on top: that of the masked images, and any offset.
    for offset in (0, -30):
        moved = replace(evidence, table=evidence.table + offset)
        assert_same(moved.maps(rows)[0], centred)
        mean = 0.5 * weight.sum((1, 2)) + offset
        assert_same(replace(moved, centred=False).maps(rows)[0], 0.5 * expected + mean[:, None, None])
    # A pixel that shares no cell with the patch makes no difference.
    far = torch.einsum("kij,ijhw->khw", (weight > 0).double(), (shared > 0).double()) == 0
    assert bool(far[0].any())
    assert float(centred[far].abs().max()) < 1e-12 * float(centred.max())


@pytest.mark.parametrize("offset", [0.0, -30.0])
def test_drawn_masks_single_out_the_patch(offset: float) -> None:
    size = (24, 36)
    net = Patches(size, scale=6, offset=offset)
    model = Classifier.of(net, "stem", image_size=size)
    image = torch.ones(1, 3, *size, dtype=torch.float64)
    evidence = gathered(model, image, "rise@masks=2000@cells=6")
    maps = evidence.maps(torch.eye(3, dtype=torch.float64)[None])[0]
    for k in range(3):
        patch = net.share[k] > 0
        top = maps[k].flatten().topk(int(patch.sum())).indices
        assert float(patch.flatten()[top].double().mean()) > 0.75
        inside = float(maps[k][patch].mean())
        away = nn.functional.max_pool2d(patch[None, None].double(), 25, 1, 12)[0, 0] == 0
        assert float(maps[k][away].abs().max()) < 0.25 * inside
    # A question between two classes argues for the one's patch and against the other's.
    difference = evidence.maps(torch.tensor([[[1.0, -1, 0]]], dtype=torch.float64))[0, 0]
    assert float(difference[:12, :12].mean()) > 0 > float(difference[12:, 24:].mean())


# --- masks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "cells"), [((12, 16), 3), ((12, 16), 1), ((12, 16), 12), ((13, 7), 5), ((13, 7), 7), ((5, 5), 4)]
)
def test_masks_of_any_size_are_the_literal_ones(size: tuple[int, int], cells: int) -> None:
    drawn = replace(Masks.draw(30, cells, 0.5, 3, size), dtype=torch.float64)
    which = torch.tensor([29, 3, 3, 11])
    expected = torch.stack([literal_mask(grid, offset, size) for grid, offset in zip(*drawn_of(drawn), strict=True)])
    assert_same(drawn.cut(which), expected[which])
    assert float(expected.min()) >= 0
    assert float(expected.max()) <= 1 + 1e-12
    weights = torch.randn(2, 3, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert_same(drawn.summed(weights), torch.einsum("brn,nhw->brhw", weights, expected))


def drawn_of(masks: Masks) -> tuple[Tensor, Tensor]:
    return masks.grids, masks.offsets


@pytest.mark.parametrize(("size", "cells"), [((24, 36), 4), ((13, 17), 3)])
def test_masks_are_those_of_the_authors_resize(size: tuple[int, int], cells: int) -> None:
    """Where they differ, half a cell at the border of a grid, theirs mirrors the grid at its outermost cells."""
    transform = pytest.importorskip("skimage.transform")
    drawn = Masks.draw(20, cells, 0.5, 0, size)
    cell = [math.ceil(side / cells) for side in size]
    large = tuple((cells + 1) * length for length in cell)
    half = [math.ceil(length / cells / 2) for length in large]
    differ = 0.0
    for number, (grid, (top, left)) in enumerate(zip(drawn.grids, drawn.offsets.tolist(), strict=True)):
        for mode in ("edge", "reflect"):
            resized = transform.resize(grid.double().numpy(), large, order=1, mode=mode, anti_aliasing=False)
            theirs = torch.from_numpy(resized[top : top + size[0], left : left + size[1]]).float()
            difference = (drawn.cut(torch.tensor([number]))[0] - theirs).abs()
            if mode == "edge":
                assert float(difference.max()) < 1e-6
            else:
                differ = max(differ, float(difference.max()))
                assert float(difference[half[0] : -half[0], half[1] : -half[1]].max()) < 1e-6
    assert differ > 0.1


@pytest.mark.parametrize("keep", [0.5, 0.2])
def test_masks_are_drawn_as_they_should(keep: float) -> None:
    drawn = Masks.draw(5000, 4, keep, 0, (12, 20))
    assert abs(float(drawn.grids.double().mean()) - keep) < 0.01
    for axis, cell in ((0, 3), (1, 5)):
        often = torch.bincount(drawn.offsets[:, axis], minlength=cell).double() / 5000
        assert often.shape == (cell,)
        assert float((often - 1 / cell).abs().max()) < 0.03
    assert float((drawn.cut(torch.arange(5000)).mean(0) - keep).abs().max()) < 0.03
    # Cells, places and masks are independent.
    flat = torch.cat([drawn.grids.flatten(1).double(), drawn.offsets.double()], 1)
    between = torch.corrcoef(flat.T) - torch.eye(18)
    assert float(between.abs().max()) < 0.06
    assert float(torch.corrcoef(torch.stack([flat[1:].flatten(), flat[:-1].flatten()]))[0, 1] - 1) < 0


def test_a_seed_gives_its_masks_whatever_else_happens() -> None:
    first = gathered(classifier("deep"), photos())
    torch.rand(7)
    again = gathered(classifier("deep"), photos(1, seed=9), copies=3)
    other = gathered(classifier("deep"), photos(), f"{SPEC}@seed=1")
    for field in ("grids", "offsets"):
        assert torch.equal(getattr(first, field), getattr(again, field))
        assert not torch.equal(getattr(first, field), getattr(other, field))
    row = torch.eye(CLASSES, dtype=torch.float64)[None, :1].expand(2, -1, -1)
    assert not torch.allclose(first.maps(row), other.maps(row), rtol=0.1)


class Seen(DeepNet):
    """Notes what it is given."""

    def forward(self, images: Tensor) -> Tensor:
        self.given = [*getattr(self, "given", []), images.detach().double().clone()]
        return super().forward(images)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_model_is_given_the_masked_images_unrounded(precision: str) -> None:
    net = build(Seen, dtype=torch.float32)
    model = Classifier.of(net, "stem", image_size=SIZE)
    images = photos(dtype=torch.float32)
    net.given = []
    evidence = gathered(model, images, SPEC, precision=precision, copies=7)
    copies = torch.cat(net.given[1:]).unflatten(0, (2, 40))
    masks = torch.stack(literal_masks(evidence))
    assert_same(copies, images.double()[:, None] * masks[:, None], 1e-6)


# --- one table, many questions -----------------------------------------------------------------------------------


def test_the_map_of_a_contrast_is_the_difference_of_maps() -> None:
    for spec in (SPEC, f"{SPEC}@centred=no"):
        evidence = gathered(classifier("deep"), photos(), spec)
        rows = torch.randn(2, 2, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        single = evidence.maps(torch.eye(CLASSES, dtype=torch.float64).expand(2, -1, -1))
        assert_same(evidence.maps(rows), torch.einsum("brc,bchw->brhw", rows, single))
        question = Contrast([[4], [1]], gamma=0.7).ask(evidence.logits, [2, 5])
        expected = torch.stack([single[0, 2] - 0.7 * single[0, 4], single[1, 5] - 0.7 * single[1, 1]])
        assert_same(answer(evidence, question).maps, expected)


@pytest.mark.parametrize("name", NETS)
def test_a_batch_is_its_single_images(name: str) -> None:
    contrast = Contrast("similar")
    evidence, (question,) = gather(classifier(name), photos(3), [contrast], method=SPEC)
    found = answer(evidence, question)
    assert found.saliency.shape == (3, *SIZE)
    for i in range(3):
        alone, (one,) = gather(classifier(name), photos(3)[i : i + 1], [contrast], method=SPEC)
        assert_same(answer(alone, one).maps[0], found.maps[i])
        part = evidence.of(slice(i, i + 1))
        assert part.grids is evidence.grids
        assert part.table.data_ptr() == evidence.table[i].data_ptr()
        assert_same(answer(part, one).maps[0], found.maps[i])
    turned = evidence.of(torch.tensor([2, 0]))
    assert_same(turned.maps(question.rows[[2, 0]]), evidence.maps(question.rows)[[2, 0]])


@pytest.mark.parametrize("name", NETS)
def test_copies_per_pass_do_not_change_the_result(name: str) -> None:
    whole = gathered(classifier(name), photos())
    for copies in (1, 7, 1000):
        assert_same(gathered(classifier(name), photos(), copies=copies).table, whole.table)


def test_many_masks_go_through_the_folded_network() -> None:
    net = Probed(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    net.batches.clear()
    with untouched(net):
        many = gathered(model, photos(), "rise@masks=120@cells=3")
    assert net.batches == [2, 2]  # the look, and what can be folded
    masks = literal_masks(many)
    for i, mask in ((0, 119), (1, 60)):
        with torch.no_grad():
            assert_same(many.table[i, mask], net.inner((photos()[i] * masks[mask])[None])[0], 1e-9)


def test_memory_is_never_that_of_all_masks() -> None:
    largest = 0

    class Watched(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            output = func(*args, **(kwargs or {}))
            if isinstance(output, Tensor):
                largest = max(largest, output.numel())
            return output

    many, images = 600, photos()
    model = classifier("deep")
    for cells in (3, 12):  # (as many as the image is high: the grids are then nearly as large as the masks)
        largest = 0
        with Watched():
            evidence = gathered(model, images, f"rise@masks={many}@cells={cells}", copies=4)
            evidence.maps(torch.ones(2, 3, CLASSES, dtype=torch.float64))
        assert largest <= max(2 * many * CLASSES, many * cells**2, 2 * 3 * many)
        assert largest < many * SIZE[0] * SIZE[1]


def test_asking_again_needs_no_run_of_the_model() -> None:
    net = Probed(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    kept = explain(model, photos()[0], 0, against=[1, 2], method=SPEC, keep=True)
    fresh = explain(model, photos()[0], 3, against=[5], gamma=1, method=SPEC)
    net.batches.clear()
    assert_same(kept.again(target=3, against=[5], gamma=1).map, fresh.map)
    # Twice as far from the plain map is twice the strength.
    plain, finer, further = (kept.again(gamma=gamma).map for gamma in (0, 0.5, 1))
    assert_same(further - plain, 2 * (finer - plain))
    assert net.batches == []
    why = r"RISE \(masks=40, cells=3, seed=1\) gathers other evidence than RISE \(masks=40, cells=3\), .*@seed=1'"
    with pytest.raises(NotGathered, match=why):
        kept.again(method=f"{SPEC}@seed=1")


def test_saved_and_asked_again_in_another_process(tmp_path: Path) -> None:
    model = Classifier.of(build(DeepNet), "stem", image_size=SIZE, class_names=[f"Bird {c}" for c in "ABCDEFG"])
    for spec in (SPEC, f"{SPEC}@centred=no@keep=0.4"):
        found = explain(model, photos()[0], "Bird A", against=["Bird B"], method=spec, keep=True)
        path = found.save(tmp_path / "kept.safetensors")
        script = (
            "import sys, finercam\n"
            "found = finercam.Explanation.load(sys.argv[1])\n"
            "print(found.method.spec)\n"
            "found.again(target='Bird D', against=['Bird F'], gamma=1).save(sys.argv[2])\n"
        )
        again = tmp_path / "again.safetensors"
        done = subprocess.run(
            [sys.executable, "-c", script, path, again], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == found.method.spec
        expected = explain(model, photos()[0], "Bird D", against=["Bird F"], gamma=1, method=spec)
        assert_same(Explanation.load(again).map.double(), expected.map, 1e-6)
        assert_same(found.again(target="Bird D", against=["Bird F"], gamma=1).map, expected.map)


# --- parameters --------------------------------------------------------------------------------------------------


def test_parameters_come_with_the_name() -> None:
    how = find_method("RISE@masks=200@seed=1")
    assert dict(how.parameters) == {"masks": 200, "cells": 7, "keep": 0.5, "seed": 1, "centred": True}
    assert how.spec == "rise@masks=200@seed=1"
    assert how.full_title == "RISE (masks=200, seed=1)"
    assert find_method(how.spec) == how
    assert find_method("rise@200@5").spec == "rise@masks=200@cells=5"
    assert find_method("rise@centred=no").spec == "rise@centred=False"
    assert find_method("rise@centred=False").parameters == find_method("rise@centred=no").parameters
    assert find_method("rise") is METHODS["rise"]
    found = explain(classifier("deep"), photos()[0], method="rise@masks=30@cells=3@seed=1", keep=True)
    assert found.record()["method"] == "rise@masks=30@cells=3@seed=1"
    assert found.evidence.table.shape == (1, 30, CLASSES)
    assert found.evidence.grids.shape == (30, 3, 3)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("rise@masks=0", "rise: masks is 0; give a whole number from 1 to 1000000"),
        ("rise@masks=-4", "rise: masks is -4"),
        ("rise@masks=10000000000000", "masks is 10000000000000; give"),
        ("rise@cells=0", "rise: cells is 0; give a whole number from 1 to 12, the image's shorter side in pixels"),
        ("rise@cells=13", "rise: cells is 13; give"),
        ("rise@keep=0", "rise: keep is 0.0; give a probability above 0 and below 1"),
        ("rise@keep=1", "rise: keep is 1.0; give"),
        ("rise@keep=nan", "keep is 'nan'; it must be a finite number"),
        ("rise@seed=-1", "rise: seed is -1; give a whole number from 0 to"),
        ("rise@seed=99999999999999999999", "rise: seed is 99999999999999999999; give"),
        ("rise@masks=many", "'rise@masks=many': masks is 'many'; it must be a whole number"),
        ("rise@cells=2.5", "'rise@cells=2.5': cells is '2.5'; it must be a whole number"),
        ("rise@centred=maybe", "'rise@centred=maybe': centred is 'maybe'; write true or false"),
        ("rise@mask=3", r"rise has no parameter 'mask'; rise takes masks \(default 4000\), cells \(default 7\)"),
        ("rise@masks=3@masks=4", "masks is given twice"),
    ],
)
def test_bad_values_are_one_clear_line(spec: str, why: str) -> None:
    net = Probed(build(DeepNet))
    model = Classifier.of(net, "inner.stem", image_size=SIZE)
    with untouched(net), pytest.raises(FinercamError, match=why) as caught:
        explain(model, photos()[0], method=spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", NETS.values())
def test_the_extremes_work(kind: type[Net]) -> None:
    model = Classifier.of(build(kind), kind.layer, image_size=SIZE)
    for spec in ("rise@masks=1@centred=no", "rise@masks=20@cells=1", "rise@masks=20@cells=12", "rise@20@3@keep=0.99"):
        found = explain(model, photos()[0], 0, gamma=0, method=spec)
        assert found.map.shape == SIZE
        assert bool(found.map.isfinite().all())
        assert float(found.map.abs().max()) > 0
