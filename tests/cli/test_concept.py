"""``finercam concept`` as a user runs it, and what stands behind it."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import finercam
from finercam import Contrast, FinercamError
from finercam.cli.main import main
from finercam.cli.names import read_names
from finercam.explanations.answering import answer, gather
from finercam.explanations.concepts import concept_against, hide
from finercam.explanations.explaining import explain_batch
from finercam.models.text import BARE, text
from finercam.report.render import hatched
from models.text_models import SIZE, images, open_clip_config, save_open_clip, save_transformers

CONCEPTS = ["red epaulets", "yellow beak"]


def find_concepts(classifier, images, concepts, base, gamma=0.6, method="gradcam"):
    """Every concept in every image."""
    asked = [concept_against(classifier, one, base, gamma, method) for one in concepts]
    return explain_batch(classifier, images, asked, sources=[None] * len(images))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FINERCAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    save_open_clip(folder, open_clip_config())
    return folder


@pytest.fixture(scope="module")
def siglip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("siglip")
    save_transformers(folder, "siglip")
    return folder


@pytest.fixture
def classifier(clip_folder):
    return text(clip_folder, [*CONCEPTS, "bird", "Bird"], templates=BARE, device="cpu")


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["finercam", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    return stop.value.code or 0, captured.out, captured.err


@pytest.fixture
def concept(monkeypatch, capsys, clip_folder, tmp_path):
    def call(*arguments, base="bird"):
        given = [] if "--model" in arguments else ["--model", clip_folder]
        given += [] if "--concept" in arguments else ["--concept", CONCEPTS[0]]
        return run(monkeypatch, capsys, "concept", *arguments, *given, "--base", base, "--out", tmp_path / "out")

    return call


# --- the answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.6, 2.0])
@pytest.mark.parametrize("method", ["gradcam", "layercam", "scorecam", "mask@cells=3@steps=2"])
def test_an_answer_is_the_contrast_of_the_two_prompts(method, gamma, classifier):
    """The same maps as of ``Contrast`` with the base as its only reference, one concept and photo at a time."""
    pixels = images(3)
    found = find_concepts(classifier, pixels, CONCEPTS, "bird", gamma=gamma, method=method)
    for number, name in enumerate(CONCEPTS):
        what = [Contrast(gamma=0.0), Contrast(against=["bird"], gamma=gamma)]
        evidence, (plain, question) = gather(classifier, pixels, what, name, method=method)
        alone, against = answer(evidence, plain), answer(evidence, question)
        for i in range(3):
            one = found[i][number]
            torch.testing.assert_close(one.plain, alone.saliency[i], rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(one.saliency, against.saliency[i], rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(one.map, against.maps[i], rtol=1e-4, atol=1e-6)


def test_similarities_are_cosines(siglip_folder):
    """Scale and SigLIP's bias are taken off again."""
    import transformers

    classifier = text(siglip_folder, [*CONCEPTS, "bird"], templates=BARE, device="cpu")
    model = transformers.SiglipModel.from_pretrained(siglip_folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(siglip_folder)
    with torch.no_grad():
        out = model(**tokenizer([*CONCEPTS, "bird"], padding="max_length", return_tensors="pt"), pixel_values=images())
        expected = torch.nn.functional.cosine_similarity(out.image_embeds[:, None], out.text_embeds[None], dim=2)
    found = find_concepts(classifier, images(), CONCEPTS, "bird")
    for i in range(2):
        assert float(found[i][0].similarities[0]) == pytest.approx(float(expected[i, 0]), abs=1e-5)
        assert float(found[i][1].similarities[2]) == pytest.approx(float(expected[i, 2]), abs=1e-5)
        assert found[i][1].record()["references"][0]["similarity"] == pytest.approx(float(expected[i, 2]), abs=1e-5)
    left = hide(found[0][0], found[0][0].saliency, 0.2)
    with torch.no_grad():
        seen = classifier.module(left.image[None])[0]
    scale, bias = float(model.logit_scale.detach().exp()), float(model.logit_bias.detach())
    cosines = found[0][0].facts.similarities(left.logits)
    torch.testing.assert_close(cosines, (seen - bias) / scale, rtol=0, atol=1e-5)


#: A transformer whose input has one size is refused, and what has no rules for attention.
REFUSING = {"multiscale": "does not take images of", "lrp": r"lrp (has no rule|needs zennit)"}


@pytest.mark.parametrize("method", sorted(set(finercam.METHODS) - set(REFUSING)))
@pytest.mark.parametrize("name", ["bird", "Bird"])
def test_a_concept_that_is_its_own_base_leaves_nothing(name, method, classifier):
    """Also where it is only written otherwise, and for methods that answer whatever they are asked."""
    ((found, other),) = find_concepts(classifier, images(1), [name, CONCEPTS[0]], "bird", gamma=1.0, method=method)
    assert found.empty
    assert not found.map.any()
    assert found.plain.shape == (SIZE, SIZE)
    assert str(found) == f"{name}, against bird, gamma 1"
    assert bool(other.map.any())


@pytest.mark.parametrize("method", sorted(REFUSING))
def test_a_method_that_is_not_for_such_a_model_says_so(method, classifier):
    with pytest.raises(FinercamError, match=REFUSING[method]):
        find_concepts(classifier, images(1), CONCEPTS, "bird", method=method)


def test_with_less_than_all_of_it_taken_out_the_same_concept_stays(classifier):
    ((found,),) = find_concepts(classifier, images(1), ["bird"], "bird", gamma=0.6)
    torch.testing.assert_close(found.saliency, 0.4 * found.plain)
    assert not found.empty


def test_the_model_is_looked_at_once_for_all_concepts(classifier):
    runs = []
    handle = classifier.module.register_forward_hook(lambda *_: runs.append(1))
    find_concepts(classifier, images(2), CONCEPTS, "bird")
    handle.remove()
    assert runs == [1]


def test_exactly_the_most_salient_pixels_are_hidden(classifier):
    ((found,),) = find_concepts(classifier, images(1), CONCEPTS[:1], "bird")
    hidden = hide(found, found.plain, 0.1)
    assert int(hidden.mask.sum()) == int(0.1 * SIZE * SIZE) == 102
    assert float(found.plain[hidden.mask].min()) >= float(found.plain[~hidden.mask].max())
    assert not hidden.image[:, hidden.mask].any()
    assert torch.equal(hidden.image[:, ~hidden.mask], found.image[:, ~hidden.mask])
    everything = hide(found, found.plain, 1.0)
    assert torch.equal(everything.mask, found.plain > 0)


def test_an_empty_map_hides_nothing(classifier):
    ((found,),) = find_concepts(classifier, images(1), ["bird"], "bird", gamma=1.0)
    hidden = hide(found, found.saliency)
    assert not hidden.mask.any()
    assert torch.equal(hidden.image, found.image)
    torch.testing.assert_close(hidden.logits, found.logits)


def test_a_trained_classifier_is_not_made_of_words():
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 4, 4), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    plain = finercam.Classifier.of(net, image_size=(16, 16), class_names=["a", "b", "c", "d"])
    with pytest.raises(FinercamError, match="need a classifier made of words"):
        find_concepts(plain, torch.randn(1, 3, 16, 16), ["a"], "b")


