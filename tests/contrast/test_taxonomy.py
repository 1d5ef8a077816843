"""Taxonomies: what names tell, who is related to whom, and questions about taxa, against the literal formulas."""

from __future__ import annotations

import json
import math

import pytest
import torch

from finercam import Contrast, FinercamError
from finercam.contrast.labels import Labels, short_names
from finercam.contrast.taxa import RANKS, taxon, taxon_named
from finercam.contrast.taxonomy import Taxonomy
from finercam.contrast.taxonomy_files import taxonomy_of

#: Two of a genus, one more of their family, one more of their order, and one that is alone in its kingdom.
BIRDS = (
    ("Animalia Chordata Aves Passeriformes Icteridae Agelaius phoeniceus", "Red-winged Blackbird"),
    ("Animalia Chordata Aves Passeriformes Icteridae Agelaius tricolor", "Tricolored Blackbird"),
    ("Animalia Chordata Aves Passeriformes Icteridae Quiscalus quiscula", "Common Grackle"),
    ("Animalia Chordata Aves Passeriformes Corvidae Pica pica", "Magpie"),
    ("Plantae Tracheophyta Magnoliopsida Rosales Rosaceae Rosa canina", "Dog Rose"),
)
TAXA = [taxon(ranks.split(), common) for ranks, common in BIRDS]
LABELS = Labels([one.label for one in TAXA], Taxonomy.of(TAXA))
LOGITS = torch.tensor([[5.0, 0.5, 2.0, 4.5, 4.9]], dtype=torch.float64)


def found_in(question):
    """Return the references of the first image; -1 stands where there are fewer."""
    return [index for index in question.references[0].tolist() if index >= 0]


@pytest.mark.parametrize(
    ("name", "ranks", "common"),
    [
        ("Agelaius phoeniceus (Red-winged Blackbird)", ["", "", "", "", "", "Agelaius"], "Red-winged Blackbird"),
        (
            "02912_Animalia_Chordata_Aves_Passeriformes_Icteridae_Agelaius_phoeniceus",
            ["Animalia", "Chordata", "Aves", "Passeriformes", "Icteridae", "Agelaius"],
            "",
        ),
        (
            "Animalia Chordata Aves Passeriformes Icteridae Agelaius phoeniceus",
            ["Animalia", "Chordata", "Aves", "Passeriformes", "Icteridae", "Agelaius"],
            "",
        ),
        (
            "a64dc0a9-8b2d-4bc9;aves;passeriformes;icteridae;agelaius;phoeniceus;red-winged blackbird",
            ["", "", "Aves", "Passeriformes", "Icteridae", "Agelaius"],
            "red-winged blackbird",
        ),
    ],
)
def test_names_tell_the_ranks(name, ranks, common):
    found = taxon_named(name)
    assert found is not None
    assert found.ranks == (*ranks, "Agelaius phoeniceus")
    assert found.common == common
    labels = Labels([name, "another"])
    assert labels.index("Agelaius phoeniceus") == 0
    assert short_names([name]) == [common or "Agelaius phoeniceus"]


@pytest.mark.parametrize(
    "name", ["Blue Jay", "Blue jay", "crane (machine)", "background", "f1856211;;;;;;blank", "Boeing 737-200 (old)"]
)
def test_names_that_tell_nothing(name):
    assert taxon_named(name) is None


def test_an_epithet_may_be_its_genus_name():
    for name in ("pica", "Pica pica", "pica pica"):
        assert taxon([*[""] * 5, "Pica", name]).scientific.casefold() == "pica pica"
    assert TAXA[3].label == "Pica pica (Magpie)"


def test_speciesnets_wider_classes_have_the_ranks_they_have():
    found = taxon_named("4c13;mammalia;carnivora;felidae;;;felidae family")
    assert found is not None
    assert found.ranks == ("", "", "Mammalia", "Carnivora", "Felidae", "", "")
    assert found.label == "Felidae (felidae family)"


