"""What models return: tensors, tuples, mappings and dataclasses, and the logits in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from finercam.errors import FinercamError


def main_tensor(output: Any) -> Tensor | None:
    """Return the tensor a layer's output is about: itself, or the first one in a tuple, mapping or dataclass."""
    if isinstance(output, Tensor):
        return output
    for value in _values(output):
        if isinstance(value, Tensor):
            return value
    return None


def with_main_tensor(output: Any, tensor: Tensor) -> Any:
    """Return the output with its main tensor exchanged."""
    if isinstance(output, Tensor):
        return tensor
    old = main_tensor(output)
    if isinstance(output, Mapping):
        # ModelOutput of transformers is a mapping and a dataclass; its type takes the same keywords.
        changed = {key: tensor if value is old else value for key, value in output.items()}
        return changed if type(output) is dict else type(output)(**changed)
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        field = next(f.name for f in dataclasses.fields(output) if getattr(output, f.name) is old)
        return dataclasses.replace(output, **{field: tensor})
    values = [tensor if value is old else value for value in output]
    return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)


def read_logits(output: Any) -> Tensor:
    """Return the logits of a model's output: a tensor, or where tuples, mappings and dataclasses keep them.

    Raises:
        FinercamError: there are none, or they are not of shape (b, C).
    """
    logits = output
    if isinstance(output, Mapping) and "logits" in output:
        logits = output["logits"]
    elif hasattr(output, "logits"):
        logits = output.logits
    elif not isinstance(output, Tensor):
        logits = next((v for v in _values(output) if isinstance(v, Tensor) and v.ndim == 2), None)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.is_floating_point():
        what = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(output).__name__
        raise FinercamError(
            f"the model returned {what}, not logits of shape (images, classes); give read=, a function that takes "
            "the model's output and returns them"
        )
    return logits


def _values(output: Any) -> Sequence[Any]:
    if isinstance(output, Mapping):
        return list(output.values())
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return [getattr(output, f.name) for f in dataclasses.fields(output)]
    return list(output) if isinstance(output, (tuple, list)) else []
