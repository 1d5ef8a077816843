"""What is done to one part of a data set, on any engine: photos in, rows out."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from finercam.errors import FinercamError
from finercam.methods.gradients import GradientEvidence
from finercam.methods.scores import ScoreEvidence
from finercam.metrics.masked_runs import Cut, masked_confidences
from finercam.metrics.masking import filling, ranking
from finercam.metrics.parts import near_parts
from finercam.models import Classifier
from finercam.models.batching import OutOfMemory
from finercam.models.folding import folded
from finercam.models.passes import autocast, forward_pass
from finercam.models.undisturbed import undisturbed
from finercam.studies.evaluate.maps import CUBED, Map, controls, first_look, maps_of, others_of, second_looks
from finercam.studies.evaluate.measures import OBJECT, View
from finercam.studies.evaluate.plan import Plan
from finercam.studies.evaluate.preparing import Prepared
from finercam.studies.evaluate.rows import of_failure, to_table


@dataclass(frozen=True)
class Outcome:
    """A part's rows, and how many of its photos failed."""

    rows: pa.Table
    photos: int
    failed: int


class Worker:
    """Measures parts of a data set with one model.

    Args:
        classifier: the model.
        plan: what is measured.
        label_of_class: by the model's class, the data set's label, where it has one.
        with_controls: ``False`` leaves the controls out (for side-by-side timings only).

    Attributes:
        seconds: where the time went, by activity. On an accelerator work is handed over and the waiting is charged
            to whoever needs its result.
    """

    def __init__(
        self, classifier: Classifier, plan: Plan, label_of_class: dict[int, int], *, with_controls: bool = True
    ) -> None:
        self.classifier = classifier
        self.plan = plan
        self.seconds: dict[str, float] = defaultdict(float)
        self._labels = label_of_class
        # Masked copies are many and only their logits are wanted.
        self._module = folded(classifier)
        self._with_controls = with_controls

    def measure(self, photos: Iterable[Prepared]) -> Outcome:
        """Return the rows of a part's photos, in their order."""
        rows: list[dict[str, Any]] = []
        count = failed = 0
        for batch in _batches(photos, self.plan.batch_size):
            for own in self._rows(batch):
                rows += own
                count += 1
                failed += own[0].get("error") is not None
        with self._charged("rows"):
            return Outcome(to_table(rows, self.plan.measures), count, failed)

    def _rows(self, batch: Sequence[Prepared]) -> list[list[dict[str, Any]]]:
        """Return each photo's rows. What stops one photo of a batch does not stop the others."""
        if batch[0].image is None:
            return [[of_failure(photo.entry, photo.error or "")] for photo in batch]
        try:
            return self._measured(batch)
        except (FinercamError, torch.OutOfMemoryError) as error:
            if isinstance(error, OutOfMemory) or (isinstance(error, torch.OutOfMemoryError) and len(batch) == 1):
                # No fault of the photo's: the run stops here and can go on elsewhere, or with other options.
                hint = "with a smaller --copies or --batch-size the same command goes on"
                raise OutOfMemory(f"{error}; {hint}") from error
            if len(batch) == 1:
                return [[of_failure(batch[0].entry, str(error))]]
            return [self._rows([photo])[0] for photo in batch]

    def _measured(self, batch: Sequence[Prepared]) -> list[list[dict[str, Any]]]:
        classifier, plan = self.classifier, self.plan
        images = classifier.take(
            torch.from_numpy(np.stack([photo.image for photo in batch if photo.image is not None]))
        )
        given = [photo.entry.target for photo in batch]
        with self._charged("model"):
            evidence = first_look(classifier, images, plan, given if plan.target == "label" else None)
        predicted = evidence.logits.argmax(1)
        targets = torch.tensor(given, device=predicted.device) if plan.target == "label" else predicted
        others = others_of(evidence.logits, targets)
        if bool((others < 0).any()):
            raise FinercamError("a target has no other class with a finite logit to be compared with")
        probabilities = evidence.logits.softmax(1)
        pair = torch.stack([targets, others], 1)
        unmasked = probabilities.gather(1, pair)
        rows = [
            {
                "id": photo.entry.id,
                "key": photo.entry.item.key,
                "label": photo.entry.item.label,
                "target": int(pair[i, 0]),
                "other": int(pair[i, 1]),
                "predicted": int(predicted[i]),
                "correct": bool(predicted[i] == photo.entry.target) if photo.entry.target >= 0 else None,
                "confidence": float(unmasked[i, 0]),
                "other confidence": float(unmasked[i, 1]),
            }
            for i, photo in enumerate(batch)
        ]
        explained = [i for i, row in enumerate(rows) if row["correct"] or not plan.only_correct]
        found: dict[int, list[dict[str, Any]]] = {i: [row] for i, row in enumerate(rows) if i not in explained}
        if explained:
            if len(explained) < len(batch):
                some = torch.tensor(explained, device=images.device)
                evidence, images, unmasked = evidence.of(some), classifier.take(images[some]), unmasked[some]
                targets, others = targets[some], others[some]
            kept = [batch[i] for i in explained]
            values = self._values(kept, images, evidence, targets, others, unmasked)
            for i, own in zip(explained, values, strict=True):
                found[i] = [rows[i] | value for value in own]
        return [found[i] for i in range(len(batch))]

    def _values(
        self,
        batch: Sequence[Prepared],
        images: Float[Tensor, "b 3 H W"],
        evidence: GradientEvidence,
        targets: Tensor,
        others: Tensor,
        unmasked: Float[Tensor, "b 2"],
    ) -> list[list[dict[str, Any]]]:
        """Return, for each image, the values of each map."""
        plan, classifier = self.plan, self.classifier
        size = (images.shape[2], images.shape[3])
        compare = any(measure.needs == "other map" for measure in plan.measures)
        with self._charged("model"):
            looks: dict[str, GradientEvidence | ScoreEvidence] = {"gradients": evidence}
            looks |= second_looks(classifier, images, plan, targets)
        with self._charged("maps"):
            maps = list(maps_of(classifier, looks, plan, targets, others, compare_classes=compare))
            if self._with_controls:
                own = controls([photo.entry.id for photo in batch], size)
                maps += [Map(m.method, m.contrast, m.saliency.to(images.device)) for m in own]
            else:
                maps = [m for m in maps if m.contrast != CUBED]
        cuts = sorted({cut for measure in plan.measures for cut in measure.cuts(size[0] * size[1])})
        confidences: Tensor | None = None
        if cuts:
            confidences = self._confidences(images, maps, cuts, torch.stack([targets, others], 1), unmasked)
        with self._charged("measures"):
            regions = self._regions(batch, others.tolist(), size)
            wanted = any(measure.needs == "parts" for measure in plan.measures)
            discs = _discs(batch, size, images.device) if wanted else None
            result: list[list[dict[str, Any]]] = [[] for _ in batch]
            for m, one in enumerate(maps):
                empty = (one.saliency.flatten(1).amax(1) <= 0).tolist()
                view = View(
                    one.saliency,
                    regions,
                    unmasked,
                    _reader(confidences, m, cuts),
                    discs,
                    one.of_other,
                )
                columns: dict[str, list[Any]] = {}
                for measure in plan.measures:
                    if measure.needs != "other map" or one.of_other is not None:
                        columns |= measure.compute(view)
                for i in range(len(batch)):
                    result[i].append(
                        {"method": one.method, "contrast": one.contrast, "empty": empty[i]}
                        | {name: values[i] for name, values in columns.items()}
                    )
            return result

    def _confidences(
        self, images: Tensor, maps: Sequence[Map], cuts: Sequence[Cut], classes: Tensor, unmasked: Tensor
    ) -> Float[Tensor, "m b n 2"]:
        classifier, plan = self.classifier, self.plan
        with self._charged("masking"), undisturbed(self._module), autocast(images.device, plan.precision):
            ranks: list[Tensor] = []
            for one in maps:
                # Cubing changes no order, and the base comes right before.
                ranks.append(ranks[-1] if one.contrast == CUBED else ranking(one.saliency))

            def score(copies: Tensor) -> Tensor:
                with self._charged("model"):
                    output = forward_pass(self._module, copies, plan.precision)
                    return classifier.read(output).float().softmax(1)

            return masked_confidences(
                score,
                images,
                ranks,
                cuts,
                classes,
                unmasked,
                fill=filling(images, plan.fill, classifier.mean, classifier.std),
                blurred=lambda: filling(images, "blur"),
                batch_size=plan.copies,
            )

    def _regions(
        self, batch: Sequence[Prepared], others: Sequence[int], size: tuple[int, int]
    ) -> dict[str, Bool[Tensor, "b H W"]]:
        unknown = np.zeros(size, bool)
        found: dict[str, list[NDArray[Any]]] = {"box": [], "mask": [], OBJECT: [], "difference": []}
        for photo, other in zip(batch, others, strict=True):
            box, mask = photo.regions.get("box", unknown), photo.regions.get("mask", unknown)
            found["box"].append(box)
            found["mask"].append(mask)
            found[OBJECT].append(photo.regions.get("box", mask))
            found["difference"].append(photo.differences.get(self._labels.get(other, -1), unknown))
        return {name: torch.from_numpy(np.stack(masks)).to(self.classifier.device) for name, masks in found.items()}

    @contextmanager
    def _charged(self, what: str) -> Iterator[None]:
        """Add the time spent inside to ``what``, and take it from whatever is being charged around it."""
        start, inner = time.perf_counter(), sum(self.seconds.values())
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[what] += spent - (sum(self.seconds.values()) - inner)


