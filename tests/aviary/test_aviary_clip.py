"""The embedded text-image model: the shipped weights, what it was told in training, and the training itself."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import finercam
from finercam import explain
from finercam._torchvision import import_torchvision
from finercam.aviary import ATTRIBUTES, MODEL, SPECIES, Aviary, empty_scene, picture
from finercam.aviary.captions import caption, caption_facts, phrase
from finercam.aviary.clip import folder, pictures, training
from finercam.aviary.clip.network import CONFIG, LOCKED, MODEL_CONFIG, WEIGHTS, build, embed_text
from finercam.aviary.clip.pictures import CROSSBREEDS, EMPTY, FACTS, bird_at, crossbreed, picture_of, sport
from finercam.aviary.clip.statements import BROAD, Statement, bare, encode, say, trait, truth
from finercam.aviary.clip.training import ClipRecipe, train
from finercam.aviary.clip.words import every_statement
from finercam.aviary.drawing import SIZE
from finercam.aviary.draws import Draws
from finercam.aviary.network import as_input
from finercam.aviary.network import build as build_classifier
from finercam.aviary.props import THINGS
from finercam.aviary.studies.zero_shot import zero_shot
from finercam.errors import FinercamError
from finercam.models.text import BARE, text

import_torchvision()
pytest.importorskip("open_clip")

TINY = ClipRecipe(images=16, epochs=1, batch=8, words=2)


@pytest.fixture(scope="module")
def shipped():
    import open_clip

    import finercam.aviary.clip.tower  # noqa: F401 - tells timm of the image tower's name

    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder()}")
    return model.eval(), preprocess, open_clip.get_tokenizer(f"local-dir:{folder()}")


# --- the shipped model -------------------------------------------------------------------------------------------


def test_shipped_folder_is_small_and_whole():
    assert {path.name for path in folder().iterdir()} == {CONFIG, WEIGHTS, "README.md"}
    assert sum(path.stat().st_size for path in folder().iterdir()) <= 14_000_000
    assert json.loads((folder() / CONFIG).read_text(encoding="utf-8"))["model_cfg"] == MODEL_CONFIG
    assert "Apache-2.0" in (folder() / "README.md").read_text(encoding="utf-8")


def test_open_clip_itself_loads_it_and_tells_birds_from_scenes(shipped):
    from PIL import Image

    model, preprocess, tokenizer = shipped
    seen = [picture("fresh", index)[0] for index in range(8)] + [empty_scene("fresh", index) for index in range(8)]
    with torch.no_grad():
        images = model.encode_image(torch.stack([preprocess(Image.fromarray(one)) for one in seen]), normalize=True)
        prompts = model.encode_text(tokenizer(["a bird", "an empty scene"]), normalize=True)
    said = (images @ prompts.T).argmax(1).tolist()
    assert sum(a == b for a, b in zip(said, [0] * 8 + [1] * 8, strict=True)) >= 15


def test_rows_of_words_never_read_are_zero(shipped):
    _, _, tokenizer = shipped
    table = load_file(folder() / WEIGHTS)["token_embedding.weight"]
    read = table.abs().sum(1) > 0
    assert 50 < int(read.sum()) < 500
    known = tokenizer(["a photo of a bird with a white eye ring and scarlet legs"])[0]
    assert bool(read[known[known > 0]].all())
    assert not bool(read[tokenizer.encode("submarine")].any())


def test_preprocessing_is_the_training_one(shipped):
    from PIL import Image

    image, _ = picture("fresh", 0, size=SIZE)
    torch.testing.assert_close(shipped[1](Image.fromarray(image)), as_input(image[None])[0], rtol=0, atol=1e-6)


def test_shipped_model_names_birds_and_traits_without_training():
    found = zero_shot("aviary-clip", Aviary("fresh", n=64, seed=3, size=SIZE), device="cpu")
    assert found.n == 64
    # Of 32 species, by names that few statements mention; of 2 to 11 values for each trait.
    assert found.species >= 0.2
    assert found.trait >= 0.93


def test_finercam_looks_at_the_cells_that_are_pooled():
    classifier = text("aviary-clip", ["a white eye ring", "a bird"], templates=BARE, device="cpu")
    assert classifier.layers == ("visual.trunk.layer4",)
    assert classifier.grids[0].layout == "nchw"
    assert classifier.image_size == (SIZE, SIZE)
    assert explain(classifier, picture("fresh", 0)[0]).map.shape == (16, 16)
    assert finercam.load("aviary-clip", device="cpu").classes == MODEL_CONFIG["embed_dim"]


# --- what is said ------------------------------------------------------------------------------------------------


def test_a_caption_is_as_it_was_and_tells_its_facts():
    for index in range(200):
        species = SPECIES[index % len(SPECIES)]
        said, named = caption_facts(species, Draws("c", index, 0, "words"), "branch", "sky")
        assert said == caption(species, Draws("c", index, 0, "words"), "branch", "sky")
        assert species.name in said
        assert named[0] == "species"
        assert ("on a branch" in said) == ("perch" in named)
        assert ("against the sky" in said) == ("background" in named)
        for key in ATTRIBUTES:
            if key in named:
                assert phrase(key, species.attributes[key]) in said


def test_what_is_said_about_a_picture_is_true_of_it():
    kinds = set()
    known = [picture_of(bird_at("train", index, 0), "train", index, 0, 32)[1] for index in range(100)]
    for index, facts in enumerate(known):
        for again in range(8):
            statement = say(facts, Draws("train", index, again, "test"), known[index ^ 1])
            assert statement.holds(facts)
            assert statement.needs
            for name, values in statement.needs.items():
                assert set(values) <= set(FACTS[name])
            kinds.add(tuple(statement.needs))
    assert {("bird",), ("species",), ("family",), ("perch",), ("background",)} <= kinds
    assert {(key,) for key in (*ATTRIBUTES, *THINGS)} <= kinds


def test_every_value_of_every_fact_has_a_statement():
    said = every_statement()
    assert len({statement.text for statement in said}) == len(said)
    told = [(name, value) for statement in said for name, values in statement.needs.items() for value in values]
    assert sorted(told) == sorted((name, value) for name, values in FACTS.items() for value in values)


def test_truth_of_all_is_the_truth_of_each():
    facts = [picture_of(bird_at("train", index, 0), "train", index, 0, 32)[1] for index in range(40)]
    said = [say(each, Draws("train", index, 0, "test")) for index, each in enumerate(facts)]
    said.append(Statement("red wings", {"wing_colour": BROAD["red"]}))
    got = truth(np.stack([encode(each) for each in facts]), said)
    literal = [[statement.holds(each) for statement in said] for each in facts]
    assert got.tolist() == literal
    assert 0 < np.mean(literal) < 0.5
    assert got.diagonal().all()


def test_a_trait_in_words():
    assert trait("eye_ring", "white").text == "a white eye ring"
    assert trait("wing_colour", "navy", "a bird with {trait}").text == "a bird with navy wings"
    in_family = trait("crest_form", "fan", "a {family} with {trait}", "jay")
    assert in_family.text == "a jay with a fanned, black-tipped crest"
    assert in_family.needs == {"crest_form": ("fan",), "family": ("jay",)}
    assert [bare(noun) for noun in ("a white throat", "an azure back", "rose legs")] == [
        "white throat",
        "azure back",
        "rose legs",
    ]


# --- what is shown -----------------------------------------------------------------------------------------------


def without_things(monkeypatch):
    monkeypatch.setattr(pictures, "_lay", lambda *_: {})


def test_a_picture_of_a_species_is_the_samples(monkeypatch):
    without_things(monkeypatch)
    sample = Aviary("train", n=5)[4]
    species = next(each for each in SPECIES if each.name == sample.species)
    image, facts = picture_of(species, "train", 4, 0)
    assert np.array_equal(image, sample.image)
    assert facts["species"] == sample.species
    assert facts["background"] == sample.background
    assert dict(sample.attributes).items() <= facts.items()


def test_a_picture_without_a_bird_is_the_empty_scene(monkeypatch):
    without_things(monkeypatch)
    image, facts = picture_of(None, "train", 7, 0)
    assert np.array_equal(image, empty_scene("train", 7))
    assert facts.keys() == {"bird", "perch", "background"}
    assert facts["bird"] == "no"


@pytest.mark.parametrize("bird", [None, SPECIES[0]])
def test_things_that_are_told_of_are_seen(bird, monkeypatch):
    """Each changes hundreds of pixels (of 128 x 128) of what the picture is without it."""
    drawn = [picture_of(bird, "train", index, 0) for index in range(12)]
    without_things(monkeypatch)
    counts = []
    for index, (image, facts) in enumerate(drawn):
        plain, _ = picture_of(bird, "train", index, 0)
        told = [kind for kind in THINGS if kind in facts]
        counts.append(len(told))
        changed = (np.abs(image.astype(int) - plain).max(-1) > 8).sum()
        assert changed >= 20 * len(told)
        assert bool(told) == bool(changed)
    assert 0 < sum(counts) <= 4 * len(drawn)


def test_pictures_come_in_pairs_that_differ_in_one_trait():
    for index in range(0, 200, 2):
        one, other = (bird_at("train", at, 0) for at in (index, index + 1))
        assert (one is None) == (other is None)
        if one is not None:
            assert one.family == other.family
            assert not other.name
            assert sum(one.attributes[key] != other.attributes[key] for key in ATTRIBUTES) == 1
    assert sport(SPECIES[3], Draws("x", 0, 0, "bird")).family == SPECIES[3].family


def test_traits_of_crossbreeds_do_not_go_together():
    """Every species with a grey breast has an azure back; of crossbreeds few do."""
    bred = [crossbreed(Draws("x", index, 0, "bird")) for index in range(2000)]
    grey = [bird for bird in bred if bird.attributes["breast_colour"] == "grey"]
    assert all(s.attributes["back_colour"] == "azure" for s in SPECIES if s.attributes["breast_colour"] == "grey")
    assert sum(bird.attributes["back_colour"] == "azure" for bird in grey) < 0.3 * len(grey)
    for key, values in ATTRIBUTES.items():
        assert {bird.attributes[key] for bird in bred} == set(values)


def test_how_many_of_what_are_shown():
    shown = [bird_at("train", index, 0) for index in range(4000)]
    empty = sum(bird is None for bird in shown) / len(shown)
    named = sum(bird is not None and bool(bird.name) for bird in shown) / len(shown)
    assert empty == pytest.approx(EMPTY, abs=0.03)
    # Of each pair that shows a species the second is a sport of it.
    assert named == pytest.approx((1 - EMPTY - CROSSBREEDS) / 2, abs=0.01)


# --- training ----------------------------------------------------------------------------------------------------


def test_training_is_repeatable_and_writes_what_open_clip_reads(tmp_path):
    import open_clip

    told = []
    before = torch.random.get_rng_state()
    results = [train(tmp_path / name, TINY, workers=1, report=told.append) for name in ("one", "two")]
    assert torch.equal(before, torch.random.get_rng_state())
    one, two = (load_file(result.folder / WEIGHTS) for result in results)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert results[0].losses == results[1].losses
    assert results[0].size <= 14_000_000
    stages = [("draw", 16, 16), ("words", 1, 2), ("words", 2, 2), ("train", 1, 2), ("train", 2, 2)]
    assert [(p.stage, p.done, p.total) for p in told[:5]] == stages
    model = open_clip.create_model(f"local-dir:{tmp_path / 'one'}")
    assert float(model.logit_scale.detach()) == pytest.approx(MODEL_CONFIG["init_logit_scale"], abs=0.05)
    assert text(tmp_path / "one", ["a bird"], device="cpu").layers == ("visual.trunk.layer4",)


def test_the_first_stages_are_the_classifiers_and_stay_so(tmp_path):
    """Also the running means of their norms, in a model that was trained."""
    train(tmp_path / "out", TINY, workers=1)
    kept, classifier = load_file(tmp_path / "out" / WEIGHTS), build_classifier(MODEL).state_dict()
    first = [name for name in classifier if name.startswith(LOCKED) and classifier[name].is_floating_point()]
    assert len(first) > 20
    assert all(torch.equal(kept[f"visual.trunk.{name}"], classifier[name].half()) for name in first)
    assert not torch.equal(kept["visual.trunk.layer2.0.conv1.weight"], classifier["layer2.0.conv1.weight"].half())


def test_another_seed_gives_other_weights(tmp_path):
    one = train(tmp_path / "one", replace(TINY, images=8), workers=1)
    two = train(tmp_path / "two", replace(TINY, images=8, seed=1), workers=1)
    assert one.losses != two.losses


def test_a_full_folder_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FinercamError, match="exists already"):
        train(tmp_path, TINY)
    with pytest.raises(FinercamError, match="as many pictures as go into one"):
        ClipRecipe(images=4, batch=8)


def test_short_reading_is_the_models_own(shipped):
    """Reading no further than the longest text gives OpenCLIP's own embedding."""
    model, _, tokenizer = shipped
    tokens = tokenizer(["a bird", "a photo of a bird with a white eye ring", "red wings"])
    with torch.no_grad():
        torch.testing.assert_close(embed_text(model, tokens), model.encode_text(tokens), rtol=1e-5, atol=1e-5)


def test_logits_of_training_are_open_clips(shipped):
    """From the last map and the statements' embeddings; training rounds to bfloat16 inside the tower."""
    model, _, tokenizer = shipped
    images = as_input(np.stack([picture("fresh", index)[0] for index in range(3)]))
    tokens = tokenizer(["a bird", "a white throat"])
    with torch.no_grad():
        expected, _ = model.get_logits(images, tokens)
        cells = training._cells(model.visual.trunk, images)
        got = training._logits(model, cells, model.encode_text(tokens, normalize=True))
    assert cells.shape == (3, 256, 16, 16)
    torch.testing.assert_close(got, expected, rtol=0, atol=0.5)


def test_a_cell_sees_47_pixels_at_the_most():
    """The classifier's see 95. (Pooling takes the largest of nine: which pixels count depends on the picture.)"""
    torch.manual_seed(0)
    visual = build().eval().visual
    images = torch.randn(1, 3, SIZE, SIZE, requires_grad=True)
    visual.trunk.forward_features(images)[0, :, 8, 8].sum().backward()
    for seen in (images.grad[0].abs().sum(0) > 0).nonzero(as_tuple=True):
        assert 40 < seen.max() - seen.min() + 1 <= 47
