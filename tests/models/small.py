"""Small modules of a user's own: a convolutional net and a transformer, and how they are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from finercam import Classifier

SIZE = (24, 32)


def conv(given: int, channels: int, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(given, channels, 3, stride, 1), nn.BatchNorm2d(channels), nn.ReLU())


class Net(nn.Module):
    """A small convolutional classifier; ``wrap`` is what it returns its logits in."""

    def __init__(self, wrap: Callable[[Tensor, Tensor], Any] = lambda logits, maps: logits) -> None:
        super().__init__()
        self.stem, self.body = conv(3, 8), conv(8, 12)
        self.head = nn.Linear(12, 5)
        self.wrap = wrap

    def forward(self, images: Tensor) -> Any:
        maps = self.body(self.stem(images))
        return self.wrap(self.head(maps.mean((2, 3))), maps)


class Tokens(nn.Module):
    """A transformer of PyTorch's own; its batch comes second unless told otherwise."""

    def __init__(self, prefix: int, batch_first: bool, norm_first: bool = True, patch: int = 4) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 16, patch, patch)
        self.prefix = nn.Parameter(torch.randn(1, prefix, 16))
        block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first, norm_first=norm_first)
        self.encoder = nn.TransformerEncoder(block, 3, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)
        self.batch_first = batch_first

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patch(images).flatten(2).mT
        tokens = torch.cat([self.prefix.expand(len(images), -1, -1), tokens], 1)
        tokens = self.encoder(tokens) if self.batch_first else self.encoder(tokens.transpose(0, 1)).transpose(0, 1)
        return self.head(tokens[:, 0] if self.prefix.shape[1] else tokens.mean(1))


def made(kind: Callable[[], nn.Module]) -> nn.Module:
    """Return the module that this makes, with the same random weights every time."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return kind().eval()


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def classifier(module: nn.Module, *args: Any, **options: Any) -> Classifier:
    return Classifier.of(module, *args, image_size=SIZE, **options)
