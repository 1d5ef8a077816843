"""Explanations on disk: maps, and where evidence was kept all that asking again needs, as safetensors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from finercam.contrast.contrast import Contrast
from finercam.contrast.labels import Labels
from finercam.contrast.objective import Objective
from finercam.contrast.taxonomy import Taxonomy
from finercam.data.original import Original, unpacked
from finercam.data.placement import Axis, Placement
from finercam.errors import FinercamError
from finercam.methods.evidence import Evidence, NotGathered
from finercam.methods.method import find_method
from finercam.models.facts import Facts
from finercam.models.run import Run
from finercam.texts import json_line

if TYPE_CHECKING:
    from finercam.explanations.explanation import Explanation
    from finercam.models.classifier import Classifier

    Found = TypeVar("Found", bound=Explanation)

#: Of what is written beside the maps; raised when a reader of before would misread it.
FORMAT = 2
#: Values from which on a tensor that is mostly zeros is written without them.
_SPARSE = 65536
#: Values of such a tensor that are read; a damaged file may say anything.
_MOST = 2**31
_MAPS = ("saliency", "map", "plain", "logits")
_FACTS = ("name", "classes", "layers", "mean", "std", "probabilities", "prompts", "scale", "shift")


def write(explanation: Explanation, path: Path) -> None:
    """Write an explanation; see ``Explanation.save``."""
    tensors = {name: getattr(explanation, name).detach().float() for name in _MAPS}
    metadata = {"finercam": json_line(explanation.record())}
    placement = explanation.placement
    if explanation.original is None:
        placement = Placement.in_place((explanation.image.shape[1], explanation.image.shape[2]))
    if placement is not None:
        metadata["placement"] = json_line(asdict(placement))
    evidence = explanation.evidence
    if evidence is not None:
        kept, plain = pack(evidence)
        tensors |= {f"evidence.{name}": tensor for name, tensor in kept.items()} | {"image": explanation.image.detach()}
        facts, labels = explanation.facts, explanation.facts.labels
        again = {
            "format": FORMAT,
            "method": explanation.method.spec,
            "contrast": _contrast(explanation.contrast),
            "target": explanation.target,
            "references": explanation.references,
            "source": explanation.source,
            "run": asdict(explanation.run),
            "facts": {name: getattr(facts, name) for name in _FACTS},
            "named": labels is not None,
            "evidence": plain,
        }
        if explanation.original is not None and explanation.placement is not None:
            tensors["photo"] = explanation.original.packed()
            again["photo"] = asdict(explanation.placement)
            again["box"] = explanation.original.box
        if labels is not None:
            # A million names are more than the file's header may hold.
            tensors["labels"] = _as_bytes({"names": labels.names, "taxonomy": labels.given and labels.given.packed()})
        metadata["again"] = json_line(again)
    # Not save_file, which writes to a file of its own that a killed process leaves behind.
    path.write_bytes(save({name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}, metadata))


def read(kind: type[Found], path: Path, classifier: Classifier | None) -> Found:
    """Return an explanation from its file; see ``Explanation.load``."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a mapping
    except FileNotFoundError:
        raise FinercamError(f"there is no file {str(path)!r}") from None
    except (OSError, SafetensorError) as error:
        raise FinercamError(f"{str(path)!r} cannot be read as safetensors: {error}") from error
    if "again" not in metadata:
        raise NotGathered(f"{str(path)!r} holds no evidence to ask again; explain with keep=True before it is saved")
    try:
        again = json.loads(metadata["again"])
        if again["format"] != FORMAT:
            raise FinercamError(f"{str(path)!r} is of format {again['format']}, this finercam reads {FORMAT}")
        method = find_method(again["method"])
        labels = _labels(tensors["labels"]) if again["named"] else None
        facts: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in again["facts"].items()
        }
        evidence = unpack(
            {name.removeprefix("evidence."): t for name, t in tensors.items() if name.startswith("evidence.")},
            again["evidence"],
            how=method,
            labels=labels,
        )
        # Only where the evidence holds every class does it hold the classifier's rows as well.
        rows = getattr(evidence, "head", None) if classifier is None else classifier.rows
        return kind(
            saliency=tensors["saliency"],
            map=tensors["map"],
            plain=tensors["plain"],
            image=tensors["image"],
            logits=evidence.logits[0],
            target=again["target"],
            references=tuple(again["references"]),
            contrast=_asked(again["contrast"]),
            method=method,
            facts=Facts(labels=labels, rows=rows, **facts),
            run=Run(**again["run"]),
            source=again["source"],
            original=_original(tensors, again.get("photo"), again.get("box")),
            evidence=evidence,
            classifier=classifier,
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, FinercamError):
            raise
        raise FinercamError(f"{str(path)!r} is not an explanation that finercam wrote ({error!r})") from error


