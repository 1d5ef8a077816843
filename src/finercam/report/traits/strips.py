"""Patches that carry the evidence, cut out of the photos and laid side by side by what they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw

from finercam.data.photos import SUFFIXES
from finercam.errors import FinercamError
from finercam.metrics.intervals import FEWEST_TO_JUDGE
from finercam.report.album import last_part
from finercam.report.anew import photos_of
from finercam.report.panels import Panel
from finercam.report.parts import Folded, Heading, Paragraph, Part, Strip, Table
from finercam.report.render import OUTLINE
from finercam.runs.rows import Rows
from finercam.studies.traits.clusters import Cluster, clusters
from finercam.studies.traits.rows import Carried

#: Groups that are shown, and patches of each.
_GROUPS, _PATCHES = 4, 8
#: Around a patch its surroundings are shown, too, so that one sees where it is.
_AROUND, _SIDE = 1.8, 180
#: Characters of a photo's name under a patch.
_NAME = 16


def strips(run: Rows, rows: Sequence[Carried], told: str) -> Iterator[Part]:
    """Yield the groups of patches with most of the evidence.

    Args:
        run: the run.
        rows: photos that were asked the same question.
        told: what the patches tell: ``A from B``.
    """
    every = clusters(rows)
    common = [one for one in every if one.photos > 1]
    shown = common[:_GROUPS]
    if not shown:
        return
    try:
        crops = _crops(run, rows, shown)
    except (FinercamError, OSError) as error:
        yield Paragraph(f"The patches cannot be shown: {error}.")
        return
    yield Heading("Patches with most of the evidence")
    yield Paragraph(_about(rows, every, told))
    for number, one in enumerate(shown, 1):
        yield Paragraph(_caption(number, one))
        found = [crops.get((member.photo, member.patch)) for member in one.members[:_PATCHES]]
        yield Strip([panel for panel in found if panel is not None], size="small")
    yield Paragraph(_rest([one for one in every if one not in shown]))
    yield Folded("How alike the patches of a group are", [Paragraph(_ABOUT_LIKENESS), Table(_likeness(shown))])


_ABOUT_LIKENESS = (
    "The mean cosine between the features of the patch in the middle of a group and those of the others, 1 for the "
    "same. Groups are found in anything, so features were shuffled among the patches, 20 times: as many of those were "
    "never more alike than what stands under chance."
)


def _about(rows: Sequence[Carried], every: Sequence[Cluster], told: str) -> str:
    photos = sum(not one.empty for one in rows)
    covered = 100 * sum(one.share.mean for one in every)
    said = (
        f"Of each photo the squares with most of the evidence of what tells {told} are outlined, {covered:.0f} % of it "
        "in all, and grouped by what the model shows there; no annotation is used. The group with most of the evidence "
        "comes first, and in each the patch most like the mean of the group, one of each photo. Under it stands its "
        "share of the evidence of its photo."
    )
    if photos < FEWEST_TO_JUDGE:
        said += f" Over {photos} photos nothing can be concluded from how often a group occurs."
    return said


def _caption(number: int, one: Cluster) -> str:
    share = one.share
    interval = "" if share.low != share.low else f" [{100 * max(0.0, share.low):.0f}, {100 * share.high:.0f}]"
    said = f"Group {number}: {100 * share.mean:.0f} %{interval} of the evidence, on {one.photos} of {share.n} photos."
    return said if one.tight else f"{said} Its patches are no more alike than shuffled ones may be."


def _rest(left: Sequence[Cluster]) -> str:
    """Return what is in no group that is shown."""
    groups, alone = sum(one.photos > 1 for one in left), sum(one.photos == 1 for one in left)
    kinds = [
        f"{groups} further {'group' if groups == 1 else 'groups'}" if groups else "",
        f"{alone} {'patch' if alone == 1 else 'patches'} like no other" if alone else "",
    ]
    share = 100 * sum(one.share.mean for one in left)
    return f"Not shown: {' and '.join(filter(None, kinds))}, with {share:.0f} % of the evidence." if left else ""


def _likeness(shown: Sequence[Cluster]) -> list[list[str]]:
    found = [["group", "photos", "alike", "by chance at most", ""]]
    for number, one in enumerate(shown, 1):
        verdict = "tighter than chance" if one.tight else "no tighter than chance"
        found.append([str(number), str(one.photos), f"{one.tightness:.2f}", f"{one.chance:.2f}", verdict])
    return found


def _crops(run: Rows, rows: Sequence[Carried], shown: Sequence[Cluster]) -> Mapping[tuple[int, int], Panel]:
    """Return the first patches of groups, by photo and patch, those that can still be opened."""
    wanted: dict[str, list[tuple[int, int]]] = {}
    for one in shown:
        for member in one.members[:_PATCHES]:
            wanted.setdefault(rows[member.photo].key, []).append((member.photo, member.patch))
    return {
        (photo, at): _panel(picture, rows[photo], rows[photo].patches[at])
        for key, picture in photos_of(run, wanted)
        for photo, at in wanted[key]
    }


def _panel(photo: Image.Image, one: Carried, patch: Mapping[str, Any]) -> Panel:
    x0, y0, x1, y1 = patch["box"]
    side = _AROUND * max(x1 - x0, y1 - y0, 1)
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    left, top = (max(0.0, min(at, size - side)) for at, size in zip((left, top), photo.size, strict=True))
    by = _SIDE / side
    # A photo narrower than that is shown as far as it goes.
    right, bottom = min(left + side, photo.width), min(top + side, photo.height)
    crop = photo.resize(
        (max(1, round((right - left) * by)), max(1, round((bottom - top) * by))),
        Image.Resampling.BICUBIC,
        box=(left, top, right, bottom),
    )
    corners = [(x0 - left) * by, (y0 - top) * by, (x1 - left) * by - 1, (y1 - top) * by - 1]
    ImageDraw.Draw(crop).rectangle([round(at) for at in corners], outline=OUTLINE, width=2)
    return Panel(crop, f"{100 * patch['share']:.0f} %", [_ending(one.key)])


def _ending(key: str) -> str:
    """Return the end of a photo's name, where its number is, without what kind of file it is."""
    name = last_part(key)
    stem, dot, suffix = name.rpartition(".")
    name = stem if dot + suffix.lower() in SUFFIXES else name
    return name if len(name) <= _NAME else f"...{name[3 - _NAME :]}"
