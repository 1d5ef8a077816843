"""The system that a model's classes are in: who is related to whom, and what is asked of a genus or a family.

Labels carry it (``Labels.taxonomy``). It knows of classes and logits, and of nothing else of a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from finercam.contrast.taxa import RANKS, Taxon
from finercam.errors import FinercamError, nearest


@dataclass(frozen=True)
class Among:
    """Where references were found that were looked for at a rank.

    Attributes:
        asked, own: the rank that was asked for, and the target's taxon at it; ``None`` where that is not known.
        rank, name: the rank at which there were others, and their taxon; ``None`` where they are of all classes.
    """

    asked: str
    own: str | None
    rank: str | None
    name: str | None

    def __str__(self) -> str:
        """Return it as the end of a phrase: `` of the genus Agelaius``."""
        lacking = f"there is no other of the {self.asked} {self.own}"
        if self.own is None:
            lacking = f"its {self.asked} is not known"
        where = "" if self.rank is None else f" of the {self.rank} {self.name}"
        return where if self.rank == self.asked else f"{where} ({lacking})"


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """For each class the taxon that it is in at each rank.

    Attributes:
        codes: by rank (in the order of ``RANKS``) and class, a number for the taxon; -1 where it is not known.
        taxa: by rank, the names of these numbers.
    """

    codes: Int[Tensor, "7 C"]
    taxa: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, taxa: Iterable[Taxon | None]) -> Taxonomy:
        """Return the taxonomy of classes in their order; ``None`` is a class of which nothing is known.

        One name in two kingdoms is two taxa: the codes of nomenclature allow *Pieris* a butterfly and a shrub.
        """
        known: list[dict[tuple[str, str], int]] = [{} for _ in RANKS]
        codes: list[list[int]] = [[] for _ in RANKS]
        for one in taxa:
            for rank, column in enumerate(codes):
                name = "" if one is None else one.ranks[rank]
                key = ("" if one is None else one.ranks[0], name)
                column.append(known[rank].setdefault(key, len(known[rank])) if name else -1)
        return cls(torch.tensor(codes, dtype=torch.int32), tuple(tuple(name for _, name in of) for of in known))

    def __len__(self) -> int:
        return self.codes.shape[1]

    def knows(self) -> tuple[str, ...]:
        """Return the ranks at which anything is known."""
        return tuple(rank for rank, taxa in zip(RANKS, self.taxa, strict=True) if taxa)

    def name(self, rank: str, index: int) -> str | None:
        """Return the taxon of that rank that a class is in; ``None`` where it is not known."""
        code = int(self.codes[RANKS.index(rank), index])
        return self.taxa[RANKS.index(rank)][code] if code >= 0 else None

    def relatives(self, rank: str, targets: Int[Tensor, " b"], logits: Float[Tensor, "b C"]) -> Bool[Tensor, "b C"]:
        """Return which classes each target is held against: the others of its taxon at that rank.

        Where there is no other (with a finite logit), those of the next rank up; above the widest all classes are.

        Raises:
            FinercamError: nothing is known at that rank of any class.
        """
        self._level(rank)
        there = logits.isfinite()
        found = torch.zeros_like(there)
        for image, target in enumerate(targets.tolist()):
            for own in self._upwards(rank, target):
                among = there[image] if own is None else there[image] & own.to(there.device)
                among = among.clone()
                among[target] = False
                if own is None or bool(among.any()):
                    found[image] = among
                    break
        return found

    def among(self, rank: str, target: int, references: Sequence[int]) -> Among:
        """Return where references were found, when those of ``rank`` were asked for."""
        own = self.name(rank, target)
        for wider in RANKS[RANKS.index(rank) :: -1]:
            name, row = self.name(wider, target), self.codes[RANKS.index(wider)]
            if name is not None and bool((row[list(references)] == row[target]).all()):
                return Among(rank, own, wider, name)
        return Among(rank, own, None, None)

    def groups(self, rank: str) -> Groups:
        """Return the classes put together by their taxa at a rank.

        Raises:
            FinercamError: nothing is known at that rank.
        """
        level = self._level(rank)
        first: dict[int, int] = {}
        for index, code in enumerate(self.codes[level].tolist()):
            first.setdefault(code, index)
        above = self.codes[:, [first[code] for code in range(len(self.taxa[level]))]].clone()
        above[level + 1 :] = -1
        return Groups(rank, self.codes[level].long(), Taxonomy(above, self.taxa))

    def packed(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"codes": self.codes.tolist(), "taxa": self.taxa}

    @classmethod
    def unpacked(cls, packed: dict[str, Any]) -> Taxonomy:
        """Return it from what ``packed`` gave."""
        return cls(torch.tensor(packed["codes"], dtype=torch.int32), tuple(map(tuple, packed["taxa"])))

    def _level(self, rank: str) -> int:
        level = RANKS.index(rank)
        if not self.taxa[level]:
            raise FinercamError(
                f"no class's {rank} is known, only {', '.join(self.knows()) or 'no rank'}; give a table of "
                "the ranks when the model is loaded (taxonomy=, --taxonomy): CSV, or a TreeOfLife JSON"
            )
        return level

    def _upwards(self, rank: str, target: int) -> Iterable[Bool[Tensor, " C"] | None]:
        """Yield the classes of the target's taxon at the rank, at each one above, and at last ``None`` for all."""
        for row in self.codes[: RANKS.index(rank) + 1].flip(0):
            if int(row[target]) >= 0:
                yield row == row[target]
        yield None


