"""Linear probes: a trained linear head on a frozen backbone, kept in a folder of two small files.

``probe.json`` says which backbone, by which weights and how pooled; ``head.safetensors`` holds ``weight`` (C K) and
``bias`` (C). The backbone itself is not copied. ``finercam.load(FOLDER)`` puts the two together again and refuses if
the backbone's weights are not those the head was trained on.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from finercam.errors import FinercamError
from finercam.files import whole
from finercam.models.backbone import Backbone, Probe, load_backbone
from finercam.models.classifier import Classifier
from finercam.models.source import Checkpoint, ClassifierParts, Saved, source
from finercam.texts import encoded

RECORD, HEAD, FORMAT = "probe.json", "head.safetensors", 1


def classifier(checkpoint: Checkpoint) -> ClassifierParts:
    """Return the module, preprocessing and class names of the probe in the folder of that name.

    Raises:
        FinercamError: it is not a probe, its backbone cannot be loaded, or the backbone's weights have changed.
    """
    if not checkpoint.pretrained or checkpoint.revision is not None:
        raise FinercamError("a probe is its trained weights on one revision of its backbone; leave both options out")
    folder = Path(checkpoint.name)
    record = read_record(folder)
    try:
        backbone = load_backbone(
            record["backbone"],
            record["pool"],
            image_size=record["image_size"],
            device="cpu",
            revision=record["revision"],
        )
    except FinercamError as error:
        raise FinercamError(
            f"the probe {str(folder)!r} is based on the backbone {record['backbone']!r}, and {error}. If the backbone "
            f"is elsewhere now, write where as 'backbone' in {str(folder / RECORD)!r}"
        ) from error
    if backbone.weights != record["weights"]:
        raise FinercamError(
            f"the backbone {record['backbone']!r} of the probe {str(folder)!r} has changed: its weights hash to "
            f"{backbone.weights[:12]}, the head was trained on {record['weights'][:12]}. Put the old weights back "
            "(a hub's revision= keeps them), or train the probe again"
        )
    now = backbone.record()["preprocessing"]
    if now != record["preprocessing"]:
        raise FinercamError(
            f"the preprocessing of the backbone {record['backbone']!r} has changed since the probe {str(folder)!r} was "
            f"trained: {record['preprocessing']} then, {now} now; train the probe again"
        )
    weight, bias = read_head(folder / HEAD)
    return _parts(backbone, weight, bias, record["labels"])


def from_head(
    backbone: str | os.PathLike[str] | Backbone,
    head: str | os.PathLike[str],
    *,
    class_names: Sequence[str],
    pool: str = "auto",
    image_size: int | None = None,
    device: str = "auto",
    revision: str | None = None,
) -> Classifier:
    """Return a classifier of a backbone and a linear head that was saved elsewhere, as the authors' are.

    Args:
        backbone: what ``finercam.load`` takes, or a ``Backbone`` (``pool``, ``image_size``, ``device`` and
            ``revision`` are then its own). The authors' DINOv2 heads belong on
            ``timm/vit_base_patch14_dinov2.lvd142m`` with ``pool="mean"`` and ``image_size=224``, their CLIP heads on
            ``open_clip/ViT-B-16/laion400m_e32`` with ``pool="mean"``.
        head: a ``torch.save``d state of an ``nn.Linear`` (read as weights only), or safetensors.
        class_names: in the order of the head's rows.
        pool, image_size, device, revision: as for ``load_backbone``.

    Raises:
        FinercamError: the file does not hold such a head, or the head does not fit the backbone or the class names.
    """
    if not isinstance(backbone, Backbone):
        backbone = load_backbone(backbone, pool, image_size=image_size, device=device, revision=revision)
    weight, bias = read_head(head)
    parts = _parts(backbone, weight, bias, class_names)
    name = f"{backbone.spec} + {Path(head).name}"
    return Classifier.from_parts(parts.module, parts.preprocessing, class_names=parts.class_names, name=name)


def read_head(path: str | os.PathLike[str]) -> tuple[Float[Tensor, "C K"], Float[Tensor, " C"] | None]:
    """Return weight and bias of a linear layer, in float32, from a file; nothing in it is ever run.

    The keys are ``weight`` and ``bias``, with or without a prefix (``linear.weight``). Without a bias it is ``None``.

    Raises:
        FinercamError: the file cannot be read, or holds not just one linear layer.
    """
    path = Path(path)
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FinercamError(f"there is no file {str(path)!r}") from None
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise FinercamError(
            f"{str(path)!r} cannot be read as weights ({type(error).__name__}); save a linear layer's state_dict() "
            "with torch.save"
        ) from error
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)} if _is_dict(state) else {}
    weights = [key for key, value in tensors.items() if key.split(".")[-1] == "weight" and value.ndim == 2]
    if len(weights) != 1 or len(tensors) > 2:
        keys = ", ".join(list(state)[:6]) if _is_dict(state) else type(state).__name__
        raise FinercamError(
            f"{str(path)!r} does not hold one linear layer (a weight C K and a bias C) but: {keys or 'nothing'}"
        )
    weight = tensors[weights[0]]
    bias = tensors.get(weights[0].removesuffix("weight") + "bias")
    if (bias is None and len(tensors) > 1) or (bias is not None and bias.shape != weight.shape[:1]):
        raise FinercamError(f"{str(path)!r} has a weight of shape {tuple(weight.shape)} but no bias that goes with it")
    return weight.float(), None if bias is None else bias.float()


def _is_dict(state: Any) -> bool:
    return isinstance(state, Mapping) and all(isinstance(key, str) for key in state)


def write_probe(
    folder: str | os.PathLike[str],
    backbone: Backbone,
    weight: Float[Tensor, "C K"],
    bias: Float[Tensor, " C"] | None,
    labels: Sequence[str],
    **more: Any,
) -> Path:
    """Write a probe's two files, ``probe.json`` last, and return the folder.

    Args:
        folder: where to; made if need be.
        backbone, weight, bias: the parts.
        labels: class names in the order of the rows.
        more: recorded beside them: accuracy, training, fingerprint.
    """
    from finercam import __version__

    folder = Path(folder)
    _check_fits(backbone, weight, labels)
    state = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    with whole(folder / HEAD) as aside:
        # Not save_file, which writes to a file of its own that a killed process leaves behind.
        aside.write_bytes(save({key: value.detach().float().cpu().contiguous() for key, value in state.items()}))
    record = {"format": FORMAT, "finercam": __version__, **backbone.record(), **more, "labels": list(labels)}
    with whole(folder / RECORD) as aside:
        aside.write_bytes(encoded(json.dumps(record, indent=1, ensure_ascii=False) + "\n"))
    return folder


def read_record(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what ``probe.json`` says.

    Raises:
        FinercamError: the folder is not a probe, or one of a later finercam.
    """
    path = Path(folder) / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise FinercamError(f"{str(folder)!r} is not a probe: it has no {RECORD}") from None
    except ValueError as error:
        raise FinercamError(f"{str(path)!r} is not JSON: {error}") from error
    needed = {"format", "backbone", "revision", "weights", "pool", "image_size", "preprocessing", "labels"}
    missing = needed - set(record) if isinstance(record, dict) else needed
    if missing:
        raise FinercamError(f"{str(path)!r} is not the record of a probe: it lacks {', '.join(sorted(missing))}")
    if record["format"] != FORMAT:
        raise FinercamError(f"{str(path)!r} is of format {record['format']}, this finercam reads {FORMAT}; update it")
    return dict(record)


