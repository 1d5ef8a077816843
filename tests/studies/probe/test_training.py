"""From a data set to a probe: what is computed once, gone on with after a kill, refused and compared."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import finercam
from finercam import FinercamError
from finercam.data.dataset import Dataset, Example, Item
from finercam.models.backbone import Backbone
from finercam.models.preprocessing import Preprocessing
from finercam.models.run import Run
from finercam.models.sources.probe import write_probe
from finercam.runs.local import Local
from finercam.studies.probe.comparing import compare, write_comparison
from finercam.studies.probe.features import Features, extract
from finercam.studies.probe.fitting import Recipe
from finercam.studies.probe.training import splits, train_probe
from support.studies import runs_of

#: Photos are opened in this process.
HERE = Local(workers=0)
QUICK = Recipe(epochs=5, learning_rate=0.05, minibatch=8)
CLASSES = ("red", "green", "blue")


class Colours(nn.Module):
    """Features by hand: the mean of each channel, and of each channel's square."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.cat([images.mean((2, 3)), images.square().mean((2, 3))], 1)


def preprocess(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture).copy()).permute(2, 0, 1).float() / 255


def backbone(**changed: Any) -> Backbone:
    parts: dict[str, Any] = {
        "spec": "timm/colours",
        "pool": "auto",
        "revision": None,
        "resized": None,
        "module": Colours().eval(),
        "features": 6,
        "weights": "0" * 64,
        "preprocessing": Preprocessing(preprocess, (4, 4), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    }
    return Backbone(**{**parts, **changed})


def draw(item: Item) -> Example:
    seed = sum(item.key.encode())
    noise = np.random.default_rng(seed).integers(0, 120, (4, 4, 3), dtype=np.uint8)
    noise[:, :, item.label] += 110
    return Example(Image.fromarray(noise))


def colours(split: str, per_class: int = 8, classes: Sequence[str] = CLASSES) -> Dataset:
    def items() -> Iterator[Item]:
        for label in range(3):
            for number in range(per_class):
                yield Item(f"{split}/{CLASSES[label]}/{number}.png", "", label)

    return Dataset("drawn", tuple(classes), items, draw)


def test_the_probe_is_the_head_of_the_features(tmp_path: Path) -> None:
    frozen = backbone()
    train, test = colours("train"), colours("test", 4)
    record = train_probe(frozen, train, test, tmp_path / "probe", QUICK, run=Run(images=5))
    x = torch.stack([preprocess(draw(item).photo) for item in test.items()])
    head = load_file(tmp_path / "probe" / "head.safetensors")
    f = 2 * torch.cat([x.double().mean((2, 3)), x.double().square().mean((2, 3))], 1)
    said = (f @ head["weight"].double().T + head["bias"].double()).argmax(1)
    right = said == torch.tensor([item.label for item in test.items()])
    assert record["accuracy"] == float(right.double().mean()) > 0.4
    assert record["photos"] == {"train": 24, "test": 12}
    assert (record["labels"], record["classes_left_out"]) == (list(CLASSES), 0)
    lines = (tmp_path / "probe" / "epochs.csv").read_text().splitlines()
    assert lines[0] == "number,loss,train_accuracy,accuracy"
    assert [line.split(",")[0] for line in lines[1:]] == list("12345")
    assert float(lines[-1].split(",")[3]) == record["accuracy"]


def test_features_are_those_of_one_photo_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Features, "part_size", 7)
    frozen, items = backbone(), list(colours("train").items())
    done: list[int] = []

    def features(folder: str, precision: str = "float32") -> torch.Tensor:
        advance = lambda come: done.append(come.done)  # noqa: E731
        return extract(frozen, colours("train"), tmp_path / folder, run=Run(precision, 3), engine=HERE, advance=advance)

    with runs_of(frozen.module) as runs:
        found = features("exact")
    assert runs == [3, 3, 1] * 3 + [3]
    assert done == [0, 7, 14, 21, 24]
    single = torch.cat([frozen.module(preprocess(draw(item).photo)[None]) for item in items])
    torch.testing.assert_close(found, single.detach())
    coarse = features("exact", "bfloat16")
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, found, rtol=2e-2, atol=2e-2)