def _as_bytes(value: Any) -> Tensor:
    """Return plain data as the bytes of its JSON."""
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _labels(kept: Tensor) -> Labels:
    found = json.loads(kept.numpy().tobytes())
    given = found["taxonomy"]
    return Labels(found["names"], None if given is None else Taxonomy.unpacked(given))


def _original(
    tensors: Mapping[str, Tensor], axes: Mapping[str, Any] | None, box: dict[str, Any] | None
) -> Original | None:
    """Return the photo that was kept; none was where a tensor was explained."""
    return None if axes is None else unpacked(tensors["photo"], Placement(Axis(**axes["x"]), Axis(**axes["y"])), box)


def pack(evidence: Evidence) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return evidence's tensors, and the rest of it as plain data; evidence inside of it is taken apart likewise."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {"kind": _kind(type(evidence))}
    for one in fields(evidence):
        if one.metadata.get("kept", True):
            plain[one.name] = _apart(getattr(evidence, one.name), one.name, tensors)
    return tensors, plain


def unpack(tensors: Mapping[str, Tensor], plain: Mapping[str, Any], **more: Any) -> Evidence:
    """Return evidence from what ``pack`` gave; ``more`` are its fields that are not kept."""
    kinds = {_kind(kind): kind for kind in _all_kinds(Evidence)}  # type: ignore[type-abstract]
    if plain["kind"] not in kinds:
        raise FinercamError(
            f"evidence of the kind {plain['kind']!r} is not known here; import the package that made it first"
        )
    values = {name: _together(value, tensors, more) for name, value in plain.items() if name != "kind"}
    return kinds[plain["kind"]](**values, **more)


def _apart(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a field's value as plain data; its tensors are put beside by their names."""
    if isinstance(value, Tensor):
        flat = value.detach().flatten()
        at = flat.nonzero().flatten()
        if flat.numel() > _SPARSE and 4 * len(at) < flat.numel():
            # Rows over a million classes are nearly all zeros.
            tensors[name], tensors[f"{name}.at"] = flat[at], at
            return {"tensor": name, "shape": list(value.shape)}
        tensors[name] = value.detach()
        return {"tensor": name}
    if isinstance(value, Evidence):
        inner, plain = pack(value)
        tensors |= {f"{name}.{key}": tensor for key, tensor in inner.items()}
        return {"evidence": plain, "below": name}
    if isinstance(value, tuple):
        return [_apart(one, f"{name}.{number}", tensors) for number, one in enumerate(value)]
    return value


def _together(value: Any, tensors: Mapping[str, Tensor], more: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        return tuple(_together(one, tensors, more) for one in value)
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        found = tensors[value["tensor"]]
        if "shape" not in value:
            return found
        if math.prod(value["shape"]) > _MOST:
            raise ValueError(f"it has a tensor of the shape {value['shape']}")
        whole = torch.zeros(math.prod(value["shape"]), dtype=found.dtype)
        return whole.scatter_(0, tensors[f"{value['tensor']}.at"], found).reshape(value["shape"])
    below = f"{value['below']}."
    inner = {name.removeprefix(below): tensor for name, tensor in tensors.items() if name.startswith(below)}
    return unpack(inner, value["evidence"], **more)


def _kind(kind: type[Evidence]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _all_kinds(kind: type[Evidence]) -> list[type[Evidence]]:
    return [inner for own in kind.__subclasses__() for inner in (own, *_all_kinds(own))]


def _contrast(contrast: Contrast | Objective) -> dict[str, Any]:
    if isinstance(contrast, Objective):
        return {"objective": contrast.name}
    return asdict(contrast)


def _asked(record: dict[str, Any]) -> Contrast | Objective:
    if "objective" not in record:
        against = record.pop("against")
        fixed = against if isinstance(against, str) else tuple(tuple(x) if isinstance(x, list) else x for x in against)
        return Contrast(against=fixed, **record)
    name = record["objective"]
    return Objective(_lost(name), name)


def _lost(name: str) -> Callable[[Tensor], Tensor]:
    def function(logits: Tensor) -> Tensor:
        raise FinercamError(f"the objective {name!r} is a function and is not saved; ask again with contrast=")

    return function
