"""GEM, the Grounding Everything Module: what each patch says by itself, without training (CVPR 2024).

Beside the network's last blocks runs a second path, in which tokens attend to those that are like themselves: queries
to queries, keys to keys, values to values. The network's own last norm, projection and head then score each patch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from finercam.errors import FinercamError
from finercam.methods.evidence import Evidence
from finercam.methods.method import explainer
from finercam.models.attending import Attention
from finercam.models.blocks import Blocks, find_blocks, run_through
from finercam.models.look import Look

#: More rounds than this change nothing any more: all tokens have become their cluster's centre.
_MOST_ITERATIONS = 100


@dataclass(frozen=True, eq=False)
class PatchEvidence(Evidence):
    """What a linear head reads, patch by patch. Every class may be asked about.

    Attributes:
        features: what the head reads of each patch.
        head: its rows.
        centred: whether maps are given less their mean over the patches.
    """

    features: Float[Tensor, "b K h w"]
    head: Float[Tensor, "C K"]
    centred: bool

    def maps(self, rows: Float[Tensor, "b r C"]) -> Float[Tensor, "b r h w"]:
        """Return ``row . (head F)`` at each patch, less its mean over the patches where that is wanted."""
        maps = torch.einsum("brk,bkhw->brhw", rows.to(self.head) @ self.head, self.features)
        return maps - maps.mean((2, 3), keepdim=True) if self.centred else maps

    def of(self, images: slice | Int[Tensor, " n"]) -> PatchEvidence:
        """Return the evidence of some images of the batch; the head is the same for all."""
        return replace(self, logits=self.logits[images], features=self.features[images])


@explainer("gem", title="GEM", source="arXiv 2312.00878")
def gem(
    look: Look,
    rows: Float[Tensor, "b m C"],
    *,
    blocks: int | None = None,
    iterations: int = 1,
    centred: bool = True,
) -> PatchEvidence:
    """Return the patches' features of the self-self path, as the classifier's head reads them, whatever the rows.

    In each of the last blocks, and head by head, tokens p (the queries, keys and values in turn) are made unit vectors
    and drawn together, ``p <- softmax(p p^T / t) p``, so many times; then ``O_pp = softmax(p p^T / t) V`` with p made
    unit vectors again. The mean of the three goes through the block's own projection and is added to the path; there is
    no MLP in it. The temperature is ``t = n sqrt(d) / sum_i |x_i|`` for n tokens x that attention reads, d numbers per
    head. What the path ends in is read token by token by the network's last norm, pooling, projection and head.

    Meant for CLIP and its kin, asked in words (``finercam.models.text``); it needs a head that is one linear layer, and
    in a network whose head reads a class token supposes that patches speak the same language. Linear in the row: the
    features answer every question. Two runs of the model. The head's bias, the same for all patches, is left out.

    Args:
        look: at the model.
        rows: not needed; the features answer all.
        blocks: the last how many run beside the path; half of them if left out (the authors take 6 of 12).
        iterations: how often tokens are drawn together.
        centred: give maps less their mean over the patches. The authors scale each map to 0..1 instead, which a
            contrast of two classes does not survive.

    Raises:
        FinercamError: the model is not a plain vision transformer whose blocks begin with a norm, has fewer blocks, or
            its logits are not one linear layer's; or a parameter is out of range.
    """
    if not 0 <= iterations <= _MOST_ITERATIONS:
        raise FinercamError(f"gem: iterations is {iterations}; give a whole number from 0 to {_MOST_ITERATIONS}")
    classifier = look.classifier
    if classifier.head is None:
        raise FinercamError(
            f"gem scores patches by the rows of a final linear layer, and the logits of {classifier.name} are not the "
            "output of one; use legrad, or a classifier with such a head (finercam.models.text makes one)"
        )
    found = find_blocks(classifier)
    if not found.by_patch:
        raise FinercamError(f"what follows the blocks of {classifier.name} does not read single patches; use legrad")
    wanted = found.last(blocks, (len(found) + 1) // 2, "gem")
    trunk: dict[int, Tensor] = {}
    run_through(look, found, left=lambda place, tokens: trunk.update({place: tokens.clone()}))
    features = _Path(look, found, wanted, trunk, iterations).features(classifier.head)
    h, w = found.grid.maps(found.in_order(trunk[wanted[-1]]), look.image_size).shape[2:]
    per_patch = features.to(look.logits).unflatten(0, (len(look.images), h, w)).permute(0, 3, 1, 2)
    weight = classifier.head.weight.detach().clone().to(look.logits)
    return PatchEvidence(look.logits, look.image_size, per_patch, weight, centred)


@dataclass(eq=False)
class _Path:
    """The second run, in which blocks go on from the first run's tokens while the path gathers what attention adds."""

    look: Look
    found: Blocks
    wanted: range
    trunk: dict[int, Tensor]
    iterations: int
    #: What the path holds; what the block under way was given, and how long its normed tokens are; what the head read.
    path: Tensor | None = None
    start: Tensor | None = None
    length: Tensor | None = None
    read: Tensor | None = None

    def features(self, head: nn.Module) -> Float[Tensor, "patches K"]:
        """Run, and return what the head reads of each patch of each image."""
        module = self.look.classifier.module
        norms: dict[nn.Module, Any] = {}
        ahead: dict[nn.Module, Any] = {head: self._hand_over}
        for place in self.wanted:
            block = self.found.each[place]
            if block.norm is None or block.next_norm is None:
                raise FinercamError(
                    f"gem needs blocks with a norm before attention and one behind it, and {block.name!r} of "
                    f"{self.look.classifier.name} has none; use legrad"
                )
            norm = module.get_submodule(block.norm)
            norms[norm], ahead[norm] = self._measure, self._begin
            ahead[module.get_submodule(block.next_norm)] = self._add
        run_through(self.look, self.found, attended=self._self_self, left=self._left, hooks=norms, before=ahead)
        assert self.read is not None
        return self.read

    def _begin(self, norm: nn.Module, args: Any) -> None:
        # A copy, for the block may add to it in place.
        self.start = args[0].clone()
        if self.path is None:
            self.path = self.start

    def _measure(self, norm: nn.Module, args: Any, output: Tensor) -> None:
        self.length = self.found.in_order(output).norm(dim=-1).mean(1)

    def _self_self(self, place: int, attention: Attention) -> Tensor | None:
        if place not in self.wanted:
            return None
        assert self.length is not None
        inverse = self.length[:, None, None, None] / attention.value.shape[-1] ** 0.5
        return self_self(attention, inverse.to(attention.value), self.iterations)

    def _add(self, norm: nn.Module, args: Any) -> None:
        assert self.path is not None
        self.path = self.path + (args[0] - self.start)

    def _left(self, place: int, tokens: Tensor) -> Tensor | None:
        if place not in self.wanted:
            return None
        if place != self.wanted[-1]:
            return self.trunk[place]
        assert self.path is not None
        patches = self.found.grid.maps(self.path, self.look.image_size).flatten(2).mT
        # Each patch is read as an image of one patch, its class token and registers the same.
        return patches.flatten(0, 1)[:, None].repeat(1, self.found.grid.prefix + 1, 1)

    def _hand_over(self, head: nn.Module, args: Any) -> None:
        self.read = args[0]


def self_self(attention: Attention, inverse: Float[Tensor, "b 1 1 1"], iterations: int) -> Float[Tensor, "b heads n d"]:
    """Return the mean of q-q, k-k and v-v attention; see ``gem``.

    Args:
        attention: the call it takes the place of.
        inverse: of the temperature.
        iterations: how often tokens are drawn together first.
    """
    outputs = []
    for tokens in (attention.query, attention.key, attention.value):
        unit = normalize(tokens, dim=-1)
        for _ in range(iterations):
            unit = normalize((unit @ unit.mT * inverse).softmax(-1) @ unit, dim=-1)
        outputs.append((unit @ unit.mT * inverse).softmax(-1) @ attention.value)
    return torch.stack(outputs).mean(0)