# --- the command -------------------------------------------------------------------------------------------------


def test_every_photo_and_concept_gets_a_picture_maps_and_a_record(concept, photos, tmp_path, clip_folder):
    code, out, err = concept(photos, "--concept", CONCEPTS[0], "--concept", CONCEPTS[1], "--concept", CONCEPTS[0])
    assert code == 0
    assert len(out.splitlines()) == 6
    assert "3 looked at, 0 failed" in err
    results = tmp_path / "out"
    records = [json.loads(line) for line in (results / "concepts.jsonl").read_text().splitlines()]
    assert {record["files"]["picture"] for record in records} == {
        f"{photo}/{name}.png"
        for photo in ("one", "deep/er/two", "deep/er/two-png")
        for name in ("red-epaulets", "yellow-beak")
    }
    classifier = text(clip_folder, [*CONCEPTS, "bird"], templates=BARE, device="cpu")
    for record in records:
        picture = np.asarray(Image.open(results / record["files"]["picture"]))
        assert picture.shape[1] > 1000
        maps = load_file(results / record["files"]["maps"])
        again = finercam.explain(classifier, record["image"], record["target"]["name"], against=["bird"])
        torch.testing.assert_close(maps["saliency"], again.saliency)
        torch.testing.assert_close(maps["plain"], again.plain)
        torch.testing.assert_close(maps["map"], again.map)
        assert record["question"] == f"{record['target']['name']}, against bird, gamma 0.6"
        assert (record["mode"], record["method"]) == ("highlight", "gradcam")
        assert [each["name"] for each in record["references"]] == ["bird"]
        assert record["layer"] == ["visual.transformer.resblocks.1.ln_1"]
    assert not [path for path in results.rglob("*") if path.name.startswith(".")]


