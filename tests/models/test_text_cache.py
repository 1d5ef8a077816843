"""What is kept of words on disk: made once, made again where it is damaged or of another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finercam._torchvision import import_torchvision
from finercam.models import text_cache
from finercam.models.text import BARE, text
from finercam.models.text_image import TextImageModel
from models.text_models import SIZE, images, open_clip_config, save_open_clip

import_torchvision()  # before open_clip

pytestmark = pytest.mark.usefixtures("words_kept_in")

NAMES = ["red epaulets", "bird", "yellow beak", "blue grosbeak"]


def test_embeddings_are_made_once(saved: Any, runs: list[int], words_kept_in: Path) -> None:
    folder, _ = saved("ViT")
    first = text(folder, NAMES, device="cpu")
    assert runs == [4]
    again = text(folder, NAMES, device="cpu")
    assert runs == [4]
    assert torch.equal(first.rows, again.rows)
    assert torch.equal(first.module(images(2, (SIZE, SIZE))), again.module(images(2, (SIZE, SIZE))))
    (file,) = (words_kept_in / "text").iterdir()
    assert file.suffix == ".safetensors"
    text(folder, [*NAMES, "wing"], device="cpu")
    text(folder, NAMES, templates=BARE, device="cpu")
    text(folder, NAMES[::-1], device="cpu")
    assert runs == [4, 5, 4, 4]
    assert len(list((words_kept_in / "text").iterdir())) == 4


def test_many_prompts_go_through_in_runs(saved: Any, runs: list[int]) -> None:
    folder, _ = saved("ViT")
    names = [f"bird {chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(150)]
    many = text(folder, names, device="cpu")
    assert runs == [64, 64, 22]
    few = text(folder, names[100:102], device="cpu")
    torch.testing.assert_close(many.rows[100:102], few.rows)


def test_other_weights_or_settings_are_not_taken_for_the_same(tmp_path: Path, runs: list[int]) -> None:
    """Settings too: the activation of a text tower is not in its weights."""
    before = text(_saved(tmp_path / "a"), NAMES, device="cpu").rows
    quick = text(_saved(tmp_path / "b", quick_gelu=True), NAMES, device="cpu").rows
    assert not torch.allclose(before, quick)
    model = save_open_clip(tmp_path / "c", open_clip_config())
    with torch.no_grad():
        model.ln_final.weight[3] += 0.5
    from safetensors.torch import save_file

    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "c" / "open_clip_model.safetensors"
    )
    assert not torch.allclose(before, text(tmp_path / "c", NAMES, device="cpu").rows)
    assert runs == [4, 4, 4]
    # What only the image tower has does not matter.
    with torch.no_grad():
        model.ln_final.weight[3] -= 0.5
        model.visual.proj += 1
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "c" / "open_clip_model.safetensors"
    )
    assert torch.equal(before, text(tmp_path / "c", NAMES, device="cpu").rows)
    assert runs == [4, 4, 4]


def _saved(folder: Path, **more: Any) -> Path:
    save_open_clip(folder, open_clip_config(**more))
    return folder


def test_two_templates_of_two_names_are_not_four_names(saved: Any, runs: list[int]) -> None:
    """The same prompts in the same order, averaged otherwise."""
    folder, _ = saved("ViT")
    two = text(folder, ["wing", "beak"], templates=["a {}", "the {}"], device="cpu")
    four = text(folder, ["a wing", "the wing", "a beak", "the beak"], templates=BARE, device="cpu")
    assert runs == [4, 4]
    assert (two.classes, four.classes) == (2, 4)
    text(folder, ["wing", "beak"], templates=["a {}", "the {}"], device="cpu")
    assert runs == [4, 4]  # each is kept, beside the other


@pytest.mark.parametrize("damage", [b"", b"not at all", b"{}"])
def test_a_damaged_file_is_made_again(damage: bytes, saved: Any, runs: list[int], words_kept_in: Path) -> None:
    folder, _ = saved("ViT")
    first = text(folder, NAMES, device="cpu").rows
    (file,) = (words_kept_in / "text").iterdir()
    file.write_bytes(damage)
    assert torch.equal(first, text(folder, NAMES, device="cpu").rows)
    assert runs == [4, 4]
    text(folder, NAMES, device="cpu")
    assert runs == [4, 4]


def test_where_it_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FINERCAM_CACHE", "~/elsewhere")
    assert text_cache.cache_folder() == Path.home() / "elsewhere"
    monkeypatch.setenv("FINERCAM_CACHE", "")
    assert text_cache.cache_folder() is None
    monkeypatch.delenv("FINERCAM_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert text_cache.cache_folder() == tmp_path / "finercam"
    for other in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", other)
        assert text_cache.cache_folder() == Path.home() / ".cache" / "finercam"


def test_nothing_need_be_kept(saved: Any, runs: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder, _ = saved("ViT")
    monkeypatch.setenv("FINERCAM_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(TextImageModel, "fingerprint", lambda self: pytest.fail("weights are hashed for nothing"))
    text(folder, NAMES, device="cpu")
    text(folder, NAMES, device="cpu")
    assert runs == [4, 4]
    assert not (tmp_path / "xdg").exists()


def test_a_folder_that_cannot_be_written_to_is_a_warning(saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = saved("ViT")
    monkeypatch.setenv("FINERCAM_CACHE", str(folder / "open_clip_config.json"))
    with pytest.warns(UserWarning, match="could not be kept in .*set FINERCAM_CACHE"):
        assert text(folder, NAMES, device="cpu").classes == 4
