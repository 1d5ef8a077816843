"""Pixels: the photo as seen, the overlay, the panels."""

import numpy as np
import torch
from PIL import Image

from finercam.report import fonts
from finercam.report.panels import Panel, draw_panels
from finercam.report.render import as_seen, overlay


def test_normalisation_is_taken_back():
    pixels = torch.rand(3, 5, 7)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    normalised = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    seen = np.asarray(as_seen(normalised, mean, std))
    assert np.abs(seen - pixels.permute(1, 2, 0).numpy() * 255).max() <= 0.51
    assert np.asarray(as_seen(normalised)).max() == 255


def test_heat_is_where_the_saliency_is_and_on_no_side_else():
    photo = Image.new("RGB", (40, 20), (120, 120, 120))
    saliency = torch.zeros(20, 40)
    saliency[2:6, 30:38] = 3.0
    heat = np.asarray(overlay(photo, saliency)).astype(int)
    bare = np.asarray(overlay(photo, torch.zeros(20, 40))).astype(int)
    changed = np.abs(heat - bare).sum(2) > 0
    assert changed[3, 33]
    assert not changed[10:].any()
    assert not changed[:, :20].any()
    assert heat[3, 33, 0] > heat[3, 33, 2]


def test_the_peak_sets_the_scale():
    photo = Image.new("RGB", (8, 8), (90, 90, 90))
    weak = torch.full((8, 8), 0.1)
    own, shared = (np.asarray(overlay(photo, weak, peak)) for peak in (None, 1.0))
    assert int(own[4, 4, 0]) > int(shared[4, 4, 0])


def test_panels_stand_side_by_side_and_long_names_wrap():
    panels = [Panel(Image.new("RGB", (50, 50), colour), "name " * 30, ["line " * 40]) for colour in ("red", "blue")]
    sheet = np.asarray(draw_panels(panels, "title", height=100))
    rows, columns = np.where((sheet == (255, 0, 0)).all(2))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (100, 100)
    assert (sheet == (0, 0, 255)).all(2).sum() == 100 * 100


def test_lines_are_no_wider_than_asked_and_lose_nothing():
    text = "Ramphastos ambiguus (Yellow-throated Toucan) Donaudampfschifffahrtsgesellschaft 93\xa0%"
    lines = fonts.wrapped(text, 14, 120, most=20)
    assert all(fonts.length(line, 14) <= 120 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert lines[-1].endswith("93\xa0%")
    assert fonts.wrapped("short", 14, 120) == ["short"]
    assert fonts.wrapped("Black-footed Albatross\xa081\xa0%", 14, 90) == ["Black-footed", "Albatross", "81\xa0%"]
    few = fonts.wrapped("name " * 500 + "7\xa0%", 14, 120, most=4)
    assert len(few) == 4
    assert few[-1].startswith("… ")
    assert few[-1].endswith("7\xa0%")
    assert all(fonts.length(line, 14) <= 120 for line in few)


def _font_of(character, file):
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    glyph = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "bird"])
    builder.setupCharacterMap({ord(character): "bird"})
    builder.setupGlyf({".notdef": glyph, "bird": glyph})
    builder.setupHorizontalMetrics({".notdef": (1000, 0), "bird": (1000, 0)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Bird", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(file)


def test_a_character_is_drawn_in_a_font_that_has_it_or_as_its_escape(tmp_path, monkeypatch):
    # Not one that a font of this machine may have.
    character = "\ue5a7"
    monkeypatch.setattr(fonts, "system_fonts", lambda: ("no such file.ttf", str(tmp_path / "bird.ttf")))
    for cached in (fonts._file_with, fonts._characters):
        monkeypatch.setattr(fonts, cached.__name__, cached.__wrapped__)
    _font_of("鸟", tmp_path / "bird.ttf")
    parts = fonts.in_fonts("a 鸟鸟 b")
    assert [(part, "bird" in file) for part, file in parts] == [("a ", False), ("鸟鸟", True), (" b", False)]
    assert fonts.in_fonts("鳥")[0] == ("\\u9ce5", fonts.font_file())
    assert fonts.in_fonts("\x07")[0][0] == "\\x07"
    assert fonts.in_fonts(character)[0][0] == "\\ue5a7"
    assert fonts.undrawable("a鸟鳥鳥\n") == "鳥"


def test_a_number_stands_behind_a_name_that_is_written_from_right_to_left():
    def drawn(text):
        return "".join(part for part, _ in fonts.in_fonts(text))

    mark = "\u200e"
    assert drawn("not שחור 29 %") == f"not שחור{mark} 29 %"
    assert drawn("not שחור קטן 29 %, שחור") == f"not שחור קטן{mark} 29 %, שחור{mark}"
    assert drawn("not Blackbird 29 %") == "not Blackbird 29 %"
    # As wide as the same without the mark, and the number is at the right.
    parts = fonts.length("שחור", 20) + fonts.length(" 29 %", 20)
    assert abs(fonts.length("שחור 29 %", 20) - parts) <= 1.5
    sheet = np.asarray(draw_panels([Panel(Image.new("RGB", (200, 50)), "鸟")], height=50)).mean(2)
    assert (sheet[:40] < 60).sum() > 100
