"""Small stand-ins for the data and models that the documentation names."""

from __future__ import annotations

import json
import shutil
from functools import cache
from importlib import import_module
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import finercam
from finercam import aviary
from finercam.models import finding

HERE = Path(aviary.__file__).parent

#: Species of the aviary that the documentation's stand for: as CUB's folders have them, and as models do.
RENAMED = {
    "Frost-barred Finch": ("010.Red_winged_Blackbird", "Agelaius phoeniceus (Red-winged Blackbird)"),
    "Ember-barred Finch": ("009.Brewer_Blackbird", "Brewer's Blackbird"),
    "Sky-barred Finch": ("014.Indigo_Bunting", "indigo bunting"),
    "Plain-winged Finch": ("068.Dark_eyed_Junco", "junco"),
}

#: The aviary's groups of attributes, and its parts in their order, as CUB might have them.
GROUPS = {
    "has_back_colour": "has_back_color",
    "has_head_colour": "has_forehead_color",
    "has_crown_colour": "has_crown_color",
    "has_eye_line": "has_eye_color",
    "has_throat_colour": "has_throat_color",
    "has_breast_colour": "has_breast_color",
    "has_belly_colour": "has_belly_color",
    "has_wing_colour": "has_wing_color",
    "has_wing_bar": "has_wing_pattern",
    "has_tail_form": "has_tail_shape",
    "has_tail_colour": "has_upper_tail_color",
    "has_crest_form": "has_nape_color",
    "has_beak_colour": "has_bill_color",
    "has_eye_ring": "has_head_pattern",
    "has_leg_colour": "has_leg_color",
}
PARTS = (
    *("tail", "left leg", "back", "belly", "breast", "nape", "crown", "left eye", "throat", "left wing", "right wing"),
    *("forehead", "beak", "right leg", "right eye"),
)

#: What stands in for models on hubs.
MODELS = {
    "timm/resnet50.a1_in1k": "my_model",
    "timm/vit_base_patch14_dinov2.lvd142m": "my_model",
    "open_clip/ViT-B-16/openai": "aviary-clip",
    "open_clip/hf-hub:imageomics/bioclip": "aviary-clip",
    "/shared/probe": "my_model",
}


@cache
def _drawn(images: int) -> tuple[TemporaryDirectory, Path]:
    """Return a folder that is drawn once in a process, and what has it removed in the end."""
    kept = TemporaryDirectory()
    _cub(Path(kept.name) / "CUB_200_2011", images)
    return kept, Path(kept.name)


def furnish(folder: Path, monkeypatch, images: int = 200) -> None:
    """Put data, photos and models into a folder, and have the models of hubs be those."""
    _model(folder / "my_model")
    shutil.copytree(_drawn(images)[1], folder, dirs_exist_ok=True)
    # As docs/results.md calls data and model that are the reader's.
    (folder / "DIR").symlink_to("CUB_200_2011")
    (folder / "MODEL").symlink_to("my_model")
    birds = sorted((folder / "CUB_200_2011" / "images").rglob("*.png"))
    shutil.copy(birds[0], folder / "bird.jpg")
    shutil.copy(birds[-1], folder / "other.jpg")
    shutil.copy(birds[len(birds) // 2], folder / "third.jpg")
    # A few of each class: commands on photos are tried on all of them.
    for bird in [one for _, group in groupby(birds, key=lambda one: one.parent) for one in list(group)[:3]]:
        there = folder / "photos" / bird.parent.name / bird.name
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bird, there)
    # The photos' names are those of their masks.
    shutil.copytree(folder / "CUB_200_2011" / "segmentations", folder / "masks")
    found = [{"category": "animal", "confidence": 0.9, "bbox": [8.0, 8.0, 90.0, 80.0]}]
    photos = sorted((folder / "photos").rglob("*.png"))
    # On a few only, the others are without.
    detected = [
        {"file": str(photo.relative_to(folder / "photos")), "detections": found if number < 3 else []}
        for number, photo in enumerate(photos)
    ]
    (folder / "detections.json").write_text(json.dumps(detected))
    (folder / "names.txt").write_text("a finch\na jay\na plover\na parakeet\n")
    found = finding.find_model

    def find(spec, pretrained=True, revision=None):
        return found(MODELS.get(str(spec), spec), pretrained, revision)

    _tree(folder)
    for module in ("loading", "backbone", "text"):
        monkeypatch.setattr(import_module(f"finercam.models.{module}"), "find_model", find)


def _tree(folder: Path) -> None:
    """Write families of the model's classes, and label embeddings of a tree of life with a subset of it."""
    names = json.loads((folder / "my_model" / "config.json").read_text())["pretrained_cfg"]["label_names"]
    lines = [f'"{name}",{name.removesuffix(")").split()[-1]}idae' for name in names]
    _write(folder / "taxonomy.csv", ["name,family", *lines])
    tree = [[[*"KPCOF", f"Genus{i // 3}", f"species{i}"], f"bird {i}"] for i in range(9)]
    (folder / "txt_emb_species.json").write_text(json.dumps(tree))
    width = finercam.load("aviary-clip").classes
    np.save(folder / "txt_emb_species.npy", np.random.default_rng(0).standard_normal((width, 9), np.float32))
    _write(folder / "islands.csv", ["genus", "Genus0", "Genus2"])


def _model(folder: Path) -> None:
    shutil.copytree(HERE / "model", folder)
    config = json.loads((folder / "config.json").read_text())
    names = config["pretrained_cfg"]["label_names"]
    # Jays are there already; one of them is "jay" alone.
    renamed = {old: new for old, (_, new) in RENAMED.items()} | {"Smooth-headed Jay": "jay"}
    config["pretrained_cfg"]["label_names"] = [renamed.get(name, name) for name in names]
    (folder / "config.json").write_text(json.dumps(config))


def _cub(folder: Path, images: int) -> None:
    """Write a folder of CUB's layout with the renamed species only."""
    aviary.export(folder, images)
    new = {old.replace(" ", "_"): there for old, (there, _) in RENAMED.items()}
    lines = _lines(folder / "classes.txt")
    plain = [line.split(".", 1)[1] for line in lines]
    kept = [number for number, name in enumerate(plain) if name in new]
    _write(folder / "classes.txt", [f"{lines[number].split()[0]} {new[plain[number]]}" for number in kept])
    values = folder / "attributes" / "class_attribute_labels_continuous.txt"
    every = _lines(values)
    _write(values, [every[number] for number in kept])
    # The aviary has other groups of attributes, and other places.
    text = (folder / "attributes" / "attributes.txt").read_text()
    for group, there in GROUPS.items():
        text = text.replace(f" {group}::", f" {there}::")
    (folder / "attributes" / "attributes.txt").write_text(text)
    parts = _lines(folder / "parts" / "parts.txt")
    _write(folder / "parts" / "parts.txt", [f"{number} {name}" for number, name in enumerate(PARTS[: len(parts)], 1)])
    ids = {str(lines[number].split()[0]) for number in kept}
    labels = {line.split()[0]: line.split()[1] for line in _lines(folder / "image_class_labels.txt")}
    for name in ("images", "image_class_labels", "train_test_split", "bounding_boxes", "parts/part_locs"):
        file = folder / f"{name}.txt"
        if name == "images":
            gone = [line.split()[1] for line in _lines(file) if labels[line.split()[0]] not in ids]
        _write(file, [line for line in _lines(file) if labels[line.split()[0]] in ids])
    for picture in gone:
        (folder / "images" / picture).unlink()


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def _write(file: Path, lines: list[str]) -> None:
    file.write_text("\n".join(lines) + "\n")
