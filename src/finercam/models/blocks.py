"""The blocks of a vision transformer, found by watching it run, and runs that read or change what passes through them.

A block is the outermost part around one call of self-attention over the patches (and the class token and registers)
that puts tokens out. Nothing is known here of any library, and nothing of the model is changed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from finercam.errors import FinercamError
from finercam.models.attending import Attending, Attention
from finercam.models.grid import Grid, grid_as
from finercam.models.outputs import main_tensor, with_main_tensor
from finercam.models.passes import forward_pass, hooked
from finercam.models.trial import trial
from finercam.models.undisturbed import undisturbed

if TYPE_CHECKING:
    from finercam.models.classifier import Classifier
    from finercam.models.look import Look

Hook = Callable[..., Any]


@dataclass(frozen=True)
class Block:
    """One block; all names are dotted.

    Attributes:
        name: of the block.
        norm: of the norm that reads the block's input before attention does; ``None`` where none does.
        next_norm: of the first norm behind attention, which reads the block's input plus what attention adds to it;
            ``None`` where there is none.
    """

    name: str
    norm: str | None
    next_norm: str | None


@dataclass(frozen=True)
class Blocks:
    """All blocks, in the order in which they run.

    Attributes:
        each: the blocks.
        grid: how the tokens that they put out lie over the image.
        by_patch: whether what follows reads a patch by itself too (with the class token and registers before it).
    """

    each: tuple[Block, ...]
    grid: Grid
    by_patch: bool = False

    def __len__(self) -> int:
        return len(self.each)

    def last(self, count: int | None, default: int, method: str) -> range:
        """Return the places of the last so many blocks.

        Raises:
            FinercamError: there are not as many.
        """
        wanted = default if count is None else count
        if not 1 <= wanted <= len(self):
            raise FinercamError(f"{method}: blocks is {wanted}; the network has {len(self)}, give 1 or more")
        return range(len(self) - wanted, len(self))

    def in_order(self, tokens: Float[Tensor, "_x _y K"]) -> Float[Tensor, "_b _N K"]:
        """Return a block's tokens as b N K, or such tokens as the block has them."""
        return tokens.transpose(0, 1) if self.grid.layout == "tokens-first" else tokens


def find_blocks(classifier: Classifier) -> Blocks:
    """Return the blocks of a classifier's network, as two runs on noise show them.

    Raises:
        FinercamError: it is no plain vision transformer: there is no self-attention over a grid of patches, its tokens
            change their number or length on the way, or the logits depend on more than what the last block puts out.
    """
    module, seen_as = classifier.module, (classifier.image_size, classifier.grids)
    known = _known.setdefault(module, {})
    if seen_as not in known:
        with undisturbed(module):
            known[seen_as] = _find(classifier)
    return known[seen_as]


def run_through(
    look: Look,
    blocks: Blocks,
    *,
    attended: Callable[[int, Attention], Tensor | None] = lambda place, attention: None,
    left: Callable[[int, Tensor], Tensor | None] = lambda place, tokens: None,
    hooks: Mapping[nn.Module, Hook] | None = None,
    before: Mapping[nn.Module, Hook] | None = None,
) -> Any:
    """Run a look's model on its images once more; return what it returns.

    Args:
        look: at the model.
        blocks: of the model.
        attended: gets the place of a block and its call of attention; returns what the block shall see instead of
            attention's output, or ``None``. It may turn gradients on for what comes.
        left: gets the place of a block and its tokens b N K; returns what the rest of the network shall see instead, or
            ``None``. It may turn gradients on or off likewise.
        hooks, before: further hooks, behind and before modules.
    """
    module = look.classifier.module
    under_way: list[int] = []

    def enter(place: int) -> Hook:
        return lambda inner, args: under_way.append(place)

    def leave(place: int) -> Hook:
        def hook(inner: nn.Module, args: Any, output: Any) -> Any:
            under_way.clear()
            tokens = main_tensor(output)
            assert tokens is not None
            changed = left(place, blocks.in_order(tokens))
            return None if changed is None else with_main_tensor(output, blocks.in_order(changed))

        return hook

    def seen(attention: Attention) -> Tensor | None:
        return attended(under_way[0], attention) if under_way and _is_own(attention) else None

    parts = [module.get_submodule(block.name) for block in blocks.each]
    around = {part: leave(place) for place, part in enumerate(parts)} | dict(hooks or {})
    ahead = {part: enter(place) for place, part in enumerate(parts)} | dict(before or {})
    try:
        with hooked(around, ahead), Attending(seen):
            output = forward_pass(module, look.images, look.run.precision)
    finally:
        torch.set_grad_enabled(False)
    look.passes += 1
    return output


