"""How the outputs of your own modules lie over the image: found, or given."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from finercam import Classifier, FinercamError, Grid, saliency
from finercam.models.stages import layer_cells
from models.small import Tokens, classifier, images, made
from support.looking import look


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(("prefix", "norm_first"), [(1, True), (3, True), (1, False), (0, True)])
def test_pytorchs_own_transformer(prefix: int, batch_first: bool, norm_first: bool) -> None:
    found = classifier(made(lambda: Tokens(prefix, batch_first, norm_first)))
    expected = {
        (True, True): "encoder.layers.2.norm1",
        # Norm after each block: the input of the last block is what the block before it puts out.
        (True, False): "encoder.layers.1",
        (False, True): "encoder",
    }[prefix > 0, norm_first]
    assert found.layers == (expected,)
    assert found.grids == (Grid("tokens" if batch_first else "tokens-first", prefix),)
    maps = saliency(found, images(3), 2, gamma=0)
    torch.testing.assert_close(maps[2:], saliency(found, images(3)[2:], 2, gamma=0), rtol=0, atol=1e-6)


def test_a_grid_given_explicitly() -> None:
    """Cells that are wider than high fit no guess."""

    class Stripes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 12, (8, 4), (8, 4))
            self.head = nn.Linear(12, 5)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.body(images).relu().mean((2, 3)))

    module = made(Stripes)
    with pytest.raises(FinercamError, match=r"no layer's output lies on a grid .* grid=Grid\(\.\.\.\)"):
        Classifier.of(module, image_size=(32, 32))
    with pytest.raises(FinercamError, match=r"layer 'body' puts out the shape .* give grid=Grid\(\.\.\.\)"):
        Classifier.of(module, "body", image_size=(32, 32))
    for found in (
        Classifier.of(module, "body", Grid("nchw"), image_size=(32, 32)),
        Classifier.of(module, grid=Grid("nchw"), image_size=(32, 32)),
    ):
        assert found.layers == ("body",)
        assert saliency(found, torch.randn(1, 3, 32, 32)).shape == (1, 32, 32)


def test_a_token_grid_of_a_given_size() -> None:
    class OneLess(Tokens):
        """Its last patch is dropped: 99 tokens of 10 x 10, and no square near."""

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.encoder(self.patch(images).flatten(2).mT[:, :99]).mean(1))

    module = made(lambda: OneLess(0, True))
    with pytest.raises(FinercamError, match=r"layer 'encoder' puts out the shape \(1, 99, 16\)"):
        Classifier.of(module, "encoder", image_size=(40, 40))
    with pytest.raises(FinercamError, match=r"99 tokens with 0 before .* give grid=Grid\('tokens', .*size=\(h, w\)"):
        Classifier.of(module, "encoder", Grid("tokens", size=(10, 10)), image_size=(40, 40))
    found = Classifier.of(module, "encoder", Grid("tokens", size=(9, 11)), image_size=(40, 40))
    photos = torch.randn(2, 3, 40, 40)
    assert look(found, photos, lambda y: torch.eye(5).expand(2, -1, -1)).activations[0].shape == (2, 16, 9, 11)


def test_many_prompts_before_the_patches() -> None:
    """The map the patches were cut from was seen, so twenty tokens before them are no riddle."""
    found = classifier(made(lambda: Tokens(20, True)))
    assert found.grids == (Grid("tokens", 20),)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize(("prompts", "cells"), [(10, 3), (17, 3), (51, 7), (52, 7), (72, 7)])
def test_prompts_that_make_a_square_with_the_patches(prompts: int, cells: int, norm_first: bool) -> None:
    """10 + 3 x 3 tokens are 4 x 4 and three more, 17 + 3 x 3 are 5 x 5 and one more, 51 + 7 x 7 are 10 x 10."""
    module = made(lambda: Tokens(prompts, True, norm_first))
    found = Classifier.of(module, image_size=(4 * cells, 4 * cells))
    assert found.grids == (Grid("tokens", prompts),)
    assert found.layers == ("encoder.layers.2.norm1" if norm_first else "encoder.layers.1",)
    named = Classifier.of(module, "encoder.layers.0", image_size=(4 * cells, 4 * cells))
    assert named.grids == (Grid("tokens", prompts),)
    with found.look(torch.randn(2, 3, 4 * cells, 4 * cells)) as seen:
        assert seen.grid("encoder.layers.0") == Grid("tokens", prompts)
    assert layer_cells(found)["encoder.layers.0"] == (cells, cells)


def test_patches_without_a_convolution() -> None:
    """Nothing else has shown how many cells there are."""

    class Cut(Tokens):
        def forward(self, images: Tensor) -> Tensor:
            patches = nn.functional.unfold(images, 4, stride=4).mT @ self.patch.weight.flatten(1).T
            tokens = torch.cat([self.prefix.expand(len(images), -1, -1), patches], 1)
            return self.head(self.encoder(tokens)[:, 0])

    assert Classifier.of(made(lambda: Cut(51, True)), image_size=(28, 28)).grids == (Grid("tokens", 51),)


def test_prompts_behind_the_patches_are_no_grid() -> None:
    class Behind(Tokens):
        def forward(self, images: Tensor) -> Tensor:
            tokens = self.patch(images).flatten(2).mT
            tokens = torch.cat([tokens, self.prefix.expand(len(images), -1, -1)], 1)
            return self.head(self.encoder(tokens).mean(1))

    found = Classifier.of(made(lambda: Behind(51, True)), image_size=(28, 28))
    assert found.layers == ("patch",)
