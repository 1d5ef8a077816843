"""``finercam concept``: where words are in photos, told apart from a base word."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from finercam.cli.console import progress, say
from finercam.cli.explain import Job, batches, open_photos, records_file
from finercam.data.photos import find_photos
from finercam.errors import FinercamError, nearest
from finercam.explanations.concepts import FoundConcept, Hidden, find_concepts, hide
from finercam.explanations.explaining import photos_per_run
from finercam.files import whole
from finercam.methods.method import Method, find_method
from finercam.metrics.masking import top_count
from finercam.models import Classifier
from finercam.models.passes import autocast
from finercam.models.text import BARE, text
from finercam.report.concept import draw_concept, draw_hidden

MODES = ("highlight", "mask-out")


def find_in_photos(
    photos: Sequence[str],
    model: str,
    *,
    concepts: Sequence[str],
    base: str,
    gamma: float,
    mode: str,
    fraction: float,
    method: str,
    templates: Sequence[str] | None,
    layer: Sequence[str] | None,
    device: str,
    precision: str,
    batch_size: int | None,
    revision: str | None,
    out: Path,
    as_json: bool,
) -> int:
    """Look for every concept in every photo found; return how many photos failed.

    All that can be known to be wrong is found before the model is loaded and before anything is written.
    """
    how = find_method(method)
    autocast(torch.device("cpu"), precision)
    together = photos_per_run(batch_size)
    if mode not in MODES:
        raise FinercamError(f"--mode is {mode!r}; {nearest(mode, MODES)}")
    if not math.isfinite(gamma):
        raise FinercamError(f"gamma is {gamma}; it must be a finite number")
    top_count(fraction, 1)
    photos_found = list(find_photos(photos))
    if out.exists() and not out.is_dir():
        raise FinercamError(f"--out {str(out)!r} is a file; give a folder")
    # A concept given twice is one, and a concept may be the base.
    concepts = list(dict.fromkeys(concepts))
    prompts = list(dict.fromkeys([*concepts, base]))
    classifier = text(model, prompts, templates=templates or BARE, layer=layer, device=device, revision=revision)
    named = dict(zip(concepts, _file_names(concepts), strict=True))

    failures: list[Path] = []
    written = 0
    with records_file(out / "concepts.jsonl") as records, progress() as bar:
        task = bar.add_task("looking", total=len(photos_found))

        def fail(file: Path, error: Exception) -> None:
            failures.append(file)
            say(f"{file}: {error}", style="red", to=bar.console)
            bar.advance(task)

        for batch in batches(open_photos(classifier, photos_found, out, fail), together):
            for job, answers in _find(classifier, batch, list(named), base, gamma, how, precision, batch_size):
                if isinstance(answers, FinercamError):
                    fail(job.file, answers)
                    continue
                for found in answers:
                    record = _save(found, job.result / named[found.concept], out, mode, fraction)
                    line = json.dumps(record, ensure_ascii=False)
                    records.write(line + "\n")
                    print(line if as_json else _summary(found, job, record), flush=True)
                written += 1
                bar.advance(task)
    say(f"{written} looked at, {len(failures)} failed; see {out}")
    return len(failures)


def _find(
    classifier: Classifier,
    batch: Sequence[Job],
    concepts: Sequence[str],
    base: str,
    gamma: float,
    how: Method,
    precision: str,
    batch_size: int | None,
) -> Iterator[tuple[Job, list[FoundConcept] | FinercamError]]:
    """Yield each photo's answers, or what stands in the way of that one."""
    try:
        answers = find_concepts(
            classifier,
            torch.stack([job.image for job in batch]),
            concepts,
            base,
            gamma=gamma,
            method=how,
            precision=precision,
            batch_size=batch_size,
            sources=[str(job.file) for job in batch],
        )
    except FinercamError as error:
        if len(batch) == 1:
            yield batch[0], error
        else:
            for job in batch:
                yield from _find(classifier, [job], concepts, base, gamma, how, precision, batch_size)
    else:
        yield from zip(batch, answers, strict=True)


def _save(found: FoundConcept, result: Path, out: Path, mode: str, fraction: float) -> dict[str, Any]:
    """Write the picture and the maps of one concept in one photo; return its record."""
    from safetensors.torch import save_file

    record = {**found.record(), "mode": mode}
    tensors = {"saliency": found.saliency, "map": found.map, "plain": found.plain}
    picture: Image.Image
    if mode == "highlight":
        picture = draw_concept(found)
    else:
        by_plain, by_contrast = hide(found, found.plain, fraction), hide(found, found.saliency, fraction)
        picture = draw_hidden(found, by_plain, by_contrast)
        tensors |= {"hidden": by_contrast.mask}
        record |= {"fraction": fraction, "hidden": _hidden(by_contrast), "hidden_by_plain": _hidden(by_plain)}
    # Not with_suffix: a concept may have dots in it.
    drawn, maps = (result.with_name(result.name + suffix) for suffix in (".png", ".safetensors"))
    record |= {"files": {"picture": str(drawn.relative_to(out)), "maps": str(maps.relative_to(out))}}
    with whole(drawn) as aside:
        picture.save(aside)
    with whole(maps) as aside:
        kept = {name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(kept, aside, {"finercam": json.dumps(record, ensure_ascii=False)})
    return record


def _hidden(hidden: Hidden) -> dict[str, float | int]:
    return {
        "pixels": int(hidden.mask.sum()),
        "similarity": hidden.similarity,
        "base_similarity": hidden.base_similarity,
    }


def _summary(found: FoundConcept, job: Job, record: dict[str, Any]) -> str:
    similar = f"similarity {found.similarity:.3f}, {found.base} {found.base_similarity:.3f}"
    if "hidden" in record:
        left = record["hidden"]
        similar += f"; with it hidden {left['similarity']:.3f}, {found.base} {left['base_similarity']:.3f}"
    empty = f" - EMPTY MAP, {found.why_empty.removeprefix('empty: ')}" if found.empty else ""
    return f"{job.file}: {found} ({similar}){empty}"


def _file_names(concepts: Sequence[str]) -> list[str]:
    """Return a file name for each concept, all different also where letters' case does not count."""
    names: list[str] = []
    for concept in concepts:
        plain = re.sub(r"[\W_]+", "-", concept).strip("-").casefold()[:60] or "concept"
        name, number = plain, 2
        while name in names:
            name, number = f"{plain}-{number}", number + 1
        names.append(name)
    return names
