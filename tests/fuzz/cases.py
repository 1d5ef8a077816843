"""The cases: one function for each kind, given the world, an empty folder of its own, and what chance has in store."""

from __future__ import annotations

import io
import math
import os
import random
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

from finercam import FinercamError, explain, load
from finercam.contrast.contrast import Contrast
from finercam.data.reading import read_dataset
from finercam.explanations.explaining import Asked
from finercam.explanations.explanation import Explanation
from finercam.explanations.files import explain_files, save_whole
from fuzz.checks import Violation, all_whole, command, in_time, nothing_else_written, records_hold
from fuzz.harm import NAMES, harm_bytes, harm_file
from fuzz.options import commands
from fuzz.world import FORMATS, World

Case = Callable[[World, Path, random.Random], None]


def pictures(world: World, folder: Path, chance: random.Random) -> None:
    """Damaged and odd pictures under odd names, beside a good one."""
    photos, out = folder / "photos", folder / "out"
    photos.mkdir()
    good = photos / "good.png"
    shutil.copy(world.photos / "0.png", good)
    bad = os.path.join(os.fsencode(photos), chance.choice(NAMES) if chance.random() < 0.3 else b"bad.png")
    _odd_picture(bad, sorted(world.photos.iterdir()), chance)
    asked = (
        [Asked(Contrast())]
        if chance.random() < 0.8
        else {"a/../../b": Asked(Contrast(gamma=1)), "..": Asked(Contrast())}
    )
    with nothing_else_written(folder, out):
        # Pictures take half of the time, and are always of the same few sizes.
        save = save_whole if chance.random() < 0.4 else _save_maps
        done = list(explain_files(world.classifier, [photos], out, asked, save=save))
    all_whole(out)
    records = records_hold(out)
    if sum(len(one.records) for one in done) != len(records):
        raise Violation(f"{len(records)} records of {done}")
    for one in done:
        if one.error is None and chance.random() < 0.2:
            again = explain(world.classifier, one.file, contrast=one.explanations[-1].contrast)
            kept = load_file(out / one.records[-1]["files"]["maps"])
            if not torch.allclose(again.saliency, kept["saliency"], atol=1e-6, equal_nan=False):
                raise Violation(f"another map of {one.file}")
    if not any(one.file == good and one.error is None for one in done):
        raise Violation(f"the good photo was lost: {done}")


def annotations(world: World, folder: Path, chance: random.Random) -> None:
    """Damaged annotations of every format: each item that is listed is sound, or there is one line."""
    (name,) = chance.choices(FORMATS, (6, 4, 0.4, 4, 4, 2, 0.5))
    root = folder / name
    source = "folder" if name == "planted" else name
    shutil.copytree(getattr(world, source), root)
    files = sorted(path for path in root.rglob("*") if path.is_file())
    tables = [path for path in files if path.suffix not in (".png", ".jpg")]
    for _ in range(chance.choice((1, 1, 1, 2))):
        path = chance.choice(tables if tables and chance.random() < 0.9 else files)
        if path.is_file():
            harm_file(path, chance)
    spec = chance.choice(["aircraft", "aircraft@family"]) if name == "aircraft" else name
    spec = chance.choice(["fishvista", "fishvista@segmentation"]) if name == "fishvista" else spec
    place = f"{spec}:folder:{root}" if name == "planted" else f"{spec}:{root}"
    try:
        data = read_dataset(place, chance.choice(["train", "test", "all"]), chance.choice([None, None, 3]))
        items = list(data.items())
        if data.attributes is not None and chance.random() < 0.3:
            data.attributes()
    except FinercamError as error:
        _one_line(error)
        return
    for item in items:
        if not 0 <= item.label < len(data.class_names):
            raise Violation(f"{item} of {len(data.class_names)} classes")
        if item.box is not None and not (
            all(map(math.isfinite, item.box)) and 0 <= item.box[0] < item.box[2] and 0 <= item.box[1] < item.box[3]
        ):
            raise Violation(f"box {item.box} of {item.key}")
        for place in filter(None, (item.uri, item.mask)):
            if root.resolve() not in Path(os.path.realpath(place)).parents:
                raise Violation(f"{place} lies outside of {root}")
        try:
            data.open(item)
        except FinercamError as error:
            _one_line(error)


