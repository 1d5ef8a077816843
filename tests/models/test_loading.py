"""``load()``: checkpoints in each library's own format, and what is said where there is nothing to load."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from finercam import Classifier, FinercamError, explain, load
from finercam._torchvision import import_torchvision
from finercam.models.backbone import load_backbone
from finercam.models.text import text

NAMES = ["Indigo Bunting", "Lazuli Bunting", "Blue Grosbeak", "Grandala"]
PHOTO = Image.linear_gradient("L").resize((90, 60)).convert("RGB")


@pytest.fixture(scope="module")
def timm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import_torchvision()
    import timm

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("timm")
    model = timm.create_model("test_resnet", num_classes=4)
    timm.models.save_for_hf(model, folder, model_config={"label_names": NAMES}, safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def transformers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import_torchvision()
    from transformers import ViTForImageClassification, ViTImageProcessor

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("transformers")
    ViTForImageClassification(vit_config(dict(enumerate(NAMES)))).save_pretrained(folder)
    processor = ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.25, 0.3]
    )
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def open_clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import_torchvision()
    from open_clip import CLIP
    from open_clip.push_to_hf_hub import save_for_hf

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("open_clip")
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 1, "layers": 1},
    }
    model = CLIP(**config)
    model.visual.image_mean, model.visual.image_std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)

    class NoTokenizer:
        def save_pretrained(self, folder: Path) -> None:
            """The image tower needs none."""

    save_for_hf(model, NoTokenizer(), config, folder, safe_serialization=True)
    return folder


def vit_config(names: dict[int, str]) -> object:
    from transformers import ViTConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return ViTConfig(
        image_size=32, patch_size=8, id2label=names, label2id={name: i for i, name in names.items()}, **sizes
    )


def saved_weights(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def assert_normalised(classifier: Classifier, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """A white picture comes out as (1 - mean) / std per channel."""
    assert classifier.preprocessing.mean == pytest.approx(mean)
    assert classifier.preprocessing.std == pytest.approx(std)
    white = classifier.preprocessing(Image.new("RGB", (50, 70), "white"))
    assert tuple(white.shape[1:]) == classifier.image_size
    expected = [(1 - m) / s for m, s in zip(mean, std, strict=True)]
    assert white[:, 5, 5].tolist() == pytest.approx(expected, abs=1e-5)


def test_timm_folder(timm_folder: Path) -> None:
    classifier = load(timm_folder, device="cpu")
    assert list(classifier.labels.names) == NAMES
    assert classifier.layers == ("layer4",)
    assert classifier.name == str(timm_folder)
    assert classifier.image_size == (160, 160)
    assert_normalised(classifier, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    torch.testing.assert_close(classifier.module.state_dict()["fc.weight"], saved_weights(timm_folder)["fc.weight"])
    assert not classifier.module.training
    assert explain(classifier, PHOTO, "Grandala").target == 3
    named = load(f"timm/local-dir:{timm_folder}", device="cpu", layer="layer3")
    assert named.layers == ("layer3",)
    assert list(named.labels.names) == NAMES


def test_transformers_folder(transformers_folder: Path) -> None:
    classifier = load(transformers_folder, device="cpu")
    assert list(classifier.labels.names) == NAMES
    assert classifier.layers == ("vit.layers.1.layernorm_before",)
    assert classifier.image_size == (32, 32)
    assert_normalised(classifier, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    weights = saved_weights(transformers_folder)
    torch.testing.assert_close(classifier.module.state_dict()["classifier.weight"], weights["classifier.weight"])
    assert explain(classifier, PHOTO, "Grandala").target == 3
    assert load(f"transformers/{transformers_folder}", device="cpu").layers == classifier.layers


def test_placeholders_are_no_names(transformers_folder: Path, tmp_path: Path) -> None:
    for file in transformers_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = {str(i): f"LABEL_{i}" for i in range(4)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load(tmp_path, device="cpu").labels is None


def test_open_clip_folder(open_clip_folder: Path) -> None:
    classifier = load(open_clip_folder, device="cpu")
    assert classifier.labels is None
    assert classifier.classes == 16
    assert classifier.layers == ("transformer.resblocks.1.ln_1",)
    assert classifier.image_size == (32, 32)
    assert_normalised(classifier, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    weights = saved_weights(open_clip_folder)
    torch.testing.assert_close(classifier.module.state_dict()["conv1.weight"], weights["visual.conv1.weight"])
    assert explain(classifier, PHOTO, 7).target == 7


@pytest.mark.parametrize(
    ("spec", "layer", "classes"),
    [
        ("timm/test_resnet", "layer4", 1000),
        ("torchvision/squeezenet1_1", "classifier.2", 1000),
        pytest.param("open_clip/RN50", "layer4", 1024, marks=pytest.mark.slow),
    ],
)
def test_without_weights(spec: str, layer: str, classes: int) -> None:
    classifier = load(spec, pretrained=False, device="cpu")
    assert (classifier.layers, classifier.classes) == ((layer,), classes)
    assert classifier.preprocessing(PHOTO).shape == (3, *classifier.image_size)


def test_a_thousand_random_classes_are_not_imagenets() -> None:
    assert load("timm/test_resnet", pretrained=False, device="cpu").labels is None


@pytest.mark.skipif("FINERCAM_SHARED" not in os.environ, reason="FINERCAM_SHARED does not name the shared folder")
def test_a_trained_bird_classifier() -> None:
    shared = Path(os.environ["FINERCAM_SHARED"])
    classifier = load(shared / "models" / "inat_birds", device="cpu")
    assert classifier.classes == len(classifier.labels) == 965
    assert classifier.layers == ("bn2",)
    assert classifier.pooled
    photo = min((shared / "data").rglob("*Red_Winged_Blackbird*.jpg"))
    assert explain(classifier, photo).target == classifier.labels.index("Red-winged Blackbird")


# --- nothing to load ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "options", "said"),
    [
        ("tim/resnet18", {}, "did you mean 'timm/NAME'"),
        ("keras/resnet18", {}, "choose from: .*open_clip/NAME/WEIGHTS, .*timm/NAME, .*torchvision/NAME"),
        ("resnet18", {}, "neither a folder nor a model's name; choose from: .*timm/NAME"),
        ("", {}, "neither a folder nor a model's name"),
        ("timm/", {}, "neither a folder nor a model's name; write timm/NAME"),
        ("timm", {}, "neither a folder nor a model's name; write timm/NAME"),
        ("timm/resnet_18", {}, "timm has no model 'resnet_18'; did you mean 'resnet18'"),
        ("torchvision/resnet19", {}, "no classification model 'resnet19'; did you mean 'resnet18'"),
        ("torchvision/fcn_resnet50", {}, "no classification model 'fcn_resnet50'"),
        ("torchvision/resnet18/V1", {}, "resnet18 has no weights 'V1'; did you mean 'IMAGENET1K_V1'"),
        ("open_clip/RN51/openai", {}, "OpenCLIP has no model 'RN51'; did you mean 'RN50'"),
        ("open_clip/RN50", {}, "several sets of weights.* write open_clip/RN50/WEIGHTS"),
        ("open_clip/RN50/opena", {}, "no weights 'opena' for RN50; .*did you mean 'openai'"),
        ("timm/test_resnet", {"revision": "main"}, "a revision belongs to a model on the hub"),
        ("torchvision/resnet18", {"revision": "main"}, "weights have names, not revisions"),
        ("open_clip/RN50/openai", {"revision": "main"}, "takes no revision"),
        ("timm/test_resnet", {"device": "gpu"}, "device 'gpu' cannot be used here"),
        ("timm/test_resnet", {"device": "cuda:99"}, "device 'cuda:99' cannot be used here"),
    ],
)
def test_what_is_said(spec: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(FinercamError, match=said):
        load(spec, **options)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "has none of the files config.json, open_clip_config.json, probe.json"),
        ("{", "config.json' is not a model's configuration"),
        ("[]", "config.json' is not a model's configuration"),
        (
            '{"layers": 3}',
            "none of the keys 'architecture' .timm., 'model_type' .transformers.; its keys are layers",
        ),
        ('{"architecture": "test_resnet"}', "could not be loaded: RuntimeError: No suitable checkpoints found"),
        ('{"architecture": "test_resnt"}', "could not be loaded: .*test_resnt"),
        ('{"model_type": "vit"}', "saved as a backbone, without an image classification head"),
        ('{"model_type": "timm_wrapper", "architecture": "resnet18"}', "could not be loaded"),
    ],
)
def test_a_folder_that_is_no_model(tmp_path: Path, config: str | None, said: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(FinercamError, match=said):
        load(tmp_path)


def test_a_model_without_a_head(tmp_path: Path, transformers_folder: Path) -> None:
    import timm
    from transformers import ViTModel

    features = timm.create_model("test_resnet", num_classes=0)
    timm.models.save_for_hf(features, tmp_path / "timm", safe_serialization=True)
    with pytest.raises(FinercamError, match="has no classification head: its outputs are features"):
        load(tmp_path / "timm")
    ViTModel(vit_config({0: "a"})).save_pretrained(tmp_path / "transformers")
    with pytest.raises(FinercamError, match="saved as ViTModel, without an image classification head"):
        load(tmp_path / "transformers")


def test_timm_models_are_not_loaded_through_transformers(timm_folder: Path) -> None:
    with pytest.raises(FinercamError, match=f"write timm/local-dir:{timm_folder}"):
        load(f"transformers/{timm_folder}")


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(FinercamError, match="needs open_clip; pip install 'open_clip_torch'"):
        load("open_clip/RN50/openai")


def test_pickled_weights_are_not_loaded(transformers_folder: Path, tmp_path: Path) -> None:
    """Only safetensors: a pickle runs code."""
    for file in transformers_folder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(saved_weights(transformers_folder), tmp_path / "pytorch_model.bin")
    with pytest.raises(FinercamError, match=r"could not be loaded: .*safetensors"):
        load(tmp_path)


def test_a_folder_s_own_code_is_never_run_whatever_standard_input_says(transformers_folder, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(transformers_folder, folder)
    code = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n"
    code += "from transformers import ViTConfig as Own, ViTImageProcessor as OwnProcessor\n"
    (folder / "own.py").write_text(code)
    for file, maps in (
        ("config.json", {"AutoConfig": "own.Own", "AutoModelForImageClassification": "own.Own"}),
        ("preprocessor_config.json", {"AutoImageProcessor": "own.OwnProcessor"}),
    ):
        config = json.loads((folder / file).read_text())
        config |= {"auto_map": maps}
        if file == "config.json":
            config["model_type"] = "own"
        (folder / file).write_text(json.dumps(config))
    answers = io.StringIO("y\n" * 20)
    monkeypatch.setattr(sys, "stdin", answers)
    for make in (load, load_backbone, lambda spec: text(spec, ["a", "b"])):
        with pytest.raises(FinercamError, match="could not be loaded"):
            make(f"transformers/{folder}")
    assert not (tmp_path / "ran").exists()
    assert answers.tell() == 0
    assert sys.stdin is answers


@pytest.mark.parametrize(
    "nonsense",
    [
        {"std": [3, 64]},
        {"std": [0.25, 0.0, 0.25]},
        {"std": [0.25, "a", 0.25]},
        {"std": 7},
        {"mean": [0.5, float("nan"), 0.5]},
        {"crop_pct": 1e9},
        {"crop_pct": 1e-9},
        {"crop_pct": "all"},
        {"input_size": [3, 10**9, 10**9]},
        {"input_size": [3, 0, 96]},
        {"input_size": 96},
        {"interpolation": "magic"},
    ],
)
def test_nonsense_in_a_model_s_configuration_is_one_line(model_folder, tmp_path, nonsense):
    folder = tmp_path / "model"
    shutil.copytree(model_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= nonsense
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(FinercamError) as error:
        explain(load(folder), Image.new("RGB", (40, 30), "red")).figure()
    assert "\n" not in str(error.value)