#: By module, and by how a classifier sees it: its input size and grids.
_known: weakref.WeakKeyDictionary[nn.Module, dict[tuple[Any, ...], Blocks]] = weakref.WeakKeyDictionary()


def _is_own(attention: Attention) -> bool:
    """Whether tokens attend to one another, each head to all of them."""
    shape = attention.query.shape
    return len(shape) == 4 and shape == attention.key.shape == attention.value.shape == attention.output.shape


@dataclass(eq=False)
class _Call:
    """A part that ran.

    Attributes:
        module, given, output: the part, its first input and its output.
        began: how many calls of attention there had been.
        inside: calls of attention inside of it.
    """

    name: str
    module: nn.Module
    given: Any
    began: int
    inside: list[int] = field(default_factory=list)
    output: Tensor | None = None


def _watch(module: nn.Module, noise: Tensor) -> tuple[list[_Call], list[tuple[tuple[_Call, ...], int]], Any]:
    """Run the module; return its parts' calls in the order they began, and which were open at each call of attention.

    With each call of attention comes its number of tokens. The last is what the module returns.
    """
    calls: list[_Call] = []
    open_calls: list[_Call] = []
    events: list[tuple[tuple[_Call, ...], int]] = []

    def begin(name: str) -> Hook:
        def hook(inner: nn.Module, args: Any) -> None:
            calls.append(_Call(name, inner, args[0] if args else None, len(events)))
            open_calls.append(calls[-1])

        return hook

    def end(inner: nn.Module, args: Any, output: Any) -> None:
        tensor = main_tensor(output)
        # Tokens are copied, for what follows may work on them in place.
        open_calls.pop().output = tensor.clone() if tensor is not None and tensor.ndim == 3 else tensor

    def seen(attention: Attention) -> None:
        if _is_own(attention) and len(attention.query) == len(noise):
            for call in open_calls:
                call.inside.append(len(events))
            events.append((tuple(open_calls), attention.query.shape[2]))

    parts = {inner: name for name, inner in module.named_modules() if name}
    with hooked(dict.fromkeys(parts, end), {inner: begin(name) for inner, name in parts.items()}), Attending(seen):
        output = forward_pass(module, noise, "float32")
    return calls, events, output


