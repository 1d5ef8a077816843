"""*Parameter randomisation*: how alike are the maps of a network and of the same network with weights made random?

MPRT (Adebayo et al., arXiv 1810.03292), or with ``samples`` sMPRT (Hedström et al., arXiv 2401.06465); see
``finercam.studies.sanity.randomising``.

An item of the study is an image, and its rows are the layers: a part of the run holds a few images with all of their
layers. Parts of one layer over all images would have to keep every image's map of the intact network from one part to
the next. The price is that every batch goes through all layers; the random weights are therefore drawn once, and
each further time only copied.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor, nn

from finercam.contrast.contrast import Contrast
from finercam.contrast.objective import Objective
from finercam.contrast.question import Question
from finercam.data.dataset import Dataset, Item
from finercam.errors import check_between
from finercam.explanations.answering import Answer, answer, ask, gather_each
from finercam.methods.method import find_method
from finercam.models.classifier import Classifier
from finercam.models.look import Look
from finercam.models.passes import forward_pass
from finercam.models.undisturbed import undisturbed
from finercam.runs.rows import Rows
from finercam.runs.study import Bench, Measurer, Opened, Prepared, Row, Study
from finercam.studies.sanity.likeness import (
    COLUMNS,
    Likeness,
    LikenessSummary,
    Maps,
    check_target,
    compared,
    question_name,
    summarise,
)
from finercam.studies.sanity.randomising import Randomised, steps_of, weighted_layers


@dataclass(frozen=True)
class RandomisedRow(Likeness):
    """One image, its map before and after a layer was made random; ``empty`` is of the randomised network.

    Attributes:
        layer: the one made random last, ``(itself)`` for weights the module has beside those of its parts.
    """

    layer: str


@dataclass(frozen=True)
class Randomisation(Study[Classifier, Prepared]):
    """How alike each image's map is to that of the network with layers made random: the lower, the better.

    The question stays the same row of coefficients throughout: targets and references are those of the intact
    network, as random logits would name others. The classifier is not changed.

    Args:
        contrast, method: what is asked and how it is answered.
        target: the class ``predicted`` or the ``label``.
        layers: dotted names from the input to the output; all with weights, as they run, if left out.
        order, redraw, seed: as for ``finercam.studies.sanity.randomising.Randomised``.
        samples: maps are the mean over so many noisy copies of each image; 0 takes the image as it is.
        noise: standard deviation of that noise, as a share of the image's range of values.

    Attributes:
        title, of: headings of the table, and of its first column.

    Raises:
        FinercamError: an unknown target, or a negative number of samples.
    """

    contrast: Contrast | Objective = field(default_factory=Contrast)
    method: str = "gradcam"
    target: str = "predicted"
    layers: tuple[str, ...] | None = None
    order: str = "top-down"
    redraw: str = "shuffle"
    seed: int = 0
    samples: int = 0
    noise: float = 0.1

    name: ClassVar[str] = "randomisation"
    title: ClassVar[str] = "Maps of the network and of the network with layers made random"
    of: ClassVar[str] = "layer"
    row_key: ClassVar[tuple[str, ...]] = ("layer",)

    def __post_init__(self) -> None:
        check_target(self.target)
        # 0 takes the image as it is.
        check_between("samples", self.samples, 0, 10_000)

    def settings(self) -> dict[str, Any]:
        """Return all that decides the numbers."""
        return {
            "contrast": question_name(self.contrast),
            "method": find_method(self.method).spec,
            "target": self.target,
            "layers": None if self.layers is None else list(self.layers),
            "order": self.order,
            "redraw": self.redraw,
            "seed": self.seed,
            "samples": self.samples,
            "noise": self.noise if self.samples else 0.0,
        }

    def schema(self) -> pa.Schema:
        """Return the columns of ``RandomisedRow``."""
        return pa.schema([("layer", pa.string()), *COLUMNS])

    def uses(self) -> Iterable[Any]:
        """Return the functions of the method and of the objective."""
        yield from find_method(self.method).functions
        if isinstance(self.contrast, Objective):
            yield self.contrast.function

    def check(self, model: Classifier, dataset: Dataset) -> None:
        """Raise where a layer cannot be made random."""
        find_method(self.method)
        steps_of(model.module, self.layers, self.order, self.redraw)

    def takes(self, item: Item, target: int) -> bool:
        """Return whether the item has a class that can be explained."""
        return self.target != "label" or target >= 0

    def prepare(self, opened: Opened) -> Prepared:
        """Return the photo's input."""
        return Prepared(opened.entry, opened.image)

    def start(self, bench: Bench[Classifier]) -> Measurer[Prepared]:
        """Return what measures batches."""
        return _Checks(self, bench)

    def summary(self, rows: Rows) -> list[LikenessSummary]:
        """Return a line for each layer, in the order in which they were made random.

        The intervals are over images, for this one draw of random weights: another ``seed`` may lie outside of them.
        """
        by_layer: dict[str, list[Likeness]] = {}
        for row in rows.records(RandomisedRow):
            by_layer.setdefault(row.layer, []).append(row)
        return [summarise(layer, own) for layer, own in by_layer.items()]


