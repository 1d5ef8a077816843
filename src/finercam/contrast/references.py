"""Which classes a question is about: the target of each image, and the look-alikes it is held against."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.contrast.labels import Labels, class_given, find_class, folded
from finercam.contrast.taxonomy import Groups
from finercam.errors import FinercamError
from finercam.texts import shortened, whole_number

ClassName: TypeAlias = "str | int"
#: Classes for all images, or one sequence of classes per image.
Named: TypeAlias = "Sequence[ClassName] | Sequence[Sequence[ClassName]]"
#: ``"predicted"``, one class for all images, or one class per image.
Targets: TypeAlias = "ClassName | Sequence[ClassName] | Int[Tensor, ' b'] | None"

#: How many references there are where nobody says.
USUAL = 3


def find_targets(targets: Targets, logits: Float[Tensor, "b C"], labels: Labels | None) -> Int[Tensor, " b"]:
    """Return one class index per image, on the device of the logits."""
    batch, classes = logits.shape
    if targets is None or (isinstance(targets, str) and targets == "predicted"):
        return logits.argmax(1)
    each: list[Any] = [targets] * batch if _is_class(targets) else list(targets)  # type: ignore[arg-type]
    if len(each) != batch:
        raise FinercamError(f"{len(each)} targets were given for {batch} images; give one, or one per image")
    indices = [find_class(target, classes, labels) for target in each]
    return torch.tensor(indices, device=logits.device)


def named_references(
    named: Named, target: Int[Tensor, " b"], logits: Float[Tensor, "b C"], labels: Labels | None
) -> Int[Tensor, "b T"]:
    """Return the classes named for each image but its own target, in their order; -1 where there are fewer."""
    batch, classes = logits.shape
    fixed = frozen(named)
    per_image: tuple[Any, ...] = fixed if isinstance(fixed[0], tuple) else (fixed,) * batch
    if len(per_image) != batch:
        raise FinercamError(f"{len(per_image)} lists of references were given for {batch} images")
    found = []
    for own, given in zip(target.tolist(), per_image, strict=True):
        indices = dict.fromkeys(find_class(name, classes, labels) for name in given)
        found.append([index for index in indices if index != own])
    width = max(map(len, found), default=0)
    padded = [indices + [-1] * (width - len(indices)) for indices in found]
    return torch.tensor(padded, dtype=torch.long, device=logits.device).reshape(batch, width)


def group_targets(
    targets: Targets, sums: Float[Tensor, "b G"], groups: Groups, labels: Labels | None
) -> Int[Tensor, " b"]:
    """Return one group per image; the one with the highest logit where none is named.

    A class stands for the taxon that it is in: its name, or any index. A taxon may be named itself.
    """
    if targets is None or (isinstance(targets, str) and targets == "predicted"):
        return sums.argmax(1)
    batch = len(sums)
    each: list[Any] = [targets] * batch if _is_class(targets) else list(targets)  # type: ignore[arg-type]
    if len(each) != batch:
        raise FinercamError(f"{len(each)} targets were given for {batch} images; give one, or one per image")
    return torch.tensor([_group(one, groups, labels) for one in each], device=sums.device)


def grouped(against: Any, groups: Groups, labels: Labels | None) -> Any:
    """Return how references are chosen among groups: as among classes, or the groups that were named."""
    if isinstance(against, str):
        if against.partition("@")[0] == "weights":
            raise FinercamError(f"against='weights' compares classes, and a {groups.rank} has no row; use 'similar'")
        return against
    return tuple(
        tuple(_group(inner, groups, labels) for inner in one) if isinstance(one, tuple) else _group(one, groups, labels)
        for one in against
    )


def _group(given: Any, groups: Groups, labels: Labels | None) -> int:
    given = class_given(given)
    if isinstance(given, str):
        named = [index for index, name in enumerate(groups.names) if folded(name) == folded(given)]
        if len(named) == 1:
            return named[0]
    index = find_class(given, len(groups.codes), labels)
    code = int(groups.codes[index])
    if code < 0:
        raise FinercamError(
            f"the {groups.rank} of class {given!r} is not known; name another class, or a {groups.rank}"
        )
    return code


def frozen(named: Any) -> tuple[ClassName, ...] | tuple[tuple[ClassName, ...], ...]:
    """Return named classes as tuples of text and plain numbers: for all images, or one tuple per image."""
    if _is_class(named):
        raise FinercamError(f"against is {named!r}; give classes as a list of names or indices, or 'similar'")
    if not len(named):
        raise FinercamError("no reference classes were named; name at least one, or use against='similar'")
    each = [class_given(one) if _is_class(one) else tuple(map(class_given, one)) for one in named]
    if len({isinstance(one, tuple) for one in each}) > 1:
        raise FinercamError(f"references must be classes, or one list of classes per image, not both: {named!r}")
    return tuple(each)  # type: ignore[return-value]


def nearest_references(
    against: str, count: int, target: Int[Tensor, " b"], logits: Float[Tensor, "b C"], head: Float[Tensor, "C K"] | None
) -> Int[Tensor, "b T"]:
    """Return the ``count`` classes nearest to the target, nearest first; -1 where there are fewer.

    Args:
        against: ``similar`` (in logit), ``predicted`` (highest logit) or ``weights`` (cosine of rows, Eq. 11); with
            ``@2`` and the like, only the second nearest.
        count: how many.
        target: never its own reference, whatever the ties.
        logits: in float32 or better. A class whose logit is not finite is no reference.
        head: the classifier's rows, for ``weights``.
    """
    own = target[:, None]
    against, rank = rank_of(against)
    if against == "weights":
        if head is None:
            raise FinercamError(
                "against='weights' compares the rows of a final linear layer and this classifier has none; "
                "use against='similar'"
            )
        rows = head.detach().to(logits)
        # The lengths aside, so that there are not two copies of a million rows.
        lengths = rows.norm(dim=1).clamp(min=1e-12)
        own_rows = rows[target] / lengths[target, None]
        order = -(own_rows @ rows.T) / lengths
    elif against == "predicted":
        order = -logits
    else:
        order = (logits - logits.gather(1, own)).abs()
    order = order.scatter(1, own, torch.inf)
    # Stable, so that ties fall by class index on every device.
    distance, index = order.sort(dim=1, stable=True)
    last = logits.shape[1] - 1
    if rank is None and count > max(last, USUAL):
        # The default is larger than some models have classes, and that is nothing to be told of.
        warnings.warn(
            f"{count} references were asked for, and the model has {last} other classes; it is compared with these",
            stacklevel=1,
        )
    chosen = slice(0, min(count, last)) if rank is None else slice(min(rank - 1, last), min(rank, last))
    return index[:, chosen].masked_fill(distance[:, chosen].isposinf(), -1)


def rank_of(against: str) -> tuple[str, int | None]:
    """Split ``similar@2`` into the way and the rank, which is ``None`` where there is no ``@``."""
    way, at, rank = against.partition("@")
    if not at:
        return way, None
    number = whole_number(rank)
    if not number:
        raise FinercamError(
            f"against is {shortened(against)!r}; after the @ comes a rank from 1 upwards, as in {shortened(way)}@2"
        )
    return way, number


def _is_class(given: object) -> bool:
    """Whether one thing is given, be it a class or not, and not several."""
    # Arrays have a length in their type, whatever their shape.
    return isinstance(given, str) or not hasattr(given, "__len__") or getattr(given, "ndim", 1) == 0
