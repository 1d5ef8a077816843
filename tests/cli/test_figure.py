"""``finercam figure``: bad input is one line, and nothing is written."""

from __future__ import annotations

import pytest

from finercam.cli import main as command


def run(capsys, monkeypatch, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["finercam", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        command.main()
    out, err = capsys.readouterr()
    return int(str(ended.value.code or 0)), out, err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["frost", "--out", "a.pdf"], "there is no figure 'frost'; did you mean 'forest'"),
        (["forest", "--out", "a.gif"], "a figure cannot be saved as '.gif'"),
        (["forest", "--out", "a.pdf"], "figure 'forest' needs --run, the folder of a run"),
        (["forest", "--run", "nowhere", "--out", "a.pdf"], "'nowhere' holds no run of a study"),
        (["forest", "--run", "x", "--gamma", "1", "--out", "a.pdf"], "figure 'forest' has no option 'gamma'"),
        (["sweep", "--model", "aviary", "--out", "a.pdf"], "figure 'sweep' needs photos, or --data"),
        (["sweep", "--data", "aviary", "--out", "a.pdf"], "figure 'sweep' needs --model"),
        (["sweep@gamma=1", "--data", "aviary", "--model", "aviary", "--out", "a.pdf"], "no parameter 'gamma'"),
        (["concept", "--data", "aviary", "--out", "a.pdf"], "figure 'concept' needs --clip"),
        (
            ["sweep", "--data", "aviary", "--model", "aviary", "--width", "2", "--out", "a.pdf"],
            "width of a figure is 2",
        ),
    ],
)
def test_bad_input_is_one_line(capsys, monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, monkeypatch, "figure", *arguments)
    assert code == 2, err
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not out
    assert not list(tmp_path.iterdir())


def test_a_figure_of_photos_says_its_caption(capsys, monkeypatch, tmp_path):
    from finercam.data.reading import read_dataset

    data = read_dataset("aviary", images=1)
    data.open(next(data.items())).photo.save(tmp_path / "bird.png")
    picture = tmp_path / "out" / "a.png"
    arguments = ["sweep", tmp_path / "bird.png", "--model", "aviary", "--gamma", "0,1", "--dpi", "60", "--out", picture]
    code, out, err = run(capsys, monkeypatch, "figure", *arguments, "--device", "cpu")
    assert code == 0, err
    assert "γ = 0, 1" in out
    assert out.splitlines()[-1] == picture.with_suffix(".txt").read_text(encoding="utf-8").strip()
    assert picture.is_file()


def test_paper_refuses_before_it_begins(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "mine.txt").write_text("mine")
    for more, said in (
        (["--steps", "0", "--out", "new"], "steps is 0"),
        (["--method", "gradkam", "--out", "new"], "there is no method 'gradkam'"),
        (["--images", "3", "--out", "there"], "there holds something already"),
    ):
        code, _, err = run(capsys, monkeypatch, "paper", "aviary", "--model", "aviary", *more)
        assert code == 2, err
        assert said in err
        assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "mine.txt"]
