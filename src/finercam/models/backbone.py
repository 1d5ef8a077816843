"""Backbones: models without their classification head, from images to one row of features each.

How the tokens (or cells) of an image become one row is the backbone's pooling, and it decides what can be seen
through a linear head on top:

- ``auto`` leaves it as the library has it (for transformers: as its image classifier of that family has it).
- ``mean`` over the patch tokens, after the last norm where there is one. The logits are then linear in each cell of
  that norm's output, and the class activation map has its closed form. The authors' heads were trained so, on
  DINOv2's normed patch tokens and on OpenCLIP's embedding with ``pool_type`` ``avg``.
- ``cls`` takes the class token. Its evidence is in the cells that enter the last block.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from finercam.errors import FinercamError, nearest
from finercam.models.finding import find_device, find_model, plain_errors, ways
from finercam.models.grid import Grid
from finercam.models.layers import find_layers, head_call
from finercam.models.outputs import main_tensor, read_logits
from finercam.models.passes import forward_pass
from finercam.models.preprocessing import Preprocessing
from finercam.models.trial import trial
from finercam.models.undisturbed import undisturbed

POOLS = ("auto", "mean", "cls")


def load_backbone(
    spec: str | os.PathLike[str],
    pool: str = "auto",
    *,
    image_size: int | None = None,
    device: str = "auto",
    pretrained: bool = True,
    revision: str | None = None,
) -> Backbone:
    """Load a backbone with its preprocessing.

    Args:
        spec: as ``finercam.load`` takes it. A classification head, if there is one, is taken off.
        pool: ``auto``, ``mean`` or ``cls``; see the head of this file.
        image_size: side of the square input in pixels, where it shall not be the model's own (timm only).
        device, pretrained, revision: as for ``finercam.load``.

    Raises:
        FinercamError: no such model, or it cannot be pooled so.
    """
    if pool not in POOLS:
        raise FinercamError(f"pool is {pool!r}; {nearest(pool, POOLS)}")
    spec = os.fspath(spec)
    source, checkpoint = find_model(spec, pretrained, revision)
    if source.backbone is None:
        raise FinercamError(
            f"{spec} cannot be used as a backbone (the source {source.name} has none); write "
            f"{ways(lambda source: source.backbone is not None)}"
        )
    target = find_device(device)
    with plain_errors(spec, source):
        parts = source.backbone(checkpoint, pool)
        weights, preprocessing = weights_hash(parts.module), parts.preprocessing
        if image_size is not None:
            if parts.resize is None:
                raise FinercamError(f"the image size of {spec} is fixed; leave it out, or choose a backbone of timm's")
            # Only now: resizing position embeddings rounds, and not alike on every machine.
            preprocessing = parts.resize(image_size)
    module = parts.module.to(target).eval()
    return Backbone(
        spec=source.spec(checkpoint.name),
        pool=pool,
        revision=revision,
        resized=image_size,
        module=module,
        features=_count_features(module, preprocessing.size, spec),
        weights=weights,
        preprocessing=preprocessing,
    )


@dataclass(frozen=True, eq=False, repr=False)
class Backbone:
    """A frozen model from images b 3 H W to features b K.

    Attributes:
        spec: what it is loaded by again; folders are absolute.
        pool: ``auto``, ``mean`` or ``cls``.
        revision: of a model on a hub.
        resized: side of the input, where it was asked for.
        module: the model.
        features: K.
        weights: hash of the module's weights, without its head.
        preprocessing: how a photo becomes an input.
    """

    spec: str
    pool: str
    revision: str | None
    resized: int | None
    module: nn.Module
    features: int
    weights: str
    preprocessing: Preprocessing

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input."""
        return self.preprocessing.size

    def record(self) -> dict[str, Any]:
        """Return what tells this backbone from every other, for a file."""
        how = self.preprocessing
        return {
            "backbone": self.spec,
            "revision": self.revision,
            "weights": self.weights,
            "pool": self.pool,
            "image_size": self.resized,
            "preprocessing": {"size": list(how.size), "mean": _listed(how.mean), "std": _listed(how.std)},
        }

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"<Backbone {self.spec}: {self.features} features, pooled by {self.pool!r}, images {height} x {width}>"