def _find(classifier: Classifier) -> Blocks:
    tried = trial(classifier.module, classifier.image_size, classifier.read, classifier.channels)
    calls, events, output = _watch(classifier.module, tried.noise)
    found = []
    for number, (around, tokens) in enumerate(events):
        # The outermost of those that hold this call of attention and no other.
        own = [call for call in around if call.inside == [number] and _is_tokens(call.output, tokens)]
        if not own:
            raise _not_plain(classifier, "a call of attention stands in no block of its own")
        found.append((own[0], around[-1], number))
    if not found:
        raise _not_plain(classifier, "no self-attention was seen")
    shapes = {tuple(block.output.shape) for block, _, _ in found if block.output is not None}
    grid = _grid_of(classifier, next(iter(shapes)))
    if len(shapes) > 1 or grid is None:
        raise _not_plain(classifier, f"its blocks put out {', '.join(map(str, sorted(shapes)))}")
    if len({block.name for block, _, _ in found}) < len(found):
        raise _not_plain(classifier, f"its block {found[0][0].name!r} runs more than once")
    blocks = Blocks(tuple(_with_norms(block, owner, number, calls) for block, owner, number in found), grid)
    last = found[-1][0].output
    assert last is not None
    last, logits, other = blocks.in_order(last), classifier.read(output), -tried.noise.flip(2)
    # Another image, but twice the noise's tokens: all that the logits depend on is in them, whoever's they are.
    twice = _read_instead(classifier, other, blocks, last.expand(2, -1, -1))
    rounding = max(1e-4, 4 * torch.finfo(logits.dtype).eps) * float(logits.abs().amax())
    if twice is None or not bool(((twice - logits).abs() <= rounding).all()):
        raise _not_plain(classifier, f"its logits depend on more than what {blocks.each[-1].name!r} puts out")
    alone = _read_instead(classifier, other, blocks, last[:, : grid.prefix + 1])
    return replace(blocks, by_patch=alone is not None)


def _is_tokens(output: Tensor | None, count: int) -> bool:
    return output is not None and output.ndim == 3 and tuple(output.shape[:2]) in ((1, count), (count, 1))


def _grid_of(classifier: Classifier, shape: tuple[int, ...]) -> Grid | None:
    layout = "tokens" if shape[0] == 1 else "tokens-first"
    for grid in classifier.grids:
        if grid.layout == layout and _fits(grid, shape, classifier.image_size):
            return grid
    stated = getattr(classifier.module, "num_prefix_tokens", None)
    return grid_as(shape, classifier.image_size, classifier.grids, stated)


def _fits(grid: Grid, shape: tuple[int, ...], image: tuple[int, int]) -> bool:
    try:
        grid.maps(torch.empty(shape, device="meta"), image)
    except FinercamError:
        return False
    return True


def _with_norms(block: _Call, owner: _Call, number: int, calls: list[_Call]) -> Block:
    """Return the block with its norms: before attention, and the first behind it that is no part of attention."""
    given = block.given
    if not isinstance(given, Tensor):
        return Block(block.name, None, None)
    norms = [
        call
        for call in calls
        if call.name.startswith(f"{block.name}.") and isinstance(call.given, Tensor) and _is_norm(call.module)
    ]
    before = (call.name for call in norms if call.began <= number and call.given is given)
    behind = (
        call.name
        for call in norms
        if call.began > number
        and call.given.shape == given.shape
        and (owner is block or not call.name.startswith(f"{owner.name}."))
    )
    return Block(block.name, next(before, None), next(behind, None))


def _is_norm(module: nn.Module) -> bool:
    return "norm" in type(module).__name__.lower()


def _read_instead(
    classifier: Classifier, noise: Tensor, blocks: Blocks, tokens: Float[Tensor, "n _N K"]
) -> Float[Tensor, "n C"] | None:
    """Return the logits of an image in place of whose tokens others were read; ``None`` where that cannot be done."""

    def put(inner: nn.Module, args: Any, output: Any) -> Any:
        # A copy, for what follows may work on it in place.
        return with_main_tensor(output, blocks.in_order(tokens.clone(memory_format=torch.contiguous_format)))

    last = classifier.module.get_submodule(blocks.each[-1].name)
    try:
        with hooked({last: put}):
            found = classifier.read(forward_pass(classifier.module, noise, "float32"))
    except (RuntimeError, ValueError, TypeError, AssertionError):
        # What follows wants as many as came in.
        return None
    return found if len(found) == len(tokens) else None


def _not_plain(classifier: Classifier, why: str) -> FinercamError:
    return FinercamError(
        f"{classifier.name} is not a plain vision transformer ({why}); this method reads the attention of one whose "
        "blocks all see the whole image (ViT, DeiT, DINO, CLIP's ViTs): use another, such as gradcam or sharp"
    )
