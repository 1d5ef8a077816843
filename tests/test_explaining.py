"""``explain()`` from Python: what it takes and what a user then holds."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import finercam
from finercam import Classifier, Contrast, FinercamError, Objective, explain
from support.colour_birds import SPECIES, ColourNet, draw_bird, to_tensor


@pytest.fixture(scope="module")
def model():
    return Classifier.of(
        ColourNet(),
        preprocess=to_tensor,
        class_names=SPECIES,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        name="colours",
    )


def share_on_wing(saliency):
    height, width = saliency.shape
    ys, xs = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    wing = ((xs - 0.425) / 0.165) ** 2 + ((ys - 0.535) / 0.125) ** 2 < 1
    return float(saliency[wing].sum() / saliency.sum())


def test_finer_cam_is_on_the_wing_and_the_plain_cam_on_the_bird(model):
    for species in range(3):
        explanation = explain(model, draw_bird(species), gamma=1.0, references=2)
        assert explanation.target == species
        assert share_on_wing(explanation.plain) < 0.75
        assert share_on_wing(explanation.saliency) > 0.9


def test_one_photo_gives_one_explanation_several_a_list(model, tmp_path):
    draw_bird(1).save(tmp_path / "a.png")
    one = explain(model, tmp_path / "a.png")
    assert one.target_name == "Green-winged Bluet"
    assert one.source == str(tmp_path / "a.png")
    forms = [tmp_path / "a.png", draw_bird(1), np.asarray(draw_bird(1)), to_tensor(draw_bird(1))]
    for explanation in explain(model, forms, batch_size=3):
        torch.testing.assert_close(explanation.saliency, one.saliency)
    batch = torch.stack([to_tensor(draw_bird(i)) for i in range(3)])
    assert [explanation.target for explanation in explain(model, batch)] == [0, 1, 2]
    assert explain(model, []) == []


def test_targets_and_references_are_per_photo_or_for_all(model):
    photos = [draw_bird(i) for i in range(3)]
    found = explain(model, photos, "Ember Thrush", against=["Red-winged Bluet"], batch_size=2)
    assert [(e.target, e.references) for e in found] == [(3, (0,))] * 3
    found = explain(model, photos, [2, "Red-winged Bluet", 1], against=[[0], [1, 3], ["Ember Thrush"]], batch_size=2)
    assert [(e.target, e.references) for e in found] == [(2, (0,)), (0, (1, 3)), (1, (3,))]
    with pytest.raises(FinercamError, match="2 targets were given for 3 photos"):
        explain(model, photos, [0, 1])
    with pytest.raises(FinercamError, match="2 lists of references were given for 3 photos"):
        explain(model, photos, against=[[0], [1]])
    kept = explain(model, photos, [2, 0, 1], against=[[0], [1, 3], [3]], keep=True)
    fresh = explain(model, photos[1], 0, against=[1, 3], gamma=1.0)
    torch.testing.assert_close(kept[1].again(gamma=1.0).saliency, fresh.saliency)


def test_keeping_costs_no_more_classes_than_were_asked_for(model):
    deep = Classifier.of(ColourNet(), layer="filters", class_names=SPECIES)
    kept = explain(deep, to_tensor(draw_bird(0)), "Red-winged Bluet", against=["Ember Thrush"], keep=True)
    assert kept.evidence is not None
    assert kept.evidence.rows.shape[1] == 2
    with pytest.raises(FinercamError, match="Green-winged Bluet"):
        kept.again(against=["Green-winged Bluet"])


def test_photos_of_different_size_are_explained_in_their_own_shape(model):
    photos = [draw_bird(0, 224), draw_bird(1, 160), draw_bird(2, 224)]
    assert [tuple(e.saliency.shape) for e in explain(model, photos)] == [(224, 224), (160, 160), (224, 224)]


def test_it_says_what_was_asked(model):
    e = explain(model, draw_bird(0), references=2)
    assert str(e) == "Red-winged Bluet, against Green-winged Bluet, White-winged Bluet, gamma 0.6"
    assert repr(e) == f"<Explanation: {e} (Grad-CAM)>"
    assert str(explain(model, draw_bird(0), gamma=0)) == "Red-winged Bluet, alone"


def test_saliency_is_the_resized_positive_part_of_the_map(model):
    e = explain(model, draw_bird(0), gamma=1.5, references=2)
    assert float(e.map.min()) < 0
    expected = nn.functional.interpolate(e.map.relu()[None, None], (224, 224), mode="bilinear")[0, 0]
    torch.testing.assert_close(e.saliency, expected)


def test_an_empty_map_is_said_to_be_empty_and_never_stretched(model):
    e = explain(model, draw_bird(0), contrast=Objective(lambda y: -y.square().sum(1), "nothing"))
    assert e.empty
    assert "empty" in repr(e)
    assert e.record()["empty"]
    bare = np.asarray(e.overlay())
    assert len(np.unique(bare.reshape(-1, 3), axis=0)) < 2000
    e.figure()


def test_asking_again_needs_no_model(model):
    calls = []
    handle = model.module.register_forward_hook(lambda *_: calls.append(1))
    try:
        e = explain(model, draw_bird(0), keep=True, collect=["Ember Thrush"])
        calls.clear()
        again = e.again(gamma=1.5, against=["Ember Thrush"], method="layercam", target="White-winged Bluet")
        assert not calls
    finally:
        handle.remove()
    fresh = explain(model, draw_bird(0), "White-winged Bluet", gamma=1.5, against=["Ember Thrush"], method="layercam")
    torch.testing.assert_close(again.saliency, fresh.saliency)
    assert again.method.name == "layercam"


def test_asking_again_without_evidence_says_what_to_do(model):
    e = explain(model, draw_bird(0))
    with pytest.raises(FinercamError, match="keep=True"):
        e.again(gamma=1)
    with pytest.raises(FinercamError, match="masks"):
        explain(model, draw_bird(0), keep=True).again(method="scorecam")
    other = explain(model, draw_bird(0), keep=True).again(method="scorecam", collect=True)
    torch.testing.assert_close(other.saliency, explain(model, draw_bird(0), method="scorecam").saliency)


def test_a_tensor_is_preprocessed_and_anything_else_is_an_error(model):
    with pytest.raises(FinercamError, match="uint8"):
        explain(model, torch.zeros(3, 32, 32, dtype=torch.uint8))
    with pytest.raises(FinercamError, match="no preprocessing"):
        explain(ColourNet(), draw_bird(0))
    with pytest.raises(FinercamError, match="either contrast= or its options"):
        explain(model, draw_bird(0), contrast=Contrast(), gamma=1)
    with pytest.raises(FinercamError, match="batch_size"):
        explain(model, draw_bird(0), batch_size=0)


def test_it_is_saved_as_picture_or_maps(model, tmp_path):
    e = explain(model, draw_bird(0))
    assert Image.open(e.save(tmp_path / "a.png")).size == e.figure().size
    assert Image.open(e.save(tmp_path / "a.webp")).size == e.figure().size
    e.save(tmp_path / "a.safetensors")
    with pytest.raises(FinercamError, match=r"use \.png"):
        e.save(tmp_path / "a.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.safetensors", "a.webp"]
    assert e._repr_png_().startswith(b"\x89PNG")


def test_a_bare_module_and_a_registered_method_are_enough():
    @finercam.method("gradient-norm")
    def gradient_norm(activations, gradients):
        return (activations * gradients).norm(dim=1)

    try:
        e = explain(ColourNet(), to_tensor(draw_bird(0)), method="gradient-norm")
        assert e.target_name == "class 0"
        assert float(e.saliency.max()) > 0
    finally:
        del finercam.METHODS["gradient-norm"]