def test_features_are_those_of_the_batch_bit_for_bit(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    frozen = backbone(module=module, features=8)
    found = extract(frozen, colours("train"), tmp_path, run=Run(images=9), engine=HERE)
    images = [preprocess(draw(item).photo) for item in colours("train").items()]
    with torch.no_grad():
        batches = [module(torch.stack(images[start : start + 9])) for start in range(0, 24, 9)]
    assert torch.equal(found, torch.cat(batches))


def test_what_is_there_is_not_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Features, "part_size", 4)
    opened: list[str] = []

    def count(item: Item) -> Example:
        opened.append(item.key)
        if len(opened) == stop:
            raise KeyboardInterrupt
        return draw(item)

    def features(some: Backbone, dataset: Dataset, folder: Path = tmp_path, images: int = 2) -> torch.Tensor:
        return extract(some, replace(dataset, open=count), folder, run=Run(images=images), engine=HERE)

    train = colours("train")
    keys = [item.key for item in train.items()]
    stop = 10
    with pytest.raises(KeyboardInterrupt):
        features(backbone(), train)
    assert [path.name for path in sorted(tmp_path.rglob("*.parquet"))] == [
        "manifest.parquet",
        "part-00000.parquet",
        "part-00001.parquet",
    ]
    opened.clear()
    stop = -1
    resumed = features(backbone(), train)
    assert opened == keys[8:]
    assert torch.equal(resumed, features(backbone(), train, tmp_path / "fresh"))
    opened.clear()
    features(backbone(), train)
    assert opened == []
    # Other weights, another preprocessing, other batches and other photos each have features of their own.
    brighter = Preprocessing(lambda picture: preprocess(picture) + 1, (4, 4), (0.0,) * 3, (1.0,) * 3)
    for other in (backbone(weights="1" * 64), backbone(preprocessing=brighter)):
        features(other, train)
    features(backbone(), train, images=3)
    features(backbone(), replace(train, items=lambda: itertools.islice(train.items(), 1, None)))
    assert len(opened) == 24 + 24 + 24 + 23
    # Where the backbone lies is not what it is.
    features(backbone(spec="timm/local-dir:/elsewhere"), train)
    assert len(opened) == 24 + 24 + 24 + 23


