"""``explain()`` from Python: what it takes and what a user then holds."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import finercam
from finercam import Classifier, Contrast, FinercamError, Objective, Run, explain
from finercam.explanations.explaining import Asked, explain_batch
from finercam.methods.gradients import gather_gradients, gradient_taps
from finercam.methods.method import Method
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
    for explanation in explain(model, forms, run=Run(images=3)):
        torch.testing.assert_close(explanation.saliency, one.saliency)
    batch = torch.stack([to_tensor(draw_bird(i)) for i in range(3)])
    assert [explanation.target for explanation in explain(model, batch)] == [0, 1, 2]
    assert explain(model, []) == []


def test_targets_and_references_are_per_photo_or_for_all(model):
    photos = [draw_bird(i) for i in range(3)]
    found = explain(model, photos, "Ember Thrush", against=["Red-winged Bluet"], run=Run(images=2))
    assert [(e.target, e.references) for e in found] == [(3, (0,))] * 3
    found = explain(
        model, photos, [2, "Red-winged Bluet", 1], against=[[0], [1, 3], ["Ember Thrush"]], run=Run(images=2)
    )
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
    with pytest.raises(FinercamError, match=r"Score-CAM gathers other evidence than Grad-CAM.*collect=True"):
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
    with pytest.raises(FinercamError, match="images per pass is 0"):
        explain(model, draw_bird(0), run=Run(images=0))


def test_it_is_saved_as_picture_or_maps(model, tmp_path):
    e = explain(model, draw_bird(0))
    assert Image.open(e.save(tmp_path / "a.png")).size == e.figure().size
    assert Image.open(e.save(tmp_path / "a.webp")).size == e.figure().size
    e.save(tmp_path / "a.safetensors")
    with pytest.raises(FinercamError, match=r"cannot save as '\.npy'; use .*\.png"):
        e.save(tmp_path / "a.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.safetensors", "a.webp"]
    assert e._repr_png_().startswith(b"\x89PNG")


def test_a_bare_module_and_a_registered_method_are_enough():
    with finercam.METHODS.restored():

        @finercam.method("gradient-norm")
        def gradient_norm(activations, gradients):
            return (activations * gradients).norm(dim=1)

        e = explain(ColourNet(), to_tensor(draw_bird(0)), method="gradient-norm")
        assert e.target_name == "class 0"
        assert float(e.saliency.max()) > 0
        with pytest.raises(FinercamError, match="there is a method 'gradient-norm' already"):
            finercam.method("Gradient_Norm")(gradient_norm)
    with pytest.raises(FinercamError, match="no method 'gradient-norm'"):
        explain(ColourNet(), to_tensor(draw_bird(0)), method="gradient-norm")


def test_a_misspelt_option_names_the_one_that_is_meant(model):
    with pytest.raises(FinercamError, match=r"explain\(\) has no option 'gama'; did you mean 'gamma'"):
        explain(model, draw_bird(0), gama=1)
    with pytest.raises(FinercamError, match=r"saliency\(\) has no option 'targets'; did you mean 'target'"):
        finercam.saliency(model, to_tensor(draw_bird(0))[None], targets=1)
    with pytest.raises(FinercamError, match=r"again\(\) has no option 'wieghting'; did you mean 'weighting'"):
        explain(model, draw_bird(0), keep=True).again(wieghting="softmax")


def test_saliency_takes_what_explain_takes(model):
    images = torch.stack([to_tensor(draw_bird(i)) for i in range(2)])
    options = {"gamma": 1.0, "against": ["Ember Thrush"], "method": "layercam", "run": Run("bfloat16")}
    short = finercam.saliency(model, images, "White-winged Bluet", **options)
    long = explain(model, images, "White-winged Bluet", **options)
    torch.testing.assert_close(short, torch.stack([e.saliency for e in long]))
    bare = finercam.saliency(ColourNet(), images, 1, contrast=finercam.PLAIN)
    torch.testing.assert_close(bare, torch.stack([e.plain for e in explain(ColourNet(), images, 1)]))


def test_another_weighting_asks_with_its_own_strength(model):
    kept = explain(model, draw_bird(0), keep=True)
    fresh = explain(model, draw_bird(0), weighting="official")
    assert fresh.contrast.strength == 1
    again = kept.again(weighting="official")
    assert again.contrast.strength == 1
    torch.testing.assert_close(again.saliency, fresh.saliency)
    assert kept.again(weighting="official", gamma=0.3).contrast.strength == 0.3
    assert explain(model, draw_bird(0), gamma=0.9, keep=True).again(weighting="official").contrast.strength == 0.9


def test_an_objective_has_no_strength_to_be_changed(model):
    kept = explain(model, draw_bird(0), contrast=Objective(lambda y: y[:, 0], "first"), keep=True)
    with pytest.raises(FinercamError, match=r"objective \('first'\) has no gamma; ask again with contrast="):
        kept.again(gamma=1)
    again = kept.again(contrast=Contrast(gamma=1.0))
    torch.testing.assert_close(again.saliency, explain(model, draw_bird(0), gamma=1.0).saliency)


CHANGES = ({"gamma": 1.3}, {"gamma": 1.0, "against": ["Ember Thrush"], "method": "layercam"})
_ASKS = """
import sys, torch, finercam
loaded = finercam.Explanation.load(sys.argv[1])
assert loaded.classifier is None
for number, changes in enumerate([{"gamma": 1.3}, {"gamma": 1.0, "against": ["Ember Thrush"], "method": "layercam"}]):
    torch.save(loaded.again(**changes).saliency, f"{sys.argv[1]}.{number}")
