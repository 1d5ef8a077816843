"""Small nets taken apart at two layers, so that what sharp makes of them can be computed without any hook."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from support import literal_explainers as literal
from support.models import DeepNet, PooledNet, TinyViT


def taken_apart(net: nn.Module, image: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The late layer's A and G and the early layer's B and dD/dB, by autograd on parts of the net."""
    with torch.no_grad():
        if isinstance(net, PooledNet):
            early = net.stem[0](image[None])
            late, rest, after = net.stem[1](early), net.tail, lambda b: net.tail(net.stem[1](b))
        elif isinstance(net, DeepNet):
            early = net.stem(image[None])
            late, rest, after = net.more(early), lambda a: net.head(net.norm(a.mean((2, 3)))), net.tail
        else:
            early = net.before(image[None])
            late, rest = net.last.norm1(early), lambda a: net.head(net.norm(net.last.after_norm(early, a))[:, 0])
            after = lambda x: net.head(net.norm(net.last(x))[:, 0])  # noqa: E731
    grid = net.grid if isinstance(net, TinyViT) else (lambda output: output)
    of_late, of_early = (literal.layer_gradient(f, x[0], row) for f, x in ((rest, late), (after, early)))
    return grid(late)[0], grid(of_late[None])[0], grid(early)[0], grid(of_early[None])[0]
