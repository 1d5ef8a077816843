"""Watching a module run on noise: what its parts put out, and what the logits depend on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from finercam.errors import FinercamError
from finercam.running import device_of, hooked, main_tensor, run, tapped_run

#: How many of the last module calls are kept.
_WINDOW = 160


@dataclass(frozen=True, eq=False)
class Call:
    """A part of the module that ran: its dotted name, what it was given first and what it put out.

    ``version`` counts what was done in place to the output until then: a normalisation and the activation that
    works in place on its output put out one tensor in two states.
    """

    name: str
    module: nn.Module
    given: Any
    output: Tensor
    version: int

    @property
    def changed_since(self) -> bool:
        """Whether later parts worked in place on the output."""
        return _version(self.output) != self.version


@dataclass(frozen=True, eq=False)
class Trial:
    """A module, one image of noise to try it on, and how to read its logits. Used inside ``undisturbed`` only."""

    module: nn.Module
    noise: Tensor
    read: Callable[[Any], Tensor]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the noise."""
        return self.noise.shape[2], self.noise.shape[3]

    def watch(self, names: Sequence[str] = ()) -> tuple[list[Call], dict[str, Call], Tensor]:
        """Return the last calls in the order they ended, the last call of each named part, and the logits.

        What ran before the first part with weights is left out: the input in other clothes.

        Raises:
            FinercamError: the module does not run on the noise.
        """
        recent: deque[Call] = deque(maxlen=_WINDOW)
        named: dict[str, Call] = {}
        learned = False

        def record(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(inner: nn.Module, args: Any, output: Any) -> None:
                nonlocal learned
                tensor = main_tensor(output)
                learned = learned or next(inner.parameters(), None) is not None
                if tensor is not None:
                    call = Call(name, inner, args[0] if args else None, tensor, _version(tensor))
                    if name in names:
                        named[name] = call
                    if learned:
                        recent.append(call)

            return hook

        try:
            with hooked({inner: record(name) for name, inner in self.module.named_modules() if name}):
                output = run(self.module, self.noise, "float32")
        except FinercamError:
            raise
        except Exception as error:
            first = next(iter(str(error).splitlines()), "")
            raise FinercamError(
                f"the model does not run on an image of {self.size[0]} x {self.size[1]} pixels "
                f"({type(error).__name__}: {first}); give image_size=(H, W)"
            ) from error
        return list(recent), named, self.read(output)

    def gradients(self, names: Sequence[str]) -> list[Tensor | None]:
        """Return the gradient of a random mixture of the logits with respect to each part's output."""
        output, taps = tapped_run(self.module, self.noise, names, differentiate=True)
        return self._gradients(output, [taps[name] for name in names])

    def gets_round(self, name: str, earlier: str) -> bool:
        """Whether anything reaches the logits from an earlier part but by way of this one."""

        def cut(which: str, output: Tensor) -> Tensor:
            return output.detach().clone() if which == name else output.clone()

        output, taps = tapped_run(self.module, self.noise, [earlier, name], differentiate=True, edit=cut)
        (gradient,) = self._gradients(output, [taps[earlier]])
        return gradient is not None and bool(gradient.any())

    def _gradients(self, output: Any, of: list[Tensor]) -> list[Tensor | None]:
        with torch.enable_grad():
            logits = self.read(output)
        if not logits.requires_grad:
            return [None] * len(of)
        # A mixture: the plain sum is constant where the outputs are probabilities.
        mixture = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1)).to(logits)
        return list(torch.autograd.grad(logits, of, mixture, allow_unused=True))


def trial(module: nn.Module, image_size: tuple[int, int], read: Callable[[Any], Tensor]) -> Trial:
    """Return a trial on noise of that height and width, the same every time."""
    noise = torch.randn(1, 3, *image_size, generator=torch.Generator().manual_seed(0))
    return Trial(module, noise.to(device_of(module)), read)


def outermost_first(calls: list[Call]) -> list[Call]:
    """Return the calls from the last to the first, the outermost first among those that end with one tensor.

    A stage, its last block and that block's activation return one and the same tensor. The stage speaks for them all,
    unless the logits come from what it made of that tensor and returned beside it (a backbone that also returns its
    map pooled): then an inner one must be looked at.
    """
    runs = groupby(reversed(calls), key=lambda call: (id(call.output), call.version))
    return [call for _, same in runs for call in sorted(same, key=lambda call: call.name.count("."))]


def _version(tensor: Tensor) -> int:
    # Tensors made under inference mode keep no count.
    return 0 if tensor.is_inference() else tensor._version
