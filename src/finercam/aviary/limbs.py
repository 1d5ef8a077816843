"""The parts with a form of their own: tail, legs, wing, crest, bill and eye."""

from __future__ import annotations

import math

import numpy as np

from finercam.aviary.anatomy import Anatomy
from finercam.aviary.layers import Layer, lit, tinted
from finercam.aviary.palette import COLOURS, times
from finercam.aviary.shapes import (
    Plane,
    blade,
    circle,
    cover,
    relief,
    round_cone,
    segment,
    smooth,
    upright,
    window_around,
)
from finercam.aviary.species import Species
from finercam.aviary.textures import cloth, tile


def _fringe(x: Plane, n: float) -> Plane:
    """Return a tone of ``n`` feathers per unit of ``x``: each a little lighter on one side, with a dark seam."""
    t = x * n
    t -= np.floor(t)
    return 0.80 + 0.34 * t - 0.42 * t**6


def tail(bird: Anatomy, species: Species) -> list[Layer]:
    """Draw the tail: feathers side by side, ended by its form."""
    length, width, form = bird.form.tail, bird.form.tail_width, species.attributes["tail_form"]
    window = bird.tail.window(-0.1, 1.25 * length, -2.6 * width, 2.6 * width, bird.size)
    u, v = bird.tail.local(window)
    t = np.clip(u * (1 / length), 0.0, 1.3)
    if form == "forked":
        half = width * (0.55 + 0.75 * t)
        side = np.abs(v) / half
        end = length * (0.62 + 0.50 * side)
    elif form == "fan":
        half = width * (0.55 + 1.75 * t)
        side = np.abs(v) / half
        end = length * (0.92 - 0.22 * side * side)
    elif form == "lance":
        half = width * (0.80 - 0.42 * t)
        side = np.abs(v) / half
        end = length * (1.22 - 0.55 * side)
    else:
        half = width * (0.70 + 0.40 * t)
        side = np.abs(v) / half
        end = length * (0.90 - 0.05 * side)
    d = np.maximum((side - 1.0) * half * 0.95, (u - end) * 0.85)
    d = np.maximum(d, -u - 0.08)
    scale = bird.tail.scale
    alpha = cover(d, scale)
    light = relief(d * scale, 0.06 * scale, bird.light) * 0.75
    tone = _fringe(v / half + 2.0, 2.5) * (0.92 + 0.16 * smooth(t, 0.9, 0.2))
    colour = tinted(bird, "tail", species.attributes["tail_colour"])
    return [Layer("tail", window, alpha, lit(colour, light, tone))]


def legs(bird: Anatomy, species: Species) -> list[Layer]:
    """Draw the far and the near leg, each from the belly to toes that hold what the bird stands on."""
    form, pose, unit = bird.form, bird.pose, bird.ground.scale
    colour = tinted(bird, "legs", species.attributes["leg_colour"])
    layers = []
    width = max(form.leg_width * unit, 0.95 * bird.px)
    for shift, dim in ((pose.steps[1] - 0.02, 0.72), (-pose.steps[0], 1.0)):
        foot = bird.ground.pixel(shift, -0.012)
        hip = bird.ground.pixel(shift * 0.6 - 0.01, -form.leg - 0.10)
        knee = bird.ground.pixel(shift - 0.035, -0.52 * form.leg - 0.04)
        toes = [bird.ground.pixel(shift + dx, dy) for dx, dy in ((0.085, 0.012), (0.06, 0.03), (-0.055, 0.018))]
        window = window_around([foot, hip, knee, *toes], width + 1.5, bird.size)
        strokes = [(hip, knee, 1.0), (knee, foot, 1.0), *[(foot, toe, 0.9) for toe in toes]]
        d: Plane | None = None
        for (x0, y0), (x1, y1), thick in strokes:
            u, v = upright(x0, y0, 1.0).local(window)
            stroke = segment(u, v, x1 - x0, y1 - y0, width * thick)
            d = stroke if d is None else np.minimum(d, stroke)
        assert d is not None
        light = relief(d, 2.0 * width, bird.light)
        layers.append(Layer("legs", window, cover(d, 1.0), lit(times(colour, dim), light)))
    return layers


