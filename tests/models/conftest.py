"""What the tests of classifiers share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """The same random weights every time, in any order."""
    torch.manual_seed(0)


@pytest.fixture
def words_kept_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the embeddings of words are kept."""
    monkeypatch.setenv("FINERCAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Any]]:
    """Return a small model's folder and the model itself, by name; made once."""
    from models.text_models import OPEN_CLIP, save_open_clip, save_transformers

    made: dict[str, tuple[Path, Any]] = {}

    def get(name: str) -> tuple[Path, Any]:
        if name not in made:
            folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
            in_open_clip = name in OPEN_CLIP
            model = save_open_clip(folder, OPEN_CLIP[name]) if in_open_clip else save_transformers(folder, name)
            made[name] = folder, model
        return made[name]

    return get


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many prompts went through a text tower, run by run."""
    import open_clip

    seen: list[int] = []
    encode = open_clip.CLIP.encode_text

    def counted(self: Any, ids: Tensor, normalize: bool = False) -> Tensor:
        seen.append(len(ids))
        return encode(self, ids, normalize)

    monkeypatch.setattr(open_clip.CLIP, "encode_text", counted)
    return seen
