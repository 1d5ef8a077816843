"""Where attributes are on a photo, as a model of images and text says."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image

from finercam.contrast.contrast import Contrast
from finercam.data.attributes import Attributes
from finercam.data.placement import Placer
from finercam.errors import FinercamError
from finercam.explanations.answering import answer, ask, gather_each
from finercam.explanations.explaining import preprocess
from finercam.methods.method import find_method
from finercam.models.classifier import Classifier
from finercam.models.run import Run
from finercam.models.text import BARE, text
from finercam.runs.loaded import loaded_classifier
from finercam.studies.faithfulness.rows import Placed


class Words(ABC):
    """Says where phrases are on photos. Sent to other processes as it is."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return what decides its maps, as plain data."""

    @abstractmethod
    def maps(
        self, photos: Sequence[Image.Image], phrases: Sequence[Sequence[str]], run: Run
    ) -> list[dict[str, Placed]]:
        """Return, for each photo, the map of each of its phrases over an input, and how the photo lies in that."""


@dataclass(frozen=True, eq=False)
class TextMaps(Words):
    """Maps of phrases against a base word: "red wings", and not just "bird" (arXiv 2501.11309, Section 3.3).

    The model is loaded when it is first asked for, in every process by itself.

    Args:
        model: as ``finercam.models.text`` takes it.
        attributes: their phrases are what can be asked for.
        base: what phrases are compared with.
        gamma, method: how maps are made.
        device: as for ``finercam.load``.

    Raises:
        FinercamError: the base is one of the phrases.
    """

    model: str | os.PathLike[str]
    attributes: Attributes
    base: str = "bird"
    gamma: float = 0.6
    method: str = "gradcam"
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.base in self.phrases:
            raise FinercamError(
                f"base is {self.base!r}, which is an attribute itself; give what all of them are part of"
            )

    def settings(self) -> dict[str, Any]:
        """Return what decides the maps, as plain data."""
        return {
            "model": dict(loaded_classifier(self.classifier).identity),
            "base": self.base,
            "gamma": self.gamma,
            "method": find_method(self.method).spec,
        }

    @cached_property
    def phrases(self) -> dict[str, int]:
        """The phrases of the attributes, each with its class; the base is class 0."""
        phrases = dict.fromkeys(one.phrase for one in self.attributes.attributes if one.phrase)
        return {phrase: number for number, phrase in enumerate(phrases, 1)}

    @cached_property
    def classifier(self) -> Classifier:
        """The text model, with the base and the phrases as its classes.

        Raises:
            FinercamError: the model cannot be loaded or knows no text, or a phrase is not one it can read.
        """
        return text(self.model, [self.base, *self.phrases], templates=BARE, device=self.device)

    def maps(
        self, photos: Sequence[Image.Image], phrases: Sequence[Sequence[str]], run: Run
    ) -> list[dict[str, Placed]]:
        """Return, for each photo, each of its phrases' saliency over the text model's input, and how it lies there."""
        found: list[dict[str, Placed]] = [{} for _ in photos]
        asked = [i for i, own in enumerate(phrases) if own]
        if not asked:
            return found
        classifier, how = self.classifier, find_method(self.method)
        images = torch.stack([preprocess(classifier, photos[i]) for i in asked])
        against_base = Contrast(against=[0], gamma=self.gamma)
        # The n-th phrase of every photo is one question; a photo with fewer repeats its first.
        turns = [
            [phrases[i][turn if turn < len(phrases[i]) else 0] for i in asked]
            for turn in range(max(len(phrases[i]) for i in asked))
        ]
        with classifier.look(images, run, at=how.taps(classifier)) as look:
            questions = [
                ask(classifier, look.logits, [against_base], [self.phrases[phrase] for phrase in turn])[0]
                for turn in turns
            ]
            (evidence,) = gather_each(look, [how], questions)
            for turn, question in zip(turns, questions, strict=True):
                saliency = answer(evidence, question).saliency.detach().float().cpu()
                for n, (i, phrase) in enumerate(zip(asked, turn, strict=True)):
                    found[i].setdefault(phrase, (saliency[n], self._placer(photos[i].size)))
        return found

    @cached_property
    def _placer(self) -> Placer:
        return Placer(self.classifier.preprocessing)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model here: the other process loads its own."""
        return {key: value for key, value in self.__dict__.items() if key not in ("classifier", "_placer")}
