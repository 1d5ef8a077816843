"""From what a layer puts out to a grid of cells over the image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finercam import FinercamError, Grid
from finercam.models.grid import LAYOUTS, infer_grid, token_grid

CELLS = torch.arange(2 * 5 * 3 * 4).reshape(2, 5, 3, 4).float()


def laid_out(layout: str, prefix: int) -> torch.Tensor:
    """The cells b K h w as a layer of that layout puts them out, behind tokens of -1."""
    if layout == "nchw":
        return CELLS.clone()
    if layout == "nhwc":
        return CELLS.permute(0, 2, 3, 1).contiguous()
    tokens = torch.cat([-torch.ones(2, prefix, 5), CELLS.flatten(2).mT], 1)
    return tokens if layout == "tokens" else tokens.transpose(0, 1).contiguous()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_maps_are_the_cells_and_a_view(layout: str, prefix: int) -> None:
    output = laid_out(layout, prefix)
    maps = Grid(layout, prefix).maps(output, (48, 64))
    assert torch.equal(maps, CELLS)
    maps[0, 0, 0, 0] = 999
    assert (output == 999).sum() == 1


def test_a_size_given_is_kept() -> None:
    tokens = CELLS.flatten(2).mT
    assert Grid("tokens").maps(tokens, (48, 64)).shape == (2, 5, 3, 4)
    assert Grid("tokens", size=(4, 3)).maps(tokens, (48, 64)).shape == (2, 5, 4, 3)


@pytest.mark.parametrize(
    ("grid", "shape", "image", "said"),
    [
        (Grid("tokens"), (1, 4, 3, 4), (48, 64), r"a tokens layer cannot put out the shape \(1, 4, 3, 4\)"),
        (Grid("nchw"), (1, 12, 4), (48, 64), r"a nchw layer cannot put out the shape \(1, 12, 4\)"),
        (Grid("tokens", 2), (1, 13, 4), (48, 64), r"13 tokens with 2 before the patches make no grid .* 48 x 64"),
        (Grid("tokens-first", 2), (13, 1, 4), (48, 64), "13 tokens with 2 .* grid=Grid.'tokens-first', prefix="),
        (Grid("tokens", size=(3, 5)), (1, 12, 4), (48, 64), r"12 tokens with 0 .*size=\(h, w\)"),
        (Grid("tokens", 12), (1, 12, 4), (48, 48), "12 tokens with 12 before the patches make no grid"),
    ],
)
def test_what_is_said(grid: Grid, shape: tuple[int, ...], image: tuple[int, int], said: str) -> None:
    with pytest.raises(FinercamError, match=said):
        grid.maps(torch.zeros(shape), image)


def test_an_unknown_layout() -> None:
    with pytest.raises(FinercamError, match="grid layout 'hwc' is not one of nchw, nhwc, tokens, tokens-first"):
        Grid("hwc")


@given(st.integers(2, 60), st.integers(2, 60), st.integers(2, 64))
def test_a_token_grid_is_found_from_its_count(h: int, w: int, patch: int) -> None:
    """Whole patches over the image: no other grid of as many cells has one stride in both directions."""
    assert token_grid(h * w, (h * patch, w * patch)) == (h, w)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(2, 32), st.data())
def test_a_border_that_is_padded_or_cropped(h: int, w: int, patch: int, data: st.DataObject) -> None:
    """The sides need not be whole patches; what is found then lies within one cell of each side over the stride."""
    image = tuple(cells * patch + data.draw(st.integers(0, patch - 1)) for cells in (h, w))
    found = token_grid(h * w, image)
    assert found is not None
    assert found[0] * found[1] == h * w
    assert abs(found[0] - h) <= 1
    assert abs(found[1] - w) <= 1


@pytest.mark.parametrize(
    ("count", "image", "expected"),
    [
        (196, (224, 224), (14, 14)),
        (197, (224, 224), None),
        (128, (256, 128), (16, 8)),
        (128, (128, 256), (8, 16)),
        (1, (224, 224), (1, 1)),
        (0, (224, 224), None),
        (0, (224, 192), None),
        (13, (224, 192), None),
        (49, (200, 200), (7, 7)),
    ],
)
def test_token_grids(count: int, image: tuple[int, int], expected: tuple[int, int] | None) -> None:
    assert token_grid(count, image) == expected


@pytest.mark.parametrize(
    ("shape", "image", "expected"),
    [
        ((1, 512, 7, 7), (224, 224), Grid("nchw")),
        ((1, 7, 7, 512), (224, 224), Grid("nhwc")),
        ((1, 512, 7, 10), (224, 320), Grid("nchw")),
        ((1, 7, 10, 512), (224, 320), Grid("nhwc")),
        ((1, 512, 10, 7), (224, 320), None),  # turned
        ((1, 512, 1, 1), (224, 224), None),  # pooled
        ((1, 512, 1, 7), (224, 224), None),  # columns
        ((4, 96, 7, 7), (224, 224), None),  # windows
        ((1, 12, 197, 64), (224, 224), None),  # heads
        ((1, 196, 768), (224, 224), Grid("tokens")),
        ((1, 197, 768), (224, 224), Grid("tokens", 1)),
        ((1, 198, 768), (224, 224), Grid("tokens", 2)),
        ((1, 261, 768), (224, 224), Grid("tokens", 5)),
        ((197, 1, 768), (224, 224), Grid("tokens-first", 1)),
        ((1, 129, 768), (256, 128), Grid("tokens", 1)),
        ((8, 50, 96), (224, 224), None),  # heads
        ((1, 8, 8, 8), (64, 64), Grid("nchw")),  # either
        ((1, 1, 768), (224, 224), None),  # the class token alone
        ((1, 120, 768), (224, 224), None),  # 20 too many for 10 x 10, and nothing speaks for that
        ((1, 768), (224, 224), None),
        ((1, 3, 8, 7, 7), (224, 224), None),
    ],
)
def test_inference(shape: tuple[int, ...], image: tuple[int, int], expected: Grid | None) -> None:
    assert infer_grid(shape, image) == expected


def test_a_stated_prefix_is_taken_at_its_word() -> None:
    assert infer_grid((1, 201, 768), (224, 224), prefix=5) == Grid("tokens", 5)
    assert infer_grid((1, 196, 768), (224, 224), prefix=1) is None


def test_grids_that_were_seen_speak_for_many_tokens() -> None:
    assert infer_grid((1, 120, 768), (224, 224), seen={(56, 56), (10, 10), (7, 7)}) == Grid("tokens", 20)
    # 3 x 3 is nearer, but 2 x 2 is what the patches were cut from.
    assert infer_grid((1, 9, 768), (32, 32)) == Grid("tokens", 0)
    assert infer_grid((1, 7, 768), (32, 32), seen={(2, 2)}) == Grid("tokens", 3)
    # More tokens than patches before the patches are nobody's.
    assert infer_grid((1, 120, 768), (224, 224), seen={(7, 7)}) is None