def _reader(confidences: Tensor | None, m: int, cuts: Sequence[Cut]) -> Callable[[Cut], Tensor]:
    place = {cut: n for n, cut in enumerate(cuts)}

    def read(cut: Cut) -> Tensor:
        assert confidences is not None
        return confidences[m, :, place[cut]]

    return read


def _discs(
    batch: Sequence[Prepared], size: tuple[int, int], device: torch.device
) -> Callable[[float], Bool[Tensor, "b _P H W"]]:
    points = [photo.points for photo in batch]
    width = max((len(p) for p in points if p is not None), default=0)
    stacked = torch.full((len(batch), width, 2), float("nan"), dtype=torch.float64)
    for i, own in enumerate(points):
        if own is not None:
            stacked[i, : len(own)] = torch.from_numpy(own)
    visible = ~stacked.isnan().any(2)
    # Without a box there is no scale: no part of such a photo has a disc.
    extent = torch.tensor([photo.extent for photo in batch], dtype=torch.float64)
    visible &= ~extent.isnan()[:, None]

    @cache
    def discs(fraction: float) -> Tensor:
        return near_parts(stacked.nan_to_num(-1.0), visible, fraction * extent.nan_to_num(0.0), size).to(device)

    return discs


def _batches(photos: Iterable[Prepared], size: int) -> Iterator[list[Prepared]]:
    """Yield runs of photos of one shape, or of failed ones, at most ``size`` long."""
    batch: list[Prepared] = []
    for photo in photos:
        if batch and (len(batch) == size or _shape(photo) != _shape(batch[0])):
            yield batch
            batch = []
        batch.append(photo)
    if batch:
        yield batch


def _shape(photo: Prepared) -> tuple[int, ...] | None:
    return None if photo.image is None else tuple(photo.image.shape)
