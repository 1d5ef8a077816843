"""Model sources as somebody outside this package adds them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

import finercam
import finercam.aviary
from finercam import FinercamError, load
from finercam.models.backbone import load_backbone
from finercam.models.preprocessing import Preprocessing
from finercam.models.source import SOURCES, Checkpoint, ClassifierParts, Saved, alias, source
from finercam.models.sources.probe import write_probe
from finercam.models.text import BARE, text

SHELLS = '''
"""Networks for shells, with made-up weights; everything a source can make."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from finercam.models.preprocessing import Preprocessing
from finercam.models.source import BackboneParts, ClassifierParts, Saved, source
from finercam.models.text_image import TextImageModel, Tokens

NAMES = ["cockle", "whelk", "limpet"]
WORDS = ["cockle", "whelk", "limpet", "shell", "a"]


def look(side):
    def transform(picture):
        pixels = torch.from_numpy(np.array(picture.resize((side, side))))
        return pixels.permute(2, 0, 1) / 127.5 - 1

    return Preprocessing(transform, (side, side), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def body(checkpoint):
    if checkpoint.revision not in (None, "first"):
        raise RuntimeError(f"no revision {checkpoint.revision}\\nand a second line")
    torch.manual_seed(len(checkpoint.name) if checkpoint.pretrained else 99)
    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU())


def pooled(net):
    return nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def classifier(checkpoint):
    return ClassifierParts(nn.Sequential(*pooled(body(checkpoint)), nn.Linear(8, 3)), look(24), NAMES)


def backbone(checkpoint, pool):
    return BackboneParts(pooled(body(checkpoint)), look(24), resize=look)


def text_image(checkpoint, device):
    tower = pooled(body(checkpoint)).to(device)
    table = torch.randn(len(WORDS) + 1, 8, device=device)

    def tokenize(prompts):
        own = [[WORDS.index(word) if word in WORDS else len(WORDS) for word in prompt.split()] for prompt in prompts]
        known = [sum(index < len(WORDS) for index in ids) for ids in own]
        ids = torch.tensor([(ids + [len(WORDS)] * 8)[:8] for ids in own])
        return Tokens({"ids": ids}, known, [0] * len(own), [len(ids) for ids in own])

    return TextImageModel(
        tower, tokenize, lambda inputs: table[inputs["ids"]].mean(1), 8, 10.0, None, {"table": table}, "1", look(24)
    )


