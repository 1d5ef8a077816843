"""What commands print into a pipe is not wrapped."""

import subprocess
import sys

from finercam.models.families import families
from support.running import run

LONG = "a rather long name of a folder that is much wider than any terminal " * 2


def test_a_failed_photo_is_one_line_whatever_its_name(model_folder, photos, tmp_path):
    folder = photos / LONG / LONG
    folder.mkdir(parents=True)
    broken = folder / "broken one.jpg"
    broken.write_bytes(b"\xff\xd8 not really")
    out = tmp_path / LONG / "out"
    code, _, err = run("explain", photos, "--model", model_folder, "--out", out, COLUMNS="40")
    assert code == 1
    lines = err.splitlines()
    assert sum(line.startswith(f"{broken}: ") for line in lines) == 1
    assert f"3 explained, 1 failed; see {out}" in lines


def test_rows_of_piped_tables_are_one_line_each():
    code, out, _ = run("models", COLUMNS="40")
    assert code == 0
    lines = out.splitlines()
    for family in families():
        cells = (family.title, family.library, family.example, family.layer, family.head)
        assert any(all(cell in line for cell in cells) for line in lines), family


def test_text_and_tables_are_whole_without_a_terminal():
    program = (
        "from finercam.cli.console import new_table, say, show\n"
        f"say({LONG!r} + '[bold]x[/bold]', stderr=False)\n"
        "table = new_table('a', 'b')\n"
        f"table.add_row({LONG!r}, {LONG!r})\n"
        "show(table)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    text, _, row = done.stdout.splitlines()
    assert text == LONG + "[bold]x[/bold]"
    assert row.count(LONG.strip()) == 2
