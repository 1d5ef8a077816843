"""Regions of explanations, in memory and from a folder of results."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from finercam import Classifier, Contrast, FinercamError, explain, explain_files
from finercam.data.regions import Region
from finercam.explanations.explaining import Asked
from finercam.explanations.outlining import outline_folder
from support.colour_birds import SPECIES, ColourNet, draw_bird, to_tensor


def middle(picture):
    """Resized, and the sides cut off."""
    side = picture.resize((96, 64))
    return to_tensor(side.crop((16, 0, 80, 64)))


def bird(width=300, height=200):
    photo = Image.new("RGB", (width, height), "#777777")
    photo.paste(draw_bird(0).resize((height, height)), ((width - height) // 2, 0))
    return photo


@pytest.fixture(scope="module")
def model():
    return Classifier.of(ColourNet(), preprocess=middle, class_names=SPECIES, name="colours")


@pytest.mark.parametrize("by", ["threshold", "threshold@0.3", "top@0.05", "energy@0.8"])
def test_regions_lie_on_the_photo_and_share_the_evidence(model, by):
    e = explain(model, bird())
    heat = e.on_photo().nan_to_num(0.0).numpy()
    found = e.regions(by, least=0)
    assert found
    together = np.zeros(heat.shape, int)
    for region in found:
        assert region.photo == (300, 200)
        assert region.classes == (e.target_name, *e.reference_names)
        assert region.score == pytest.approx(heat[region.mask].sum() / heat.sum(), rel=1e-6)
        together += region.mask
    assert together.max() == 1
    assert [r.score for r in found] == sorted((r.score for r in found), reverse=True)
    # What the model did not see is in none.
    assert not together[:, :49].any()
    chosen, rest = heat[together == 1], heat[together == 0]
    assert chosen.min() >= rest.max()
    if by.startswith("threshold"):
        share = float(by.partition("@")[2] or 0.5)
        assert chosen.min() >= share * heat.max() > rest.max()
    elif by.startswith("top"):
        assert together.sum() == int(0.05 * (~e.on_photo().isnan()).sum())
    else:
        assert 0.8 <= chosen.sum() / heat.sum() < 0.8 + chosen.min() / heat.sum() + 1e-6


def test_a_region_speaks_as_its_mask_does(model):
    e = explain(model, bird(), keep=True)
    (region, *_) = e.regions()
    assert isinstance(region, Region)
    torch.testing.assert_close(e.speaks(region).shares, e.speaks(region.mask).shares)


def test_a_tensor_has_regions_of_its_own_and_an_empty_map_has_none(model):
    e = explain(model, middle(bird()))
    assert {region.photo for region in e.regions()} == {(64, 64)}
    flat = explain(model, middle(bird()), gamma=0, against=[e.reference_names[0]], contrast=None)
    empty = type(flat)(**{**flat.__dict__, "saliency": torch.zeros(64, 64)})
    assert empty.regions() == []


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("treshold", "did you mean 'threshold'"),
        ("top@0", "above 0"),
        ("energy@1.5", "up to 1"),
        ("top@many", "must be a number"),
        ("top@0.1@0.2", "takes share"),
    ],
)
def test_an_unknown_way_is_refused(model, by, said):
    with pytest.raises(FinercamError, match=said):
        explain(model, bird()).regions(by)


def test_a_folder_gives_what_the_explanations_give(model, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    bird().save(photos / "a.png")
    bird(400, 200).save(photos / "b.png")
    (photos / "c.png").write_text("no picture")
    done = list(
        explain_files(model, [photos], tmp_path / "out", {"x": Asked(Contrast()), "y": Asked(Contrast(gamma=0))})
    )
    found = list(outline_folder(tmp_path / "out", "energy@0.5"))
    said = [(o.record["image"], o.error is None) for o in found]
    assert said == [(str(photos / name), name != "c.png") for name in ("a.png", "a.png", "b.png", "b.png", "c.png")]
    expected = [e.regions("energy@0.5") for saved in done for e in saved.explanations]
    for own, there in zip(found, expected, strict=False):
        assert own.size == there[0].photo
        for one, other in zip(own.regions, there, strict=True):
            assert (one.box, one.score, one.classes) == (other.box, other.score, other.classes)
            assert np.array_equal(one.inside, other.inside)


def test_maps_that_are_gone_or_say_nothing_of_the_photo_are_told(model, tmp_path):
    bird().save(tmp_path / "a.png")
    bird().save(tmp_path / "b.png")
    list(explain_files(model, [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "out", [Asked(Contrast())]))
    from safetensors.torch import load_file, save_file

    maps = tmp_path / "out" / "a.safetensors"
    save_file(load_file(maps), maps)
    (tmp_path / "out" / "b.safetensors").unlink()
    first, second = outline_folder(tmp_path / "out", "threshold")
    assert "explain the photo again" in first.error
    assert "there is no file" in second.error
    with pytest.raises(FinercamError, match="--out folder of finercam explain"):
        list(outline_folder(tmp_path, "threshold"))
    (tmp_path / "out" / "explanations.jsonl").write_text(json.dumps({"image": "a.png", "schema": 1}) + "\n")
    (only,) = outline_folder(tmp_path / "out", "threshold")
    assert "has no maps" in only.error
