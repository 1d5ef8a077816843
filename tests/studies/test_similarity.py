"""How alike classifier rows are, against Eq. 11 and 12 written out in float64."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from finercam import FinercamError, load
from finercam.report.figures.similarity import draw_curves
from finercam.report.printing import COLOURS, save_figure
from finercam.studies import similarity
from finercam.studies.similarity import Curve, Pair, curve, look_alikes, most_similar_pairs, rows_of, titles
from models.small import Net, classifier, made


def rows(classes: int = 23, size: int = 7, seed: int = 0) -> Tensor:
    return torch.randn(classes, size, generator=torch.Generator().manual_seed(seed)) + 0.3


def literal(given: Tensor) -> NDArray[np.float64]:
    """Eq. 11, entry by entry."""
    w = given.double().numpy()
    return np.array(
        [[math.fsum(p * q) / (math.sqrt(math.fsum(p * p)) * math.sqrt(math.fsum(q * q))) for q in w] for p in w]
    )


@pytest.fixture(params=[1 << 24, 60], ids=["one block", "many blocks"])
def _blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "_ENTRIES", request.param)


@pytest.mark.usefixtures("_blocks")
def test_the_curve_is_equation_12() -> None:
    given = rows()
    s = literal(given) - np.eye(23)
    ranked = -np.sort(-s, axis=1)
    found = curve(given)
    np.testing.assert_allclose(found.mean.numpy(), ranked.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.std.numpy(), ranked.std(0), atol=1e-6)


@pytest.mark.usefixtures("_blocks")
def test_without_itself_a_class_has_one_rank_fewer() -> None:
    given = rows()
    s = literal(given)
    others = np.array([np.delete(line, number) for number, line in enumerate(s)])
    ranked = -np.sort(-others, axis=1)
    found = curve(given, own=False)
    assert found.mean.shape == (22,)
    np.testing.assert_allclose(found.mean.numpy(), ranked.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.std.numpy(), ranked.std(0), atol=1e-6)


@pytest.mark.usefixtures("_blocks")
def test_look_alikes_and_pairs() -> None:
    given = rows()
    s = literal(given)
    np.fill_diagonal(s, -2)
    found = look_alikes(given, 4)
    np.testing.assert_array_equal(found.classes.numpy(), np.argsort(-s, axis=1)[:, :4])
    np.testing.assert_allclose(found.similarity.numpy(), -np.sort(-s, axis=1)[:, :4], atol=1e-6)
    order = sorted((-s[p, q], p, q) for p in range(23) for q in range(p + 1, 23))
    for count in (9, 1000):
        pairs = most_similar_pairs(given, count)
        assert [(pair.first, pair.second) for pair in pairs] == [(p, q) for _, p, q in order[:count]]
        assert [pair.similarity for pair in pairs] == pytest.approx([-value for value, _, _ in order[:count]], abs=1e-6)
    assert look_alikes(given, 100).classes.shape == (23, 22)


def test_length_does_not_count_and_direction_does() -> None:
    given = torch.tensor([[1.0, 0.0], [5.0, 0.0], [0.0, 2.0], [-3.0, 0.0]])
    assert most_similar_pairs(given, 1) == [Pair(0, 1, 1.0)]
    # Of class 3: its own 0, class 2, and two opposites.
    alone = curve(given[[0, 3]])
    assert alone.mean.tolist() == [0.0, -1.0]
    assert curve(given[[0, 3]], own=False).mean.tolist() == [-1.0]
    assert alone.std.tolist() == [0.0, 0.0]


def test_a_hundred_thousand_entries_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    largest = 0
    blocks = similarity._blocks

    def watched(given: Tensor):
        nonlocal largest
        for start, block in blocks(given):
            largest = max(largest, block.numel())
            yield start, block

    monkeypatch.setattr(similarity, "_ENTRIES", 100_000)
    monkeypatch.setattr(similarity, "_blocks", watched)
    curve(rows(2000))
    assert 0 < largest <= 100_000


def test_models_without_comparable_rows_are_refused() -> None:
    class Convolutional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.last = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 5, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.last(self.body(images).relu()).mean((2, 3))

    with pytest.raises(FinercamError, match="does not end in a linear layer"):
        rows_of(classifier(made(Convolutional)))
    module = made(Net)
    whole = classifier(module)
    torch.testing.assert_close(rows_of(whole), module.head.weight.detach())
    with torch.no_grad():
        module.head.weight[2] = 0
    with pytest.raises(FinercamError, match=r"1 rows of Net are zero or not finite, such as that of class 2"):
        rows_of(whole)
    with pytest.raises(FinercamError, match="top is 0"):
        look_alikes(rows(), 0)


def test_models_are_told_apart_by_the_end_of_their_names() -> None:
    assert titles(["/a/cub/probe", "/a/cars/probe"]) == ["cub/probe", "cars/probe"]
    assert titles(["timm/resnet18", "aviary"]) == ["resnet18", "aviary"]
    assert titles(["a/b", "a/b/"]) == ["a/b", "a/b/"]
    with pytest.raises(FinercamError, match="'timm/resnet18' is given twice"):
        titles(["timm/resnet18", "aviary", "timm/resnet18"])


def test_the_figure_shows_every_curve(tmp_path) -> None:
    from PIL import Image, ImageColor

    one, other = curve(rows()), curve(rows(60, seed=1))

    def drawn(curves: dict[str, Curve], name: str) -> NDArray[np.uint8]:
        return np.asarray(Image.open(save_figure(draw_curves(curves), tmp_path / name)).convert("RGB"))

    picture, single = drawn({"one": one, "other": other}, "a.png"), drawn({"one": one}, "b.png")

    def pixels(image: NDArray[np.uint8], colour: str) -> int:
        return int((np.abs(image.astype(int) - ImageColor.getrgb(colour)).max(2) < 12).sum())

    assert pixels(picture, COLOURS[0]) > 500
    assert pixels(picture, COLOURS[1]) > 500
    assert pixels(single, COLOURS[1]) == 0


@pytest.mark.skipif("FINERCAM_SHARED" not in os.environ, reason="FINERCAM_SHARED does not say where the models are")
def test_the_most_similar_bird_is_of_the_same_genus() -> None:
    birds = load(Path(os.environ["FINERCAM_SHARED"]) / "models" / "inat_birds", device="cpu")
    assert birds.labels is not None
    genera = [name.split()[0] for name in birds.labels.names]
    nearest = look_alikes(rows_of(birds), 1).classes[:, 0].tolist()
    with_relatives = [c for c, genus in enumerate(genera) if genera.count(genus) > 1]
    same = sum(genera[c] == genera[nearest[c]] for c in with_relatives) / len(with_relatives)
    # Of all the others one in two hundred is.
    assert len(with_relatives) == 722
    assert same > 0.75
