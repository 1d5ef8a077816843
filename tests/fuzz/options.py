"""Command lines: every command, with options that are mostly good."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from fuzz.harm import WORDS
from fuzz.world import World

#: How often an option is given nonsense.
NONSENSE = 0.06

_QUESTION = {
    "--gamma": ("0", "0.6", "1,2", "-0.5", "0.1,0.25"),
    "--references": ("1", "3", "2,3", "9"),
    "--against": ("similar", "predicted", "weights", "similar@2", "0,1", "predicted@1,similar"),
    "--weighting": ("mean", "softmax", "official"),
    "--aggregate": ("mean", "max", "mean-after-relu"),
    "--method": ("gradcam", "layercam", "hirescam", "gradcam++", "xgradcam", "occlusion", "rise@masks=20@cells=3"),
}
_RUN = {
    "--device": ("cpu", "auto"),
    "--precision": ("float32", "bfloat16"),
    "--batch-size": ("1", "2", "16"),
    "--copies": ("1", "7"),
}
_DATA = {
    "--split": ("test", "train", "all"),
    "--images": ("1", "3", "100"),
    "--seed": ("0", "1", "-1"),
    "--workers": ("0",),
}
_FLAGS = ("--skip-unmatched", "--retry-failed")


def commands(world: World, folder: Path, out: Path, chance: random.Random) -> list[str]:
    """Return a command line that writes to ``out``."""
    kind = chance.choices(
        ("explain", "concept", "evaluate", "sanity", "table", "probe", "faithfulness", "similarity", "report", "lists"),
        (12, 4, 5, 3, 4, 4, 2, 3, 3, 1),
    )[0]
    made: list[str] = globals()[f"_{kind}"](world, folder, chance)
    if kind not in ("lists",):
        where = out / "table.md" if kind == "probe" and "--compare" in made else out
        where = out / "report.html" if kind == "report" else where
        made += ["--out", str(where)] if chance.random() < 0.97 else []
    if "--out" not in made:
        # Beside nothing else, where it goes by itself.
        made += ["--out", str(out)] if kind in ("explain", "concept", "similarity") else []
        made += ["--out", str(out / "report.html")] if kind == "report" else []
    return made


def _some(table: dict[str, Sequence[str]], chance: random.Random, share: float = 0.3) -> list[str]:
    given: list[str] = []
    for option, values in table.items():
        if chance.random() < share:
            given += [option, chance.choice(WORDS) if chance.random() < NONSENSE else chance.choice(values)]
    return given


def _flags(flags: Sequence[str], chance: random.Random) -> list[str]:
    return [flag for flag in flags if chance.random() < 0.15]


def _one(values: Sequence[object], chance: random.Random) -> str:
    return chance.choice(WORDS) if chance.random() < NONSENSE else str(chance.choice(values))


def _explain(world: World, folder: Path, chance: random.Random) -> list[str]:
    photos = sorted(world.photos.iterdir())
    given = [_one([*photos, world.photos, f"{world.photos}/*.png"], chance) for _ in range(chance.choice((1, 1, 2)))]
    model = _one((world.timm, world.transformers, world.probe, f"timm/local-dir:{world.timm}"), chance)
    target = {"--target": ("predicted", "0", "3", "Blue Grosbeak", "blue grosbeak", "tench")}
    rest = _some(_QUESTION | _RUN | target, chance) + _flags(("--reverse", "--keep", "--json"), chance)
    return ["explain", *given, "--model", model, *rest]


def _concept(world: World, folder: Path, chance: random.Random) -> list[str]:
    words = ("red breast", "long bill", "a bird", "yellow eye")
    given = [one for _ in range(chance.choice((1, 2))) for one in ("--concept", _one(words, chance))]
    own = {
        "--mode": ("highlight", "mask-out"),
        "--fraction": ("0.1", "1", "0.001"),
        "--template": ("a photo of {}", "{}"),
        "--gamma": ("0", "0.6", "1"),
        "--method": ("gradcam", "layercam"),
    }
    rest = _some(own | _RUN, chance) + _flags(("--json",), chance)
    photo, base = _one((world.photos / "0.png", world.photos), chance), _one(("bird", "red breast"), chance)
    return ["concept", photo, "--model", "aviary-clip", *given, "--base", base, *rest]


def _data_model(world: World, chance: random.Random) -> list[str]:
    data = _one((f"folder:{world.folder}", f"birds525:{world.birds525}", f"planted:folder:{world.folder}"), chance)
    if chance.random() < 0.1:
        data = _one((f"aircraft:{world.aircraft}", f"fishvista:{world.fishvista}", f"folder:{world.photos}"), chance)
    return [data, "--model", _one((world.timm, world.probe, world.transformers), chance)]


def _evaluate(world: World, folder: Path, chance: random.Random) -> list[str]:
    own = {
        "--metric": ("deletion", "relative-drop@0.1,relative-drop@0.5", "insertion@steps=2", "deletion@steps=3"),
        "--contrast": ("plain", "finer", "plain,finer"),
        "--fill": ("mean", "black", "blur"),
        "--target": ("label", "predicted"),
    }
    rest = _some(_QUESTION | _RUN | _DATA | own, chance, 0.25) + _flags((*_FLAGS, "--only-correct"), chance)
    return ["evaluate", *_data_model(world, chance), "--steps", _one(("1", "2", "5"), chance), *rest]


def _sanity(world: World, folder: Path, chance: random.Random) -> list[str]:
    own = {
        "--check": ("classes", "weights"),
        "--gamma": ("0", "0.6"),
        "--order": ("top-down", "bottom-up", "independent"),
        "--redraw": ("shuffle", "reset"),
        "--noisy": ("0", "2"),
        "--target": ("label", "predicted"),
        "--method": ("gradcam", "layercam"),
    }
    return ["sanity", *_data_model(world, chance), *_some(_RUN | _DATA | own, chance, 0.25), *_flags(_FLAGS, chance)]


def _table(world: World, folder: Path, chance: random.Random) -> list[str]:
    given = [_one((world.run, world.run, world.photos, world.probe), chance) for _ in range(chance.choice((1, 1, 2)))]
    return ["table", *given, *_flags(("--only-correct",), chance)]


def _probe(world: World, folder: Path, chance: random.Random) -> list[str]:
    if chance.random() < 0.3:
        return ["probe", "--compare", *(_one((world.probe,), chance) for _ in range(chance.choice((1, 2))))]
    own = {
        "--pool": ("auto", "mean", "cls"),
        "--lr": ("0.001", "1"),
        "--minibatch": ("0", "4"),
        "--early-stopping": ("1", "3"),
        "--seed": ("0", "5"),
        "--split-seed": ("0", "1"),
        "--images": ("20",),
        "--image-size": ("64", "96"),
        "--precision": ("float32", "bfloat16"),
        "--batch-size": ("4", "32"),
    }
    data = _one((f"folder:{world.folder}", f"folder:{world.folder}", f"birds525:{world.birds525}"), chance)
    backbone = _one((world.timm, world.transformers), chance)
    return ["probe", data, "--backbone", backbone, "--epochs", _one(("1", "3"), chance), *_some(own, chance, 0.2)]


def _faithfulness(world: World, folder: Path, chance: random.Random) -> list[str]:
    own = {
        "--attributes": ("1", "3"),
        "--gamma": ("0", "0.6"),
        "--pictures": ("0", "1"),
        "--against": ("similar",),
        "--base": ("bird", "a bird"),
        "--clip": ("aviary-clip",),
        "--batch-size": ("2",),
    }
    model = ["--model", "aviary", "--workers", "0", "--split", _one(("all", "test"), chance)]
    return ["faithfulness", _one((f"cub:{world.cub}",), chance), *model, *_some(own, chance, 0.3)]


def _similarity(world: World, folder: Path, chance: random.Random) -> list[str]:
    models = [_one((world.timm, world.probe, world.transformers), chance) for _ in range(chance.choice((1, 2)))]
    return [
        "similarity",
        *models,
        *_some({"--top": ("1", "3"), "--pairs": ("1", "3")}, chance),
        *_flags(("--without-self",), chance),
    ]


def _report(world: World, folder: Path, chance: random.Random) -> list[str]:
    given = [_one((world.run, world.run, world.photos, world.probe), chance) for _ in range(chance.choice((1, 1, 2)))]
    return ["report", *given, *_some({"--title": ("A <b>title</b>", "")}, chance)]


def _lists(world: World, folder: Path, chance: random.Random) -> list[str]:
    return [_one(("methods", "metrics", "datasets", "models", "--version", "--help", "explain --help"), chance)]
