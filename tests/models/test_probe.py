"""Linear probes: folders that come back as they were, and heads that were trained elsewhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

import finercam
from finercam import FinercamError
from finercam._torchvision import import_torchvision
from finercam.models.backbone import load_backbone, weights_hash
from finercam.models.sources.probe import from_head, read_head, write_probe
from models.backbone_folders import images, made, save_all, save_timm, seeded_head, timm_tokens

PHOTO = Image.linear_gradient("L").resize((90, 60)).convert("RGB")
NAMES = ["Indigo Bunting", "Lazuli Bunting", "Blue Grosbeak"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return save_all(tmp_path_factory.mktemp("backbones"))


# --- folders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["timm", "ViT", "DINOv2", "open_clip"])
@pytest.mark.parametrize("pool", ["auto", "mean"])
def test_a_probe_comes_back_bit_for_bit(folders: dict[str, Path], tmp_path: Path, kind: str, pool: str) -> None:
    backbone, before = made(folders, kind, pool)
    write_probe(tmp_path / "probe", backbone, *seeded_head(backbone), NAMES)
    after = finercam.load(tmp_path / "probe", device="cpu")
    x = images(backbone)
    with torch.no_grad():
        assert torch.equal(after.module(x), before.module(x))
    assert after.preprocessing.transform is not None
    assert torch.equal(after.preprocessing(PHOTO), backbone.preprocessing(PHOTO))
    assert after.labels is not None
    assert list(after.labels.names) == NAMES
    assert (after.layers, after.pooled) == (before.layers, before.pooled)
    assert (after.preprocessing.mean, after.preprocessing.std) == (
        backbone.preprocessing.mean,
        backbone.preprocessing.std,
    )
    assert finercam.explain(after, PHOTO, "lazuli bunting").target_name == "Lazuli Bunting"


def test_a_probe_on_torchvision_comes_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = import_torchvision().models.shufflenet_v2_x0_5(weights=None).state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: dict(state))
    backbone = load_backbone("torchvision/shufflenet_v2_x0_5", device="cpu")
    weight, bias = seeded_head(backbone)
    write_probe(tmp_path / "probe", backbone, weight, bias, NAMES)
    after = finercam.load(tmp_path / "probe", device="cpu")
    x = images(backbone, 1)
    with torch.no_grad():
        assert torch.equal(after.module(x), nn.functional.linear(backbone.module(x), weight, bias))


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """A probe on a backbone of its own."""
    backbone = load_backbone(str(save_timm(tmp_path / "backbone", "test_resnet")), device="cpu")
    return write_probe(tmp_path / "probe", backbone, *seeded_head(backbone), NAMES)


def test_a_probe_whose_backbone_has_changed_is_refused(probe: Path) -> None:
    finercam.load(probe)
    weights = probe.parent / "backbone" / "model.safetensors"
    state = load_file(weights)
    state["fc.weight"] += 1
    save_file(state, weights)
    # The head that was taken off does not count.
    finercam.load(probe)
    state["conv1.0.weight" if "conv1.0.weight" in state else "conv1.weight"].view(-1)[0] += 1e-3
    save_file(state, weights)
    with pytest.raises(FinercamError, match=r"has changed: its weights hash to \w{12}, the head was trained on"):
        finercam.load(probe)


def test_a_probe_whose_preprocessing_has_changed_is_refused(probe: Path) -> None:
    config = probe.parent / "backbone" / "config.json"
    says = json.loads(config.read_text())
    says["pretrained_cfg"]["mean"] = [0.1, 0.1, 0.1]
    config.write_text(json.dumps(says))
    with pytest.raises(FinercamError, match=r"preprocessing of the backbone .* has changed"):
        finercam.load(probe)


def test_a_backbone_that_went_away_is_named(probe: Path) -> None:
    shutil.move(probe.parent / "backbone", probe.parent / "elsewhere")
    with pytest.raises(FinercamError, match=r"is based on the backbone .*write where as 'backbone' in .*probe\.json"):
        finercam.load(probe)
    record = json.loads((probe / "probe.json").read_text())
    record["backbone"] = str(probe.parent / "elsewhere")
    (probe / "probe.json").write_text(json.dumps(record))
    assert finercam.load(probe).classes == 3


def test_records_that_are_none_are_refused(probe: Path) -> None:
    path = probe / "probe.json"
    record = json.loads(path.read_text())
    for text, says in [
        ("{", "is not JSON"),
        ("[]", "is not the record of a probe"),
        (json.dumps({**record, "format": 9}), "is of format 9"),
        (json.dumps({**record, "labels": NAMES[:2]}), "2 class names were given for a head of 3 classes"),
    ]:
        path.write_text(text)
        with pytest.raises(FinercamError, match=says):
            finercam.load(probe)
    with pytest.raises(FinercamError, match="one revision of its backbone"):
        finercam.load(probe, revision="main")


def test_what_cannot_be_a_backbone(probe: Path, folders: dict[str, Path]) -> None:
    with pytest.raises(FinercamError, match=r"cannot be used as a backbone .*probe has none.; write .*timm/NAME"):
        load_backbone(probe)
    with pytest.raises(FinercamError, match="pool is 'max'; choose from: auto, mean, cls"):
        load_backbone(folders["timm"], "max")
    with pytest.raises(FinercamError, match="cannot be pooled by 'cls'"):
        load_backbone(folders["resnet"], "cls")
    with pytest.raises(FinercamError, match="timm has no model 'resnet5O'; did you mean"):
        load_backbone("timm/resnet5O")
    with pytest.raises(FinercamError, match="does not end in one linear layer"):
        load_backbone("torchvision/squeezenet1_1", pretrained=False)
    with pytest.raises(FinercamError, match=r"image size of .*ViT is fixed"):
        load_backbone(folders["ViT"], image_size=64)


def test_another_size_of_input_changes_no_weights(folders: dict[str, Path], tmp_path: Path) -> None:
    own = load_backbone(folders["timm"], "mean", device="cpu")
    other = load_backbone(folders["timm"], "mean", image_size=96, device="cpu")
    assert (own.image_size, other.image_size) == ((160, 160), (96, 96))
    assert own.weights == other.weights
    assert weights_hash(own.module) != weights_hash(other.module)
    assert other.preprocessing(PHOTO).shape == (3, 96, 96)
    write_probe(tmp_path / "probe", other, *seeded_head(other), NAMES)
    after = finercam.load(tmp_path / "probe")
    assert after.image_size == (96, 96)
    assert finercam.explain(after, PHOTO, 0).map.shape == (6, 6)


# --- finished heads ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "linear.", "module.classifier."])
def test_a_released_head_goes_on_its_backbone(folders: dict[str, Path], tmp_path: Path, prefix: str) -> None:
    backbone = load_backbone(folders["timm"], "mean", device="cpu")
    weight, bias = seeded_head(backbone)
    torch.save({f"{prefix}weight": weight, f"{prefix}bias": bias}, tmp_path / "head.pth")
    classifier = from_head(folders["timm"], tmp_path / "head.pth", class_names=NAMES, pool="mean", device="cpu")
    assert classifier.pooled
    assert classifier.name.endswith("head.pth")
    tokens = timm_tokens(folders["timm"], classifier.preprocessing(PHOTO)[None].double())
    literal = tokens[0, 1:].mean(0) @ weight.double().T + bias.double()
    torch.testing.assert_close(
        finercam.explain(classifier, PHOTO).logits.double(), literal.detach(), rtol=1e-4, atol=1e-4
    )


def test_heads_that_do_not_fit_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    backbone = load_backbone(folders["timm"], "mean", device="cpu")
    weight, bias = seeded_head(backbone)
    path = tmp_path / "head.pth"

    def refused(state: Any, says: str, names: list[str] = NAMES) -> None:
        torch.save(state, path)
        with pytest.raises(FinercamError, match=says):
            from_head(backbone, path, class_names=names)

    refused({"weight": weight, "bias": bias}, "2 class names were given for a head of 3", NAMES[:2])
    refused({"weight": weight[:, :5], "bias": bias}, "takes 5 features, but .* gives 64")
    refused({"weight": weight, "bias": bias[:2]}, "no bias that goes with it")
    refused({"weight": weight, "more": weight, "bias": bias}, "does not hold one linear layer")
    refused({"a.weight": weight, "b.weight": weight}, "does not hold one linear layer")
    refused([weight], "does not hold one linear layer .* but: list")
    refused({"weight": weight.log(), "bias": bias}, "weights for Indigo Bunting are not finite")
    # A whole module is code to be run, not weights.
    refused(nn.Linear(64, 3), "cannot be read as weights")
    path.write_bytes(b"no weights at all")
    with pytest.raises(FinercamError, match="cannot be read as weights"):
        read_head(path)
    with pytest.raises(FinercamError, match="there is no file"):
        read_head(tmp_path / "none.pth")


def test_a_head_without_a_bias_and_in_half_precision(folders: dict[str, Path], tmp_path: Path) -> None:
    backbone = load_backbone(folders["timm"], device="cpu")
    weight = seeded_head(backbone)[0].half()
    save_file({"weight": weight}, tmp_path / "head.safetensors")
    classifier = from_head(backbone, tmp_path / "head.safetensors", class_names=NAMES)
    x = images(backbone, 1)
    with torch.no_grad():
        torch.testing.assert_close(classifier.module(x), backbone.module(x) @ weight.float().T)
