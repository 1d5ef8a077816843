"""Every family of the table: the layer found, its grid, its orientation, batches, the closed form, other sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from finercam.contrast.contrast import PLAIN
from finercam.explanations.answering import answer
from finercam.methods.gradients import GradientEvidence
from finercam.models import Classifier
from finercam.models.families import families
from finercam.models.grid import LAYOUTS, Grid
from models.plans import CLASSES, Size
from models.zoo import Case, Cell, cases, far_corners, photos
from support.looking import look

ALL = [pytest.param(case, id=case.id, marks=[pytest.mark.slow] if case.slow else []) for case in cases()]
BY_ID = {case.id: case for case in cases()}


@pytest.mark.parametrize("case", ALL)
def test_family(case: Case) -> None:
    plan = case.plan
    classifier = Classifier.of(case.build(plan.size), image_size=plan.size)
    check_what_is_found(classifier, case)
    cells = plan.cells(plan.size)
    images = photos(plan.size, cells)
    evidence = look(classifier, images, single_classes)
    check_maps(evidence, cells)
    check_batch(classifier, images, evidence)
    check_orientation(evidence, cells)
    check_closed_form(classifier, images, evidence)
    if plan.other is not None:
        check_other_size(classifier, case, plan.other)


def check_what_is_found(classifier: Classifier, case: Case) -> None:
    family = case.family
    assert classifier.layers == (family.layer,)
    (grid,) = classifier.grids
    assert (grid.layout, grid.prefix) == (family.layout, family.prefix)
    assert classifier.pooled == family.exact


def check_maps(evidence: GradientEvidence, cells: Cell) -> None:
    maps = class_maps(evidence)
    assert maps.shape[-2:] == cells
    assert maps.isfinite().all()
    assert (maps.abs().amax((2, 3)) > 0).all(), "a class has no map at all"
    peak = maps.abs().amax((1, 2, 3))
    assert ((maps - maps.mean(1, keepdim=True)).abs().amax((1, 2, 3)) > 1e-3 * peak).all(), "all classes have one map"


def check_batch(classifier: Classifier, images: Tensor, evidence: GradientEvidence) -> None:
    singles = [look(classifier, image[None], single_classes) for image in images[:2]]
    peak = float(evidence.logits.abs().max())
    torch.testing.assert_close(
        torch.cat([one.logits for one in singles]), evidence.logits[:2], rtol=0, atol=1e-4 * peak
    )
    assert_same(torch.cat([class_maps(one) for one in singles]), class_maps(evidence)[:2])


def check_orientation(evidence: GradientEvidence, cells: Cell) -> None:
    """The patch changes the activations most in its own corner.

    Two corners at the far ends of a row and of a column: a transposed map shows each in the other's place, a flipped
    one elsewhere, and where the grid begins one token early or late one of them moves to the other side.
    """
    activations = evidence.activations[0]
    for corner, changed in zip(far_corners(cells), activations[1:], strict=True):
        change = (changed - activations[0]).abs().sum(0)
        assert near(strongest(change), corner), f"the patch at {corner} is seen at {strongest(change)}"


def check_closed_form(classifier: Classifier, images: Tensor, evidence: GradientEvidence) -> None:
    """It is used where it is exact and gives what the vector-Jacobian product gives; elsewhere it would be wrong."""
    if classifier.pooled:
        product = look(replace(classifier, pooled=False), images, single_classes)
        assert evidence.gradients is None
        assert product.gradients is not None
        assert_same(class_maps(product), class_maps(evidence))
        check_made_head(classifier, images, evidence)
    elif classifier.head is not None and classifier.head.in_features == evidence.activations[0].shape[1]:
        cells = evidence.activations[0].mean((2, 3))
        assert not torch.allclose(classifier.head(cells), evidence.logits, rtol=0, atol=1e-4)


def check_made_head(classifier: Classifier, images: Tensor, evidence: GradientEvidence) -> None:
    """With a head made to look for the patch's feature, the evidence for that class moves to the patch's corner."""
    assert classifier.head is not None
    weight = classifier.head.weight
    before = weight.detach().clone()
    feature = evidence.activations[0].mean((2, 3))
    with torch.no_grad():
        weight[:2] = feature[1:] - feature[0]
    evidence = look(classifier, images, single_classes)
    for index, corner in enumerate(far_corners(evidence.activations[0].shape[-2:])):
        maps = answer(evidence, PLAIN.ask(evidence.logits, index)).maps
        moved = maps[1 + index] - maps[0]
        assert near(strongest(moved), corner), f"evidence for the patch at {corner} is at {strongest(moved)}"
    with torch.no_grad():
        weight.copy_(before)


def check_other_size(classifier: Classifier, case: Case, size: Size) -> None:
    plan = case.plan
    if plan.rebuild:
        classifier = Classifier.of(case.build(size), image_size=size)
        check_what_is_found(classifier, case)
    cells = plan.cells(size)
    evidence = look(classifier, photos(size, cells), single_classes)
    check_maps(evidence, cells)
    check_orientation(evidence, cells)


# --- what the checks are made of ---------------------------------------------------------------------------------


def single_classes(logits: Tensor) -> Tensor:
    return torch.eye(logits.shape[1])[:CLASSES].expand(len(logits), -1, -1)


def class_maps(evidence: GradientEvidence) -> Tensor:
    return evidence.maps(single_classes(evidence.logits))


def strongest(maps: Tensor) -> Cell:
    row, column = divmod(int(maps.argmax()), maps.shape[1])
    return row, column


def near(cell: Cell, corner: Cell) -> bool:
    """Whether it is the corner or next to it: at the border a convolution sees less of what is there."""
    return max(abs(cell[0] - corner[0]), abs(cell[1] - corner[1])) <= 1


def assert_same(given: Tensor, expected: Tensor) -> None:
    """To 1e-4 of each map's peak."""
    peak = expected.abs().amax((2, 3), keepdim=True)
    torch.testing.assert_close(given / peak, expected / peak, rtol=0, atol=1e-4)


# --- the table, and whether the checks can fail ------------------------------------------------------------------


def test_the_table_is_whole() -> None:
    assert len(families()) > 45
    assert len({(family.title, family.library) for family in families()}) == len(families())
    assert {family.layout for family in families()} <= set(LAYOUTS)
    assert {family.library for family in families()} == {"timm", "torchvision", "transformers", "open_clip"}


_BROKEN = {
    "transposed": lambda maps: maps.mT,
    "upside down": lambda maps: maps.flip(2),
    "mirrored": lambda maps: maps.flip(3),
    "one token late": lambda maps: maps.flatten(2).roll(1, 2).unflatten(2, maps.shape[2:]),
    "one token early": lambda maps: maps.flatten(2).roll(-1, 2).unflatten(2, maps.shape[2:]),
}


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, how) for name in ("timm-ResNet", "timm-ViT_class_token") for how in list(_BROKEN)[:3]),
        ("timm-ViT_class_token", "one token late"),
        ("timm-ViT_class_token", "one token early"),
    ],
)
def test_a_wrong_grid_is_noticed(name: str, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = BY_ID[name]
    size, cells = case.plan.size, case.plan.cells(case.plan.size)
    classifier = Classifier.of(case.build(size), image_size=size)
    images = photos(size, cells)
    right = Grid.maps
    check_orientation(look(classifier, images, single_classes), cells)
    monkeypatch.setattr(Grid, "maps", lambda self, output, image: _BROKEN[how](right(self, output, image)))
    with pytest.raises(AssertionError, match="the patch at"):
        check_orientation(look(classifier, images, single_classes), cells)
