"""Names that others made do no harm where they go."""

import csv
import io
import json
import sys

import pytest

from finercam.cli.console import new_table, say, show
from finercam.texts import csv_text, encoded, json_line, markdown, printable, said_of, shortened, tex


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("plain é 鳥 👩‍🚀", "plain é 鳥 👩‍🚀"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("a\u2028b\u0085c", r"a\u2028b\x85c"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("na\udcefve", r"na\udcefve"),
    ],
)
def test_what_is_printed_is_one_line_of_what_can_be_seen(given, shown, capsys):
    assert printable(given) == shown
    say(given, stderr=False)
    table = new_table("name", "[b]other")
    table.add_row(given, "[/bold] [red]")
    show(table)
    out = capsys.readouterr().out
    assert out.splitlines()[0] == shown
    assert out.splitlines()[2].startswith(shown)
    assert out.splitlines()[2].rstrip().endswith("[/bold] [red]")
    assert "[b]other" in out.splitlines()[1]


@pytest.mark.parametrize("cell", ["=1+1", "+1+1", "-1+cmd|'/c calc'!A0", "@SUM(1)"])
def test_a_spreadsheet_computes_nothing(cell):
    text = csv_text([["name", "n"], [cell, "-0.5"], ["fine=1", "+1e-3"], ["", -2.5]])
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows == [["name", "n"], [f"'{cell}", "-0.5"], ["fine=1", "+1e-3"], ["", "-2.5"]]


def test_a_row_is_one_line():
    assert csv_text([["a\rb\nc\t", 'say "no"'], ["na\udcefve", "d"]]) == 'a\\rb\\nc\\t,"say ""no"""\nna\\udcefve,d\n'


def test_names_read_as_they_are_in_markdown_and_latex():
    given = "a|b *c* _d_ e_f `g` [h](i) <j>\nk"
    assert markdown(given) == r"a\|b \*c\* \_d\_ e_f \`g\` \[h\](i) &lt;j>\\nk"
    assert tex("50 % of R&D_1 #2 {x} ~^\\") == (
        r"50 \% of R\&D\_1 \#2 \{x\} \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )


def test_a_name_that_is_not_utf8_comes_back_from_json():
    name = b"na\xefve.jpg".decode("utf-8", "surrogateescape")
    line = json_line({"image": name, "more": "é"})
    assert json.loads(line.encode("utf-8"))["image"] == name
    assert "é" in line
    assert "\n" not in line
    assert encoded(f"{name} é") == "na\\udcefve.jpg é".encode()


def test_what_is_long_loses_its_middle():
    assert shortened("a" * 200) == "a" * 200
    assert len(shortened("a" * 10**6)) < 220


def test_a_line_names_a_file_once():
    assert said_of("a.jpg", "'dir/a.jpg' is not a picture") == "'dir/a.jpg' is not a picture"
    assert said_of("a.jpg", "it has no box") == "a.jpg: it has no box"


def test_standard_output_takes_any_name(capsys):
    print(json_line({"image": "\udcff"}))
    say("\udcff", stderr=False)
    sys.stdout.flush()
    assert capsys.readouterr().out == '{"image": "\\udcff"}\n\\udcff\n'
