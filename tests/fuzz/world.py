"""What the cases are made from: a small model in each library's format, a probe, photos, and every format of data."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy.io import savemat

from finercam import aviary, load
from finercam._torchvision import import_torchvision
from finercam.cli.main import main
from finercam.models.backbone import load_backbone
from finercam.models.sources.probe import write_probe
from support.pictures import save_picture, write_lines

NAMES = ("Red-winged Blackbird", "Brewer's Blackbird", "tench, Tinca tinca", "Blue Grosbeak")
SIDE = 64
#: Formats of data sets, each a folder of the world's of that name; what is read of them.
FORMATS = ("cub", "aircraft", "cars", "birds525", "fishvista", "folder", "planted")


@dataclass(frozen=True)
class World:
    """Folders that cases copy from and never write to."""

    root: Path

    def build(self, kinds: Collection[str]) -> None:
        """Make what cases of these kinds are made from."""
        needs = {
            "pictures": ("classifier", "photos"),
            "annotations": ("cub", "aircraft", "cars", "birds525", "fishvista", "folder"),
            "models": ("timm", "transformers", "probe", "photos"),
            "runs": ("run",),
            "options": ("run", "transformers", "probe", "photos", "cub", "aircraft", "fishvista", "birds525"),
        }
        self.root.mkdir(parents=True, exist_ok=True)
        for kind in sorted(kinds):
            for name in needs[kind]:
                getattr(self, name)

    @cached_property
    def classifier(self):
        return load(self.timm)

    @cached_property
    def timm(self) -> Path:
        import_torchvision()
        import timm

        torch.manual_seed(0)
        model = timm.create_model("test_resnet", num_classes=len(NAMES))
        for name, parameter in model.named_parameters():
            if name.startswith("head"):
                torch.nn.init.normal_(parameter)
        size = {"input_size": [3, SIDE, SIDE], "crop_pct": 1.0, "interpolation": "bilinear"}
        config = {
            "architecture": "test_resnet",
            "num_classes": len(NAMES),
            "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3, "num_classes": len(NAMES), "label_names": NAMES}
            | size,
        }
        folder = self._new("timm")
        (folder / "config.json").write_text(json.dumps(config, indent=1))
        save_file(model.state_dict(), folder / "model.safetensors")
        return folder

    @cached_property
    def transformers(self) -> Path:
        import_torchvision()
        from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

        torch.manual_seed(0)
        folder = self._new("transformers")
        config = ViTConfig(
            image_size=32,
            patch_size=8,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            id2label=dict(enumerate(NAMES)),
        )
        ViTForImageClassification(config).eval().save_pretrained(folder)
        ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
        return folder

    @cached_property
    def probe(self) -> Path:
        backbone = load_backbone(self.timm)
        torch.manual_seed(1)
        weight = torch.randn(len(NAMES), backbone.features)
        return write_probe(self._new("probe"), backbone, weight, torch.zeros(len(NAMES)), NAMES)

    @cached_property
    def photos(self) -> Path:
        folder = self._new("photos")
        rng = np.random.default_rng(0)
        for number, mode in enumerate(("RGB", "L", "RGBA", "P", "CMYK", "RGB", "I;16", "1")):
            coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).resize((50 + number, 40))
            picture = coarse.convert("L").convert("I").convert("I;16") if mode == "I;16" else coarse.convert(mode)
            suffix = "tif" if mode in ("CMYK", "I;16") else ("png", "gif", "webp", "png")[number % 4]
            picture.save(folder / f"{number}.{suffix}")
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / "8.jpg", exif=_turned())
        return folder

    @cached_property
    def cub(self) -> Path:
        return Path(aviary.export(self.root / "cub", 6))

    @cached_property
    def aircraft(self) -> Path:
        data = self._new("aircraft")
        for seed, number in enumerate(("0000001", "0000002")):
            save_picture(data / "images" / f"{number}.jpg", seed, width=32, height=50)
        write_lines(data / "variants.txt", *NAMES)
        write_lines(data / "families.txt", *NAMES)
        for level in ("variant", "family"):
            write_lines(data / f"images_{level}_trainval.txt", f"0000002 {NAMES[0]}")
            write_lines(data / f"images_{level}_test.txt", f"0000001 {NAMES[3]}")
        write_lines(data / "images_box.txt", "0000001 1 1 32 30", "0000002 3 4 30 4")
        return data

    @cached_property
    def cars(self) -> Path:
        root = self._new("cars")
        fields = ("relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test")
        table = np.zeros((1, 3), [(name, object) for name in fields])
        for at in range(3):
            save_picture(root / "car_ims" / f"{at}.jpg", at)
            for name, value in zip(fields, (f"car_ims/{at}.jpg", 2, 3, 9, 12, 1 + at, at % 2), strict=True):
                table[0, at][name] = value if isinstance(value, str) else np.array([[value]], np.uint16)
        savemat(root / "cars_annos.mat", {"annotations": table, "class_names": np.array([list(NAMES)], object)})
        return root

    @cached_property
    def birds525(self) -> Path:
        root = self._new("birds525")
        paths = [f"{split}/{name}/1.jpg" for split in ("train", "valid", "test") for name in NAMES]
        for seed, path in enumerate(paths):
            save_picture(root / path, seed)
        lines = [f'{number},"{path}"' for number, path in enumerate(paths)]
        write_lines(root / "birds.csv", "class id,filepaths", *lines)
        return root

    @cached_property
    def fishvista(self) -> Path:
        root = self._new("fishvista")
        for at, part in enumerate(("train", "val", "test")):
            names = [f"INHS_{at}_{number}.jpg" for number in range(2)]
            for task in ("classification", "segmentation"):
                lines = [f'{name},"{NAMES[(at + n) % 4]}"' for n, name in enumerate(names)]
                write_lines(root / f"{task}_{part}.csv", "filename,standardized_species", *lines)
            for seed, name in enumerate(names):
                save_picture(root / "Images" / name, seed)
                mask = Image.fromarray(np.full((24, 32), seed, np.uint8))
                (root / "segmentation_masks" / "images").mkdir(parents=True, exist_ok=True)
                mask.save(root / "segmentation_masks" / "images" / f"{name[:-4]}.png")
        return root

    @cached_property
    def folder(self) -> Path:
        root = self._new("folder")
        for split in ("train", "test"):
            for label, name in enumerate(NAMES):
                for number in range(3 if split == "train" else 1):
                    save_picture(root / split / name / f"{number}.png", 10 * label + number, 40, 40)
        return root

    @cached_property
    def run(self) -> Path:
        """The folder of a finished evaluation."""
        out = self.root / "run"
        code, _ = quietly(*self.evaluating, "--out", out)
        assert code == 0
        return out

    @cached_property
    def evaluating(self) -> tuple[object, ...]:
        metrics = ("--metric", "relative-drop@0.1,deletion", "--steps", 2, "--workers", 0)
        return ("evaluate", f"folder:{self.folder}", "--model", self.timm, "--split", "all", *metrics)

    def _new(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True)
        return folder


def quietly(*arguments: object) -> tuple[int, str]:
    """Run the command in this process, and return its exit code and what it said."""
    before, said = sys.argv, StringIO()
    sys.argv = ["finercam", *map(str, arguments)]
    try:
        with redirect_stdout(said), redirect_stderr(said):
            main()
    except SystemExit as stop:
        return int(stop.code or 0), said.getvalue()
    finally:
        sys.argv = before
    return 0, said.getvalue()


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif
