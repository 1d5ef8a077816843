"""What is refused of words and of models that are to understand them: one line that says what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from finercam import FinercamError, load
from finercam._torchvision import import_torchvision
from finercam.models.text import BARE, text
from models.text_models import (
    open_clip_config,
    save_open_clip,
    save_transformers,
)

import_torchvision()  # before open_clip

pytestmark = pytest.mark.usefixtures("words_kept_in")

NAMES = ["red epaulets", "bird", "yellow beak", "blue grosbeak"]


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        ([], {}, "no names were given"),
        ("bird", {}, "'bird' is one text; give a list"),
        (["bird", ""], {}, "'' is not a name or prompt"),
        (["bird", " \t"], {}, "is not a name or prompt"),
        (["bird", "<end_of_text>"], {"templates": BARE}, "knows none of the words in '<end_of_text>'"),
        (["<start_of_text> <end_of_text>"], {"templates": BARE}, "knows none of the words in"),
        (["bird", "wing", "bird"], {}, "'bird' is given twice"),
        (["red " * 6], {}, "'a photo of a red red red red red red.' is 13 tokens long and the text tower reads 12"),
        (["red " * 11], {"templates": BARE}, "is 13 tokens long"),
        (["bird"], {"templates": []}, "no templates were given"),
        (["bird"], {"templates": "a photo"}, "give a list of templates"),
        (["bird"], {"templates": ["a photo"]}, "template 'a photo' must have one {}"),
        (["bird"], {"templates": ["{} and {}"]}, "must have one {}"),
        (["bird"], {"revision": "main"}, "takes no revision"),
        (["bird"], {"device": "gpu"}, "device 'gpu' cannot be used"),
        (["bird"], {"layer": "layer4"}, "no layer 'layer4'"),
    ],
)
def test_what_is_said(names: Any, options: dict[str, Any], said: str, saved: Any) -> None:
    folder, _ = saved("ViT")
    with pytest.raises(FinercamError, match=said):
        text(folder, names, **({"device": "cpu"} | options))


def test_names_are_not_compared_each_with_each(saved: Any) -> None:
    """There are lists of a million species."""
    compared = 0

    class Name(str):
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    names = [Name(f"bird {number}") for number in range(500)]
    assert text(saved("ViT")[0], names, templates=BARE, device="cpu").classes == 500
    assert compared < 10 * len(names)


def test_a_prompt_as_long_as_the_context_is_read(saved: Any) -> None:
    assert text(saved("ViT")[0], ["red " * 10], templates=BARE, device="cpu").classes == 1
    assert text(saved("clip")[0], ["red " * 10], templates=BARE, device="cpu").classes == 1
    assert text(saved("siglip")[0], ["red " * 11], templates=BARE, device="cpu").classes == 1


@pytest.mark.parametrize(("kind", "most"), [("clip", 10), ("siglip", 11), ("siglip2", 40)])
def test_transformers_prompts_are_counted(
    kind: str, most: int, saved: Any, capsys: pytest.CaptureFixture[str], recwarn: Any
) -> None:
    folder, _ = saved(kind)
    one = "red " if kind != "siglip2" else "r"
    with pytest.raises(FinercamError, match="tokens long and the text tower reads"):
        text(folder, [one * (most + 1)], templates=BARE, device="cpu")
    assert "longer than" not in capsys.readouterr().err
    assert text(folder, [one * most], templates=BARE, device="cpu").classes == 1
    with pytest.raises(FinercamError, match="knows none of the words in"):
        text(folder, ["bird", "</s>" if kind != "siglip2" else "<eos>"], templates=BARE, device="cpu")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            "timm/resnet18",
            "timm/resnet18 does not understand text; .*need .*: .*open_clip/NAME/WEIGHTS.*transformers/ORG/NAME",
        ),
        ("torchvision/resnet18", "does not understand text"),
        ("open_clip/RN51/openai", "OpenCLIP has no model 'RN51'; did you mean 'RN50'"),
        ("open_clip/RN50", "write open_clip/RN50/WEIGHTS"),
        ("no/such", "neither a folder"),
    ],
)
def test_models_that_cannot_be_asked(spec: str, said: str) -> None:
    with pytest.raises(FinercamError, match=said):
        load(spec, classes=NAMES)


def test_an_image_classifier_of_transformers_knows_no_text(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(FinercamError, match=r"is a vit model; prompts need one that embeds images and text: clip,"):
        text(tmp_path, NAMES)


def test_a_folder_without_weights_is_no_model_with_random_ones(tmp_path: Path) -> None:
    save_open_clip(tmp_path, open_clip_config())
    (tmp_path / "open_clip_model.safetensors").unlink()
    for read in (lambda: text(tmp_path, NAMES, device="cpu"), lambda: load(tmp_path, device="cpu")):
        with pytest.raises(FinercamError, match=r"could not be loaded: .*weights"):
            read()


class Payload:
    """A pickle that runs code when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("name", ["ViT", "clip"])
def test_pickles_are_not_opened(name: str, tmp_path: Path) -> None:
    folder, ran = tmp_path / "model", tmp_path / "ran"
    save_open_clip(folder, open_clip_config()) if name == "ViT" else save_transformers(folder, "clip")
    for file in folder.glob("*.safetensors"):
        file.unlink()
    torch.save({"weights": Payload(ran)}, folder / ("open_clip_model.bin" if name == "ViT" else "pytorch_model.bin"))
    with pytest.raises(FinercamError, match="could not be loaded"):
        text(folder, NAMES, device="cpu")
    assert not ran.exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_open_clip_never_reads_more_than_weights(monkeypatch: pytest.MonkeyPatch, saved: Any) -> None:
    """PyTorch is told so itself: OpenCLIP asks again without ``weights_only`` after some errors."""
    import open_clip

    told = []
    create = open_clip.create_model
    key = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    monkeypatch.setattr(
        open_clip, "create_model", lambda *given, **more: told.append(os.environ[key]) or create(*given, **more)
    )
    monkeypatch.setenv(key, "0")
    text(saved("ViT")[0], NAMES, device="cpu")
    assert told == ["1"]
    assert os.environ[key] == "0"


def test_the_embedded_model_has_a_name() -> None:
    classifier = text("aviary-clip", ["red wings", "a bird"], device="cpu")
    assert (classifier.classes, classifier.name) == (2, "aviary-clip")
