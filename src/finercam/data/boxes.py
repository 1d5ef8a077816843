"""``read_boxes()``: what a detector found on photos, from the files that detectors write."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from finercam.data.finding import Found
from finercam.data.photos import Crop
from finercam.errors import FinercamError, check_between
from finercam.texts import shortened

#: What detectors of camera traps call what they are for; people and vehicles are others.
ANIMAL = "animal"
FORMATS = (
    "a MegaDetector file (a mapping with 'images', or a list of photos with their 'detections') or COCO (a mapping "
    "with 'images', 'annotations' and 'categories')"
)


@dataclass(frozen=True, eq=False)
class Detected:
    """What a detector found on one photo.

    Attributes:
        file: the photo's path, as the detector wrote it.
        boxes: on the photo, in the detector's order; their ``photo`` is ``file``.
        failure: why the detector could not read it, or ``None``.
    """

    file: str
    boxes: tuple[Crop, ...] = ()
    failure: str | None = None


@dataclass(frozen=True, eq=False)
class Boxes:
    """What a detector found on many photos.

    Attributes:
        name: of the file it was read from.
        photos: with what was found on each.
    """

    name: str
    photos: tuple[Detected, ...]

    def crops(self, found: Found, *, margin: float | int = 0.1, confidence: float | int = 0.2) -> Found:
        """Return the animals on photos, to be explained one by one, and what was passed over: counted, in sentences.

        Where the detector has a category ``animal``, people and vehicles are passed over; else all is taken. A photo is
        the detector's if its path ends with the path that the detector wrote, or that path ends with the photo's below
        the folder that was given.

        Args:
            found: the photos.
            margin: on either side of a box, as a share of its longer side.
            confidence: boxes of which the detector was less sure are passed over; 0 to 1.

        Raises:
            FinercamError: the photos are not the detector's, nothing was found on any of them, or a number makes no
                sense.
        """
        check_between("margin", margin, 0, 10)
        check_between("confidence", confidence, 0, 1)
        matching = _Matching(self.photos)
        animals_only = any(box.category == ANIMAL for photo in self.photos for box in photo.boxes)
        crops: list[tuple[Path | Crop, Path]] = []
        passed, others = Counter[str](), Counter[str]()
        unlisted: list[str] = []
        for file, relative in found:
            assert isinstance(file, Path)
            detected = matching.of(file, relative)
            if detected is None:
                unlisted.append(str(file))
                continue
            taken = []
            for box in detected.boxes:
                if animals_only and box.category != ANIMAL:
                    others[str(box.category)] += 1
                elif box.confidence is not None and box.confidence < confidence:
                    passed["unsure"] += 1
                else:
                    taken.append(replace(box, photo=file, margin=margin))
            stem = relative.name.removesuffix(relative.suffix)
            crops += [(box, relative.parent / stem / f"box {box.number}{relative.suffix}") for box in taken]
            passed["failed" if detected.failure is not None else "empty"] += not taken
        sentences = self._sentences(passed, others, unlisted, confidence)
        if not crops:
            said = "; ".join(sentences) or "there is no photo"
            raise FinercamError(f"there is nothing to explain: {said}")
        return Found(tuple(crops), (*found.skipped, *sentences))

    def _sentences(
        self, passed: Mapping[str, int], others: Mapping[str, int], unlisted: Sequence[str], confidence: float | int
    ) -> list[str]:
        said = []
        if passed["empty"]:
            said.append(f"{_photos(passed['empty'])} without a detection")
        if passed["failed"]:
            said.append(f"{_photos(passed['failed'])} that the detector could not read")
        if unlisted:
            named = ", ".join(map(repr, unlisted[:3])) + (", ..." if len(unlisted) > 3 else "")
            wrote = f"whose photos are called like {self.photos[0].file!r}" if self.photos else "which has none"
            said.append(f"{_photos(len(unlisted))} not in {self.name!r}, {wrote}: {named}")
        if passed["unsure"]:
            said.append(f"{passed['unsure']} boxes with a confidence below {confidence:g} passed over")
        if others:
            named = ", ".join(f"{count} {category}" for category, count in sorted(others.items()))
            said.append(f"boxes of others than animals passed over: {named}")
        return said


class _Matching:
    """Which of a detector's photos each photo is."""

    def __init__(self, photos: Iterable[Detected]) -> None:
        self._by_name: dict[str, list[tuple[tuple[str, ...], Detected]]] = {}
        for photo in photos:
            parts = _parts(photo.file)
            self._by_name.setdefault(parts[-1] if parts else "", []).append((parts, photo))

    def of(self, file: Path, relative: PurePath) -> Detected | None:
        """Return what was found on a photo, or ``None`` where the detector has none of that path.

        Raises:
            FinercamError: several of the detector's photos may be it.
        """
        among = self._by_name.get(file.name, [])
        own, below = _parts(str(file.absolute())), _parts(str(relative))
        exact = [(len(parts), photo) for parts, photo in among if own[-len(parts) :] == parts]
        if exact:
            return max(exact, key=lambda one: one[0])[1]
        ending = [photo for parts, photo in among if parts[-len(below) :] == below]
        if len(ending) > 1:
            raise FinercamError(
                f"{str(file)!r} may be {ending[0].file!r} or {ending[1].file!r} of the detector's photos; give the "
                "folder that its paths begin in"
            )
        return ending[0] if ending else None


