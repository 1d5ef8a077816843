"""What commands print into a pipe is not wrapped."""

import subprocess
import sys

import pytest

from finercam.cli.console import progress
from finercam.cli.main import main
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
    assert sum(line.startswith(f"'{broken}' is not a picture") for line in lines) == 1
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


def test_without_a_terminal_a_line_every_half_minute_says_how_far_it_is(capsys, monkeypatch):
    now = 100.0
    monkeypatch.setattr("rich.console.monotonic", lambda: now)
    with progress() as bar:
        task = bar.add_task("measuring", total=None)
        # What an earlier run did does not count for the time left.
        bar.update(task, total=600, completed=100)
        for _ in range(8):
            now += 10
            bar.advance(task, 5.0)
        now += 3000
        bar.update(task, completed=200)
        now += 60
        # The command itself says that it is done.
        bar.update(task, completed=600)
        slow = bar.add_task("checking", total=48)
        bar.update(slow, completed=0)
        now += 240
        bar.update(slow, completed=16)
    assert capsys.readouterr() == (
        "",
        "measuring: 115 of 600, about 16 min left\nmeasuring: 130 of 600, about 16 min left\n"
        "measuring: 200 of 600, about 3 h 25 min left\nchecking: 0 of 48\nchecking: 16 of 48, about 8 min left\n",
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "explain a.png --modle x",
            "no such option: --modle (Possible options: --method, --model); see 'finercam explain",
        ),
        ("explain", "missing argument 'photos'; see 'finercam explain"),
        ("aviary train", "missing option '--out'; see 'finercam aviary train"),
        ("aviary measur", "no such command 'measur'. Did you mean 'measure'? See 'finercam aviary"),
        ("aviary measure --images x", "invalid value for '--images': "),
        ("--bad", "no such option: --bad; see 'finercam"),
    ],
)
def test_a_command_that_cannot_be_understood_is_one_line(monkeypatch, capsys, given, said):
    monkeypatch.setattr(sys, "argv", ["finercam", *given.split()])
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    assert (stop.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"finercam: {said}")
    assert err.endswith(" --help'\n")


def test_a_group_without_a_command_shows_its_help(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["finercam", "aviary"])
    with pytest.raises(SystemExit):
        main()
    assert "measure-concepts" in "".join(capsys.readouterr())
