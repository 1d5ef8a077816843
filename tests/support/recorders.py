"""Stand-ins for libraries that the recipes write to and that are not installed for the tests.

They record what they are given, after checking that it is of the kinds that the library's documentation asks for. They
do not show that the library itself takes it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image


class SummaryWriter:
    """Of ``torch.utils.tensorboard``."""

    written: list[tuple[str, int]]

    def __init__(self, log_dir: str):
        self.log_dir = log_dir
        SummaryWriter.written = []

    def add_image(self, tag: str, img_tensor: np.ndarray, global_step: int, dataformats: str = "CHW"):
        assert isinstance(tag, str)
        assert dataformats == "HWC"
        assert img_tensor.dtype == np.uint8
        assert img_tensor.ndim == 3
        assert img_tensor.shape[2] == 3
        self.written.append((tag, global_step))

    def close(self):
        pass


class WandbImage:
    """Of ``wandb``: takes arrays, tensors and pictures."""

    def __init__(self, data_or_path: Image.Image, caption: str):
        assert isinstance(data_or_path, Image.Image)
        assert isinstance(caption, str)


class WandbRun:
    """Of ``wandb.init``."""

    logged: list[dict[str, Any]]

    def __init__(self, project: str):
        self.project = project
        WandbRun.logged = []

    def __enter__(self):
        return self

    def __exit__(self, *error: object):
        pass

    def log(self, data: dict[str, Any]):
        assert all(isinstance(value, (WandbImage, float)) for value in data.values())
        self.logged.append(data)


class Heatmap:
    """Of ``fiftyone``: a 2-D array, and the range of its values."""

    def __init__(self, map: np.ndarray, range: list[float]):
        assert map.ndim == 2
        low, high = range
        assert low <= map.min()
        self.map, self.range = map, range
        assert map.max() <= high * 1.0001


class Classification:
    """Of ``fiftyone``."""

    def __init__(self, label: str, confidence: float):
        assert isinstance(label, str)
        assert 0 <= confidence <= 1


class Sample(dict):
    """Of ``fiftyone``: a file and named fields."""

    def __init__(self, filepath: str):
        super().__init__()
        self.filepath = filepath


class FiftyOneDataset:
    """Of ``fiftyone``."""

    added: list[Sample]

    def __init__(self, name: str):
        self.name = name

    def add_samples(self, samples: list[Sample]):
        assert all(isinstance(sample, Sample) for sample in samples)
        FiftyOneDataset.added = list(samples)


def stand_in(monkeypatch) -> None:
    """Have the recipes import these."""
    import sys

    modules = {
        "torch.utils.tensorboard": {"SummaryWriter": SummaryWriter},
        "wandb": {"init": WandbRun, "Image": WandbImage},
        "fiftyone": {
            "Sample": Sample,
            "Heatmap": Heatmap,
            "Classification": Classification,
            "Dataset": FiftyOneDataset,
        },
    }
    for name, things in modules.items():
        module = ModuleType(name)
        vars(module).update(things)
        monkeypatch.setitem(sys.modules, name, module)