class _Checks:
    """Compares the maps of the intact network with those of every randomised one, batch by batch."""

    def __init__(self, study: Randomisation, bench: Bench[Classifier]) -> None:
        self._study, self._bench, self._how = study, bench, find_method(study.method)
        layers = running_order(bench.model) if study.layers is None else study.layers
        module = bench.model.module
        self._networks = Randomised(module, layers, order=study.order, redraw=study.redraw, seed=study.seed)
        self._at = self._how.taps(bench.model)

    def __call__(self, batch: Sequence[Prepared]) -> list[list[Row]]:
        """Return, for each image, a row per layer."""
        study, model, run, clock = self._study, self._bench.model, self._bench.run, self._bench.clock
        images = model.take(torch.from_numpy(np.stack([one.image for one in batch])))
        copies = self._copies(images, batch)
        with clock("model"), model.look(images, run, at=() if study.samples else self._at) as look:
            targets = [one.entry.target for one in batch] if study.target == "label" else None
            (question,) = ask(model, look.logits, [study.contrast], targets)
            plain = [] if study.samples else [self._answer(look, question)]
        with clock("model"):
            intact = Maps.mean(plain or self._answers(model, copies, question))
        found: list[list[Row]] = [[] for _ in batch]
        for layer, module in self._networks:
            with clock("randomised models"):
                maps = Maps.mean(self._answers(around(model, module), copies or [images], question))
            with clock("measures"):
                for rows, own in zip(found, compared(intact, maps, maps.empty), strict=True):
                    rows.append({"layer": layer or "(itself)", **own})
        return found

    def _answers(self, model: Classifier, copies: Sequence[Tensor], question: Question) -> list[Answer]:
        """Return the answer to the question for each copy of a batch."""
        answers = []
        for images in copies:
            with model.look(images, self._bench.run, at=self._at) as look:
                answers.append(self._answer(look, question))
        return answers

    def _answer(self, look: Look, question: Question) -> Answer:
        """Return the answer to the question as it stands, whatever the logits are here."""
        (evidence,) = gather_each(look, [self._how], [question])
        return answer(evidence, question)

    def _copies(self, images: Float[Tensor, "b c H W"], batch: Sequence[Prepared]) -> list[Float[Tensor, "b c H W"]]:
        """Return noisy copies of a batch; each image's noise is its own, however images are put into batches."""
        study = self._study
        return [
            torch.stack(
                [
                    _noisy(image, study.noise, study.seed, one.entry.id, sample)
                    for image, one in zip(images, batch, strict=True)
                ]
            )
            for sample in range(study.samples)
        ]


def _noisy(image: Float[Tensor, "c H W"], noise: float, seed: int, number: int, sample: int) -> Tensor:
    generator = torch.Generator().manual_seed(((seed * 1_000_003 + number) * 1_000_003 + sample) % 2**63)
    drawn = torch.randn(image.shape, generator=generator, dtype=torch.float32).to(image)
    return image + noise * (image.amax() - image.amin()) * drawn


def around(classifier: Classifier, module: nn.Module) -> Classifier:
    """Return the classifier with a copy of its module in the module's place: same layers, grids and names.

    Not built anew: what a random network does on noise says nothing about where its maps are.
    """
    head = None
    if classifier.head is not None:
        names = [name for name, part in classifier.module.named_modules() if part is classifier.head]
        part = module.get_submodule(names[0])
        assert isinstance(part, nn.Linear)
        head = part
    return replace(classifier, module=module, head=head)


def running_order(classifier: Classifier) -> list[str]:
    """Return the names of all layers with weights, in the order in which they begin to run.

    A layer that does not run as a module (its parent reads its weights, or it is for training only) follows the
    innermost one around it that does.
    """
    module = copy.deepcopy(classifier.module)
    began: dict[str, int] = {}

    def note(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(part: nn.Module, args: Any) -> None:
            began.setdefault(name, len(began))

        return hook

    for name, part in module.named_modules():
        part.register_forward_pre_hook(note(name))
    noise = classifier.noise()
    with undisturbed(module):
        forward_pass(module, classifier.take(noise), "float32")

    def start(name: str) -> int:
        while name not in began:
            name = name.rpartition(".")[0]
        return began[name]

    return sorted(weighted_layers(module), key=start)