class Pooled(nn.Module):
    """Tokens brought to one row of features per image: the mean of the patches, or the class token.

    Args:
        tokens: from images b 3 H W to tokens b N K, on its own or first in an output of several.
        grid: how the tokens lie over the image.
        pool: ``mean`` or ``cls``.
    """

    def __init__(self, tokens: nn.Module, grid: Grid, pool: str) -> None:
        super().__init__()
        if pool == "cls" and grid.prefix == 0:
            raise FinercamError("this backbone has no class token; pool by 'mean' or 'auto'")
        self.tokens, self.grid, self.pool = tokens, grid, pool
        self.num_prefix_tokens = grid.prefix

    def forward(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "_b K"]:
        """Return the features."""
        tokens = main_tensor(self.tokens(images))
        assert tokens is not None
        if self.pool == "cls":
            return tokens[:, 0]
        return self.grid.maps(tokens, (images.shape[2], images.shape[3])).mean((2, 3))


class Probe(nn.Module):
    """A linear head on a backbone: images b 3 H W to logits b C."""

    def __init__(self, backbone: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        prefix = getattr(backbone, "num_prefix_tokens", None)
        if isinstance(prefix, int):
            # The search for the layer asks the outermost module.
            self.num_prefix_tokens = prefix

    def forward(self, images: Float[Tensor, "b c H W"]) -> Float[Tensor, "_b C"]:
        """Return the logits."""
        logits: Tensor = self.head(read_logits(self.backbone(images)).to(self.head.weight.dtype))
        return logits


def without_head(module: nn.Module, image_size: tuple[int, int], spec: str) -> tuple[nn.Module, str]:
    """Return the classifier with its final linear layer taken off, and that layer's dotted name.

    Raises:
        FinercamError: it does not end in one.
    """
    with undisturbed(module):
        seen = trial(module, image_size, read_logits).watch()
    head = head_call(seen.calls, seen.logits)
    if head is None:
        raise FinercamError(f"{spec} does not end in one linear layer that could be taken off; choose another backbone")
    parent, _, last = head.name.rpartition(".")
    setattr(module.get_submodule(parent), last, nn.Identity())
    return module, head.name


def check_pools_by(pool: str, module: nn.Module, image_size: tuple[int, int], spec: str) -> None:
    """Raise if a backbone whose pooling cannot be changed does not pool by what was asked for."""
    if pool == "auto":
        return
    if pool == "mean":
        head = nn.Linear(_count_features(module, image_size, spec), 2)
        if find_layers(Probe(module, head), image_size, read_logits).pooled:
            return
    lacks = "has no class token" if pool == "cls" else "does not end in a mean over the cells of a layer"
    raise FinercamError(f"{spec} {lacks}; pool by 'auto'")


def weights_hash(module: nn.Module) -> str:
    """Return the SHA-256 of all weights, whatever their names: those change from one release to the next."""
    digests = []
    for tensor in module.state_dict().values():
        plain = tensor.detach().cpu().contiguous()
        digest = hashlib.sha256(f"{plain.dtype} {tuple(plain.shape)} ".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())
        digests.append(digest.hexdigest())
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def _count_features(module: nn.Module, image_size: tuple[int, int], spec: str) -> int:
    noise = torch.randn(1, 3, *image_size, generator=torch.Generator().manual_seed(0))
    with undisturbed(module):
        output = forward_pass(module, noise, "float32")
    try:
        return int(read_logits(output).shape[1])
    except FinercamError as error:
        shape = getattr(main_tensor(output), "shape", ())
        raise FinercamError(f"backbone {spec} puts out {tuple(shape)}, not features of shape (images, K)") from error


def _listed(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)
