"""Importing torchvision beside a torch build that its compiled operators do not fit.

torchvision declares shapes for its compiled operators while it is imported. Where the compiled library could
not be loaded (a CUDA torchvision beside a CPU torch, a common mix-up of package indexes) that declaration
raises ``operator torchvision::nms does not exist`` and takes timm and open_clip down with it, though neither
needs those operators. Here the declarations are skipped, and only in that case: transforms and models then
work; calling one of the compiled operators (``nms``, ``roi_align``) still fails, as it should.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch


def import_torchvision() -> ModuleType:
    """Return ``torchvision``, imported in spite of missing compiled operators.

    Call it before importing anything that imports torchvision (timm, open_clip, transformers' image side).

    Raises:
        ImportError, RuntimeError: torchvision is missing, or broken for another reason than its operators.
    """
    if "torchvision" in sys.modules:
        return sys.modules["torchvision"]
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error):
            raise
    for name in [name for name in sys.modules if name == "torchvision" or name.startswith("torchvision.")]:
        del sys.modules[name]
    declare = torch.library.register_fake
    torch.library.register_fake = _except_for_torchvision(declare)
    try:
        return importlib.import_module("torchvision")
    finally:
        torch.library.register_fake = declare


def _except_for_torchvision(declare: Callable[..., Any]) -> Callable[..., Any]:
    def register_fake(op: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(op, str) and op.startswith("torchvision::"):
            return lambda function: function
        return declare(op, *args, **kwargs)

    return register_fake