def _parts(
    backbone: Backbone, weight: Float[Tensor, "C K"], bias: Float[Tensor, " C"] | None, labels: Sequence[str]
) -> ClassifierParts:
    _check_fits(backbone, weight, labels)
    head = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        head.weight.copy_(weight)
        if bias is not None:
            head.bias.copy_(bias)
    device = next((tensor.device for tensor in backbone.module.state_dict().values()), weight.device)
    return ClassifierParts(Probe(backbone.module, head.to(device)).eval(), backbone.preprocessing, list(labels))


def _check_fits(backbone: Backbone, weight: Float[Tensor, "C K"], labels: Sequence[str]) -> None:
    if weight.shape[1] != backbone.features:
        raise FinercamError(
            f"the head takes {weight.shape[1]} features, but {backbone.spec} pooled by {backbone.pool!r} gives "
            f"{backbone.features}; it was trained on another backbone or with another pooling"
        )
    if len(labels) != len(weight):
        raise FinercamError(f"{len(labels)} class names were given for a head of {len(weight)} classes")
    bad = (~weight.isfinite()).any(1).nonzero().flatten().tolist()
    if bad:
        raise FinercamError(f"the head's weights for {labels[bad[0]]} are not finite")


PROBE = source("probe", specs=("probe/FOLDER",), classifier=classifier, saved=Saved(RECORD))
