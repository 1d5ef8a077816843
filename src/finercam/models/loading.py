"""``load()``: a classifier from where people have them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from finercam.errors import FinercamError, nearest
from finercam.models.classifier import Classifier
from finercam.models.grid import Grid

#: Library -> (module with its ``classifier_parts``, how a spec is written).
LIBRARIES = {
    "timm": ("finercam.models.sources.timm", "timm/NAME, timm/hf-hub:ORG/NAME, timm/local-dir:FOLDER"),
    "torchvision": ("finercam.models.sources.torchvision", "torchvision/NAME[/WEIGHTS]"),
    "transformers": ("finercam.models.sources.transformers", "transformers/ORG/NAME, transformers/FOLDER"),
    "open_clip": ("finercam.models.sources.open_clip", "open_clip/NAME/WEIGHTS, open_clip/local-dir:FOLDER"),
    "probe": ("finercam.models.sources.probe", "probe/FOLDER (made by finercam probe)"),
}

#: Models that come with this package.
EMBEDDED = ("aviary", "aviary-clip")


def load(
    spec: str | os.PathLike[str],
    *,
    layer: str | Sequence[str] | None = None,
    grid: Grid | None = None,
    device: str = "auto",
    pretrained: bool = True,
    revision: str | None = None,
    classes: Sequence[str] | None = None,
) -> Classifier:
    """Load a classifier with its own preprocessing and class names, ready to be explained.

    Args:
        spec: ``timm/NAME``, ``torchvision/NAME[/WEIGHTS]``, ``transformers/ORG/NAME``, ``open_clip/NAME/WEIGHTS``
            (image tower), a folder in timm's, transformers' or OpenCLIP's format or of a trained probe, or
            ``aviary``, the small embedded classifier (``aviary-clip``: its text-image model).
        layer, grid: as for ``Classifier``, where the layer found is not the one wanted.
        device: ``auto`` (an accelerator if there is one), or as torch names devices.
        pretrained: ``False`` gives random weights of the architecture.
        revision: of a model on a hub.
        classes: names by which a model of images and text (OpenCLIP; CLIP and SigLIP of transformers) tells
            photos apart, with no training: ``finercam.models.text`` with its usual template.

    Raises:
        FinercamError: no such model, no access to its weights, or a model without a classification head.
    """
    spec = os.fspath(spec)
    if classes is not None:
        from finercam.models.text import text

        return text(
            spec, classes, layer=layer, grid=grid, device=device, pretrained=pretrained, revision=revision
        )  # fmt: skip
    library, name = parse_spec(spec)
    target = find_device(device)
    parts_of: Callable[..., dict[str, Any]] = import_module(LIBRARIES[library][0]).classifier_parts
    with plain_errors(spec, library):
        parts = parts_of(name, pretrained=pretrained, revision=revision)
    module: nn.Module = parts.pop("module")
    return Classifier.of(module.to(target).eval(), layer=layer, grid=grid, name=spec, **parts)


@contextmanager
def plain_errors(spec: str, library: str) -> Iterator[None]:
    """Say in one line of finercam's what a library had to say while it loaded a model."""
    try:
        yield
    except FinercamError:
        raise
    except ModuleNotFoundError as error:
        raise FinercamError(f"{spec} needs {error.name}; pip install 'finercam[{library}]'") from error
    except Exception as error:
        # The libraries raise whatever their hub, file or config readers raise; the first line says it best.
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        offline = "; without a connection, give the folder of a downloaded model" if isinstance(error, OSError) else ""
        raise FinercamError(f"{spec} could not be loaded: {type(error).__name__}: {first}{offline}") from error


def find_device(device: str) -> torch.device:
    """Return the device of that name; ``auto`` takes an accelerator if there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise FinercamError(
            f"device {device!r} cannot be used here: {next(iter(str(error).splitlines()), '')}"
        ) from error
    return found


def parse_spec(spec: str) -> tuple[str, str]:
    """Return the library and the name it loads the model by.

    Raises:
        FinercamError: it is neither a folder nor a model's name.
    """
    if spec == "aviary":
        from finercam.aviary import MODEL

        return _recognise(MODEL)
    if spec == "aviary-clip":
        from finercam.aviary.clip import folder

        return _recognise(folder())
    library, _, name = spec.partition("/")
    if library in LIBRARIES and name:
        return library, name
    if Path(spec).is_dir():
        return _recognise(Path(spec))
    ways = "; ".join(way for _, way in LIBRARIES.values())
    hint = nearest(library, LIBRARIES) if library not in LIBRARIES and "/" in spec else "a name is missing"
    raise FinercamError(f"{spec!r} is neither a folder nor a model's name ({hint}); write {ways}")


def _recognise(folder: Path) -> tuple[str, str]:
    """Return which library saved the folder, and the name that library loads it by."""
    if (folder / "probe.json").is_file():
        return "probe", str(folder)
    if (folder / "open_clip_config.json").is_file():
        return "open_clip", f"local-dir:{folder}"
    config = folder / "config.json"
    if not config.is_file():
        raise FinercamError(f"folder {str(folder)!r} has no config.json and is no model of timm or transformers")
    try:
        keys = json.loads(config.read_text(encoding="utf-8")).keys()
    except (ValueError, AttributeError) as error:
        raise FinercamError(f"{str(config)!r} is not a model's configuration: {error}") from error
    if "architecture" in keys:
        return "timm", f"local-dir:{folder}"
    if "model_type" in keys:
        return "transformers", str(folder)
    raise FinercamError(
        f"{str(config)!r} is neither timm's (key 'architecture') nor transformers' (key 'model_type'); "
        f"its keys are {', '.join(list(keys)[:8])}"
    )
