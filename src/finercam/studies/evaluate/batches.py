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

from finercam.errors import FinercamError
from finercam.methods.evidence import Evidence
from finercam.methods.method import Method
from finercam.metrics.controls import controls
from finercam.metrics.masked_runs import masked_confidences
from finercam.metrics.masking import filling, ranking
from finercam.metrics.points import PartPoints
from finercam.metrics.view import OBJECT, UNMASKED, Cut, View
from finercam.models.altering import Altered
from finercam.models.assumed import as_probabilities
from finercam.models.classifier import Classifier
from finercam.models.folding import folded
from finercam.models.look import Look
from finercam.runs.study import Bench, Row
from finercam.studies.evaluate.given import GIVEN
from finercam.studies.evaluate.maps import CUBED, Map, Questions, gathered, maps_of, others_of
from finercam.studies.evaluate.placing import Placed

if TYPE_CHECKING:
    from finercam.studies.evaluate.evaluation import Evaluation

#: The contrast of a control's rows.
CONTROL = "control"


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
        others = others_of(look.logits, targets)
        if bool((others < 0).any()):
            raise FinercamError("a target has no other class with a finite logit to be compared with")
        pair = torch.stack([targets, others], 1)
        unmasked = as_probabilities(look.logits, self.bench.model.probabilities).gather(1, pair)
        rows = [
            {
                "target": target,
                "other": other,
                "predicted": top,
                "correct": top == photo.entry.target if photo.entry.target >= 0 else None,
                "confidence": confidence,
                "other confidence": other_confidence,
            }
            for photo, top, (target, other), (confidence, other_confidence) in zip(
                batch, predicted.tolist(), pair.tolist(), unmasked.tolist(), strict=True
            )
        ]
        explained = [i for i, row in enumerate(rows) if row["correct"] or not study.only_correct]
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

    def _measured(
        self, batch: Sequence[Placed], look: Look, pair: Int[Tensor, "b 2"], unmasked: Float[Tensor, "b 2"]
    ) -> list[list[dict[str, Any]]]:
        """Return, for each photo, the values of each map."""
        study, clock = self.study, self.bench.clock
        questions = Questions.about(look, study.contrasts, study.others, pair[:, 0], pair[:, 1])
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
                for one in maps_of(gathered_by[way.spec], questions):
                    if self.study.controls or one.contrast != CUBED:
                        yield one
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
        ranks: list[Tensor] = []
        for one in maps:
            # Cubing changes no order, and the base comes right before.
            ranks.append(ranks[-1] if one.contrast == CUBED else ranking(one.saliency))
        preprocessing = self.bench.model.preprocessing
        return masked_confidences(
            self._timed_rerun(look),
            look.images,
            ranks,
            cuts,
            pair,
            unmasked,
            fill=filling(look.images, self.study.fill, preprocessing.mean, preprocessing.std),
            blurred=lambda: filling(look.images, "blur"),
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
        found: dict[str, list[NDArray[Any]]] = {"box": [], "mask": [], OBJECT: [], "difference": []}
        for photo, other in zip(batch, others, strict=True):
            box, mask = photo.regions.get("box", unknown), photo.regions.get("mask", unknown)
            found["box"].append(box)
            found["mask"].append(mask)
            found[OBJECT].append(photo.regions.get("box", mask))
            found["difference"].append(photo.differences.get(self._label_of_class.get(other, -1), unknown))
        device = self.bench.model.device
        return {name: torch.from_numpy(np.stack(masks)).to(device) for name, masks in found.items()}


def _part_points(batch: Sequence[Placed]) -> PartPoints:
    """Return the photos' part points, as many for each as the one with most of them has."""
    width = max((len(photo.points) for photo in batch if photo.points is not None), default=0)
    points = torch.full((len(batch), width, 2), float("nan"), dtype=torch.float64)
    for i, photo in enumerate(batch):
        if photo.points is not None:
            points[i, : len(photo.points)] = torch.from_numpy(photo.points)
    return PartPoints(points, torch.tensor([photo.extent for photo in batch], dtype=torch.float64))