@pytest.mark.parametrize(
    ("target", "against", "references", "rank", "words"),
    [
        (0, "genus", [1], "genus", "Tricolored Blackbird of the genus Agelaius"),
        # 5.0 - 2.0 is less than 5.0 - 0.5: the nearest in logit comes first.
        (0, "family", [2, 1], "family", "Common Grackle, Tricolored Blackbird of the family Icteridae"),
        (0, "order", [3, 2, 1], "order", "of the order Passeriformes"),
        (2, "genus", [1, 0], "family", "of the family Icteridae (there is no other of the genus Quiscalus)"),
        (3, "genus", [0, 2, 1], "order", "of the order Passeriformes (there is no other of the genus Pica)"),
        (4, "family", [0, 3, 2], None, "Common Grackle (there is no other of the family Rosaceae)"),
        (0, "family@2", [1], "family", "Tricolored Blackbird of the family Icteridae"),
    ],
)
def test_relatives_nearest_in_logit_and_one_rank_up_where_there_are_none(target, against, references, rank, words):
    contrast = Contrast(against)
    question = contrast.ask(LOGITS, target, labels=LABELS)
    assert found_in(question) == references
    expected = torch.zeros(5, dtype=torch.float64)
    expected[target] = 1
    for index in references:
        expected[index] -= 0.6 / len(references)
    assert torch.allclose(question.rows[0, 0], expected, atol=1e-15)
    among = contrast.among(target, references, LABELS)
    assert among is not None
    assert among.rank == rank
    assert words in contrast.sentence(target, references, LABELS)


def test_a_relative_that_is_ruled_out_is_none():
    logits = LOGITS.clone()
    logits[0, 1] = -math.inf
    assert found_in(Contrast("genus").ask(logits, 0, labels=LABELS)) == [2]


def test_a_name_in_two_kingdoms_is_two_taxa():
    twice = [taxon(["Animalia", "", "", "", "Pieridae", "Pieris", "rapae"])]
    twice += [taxon(["Plantae", "", "", "", "Ericaceae", "Pieris", "japonica"])]
    found = Taxonomy.of(twice)
    assert not found.relatives("genus", torch.tensor([0]), torch.zeros(1, 2))[0, 0]
    assert found.codes[RANKS.index("genus")].tolist() == [0, 1]


def literally_of_taxa(logits, own, others, gamma, weights=None):
    """Return log-sum-exp of ``own`` less gamma times the mean of those of ``others``, and its gradient."""
    y = logits.clone().requires_grad_()
    value = y[own].exp().sum().log()
    for other in others:
        value = value - gamma / len(others) * y[other].exp().sum().log()
    (row,) = torch.autograd.grad(value, y)
    return row


@pytest.mark.parametrize("gamma", [0.0, 0.6, 2.0])
def test_a_question_about_taxa_is_the_gradient_of_their_log_sums(gamma):
    contrast = Contrast("similar", gamma=gamma, rank="family", references=2)
    question = contrast.ask(LOGITS, labels=LABELS)
    # log(e^5 + e^.5 + e^2) = 5.06, 4.5 and 4.9: nearest first, and the top family is the blackbirds'.
    expected = literally_of_taxa(LOGITS[0], [0, 1, 2], [[4], [3]], gamma)
    assert torch.allclose(question.rows[0, 0], expected, atol=1e-12)
    assert question.targets.tolist() == [0]
    assert question.references.tolist() == [[4, 3]]
    assert not question.by_class


def test_taxa_are_named_or_stood_for_by_a_class_and_may_have_relatives():
    named = Contrast(["Corvidae"], rank="family").ask(LOGITS, "icteridae", labels=LABELS)
    stood_for = Contrast(["Magpie"], rank="family").ask(LOGITS, 2, labels=LABELS)
    related = Contrast("order", rank="family").ask(LOGITS, "Common Grackle", labels=LABELS)
    for other in (stood_for, related):
        assert torch.equal(named.rows, other.rows)
    assert torch.allclose(named.rows[0, 0], literally_of_taxa(LOGITS[0], [0, 1, 2], [[3]], 0.6), atol=1e-12)
    sentence = Contrast(["Corvidae"], rank="family").sentence(0, [3], LABELS)
    assert sentence == "family Icteridae, against family Corvidae, gamma 0.6"


def test_a_class_that_is_ruled_out_has_no_share_in_its_taxon():
    logits = torch.tensor([[5.0, -math.inf, 2.0, -math.inf, 4.9]], dtype=torch.float64)
    groups = LABELS.taxonomy.groups("family")
    assert groups.log_sums(logits)[0].tolist() == pytest.approx(
        [math.log(math.exp(5) + math.exp(2)), -math.inf, math.log(math.exp(4.9))]
    )
    rows = Contrast(gamma=0, references=0, rank="family").ask(logits, 0, labels=LABELS).rows
    assert rows.isfinite().all()
    assert rows[0, 0, 1] == 0


