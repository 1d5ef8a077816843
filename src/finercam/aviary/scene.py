"""A scene without its bird: background, distractors, perch, what hides the bird, and how the photo was taken.

A scene is drawn from its own random numbers and never told which bird will sit in it, so it tells nothing about
the species. In the biased variant the kind of background is the one thing that is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from finercam.aviary.anatomy import FORMS, Pose, build, draw_pose
from finercam.aviary.backdrops import BACKDROPS
from finercam.aviary.clutter import CLUTTER
from finercam.aviary.draws import Draws
from finercam.aviary.layers import Layer
from finercam.aviary.palette import rgb
from finercam.aviary.perches import PERCHES, perch
from finercam.aviary.props import AUTUMN, GREENS, Light, distractor, grass, leaf, twig
from finercam.aviary.shapes import Picture, lay_picture, upright
from finercam.aviary.species import PARTS
from finercam.aviary.textures import grain, sheet

BACKGROUNDS = tuple(BACKDROPS)
"""The kinds of background, each as likely."""

_THINGS = {
    "sky": ("butterfly", "leaf", "berries", "butterfly"),
    "foliage": ("berries", "flower", "butterfly", "flower", "leaf"),
    "water": ("leaf", "ball", "ball", "butterfly"),
    "sand": ("ball", "leaf", "butterfly", "ball"),
}

_DISC = np.array([(x, y) for x in range(-2, 3) for y in range(-2, 3) if abs(x) + abs(y) < 4], np.float64)


@dataclass(frozen=True)
class Photo:
    """How the picture was taken."""

    gains: tuple[float, float, float]
    contrast: float
    slope: tuple[float, float]  # light across the picture, per half of it
    blur: float  # 0..0.25, the weight of each neighbour in one pass
    passes: int  # of blur; each reaches one pixel further
    noise: float
    noise_at: tuple[float, float]


@dataclass(frozen=True)
class Scene:
    """Everything but the bird. ``behind`` is (3, size, size); ``front`` is laid over the bird."""

    size: int
    background: str
    perch: str
    pose: Pose
    light: Light
    behind: Picture
    front: list[Layer]
    photo: Photo


def _light(draws: Draws) -> Light:
    angle, high = draws.between(-1.15, 1.15), draws.between(0.55, 0.95)
    x, y = math.sin(angle), -math.cos(angle)
    norm = math.sqrt(x * x + y * y + high * high)
    return x / norm, y / norm, high / norm


def _draw_photo(draws: Draws, size: int) -> Photo:
    bright, warm, tint = draws.around(1.03, 0.20), draws.around(0, 0.07), draws.around(0, 0.025)
    passes = draws.pick((0, 0, 1, 1, 2))
    return Photo(
        gains=(bright * (1 + warm), bright * (1 + tint), bright * (1 - warm)),
        contrast=draws.around(1.05, 0.18),
        slope=(draws.around(0, 0.12), draws.around(0, 0.12)),
        blur=draws.between(0.05, 0.25),
        passes=round(passes * (size / 128) ** 2),
        noise=draws.between(0.0, 0.018),
        noise_at=draws.point(),
    )


def _in_front(draws: Draws, pose: Pose, light: Light, size: int) -> list[Layer]:
    """Draw up to six things before the bird; leave out those that would hide a place where look-alikes differ."""
    px = size / 128
    count = draws.count(0, 6)
    if not count:
        return []
    rows, columns = _key_pixels(pose, light, size)
    hidden = np.zeros((size, size), np.float32)
    kept: list[Layer] = []
    for _ in range(count):
        kind, colours = draws.pick(("twig", "leaf", "grass")), GREENS if draws.chance(0.75) else AUTUMN
        x, y, angle = (64 + draws.around(0, 60)) * px, (66 + draws.around(0, 60)) * px, draws.between(0, 2 * math.pi)
        long = draws.between(26, 60) * px
        if kind == "twig":
            things = twig(draws, (x, y), angle, 1.5 * long, draws.between(0.8, 1.8) * px, light, size, 3, colours)
        elif kind == "leaf":
            frame = upright(x, y, 0.6 * long, angle)
            things = leaf(frame, rgb(draws.pick(colours)), light, size, draws.between(0.2, 0.3), draws.between(1.2, 3))
        else:
            things = grass(draws, x, size, light, draws.between(0.25, 0.6), colours)
        more = hidden.copy()
        for layer in things:
            if not layer.window.empty:
                under = more[layer.window.slices]
                under += layer.alpha * (1.0 - under)
        if more[rows, columns].mean(axis=1).max() <= 0.34:
            hidden, kept = more, kept + [layer for layer in things if not layer.window.empty]
    return kept


def _key_pixels(
    pose: Pose, light: Light, size: int
) -> tuple[Int64[np.ndarray, "places 21"], Int64[np.ndarray, "places 21"]]:
    """Return rows and columns of a disc of pixels around each place where look-alikes of any family differ."""
    points = []
    for form in FORMS.values():
        bird = build(form, pose, light, size)
        r, b = form.head, form.breast
        points += [bird.head.pixel(u * r, v * r) for u, v in ((0.36, -0.16), (0.5, 0.6), (-0.1, -0.9), (-0.3, -1.7))]
        points += [bird.head.pixel(r + 0.5 * form.beak, 0.0)]
        points += [bird.body.pixel(0.35 * b, 0.35 * b), bird.body.pixel(0.7 * b, 0.3 * b)]
        points += [bird.wing.pixel(0.4 * form.wing, 0.0), bird.tail.pixel(0.75 * form.tail, 0.0)]
        points += [bird.ground.pixel(0.0, -0.4 * form.leg)]
    at = np.array(points)[:, :, None] + _DISC.T * (2.2 * size / 128)
    at = np.clip(at, 0, size - 1).astype(np.int64)
    return at[:, 1], at[:, 0]


def draw_scene(split: str, index: int, seed: int, size: int, kind: str) -> Scene:
    """Draw the scene of one sample before a ``kind`` of background."""
    pose = draw_pose(Draws(split, index, seed, "pose"), len(PARTS))
    draws = Draws(split, index, seed, "scene")
    light, px = _light(draws), size / 128
    photo = _draw_photo(draws, size)
    behind = BACKDROPS[kind](Draws(split, index, seed, "backdrop"), size)
    _lay_all(behind, CLUTTER[kind](Draws(split, index, seed, "clutter"), size, light))
    for _ in range(draws.count(1, 5)):
        _lay_all(behind, distractor(draws, _THINGS[kind], size, light))
    foot = pose.foot[0] * px, pose.foot[1] * px
    on = draws.pick(PERCHES[kind])
    _lay_all(behind, perch(draws, on, foot, light, size))
    front = _in_front(Draws(split, index, seed, "front"), pose, light, size)
    return Scene(size, kind, on, pose, light, behind, front, photo)


def _lay_all(picture: Picture, layers: list[Layer]) -> None:
    for layer in layers:
        lay_picture(picture, layer.window, layer.alpha, layer.paint)


def hidden_by(front: list[Layer], size: int) -> Float32[np.ndarray, "size size"]:
    """Return how much of each pixel is hidden by what is in front, 0..1."""
    out = np.zeros((size, size), np.float32)
    for layer in front:
        under = out[layer.window.slices]
        under += layer.alpha * (1.0 - under)
    return out


def develop(picture: Picture, scene: Scene) -> UInt8[np.ndarray, "size size 3"]:
    """Lay what is in front over the picture, in place, and take the photo.

    Every step but the blur works on one pixel at a time; the blur reaches ``photo.passes`` pixels (a square).
    """
    _lay_all(picture, scene.front)
    photo, size = scene.photo, scene.size
    for _ in range(photo.passes):
        picture = _blur(picture, photo.blur)
    line = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    slope = (line * photo.slope[0])[None, :] + (line * photo.slope[1])[:, None]
    slope += 1.0
    gains = np.array(photo.gains, np.float32)[:, None, None] * np.float32(photo.contrast)
    picture = picture * (gains * slope)
    picture += 0.5 * (1.0 - photo.contrast)
    picture += photo.noise * sheet(grain(1), size, photo.noise_at, (size / 128, size / 128))
    np.clip(picture, 0.0, 1.0, out=picture)
    picture *= 255.0
    picture += 0.5
    return np.ascontiguousarray(picture.transpose(1, 2, 0).astype(np.uint8))


def _blur(picture: Picture, w: float) -> Picture:
    """Average each pixel with its neighbours, weights ``w, 1 - 2w, w`` along both axes; edges repeat."""
    out = picture * np.float32(1 - 2 * w)
    side = picture * np.float32(w)
    out[:, 1:] += side[:, :-1]
    out[:, :-1] += side[:, 1:]
    out[:, 0] += side[:, 0]
    out[:, -1] += side[:, -1]
    side = out * np.float32(w)
    out *= np.float32(1 - 2 * w)
    out[:, :, 1:] += side[:, :, :-1]
    out[:, :, :-1] += side[:, :, 1:]
    out[:, :, 0] += side[:, :, 0]
    out[:, :, -1] += side[:, :, -1]
    return out
