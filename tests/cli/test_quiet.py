"""Commands say what matters, in one line."""

import os
import warnings

import pytest

from finercam.cli import quiet


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def unreachable(monkeypatch):
    def connect(*given, **more):
        raise OSError("no network")

    monkeypatch.setattr(quiet.socket, "create_connection", connect)


def test_a_warning_is_one_line_without_code(capsys):
    quiet.quieten([])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # catch_warnings puts back what shows warnings, so it is set again.
        quiet.quieten([])
        warnings.warn("first line\nsecond line", UserWarning, stacklevel=1)
        warnings.warn("of no concern", DeprecationWarning, stacklevel=1)
    assert "finercam: warning: first line\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "offline"),
    [
        (["explain", "a.png", "--model", "timm/resnet18"], True),
        (["explain", "a.png", "--model=open_clip/ViT-B-16/openai"], True),
        (["explain", "a.png", "--model", "timm/local-dir:there"], False),
        (["explain", "a.png", "--model", "aviary"], False),
        (["methods"], False),
    ],
)
def test_without_a_network_models_are_looked_for_on_this_machine(monkeypatch, capsys, arguments, offline):
    unreachable(monkeypatch)
    quiet.quieten(arguments)
    assert (os.environ.get("HF_HUB_OFFLINE") == "1") == offline
    assert capsys.readouterr().err == ""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


def test_a_proxy_and_the_users_own_word_are_trusted(monkeypatch):
    unreachable(monkeypatch)
    arguments = ["explain", "a.png", "--model", "timm/resnet18"]
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    quiet.quieten(arguments)
    assert "HF_HUB_OFFLINE" not in os.environ
    monkeypatch.delenv("https_proxy")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    quiet.quieten(arguments)
    assert os.environ["HF_HUB_OFFLINE"] == "0"