def test_masked_out(concept, photos, tmp_path, clip_folder):
    code, out, _ = concept(photos / "one.png", "--mode", "mask-out", "--fraction", "0.25", "--json")
    assert code == 0
    record = json.loads(out)
    maps = load_file(tmp_path / "out" / record["files"]["maps"])
    assert record["hidden"]["pixels"] == min(int(0.25 * SIZE * SIZE), int((maps["saliency"] > 0).sum()))
    order = maps["saliency"].flatten().argsort(descending=True, stable=True)
    hidden = torch.zeros(SIZE * SIZE, dtype=torch.bool)
    hidden[order[: record["hidden"]["pixels"]]] = True
    hidden = hidden.view(SIZE, SIZE)
    classifier = text(clip_folder, [CONCEPTS[0], "bird"], templates=BARE, device="cpu")
    image = classifier.preprocessing(Image.open(photos / "one.png"))
    with torch.no_grad():
        cosines = classifier.module(torch.where(hidden, 0.0, image)[None])[0] / classifier.rows.norm(dim=1)
    assert record["hidden"]["similarity"][CONCEPTS[0]] == pytest.approx(float(cosines[0]), abs=1e-5)
    assert record["hidden"]["similarity"]["bird"] == pytest.approx(float(cosines[1]), abs=1e-5)
    assert record["fraction"] == 0.25
    # The hidden pixels are of the mean colour in the picture too.
    picture = np.asarray(Image.open(tmp_path / "out" / record["files"]["picture"]))
    mean = np.round(np.array([0.4, 0.5, 0.6]) * 255)
    assert (np.abs(picture - mean) <= 1).all(2).sum() > 0.1 * 360 * 360


@pytest.mark.parametrize("mode", ["highlight", "mask-out"])
def test_nothing_left_is_said_on_the_terminal_and_in_the_picture(mode, concept, photos, tmp_path, monkeypatch):
    from finercam.report import explained as figure

    said = []
    lay_out = figure.lay_out
    monkeypatch.setattr(figure, "lay_out", lambda panels, **how: said.extend(panels) or lay_out(panels, **how))
    code, out, err = concept(photos / "one.png", "--concept", "bird", "--gamma", "1", "--mode", mode)
    assert code == 0
    assert "EMPTY MAP" in out
    assert "concept 'bird' and base 'bird' are the same to this model" in err
    (record,) = map(json.loads, (tmp_path / "out" / "concepts.jsonl").read_text().splitlines())
    assert record["empty"]
    panels = said[-3:]
    assert any("empty: nothing" in line for line in panels[2].lines)
    assert not any("empty" in line for panel in panels[:2] for line in panel.lines)
    if mode == "mask-out":
        photo, shown = panels[0].picture, np.asarray(panels[2].picture)
        either = [(shown == np.asarray(picture)).all(2) for picture in (photo, hatched(photo))]
        assert (either[0] | either[1]).all()
        assert either[0].mean() > 0.5


def test_options_reach_the_answer(concept, photos):
    code, out, _ = concept(
        photos / "one.png",
        "--json",
        "--gamma",
        "-0.5",
        "--method",
        "layer-cam",
        "--template",
        "a {} wing",
        "--template",
        "{}",
        "--layer",
        "visual.conv1",
        "--precision",
        "bfloat16",
        "--batch-size",
        "2",
    )
    assert code == 0
    record = json.loads(out)
    expected = {"gamma": -0.5, "method": "layercam", "layer": ["visual.conv1"], "precision": "bfloat16"}
    assert {key: record[key] for key in expected} == expected
    _, bare, _ = concept(photos / "one.png", "--json", "--layer", "visual.conv1")
    assert json.loads(bare)["target"]["similarity"] != pytest.approx(record["target"]["similarity"], abs=1e-3)


def test_concepts_that_make_one_file_name_keep_apart(concept, photos, tmp_path):
    names = ["red wing", "Red-wing", "red_wing", "★", "赤い翼"]
    code, _, _ = concept(photos / "one.png", *(part for name in names for part in ("--concept", name)))
    assert code == 0
    assert {path.name for path in (tmp_path / "out" / "one").glob("*.png")} == {
        "red-wing.png",
        "red-wing-2.png",
        "red-wing-3.png",
        "concept.png",
        "赤い翼.png",
    }