def wing(bird: Anatomy, species: Species) -> list[Layer]:
    """Draw the folded wing: scalloped coverts in front, long flight feathers behind."""
    length, width, scale = bird.form.wing, bird.form.wing_width, bird.wing.scale
    window = bird.wing.window(-0.02, length + 0.03, -1.3 * width, 1.5 * width, bird.size, margin=5 * bird.px)
    u, v = bird.wing.local(window)
    d, across = _wing_form(u, v, length, width)
    alpha = cover(d, scale)
    t = u * (1 / length)
    flight = smooth(t + 0.10 * across, 0.34, 0.42)
    feathers = _fringe(across * 0.5 + 3.0 + 0.12 * t, 7.0)
    rows = np.sin(t * (2 * math.pi / 0.105)) * np.cos(across * 9.0 + math.pi * np.floor(t / 0.105))
    coverts = 1.10 + 0.10 * rows
    fluff = cloth(tile(64, 2), u, v, (80.0, 300.0), bird.pose.cloth)
    tone = coverts + flight * (feathers - coverts)
    tone *= 1.0 + 0.05 * fluff
    light = relief(d * scale, 0.75 * width * scale, bird.light)
    colour = tinted(bird, "wing", species.attributes["wing_colour"])
    shadow = (1.0 - smooth(d, -0.01, 0.035)) * (0.42 * (1.0 - alpha))
    dark = np.zeros((3, *d.shape), np.float32)
    return [Layer(None, window, shadow, dark), Layer("wing", window, alpha, lit(colour, light, tone))]


def _wing_form(u: Plane, v: Plane, length: float, width: float) -> tuple[Plane, Plane]:
    """Return the wing's distance and the place across it, -1 at its upper and 1 at its lower edge."""
    t = np.clip(u * (1 / length), 0.0, 1.0)
    bent = v + (0.10 * length) * (t - t * t) - 0.25 * width
    tip = 0.016
    d = round_cone(u - 0.9 * width, bent, length - 0.9 * width - tip, width, tip)
    half = width * (1.0 - t) + tip * t + 0.02
    return d, np.clip(bent / half, -1.3, 1.3)


def wing_bar(bird: Anatomy, species: Species) -> list[Layer]:
    """Draw the bar across the wing, where the coverts end."""
    name = species.attributes["wing_bar"]
    if name == "none":
        return []
    length, width, scale = bird.form.wing, bird.form.wing_width, bird.wing.scale
    window = bird.wing.window(0.15 * length, 0.65 * length, -1.3 * width, 1.5 * width, bird.size)
    u, v = bird.wing.local(window)
    d, across = _wing_form(u, v, length, width)
    t = u * (1 / length)
    middle = 0.40 - 0.07 * across + 0.012 * np.abs(np.sin(across * 7.0))
    bar = np.maximum((np.abs(t - middle) - 0.066) * length, d + 0.006)
    light = relief(d * scale, 0.75 * width * scale, bird.light)
    colour = tinted(bird, "wing_bar", name)
    return [
        Layer("wing_bar", window, cover(bar, scale), lit(colour, light, 0.86 + 0.16 * np.abs(np.sin(across * 7.0))))
    ]


def crest(bird: Anatomy, species: Species) -> list[Layer]:
    """Draw the feathers that stand on the crown."""
    form, r, scale = species.attributes["crest_form"], bird.form.head * bird.pose.big_head, bird.head.scale
    if form == "none":
        return []
    window = bird.head.window(-2.5 * r, 1.0 * r, -2.4 * r, 0.4 * r, bird.size)
    # (root along, root across, angle from the bill's direction, length, half-width), in head radii.
    feathers = {
        "spire": [(-0.10, -0.58, 2.25, 1.60, 0.40)],
        "fan": [
            (0.25, -0.60, 1.15, 1.05, 0.22),
            (0.12, -0.62, 1.50, 1.25, 0.22),
            (0.0, -0.60, 1.85, 1.30, 0.22),
            (-0.15, -0.55, 2.20, 1.25, 0.22),
            (-0.30, -0.45, 2.55, 1.10, 0.22),
        ],
        "plume": [(-0.25, -0.58, 3.00, 1.80, 0.24), (-0.45, -0.36, 3.25, 1.45, 0.22)],
    }[form]
    d: Plane | None = None
    tips: Plane | None = None
    for along, across, angle, length, half in feathers:
        u, v = bird.head.child(along * r, across * r, -angle).local(window)
        v = v - {"spire": 0.22, "fan": 0.13, "plume": 0.30}[form] * u * u / r
        if form == "fan":
            feather = blade(u, v, length * r, half * r, 0.55)
        else:
            feather = round_cone(u, v, length * r, half * r, 0.02 * r)
        if d is None or tips is None:
            d, tips = feather, u * (1 / (length * r))
        else:
            tips = np.where(feather < d, u * (1 / (length * r)), tips)
            d = np.minimum(d, feather)
    assert d is not None
    assert tips is not None
    light = relief(d * scale, 0.25 * r * scale, bird.light)
    colour = tinted(bird, "crown", species.attributes["crown_colour"])
    paint = lit(colour, light, 0.88 + 0.22 * np.clip(tips, 0.0, 1.0))
    if form == "fan":
        ink = np.array(COLOURS["black"], np.float32)[:, None, None]
        paint += smooth(tips, 0.72, 0.80) * (ink - paint)
    return [Layer("crest", window, cover(d, scale), paint)]


