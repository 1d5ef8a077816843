"""Maps and pictures in the photo's own coordinates, whatever the preprocessing made of it."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import finercam
from finercam import Classifier, FinercamError, explain
from finercam._torchvision import import_torchvision
from finercam.contrast.labels import Labels
from finercam.explanations.concepts import hide
from finercam.report.explained import lay_out_explanation, lay_out_hidden, model_name
from finercam.report.sheet import Line
from support.colour_birds import SPECIES, ColourNet, draw_bird, to_tensor

import_torchvision()
from torchvision.transforms import v2  # noqa: E402


def cropped(picture):
    return to_tensor(v2.CenterCrop(64)(v2.Resize(72)(picture)))


def squashed(picture):
    return to_tensor(picture.resize((64, 64)))


def classifier(preprocess, **more):
    return Classifier.of(
        ColourNet(), preprocess=preprocess, class_names=SPECIES, mean=(0.0,) * 3, std=(1.0,) * 3, name="colours", **more
    )


def portrait(width=180, height=300):
    """A bird in the middle of a tall photo."""
    photo = Image.new("RGB", (width, height), "#777777")
    photo.paste(draw_bird(0).resize((width, width)), (0, (height - width) // 2))
    return photo


def words(explanation, **options):
    return [item.text for item in lay_out_explanation(explanation, **options).items if isinstance(item, Line)]


@pytest.mark.parametrize("preprocess", [cropped, squashed])
@pytest.mark.parametrize("size", [(180, 300), (900, 300), (20, 30), (1, 1)])
def test_the_map_on_the_photo_has_its_size_and_the_same_peak(preprocess, size):
    e = explain(classifier(preprocess), portrait().resize(size))
    laid = e.on_photo()
    assert laid.shape == (size[1], size[0])
    assert float(np.nanmax(laid.numpy())) == pytest.approx(float(e.saliency.max()), abs=0)
    assert laid[~laid.isnan()].min() >= 0
    torch.testing.assert_close(np.nanmax(e.on_photo(e.plain).numpy()), np.float32(e.plain.max()))


def test_what_was_cropped_away_is_nan_and_what_was_seen_lies_where_it_was():
    e = explain(classifier(cropped), portrait())
    laid = e.on_photo()
    # 180 x 300 becomes 72 x 120, of which the middle 64 x 64 are seen: 10 columns and 70 rows off at each side.
    seen = ~laid.isnan()
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    assert abs(int(rows[0]) - 70) <= 2
    assert abs(int(rows[-1]) - 229) <= 2
    assert abs(int(columns[0]) - 10) <= 2
    assert abs(int(columns[-1]) - 169) <= 2
    y, x = divmod(int(e.saliency.argmax()), 64)
    at_y, at_x = divmod(int(laid.nan_to_num().argmax()), 180)
    assert abs(at_x - (x + 0.5 + 4) * 2.5) <= 3
    assert abs(at_y - (y + 0.5 + 28) * 2.5) <= 3


def test_pictures_keep_the_aspect_of_the_photo():
    e = explain(classifier(squashed), portrait(180, 300))
    assert e.overlay().size == (180, 300)
    assert e.photo().size == (180, 300)
    assert e.seen().size == (64, 64)
    for size, longer in ((None, None), (500, 500)):
        pictures = [item.picture for item in lay_out_explanation(e, size).items if not isinstance(item, Line)]
        shown = [picture.size for picture in pictures if picture.height > 20]
        assert len(set(shown)) == 1
        assert len(shown) == 3
        assert shown[0][0] / shown[0][1] == pytest.approx(0.6, rel=0.01)
        assert longer is None or shown[0][1] == longer


@pytest.mark.parametrize("preprocess", [cropped, squashed])
@pytest.mark.parametrize("size", [(180, 300), (900, 300)])
def test_what_is_hidden_is_hidden_on_the_photo(preprocess, size):
    photo = portrait(*size)
    e = explain(classifier(preprocess), photo)
    hidden = hide(e, e.plain, 0.2)
    sheet = lay_out_hidden(e, hidden, hide(e, e.saliency, 0.2), max(size))
    first, second, _ = (item.picture for item in sheet.items if not isinstance(item, Line))
    assert first.size == second.size == size
    # The mean colour of this classifier is black, which is nowhere in the photo.
    gone = (np.asarray(second) == 0).all(2)
    seen = e.placement.seen().numpy()
    assert not gone[~seen].any()
    assert gone[seen].mean() == pytest.approx(float(hidden.mask.float().mean()), abs=0.01)
    assert e.on_photo(hidden.mask.float()).numpy()[gone].min() > 0
    assert (np.asarray(second)[seen & ~gone] == np.asarray(photo)[seen & ~gone]).all()
    said = [item.text for item in sheet.items if isinstance(item, Line)]
    assert ("hatched: not seen" in " ".join(said)) == (not seen.all())


def test_what_is_hidden_is_shown_on_the_input_where_the_photo_is_not_known():
    e = explain(classifier(lambda photo: squashed(photo.transpose(Image.Transpose.ROTATE_90))), portrait())
    hidden = hide(e, e.plain, 0.2)
    sheet = lay_out_hidden(e, hidden, hidden, 64)
    first, second, _ = (item.picture for item in sheet.items if not isinstance(item, Line))
    assert first.size == second.size == (64, 64)
    assert ((np.asarray(second) == 0).all(2) == hidden.mask.numpy()).all()
    assert "as the model saw" in " ".join(item.text for item in sheet.items if isinstance(item, Line))


def test_a_panorama_stands_in_a_column_and_fills_its_width():
    e = explain(classifier(squashed), portrait(900, 300))
    figure = e.figure()
    assert figure.height > figure.width
    assert "hatched" not in " ".join(words(e))


def test_the_unseen_is_hatched_and_said_to_be():
    e = explain(classifier(cropped), portrait())
    assert "hatched: not seen by the model" in words(e)
    over = np.asarray(e.overlay()).astype(int)
    # Pale grey, with lines: brighter than the muted photo beside it.
    assert over[:40].mean() > over[100:110, 20:160].mean() + 40
    assert over[:40].std() > 5


def test_without_a_photo_or_a_placement_the_input_is_shown():
    of_tensor = explain(classifier(squashed), squashed(portrait()))
    assert of_tensor.photo().size == of_tensor.overlay().size == (64, 64)
    with pytest.raises(FinercamError, match="a tensor was explained"):
        of_tensor.on_photo()
    turned = explain(classifier(lambda photo: squashed(photo.rotate(90))), portrait())
    assert "Photo, as the model saw it" in words(turned)
    assert turned.overlay().size == (64, 64)
    with pytest.raises(FinercamError, match="more than resize, crop and pad"):
        turned.on_photo()


def test_a_photo_that_is_gone_does_not_stop_the_picture(tmp_path):
    file = tmp_path / "a.png"
    portrait().save(file)
    e = explain(classifier(squashed), file)
    file.unlink()
    assert e.figure().size


def test_a_kept_explanation_brings_its_photo_along(tmp_path):
    file = tmp_path / "a.png"
    portrait().save(file)
    kept = explain(classifier(cropped), file, keep=True)
    loaded = finercam.Explanation.load(kept.save(tmp_path / "kept.safetensors"))
    file.unlink()
    assert loaded.photo().size == (180, 300)
    torch.testing.assert_close(loaded.on_photo(), kept.on_photo(), equal_nan=True)
    assert loaded.again(gamma=2.0).figure().size
    large = explain(classifier(squashed), portrait(900, 3000), keep=True)
    loaded = finercam.Explanation.load(large.save(tmp_path / "large.safetensors"))
    assert loaded.on_photo().shape == (3000, 900)
    assert loaded.photo().size == (307, 1024)
    assert loaded.figure().size == large.figure().size


def test_a_large_jpeg_is_not_decoded_in_full_for_a_small_picture(tmp_path):
    file = tmp_path / "a.jpg"
    portrait(1600, 2400).save(file)
    original = explain(classifier(squashed), file).original
    assert original.size == (1600, 2400)
    assert original.open(500).size == (400, 600)


def test_both_maps_have_one_scale_unless_asked_otherwise():
    e = explain(classifier(squashed), portrait(), gamma=0.9)
    plain, finer = float(e.plain.max()), float(e.saliency.max())
    assert finer < 0.9 * plain
    common, own = words(e), words(e, scale="own")
    assert common.count(f"{plain:.3g}") == 2
    assert own.count(f"{plain:.3g}") == own.count(f"{finer:.3g}") == 1
    for lines in (common, own):
        assert f"peak {plain:.3g}" in lines
        assert f"peak {finer:.3g}" in lines
    with pytest.raises(FinercamError, match="scale is 'comon'; did you mean 'common'"):
        e.figure(scale="comon")
    with pytest.raises(FinercamError, match="the size of a picture is 5"):
        e.figure(size=5)


def test_captions_say_what_was_asked():
    model = classifier(squashed)
    first, second = SPECIES[:2]

    def said(**options):
        return " ".join(words(explain(model, portrait(), first, against=[second], **options))).replace("\xa0", " ")

    asked = said()
    assert f"why {first} " in asked
    assert f"and not {second} " in asked
    plain = said(gamma=0)
    assert "Finer" not in plain
    assert second not in plain
    assert plain.count("Grad-CAM") == 1
    reverse = said(reverse=True)
    assert f"why {second} " in reverse
    assert f"and not {first} " in reverse
    assert f"and not {second} " not in reverse
    alone = said(reverse=True, gamma=0)
    assert f"why {second} " in alone
    assert "and not" not in alone


def test_sentences_name_five_references_and_count_the_rest():
    contrast = finercam.Contrast(references=20)
    assert contrast.sentence(0, range(1, 21), None) == (
        "class 0, against class 1, class 2, class 3, class 4, class 5, and 15 more, gamma 0.6"
    )
    assert finercam.Contrast(reverse=True, gamma=0).sentence(0, [1, 2], None) == "class 1, class 2, alone, reversed"
    assert finercam.Contrast(gamma=0).sentence(0, [1, 2], None) == "class 0, alone"


@pytest.mark.parametrize(
    "name",
    [
        "Agelaius phoeniceus\n(Red-winged Blackbird)",
        "红翅黑鹂",
        "x" * 5000,
        "a long name " * 60,
        "\x1b[31mred\x07 $x^2$ العربية",
        "",
    ],
)
def test_any_name_can_be_drawn_and_keeps_its_probability(name, tmp_path):
    model = classifier(squashed)
    e = explain(replace(model, labels=Labels([name, *SPECIES[1:]])), portrait(), 0)
    lines = words(e)
    assert sum("%" in line for line in lines) >= 3
    widths = {picture.width for picture in [e.figure()]}
    assert max(widths) < 1500
    for suffix in (".png", ".pdf", ".svg"):
        assert e.save(tmp_path / f"a{suffix}").stat().st_size > 1000


def test_a_model_folder_is_shown_by_its_last_part(tmp_path, monkeypatch):
    (tmp_path / "deep" / "birds").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert model_name(str(tmp_path / "deep" / "birds")) == model_name("deep/birds") == "birds"
    assert model_name("/gone/deep/birds/") == model_name("./birds") == "birds"
    assert model_name("timm/local-dir:/gone/deep/birds") == model_name("open_clip/local-dir:birds") == "birds"
    assert model_name("timm/resnet50.a1_in1k") == "timm/resnet50.a1_in1k"
    assert model_name("") == ""


def test_files_say_where_they_come_from(tmp_path):
    e = explain(classifier(squashed), portrait())
    files = {suffix: e.save(tmp_path / f"a.{suffix}", dpi=200) for suffix in ("png", "jpg", "webp", "pdf", "svg")}
    text = Image.open(files["png"]).text
    assert text["Title"] == str(e)
    assert text["Software"] == f"finercam {finercam.__version__}"
    assert json.loads(text["finercam"]) == json.loads(json.dumps(e.record()))
    assert Image.open(files["png"]).info["dpi"][0] == pytest.approx(200, abs=0.1)
    for suffix in ("jpg", "webp"):
        exif = Image.open(files[suffix]).getexif()
        assert exif[0x0131] == f"finercam {finercam.__version__}"
        assert json.loads(exif[0x010E])["question"] == str(e)
    assert str(e).encode() in files["svg"].read_bytes()
    assert files["pdf"].read_bytes().startswith(b"%PDF")
    assert b"finercam" in files["pdf"].read_bytes()
    again = e.save(tmp_path / "b.pdf", dpi=200)
    assert again.read_bytes() == files["pdf"].read_bytes()


def test_options_of_a_format_are_checked(tmp_path):
    e = explain(classifier(squashed), portrait())
    with pytest.raises(FinercamError, match=r"save\(\) has no option 'sizes'; did you mean 'size'"):
        e.save(tmp_path / "a.png", sizes=3)
    with pytest.raises(FinercamError, match="has no option 'size'"):
        e.save(tmp_path / "a.safetensors", size=300)
    with pytest.raises(FinercamError, match="dpi is 0"):
        e.save(tmp_path / "a.png", dpi=0)
    assert not list(tmp_path.iterdir())
    small, large = (Image.open(e.save(tmp_path / f"{size}.png", size=size)) for size in (200, 800))
    assert large.height > 3 * small.height / 1.5
    assert Image.open(io.BytesIO(e._repr_png_())).size == e.figure().size
