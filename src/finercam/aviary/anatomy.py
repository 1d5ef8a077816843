"""How a bird is built and how it holds itself: the form of each family, the pose, and the frames of the parts.

Nothing here knows a species. Two birds of one family in one scene have the same anatomy, so a part that both
have in the same form covers the same pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from finercam.aviary.draws import Draws
from finercam.aviary.shapes import Frame, upright


@dataclass(frozen=True)
class Form:
    """Measures of a family, in bird units (the whole bird is about one unit high and wide).

    The body is the hull of a breast circle and a rump circle, melted into the head's circle.
    """

    scale: float = 1.0
    leg: float = 0.13
    leg_width: float = 0.013
    stance: float = 0.62  # radians the body's axis rises to the front
    body: float = 0.41  # between the two circles' centres
    breast: float = 0.21
    rump: float = 0.055
    head: float = 0.165
    neck: tuple[float, float] = (
        0.23,
        -0.16,
    )  # the head's centre, from the breast circle's, along and across the body
    fill: float = 0.14  # how much the neck is filled
    beak: float = 0.13
    beak_deep: float = 0.055
    beak_curve: float = 0.0
    beak_power: float = 1.2
    tail: float = 0.34
    tail_width: float = 0.062
    tail_angle: float = 0.0
    wing: float = 0.50
    wing_width: float = 0.125
    wing_angle: float = 0.0
    eye: float = 0.036


FORMS: dict[str, Form] = {
    "finch": Form(beak=0.115, beak_deep=0.068, beak_power=1.35),
    "jay": Form(
        scale=0.92,
        stance=0.60,
        body=0.46,
        tail=0.44,
        tail_width=0.07,
        beak=0.14,
        beak_deep=0.042,
        breast=0.205,
        wing=0.54,
    ),
    "warbler": Form(
        scale=0.98, stance=0.50, breast=0.195, beak=0.11, beak_deep=0.028, head=0.165, tail=0.30, tail_width=0.055
    ),
    "wagtail": Form(
        scale=0.87,
        leg=0.16,
        stance=0.34,
        breast=0.18,
        rump=0.05,
        head=0.15,
        beak=0.11,
        beak_deep=0.025,
        tail=0.44,
        tail_width=0.07,
        tail_angle=0.05,
        wing=0.46,
        wing_width=0.11,
        neck=(0.175, -0.13),
        fill=0.10,
    ),
    "thrush": Form(
        scale=0.97,
        stance=0.68,
        body=0.42,
        breast=0.225,
        beak=0.13,
        beak_deep=0.033,
        tail=0.34,
        head=0.155,
        neck=(0.235, -0.075),
    ),
    "plover": Form(
        scale=0.86,
        leg=0.34,
        leg_width=0.02,
        stance=0.26,
        body=0.38,
        breast=0.20,
        head=0.17,
        beak=0.16,
        beak_deep=0.030,
        neck=(0.155, -0.165),
        tail=0.20,
        wing=0.50,
        wing_width=0.12,
    ),
    "kingfisher": Form(
        scale=0.88,
        leg=0.07,
        stance=0.80,
        body=0.34,
        breast=0.215,
        head=0.20,
        neck=(0.20, -0.07),
        beak=0.26,
        beak_deep=0.050,
        tail=0.20,
        wing=0.44,
        wing_width=0.13,
    ),
    "vireo": Form(
        scale=0.99,
        stance=0.50,
        breast=0.205,
        head=0.185,
        beak=0.10,
        beak_deep=0.042,
        tail=0.30,
        neck=(0.20, -0.10),
        eye=0.036,
    ),
    "parakeet": Form(
        scale=0.90,
        leg=0.08,
        stance=0.74,
        body=0.42,
        breast=0.20,
        rump=0.065,
        head=0.18,
        neck=(0.215, -0.05),
        beak=0.115,
        beak_deep=0.088,
        beak_curve=0.9,
        beak_power=2.2,
        tail=0.31,
        tail_angle=0.08,
        tail_width=0.06,
        wing=0.54,
        wing_width=0.125,
        eye=0.032,
    ),
}


@dataclass(frozen=True)
class Pose:
    """Where and how a bird sits: drawn without knowing which bird. Angles in radians, places in 1/128 of the frame."""

    foot: tuple[float, float]
    scale: float
    mirror: bool
    tilt: float
    head: float
    look_back: bool
    tail: float
    wing: float
    plump: float
    big_head: float
    steps: tuple[float, float]
    cloth: tuple[float, float]
    tints: tuple[tuple[float, float, float], ...]


def draw_pose(draws: Draws, tints: int) -> Pose:
    """Draw a pose, and ``tints`` small deviations of colour."""
    mirror = draws.chance(0.5)
    return Pose(
        # The tail is behind the foot and long, so a bird that looks right stands right of the middle.
        foot=(64 + (-1 if mirror else 1) * draws.around(6, 8), draws.between(95, 110)),
        scale=draws.between(88, 108),
        mirror=mirror,
        tilt=draws.around(0.0, 0.30),
        head=draws.around(-0.03, 0.30),
        look_back=draws.chance(0.10),
        tail=draws.around(0.0, 0.30),
        wing=draws.around(0.0, 0.16),
        plump=draws.around(1.0, 0.09),
        big_head=draws.around(1.0, 0.07),
        steps=(draws.between(0.02, 0.05), draws.between(0.05, 0.10)),
        cloth=draws.point(),
        tints=tuple((draws.around(1, 0.09), draws.around(1, 0.05), draws.around(1, 0.07)) for _ in range(tints)),
    )


@dataclass(frozen=True)
class Anatomy:
    """The frames of the parts of one bird on one picture. Every frame has bird units."""

    form: Form
    pose: Pose
    size: int
    light: tuple[float, float, float]
    ground: Frame
    body: Frame  # origin at the breast circle; u to the front, v to the belly
    head: Frame  # origin at the head's centre; u to the bill, v to the throat
    tail: Frame  # origin at the tail's root; u to its tip
    wing: Frame  # origin at the shoulder; u to its tip, v to the belly

    @property
    def px(self) -> float:
        """Pixels for each 1/128 of the frame."""
        return self.size / 128.0


def build(form: Form, pose: Pose, light: tuple[float, float, float], size: int) -> Anatomy:
    """Place the frames of a bird of this form in this pose."""
    px = size / 128.0
    unit = pose.scale * form.scale * px
    ground = upright(pose.foot[0] * px, pose.foot[1] * px, unit, mirror=pose.mirror)
    stance = form.stance + pose.tilt
    c, s = math.cos(stance), math.sin(stance)
    # The feet are under the middle of the body, a little behind the breast.
    middle = 0.30 * form.body
    breast = form.breast * pose.plump
    body = ground.child(middle * c, -(form.leg + breast * 0.93 + 0.04 * form.body) - middle * s, -stance)
    head = body.child(form.neck[0], form.neck[1], stance + pose.head, mirror=False)
    if pose.look_back:
        head = body.child(form.neck[0] - 0.03, form.neck[1], stance + math.pi - 0.5 * pose.head, mirror=True)
    rump = form.rump * pose.plump
    tail = body.child(-form.body + 0.2 * rump, 0.0, math.pi + form.tail_angle + pose.tail, mirror=True)
    wing = body.child(-0.02, -0.28 * breast, math.pi - 0.10 + form.wing_angle + pose.wing, mirror=True)
    return Anatomy(form, pose, size, light, ground, body, head, tail, wing)
