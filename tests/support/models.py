"""Small nets with seeded random weights, taken apart so that a literal computation can do without any hook.

Each net's ``split`` returns its target layer's output and the rest of the net as a function of that output; its
``grid`` lays such an output over the image, b K h w. Sides differ, so that a transposed map is a wrong map.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from finercam.models.classifier import Classifier

CLASSES = 7
SIZE = (12, 16)


class Net(nn.Module, ABC):
    """A small network that can be taken apart at its target layer."""

    layer: str
    #: One that gives ``photos`` no dead channel and more than one prediction.
    seed = 0

    @abstractmethod
    def split(self, images: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return the target layer's output, and what the rest of the network makes of it."""

    def grid(self, output: Tensor) -> Tensor:
        return output


class StemNet(Net):
    """``tail(stem(x))``; the target layer is ``stem``."""

    layer = "stem"
    stem: nn.Module

    @abstractmethod
    def tail(self, maps: Tensor) -> Tensor:
        """Return the logits of the stem's output."""

    def forward(self, images: Tensor) -> Tensor:
        return self.tail(self.stem(images))

    def split(self, images: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self.stem(images), self.tail


def conv_bn_relu(given: int, channels: int, stride: int, inplace: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(given, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace)
    )


class PooledNet(StemNet):
    """Global average pooling and one linear layer behind the map: the closed form holds."""

    seed = 9

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn_relu(3, 6, 1), conv_bn_relu(6, 5, 2))
        self.head = nn.Linear(5, classes)

    def tail(self, maps: Tensor) -> Tensor:
        return self.head(maps.mean((2, 3)))


class DeepNet(StemNet):
    """More layers and a LayerNorm behind the map: its gradient differs from cell to cell and image to image."""

    seed = 4

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__()
        self.stem = conv_bn_relu(3, 5, 2)
        self.more = nn.Sequential(nn.Conv2d(5, 6, 3, 2, 1), nn.GELU())
        self.drop = nn.Dropout(0.5)
        self.norm = nn.LayerNorm(6)
        self.head = nn.Linear(6, classes)

    def tail(self, maps: Tensor) -> Tensor:
        return self.head(self.drop(self.norm(self.more(maps).mean((2, 3)))))


class InPlaceNet(DeepNet):
    """Works in place on the target layer's output as soon as it has it."""

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__(classes)
        self.stem = nn.Sequential(nn.Conv2d(3, 5, 3, 2, 1), nn.BatchNorm2d(5))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        maps += 1
        return super().tail(self.relu(maps))

    def tail(self, maps: Tensor) -> Tensor:
        return super().tail((maps + 1).relu())


class AroundNet(DeepNet):
    """Its target layer returns its very input, which goes around it too."""

    layer = "same"

    def __init__(self, classes: int = CLASSES) -> None:
        super().__init__(classes)
        self.same = nn.Identity()

    def split(self, images: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        maps = self.stem(images)
        return maps.clone(), lambda given: self.tail(given + maps)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stem(images)
        return self.tail(self.same(maps) + maps)


class Block(nn.Module):
    """A pre-norm transformer block, taken apart at its first norm."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def after_norm(self, x: Tensor, normed: Tensor) -> Tensor:
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in self.qkv(normed).chunk(3, 2))
        weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        x = x + self.proj((weights @ v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.after_norm(x, self.norm1(x))


class TinyViT(Net):
    """Class token and one register before 3 x 4 patches; the head reads the class token."""

    layer = "last.norm1"
    prefix = 2
    seed = 4

    def __init__(self, classes: int = CLASSES, dim: int = 8) -> None:
        super().__init__()
        self.num_prefix_tokens = self.prefix
        self.patch = nn.Conv2d(3, dim, 4, 4)
        self.tokens = nn.Parameter(torch.randn(1, self.prefix, dim))
        self.position = nn.Parameter(torch.randn(1, 12, dim))
        self.first, self.last = Block(dim, 2), Block(dim, 2)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def before(self, images: Tensor) -> Tensor:
        patches = self.patch(images).flatten(2).mT + self.position
        return self.first(torch.cat([self.tokens.expand(len(images), -1, -1), patches], 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.norm(self.last(self.before(images)))[:, 0])

    def split(self, images: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        x = self.before(images)
        return self.last.norm1(x), lambda normed: self.head(self.norm(self.last.after_norm(x, normed))[:, 0])

    def grid(self, output: Tensor) -> Tensor:
        return output[:, self.prefix :].mT.unflatten(2, (3, 4))


class Probed(nn.Module):
    """Another module as it is, which counts its runs, notes their batch sizes and can be made to fail."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.batches: list[int] = []
        self.fails = False

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        logits = self.inner(images)
        if self.fails:
            raise RuntimeError("the model broke")
        return logits


NETS: dict[str, type[Net]] = {"pooled": PooledNet, "deep": DeepNet, "vit": TinyViT}


def build(kind: type[Net], *, dtype: torch.dtype = torch.float64, **options: int) -> Net:
    """Return a seeded net in evaluation mode, with batch statistics and norms that matter."""
    with torch.random.fork_rng([]):
        torch.manual_seed(kind.seed)
        net = kind(**options)
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.uniform_(-0.3, 0.3)
                    module.running_var.uniform_(0.5, 2)
                if isinstance(module, (nn.BatchNorm2d, nn.LayerNorm)):
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.uniform_(-0.5, 0.5)
                if isinstance(module, nn.Linear):
                    module.weight.normal_(std=1.5 / module.in_features**0.5)
    return net.to(dtype).eval()


def photos(count: int = 2, *, seed: int = 5, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return seeded random images, each of its own colour."""
    images = []
    for index in range(count):
        generator = torch.Generator().manual_seed(100 * seed + index)
        pixels, colour = (torch.randn(3, *s, generator=generator, dtype=torch.float64) for s in (SIZE, (1, 1)))
        images.append(pixels + 1.5 * colour)
    return torch.stack(images).to(dtype)


@cache
def classifier(name: str, dtype: torch.dtype = torch.float64) -> Classifier:
    """Return one of ``NETS`` with its target layer named. Shared between tests: not to be changed."""
    kind = NETS[name]
    return Classifier.of(build(kind, dtype=dtype), kind.layer, image_size=SIZE)
