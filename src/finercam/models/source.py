"""Where models come from: the record of a source, and the registry of sources.

A source is a library of models, or a single one. It is registered where it is written, with a function for each thing
that it can make: a classifier, a backbone, a model of images and text. That is in a file of
``finercam/models/sources``, in a package with an entry point in the group ``finercam.sources``, or in any module that
is imported before the source is asked for::

    def classifier(checkpoint: Checkpoint) -> ClassifierParts:
        module = my_network(checkpoint.name)
        if checkpoint.pretrained:
            module.load_state_dict(my_weights(checkpoint.name))
        return ClassifierParts(module, Preprocessing(my_transform, (224, 224), MEAN, STD), my_class_names)

    source("mine", specs=("mine/NAME",), classifier=classifier)

``finercam.load("mine/shells")`` then calls ``classifier(Checkpoint("shells"))``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import torch
from torch import nn

from finercam.errors import FinercamError
from finercam.models.preprocessing import Preprocessing
from finercam.models.text_image import TextImageModel
from finercam.registry import Registry


@dataclass(frozen=True)
class Checkpoint:
    """Which model a source is asked for.

    Attributes:
        name: as the source knows it: what a spec has after ``SOURCE/``; empty where a spec is the source's name alone.
        pretrained: ``False`` asks for random weights of the architecture.
        revision: of a model on a hub. A source without revisions refuses one.
    """

    name: str
    pretrained: bool = True
    revision: str | None = None


@dataclass(frozen=True, eq=False)
class ClassifierParts:
    """What a classifier is made of.

    Attributes:
        module: maps images b 3 H W to logits b C, as ``Classifier.of`` takes it. It is moved to the device later.
        preprocessing: how a photo becomes an input.
        class_names: in the order of the logits, if they have names.
        probabilities: ``softmax``, or ``sigmoid`` where each class has a probability of its own.
    """

    module: nn.Module
    preprocessing: Preprocessing
    class_names: Sequence[str] | None = None
    probabilities: str = "softmax"


@dataclass(frozen=True, eq=False)
class BackboneParts:
    """What a backbone is made of.

    Attributes:
        module: maps images b 3 H W to features b K; it has no classification head.
        preprocessing: how a photo becomes an input.
        resize: given the side of a square input in pixels, has the module take such images and returns the
            preprocessing for them; ``None`` where the size is fixed.
    """

    module: nn.Module
    preprocessing: Preprocessing
    resize: Callable[[int], Preprocessing] | None = None


MakeClassifier: TypeAlias = Callable[[Checkpoint], ClassifierParts]
#: The second argument is the pooling: ``auto``, ``mean`` or ``cls``, as for ``load_backbone``.
MakeBackbone: TypeAlias = Callable[[Checkpoint, str], BackboneParts]
#: Both towers are on the device already.
MakeTextImage: TypeAlias = Callable[[Checkpoint, torch.device], TextImageModel]


@dataclass(frozen=True)
class Saved:
    """How to tell that a folder holds a model of a source's.

    Attributes:
        file: a file in it.
        key: a key of the JSON object in that file. Leave it out where nobody else writes files of that name; without
            a key the file alone decides, whatever else is in the folder.
        without: a key that the object must not have.
        prefix: the source loads the folder by the name ``PREFIX`` + folder.
    """

    file: str
    key: str = ""
    without: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class Source:
    """Where models come from. What a source cannot make is ``None``.

    Attributes:
        name: what comes before the first slash of a spec.
        specs: how to write one: ``("mine/NAME",)``. The name alone, ``("mine",)``, is a single model.
        classifier: makes the parts of a classifier.
        backbone: makes the parts of a backbone.
        text_image: makes a model of images and text.
        saved: how its folders are recognised, if it has any.
        install: what ``pip install`` takes, where the source needs more than finercam does.
    """

    name: str
    specs: tuple[str, ...]
    classifier: MakeClassifier | None = None
    backbone: MakeBackbone | None = None
    text_image: MakeTextImage | None = None
    saved: Saved | None = None
    install: str = ""

    def takes(self, name: str) -> bool:
        """Whether a spec may have this name after the source's own; an empty one means that there is none."""
        return any("/" in spec for spec in self.specs) if name else self.name in self.specs

    def spec(self, name: str) -> str:
        """Return the spec of one of its models, such that it works from any working directory."""
        if not name:
            return self.name
        if self.saved is not None and name.startswith(self.saved.prefix):
            folder = Path(name.removeprefix(self.saved.prefix))
            if folder.is_dir():
                name = f"{self.saved.prefix}{folder.resolve()}"
        return f"{self.name}/{name}"


#: All sources: what ``finercam.load``, ``load_backbone`` and ``finercam.models.text`` know.
SOURCES: Registry[Source] = Registry("model source", "finercam.sources", "finercam.models.sources")


def source(
    name: str,
    *,
    specs: Sequence[str] = (),
    classifier: MakeClassifier | None = None,
    backbone: MakeBackbone | None = None,
    text_image: MakeTextImage | None = None,
    saved: Saved | None = None,
    install: str = "",
) -> Source:
    """Register a source of models, and return it; the arguments are those of ``Source``.

    The functions may raise what they like: users are shown the first line of it. A ``FinercamError`` is shown as it is.

    Args:
        name: must not be taken; case, hyphens and underscores do not matter.
        specs: how to write one; by default ``NAME/MODEL``.
        classifier, backbone, text_image: what it can make; at least one of them.
        saved: how its folders are recognised.
        install: what ``pip install`` takes, where the source needs more than finercam does.

    Raises:
        FinercamError: the name is taken or cannot be written in a spec, a spec begins with another one, or there is
            nothing that the source makes.
    """
    specs = tuple(specs) or (f"{name}/MODEL",)
    if "/" in name:
        raise FinercamError(f"{name!r} cannot be the name of a model source: the model follows the first slash")
    stray = next((spec for spec in specs if spec.partition("/")[0] != name), None)
    if stray is not None:
        raise FinercamError(f"the specs of the model source {name!r} begin with its name; {stray!r} does not")
    if classifier is None and backbone is None and text_image is None:
        raise FinercamError(f"the model source {name!r} makes nothing; give classifier=, backbone= or text_image=")
    made = Source(name, specs, classifier, backbone, text_image, saved, install)
    SOURCES.add(name, made)
    return made


def alias(name: str, of: Source, model: str) -> Source:
    """Register one model of a source under a name of its own, and return that as a source.

    Args:
        name: ``finercam.load(name)`` loads the model.
        of: the source.
        model: what that source knows it by, as in ``Checkpoint``.

    Raises:
        FinercamError: as for ``source``.
    """
    classifier, backbone, text_image = of.classifier, of.backbone, of.text_image

    def that(checkpoint: Checkpoint) -> Checkpoint:
        return replace(checkpoint, name=model)

    return source(
        name,
        specs=(name,),
        classifier=None if classifier is None else lambda asked: classifier(that(asked)),
        backbone=None if backbone is None else lambda asked, pool: backbone(that(asked), pool),
        text_image=None if text_image is None else lambda asked, device: text_image(that(asked), device),
        install=of.install,
    )