def read_boxes(path: str | Path) -> Boxes:
    """Return what a detector found, from its file: both of MegaDetector's formats, Pytorch-Wildlife's, or COCO's.

    - MegaDetector's batch results, of any version (https://lila.science/megadetector-output-format): ``images`` with
      ``detections``, whose ``bbox`` is x, y, width, height as shares of the photo.
    - MegaDetector by Microsoft (https://microsoft.github.io/MegaDetector/output_format): a list of photos, whose boxes
      are x0, y0, x1, y1 in pixels; and Pytorch-Wildlife's ``annotations`` with ``img_id``.
    - COCO (https://cocodataset.org/#format-data): x, y, width, height in pixels; ``score`` if there is one.

    Raises:
        FinercamError: the file cannot be read, or is none of these.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise FinercamError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise FinercamError(f"{str(path)!r} is not JSON; give {FORMATS}") from None
    try:
        return Boxes(str(path), tuple(_read(content)))
    except _Odd as error:
        raise FinercamError(f"{str(path)!r}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise FinercamError(f"{str(path)!r} is not as detectors write it ({error!r}); give {FORMATS}") from None


class _Odd(Exception):
    """What is wrong, in words."""


def _read(content: Any) -> Iterator[Detected]:
    if isinstance(content, list):
        return (_detected(photo, {}) for photo in content)
    if not isinstance(content, dict):
        raise _Odd(f"there is neither a list nor a mapping in it; give {FORMATS}")
    if "images" in content and "annotations" in content:
        return _coco(content)
    if "images" in content:
        return (_detected(photo, content.get("detection_categories", {})) for photo in content["images"])
    if "annotations" in content:
        return (_wildlife(photo, content.get("categories") or {}) for photo in content["annotations"])
    raise _Odd(f"it has {shortened(', '.join(map(repr, content)) or 'nothing')}; give {FORMATS}")


def _detected(photo: Mapping[str, Any], categories: Mapping[str, str]) -> Detected:
    """Read a photo of MegaDetector's: batch results have ``conf`` and shares, Microsoft's ``confidence`` and pixels."""
    file, boxes = photo["file"], []
    for number, one in enumerate(photo.get("detections") or (), 1):
        values, relative = _four(one["bbox"], file), "conf" in one
        box = _corners(values) if relative else values
        category = categories.get(str(one["category"]), str(one["category"]))
        sure = float(one["conf" if relative else "confidence"])
        boxes.append(Crop(file, box, relative=relative, number=number, category=category, confidence=sure))
    return Detected(file, tuple(boxes), photo.get("failure"))


def _wildlife(photo: Mapping[str, Any], categories: Mapping[str, str]) -> Detected:
    file, boxes = photo["img_id"], []
    for number, (values, kind, sure) in enumerate(
        zip(photo["bbox"], photo["category"], photo["confidence"], strict=True), 1
    ):
        category = categories.get(str(kind), str(kind))
        boxes.append(Crop(file, _four(values, file), number=number, category=category, confidence=float(sure)))
    return Detected(file, tuple(boxes))


def _coco(content: Mapping[str, Any]) -> Iterator[Detected]:
    categories = {one["id"]: str(one["name"]) for one in content.get("categories", ())}
    found: dict[Any, list[Crop]] = {photo["id"]: [] for photo in content["images"]}
    photos = {photo["id"]: photo for photo in content["images"]}
    for one in content["annotations"]:
        if one["image_id"] not in photos:
            raise _Odd(f"annotation {one.get('id')} is of image {one['image_id']!r}, which is not among its images")
        photo, boxes = photos[one["image_id"]], found[one["image_id"]]
        size = (int(photo["width"]), int(photo["height"])) if "width" in photo and "height" in photo else None
        sure = None if one.get("score") is None else float(one["score"])
        box = _corners(_four(one["bbox"], photo["file_name"]))
        category = categories.get(one.get("category_id"))
        boxes.append(
            Crop(photo["file_name"], box, measured=size, number=len(boxes) + 1, category=category, confidence=sure)
        )
    for number, photo in photos.items():
        yield Detected(photo["file_name"], tuple(found[number]))


def _corners(values: tuple[float, ...]) -> tuple[float, float, float, float]:
    x, y, width, height = values
    return x, y, x + width, y + height


def _four(values: Any, file: Any) -> tuple[float, float, float, float]:
    numbers = [float(value) for value in values] if isinstance(values, list) else []
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise _Odd(f"a box of {file!r} is {shortened(repr(values))}, not four numbers")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))


def _photos(count: int) -> str:
    return f"{count} photo{'' if count == 1 else 's'}"
