"""``finercam report`` as a user runs it."""

import sys

import pytest

from finercam.cli.main import main
from finercam.models.sources.probe import RECORD


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["finercam", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    captured = capsys.readouterr()
    return stop.value.code or 0, captured.out, captured.err


@pytest.fixture
def similar(monkeypatch, capsys, model_folder, tmp_path):
    code, *_ = run(monkeypatch, capsys, "similarity", model_folder, "--out", tmp_path / "similar")
    assert code == 0
    return tmp_path / "similar"


def test_a_page_is_written_and_named(monkeypatch, capsys, similar, tmp_path):
    out = tmp_path / "pages" / "birds.html"
    code, said, err = run(monkeypatch, capsys, "report", similar, similar, "--out", out, "--title", "Birds & <others>")
    assert (code, said, err) == (0, f"{out}\n", "")
    page = out.read_text(encoding="utf-8")
    assert "<h1>Birds &amp; &lt;others&gt;</h1>" in page
    assert page.count("<h2>Similar classes: similar</h2>") == 1
    assert "Brewer&#x27;s Blackbird" in page


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["similar", "nowhere"], "there is no folder"),
        (["similar", "empty"], "holds nothing that a report is made of; give the --out folders of"),
        (["similar", "--out", "report.pdf"], "--out must end in .html"),
        (["broken"], "is not JSON"),
    ],
)
def test_what_is_not_a_result_is_one_line(monkeypatch, capsys, similar, tmp_path, arguments, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / RECORD).write_text("{")
    code, out, err = run(monkeypatch, capsys, "report", *arguments)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".html", ".pdf")] == []
