"""Doing harm: to bytes, to text, to JSON, to names; always the same harm for one random number generator."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

#: What is put in the place of a word or a value.
WORDS = (
    "",
    " ",
    "0",
    "-1",
    "1e400",
    "nan",
    "inf",
    "1.5",
    "²",
    "٣",
    "9" * 30,
    "9" * 5000,
    "x" * 5000,
    "..",
    "../../x.jpg",
    "/etc/hostname",
    "a\tb",
    "\x1b[31mred",
    "\u202egpj.x",
    "=1+1",
    "@SUM(1)",
    "|",
    "\\",
    "{}",
    "%s",
    "[/bold]",
    "é\u0301",
    "\ufeff",
    "None",
    "true",
    "'\"`",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e308,
    float("nan"),
    2**70,
    [],
    {},
    [[]],
    ["a"],
    [None],
    {"a": 1},
    *WORDS,
)
NAMES = (
    b"..jpg",
    b".jpg",
    b"...png",
    b"a\nb.png",
    b"\x1b[2J.png",
    b"na\xefve.png",
    b"x" * 250 + b".png",
    b"-o.png",
    b"=cmd.png",
    b"a:b.png",
    b"con.png",
    b"explanations.jsonl.png",
    b"[bold].png",
    b"a|b*.png",
    b"%2e%2e.png",
    "鳥".encode() * 60 + b".png",
)


def harm_bytes(content: bytes, chance: random.Random) -> bytes:
    """Flip, cut, insert, repeat or overwrite some bytes."""
    found = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(len(found) + 1)
        way = chance.randrange(7)
        size = chance.choice((1, 4, 64))
        if way == 0 and at < len(found):
            found[at] ^= 1 << chance.randrange(8)
        elif way == 1:
            del found[at:]
        elif way == 2:
            found[at:at] = chance.randbytes(size)
        elif way == 3:
            del found[at : at + size]
        elif way == 4:
            found[at : at + size] = bytes(size)
        elif way == 5:
            found[at : at + size] = b"\xff" * size
        else:
            found[at:at] = found[max(0, at - size) : at]
    return bytes(found)


def harm_text(text: str, chance: random.Random) -> str:
    """Replace, remove, repeat or exchange some words or lines."""
    lines = text.split("\n")
    for _ in range(chance.choice((1, 1, 2))):
        at = chance.randrange(len(lines))
        way = chance.randrange(5)
        if way == 0:
            del lines[at]
        elif way == 1:
            lines.insert(at, lines[chance.randrange(len(lines))])
        elif way == 2:
            lines.insert(at, chance.choice(WORDS))
        else:
            mark = "," if "," in lines[at] else " "
            words = lines[at].split(mark)
            words[chance.randrange(len(words))] = chance.choice(WORDS)
            lines[at] = mark.join(words)
        lines = lines or [""]
    return "\n".join(lines)


def harm_json(value: Any, chance: random.Random) -> Any:
    """Replace, remove or add one thing somewhere inside."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        way = chance.randrange(6)
        if way == 0:
            return {name: one for name, one in value.items() if name != key}
        if way == 1:
            return value | {chance.choice(WORDS): chance.choice(VALUES)}
        return value | {key: harm_json(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        way = chance.randrange(4)
        if way == 0:
            return value[:at] + value[at + 1 :]
        if way == 1:
            return [*value, chance.choice(VALUES)]
        return [*value[:at], harm_json(value[at], chance), *value[at + 1 :]]
    return chance.choice(VALUES)


def harm_file(path: Path, chance: random.Random) -> None:
    """Do to a file what its kind takes best: harm to JSON that stays JSON, to text that stays text, or to bytes."""
    content = path.read_bytes()
    way = chance.random()
    if path.suffix == ".json" and way < 0.7:
        text = json.dumps(harm_json(json.loads(content), chance))
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    elif path.suffix in (".txt", ".csv", ".json") and way < 0.9:
        path.write_bytes(harm_text(content.decode(errors="replace"), chance).encode("utf-8", "surrogatepass"))
    elif way > 0.97:
        path.unlink()
    elif way > 0.95:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(harm_bytes(content, chance))