def test_one_bad_photo_is_reported_and_the_rest_go_on(concept, photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    code, _, err = concept(photos)
    assert code == 1
    assert "broken.jpg" in err
    assert "3 looked at, 1 failed" in err
    records = [json.loads(line) for line in (tmp_path / "out" / "concepts.jsonl").read_text().splitlines()]
    assert len(records) == 4
    (failed,) = [record for record in records if "error" in record]
    assert failed == {"schema": 1, "image": str(photos / "broken.jpg"), "error": failed["error"]}
    assert "is not a picture" in failed["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--concept", " "), "' ' is not a name or prompt"),
        (("--concept", "<start_of_text>"), "knows none of the words in"),
        (("--concept", "red " * 11), "is 13 tokens long and the text tower reads 12"),
        (("--mode", "maskout"), "did you mean 'mask-out'"),
        (("--fraction", "1.5"), "between 0 and 1"),
        (("--fraction", "nan"), "between 0 and 1"),
        (("--gamma", "nan"), "finite"),
        (("--method", "gradcm"), "did you mean 'gradcam'"),
        (("--method", "eigencam"), "ignores the class"),
        (("--template", "a bird"), "must have one {}"),
        (("--layer", "layer4"), "has no layer"),
        (("--device", "gpu"), "device 'gpu'"),
        (("--precision", "fp16"), "float16"),
        (("--batch-size", "0"), "at least 1"),
        (("--model", "timm/resnet18"), "does not understand text"),
        (("--model", "no/such"), "neither a folder"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(concept, photos, tmp_path, arguments, said):
    code, _, err = concept(photos, *arguments)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_bad_base_or_path_is_one_line_and_exit_code_2(concept, photos, tmp_path):
    code, _, err = concept(photos, base="")
    assert (code, "'' is not a name or prompt" in err) == (2, True)
    code, _, err = concept(tmp_path / "nowhere")
    assert (code, "no photo at" in err) == (2, True)
    (tmp_path / "out").write_text("")
    code, _, err = concept(photos)
    assert (code, "is a file; give a folder" in err) == (2, True)


# --- explain with classes ----------------------------------------------------------------------------------------


def test_explain_with_names_from_a_file(monkeypatch, capsys, photos, tmp_path, clip_folder):
    names = tmp_path / "names.txt"
    names.write_text("\ufeffRed-winged Blackbird\n\n  blue grosbeak \r\nyellow_beak\n", encoding="utf-8")
    code, out, _ = run(
        monkeypatch,
        capsys,
        "explain",
        photos / "one.png",
        "--model",
        clip_folder,
        "--classes",
        names,
        "--json",
        "--target",
        "blue grosbeak",
        "--against",
        "weights",
        "--out",
        tmp_path / "out",
    )
    assert code == 0
    record = json.loads(out)
    assert record["target"]["name"] == "blue grosbeak"
    assert {each["name"] for each in record["references"]} == {"Red-winged Blackbird", "yellow_beak"}
    classifier = text(clip_folder, ["Red-winged Blackbird", "blue grosbeak", "yellow_beak"], device="cpu")
    again = finercam.explain(classifier, photos / "one.png", "blue grosbeak", against="weights")
    torch.testing.assert_close(load_file(tmp_path / "out" / "one.safetensors")["saliency"], again.saliency)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no file"),
        (b"", "has no names in it"),
        (b"\n  \n", "has no names in it"),
        (b"\xff\xfe\x00b", "is not UTF-8 text"),
        (b"bird\nwing\n\nbird \n", "has 'bird' twice, in lines 1 and 4"),
    ],
)
def test_a_file_that_has_no_names(content, said, tmp_path, monkeypatch, capsys, photos, clip_folder):
    file = tmp_path / "names.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(FinercamError, match=said):
        read_names(file)
    arguments = ("--model", clip_folder, "--classes", file, "--out", tmp_path / "out")
    code, _, err = run(monkeypatch, capsys, "explain", photos, *arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_is_not_a_file_of_names(tmp_path):
    with pytest.raises(FinercamError, match="cannot be read: Is a directory"):
        read_names(tmp_path)


def test_pictures_of_concepts_take_the_formats_too(concept, photos, tmp_path):
    code, _, _ = concept(photos / "one.png", "--concept", CONCEPTS[0], "--format", "svg", "--size", "200")
    assert code == 0
    assert list((tmp_path / "out").rglob("*.svg"))
    assert (tmp_path / "out" / "concepts.csv").is_file()
    code, _, err = concept(photos / "one.png", "--concept", CONCEPTS[0], "--format", "svg", "--mode", "mask-out")
    assert code == 2
    assert "png only" in err