def test_a_file_that_has_changed_is_another_photo(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    dataset = Dataset("files", ("red",), lambda: iter([Item("photo.png", str(path), 0)]))
    found = []
    for size in (4, 8):
        noise = np.random.default_rng(size).integers(0, 255, (size, size, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        found.append(extract(backbone(), dataset, tmp_path / "features", engine=HERE))
    assert not torch.equal(*found)
    # Of the same size and time, too.
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path = path.rename(tmp_path / "photo.bmp")
    same = replace(dataset, items=lambda: iter([Item("photo.bmp", str(path), 0)]))
    for level in (50, 200):
        Image.new("RGB", (8, 8), (level,) * 3).save(path)
        os.utime(path, ns=times)
        found.append(extract(backbone(), same, tmp_path / "features", engine=HERE))
    assert not torch.equal(found[2], found[3])


def test_a_photo_that_cannot_be_read_is_named_and_tried_again(tmp_path: Path) -> None:
    train = colours("train")
    broken = ["train/green/3.png"]

    def sometimes(item: Item) -> Example:
        if item.key in broken:
            raise FinercamError("it is torn")
        return draw(item)

    dataset = replace(train, open=sometimes)
    with pytest.raises(FinercamError, match=r"1 of 24 photos have no features; train/green/3.png: it is torn"):
        extract(backbone(), dataset, tmp_path, engine=HERE)
    broken.clear()
    assert torch.equal(extract(backbone(), dataset, tmp_path, engine=HERE), extract(backbone(), train, tmp_path / "b"))


_KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from studies.probe import test_training as here
from finercam.runs.local import Local
from finercam.studies.probe.features import Features
Features.part_size = 4
def slow(item):
    time.sleep(0.1)
    return here.draw(item)
from dataclasses import replace
train, test = (replace(here.colours(split), open=slow) for split in ("train", "test"))
here.train_probe(here.backbone(), train, test, {out!r}, here.QUICK, run=here.Run(images=2), engine=here.HERE)
"""


def test_a_killed_run_ends_with_the_same_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "killed"
    code = _KILLED.format(tests=str(Path(__file__).parents[2]), out=str(out))
    run = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": "1"})
    for _ in range(600):
        if len(list(out.rglob("part-*.parquet"))) >= 2:
            break
        assert run.poll() is None, "it ended before it could be killed"
        time.sleep(0.1)
    run.send_signal(signal.SIGKILL)
    run.wait()
    left = len(list(out.rglob("part-*.parquet")))
    assert 2 <= left < 12
    with pytest.raises(FinercamError, match="is not a probe"):
        finercam.models.sources.probe.read_record(out)
    monkeypatch.setattr(Features, "part_size", 4)
    for folder in (out, tmp_path / "whole"):
        train_probe(backbone(), colours("train"), colours("test"), folder, QUICK, run=Run(images=2), engine=HERE)
    for name in ("head.safetensors", "probe.json", "epochs.csv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_finished_probe_is_not_trained_again_and_another_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "probe"
    train, test = colours("train"), colours("test", 4)
    first = train_probe(backbone(), train, test, out, QUICK)
    stamp = (out / "head.safetensors").stat().st_mtime_ns
    assert train_probe(backbone(), train, test, out, QUICK) == first
    assert (out / "head.safetensors").stat().st_mtime_ns == stamp
    other = replace(QUICK, learning_rate=0.5, seed=4)
    with pytest.raises(FinercamError, match=r"learning_rate \(0\.05 there, 0\.5 now\); seed \(0 there, 4 now\)\. "):
        train_probe(backbone(), train, test, out, other)
    with pytest.raises(FinercamError, match=r"weights \(0000.* there, 1111"):
        train_probe(backbone(weights="1" * 64), train, test, out, QUICK)
    with pytest.raises(FinercamError, match=r"test photos \(12, .* there, 15, "):
        train_probe(backbone(), train, colours("test", 5), out, QUICK)
    again = train_probe(backbone(), train, test, out, other, replace_other=True)
    assert again["fingerprint"] != first["fingerprint"]
    # Where the backbone lies is not what it is.
    train_probe(backbone(spec="timm/local-dir:/elsewhere"), train, test, out, other)
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").touch()
    with pytest.raises(FinercamError, match="holds something already"):
        train_probe(backbone(), train, test, full, QUICK, replace_other=True)


def test_data_that_cannot_be_trained_on(tmp_path: Path) -> None:
    train, test = colours("train"), colours("test")
    nothing = replace(test, items=lambda: iter(()))
    one = replace(train, items=lambda: (i for i in train.items() if i.label or i.key == "train/red/0.png"))
    red = replace(train, items=lambda: (i for i in train.items() if not i.label))
    for (a, b), says in [
        ((train, nothing), "the test split of drawn is empty"),
        ((nothing, test), "the train split of drawn is empty"),
        ((one, test), "1 of 3 classes of drawn have fewer than two photos to train on: 'red'"),
        ((red, test), "2 of 3 classes of drawn have fewer than two photos to train on: 'green', 'blue'"),
        ((red, replace(red)), "all photos of drawn are of one class, 'red'"),
        ((train, replace(test, class_names=("a", "b", "c"))), "different classes"),
    ]:
        with pytest.raises(FinercamError, match=says):
            train_probe(backbone(), a, b, tmp_path / "probe", QUICK)
    assert not (tmp_path / "probe").exists()


def test_features_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    frozen = backbone()
    with torch.no_grad():
        frozen.module.scale.fill_(torch.inf)
    with pytest.raises(FinercamError, match=r"24 of 24 photos .*train/red/0.png: its features are not finite.*; the b"):
        train_probe(frozen, colours("train"), colours("test"), tmp_path / "probe", QUICK, engine=HERE)
    assert not list(tmp_path.rglob("head.safetensors"))


def test_classes_without_photos_are_left_out(tmp_path: Path) -> None:
    names = ("red", "green", "blue", "ultraviolet")
    record = train_probe(backbone(), colours("train", classes=names), colours("test", classes=names), tmp_path, QUICK)
    assert (record["labels"], record["classes_left_out"]) == (list(CLASSES), 1)
    middle = [replace(colours(split, classes=names)) for split in ("train", "test")]
    some = [replace(d, items=lambda d=d: (i for i in d.items() if i.label != 1)) for d in middle]
    record = train_probe(backbone(), some[0], some[1], tmp_path / "two", QUICK)
    assert record["labels"] == ["red", "blue"]
    # Its second row is blue's, the third class of the data set.
    head = load_file(tmp_path / "two" / "head.safetensors")
    assert head["weight"].shape == (2, 6)
    assert head["weight"][1, 2] > head["weight"][0, 2]


def test_a_data_set_without_a_split_is_divided(tmp_path: Path) -> None:
    whole = colours("all", 10)
    train, test = splits(whole, whole, seed=1)
    kept, held = [{item.key for item in part.items()} for part in (train, test)]
    assert kept | held == {item.key for item in whole.items()}
    assert not kept & held
    per_class = [sum(item.label == label for item in test.items()) for label in range(3)]
    assert per_class == [2, 2, 2]
    assert {item.key for item in splits(whole, whole, seed=1)[1].items()} == held
    assert {item.key for item in splits(whole, whole, seed=2)[1].items()} != held
    # Both forms of a photo are on one side.
    twins = replace(whole, items=lambda: (
        own for number, item in enumerate(whole.items()) for plain in [replace(item, uri=f"{number}.jpg")]
        for own in (plain, replace(plain, key=f"marked/{item.key}", label=item.label + 3))
    ))  # fmt: skip
    kept, held = [{item.key for item in part.items()} for part in splits(twins, twins, seed=1)]
    assert {key for key in held if key.startswith("marked/")} == {f"marked/{key}" for key in held if key[0] != "m"}
    assert len(held) == 12
    # What is split already stays so, and what is half split is a mistake.
    train, test = colours("train"), colours("test")
    again = splits(train, test)
    assert [list(part.items()) for part in again] == [list(part.items()) for part in (train, test)]
    leak = replace(test, items=lambda: iter([*test.items(), next(train.items())]))
    with pytest.raises(FinercamError, match="1 photos of drawn are in its training and in its test split"):
        splits(train, leak)


def test_probes_side_by_side(tmp_path: Path) -> None:
    def probe(name: str, dataset: str, spec: str, accuracy: float | None, pool: str = "auto") -> Path:
        some = backbone(spec=spec, pool=pool)
        return write_probe(
            tmp_path / name, some, torch.ones(2, 6), torch.ones(2), ["a", "b"], dataset=dataset, accuracy=accuracy
        )

    folders = [
        probe("1", "cub:d", "open_clip/ViT-B-16/laion400m_e32", 0.584, "mean"),
        probe("2", "cub:d", "timm/local-dir:/models/dino", 0.66449),
        probe("3", "cars:d", "timm/local-dir:/models/dino", 0.787),
    ]
    found = compare(folders)
    assert found.table() == [
        ["data set", "open_clip/ViT-B-16/laion400m_e32, mean", "dino"],
        ["cub:d", "58.4", "66.4"],
        ["cars:d", "", "78.7"],
    ]
    assert write_comparison(found, tmp_path / "t.md").read_text().splitlines()[1:3] == [
        "| --- | ---: | ---: |",
        "| cub:d | 58.4 | 66.4 |",
    ]
    assert write_comparison(found, tmp_path / "t.csv").read_text().splitlines()[2] == "cars:d,,78.7"
    for more, says in [
        (probe("4", "cub:d", "timm/local-dir:/models/dino", 0.1), "are both probes of dino on cub:d"),
        (probe("5", "cub:d", "timm/x", None), "has no accuracy to compare"),
        (tmp_path, "is not a probe"),
    ]:
        with pytest.raises(FinercamError, match=says):
            compare([*folders, more])
    with pytest.raises(FinercamError, match="nothing to compare"):
        compare([])
    with pytest.raises(FinercamError, match=r"must end in \.md or \.csv"):
        write_comparison(found, tmp_path / "t.html")
    assert json.loads((folders[0] / "probe.json").read_text())["pool"] == "mean"
