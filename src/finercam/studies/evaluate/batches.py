"""What an evaluation does with one batch: one look at the model, and every row from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from finercam.contrast.labels import find_class
from finercam.contrast.references import nearest_references
from finercam.errors import FinercamError
from finercam.methods.evidence import Evidence
from finercam.methods.method import Method
from finercam.metrics.controls import controls
from finercam.metrics.masked_runs import masked_confidences
from finercam.metrics.masking import filling, in_blocks, ranking
from finercam.metrics.points import PartPoints
from finercam.metrics.view import OBJECT, UNMASKED, Cut, View
from finercam.models.altering import Altered
from finercam.models.assumed import as_probabilities
from finercam.models.classifier import Classifier
from finercam.models.folding import folded
from finercam.models.look import Look
from finercam.runs.study import Bench, Row
from finercam.studies.evaluate.contrasts import PLAIN_NAME
from finercam.studies.evaluate.given import GIVEN
from finercam.studies.evaluate.maps import CONTROL, CUBED, Map, Questions, draw_classes, gathered, maps_of
from finercam.studies.evaluate.placing import Placed

if TYPE_CHECKING:
    from finercam.studies.evaluate.evaluation import Evaluation


class Batches:
    """Measures batches of photos with one model.

    Args:
        study: what is measured.
        bench: the model and how it is run.
    """

    def __init__(self, study: Evaluation, bench: Bench[Classifier]) -> None:
        self.study, self.bench = study, bench
        self._ways = [way for way in study.ways if isinstance(way, Method)]
        self._at = tuple(dict.fromkeys(layer for way in self._ways for layer in way.taps(bench.model)))
        self._label_of_class = {target: label for label, target in enumerate(bench.targets) if target >= 0}
        model = bench.model
        names = {name for one in study.contrasts if not isinstance(one.against, str) for name in one.against}
        self._named = [find_class(name, model.classes, model.labels) for name in names]
        # Altered copies are many, only their logits are wanted, and the network for them is made once.
        self._altered = folded(bench.model) if study.reruns else None

    def __call__(self, batch: Sequence[Placed]) -> list[list[Row]]:
        """Return each photo's rows: one for each map, or a single one for a photo that is not explained."""
        classifier, clock = self.bench.model, self.bench.clock
        images = torch.from_numpy(np.stack([photo.image for photo in batch]))
        # What is charged to other activities inside is none of the model's time.
        with clock("model"), classifier.look(images, self.bench.run, at=self._at, altered=self._altered) as look:
            return self._seen(batch, look)

    def _seen(self, batch: Sequence[Placed], look: Look) -> list[list[Row]]:
        study = self.study
        predicted = look.logits.argmax(1)
        stated = torch.tensor([photo.entry.target for photo in batch], device=predicted.device)
        targets = stated if study.target == "label" else predicted
        others = self._others(batch, look, targets)
        pair = torch.stack([targets, others], 1)
        # Of an image that is compared with no class, that of class 0 stands there and is not used.
        unmasked = as_probabilities(look.logits, self.bench.model.probabilities).gather(1, pair.clamp(min=0))
        margins = _margins(look.logits, pair)
        repainted = self._repainted(batch, look, pair)
        rows: list[dict[str, Any]] = []
        for i, (photo, top) in enumerate(zip(batch, predicted.tolist(), strict=True)):
            compared = int(others[i]) >= 0
            rows.append(
                {
                    "target": int(targets[i]),
                    "other": int(others[i]) if compared else None,
                    "told apart": float(margins[i]) > 0 if compared else None,
                    "predicted": top,
                    "correct": top == photo.entry.target if photo.entry.target >= 0 else None,
                    "confidence": float(unmasked[i, 0]),
                    "other confidence": float(unmasked[i, 1]) if compared else None,
                    "margin": float(margins[i]) if compared else None,
                    "margin repainted": repainted.get(i),
                }
            )
        explained = [i for i, row in enumerate(rows) if self._explains(row)]
        found: list[list[Row]] = [[row] for row in rows]
        if explained:
            some = torch.tensor(explained, device=predicted.device)
            # No copies are run of photos that are not explained; those that are get a look of their own then.
            every = len(explained) == len(batch)
            kept = [batch[i] for i in explained]
            with nullcontext(look) if every else look.beside(look.images[some], at=self._at) as seen:
                measured = self._measured(kept, seen, pair[some], unmasked[some])
            for i, own in zip(explained, measured, strict=True):
                found[i] = [rows[i] | values for values in own]
        return found

    def _explains(self, row: Row) -> bool:
        """Return whether a photo is explained."""
        told = row["told apart"] if self.study.other == "known" else True
        return bool(told) and bool(row["correct"] or not self.study.only_correct)

    def _others(self, batch: Sequence[Placed], look: Look, targets: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """Return class d of each photo, -1 where there is none."""
        logits = look.logits
        if self.study.other == "similar":
            others = nearest_references("similar", 1, targets, logits, None)[:, 0]
            if bool((others < 0).any()):
                raise FinercamError("a target has no other class with a finite logit to be compared with")
            return others
        apart = (logits - logits.gather(1, targets[:, None])).abs()
        found = []
        for i, photo in enumerate(batch):
            # What tells the photo's class from others is known, and nothing about another target.
            own = int(targets[i]) == photo.entry.target
            seen = {label for label, mask in photo.differences.items() if own and mask.any()}
            classes = [target for label in sorted(seen) if (target := self.bench.targets[label]) >= 0]
            found.append(min(classes, key=lambda one: float(apart[i, one]), default=-1))
        return torch.tensor(found, device=targets.device)

    def _repainted(self, batch: Sequence[Placed], look: Look, pair: Int[Tensor, "b 2"]) -> dict[int, float]:
        """Return, by photo, the margin of class c over d after what differs is painted as d's."""
        labels = [self._label_of_class.get(other, -1) for other in pair[:, 1].tolist()]
        some = [i for i, (photo, label) in enumerate(zip(batch, labels, strict=True)) if label in photo.repainted]
        if not some:
            return {}
        images = torch.from_numpy(np.stack([batch[i].repainted[labels[i]] for i in some]))
        with look.beside(images.to(look.images)) as beside:
            margins = _margins(beside.logits, pair[torch.tensor(some, device=pair.device)])
        return dict(zip(some, margins.tolist(), strict=True))

    def _measured(
        self, batch: Sequence[Placed], look: Look, pair: Int[Tensor, "b 2"], unmasked: Float[Tensor, "b 2"]
    ) -> list[list[dict[str, Any]]]:
        """Return, for each photo, the values of each map."""
        study, clock = self.study, self.bench.clock
        ids = [photo.entry.id for photo in batch]
        drawn = draw_classes(ids, pair[:, 0], pair[:, 1], look.logits.shape[1], self._named)
        questions = Questions.about(look, study.contrasts, study.others, pair[:, 0], pair[:, 1], drawn)
        evidence = gathered(look, self._ways, questions)
        with clock("maps"):
            maps = list(self._maps(batch, look, evidence, questions))
        pixels = look.image_size[0] * look.image_size[1]
        cuts = sorted({cut for metric in study.measured for cut in metric.needs.cuts(pixels)} - {UNMASKED})
        with clock("masking"):
            confidences = self._confidences(look, maps, cuts, pair, unmasked)
        with clock("measures"):
            regions = self._regions(batch, pair[:, 1].tolist(), look.image_size)
            parts = _part_points(batch)
            result: list[list[dict[str, Any]]] = [[] for _ in batch]
            for number, one in enumerate(maps):
                own = dict(zip(cuts, confidences[number].unbind(1), strict=True)) | {UNMASKED: unmasked}
                view = View(one.saliency, regions, own.__getitem__, parts, one.answers)
                empty = (one.saliency.flatten(1).amax(1) <= 0).tolist()
                columns = [metric.compute(view) for metric in study.measured]
                for i, values in enumerate(result):
                    values.append(
                        {"method": one.method, "contrast": one.contrast, "empty": empty[i]}
                        | {name: found[i] for column in columns for name, found in column.items()}
                    )
            return result

    def _maps(
        self, batch: Sequence[Placed], look: Look, evidence: Sequence[Evidence], questions: Questions
    ) -> Iterator[Map]:
        """Yield every map in the order of the rows, controls last."""
        gathered_by = {own.how.spec: own for own in evidence if own.how is not None}
        for way in self.study.ways:
            if isinstance(way, Method):
                ids = [photo.entry.id for photo in batch]
                yield from maps_of(gathered_by[way.spec], questions, ids, controls=self.study.controls)
            else:
                stacked = np.stack([photo.given[way.spec] for photo in batch])
                yield Map(way.spec, GIVEN, torch.from_numpy(stacked).to(look.images.device))
        if self.study.controls:
            for name, saliency in controls([photo.entry.id for photo in batch], look.image_size).items():
                yield Map(name, CONTROL, saliency.to(look.images.device))

    def _confidences(
        self,
        look: Look,
        maps: Sequence[Map],
        cuts: Sequence[Cut],
        pair: Int[Tensor, "b 2"],
        unmasked: Float[Tensor, "b 2"],
    ) -> Float[Tensor, "m b n 2"]:
        """Return the probabilities of both classes for every map and cut."""
        if not cuts:
            return unmasked.new_empty(len(maps), len(unmasked), 0, 2)
        blocks = sorted({cut.cells for cut in cuts})
        ranks: dict[tuple[str, str], dict[int, Tensor]] = {}
        for one in maps:
            # Cubing changes no order of pixels, and the base comes before.
            base = ranks.get((one.method, PLAIN_NAME), {}) if one.contrast == CUBED else {}
            ranks[one.method, one.contrast] = {
                cells: base[0] if cells == 0 and base else ranking(in_blocks(one.saliency, cells)) for cells in blocks
            }
        preprocessing, fill = self.bench.model.preprocessing, self.study.fill
        return masked_confidences(
            self._timed_rerun(look),
            look.images,
            list(ranks.values()),
            cuts,
            pair,
            unmasked,
            fill=lambda name: filling(look.images, name or fill, preprocessing.mean, preprocessing.std),
            probabilities=self.bench.model.probabilities,
        )

    def _timed_rerun(self, look: Look) -> Callable[[Callable[[Tensor, Tensor], Tensor], Tensor], Iterator[Altered]]:
        """Return the look's ``rerun`` with the time of the runs charged to the model, and of the copies not."""
        clock = self.bench.clock

        def rerun(make: Callable[[Tensor, Tensor], Tensor], wanted: Tensor) -> Iterator[Altered]:
            def made(image: Tensor, copy: Tensor) -> Tensor:
                with clock("masking"):
                    return make(image, copy)

            stream = look.rerun(made, wanted)
            while True:
                with clock("model"):
                    altered = next(stream, None)
                if altered is None:
                    return
                yield altered

        return rerun

    def _regions(
        self, batch: Sequence[Placed], others: Sequence[int], size: tuple[int, int]
    ) -> dict[str, Bool[Tensor, "b H W"]]:
        unknown = np.zeros(size, bool)
        found: dict[str, list[NDArray[Any]]] = {
            name: [] for name in ("box", "mask", OBJECT, "difference", "present", "absent")
        }
        for photo, other in zip(batch, others, strict=True):
            box, mask = photo.regions.get("box", unknown), photo.regions.get("mask", unknown)
            found["box"].append(box)
            found["mask"].append(mask)
            found[OBJECT].append(photo.regions.get("box", mask))
            label = self._label_of_class.get(other, -1)
            apart = photo.differences.get(label, unknown)
            found["difference"].append(apart)
            found["present"].append(unknown if label in photo.absent else apart)
            found["absent"].append(apart if label in photo.absent else unknown)
        device = self.bench.model.device
        return {name: torch.from_numpy(np.stack(masks)).to(device) for name, masks in found.items()}


def _margins(logits: Float[Tensor, "b C"], pair: Int[Tensor, "b 2"]) -> Float[Tensor, " b"]:
    own, other = logits.gather(1, pair.clamp(min=0)).unbind(1)
    return own - other


def _part_points(batch: Sequence[Placed]) -> PartPoints:
    """Return the photos' part points, as many for each as the one with most of them has."""
    width = max((len(photo.points) for photo in batch if photo.points is not None), default=0)
    points = torch.full((len(batch), width, 2), float("nan"), dtype=torch.float64)
    for i, photo in enumerate(batch):
        if photo.points is not None:
            points[i, : len(photo.points)] = torch.from_numpy(photo.points)
    return PartPoints(points, torch.tensor([photo.extent for photo in batch], dtype=torch.float64))
