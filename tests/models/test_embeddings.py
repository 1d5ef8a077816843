"""Label embeddings from files: the same logits as from words, their taxonomy, subsets, and how photos are fitted."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import finercam
from finercam import FinercamError, explain, load
from finercam._torchvision import import_torchvision
from finercam.cli.main import main
from finercam.contrast.taxa import RANKS
from models.text_models import OPEN_CLIP, images, save_open_clip

import_torchvision()

TREE = [
    [["Animalia", "Chordata", "Aves", "Passeriformes", "Icteridae", "Agelaius", "phoeniceus"], "Red-winged Blackbird"],
    [["Animalia", "Chordata", "Aves", "Passeriformes", "Icteridae", "Agelaius", "tricolor"], "Tricolored Blackbird"],
    [["Animalia", "Chordata", "Aves", "Passeriformes", "Icteridae", "Quiscalus", "quiscula"], ""],
    [["Animalia", "Chordata", "Aves", "Passeriformes", "Corvidae", "Pica", "pica"], "Magpie"],
    [["Plantae", "Tracheophyta", "Magnoliopsida", "Rosales", "Rosaceae", "Rosa", ""], ""],
]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("clip")
    return folder, save_open_clip(folder, next(iter(OPEN_CLIP.values())))


@pytest.fixture(scope="module")
def files(saved, tmp_path_factory):
    """Return embeddings (double) and a folder with them in every layout."""
    folder, model = tmp_path_factory.mktemp("tree"), saved[1]
    width = model.encode_image(images(1)).shape[1]
    array = np.random.default_rng(1).standard_normal((len(TREE), width))
    # Any length: published ones are units up to rounding only.
    for name, layout in (("by_column", array.T), ("by_row", array), ("half", array.T.astype(np.float16))):
        np.save(folder / f"{name}.npy", layout if name == "half" else layout.astype(np.float32))
        (folder / f"{name}.json").write_text(json.dumps(TREE))
    rows = {"uuid": [str(i) for i in range(6)], "emb": [*array.astype(np.float32).tolist(), array[0].tolist()]}
    for rank, column in zip(RANKS, zip(*[ranks for ranks, _ in [*TREE, TREE[0]]], strict=True), strict=True):
        rows[rank] = list(column)
    pq.write_table(pa.table(rows), folder / "explorer.parquet")
    (folder / "subset.csv").write_text("Family\nIcteridae\nicteridae\nRosaceae\n", encoding="utf-8-sig")
    (folder / "species.csv").write_text("species,note\nPica pica,x\nQuiscalus quiscula,y\n")
    return array, folder


def literal_logits(model: Any, array: Any, photos: torch.Tensor) -> torch.Tensor:
    """Return scale * cosine in float64."""
    model = model.double()
    try:
        with torch.no_grad():
            f, t = model.encode_image(photos.double()), torch.from_numpy(array)
            bias = getattr(model, "logit_bias", None)
            cosine = (f / f.norm(dim=1, keepdim=True)) @ (t / t.norm(dim=1, keepdim=True)).T
            return model.logit_scale.exp() * cosine + (0 if bias is None else bias)
    finally:
        model.float()


@pytest.mark.parametrize("name", ["by_column.npy", "by_row.npy", "half.npy", "explorer.parquet"])
def test_logits_are_the_scaled_cosines_and_labels_carry_the_tree(saved, files, name):
    array, folder = files
    classifier = load(saved[0], embeddings=folder / name)
    photos = images(2)
    with classifier.look(photos) as look:
        expected = literal_logits(saved[1], array, photos)
        assert torch.allclose(look.logits.double(), expected, atol=0.05 if name == "half.npy" else 1e-4)
    labels = classifier.labels
    assert labels is not None
    assert labels.taxonomy is not None
    assert labels.names[3].startswith("Pica pica")
    assert [labels.taxonomy.name("family", index) for index in (0, 3, 4)] == ["Icteridae", "Corvidae", "Rosaceae"]
    assert labels.names[4] == "Rosa"
    found = explain(classifier, photos[0], 0, against="genus", keep=True)
    assert found.references == (1,)
    assert "of the genus Agelaius" in str(found)


def test_only_the_classes_of_a_subset_are_kept(saved, files):
    _, folder = files
    every = load(saved[0], embeddings=folder / "by_column.npy")
    for subset, kept in (("subset.csv", [0, 1, 2, 4]), ("species.csv", [2, 3])):
        some = load(saved[0], embeddings=folder / "by_column.npy", subset=folder / subset)
        assert some.labels is not None
        assert every.labels is not None
        assert list(some.labels.names) == [every.labels[index] for index in kept]
        assert torch.allclose(some.rows, every.rows[kept])


def test_a_saved_explanation_keeps_the_tree_and_leaves_zeros_out(saved, files, tmp_path, monkeypatch):
    _, folder = files
    monkeypatch.setattr("finercam.explanations.stored._SPARSE", 4)
    classifier = load(saved[0], embeddings=folder / "by_column.npy")
    made = explain(classifier, images(1)[0], 0, gamma=0, references=0, keep=True)
    again = finercam.Explanation.load(made.save(tmp_path / "why.safetensors"))
    assert again.facts.labels == classifier.labels
    assert again.evidence is not None
    assert torch.equal(again.evidence.rows, made.evidence.rows)
    wider = explain(classifier, images(1)[0], 0, against="genus", keep=True)
    told = finercam.Explanation.load(wider.save(tmp_path / "why.safetensors")).again(gamma=1)
    assert str(told) == "Red-winged Blackbird, against Tricolored Blackbird of the genus Agelaius, gamma 1"


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda at: None, "there is no file"),
        (lambda at: np.save(at / "e.npy", np.zeros((2, 2), np.float32)), "must have the names of the embeddings"),
        (lambda at: _npy(at, np.zeros((2, 3), np.float32), TREE), "there must be one embedding for each name"),
        (lambda at: _npy(at, np.zeros((7, 5), np.float32), TREE), "has embeddings of 7 numbers and"),
        (lambda at: _npy(at, np.array([[{}]], object), TREE), "cannot be read as .npy"),
        (lambda at: _npy(at, np.zeros((7, 5), np.float32), [["a", "b"]]), "is not a list of"),
    ],
)
def test_files_that_do_not_fit_are_refused(saved, tmp_path, write, message):
    write(tmp_path)
    with pytest.raises(FinercamError, match=message):
        load(saved[0], embeddings=tmp_path / "e.npy")


def _npy(at: Path, array: Any, names: Any) -> None:
    np.save(at / "e.npy", array, allow_pickle=True)
    (at / "e.json").write_text(json.dumps(names))


@pytest.mark.parametrize(
    ("text", "message"),
    [("genera\nPica\n", "must be a rank"), ("genus\nPicca\n", "did you mean 'Pica'"), ("", "must be a rank")],
)
def test_subsets_that_do_not_fit_are_refused(saved, files, tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(FinercamError, match=message):
        load(saved[0], embeddings=files[1] / "by_row.npy", subset=tmp_path / "s.csv")


def test_what_a_subset_names_in_vain_is_told(saved, files, tmp_path):
    (tmp_path / "s.csv").write_text("genus\nPica\nNucifraga\n")
    with pytest.warns(UserWarning, match="1 of 2 in s.csv are not among the labels: Nucifraga"):
        load(saved[0], embeddings=files[1] / "by_row.npy", subset=tmp_path / "s.csv")


def test_squashing_is_what_pybioclip_does():
    from torchvision import transforms

    classifier = load("aviary-clip", classes=["a finch", "a jay"], squash=True)
    how = classifier.preprocessing
    literal = transforms.Compose(
        [transforms.ToTensor(), transforms.Resize(how.size, antialias=True), transforms.Normalize(how.mean, how.std)]
    )
    noise = np.random.default_rng(0).integers(0, 256, (90, 230, 3), np.uint8)
    picture = Image.fromarray(noise)
    assert torch.allclose(how(picture), literal(picture), atol=1e-6)


def test_the_command_says_how_photos_are_fitted_and_records_it(saved, files, tmp_path, monkeypatch, capsys):
    Image.new("RGB", (200, 80), "red").save(tmp_path / "bird.png")
    monkeypatch.chdir(tmp_path)
    tree = f"--model {saved[0]} --embeddings {files[1] / 'by_column.npy'} --target Magpie --against order --out"
    for squash, said, fit in (
        ("", "photos are resized and cropped to", "crop"),
        (" --squash", "squashed to", "squash"),
    ):
        monkeypatch.setattr(sys, "argv", ["finercam", *f"explain bird.png {tree} out{fit}{squash}".split()])
        with pytest.raises(SystemExit) as stop:
            main()
        assert not stop.value.code
        assert said in capsys.readouterr().err
        record = json.loads(Path(f"out{fit}/explanations.jsonl").read_text())
        assert record["fit"] == fit
        assert record["among"] == {"rank": "order", "name": "Passeriformes"}


def test_templates_are_of_class_names(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    command = "explain x.png --model aviary-clip --template {}"
    monkeypatch.setattr(sys, "argv", ["finercam", *command.split()])
    Image.new("RGB", (9, 9)).save("x.png")
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "--template is for class names in words" in capsys.readouterr().err
    one, both = (
        load("aviary-clip", classes=["finch", "jay"], templates=of) for of in (["{}"], ["{}", "a photo of a {}."])
    )
    assert not torch.allclose(one.rows, both.rows)