@dataclass(frozen=True, eq=False)
class Groups:
    """Classes put together: the taxa of one rank as classes of their own.

    Attributes:
        rank: one of ``RANKS``.
        codes: which group each class is in; -1 for none.
        taxonomy: of the groups.
    """

    rank: str
    codes: Int[Tensor, " C"]
    taxonomy: Taxonomy

    @property
    def names(self) -> tuple[str, ...]:
        """The groups' names."""
        return self.taxonomy.taxa[RANKS.index(self.rank)]

    def log_sums(self, logits: Float[Tensor, "b C"]) -> Float[Tensor, "b G"]:
        """Return each group's logit ``log sum_c exp y_c`` over its classes; its softmax is the sum of theirs."""
        codes = self.codes.to(logits.device)
        inside = logits[:, codes >= 0]
        at = codes[codes >= 0].expand_as(inside)
        empty = torch.full((len(logits), len(self.names)), -torch.inf, dtype=logits.dtype, device=logits.device)
        top = empty.scatter_reduce(1, at, inside.detach(), "amax")
        # A group whose classes are all ruled out (-inf) is ruled out.
        base = top.masked_fill(top.isneginf(), 0.0)
        sums = torch.zeros_like(base).scatter_add(1, at, (inside - base.gather(1, at)).exp())
        # The gradient of log 0 would make NaN of the others'.
        return torch.where(sums > 0, base + sums.where(sums > 0, 1.0).log(), -torch.inf)

    def spread(self, rows: Float[Tensor, "b r G"], logits: Float[Tensor, "b C"]) -> Float[Tensor, "b r C"]:
        """Return rows over classes for rows over groups: the chain rule through ``log_sums``.

        The gradient of a group's logit is the softmax among its classes.
        """
        codes = self.codes.to(logits.device)
        at = codes.clamp(min=0)
        share = (logits - self.log_sums(logits)[:, at]).exp().nan_to_num(0.0).masked_fill(codes < 0, 0.0)
        return rows[:, :, at] * share[:, None]

    def likeliest(self, groups: Int[Tensor, "b n"], logits: Float[Tensor, "b C"]) -> Int[Tensor, "b n"]:
        """Return the class of each group with the highest logit; -1 stays -1."""
        codes = self.codes.to(logits.device)
        found = [
            [-1 if group < 0 else int(own.masked_fill(codes != group, -torch.inf).argmax()) for group in row]
            for own, row in zip(logits, groups.tolist(), strict=True)
        ]
        return torch.tensor(found, dtype=torch.long, device=logits.device).reshape(groups.shape)


def check_rank(rank: str) -> None:
    """Refuse what is not one of ``RANKS``.

    Raises:
        FinercamError: it is not.
    """
    if rank not in RANKS:
        raise FinercamError(f"rank is {rank!r}; {nearest(str(rank), RANKS)}")