loaded.save(sys.argv[1] + ".png")
try:
    loaded.again(method="scorecam", collect=True)
except finercam.FinercamError as error:
    print(error)
"""


@pytest.mark.parametrize("layer", [None, "filters"])
def test_saved_evidence_is_asked_again_in_another_process(layer, tmp_path):
    """Both of the closed form and of collected gradients; the model is not there."""
    model = Classifier.of(
        ColourNet(), layer=layer, preprocess=to_tensor, class_names=SPECIES, mean=(0.0,) * 3, std=(1.0,) * 3
    )
    kept = explain(model, draw_bird(0), keep=True, collect=["Ember Thrush"])
    path = kept.save(tmp_path / "kept.safetensors")
    done = subprocess.run([sys.executable, "-c", _ASKS, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "loaded without its model" in done.stdout
    for number, changes in enumerate(
        [{"gamma": 1.3}, {"gamma": 1.0, "against": ["Ember Thrush"], "method": "layercam"}]
    ):
        found = torch.load(f"{path}.{number}", weights_only=True)
        torch.testing.assert_close(found, kept.again(**changes).saliency)
    assert Image.open(f"{path}.png").size == kept.figure().size
    loaded = finercam.Explanation.load(path, model)
    assert str(loaded) == str(kept)
    assert loaded.record() == kept.record()
    torch.testing.assert_close(
        loaded.again(method="scorecam", collect=True).saliency, explain(model, draw_bird(0), method="scorecam").saliency
    )


def test_what_cannot_be_asked_again_says_so(model, tmp_path):
    with pytest.raises(FinercamError, match="no evidence to ask again; explain with keep=True"):
        finercam.Explanation.load(explain(model, draw_bird(0)).save(tmp_path / "a.safetensors"))
    with pytest.raises(FinercamError, match="there is no file"):
        finercam.Explanation.load(tmp_path / "b.safetensors")
    (tmp_path / "c.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(FinercamError, match="cannot be read as safetensors"):
        finercam.Explanation.load(tmp_path / "c.safetensors")
    objective = explain(model, draw_bird(0), contrast=Objective(lambda y: y[:, 0], "first"), keep=True)
    loaded = finercam.Explanation.load(objective.save(tmp_path / "d.safetensors"))
    assert str(loaded) == "first"
    with pytest.raises(FinercamError, match="'first' is a function and is not saved"):
        loaded.again()
    assert loaded.again(contrast=Contrast(gamma=1.0)).references


def test_several_questions_and_methods_share_one_run_of_the_model(model):
    images = torch.stack([to_tensor(draw_bird(i)) for i in range(2)])
    runs = []
    handle = model.module.register_forward_hook(lambda *_: runs.append(1))
    asked = [Asked(Contrast(gamma=g), None, how) for how in ("gradcam", "layercam") for g in (0.6, 1.0)]
    found = explain_batch(model, images, asked, sources=[None, None])
    handle.remove()
    assert runs == [1]
    assert [[e.method.name for e in each] for each in found] == [["gradcam", "gradcam", "layercam", "layercam"]] * 2
    for i, each in enumerate(found):
        for one, e in zip(asked, each, strict=True):
            fresh = explain(model, images[i], contrast=one.contrast, method=one.method)
            torch.testing.assert_close(e.saliency, fresh.saliency)


#: Methods that take long with their defaults, made short; and those that refuse this network.
SHORT = {"rise": "rise@masks=20", "mask": "mask@steps=5", "smoothgrad": "smoothgrad@copies=2"}
REFUSING = {"gem", "legrad", "lrp"}


@pytest.mark.parametrize("method", [SHORT.get(name, name) for name in sorted(finercam.METHODS) if name not in REFUSING])
def test_evidence_of_every_method_is_stored(method, model, tmp_path):
    """Also where it is made of other evidence; what was asked is answered by the file as it was."""
    small = draw_bird(0, 64)
    kept = explain(model, small, method=method, gamma=1.0, keep=True)
    loaded = finercam.Explanation.load(kept.save(tmp_path / "kept.safetensors"))
    torch.testing.assert_close(loaded.again().saliency, kept.saliency)
    assert loaded.method.spec == kept.method.spec


def test_a_map_that_is_not_finite_is_an_error(model):
    """A method of one's own that divides by nothing."""
    own = Method("divides", "Divides", gather_gradients, lambda a, g: (a * g).sum(1) / 0.0, taps=gradient_taps)
    with pytest.raises(FinercamError, match="the map that Divides makes for image 0 has values that are not finite"):
        explain(model, draw_bird(0), method=own)
