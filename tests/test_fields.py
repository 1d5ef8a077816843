"""docs/fields.md and the JSON Schema against what is really written."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import fields
from pathlib import Path

import jsonschema
import pyarrow.parquet as pq
import pytest
import torch

import finercam
from finercam import Classifier, Objective, explain
from finercam.explanations.explaining import Asked
from finercam.explanations.fields import SCHEMA
from finercam.explanations.files import explain_files
from finercam.runs import manifest, measuring
from finercam.studies.evaluate import writing
from finercam.studies.evaluate.evaluation import Evaluation
from finercam.studies.faithfulness import examined
from finercam.studies.faithfulness import writing as faithfulness
from finercam.studies.probe.fitting import Epoch
from finercam.studies.sanity import checking
from finercam.studies.sanity.classes import ClassSensitivity
from finercam.studies.sanity.randomisation import Randomisation
from finercam.studies.traits import rows as carried
from finercam.studies.traits import writing as traits
from support.colour_birds import SPECIES, ColourNet, draw_bird, to_tensor
from support.evaluations import classifier, evaluate, photos

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "fields.md").read_text(encoding="utf-8")
RECORD = json.loads((DOCS / "explanation.schema.json").read_text(encoding="utf-8"))


def documented(heading: str) -> set[str]:
    """Return the names in code of a section."""
    (section,) = [part for part in TEXT.split("\n## ")[1:] if part.startswith(heading)]
    return set(re.findall(r"`([^`]+)`", section))


@pytest.fixture(scope="module")
def model():
    return Classifier.of(ColourNet(), preprocess=to_tensor, class_names=SPECIES, name="colours")


@pytest.fixture
def written(model, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    draw_bird(0).save(photos / "a.png")
    (photos / "b.png").write_text("not a picture")
    asked = {"first": Asked(finercam.Contrast()), "second": Asked(Objective(lambda logits: logits[:, 0], "first"))}
    list(explain_files(model, [photos], tmp_path / "out", asked))
    return tmp_path / "out"


def test_real_records_fit_the_json_schema(written):
    jsonschema.Draft202012Validator.check_schema(RECORD)
    records = [json.loads(line) for line in (written / "explanations.jsonl").read_text().splitlines()]
    assert len(records) == 3
    for record in records:
        jsonschema.validate(record, RECORD)
        assert record["schema"] == SCHEMA
    for broken in ({**records[0], "peak": "high"}, {**records[0], "more": 1}, {"image": "a.png"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, RECORD)


def test_every_field_of_a_record_is_in_the_dictionary_and_in_the_schema(written, model):
    known = documented("explanations.jsonl")
    text_model = explain(model, draw_bird(1))
    for record in [json.loads(line) for line in (written / "explanations.jsonl").read_text().splitlines()]:
        assert set(record) <= known
        assert set(record.get("target", {})) <= known
    assert set(text_model.record()) <= known
    for part in ("explanation", "failure", "class", "left", "box"):
        assert set(RECORD["$defs"][part]["properties"]) <= known
    with (written / "explanations.csv").open(newline="") as file:
        for column in csv.DictReader(file).fieldnames:
            assert set(column.split(".")) <= known


def test_the_version_grows_with_the_fields():
    """When this fails: a field that went or changed its meaning needs another number; a new one goes in here."""
    assert SCHEMA == measuring.SCHEMA == RECORD["$defs"]["explanation"]["properties"]["schema"]["const"] == 1
    names = """aggregate against among box empty files fit fraction gamma hidden hidden_by_plain image layer method mode
        model objective peak plain_peak precision probabilities question rank references reverse schema target taxon
        top weighting"""
    assert sorted(RECORD["$defs"]["explanation"]["properties"]) == sorted(names.split())


def test_every_column_of_rows_and_tables_is_in_the_dictionary():
    study = Evaluation(metrics=("deletion", "localization"))
    schema = measuring.schema(study)
    assert schema.metadata == {b"schema": b"1"}
    own = {column.spec for metric in study.measured for column in metric.numbers}
    lists = {name for metric in study.measured for name in metric.lists}
    assert set(schema.names) - own - lists <= documented("rows/*.parquet")
    assert _head(writing.to_csv([])) <= documented("table.csv")
    assert {field.name for field in fields(Epoch)} <= documented("epochs.csv")
    sanity = {name.split(" ")[0] for name in _head(checking.to_csv([], "layer"))} - {"layer"}
    assert sanity <= documented("`finercam sanity`")
    known = documented("findings.csv")
    for head in (_head(faithfulness.findings_csv([], [])), _head(faithfulness.rows_csv([], []))):
        assert {re.sub(r" (low|high)$", "", name) for name in head} <= known
    known = documented("`finercam compare`")
    assert {re.sub(r"_(low|high)$", "", name) for name in _head(traits.traits_csv([], {}))} <= known
    assert set(carried.SCHEMA.names) <= known


def test_every_column_of_a_run_is_in_the_dictionary(tmp_path):
    assert set(manifest.SCHEMA.names) <= documented("run.json and manifest.parquet")
    evaluate(classifier(), photos(tmp_path / "photos", 3), Evaluation(metrics=("localization",)), tmp_path / "run")
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    known = documented("run.json and manifest.parquet")
    assert set(run) | set(run["model"]) | set(run["data"]) <= known
    assert set(pq.read_schema(tmp_path / "run" / manifest.NAME).names) <= known
    engine = {"id", "key", "label", "target", "error"}
    for study in (ClassSensitivity(), Randomisation()):
        assert set(measuring.schema(study).names) - engine <= documented("`finercam sanity`")
    assert set(examined.SCHEMA.names) <= documented("findings.csv")


def _head(text: str) -> set[str]:
    return set(next(csv.reader(io.StringIO(text))))


def test_the_tensors_of_a_file_of_maps_are_in_the_dictionary(model, tmp_path):
    from safetensors.torch import load_file

    e = explain(model, draw_bird(0), keep=True)
    names = {name.split(".")[0] for name in load_file(e.save(tmp_path / "a.safetensors"))}
    assert names - {"evidence"} <= documented("Maps")
    assert torch.equal(load_file(tmp_path / "a.safetensors")["saliency"], e.saliency)
