"""The guide: its recipes and what they make, its notebooks, its reference, and the way through it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

import finercam
from support import recorders, stand_ins
from test_docs import ROOT, snippets

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    """Everything that docs/recipes.md makes, in one go and as printed."""
    folder = tmp_path_factory.mktemp("recipes")
    with pytest.MonkeyPatch.context() as patch, finercam.METHODS.restored():
        stand_ins.furnish(folder, patch)
        recorders.stand_in(patch)
        patch.chdir(folder)
        made: dict[str, object] = {}
        for code in snippets("docs/recipes.md"):
            exec(compile(code, "docs/recipes.md", "exec"), made)
        yield made | {"folder": folder}


def test_recipes_for_odd_models(recipes):
    assert (recipes["species"].classes, recipes["age"].classes) == (5, 2)
    assert recipes["by_place"].shape == (4, 64, 64)
    assert recipes["five"].channels == 5
    assert tuple(recipes["cells"]) == (28, 28)
    assert recipes["tuned"].labels.names == ("junco", "jay")
    assert recipes["same"].layers == recipes["five"].layers
    assert recipes["who"].target_name in ("Zora", "Momo", "Kiri")
    assert len(recipes["who"].references) == 2


def test_recipes_for_words(recipes):
    assert recipes["words"].labels.names == ("a finch", "a jay")
    assert str(recipes["found"]).startswith("navy wings, against bird")


def test_recipes_for_dense_outputs(recipes):
    """The logit is what ``read`` makes of the dense scores, and the map is that of its gradient."""
    images = torch.rand(1, 3, 224, 224)
    with recipes["segmentation"].look(images) as look, torch.no_grad():
        assert torch.allclose(look.logits, recipes["dense"](images)["out"].mean((2, 3)), atol=1e-5)
    assert recipes["why_bus"].target_name == "bus"
    assert recipes["detection"].classes == 5
    assert recipes["best_box"].shape == (2, 320, 320)


def test_recipes_for_loops_and_logs(recipes):
    assert recipes["plain"].shape == recipes["finest"].shape == (2, 128, 128)
    assert not torch.equal(recipes["plain"], recipes["finest"])
    assert (recipes["folder"] / "bird.npy").is_file()
    assert recorders.SummaryWriter.written == [
        (f"why/{name}", epoch) for epoch in (0, 1) for name in ("bird.jpg", "other.jpg")
    ]
    assert len(recorders.WandbRun.logged) == 2
    (first, _) = recorders.FiftyOneDataset.added
    assert first["finer"].map.shape == Image.open(recipes["folder"] / "bird.jpg").size[::-1]


def test_the_service_answers_in_threads(recipes):
    from fastapi.testclient import TestClient

    client = TestClient(recipes["service"])
    photo = (recipes["folder"] / "bird.jpg").read_bytes()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda gamma: client.post(f"/why?gamma={gamma}", content=photo), [0.6, 0.6, 1, 1]))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert answers[0].content == answers[1].content != answers[2].content
    refused = client.post("/why", content=b"no picture")
    assert refused.status_code == 422
    assert "the upload" in refused.json()["detail"]
