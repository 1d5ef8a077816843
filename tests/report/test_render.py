"""Pixels: the photo as seen, the overlay, the panels."""

import numpy as np
import torch
from PIL import Image

from finercam.report.panels import Panel, draw_panels, fit
from finercam.report.render import as_seen, font, overlay


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


def test_panels_stand_side_by_side_and_long_names_are_cut():
    panels = [Panel(Image.new("RGB", (50, 50), colour), "name " * 30, ["line " * 40]) for colour in ("red", "blue")]
    sheet = np.asarray(draw_panels(panels, "title", height=100))
    rows, columns = np.where((sheet == (255, 0, 0)).all(2))
    assert (np.ptp(rows) + 1, np.ptp(columns) + 1) == (100, 100)
    assert (sheet == (0, 0, 255)).all(2).sum() == 100 * 100
    assert font(14).getlength(fit("name " * 30, font(14), 100)) <= 100
    assert fit("short", font(14), 100) == "short"