def models(world: World, folder: Path, chance: random.Random) -> None:
    """Damaged folders of models and probes: a model, or one line, and nobody's answer is read."""
    kind = chance.choice(("timm", "transformers", "probe"))
    copy = folder / kind
    shutil.copytree(getattr(world, kind), copy)
    harm_file(chance.choice(sorted(copy.iterdir())), chance)
    before, sys.stdin = sys.stdin, io.StringIO("y\n" * 9)
    try:
        if chance.random() < 0.1:
            with nothing_else_written(folder, folder / "out"):
                command("explain", world.photos / "0.png", "--model", copy, "--out", folder / "out")
            all_whole(folder / "out")
        else:
            found = explain(load(copy), world.photos / "0.png")
            if not bool(found.saliency.isfinite().all()):
                raise Violation("a map that is not finite")
            found.figure()
    except FinercamError as error:
        _one_line(error)
    finally:
        answered, sys.stdin = sys.stdin.tell(), before
    if answered:
        raise Violation("somebody was asked")


def runs(world: World, folder: Path, chance: random.Random) -> None:
    """Damaged folders of runs: the same table, fewer photos and a word about it, or one line."""
    run = folder / "run"
    shutil.copytree(world.run, run)
    table = (world.run / "table.md").read_text()
    files = sorted(path for path in run.rglob("*") if path.is_file() and not path.name.startswith("table"))
    harmed = chance.choice(files)
    if chance.random() < 0.1:
        content = harmed.read_bytes()
        (run / "rows" / f"part-{chance.randrange(9):05d}.parquet").write_bytes(content)
    else:
        harm_file(harmed, chance)
    if chance.random() < 0.15:
        with nothing_else_written(folder, run):
            code, said = command(*world.evaluating, "--out", run)
        if code == 0 and (run / "table.md").read_text() != table:
            raise Violation(f"another table after resuming: {said[-500:]}")
        return
    with nothing_else_written(folder, folder / "out"):
        code, said = command("table", run, *(("--out", folder / "out") if chance.random() < 0.5 else ()))
    all_whole(folder / "out")
    if code == 0 and harmed.name != "run.json" and table not in said and " so far" not in said:
        raise Violation(f"another table: {said[-500:]}")


def options(world: World, folder: Path, chance: random.Random) -> None:
    """Options of every command, most of them good, so that most commands run to their end."""
    out = folder / "out"
    arguments = commands(world, folder, out, chance)
    # Two folders down, for ".." is an option too, and all that the cases are made from is no photo folder.
    here, inside = os.getcwd(), folder / "deep" / "er"
    inside.mkdir(parents=True)
    os.chdir(inside)
    try:
        with nothing_else_written(folder, out):
            code, said = command(*arguments)
        all_whole(out)
        for name in ("explanations.jsonl", "concepts.jsonl"):
            records = records_hold(out, name)
            if code == 0 and any("error" in record for record in records):
                raise Violation(f"an error and exit code 0: {said[-300:]}")
    finally:
        os.chdir(here)


KINDS: dict[str, Case] = {one.__name__: one for one in (pictures, annotations, models, runs, options)}


def run_case(kind: str, number: int, world: World, folder: Path) -> None:
    """Run a case in an empty folder: the same one for the same number.

    Raises:
        Violation: what must not be, has been.
    """
    chance = random.Random(f"{kind}/{number}")
    torch.manual_seed(0)
    try:
        with in_time():
            KINDS[kind](world, folder, chance)
    except Violation:
        raise
    except Exception as error:
        raise Violation(f"{type(error).__name__}: {error}") from error


def _odd_picture(path: bytes, photos: list[Path], chance: random.Random) -> None:
    way = chance.random()
    if way < 0.03:
        os.mkfifo(path)
    elif way < 0.05:
        os.mkdir(path)
    elif way < 0.07:
        os.symlink(os.path.basename(path), path)
    elif way < 0.2:
        sizes = (0, 1, 2, 7, 300, 65535, 170_000_000, 2**31 - 1)
        _write(path, _declared(chance.choice(sizes), chance.choice(sizes), chance))
    elif way < 0.25:
        size = chance.choice(((1, 1), (1, 400), (400, 1), (3, 1000), (2000, 1), (1, 3000)))
        content = io.BytesIO()
        Image.new(chance.choice(("RGB", "L", "1", "RGBA", "P")), size, 1).save(content, "png")
        _write(path, content.getvalue())
    else:
        _write(path, harm_bytes(chance.choice(photos).read_bytes(), chance))


def _declared(width: int, height: int, chance: random.Random) -> bytes:
    """Return a PNG that declares so many pixels and has few."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, chance.choice((1, 8, 16)), chance.choice((0, 2, 6)), 0, 0, 0)
    pixels = zlib.compress(bytes(chance.choice((0, 10, 1000))))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _save_maps(explanation: Explanation, result: Path) -> dict[str, dict[str, str]]:
    return {"files": {"maps": str(explanation.save(result.with_name(result.name + ".safetensors")))}}


def _write(path: bytes, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)


def _one_line(error: FinercamError) -> None:
    if not str(error).strip() or "\n" in str(error):
        raise Violation(f"not one line: {error}")
