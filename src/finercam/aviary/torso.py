"""The torso (body and head in one form) and the regions of plumage on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from finercam.aviary.anatomy import Anatomy
from finercam.aviary.layers import Layer, lit, tinted
from finercam.aviary.palette import COLOURS, mix
from finercam.aviary.shapes import (
    Frame,
    Plane,
    Window,
    circle,
    cover,
    ellipse,
    melt,
    relief,
    round_cone,
    window_around,
)
from finercam.aviary.species import Species
from finercam.aviary.textures import cloth, tile


@dataclass(frozen=True)
class Torso:
    """The torso's coverage, light and plumage over its window: every region on it is cut from these."""

    window: Window
    alpha: Plane
    light: Plane
    plumage: Plane  # a tone around 1
    fluff: Plane  # noise in -1..1, which roughens the borders of regions


def build_torso(bird: Anatomy) -> Torso:
    """Draw the torso's form."""
    form, pose = bird.form, bird.pose
    breast, rump, head = form.breast * pose.plump, form.rump * pose.plump, form.head * pose.big_head
    unit = bird.ground.scale
    reach = 1.05 * breast
    points = []
    for frame, at, r in ((bird.body, 0.0, reach), (bird.body, -form.body, rump), (bird.head, 0.0, head)):
        x, y = frame.pixel(at, 0.0)
        points += [(x - r * unit, y - r * unit), (x + r * unit, y + r * unit)]
    window = window_around(points, 2.0, bird.size)
    u, v = bird.body.local(window)
    hu, hv = bird.head.local(window)
    fluff = cloth(tile(64, 2), u, v, (90.0, 260.0), pose.cloth)
    # A bird's back is flatter than its belly: the axis sags behind the breast.
    sag = v + 0.55 * u * (u + form.body)
    d = melt(round_cone(-u, sag, form.body, breast, rump), ellipse(hu, hv, 1.03 * head, 0.97 * head), form.fill)
    d += 0.0035 * fluff
    light = relief(d * unit, 0.8 * breast * unit, bird.light)
    plumage = 1.0 + 0.075 * fluff
    return Torso(window, cover(d, unit), light, plumage, fluff)


def _region(
    bird: Anatomy, torso: Torso, frame: Frame, box: tuple[float, float, float, float]
) -> tuple[Window, tuple[slice, slice], Plane, Plane]:
    """Cut a local box (u0, u1, v0, v1) out of the torso's window: the window, where it lies, local u and v."""
    near = frame.window(*box, size=bird.size)
    w = torso.window
    top, left = min(max(near.top, w.top), w.bottom), min(max(near.left, w.left), w.right)
    window = Window(top, max(top, min(near.bottom, w.bottom)), left, max(left, min(near.right, w.right)))
    inside = slice(window.top - w.top, window.bottom - w.top), slice(window.left - w.left, window.right - w.left)
    u, v = frame.local(window)
    return window, inside, u, v


def _patch(
    bird: Anatomy,
    torso: Torso,
    part: str,
    colour: str,
    cut: tuple[Window, tuple[slice, slice], Plane, Plane],
    d: Plane,
    rough: float = 0.012,
    soft: float = 1.6,
    tone: Plane | None = None,
) -> Layer:
    """Cover a region of the torso (negative ``d``, local units) with a colour; its border is feathered."""
    window, inside, _, _ = cut
    alpha = cover(d + rough * torso.fluff[inside], bird.ground.scale, soft) * torso.alpha[inside]
    plumage = torso.plumage[inside] if tone is None else torso.plumage[inside] * tone
    return Layer(part, window, alpha, lit(tinted(bird, part, colour), torso.light[inside], plumage))


def body(bird: Anatomy, torso: Torso, species: Species) -> list[Layer]:
    """Draw the whole torso in the colour of the back."""
    paint = lit(tinted(bird, "body", species.attributes["back_colour"]), torso.light, torso.plumage)
    return [Layer("body", torso.window, torso.alpha, paint)]


def belly(bird: Anatomy, torso: Torso, species: Species) -> list[Layer]:
    """Draw the underside, from the legs to the tail's root."""
    r, length = bird.form.breast * bird.pose.plump, bird.form.body
    cut = _region(bird, torso, bird.body, (-length - 0.15, 1.7 * r, -0.12, 1.5 * r))
    _, _, u, v = cut
    d = 0.28 * r - v - 0.18 * u - 0.25 * u * u
    return [_patch(bird, torso, "belly", species.attributes["belly_colour"], cut, d)]


