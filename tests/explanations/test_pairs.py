"""Photo against photo: the maps are each place's share of the cosine, against the literal formula."""

from __future__ import annotations

import json
import sys

import pytest
import torch
from PIL import Image
from torch import nn

from finercam import FinercamError, pair
from finercam.cli.main import main
from finercam.models.backbone import Backbone
from finercam.models.preprocessing import Preprocessing
from support.colour_birds import draw_bird, to_tensor


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.act = nn.Conv2d(3, 6, 8, 8), nn.ReLU()

    def forward(self, x):
        return self.act(self.conv(x)).mean((2, 3))


@pytest.fixture(scope="module")
def backbone():
    module = Net().eval()
    size = to_tensor(draw_bird(0)).shape[1:]
    return Backbone("net", "auto", None, None, module, 6, "", Preprocessing(to_tensor, (int(size[0]), int(size[1]))))


def test_maps_are_the_shares_of_the_cosine(backbone):
    photos = [draw_bird(i) for i in range(3)]
    found = pair(backbone, *photos[:2], against=photos[2:], gamma=0.7)
    alone = pair(backbone, *photos[:2])
    net = Net().double()
    net.load_state_dict(backbone.module.state_dict())
    with torch.no_grad():
        cells = net.conv(torch.stack([to_tensor(one) for one in photos]).double()).relu()
    f = cells.mean((2, 3))
    u = f / f.norm(dim=1, keepdim=True)
    cosine = u @ u.T
    assert found.similarity == pytest.approx(float(cosine[0, 1]), abs=1e-6)
    assert found.others[0] == pytest.approx((float(cosine[0, 2]), float(cosine[1, 2])), abs=1e-6)
    for own, other, one, plain in ((0, 1, found.first, alone.first), (1, 0, found.second, alone.second)):
        shares = [
            torch.einsum("k,khw->hw", u[to], cells[own]) / f[own].norm() / cells[own][0].numel() for to in range(3)
        ]
        assert float(plain.map.sum()) == pytest.approx(float(cosine[0, 1]), abs=1e-5)
        assert torch.allclose(plain.map.double(), shares[other], atol=1e-6)
        assert torch.allclose(one.map.double(), shares[other] - 0.7 * shares[2], atol=1e-6)
        assert torch.allclose(one.plain, plain.saliency, atol=1e-6)
        assert one.similarities is not None
        assert one.similarities.tolist() == pytest.approx(cosine[own].tolist(), abs=1e-5)
    assert str(found) == "photo 1 like photo 2, and not like photo 3, gamma 0.7"
    assert found.record()["against"][0]["similarity"]["first"] == found.others[0][0]
    assert str(alone) == "photo 1 like photo 2"
    assert alone.record()["gamma"] is None


def test_an_embedding_without_a_direction_is_refused(backbone):
    dark = Net().eval()
    with torch.no_grad():
        dark.conv.weight.zero_()
        dark.conv.bias.fill_(-1)
    nothing = Backbone("dark", "auto", None, None, dark, 6, "", backbone.preprocessing)
    with pytest.raises(FinercamError, match="dark gives a photo an embedding that is zero"):
        pair(nothing, draw_bird(0), draw_bird(1))


@pytest.mark.parametrize("spec", ["aviary", "aviary-clip"])
def test_the_command_writes_picture_record_and_maps(tmp_path, monkeypatch, capsys, spec):
    for number, name in enumerate("abc"):
        draw_bird(number).resize((90, 70)).save(tmp_path / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["finercam", *f"pair a.png b.png --against c.png --model {spec} --json".split()])
    with pytest.raises(SystemExit) as stop:
        main()
    assert not stop.value.code
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((tmp_path / "finercam-pair/pair.json").read_text())
    assert record["question"] == "a.png like b.png, and not like c.png, gamma 0.6"
    assert -1 <= record["similarity"] <= 1
    assert {file.name for file in (tmp_path / "finercam-pair").iterdir()} == {
        *("pair.png", "pair.json", "first.safetensors", "second.safetensors")
    }
    assert Image.open(tmp_path / "finercam-pair/pair.png").width > 600
