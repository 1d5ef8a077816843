"""Watching a module run on noise: what its parts put out, and what the logits depend on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from finercam.errors import FinercamError
from finercam.models.feeding import noise
from finercam.models.outputs import main_tensor
from finercam.models.passes import forward_pass, hooked, tapped_run
from finercam.models.products import differentiating
from finercam.models.undisturbed import device_of

#: How many of the last module calls are kept, and how many of the first tensors of each shape of tokens.
_WINDOW, _FIRST = 160, 8


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
class Watched:
    """What was seen of one run.

    Attributes:
        calls: the last calls, in the order they ended. What ran before the first part with weights is left out: it
            is the input in other clothes.
        named: the last call of each part that was asked for.
        cells: heights and widths of all maps b K h w that were put out.
        tokens: by shape, the first tensors 1 N K or N 1 K that parts were given or put out.
        logits: as read from the output.
    """

    calls: list[Call]
    named: dict[str, Call]
    cells: set[tuple[int, int]]
    tokens: dict[tuple[int, ...], list[Tensor]]
    logits: Tensor


@dataclass(frozen=True, eq=False)
class Dependence:
    """A part's output and the gradient of the top logit with respect to it; ``None`` where there is none."""

    output: Tensor
    gradient: Tensor | None


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

    def watch(self, names: Sequence[str] = ()) -> Watched:
        """Run the module and return what its parts put out.

        Raises:
            FinercamError: the module does not run on the noise.
        """
        calls: deque[Call] = deque(maxlen=_WINDOW)
        named: dict[str, Call] = {}
        cells: set[tuple[int, int]] = set()
        tokens: dict[tuple[int, ...], list[Tensor]] = {}
        learned = False

        def record(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(inner: nn.Module, args: Any, output: Any) -> None:
                nonlocal learned
                tensor = main_tensor(output)
                for given in (args[0] if args else None, tensor):
                    if isinstance(given, Tensor) and given.ndim == 3 and 1 in given.shape[:2]:
                        first = tokens.setdefault(tuple(given.shape), [])
                        if len(first) < _FIRST:
                            # A copy: what comes later may work in place.
                            first.append(given.detach().clone())
                learned = learned or next(inner.parameters(), None) is not None
                if tensor is not None:
                    call = Call(name, inner, args[0] if args else None, tensor, _version(tensor))
                    if name in names:
                        named[name] = call
                    if learned:
                        calls.append(call)
                        if tensor.ndim == 4 and len(tensor) == 1:
                            cells.add((tensor.shape[2], tensor.shape[3]))

            return hook

        try:
            with hooked({inner: record(name) for name, inner in self.module.named_modules() if name}):
                output = forward_pass(self.module, self.noise, "float32")
        except FinercamError:
            raise
        except Exception as error:
            first = next(iter(str(error).splitlines()), "")
            raise FinercamError(
                f"the model does not run on a batch of one image of {self.noise.shape[1]} channels and "
                f"{self.size[0]} x {self.size[1]} pixels ({type(error).__name__}: {first}); give image_size=(H, W) or "
                "channels= if it takes other images, feed= (a function of the batch) if it is called with something "
                "else"
            ) from error
        return Watched(list(calls), named, cells, tokens, self.read(output))

    def prefixes(self, seen: Watched) -> dict[tuple[int, ...], int | None]:
        """Return how many tokens before the patches each shape of tokens is seen to have, where it is seen.

        A class token, registers and prompts are the same for every image until they meet the patches, so another image
        is run and compared. ``None`` stands for tokens of which others than the first are the same, too: those are no
        patches behind a prefix.
        """
        if not seen.tokens:
            return {}
        other = replace(self, noise=-self.noise.flip(2)).watch().tokens
        found: dict[tuple[int, ...], int | None] = {}
        for shape, tensors in seen.tokens.items():
            for one, two in zip(tensors, other.get(shape, ()), strict=False):
                same = (one == two).all(2).flatten()
                lead = int((~same).int().argmax())
                if not bool(same.any()) or bool(same.all()):
                    continue
                found[shape] = None if bool(same[lead:].any()) else max(lead, found.get(shape) or 0)
                if found[shape] is None:
                    break
        return found

    def dependence(self, names: Sequence[str]) -> list[Dependence]:
        """Return how the logits depend on what each of these parts puts out."""
        output, taps = tapped_run(self.module, self.noise, names, differentiate=True)
        with torch.enable_grad():
            logits = self.read(output)
        outputs = [taps[name] for name in names]
        gradients: Sequence[Tensor | None] = [None] * len(names)
        if logits.requires_grad:
            # One class, for in a mixture of many a maximum over the cells reads many cells; the top one, for the
            # logits of others may be cut off at zero.
            row = torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits)
            with differentiating():
                gradients = torch.autograd.grad(logits, outputs, row, allow_unused=True)
        return [Dependence(out.detach(), gradient) for out, gradient in zip(outputs, gradients, strict=True)]

    def last_operation(self, passing: Sequence[str]) -> str:
        """Return autograd's name of the operation that made the logits; empty where it recorded none.

        Args:
            passing: how names of operations begin that are passed over.
        """
        with torch.enable_grad():
            logits = self.read(forward_pass(self.module, self.noise.clone().requires_grad_(), "float32"))
        node = logits.grad_fn
        while node is not None and node.name().startswith(tuple(passing)) and node.next_functions:
            node = node.next_functions[0][0]
        return "" if node is None else str(node.name())

    def gets_round(self, name: str, output: Tensor, logits: Tensor) -> bool:
        """Whether anything of the image reaches the logits but by way of this part.

        Another image is run, with the part's output for the noise put in its place: where all passes through, the
        logits are those of the noise.
        """

        def put_back(name: str, given: Tensor) -> Tensor:
            # A part that runs at several sizes is put back at its last.
            return output.clone() if given.shape == output.shape else given

        other, _ = tapped_run(self.module, -self.noise.flip(2), [name], edit=put_back)
        rounding = max(1e-4, 4 * torch.finfo(logits.dtype).eps) * float(logits.abs().amax())
        return bool(((self.read(other) - logits).abs() > rounding).any())


def trial(module: nn.Module, image_size: tuple[int, int], read: Callable[[Any], Tensor], channels: int = 3) -> Trial:
    """Return a trial on noise of that height and width, the same every time."""
    return Trial(module, noise(channels, image_size).to(device_of(module)), read)


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
