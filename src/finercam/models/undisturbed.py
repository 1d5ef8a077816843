"""Having somebody else's model to oneself, and giving it back as it was."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from itertools import chain
from typing import Any

import torch
from torch import nn

_locks: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_locks_lock = threading.Lock()
_eager_users, _stance = 0, ExitStack()


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Have the module to oneself, in evaluation mode, and give it back as it was.

    A second thread that asks for the same module waits. Restored on the way out, also after an exception: each
    submodule's training flag, the random number generators of the CPU and of the module's device. Gradients are
    off inside, and so are a caller's autocast and inference mode, so that what is captured is exact and can be
    differentiated.
    """
    with _locks_lock:
        lock = _locks.setdefault(module, threading.RLock())
    device = device_of(module)
    devices = [device] if device.type == "cuda" else []
    with lock, torch.inference_mode(False), torch.no_grad(), exact(device), _eager(), torch.random.fork_rng(devices):
        # The flag alone: train() may be overridden and do more.
        training = [submodule for submodule in module.modules() if submodule.training]
        for submodule in training:
            submodule.training = False
        try:
            yield
        finally:
            for submodule in training:
                submodule.training = True


@contextmanager
def _eager() -> Iterator[None]:
    """Have compiled parts run as they were written: compiled, they pass over hooks, or are compiled anew for each."""
    global _eager_users
    if "torch._dynamo" not in sys.modules or not hasattr(torch.compiler, "set_stance"):
        yield
        return
    # The stance is the whole process's: the first one in takes it, the last one out gives it back.
    with _locks_lock:
        _eager_users += 1
        if _eager_users == 1:
            _stance.enter_context(torch.compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        with _locks_lock:
            _eager_users -= 1
            if not _eager_users:
                _stance.close()


def exact(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which a caller's autocast, if there is one, does not round products."""
    kind = device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def device_of(module: nn.Module) -> torch.device:
    """Return the device of the module's first parameter or buffer (the CPU for a module with neither)."""
    tensor = next(chain(module.parameters(), module.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device
