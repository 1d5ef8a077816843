"""``text()``: words in place of a trained head (arXiv 2501.11309, Section 3.3).

In a model of images and text the linear classifier is replaced by text embeddings: the logits are the similarities
of the image's embedding and the prompts'. What comes out is an ordinary ``Classifier``, so every method, contrast
and command works on it.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from finercam.errors import FinercamError
from finercam.models import text_cache
from finercam.models.classifier import Classifier
from finercam.models.finding import find_device, find_model, plain_errors, ways
from finercam.models.grid import Grid
from finercam.models.text_image import TextImageModel, Tokens, ZeroShot

#: What class names are put into: the sentence CLIP's authors used (arXiv 2103.00020, Section 3.1.4).
CLASS_TEMPLATES = ("a photo of a {}.",)
#: The words as they stand. What the paper compares are prompts like "red epaulets" and "bird", not sentences.
BARE = ("{}",)

#: Prompts that go through the text tower together.
_AT_ONCE = 64


def text(
    spec: str | os.PathLike[str],
    names: Sequence[str],
    *,
    templates: Sequence[str] = CLASS_TEMPLATES,
    layer: str | Sequence[str] | None = None,
    grid: Grid | None = None,
    device: str = "auto",
    pretrained: bool = True,
    revision: str | None = None,
) -> Classifier:
    """Make a classifier out of a model of images and text, and words: no training.

    Its logits are ``scale * cosine(image, prompt)``, plus SigLIP's bias: the model's own zero-shot logits. A class's
    row is the mean of its templates' unit embeddings, made a unit again, times the scale. The embeddings are kept on
    disk (``text_cache``).

    Args:
        spec: ``open_clip/NAME/WEIGHTS``, ``transformers/ORG/NAME`` (CLIP, SigLIP and their kin), a folder in
            either's format, or ``aviary-clip``, the small embedded model.
        names: classes or concepts, in the order of the logits; all different.
        templates: sentences with ``{}`` where the name goes; embeddings are averaged over them. Underscores in names
            and the number CUB's begin with are then left out. With ``BARE`` names are prompts, word for word.
        layer, grid: as for ``Classifier``, where the layer found is not the one wanted.
        device, pretrained, revision: as for ``finercam.load``.

    Raises:
        FinercamError: no such model, or it was not trained on text; a name that is empty, given twice, unknown to
            the tokenizer, or too long for the text tower.
    """
    names = _checked(names)
    templates = _checked_templates(templates)
    model = load_text_image(spec, device=device, pretrained=pretrained, revision=revision)
    return spoken(model, names, templates=templates, layer=layer, grid=grid, name=os.fspath(spec))


def load_text_image(
    spec: str | os.PathLike[str], *, device: str = "auto", pretrained: bool = True, revision: str | None = None
) -> TextImageModel:
    """Load a model of images and text, to be given words by ``spoken``, as often as one likes.

    Args:
        spec, device, pretrained, revision: as for ``text``.

    Raises:
        FinercamError: no such model, or it was not trained on text.
    """
    source, checkpoint = find_model(spec, pretrained, revision)
    if source.text_image is None:
        raise FinercamError(
            f"{spec} does not understand text; words and label embeddings need a model of images and text: "
            f"{ways(lambda source: source.text_image is not None)}"
        )
    target = find_device(device)
    with plain_errors(spec, source):
        return source.text_image(checkpoint, target)


def spoken(
    model: TextImageModel,
    names: Sequence[str],
    *,
    templates: Sequence[str] = CLASS_TEMPLATES,
    layer: str | Sequence[str] | None = None,
    grid: Grid | None = None,
    name: str = "",
) -> Classifier:
    """Make a classifier out of a loaded model of images and text, and words.

    Args:
        model: what ``load_text_image`` returns.
        names, templates, layer, grid: as for ``text``.
        name: shown and recorded.

    Raises:
        FinercamError: as ``text`` does of names and templates.
    """
    names = _checked(names)
    templates = _checked_templates(templates)
    target = next(model.visual.parameters()).device
    with torch.no_grad():
        rows = _rows(model, names, templates)
        head = nn.Linear(rows.shape[1], len(rows), bias=model.bias is not None, device=target)
        head.weight.copy_(model.scale * rows)
        if model.bias is not None:
            head.bias.fill_(model.bias)
    module = ZeroShot(model.visual, head).eval()
    return Classifier.from_parts(
        module,
        model.preprocessing,
        layer=layer,
        grid=grid,
        class_names=names,
        # Class names in sentences tell photos apart; bare prompts are compared with a photo each by itself.
        prompts=tuple(templates) == BARE,
        trained=False,
        name=name,
    )


def _checked(names: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        raise FinercamError(f"{names!r} is one text; give a list of names")
    if not names:
        raise FinercamError("no names were given; name at least one class or concept")
    for given in names:
        if not isinstance(given, str) or not given.strip():
            raise FinercamError(f"{given!r} is not a name or prompt; give words")
    seen: set[str] = set()
    for given in names:
        if given in seen:
            raise FinercamError(f"{given!r} is given twice; it would share its probability with itself")
        seen.add(given)
    return list(names)


def _checked_templates(templates: Sequence[str]) -> list[str]:
    if isinstance(templates, str):
        raise FinercamError(f"templates is the text {templates!r}; give a list of templates")
    for template in templates:
        if template.count("{}") != 1:
            raise FinercamError(f"template {template!r} must have one {{}}, where the name goes")
    if not templates:
        raise FinercamError("no templates were given; '{}' takes names as they stand")
    return list(templates)


def _rows(model: TextImageModel, names: Sequence[str], templates: Sequence[str]) -> Float[Tensor, "C D"]:
    """Return a unit row per name, from disk where these prompts were embedded before."""
    spoken = list(names) if tuple(templates) == BARE else [_spoken(name) for name in names]
    words = model.tokenize(spoken)
    _refuse_unknown(names, words)
    # Not format(): a name may have braces of its own.
    prompts = [template.replace("{}", name) for name in spoken for template in templates]
    tokens = words if prompts == spoken else model.tokenize(prompts)
    _refuse_too_long(prompts, tokens, model.context)
    device = next(model.visual.parameters()).device
    folder = text_cache.cache_folder()
    file = None if folder is None else text_cache.entry(folder, model.fingerprint(), tokens.inputs, len(templates))
    kept = None if file is None else text_cache.read(file, len(names))
    if kept is not None:
        return kept.to(device)
    embeddings = nn.functional.normalize(_embed(model, tokens, device), dim=-1)
    rows = nn.functional.normalize(embeddings.unflatten(0, (len(names), len(templates))).mean(1), dim=-1)
    if file is not None:
        text_cache.write(file, rows)
    return rows


def _embed(model: TextImageModel, tokens: Tokens, device: torch.device) -> Float[Tensor, "n D"]:
    """Return the prompts' embeddings. Prompts of the same tokens get the very same one, to the last bit."""
    together = torch.cat([ids.long() for ids in tokens.inputs.values()], 1)
    keys = [row.tobytes() for row in together.cpu().numpy()]
    first = {key: index for index, key in reversed(list(enumerate(keys)))}
    chosen = sorted(first.values())
    found = []
    for start in range(0, len(chosen), _AT_ONCE):
        some = chosen[start : start + _AT_ONCE]
        found.append(model.encode({name: ids[some].to(device) for name, ids in tokens.inputs.items()}).float())
    place = {index: row for row, index in enumerate(chosen)}
    return torch.cat(found)[[place[first[key]] for key in keys]]


def _spoken(name: str) -> str:
    """Return a class name as one says it: ``001.Black_footed_Albatross`` is "Black footed Albatross"."""
    return " ".join(re.sub(r"^\d+\.", "", name).replace("_", " ").split()) or name


def _refuse_unknown(names: Sequence[str], tokens: Tokens) -> None:
    for name, words, unknown in zip(names, tokens.words, tokens.unknown, strict=True):
        if not words:
            raise FinercamError(f"the model's tokenizer knows none of the words in {name!r}; use other words")
        if unknown:
            warnings.warn(f"the model does not know all the words of {name!r}; it uses the others", stacklevel=5)


def _refuse_too_long(prompts: Sequence[str], tokens: Tokens, context: int) -> None:
    for prompt, length in zip(prompts, tokens.lengths, strict=True):
        if length > context:
            shown = prompt if len(prompt) <= 80 else prompt[:79] + "…"
            raise FinercamError(
                f"{shown!r} is {length} tokens long and the text tower reads {context}; use fewer words"
            )
