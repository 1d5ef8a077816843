"""What is asked: a row of coefficients over the classes.

"Why class c?" is the one-hot row e_c. "Why c and not its look-alikes d_1..d_T?" is
``v = e_c - gamma * sum_t w_t e_(d_t)`` (arXiv 2501.11309, Eq. 5-8), because every gradient CAM of
``y_c - gamma * y_d`` is the vector-Jacobian product with that row. Nothing here knows of models or layers.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from finercam.contrast.labels import Labels, display_name, short_names
from finercam.contrast.question import Question
from finercam.contrast.references import (
    USUAL,
    Named,
    Targets,
    find_targets,
    frozen,
    group_targets,
    grouped,
    named_references,
    nearest_references,
    rank_of,
)
from finercam.contrast.taxa import RANKS
from finercam.contrast.taxonomy import Among, Taxonomy, check_rank
from finercam.errors import FinercamError, nearest

#: The class that an evaluation compares a photo's with, of whose difference it may know the pixels.
COMPARED = "compared"
AGAINST = ("similar", "predicted", "weights", *RANKS, COMPARED)
WEIGHTINGS = ("mean", "softmax", "official")
AGGREGATES = ("mean", "max", "mean-after-relu")
#: The largest strength, either way. Far below what overflows, and far above what leaves anything of the target.
MOST_GAMMA = 1e6

#: How many references a sentence names.
_SAID = 5


@dataclass(frozen=True)
class Contrast:
    """The target class against its look-alikes (Finer-CAM).

    Args:
        against: how references are chosen. ``"similar"``: the classes whose logits are nearest to the target's.
            ``"predicted"``: the highest logits other than the target's. ``"weights"``: the highest cosine
            similarity of classifier rows (Eq. 11). ``"predicted@2"`` and the like: only the second of these.
            ``"genus"``, ``"family"`` and the other ``RANKS``: the nearest in logit of the target's relatives at that
            rank, by the labels' taxonomy; where it has none, of those one rank up, and the sentence says so.
            ``"compared"``: in an evaluation, the class d that it measures against. Or the
            classes themselves, by name or index, for all images or one list per image. The target never is its own
            reference.
        references: how many, T. Fewer classes than T give fewer references; 0 is for the plain CAM only.
        gamma: comparison strength: 0 is the plain CAM, 0.6 the default, above 1 extrapolates. From
            -1,000,000 to 1,000,000. ``None`` means 0.6, or 1 for the official weighting, as its authors have it.
        weighting: how references share the strength. ``"mean"``: equally (the paper). ``"softmax"``: by their
            renormalised probabilities, taken as constants. ``"official"``: the same, but differentiated through
            the probabilities (the authors' released code).
        aggregate: ``"mean"`` of the references before the ReLU (Eq. 8), ``"max"`` before it, or
            ``"mean-after-relu"``.
        reverse: look for the references' traits instead: ``sum_t w_t y_(d_t) - gamma * y_c`` (Section C.5).
        rank: ask about taxa instead of classes: the target and its references are genera, families or the like, and
            the logit of each is ``log sum_c exp y_c`` over its classes ("why a wren at all?").
    """

    against: str | Named = "similar"
    references: int = USUAL
    gamma: float | int | None = None
    weighting: str = "mean"
    aggregate: str = "mean"
    reverse: bool = False
    rank: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.against, str):
            ways, _ = rank_of(self.against)
            _check_choice("against", ways, AGAINST, "; give classes as a list of names or indices")
            if ways == COMPARED != self.against:
                raise FinercamError(f"against is {self.against!r}; {COMPARED!r} is a single class and takes no rank")
        else:
            object.__setattr__(self, "against", frozen(self.against))
        if self.rank is not None:
            check_rank(self.rank)
        _check_choice("weighting", self.weighting, WEIGHTINGS)
        _check_choice("aggregate", self.aggregate, AGGREGATES)
        if self.gamma is None:
            object.__setattr__(self, "gamma", _own_strength(self.weighting))
        if not _is_strength(self.gamma):
            raise FinercamError(f"gamma is {self.gamma!r}; it must be a number from -1,000,000 to 1,000,000")
        object.__setattr__(self, "references", _count(self.references))
        if self.references < 1 and not (self.references == 0 and self.strength == 0 and not self.reverse):
            raise FinercamError(f"references is {self.references}; it must be at least 1 (gamma=0 is the plain CAM)")
        if self.weighting != "mean" and self.aggregate == "max":
            raise FinercamError(f"weighting {self.weighting!r} has no meaning for the maximum; use weighting='mean'")
        if self.weighting == "official" and (self.aggregate != "mean" or self.reverse):
            raise FinercamError("weighting 'official' is defined for aggregate='mean' and reverse=False only")

    @property
    def strength(self) -> float:
        """Gamma as a number."""
        assert self.gamma is not None
        return float(self.gamma)

    def ask(
        self,
        logits: Float[Tensor, "b C"],
        targets: Targets = None,
        *,
        labels: Labels | None = None,
        head: Float[Tensor, "C K"] | None = None,
    ) -> Question:
        """Return the rows of coefficients for these images.

        Args:
            logits: before any softmax.
            targets: class per image or one for all, by name or index; ``None`` or ``"predicted"`` for the top.
            labels: class names, where names are used.
            head: the classifier's rows, needed for ``against="weights"`` only.

        Raises:
            FinercamError: an unknown class, or an image left without any reference.
        """
        logits = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        if self.rank is not None:
            return self._ask_of_taxa(self.rank, logits, targets, labels)
        target = find_targets(targets, logits, labels)
        references = self._find_references(logits, target, labels, head)
        present = references >= 0
        if self.strength != 0 or self.reverse:
            lonely = (~present.any(1)).nonzero().flatten().tolist()
            if lonely:
                name = display_name(int(target[lonely[0]]), labels)
                raise FinercamError(
                    f"image {lonely[0]}: there is no class to compare {name!r} with (the target is never its own "
                    "reference); name another class, or use gamma=0 for the plain CAM"
                )
        share = self._shares(logits, references, present)
        if self.aggregate == "mean" or (self.strength == 0 and not self.reverse):
            # Without comparison the references' maps are one and the same.
            rows = self._rows(logits, target, references[:, None], share[:, None])
            shares = torch.ones_like(logits[:, :1])
        else:
            # An image with fewer references repeats its first: that changes neither the maximum nor, with a
            # share of zero, the mean.
            repeated = torch.where(present, references, references[:, :1])[:, :, None]
            rows, shares = self._rows(logits, target, repeated, torch.ones_like(share)[:, :, None]), share
        return Question(rows, shares, target, references, self.aggregate)

    def part(self, images: slice) -> Contrast:
        """Return the contrast for part of a batch: the lists of references of those images."""
        if isinstance(self.against, str) or not isinstance(self.against[0], tuple):
            return self
        return replace(self, against=self.against[images])

    def changed(self, **changes: Any) -> Contrast:
        """Return the contrast with some options changed; a strength that was another weighting's own goes with it."""
        if "weighting" in changes and "gamma" not in changes and self.gamma == _own_strength(self.weighting):
            changes["gamma"] = None
        return replace(self, **changes)

    def _rows(
        self, logits: Float[Tensor, "b C"], target: Int[Tensor, " b"], references: Tensor, share: Tensor
    ) -> Float[Tensor, "b r C"]:
        """Return the rows: 1 for the target less gamma times the shares of ``references`` (b r T), or the reverse.

        Only the rows themselves are as long as there are classes, of which there may be a million.
        """
        rows = torch.zeros(*references.shape[:2], logits.shape[1], dtype=logits.dtype, device=logits.device)
        of_target, of_references = (-self.strength, 1.0) if self.reverse else (1.0, -self.strength)
        rows.scatter_add_(2, references.clamp(min=0), of_references * share.masked_fill(references < 0, 0.0))
        own = target[:, None, None].expand(-1, rows.shape[1], 1)
        return rows.scatter_add_(2, own, torch.full_like(own, 1, dtype=rows.dtype) * of_target)

    def _ask_of_taxa(
        self, rank: str, logits: Float[Tensor, "b C"], targets: Targets, labels: Labels | None
    ) -> Question:
        """Return the rows where what is asked about are taxa: the chain rule through their logits."""
        groups = _taxonomy(labels, f"rank={rank!r}").groups(rank)
        sums = groups.log_sums(logits)
        asked = grouped(self.against, groups, labels)
        of = replace(self, rank=None, against=asked).ask(
            sums, group_targets(targets, sums, groups, labels), labels=Labels(groups.names, groups.taxonomy)
        )
        target, references = (groups.likeliest(of_, logits) for of_ in (of.targets[:, None], of.references))
        rows = groups.spread(of.rows, logits)
        return Question(rows, of.shares, target[:, 0], references, self.aggregate, by_class=False)

    @property
    def alone(self) -> Contrast:
        """The same target with nothing to compare it with."""
        return PLAIN if self.rank is None else replace(PLAIN, rank=self.rank)

    def _shares(self, logits: Tensor, references: Tensor, present: Tensor) -> Float[Tensor, "b T"]:
        """Weight of each reference; 0 where there is none."""
        if self.weighting == "mean":
            return present.to(logits.dtype) / present.sum(1, keepdim=True).clamp(min=1)
        of_references = logits.gather(1, references.clamp(min=0)).masked_fill(~present, -torch.inf)
        share = of_references.softmax(1).nan_to_num(0.0)
        if self.weighting == "official":
            # d/dy_t of sum_s q_s y_s with q the renormalised probabilities: q_t (1 + y_t - sum_s q_s y_s).
            # The authors add 1e-9 to the denominator; without it the target's coefficient is exactly 1.
            # A logit of -inf (a class ruled out) has q = 0, and q y goes to 0 with it.
            values = of_references.masked_fill(of_references.isneginf(), 0.0)
            share = share * (1 + values - (share * values).sum(1, keepdim=True))
        return share

    def _find_references(
        self, logits: Tensor, target: Tensor, labels: Labels | None, head: Tensor | None
    ) -> Int[Tensor, "b T"]:
        if self.against == COMPARED:
            raise FinercamError(f"against={COMPARED!r} is for evaluations, which choose a class d; name classes here")
        if isinstance(self.against, str):
            way, place = rank_of(self.against)
            if way in RANKS:
                among = _taxonomy(labels, f"against={self.against!r}").relatives(way, target, logits)
                # Their own logits stay: nearest is measured from them.
                kept = among.scatter(1, target[:, None], True)
                way = "similar" if place is None else f"similar@{place}"
                return nearest_references(way, self.references, target, logits.masked_fill(~kept, torch.inf), head)
            return nearest_references(self.against, self.references, target, logits, head)
        return named_references(self.against, target, logits, labels)

    def sentence(self, target: int, references: Sequence[int], labels: Labels | None) -> str:
        """Return the contrast as a person would say it.

        ``Blue Grosbeak, against Grandala, Indigo Bunting, Lazuli Bunting, gamma 0.6``
        """
        name, *others = short_names([self.called(i, labels) for i in (target, *references[:_SAID])])
        if len(references) > _SAID:
            others.append(f"and {len(references) - _SAID} more")
        among = self.among(target, references, labels)
        them = ", ".join(others) + ("" if among is None else str(among))
        looked_for, against = (them, name) if self.reverse else (name, them)
        reverse = ", reversed" if self.reverse else ""
        if self.strength == 0:
            return f"{looked_for}, alone{reverse}"
        details = [f"gamma {exactly(self.strength)}"]
        if self.weighting != "mean":
            details.append(f"{self.weighting} weighting")
        if self.aggregate != "mean":
            details.append(f"{self.aggregate} of the references")
        return f"{looked_for}, against {against}{reverse}, {', '.join(details)}"

    def called(self, index: int, labels: Labels | None) -> str:
        """Return what is asked about where a class stands for it: its name, or ``family Icteridae``."""
        if self.rank is None:
            return display_name(index, labels)
        return f"{self.rank} {_taxonomy(labels, f'rank={self.rank!r}').name(self.rank, index)}"

    def classes_of(self, index: int, labels: Labels | None) -> list[int]:
        """Return the classes that one stands for: itself, or all of its taxon at ``rank``."""
        if self.rank is None:
            return [index]
        row = _taxonomy(labels, f"rank={self.rank!r}").codes[RANKS.index(self.rank)]
        return (row == row[index]).nonzero().flatten().tolist()

    def among(self, target: int, references: Sequence[int], labels: Labels | None) -> Among | None:
        """Return where the references were found, where they were looked for by a rank."""
        taxonomy, way = None if labels is None else labels.taxonomy, str(self.against).partition("@")[0]
        if taxonomy is None or way not in RANKS or not references:
            return None
        return taxonomy.among(way, target, references)


def exactly(number: float) -> str:
    """Return the shortest text that is read as this number and no other, without a needless ``.0``."""
    return repr(float(number)).removesuffix(".0")


def _taxonomy(labels: Labels | None, asked: str) -> Taxonomy:
    found = None if labels is None else labels.taxonomy
    if found is None:
        raise FinercamError(
            f"{asked} needs the ranks of the classes, which their names do not tell; give a table of them when the "
            "model is loaded (taxonomy=, --taxonomy): CSV, or a TreeOfLife JSON"
        )
    return found


def _own_strength(weighting: str) -> float:
    return 1.0 if weighting == "official" else 0.6


def _is_strength(gamma: Any) -> bool:
    try:
        return not isinstance(gamma, str) and abs(float(gamma)) <= MOST_GAMMA
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return False


def _count(references: object) -> int:
    try:
        if isinstance(references, bool):
            raise TypeError
        return operator.index(references)  # type: ignore[arg-type]
    except TypeError:
        raise FinercamError(f"references is {references!r}; it must be a whole number") from None


def _check_choice(option: str, given: str, choices: Sequence[str], more: str = "") -> None:
    if given not in choices:
        raise FinercamError(f"{option} is {given!r}; {nearest(str(given), choices)}{more}")


#: The ordinary CAM: the target's logit alone, with nothing to compare it with.
PLAIN = Contrast(gamma=0.0, references=0)
