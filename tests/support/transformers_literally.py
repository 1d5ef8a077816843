"""Vision transformers of several libraries taken apart, and run token by token as their papers write them down.

Nothing is shared with the package: each is a list of blocks, each block four functions and a number of heads, and what
follows the last block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from support.models import TinyViT

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Block:
    """``x + join(softmax(q k^T / sqrt(d)) v)``, then ``x + rest(x)``; tokens are n K.

    Attributes:
        split: normed tokens n K to q, k, v, n K each.
        join: heads put together, n K, to what is added to the tokens.
        rest: the second half, its norm included.
    """

    heads: int
    norm: Function
    split: Callable[[Tensor], tuple[Tensor, ...]]
    join: Function
    rest: Function

    def attend(self, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return each head's attention map n n and its values n d."""
        q, k, v = (self.by_head(one) for one in self.split(self.norm(x)))
        return [(a @ b.T / a.shape[1] ** 0.5).softmax(1) for a, b in zip(q, k, strict=True)], v

    def by_head(self, tokens: Tensor) -> list[Tensor]:
        return list(tokens.split(tokens.shape[1] // self.heads, 1))

    def finish(self, x: Tensor, outputs: list[Tensor]) -> Tensor:
        x = x + self.join(torch.cat(outputs, 1))
        return x + self.rest(x)

    def run(self, x: Tensor) -> Tensor:
        maps, values = self.attend(x)
        return self.finish(x, [a @ v for a, v in zip(maps, values, strict=True)])


@dataclass(frozen=True)
class Parts:
    """A transformer taken apart.

    Attributes:
        embed: an image 3 H W to tokens n K, ready for the first block.
        read: tokens n K to what the head reads.
        head: that to logits.
        prefix: tokens before the patches.
        cells: of the grid.
    """

    embed: Function
    blocks: list[Block]
    read: Function
    head: nn.Linear
    prefix: int
    cells: tuple[int, int]

    def trunk(self, image: Tensor) -> list[Tensor]:
        """Return the first block's input and every block's output."""
        tokens = [self.embed(image)]
        for block in self.blocks:
            tokens.append(block.run(tokens[-1]))
        return tokens

    def logits(self, image: Tensor) -> Tensor:
        return self.head(self.read(self.trunk(image)[-1]))

    def grid(self, values: list[Tensor]) -> Tensor:
        """Return one number per token, prefix included, as a map."""
        return torch.stack(values)[self.prefix :].unflatten(0, self.cells)


def legrad(parts: Parts, image: Tensor, row: Tensor, count: int, mean: bool) -> Tensor:
    """arXiv 2404.03214: each block's own score, differentiated with respect to its own attention maps."""
    trunk, layers = parts.trunk(image), []
    for place in range(len(parts.blocks) - count, len(parts.blocks)):
        block, x = parts.blocks[place], trunk[place].detach()
        maps, values = block.attend(x)
        maps = [a.detach().requires_grad_() for a in maps]
        tokens = block.finish(x, [a @ v for a, v in zip(maps, values, strict=True)])
        read = parts.read(tokens.mean(0, keepdim=True).expand_as(tokens) if mean else tokens)
        gradients = torch.autograd.grad((parts.head(read) * row).sum(), maps)
        n = len(tokens)
        relevance = [
            sum(float(g[i, j].clamp(min=0)) for g in gradients for i in range(n)) / (len(gradients) * n)
            for j in range(n)
        ]
        layers.append(parts.grid([torch.tensor(one, dtype=torch.float64) for one in relevance]))
    return sum(layers) / len(layers)


def gem(parts: Parts, image: Tensor, row: Tensor, count: int, iterations: int) -> Tensor:
    """arXiv 2312.00878 as its authors' code has it: one map, not centred."""
    with torch.no_grad():
        trunk = parts.trunk(image)
        first = len(parts.blocks) - count
        path = trunk[first]
        for place in range(first, len(parts.blocks)):
            block, x = parts.blocks[place], trunk[place]
            normed = block.norm(x)
            three = [block.by_head(one) for one in block.split(normed)]
            values = three[2]
            temperature = len(x) * values[0].shape[1] ** 0.5 / sum(float(token.norm()) for token in normed)
            outputs = []
            for head, value in enumerate(values):
                each = []
                for tokens in (own[head] for own in three):
                    p = tokens / tokens.norm(dim=1, keepdim=True)
                    for _ in range(iterations):
                        p = (p @ p.T / temperature).softmax(1) @ p
                        p = p / p.norm(dim=1, keepdim=True)
                    each.append((p @ p.T / temperature).softmax(1) @ value)
                outputs.append(sum(each) / 3)
            path = path + block.join(torch.cat(outputs, 1))
        # The head without its bias; every token stands for the whole image.
        rows = row @ parts.head.weight
        return parts.grid([(parts.read(token.expand(parts.prefix + 1, -1)) * rows).sum() for token in path])


def tiny(net: TinyViT) -> Parts:
    def embed(image: Tensor) -> Tensor:
        patches = net.patch(image[None]).flatten(2).mT + net.position
        return torch.cat([net.tokens, patches], 1)[0]

    blocks = [
        Block(
            block.heads, block.norm1, lambda x, b=block: b.qkv(x).chunk(3, 1), block.proj,
            lambda x, b=block: b.mlp(b.norm2(x)),
        )
        for block in (net.first, net.last)
    ]  # fmt: skip
    return Parts(embed, blocks, lambda tokens: net.norm(tokens)[0], net.head, net.prefix, (3, 4))


def of_timm(vit: Any) -> Parts:
    """A ViT with a class token or the mean of its patches, layer scale or not."""

    def embed(image: Tensor) -> Tensor:
        return vit.norm_pre(vit._pos_embed(vit.patch_embed(image[None])))[0]

    blocks = [
        Block(
            block.attn.num_heads, block.norm1, lambda x, b=block: b.attn.qkv(x).chunk(3, 1),
            lambda x, b=block: b.ls1(b.attn.proj(x)), lambda x, b=block: b.ls2(b.mlp(b.norm2(x))),
        )
        for block in vit.blocks
    ]  # fmt: skip
    prefix = vit.num_prefix_tokens

    def read(tokens: Tensor) -> Tensor:
        tokens = vit.norm(tokens)
        return vit.fc_norm(tokens[0] if vit.global_pool == "token" else tokens[prefix:].mean(0))

    return Parts(embed, blocks, read, vit.head, prefix, tuple(vit.patch_embed.grid_size))


def _of_multihead(attention: nn.MultiheadAttention) -> Callable[[Tensor], tuple[Tensor, ...]]:
    return lambda x: nn.functional.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, 1)


def of_torchvision(vit: Any) -> Parts:
    def embed(image: Tensor) -> Tensor:
        tokens = torch.cat([vit.class_token, vit._process_input(image[None])], 1)
        return (tokens + vit.encoder.pos_embedding)[0]

    blocks = [
        Block(
            block.num_heads, block.ln_1, _of_multihead(block.self_attention), block.self_attention.out_proj,
            lambda x, b=block: b.mlp(b.ln_2(x)),
        )
        for block in vit.encoder.layers
    ]  # fmt: skip
    side = vit.image_size // vit.patch_size
    return Parts(embed, blocks, lambda tokens: vit.encoder.ln(tokens)[0], vit.heads.head, 1, (side, side))


def of_open_clip(zero_shot: Any) -> Parts:
    """The image tower and the head of prompts behind it."""
    visual = zero_shot.visual

    def read(tokens: Tensor) -> Tensor:
        embedding = visual.ln_post(tokens)[0] @ visual.proj
        return embedding / embedding.norm()

    blocks = [
        Block(
            block.attn.num_heads, block.ln_1, _of_multihead(block.attn), block.attn.out_proj,
            lambda x, b=block: b.mlp(b.ln_2(x)),
        )
        for block in visual.transformer.resblocks
    ]  # fmt: skip
    return Parts(lambda image: visual._embeds(image[None])[0], blocks, read, zero_shot.head, 1, visual.grid_size)


def of_transformers(model: Any) -> Parts:
    """A ViT classifier of transformers."""
    vit = model.vit

    def split(x: Tensor, a: Any) -> tuple[Tensor, ...]:
        return a.q_proj(x), a.k_proj(x), a.v_proj(x)

    blocks = [
        Block(
            layer.attention.num_attention_heads, layer.layernorm_before, lambda x, a=layer.attention: split(x, a),
            layer.attention.o_proj, lambda x, b=layer: b.mlp(b.layernorm_after(x)),
        )
        for layer in vit.layers
    ]  # fmt: skip
    side = model.config.image_size // model.config.patch_size
    return Parts(
        lambda image: vit.embeddings(image[None])[0], blocks, lambda tokens: vit.layernorm(tokens)[0],
        model.classifier, 1, (side, side),
    )  # fmt: skip
