"""What all tests share: a small model in timm's folder format, and photos to explain."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from finercam._torchvision import import_torchvision

NAMES = [
    "Agelaius phoeniceus (Red-winged Blackbird)",
    "Brewer's Blackbird",
    "Grandala",
    "Blue Grosbeak",
    "Indigo Bunting",
]


# Libraries that tests compare with import it themselves, unguarded.
import_torchvision()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Every test draws the same random networks and pictures in every run, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    import_torchvision()
    import timm

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    model = timm.create_model("resnet10t", num_classes=len(NAMES))
    # Random heads hardly tell classes apart; this one does.
    model.fc.weight.data.normal_(std=1.0)
    config = {
        "architecture": "resnet10t",
        "num_classes": len(NAMES),
        "pretrained_cfg": {
            "input_size": [3, 96, 96],
            "mean": [0.5, 0.5, 0.5],
            "std": [0.25, 0.25, 0.25],
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "num_classes": len(NAMES),
            "label_names": NAMES,
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), folder / "model.safetensors")
    return folder


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for number, name in enumerate(("one.png", "deep/er/two.jpg", "deep/er/two.png")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize((120, 100), Image.Resampling.BICUBIC).save(path)
    return folder


# The nets here are small: threads cost more than they give, most of all where tests run side by side.
torch.set_num_threads(1)
