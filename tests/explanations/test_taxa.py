"""Explanations about relatives and taxa: records, probabilities, asking again, the live view, fingerprints of runs."""

from __future__ import annotations

import json

import pytest

import finercam
from finercam import Classifier, explain
from finercam.contrast.labels import Labels
from finercam.contrast.taxa import taxon
from finercam.contrast.taxonomy import Taxonomy
from finercam.runs.loaded import loaded_classifier
from support.colour_birds import SPECIES, ColourNet, draw_bird, to_tensor

FAMILIES = ["Redidae", "Redidae", *["Otheridae"] * (len(SPECIES) - 2)]


@pytest.fixture(scope="module")
def model():
    taxa = [taxon(["A", "", "", "", family, "", name]) for family, name in zip(FAMILIES, SPECIES, strict=True)]
    return Classifier.of(ColourNet(), preprocess=to_tensor, class_names=Labels(SPECIES, Taxonomy.of(taxa)))


def test_a_taxon_is_shown_with_the_sum_of_its_classes(model, tmp_path):
    found = explain(model, draw_bird(0), rank="family", keep=True)
    own = [index for index, family in enumerate(FAMILIES) if family == FAMILIES[found.target]]
    assert found.confidence == pytest.approx(float(found.probabilities[own].sum()))
    assert str(found) == f"family {FAMILIES[found.target]}, against family {_other(found)}, gamma 0.6"
    record = found.record()
    assert record["rank"] == "family"
    assert record["taxon"] == f"family {FAMILIES[found.target]}"
    alone = found.again(gamma=0, references=0)
    # The plain map is that of the taxon, and not of its likeliest class.
    assert (alone.saliency - found.plain).abs().max() < 1e-5 * found.plain.max()
    loaded = finercam.Explanation.load(found.save(tmp_path / "why.safetensors"))
    assert str(loaded.again(gamma=0.6)) == str(found)
    # What is asked about a taxon is not mixed from maps of classes.
    assert '"kind": "fixed"' in json.dumps(_answers(found))
    assert found.figure().width > 300


def _other(found):
    return FAMILIES[found.references[0]]


def _answers(found):
    from finercam.report.view.data import kept

    return kept([found])["answers"]


def test_relatives_are_asked_for_again_and_in_the_record(model):
    found = explain(model, draw_bird(0), 0, against="family", keep=True)
    assert found.references == (1,)
    assert found.record()["among"] == {"rank": "family", "name": "Redidae"}
    again = found.again(against="kingdom", collect=True)
    assert again.record()["among"] == {"rank": "kingdom", "name": "A"}
    assert "among" not in again.again(against="similar").record()


def test_another_taxonomy_is_another_run(model):
    bare = Classifier.of(ColourNet(), preprocess=to_tensor, class_names=SPECIES)
    with_tree, without = (loaded_classifier(one).identity for one in (model, bare))
    assert "taxonomy" not in without
    assert len(with_tree["taxonomy"]) == 64