source(
    "shells",
    specs=("shells/NAME", "shells/at:FOLDER", "shells"),
    classifier=classifier,
    backbone=backbone,
    text_image=text_image,
    saved=Saved("shells.json", prefix="at:"),
)
'''


@pytest.fixture
def shells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module of somebody's own has been imported; it and its source are forgotten afterwards."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "my_shells.py").write_text(SHELLS)
    monkeypatch.syspath_prepend(tmp_path / "path")
    monkeypatch.setenv("FINERCAM_CACHE", str(tmp_path / "cache"))
    with SOURCES.restored():
        import_module("my_shells")
        yield
    del sys.modules["my_shells"]


PHOTO = Image.linear_gradient("L").resize((60, 40)).convert("RGB")


def linear() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def classifier(checkpoint: Checkpoint) -> ClassifierParts:
    """The least that a source needs."""
    return ClassifierParts(linear(), Preprocessing(size=(16, 16)), [checkpoint.name, "other"])


# --- what it makes -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shells")
def test_a_classifier_of_ones_own_source() -> None:
    model = load("shells/small", device="cpu")
    assert (model.name, model.classes, model.image_size) == ("shells/small", 3, (24, 24))
    assert model.pooled
    assert not model.module.training
    found = finercam.explain(model, PHOTO, "whelk")
    assert (found.target, found.map.shape) == (1, (6, 6))
    same, other, random = (
        load(spec, device="cpu", **options).rows
        for spec, options in [("shells/small", {}), ("shells/larger", {}), ("shells/small", {"pretrained": False})]
    )
    assert torch.equal(same, model.rows)
    assert not torch.equal(other, same)
    assert not torch.equal(random, same)
    assert load("shells", device="cpu").name == "shells"
    assert load("shells/small", device="cpu", layer="0.0").layers == ("0.0",)


@pytest.mark.usefixtures("shells")
def test_a_backbone_and_a_probe_on_it(tmp_path: Path) -> None:
    backbone = load_backbone("shells/small", device="cpu", revision="first")
    assert repr(backbone) == "<Backbone shells/small: 8 features, pooled by 'auto', images 24 x 24>"
    assert backbone.preprocessing(PHOTO).shape == (3, 24, 24)
    larger = load_backbone("shells/small", device="cpu", image_size=32)
    assert (larger.image_size, larger.weights, larger.resized) == ((32, 32), backbone.weights, 32)
    assert backbone.record() == {
        "backbone": "shells/small",
        "revision": "first",
        "weights": backbone.weights,
        "pool": "auto",
        "image_size": None,
        "preprocessing": {"size": [24, 24], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    }
    write_probe(tmp_path / "probe", backbone, torch.randn(2, 8), None, ["a", "b"])
    probe = load(tmp_path / "probe", device="cpu")
    x = torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        assert torch.equal(probe.module(x), backbone.module(x) @ probe.rows.T)


@pytest.mark.usefixtures("shells")
def test_words_in_place_of_a_head() -> None:
    prompts = text("shells/small", ["a whelk", "shell"], templates=BARE, device="cpu")
    torch.testing.assert_close(prompts.rows.norm(dim=1), torch.full((2,), 10.0))
    assert prompts.prompts
    assert prompts.facts.scale == pytest.approx(10)
    classes = load("shells/small", classes=["whelk", "cockle"], device="cpu")
    assert list(classes.labels.names) == ["whelk", "cockle"]
    assert not classes.prompts
    with pytest.raises(FinercamError, match="knows none of the words in 'bird'"):
        text("shells/small", ["bird"], device="cpu")


@pytest.mark.usefixtures("shells")
def test_a_folder_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "shells.json").write_text("{}")
    # Others write files of this name too, so it does not count where there is one that says more.
    (folder / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    assert load(folder, device="cpu").name == str(folder)
    monkeypatch.chdir(tmp_path)
    assert load_backbone("saved", device="cpu").spec == f"shells/at:{folder}"
    assert load_backbone("shells/at:saved", device="cpu").spec == f"shells/at:{folder}"
    (folder / "open_clip_config.json").write_text("{}")
    with pytest.raises(FinercamError, match=r"may be a model of several sources; write .*open_clip/local-dir:saved"):
        load("saved")


def test_a_folder_is_recognised_by_a_key(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"reef": 3}))
    with SOURCES.restored():
        source("reef", classifier=classifier, saved=Saved("config.json", key="reef"))
        assert load(tmp_path, device="cpu").labels.names[0] == str(tmp_path)
        source("coral", classifier=classifier, saved=Saved("config.json", key="reef", without="bleached"))
        with pytest.raises(FinercamError, match=f"write reef/{tmp_path} or coral/{tmp_path}"):
            load(tmp_path)
        (tmp_path / "config.json").write_text(json.dumps({"reef": 3, "bleached": True}))
        assert load(tmp_path, device="cpu").classes == 2
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(FinercamError, match=r"none of the keys .*'reef' .reef., .*; its keys are none"):
            load(tmp_path)


def test_one_model_under_a_name_of_its_own() -> None:
    with SOURCES.restored():
        made = source("reef", classifier=classifier, install="reef-nets")
        assert alias("atoll", made, "bikini").specs == ("atoll",)
        assert load("atoll", device="cpu").labels.names[0] == "bikini"
        assert (SOURCES["atoll"].backbone, SOURCES["atoll"].text_image) == (None, None)
        assert SOURCES["atoll"].install == "reef-nets"
        with pytest.raises(FinercamError, match="'atoll/x' is neither a folder nor a model's name; write atoll"):
            load("atoll/x")


def test_the_aviarys_models_are_aliases() -> None:
    assert SOURCES["aviary"].text_image is None
    assert load("aviary", device="cpu").labels.names[0] == load(finercam.aviary.MODEL, device="cpu").labels.names[0]
    assert load_backbone("aviary", device="cpu").spec == "aviary"
    assert SOURCES["aviary-clip"].text_image is not None


# --- what is said ------------------------------------------------------------------------------------------------


def test_what_a_source_does_not_make() -> None:
    with SOURCES.restored():
        source("reef", classifier=classifier)
        with pytest.raises(FinercamError, match=r"reef/x cannot be used as a backbone .the source reef has none."):
            load_backbone("reef/x")
        with pytest.raises(FinercamError, match="reef/x does not understand text; words and label embeddings need"):
            text("reef/x", ["whelk"])
        source("words", specs=("words/NAME",), text_image=SOURCES["open_clip"].text_image)
        with pytest.raises(FinercamError, match=r"words/x cannot be used as a classifier .*write .*reef/MODEL"):
            load("words/x")
        with pytest.raises(FinercamError, match=r"image size of torchvision/shufflenet_v2_x0_5 is fixed"):
            load_backbone("torchvision/shufflenet_v2_x0_5", pretrained=False, image_size=64)


@pytest.mark.usefixtures("shells")
def test_what_a_source_raises_is_said_in_one_line() -> None:
    with pytest.raises(FinercamError, match=r"^shells/small could not be loaded: RuntimeError: no revision second$"):
        load("shells/small", revision="second")

    def needy(checkpoint: Checkpoint) -> ClassifierParts:
        import a_package_that_is_not_installed as net

        return ClassifierParts(net.make(checkpoint.name), Preprocessing())

    source("needy", classifier=needy)
    source("helpful", classifier=needy, install="helpful[nets]")
    with pytest.raises(FinercamError, match=r"^needy/x needs (\w+); pip install \1$"):
        load("needy/x")
    with pytest.raises(FinercamError, match=r"pip install 'helpful\[nets\]'$"):
        load("helpful/x")


@pytest.mark.parametrize("name", ["timm", "Timm", "openclip", "aviary", "aviary_clip"])
def test_a_name_that_is_taken_is_refused(name: str) -> None:
    before = dict(SOURCES)
    with pytest.raises(FinercamError, match=r"there is a model source '(timm|open_clip|aviary|aviary-clip)' already"):
        source(name, classifier=classifier)
    assert dict(SOURCES) == before


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("my/nets", {"classifier": classifier}, "'my/nets' cannot be the name of a model source: the model follows"),
        ("my nets", {"classifier": classifier}, "'my nets' cannot be the name of a model source: no spaces"),
        ("mine", {}, "'mine' makes nothing; give classifier=, backbone= or text_image="),
        ("mine", {"classifier": classifier, "specs": ("its/NAME",)}, "begin with its name; 'its/NAME' does not"),
    ],
)
def test_a_source_that_cannot_be_asked_for_is_refused(name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(FinercamError, match=says):
        source(name, **options)  # type: ignore[arg-type]
    assert name not in SOURCES


def test_the_built_in_sources_say_what_they_are() -> None:
    assert {"timm", "torchvision", "transformers", "open_clip", "probe", "aviary", "aviary-clip"} <= set(SOURCES)
    for name, known in SOURCES.items():
        assert known.name == name
        assert all(spec.partition("/")[0] == name for spec in known.specs)
        assert known.classifier is not None
    without = [name for name, known in SOURCES.items() if known.backbone is None]
    assert without == ["probe"]


# --- in packages of their own ------------------------------------------------------------------------------------


def add_package(site: Path, name: str, module: str) -> None:
    """Write what an installed package leaves behind: its metadata with an entry point in the group of sources."""
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[finercam.sources]\n{name} = {module}\n")


def test_a_plug_in_is_found_and_a_broken_one_does_not_stop_the_rest(tmp_path: Path) -> None:
    (tmp_path / "shells_of_mine.py").write_text(SHELLS)
    (tmp_path / "broken_reef.py").write_text("import a_package_that_is_not_installed")
    add_package(tmp_path, "broken", "broken_reef")
    add_package(tmp_path, "shells", "shells_of_mine")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import finercam\n"
        "from finercam.models.source import SOURCES\n"
        "print(finercam.load('shells/small', device='cpu').classes, 'timm' in SOURCES, 'aviary' in SOURCES)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "3 True True", done.stderr
    assert "the model source 'broken' of broken cannot be loaded: ModuleNotFoundError" in done.stderr