def beak(bird: Anatomy, species: Species) -> list[Layer]:
    """Draw the bill: two mandibles that meet in a dark line."""
    form, r, scale = bird.form, bird.form.head * bird.pose.big_head, bird.head.scale
    length, deep = form.beak, form.beak_deep
    frame = bird.head.child(0.86 * r, 0.06 * r)
    window = frame.window(-0.12, length + 0.02, -1.4 * deep, 1.6 * deep + form.beak_curve * length, bird.size)
    u, v = frame.local(window)
    t = np.clip(u * (1 / length), 0.0, 1.0)
    bent = v - form.beak_curve * length * t * t
    half = deep * (1.0 - t**form.beak_power) + 0.004
    # Rounded where it comes out of the plumage.
    root = np.clip(u * (-1 / (0.32 * r)), 0.0, 1.0)
    half *= 1.0 - root * root
    d = np.maximum((np.abs(bent) - half) * 0.93, np.maximum(u - length, -u - 0.32 * r))
    light = relief(d * scale, deep * scale, bird.light)
    gape = 1.0 - 0.55 * cover(np.abs(bent - 0.12 * deep), scale, 1.3)
    gloss = 1.0 + 0.25 * smooth(bent * (1 / deep), 0.0, -0.45)
    colour = tinted(bird, "beak", species.attributes["beak_colour"])
    return [Layer("beak", window, cover(d, scale), lit(colour, light, gape * gloss))]


def _eye_frame(bird: Anatomy) -> tuple[float, float, float]:
    r = bird.form.head * bird.pose.big_head
    return 0.36 * r, -0.16 * r, bird.form.eye


def eye_ring(bird: Anatomy, species: Species) -> list[Layer]:
    """Draw the ring of pale or bright skin around the eye."""
    name = species.attributes["eye_ring"]
    if name == "none":
        return []
    along, across, r = _eye_frame(bird)
    ring = 1.8 * r
    frame = bird.head.child(along, across)
    window = frame.window(-ring, ring, -ring, ring, bird.size)
    u, v = frame.local(window)
    d = circle(u, v, ring)
    light = np.full_like(d, 0.85)
    return [Layer("eye_ring", window, cover(d, frame.scale), lit(tinted(bird, "eye_ring", name), light))]


def eye(bird: Anatomy, species: Species) -> list[Layer]:
    """Draw the eye: a dark iris, a darker pupil, the light's reflection."""
    along, across, r = _eye_frame(bird)
    frame = bird.head.child(along, across)
    window = frame.window(-1.4 * r, 1.4 * r, -1.4 * r, 1.4 * r, bird.size)
    u, v = frame.local(window)
    d = circle(u, v, r)
    scale = frame.scale
    x, y = frame.pixel(0.0, 0.0)
    px, py = upright(x + bird.light[0] * 0.45 * r * scale, y + bird.light[1] * 0.45 * r * scale, scale).local(window)
    glint = cover(circle(px, py, 0.30 * r), scale)
    iris = np.array((0.20, 0.11, 0.07), np.float32)[:, None, None]
    paint = iris * (1.0 - 0.85 * cover(circle(u, v, 0.66 * r), scale))
    paint += glint * (0.97 - paint)
    return [Layer("eye", window, cover(d, scale), paint)]
