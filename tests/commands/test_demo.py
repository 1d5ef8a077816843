"""``finercam demo`` explains a model whose answer is known."""

import torch

from finercam import Classifier, explain
from finercam.commands.demo import ColourNet, _to_tensor, draw_bird, run_demo


def share_on_wing(saliency):
    height, width = saliency.shape
    ys, xs = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    wing = ((xs - 0.425) / 0.165) ** 2 + ((ys - 0.535) / 0.125) ** 2 < 1
    return float(saliency[wing].sum() / saliency.sum())


def test_finer_cam_is_on_the_wing_and_the_plain_cam_on_the_bird():
    classifier = Classifier(ColourNet(), preprocess=_to_tensor)
    assert classifier.pooled
    for species in range(3):
        explanation = explain(classifier, draw_bird(species), gamma=1.0, references=2)
        assert explanation.target == species
        assert share_on_wing(explanation.plain) < 0.75
        assert share_on_wing(explanation.saliency) > 0.9


def test_the_demo_writes_its_pictures(tmp_path, capsys):
    run_demo(tmp_path / "demo")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 3
    assert sorted(path.suffix for path in (tmp_path / "demo").iterdir()) == [".png"] * 3