def breast(bird: Anatomy, torso: Torso, species: Species) -> list[Layer]:
    """Draw the breast and its pattern."""
    r = bird.form.breast * bird.pose.plump
    cut = _region(bird, torso, bird.body, (-0.9 * r, 1.4 * r, -0.95 * r, 1.35 * r))
    window, inside, u, v = cut
    d = ellipse(u - 0.36 * r, v - 0.34 * r, 0.96 * r, 1.00 * r)
    colour, pattern = species.attributes["breast_colour"], species.attributes["breast_pattern"]
    base = _patch(bird, torso, "breast", colour, cut, d)
    if pattern == "plain":
        return [base]
    ink = mix(COLOURS["black"], COLOURS["brown"], 0.25)
    if pattern == "banded":
        across = np.abs(u - 0.26 * r - 0.10 * v) - 0.19 * r
        marks = cover(across + 0.010 * torso.fluff[inside], bird.ground.scale, 1.3)
    else:
        marks = _marks(u, v, r, pattern, bird.ground.scale)
    marks *= base.alpha
    return [base, Layer("breast", window, marks, lit(ink, torso.light[inside], torso.plumage[inside]))]


def _marks(u: Plane, v: Plane, r: float, pattern: str, scale: float) -> Plane:
    """Return the coverage of rows of spots or streaks, every second row shifted by half a step."""
    if pattern == "spotted":
        along, across = 0.30 * r, 0.27 * r
    else:
        # Streaks follow the feathers, from the throat down to the belly.
        u, v, along, across = 0.94 * v - 0.34 * u, 0.94 * u + 0.34 * v, 0.52 * r, 0.22 * r
    row = u * (1 / along)
    shift = np.floor(row)
    column = v * (1 / across) + 0.5 * (shift % 2)
    du = (row - shift - 0.5) * along
    dv = (column - np.floor(column) - 0.5) * across
    if pattern == "spotted":
        return cover(circle(du, dv * 1.15, 0.088 * r), scale)
    return cover(ellipse(du, dv, 0.25 * r, 0.055 * r), scale)


def head(bird: Anatomy, torso: Torso, species: Species) -> list[Layer]:
    """Draw the head's plumage down to the neck."""
    r = bird.form.head * bird.pose.big_head
    cut = _region(bird, torso, bird.head, (-1.3 * r, 1.3 * r, -1.3 * r, 1.3 * r))
    _, _, u, v = cut
    d = ellipse(u + 0.03 * r, v - 0.02 * r, 1.12 * r, 1.05 * r)
    return [_patch(bird, torso, "head", species.attributes["head_colour"], cut, d)]


def crown(bird: Anatomy, torso: Torso, species: Species) -> list[Layer]:
    """Draw the cap, from the bill's root over the head to the nape."""
    r = bird.form.head * bird.pose.big_head
    cut = _region(bird, torso, bird.head, (-1.25 * r, 1.2 * r, -1.25 * r, 0.1 * r))
    _, _, u, v = cut
    d = np.maximum(v + 0.36 * r + 0.16 * u, ellipse(u, v, 1.2 * r, 1.15 * r))
    return [_patch(bird, torso, "crown", species.attributes["crown_colour"], cut, d, rough=0.008)]


def eye_line(bird: Anatomy, torso: Torso, species: Species) -> list[Layer]:
    """Draw the stripe from the bill through the eye."""
    if species.attributes["eye_line"] == "none":
        return []
    r = bird.form.head * bird.pose.big_head
    cut = _region(bird, torso, bird.head, (-1.1 * r, 1.2 * r, -0.5 * r, 0.4 * r))
    _, _, u, v = cut
    along = u + 0.85 * r
    d = np.abs(v + 0.10 * r + 0.08 * u) - 0.06 * r - 0.05 * along
    d = np.maximum(d, -along)
    return [_patch(bird, torso, "eye_line", species.attributes["eye_line"], cut, d, rough=0.005, soft=1.2)]


def throat(bird: Anatomy, torso: Torso, species: Species) -> list[Layer]:
    """Draw the throat, from the chin onto the upper breast."""
    r = bird.form.head * bird.pose.big_head
    cut = _region(bird, torso, bird.head, (-0.6 * r, 1.2 * r, -0.1 * r, 1.6 * r))
    _, _, u, v = cut
    turn = 0.35
    a, b = u - 0.58 * r, v - 0.64 * r
    along, across = a * math.cos(turn) + b * math.sin(turn), b * math.cos(turn) - a * math.sin(turn)
    d = ellipse(along, across, 0.62 * r, 0.50 * r)
    return [_patch(bird, torso, "throat", species.attributes["throat_colour"], cut, d, rough=0.008, soft=1.3)]