@pytest.mark.parametrize(
    ("contrast", "labels", "message"),
    [
        (Contrast("genus"), Labels(["a", "b"]), "against='genus' needs the ranks of the classes"),
        (Contrast("genus"), None, "against='genus' needs the ranks of the classes"),
        (Contrast("family"), Labels(["Pica pica (Magpie)", "Pica nuttalli (Other)"]), "no class's family is known"),
        (
            Contrast(rank="family"),
            Labels(["Pica pica (Magpie)", "x"]),
            "no class's family is known, only genus, species",
        ),
        (Contrast("weights", rank="genus"), Labels(["Pica pica (Magpie)", "x"]), "a genus has no row"),
        (Contrast(["x"], rank="genus"), Labels(["Pica pica (Magpie)", "x"]), "the genus of class 'x' is not known"),
    ],
)
def test_what_cannot_be_asked_says_why(contrast, labels, message):
    with pytest.raises(FinercamError, match=message.replace("(", r"\(")):
        contrast.ask(torch.zeros(1, 2), 0, labels=labels)


def test_ranks_are_checked():
    with pytest.raises(FinercamError, match="rank is 'famly'; did you mean 'family'"):
        Contrast(rank="famly")
    with pytest.raises(FinercamError, match="against is 'genu'; did you mean 'genus'"):
        Contrast("genu")


def _write(path, form):
    if form == "tree of life":
        path = path.with_suffix(".json")
        path.write_text(json.dumps([[ranks.split(), common] for ranks, common in BIRDS]))
    elif form == "categories":
        path = path.with_suffix(".json")
        keys = [dict(zip(RANKS, ranks.split(), strict=True), common_name=common) for ranks, common in BIRDS]
        path.write_text(json.dumps({"categories": keys}))
    else:
        path = path.with_suffix(".csv")
        lines = [",".join([*ranks.split(), common]) for ranks, common in BIRDS]
        path.write_text("\n".join([",".join([*RANKS, "common_name"]), *lines]), encoding="utf-8-sig")
    return path


@pytest.mark.parametrize("form", ["tree of life", "categories", "csv"])
@pytest.mark.parametrize(
    "names",
    [
        ["Agelaius phoeniceus (Red-winged Blackbird)", "red_winged blackbird", "010.Red_winged_Blackbird"],
        ["agelaius phoeniceus"],
    ],
)
def test_files_are_matched_by_scientific_and_common_name(tmp_path, form, names):
    file = _write(tmp_path / "taxonomy", form)
    for name in names:
        found = taxonomy_of(Labels([name, "Common Grackle", "Agelaius xanthomus (Yellow-shouldered Blackbird)"]), file)
        assert [found.name(rank, 0) for rank in RANKS] == list(TAXA[0].ranks)
        assert found.name("family", 1) == "Icteridae"
        # Its species is not in the file, but its genus is.
        assert [found.name(rank, 2) for rank in RANKS[4:]] == ["Icteridae", "Agelaius", "Agelaius xanthomus"]


def test_a_table_may_name_the_classes_and_know_one_rank_only(tmp_path):
    file = tmp_path / "groups.csv"
    file.write_text("name,Family\nA 1,Waders\nB 2,Waders\nC 3,\n")
    found = taxonomy_of(Labels(["C 3", "B 2", "A 1", "D"]), file)
    assert [found.name("family", index) for index in range(4)] == [None, "Waders", "Waders", None]


def test_an_ambiguous_common_name_places_nothing(tmp_path):
    file = tmp_path / "t.csv"
    lines = ["Muscicapidae,Erithacus,rubecula,Robin", "Turdidae,Turdus,migratorius,Robin", "Corvidae,Pica,pica,Magpie"]
    file.write_text("\n".join(["family,genus,species,common_name", *lines]))
    found = taxonomy_of(Labels(["Robin", "Magpie"]), file)
    assert [found.name("family", index) for index in range(2)] == [None, "Corvidae"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "a,b\n1,2\n", "has the columns a, b; a taxonomy has kingdom"),
        ("t.csv", "", "has the columns none"),
        ("t.csv", "family,species\nCorvidae,Pica pica\n", "has none of the model's 1 classes"),
        ("t.json", "[1, 2]", "is not a taxonomy in JSON"),
        ("t.json", "{", "is not a taxonomy in JSON"),
        ("t.json", '[[["a"], "b"]]', "does not have seven ranks"),
        ("t.json", "7", "is not a taxonomy in JSON"),
    ],
)
def test_other_files_are_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(FinercamError, match=message):
        taxonomy_of(Labels(["Dunnock"]), tmp_path / name)
    with pytest.raises(FinercamError, match="there is no file"):
        taxonomy_of(Labels(["Dunnock"]), tmp_path / "none.csv")
