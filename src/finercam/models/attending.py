"""Watching attention as a network computes it, whoever wrote the network, and without changing it.

Whatever a block is called, its attention goes through one of three doors: PyTorch's fused function (timm, torchvision,
transformers, OpenCLIP), ``nn.MultiheadAttention``'s, or a softmax between two products, written out. Each door has a
reader here. They stand open in this thread only, and for as long as the context lasts.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True, eq=False)
class Attention:
    """One call: ``output = softmax(query key^T / sqrt(d)) value``, head by head and before they are put together.

    A network may do more to the product than divide it (add a bias for each offset, for one).
    """

    query: Float[Tensor, "b heads _n d"]
    key: Float[Tensor, "b heads _N d"]
    value: Float[Tensor, "b heads _N _e"]
    output: Float[Tensor, "b heads _n _e"]


#: Gets a call and returns what the network shall see instead of its output; ``None`` leaves it.
Seen = Callable[[Attention], Tensor | None]


class Attending(TorchFunctionMode):
    """While it lasts, every call of attention in this thread is shown to a function: ``with Attending(seen): ...``."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen
        #: The product of queries and keys on its way to the values, where attention is written out.
        self._product: _Product | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _READERS.get(func, _anything)(self, func, tuple(args), dict(kwargs or {}))

    def attended(self, attention: Attention) -> Tensor:
        """Show a call; return what the network shall see."""
        edited = self._seen(attention)
        return attention.output if edited is None else edited


@dataclass(frozen=True, eq=False)
class _Product:
    """Of queries and keys, scaled, masked and put through the softmax since, as it may be."""

    tensor: Tensor
    query: Tensor
    key: Tensor
    is_weights: bool = False


_Reader = Callable[[Attending, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
_READERS: dict[Callable[..., Any], _Reader] = {}


def _reads(*functions: Callable[..., Any]) -> Callable[[_Reader], _Reader]:
    def register(reader: _Reader) -> _Reader:
        _READERS.update(dict.fromkeys(functions, reader))
        return reader

    return register


@_reads(functional.scaled_dot_product_attention)
def _fused(mode: Attending, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
    return mode.attended(Attention(given["query"], given["key"], given["value"], func(*args, **kwargs)))


@_reads(functional.multi_head_attention_forward)
def _of_module(mode: Attending, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute what ``nn.MultiheadAttention`` does where nothing is masked or added; else leave it to itself, unseen.

    Its function calls the fused one, but out of sight: whoever steps in at the outer door is past the inner one.
    """
    bound = inspect.signature(func).bind(*args, **kwargs)
    bound.apply_defaults()
    a = SimpleNamespace(**bound.arguments)
    special = (a.bias_k, a.bias_v, a.static_k, a.static_v, a.key_padding_mask, a.attn_mask)
    if a.query.ndim != 3 or a.add_zero_attn or a.is_causal or a.training or any(one is not None for one in special):
        return func(*args, **kwargs)
    separate = (a.q_proj_weight, a.k_proj_weight, a.v_proj_weight)
    weights = separate if a.use_separate_proj_weight else a.in_proj_weight.chunk(3)
    biases = (None,) * 3 if a.in_proj_bias is None else a.in_proj_bias.chunk(3)
    query, key, value = (
        functional.linear(given, weight, bias).unflatten(2, (a.num_heads, -1)).permute(1, 2, 0, 3)
        for given, weight, bias in zip((a.query, a.key, a.value), weights, biases, strict=True)
    )
    output = functional.scaled_dot_product_attention(query, key, value)
    output = mode.attended(Attention(query, key, value, output))
    projected = functional.linear(output.permute(2, 0, 1, 3).flatten(2), a.out_proj_weight, a.out_proj_bias)
    if not a.need_weights:
        return projected, None
    shares = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
    return projected, shares.mean(1) if a.average_attn_weights else shares


@_reads(torch.matmul, Tensor.matmul, Tensor.__matmul__)
def _multiplied(mode: Attending, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = func(*args, **kwargs)
    if len(args) == 2 and result.ndim == 4:
        left, right = args
        product = mode._product
        if product is not None and product.is_weights and product.tensor is left:
            mode._product = None
            return mode.attended(Attention(product.query, product.key, right, result))
        mode._product = _Product(result, left, right.mT)
    return result


@_reads(torch.softmax, Tensor.softmax, functional.softmax)
def _softmaxed(mode: Attending, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = func(*args, **kwargs)
    product = mode._product
    if product is not None and args and args[0] is product.tensor:
        axis = args[1] if len(args) > 1 else kwargs["dim"]
        mode._product = replace(product, tensor=result, is_weights=True) if axis in (-1, result.ndim - 1) else None
    return result


def _anything(mode: Attending, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Follow the product through scaling, masking, dropout and changes of precision: whatever leaves its layout."""
    result = func(*args, **kwargs)
    product = mode._product
    if product is None or not isinstance(result, Tensor) or not any(arg is product.tensor for arg in args):
        return result
    # The strides tell a transposed product, which is as square as it was.
    if (result.shape, result.stride()) == (product.tensor.shape, product.tensor.stride()):
        mode._product = replace(product, tensor=result)
    return result
