"""Classifiers of taxa: the sums of their classes' probabilities, and the maps of questions about them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from finercam import Classifier, Contrast, FinercamError, saliency
from finercam.models.taxa import of_taxa, taxa_of_targets
from support.models import SIZE, DeepNet, build

NAMES = [
    "Agelaius phoeniceus (Red-winged Blackbird)", "Pica pica (Magpie)", "Agelaius tricolor (Tricolored Blackbird)",
    "Quiscalus quiscula (Common Grackle)", "Pica nuttalli (Yellow-billed Magpie)", "background", "water",
]  # fmt: skip


@pytest.fixture
def birds() -> Classifier:
    return Classifier.of(build(DeepNet), DeepNet.layer, class_names=NAMES, image_size=SIZE, preprocess=None)


@pytest.mark.parametrize("method", ["gradcam", "layercam"])
@pytest.mark.parametrize("gamma", [0.0, 0.6])
def test_it_answers_as_questions_about_taxa_do(birds: Classifier, method: str, gamma: float) -> None:
    images = torch.randn(2, 3, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    genera = of_taxa(birds, "genus")
    assert genera.labels.names == ("Agelaius", "Pica", "Quiscalus")
    with birds.look(images) as look, genera.look(images) as of_genera:
        odds = look.logits.softmax(1)
        sums = torch.stack([odds[:, own].sum(1) for own in ([0, 2], [1, 4], [3])], 1)
        torch.testing.assert_close(of_genera.logits.softmax(1), sums / sums.sum(1, keepdim=True))
    expected = saliency(birds, images, "Pica", method=method, contrast=Contrast(gamma=gamma, rank="genus"))
    torch.testing.assert_close(
        saliency(genera, images, "Pica", method=method, contrast=Contrast(gamma=gamma)), expected
    )
    assert taxa_of_targets(birds, "genus", [2, -1, 5, 3]) == [0, -1, -1, 2]


def test_what_has_no_meaning_is_refused(birds: Classifier) -> None:
    with pytest.raises(FinercamError, match="sigmoid's, each by itself"):
        of_taxa(replace(birds, probabilities="sigmoid"), "genus")
    with pytest.raises(FinercamError, match="only genus, species; give a table"):
        of_taxa(birds, "family")
    with pytest.raises(FinercamError, match="needs the ranks of the classes"):
        of_taxa(replace(birds, labels=None), "genus")
    with pytest.raises(FinercamError, match="rank is 'genius'"):
        of_taxa(birds, "genius")


def test_a_taxon_whose_classes_are_ruled_out_has_a_gradient_of_nothing(birds: Classifier) -> None:
    logits = torch.tensor([[1.0, -torch.inf, 2.0, 0.5, -torch.inf, 3.0, 0.1]], requires_grad=True)
    genera = of_taxa(replace(birds, read=lambda output: output), "genus")
    found = genera.read(logits)
    assert found[0, 1] == -torch.inf
    (gradient,) = torch.autograd.grad(found[0, 0], logits)
    odds = torch.tensor([1.0, 2.0]).softmax(0)
    torch.testing.assert_close(gradient[0, [0, 2]], odds)
    assert gradient[0, [1, 3, 4, 5, 6]].eq(0).all()
