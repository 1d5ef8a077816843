"""Who is asked about: targets and references, by name, index and way, and what cannot be one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from finercam import PLAIN, Contrast, FinercamError, Objective
from finercam.contrast.contrast import AGGREGATES, find_targets
from support import reference
from support.asked import BIRDS, LOGITS, row


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (None, [0, 5]),
        ("predicted", [0, 5]),
        (3, [3, 3]),
        ("House Finch", [4, 4]),
        ("house_finch", [4, 4]),
        ([1, 2], [1, 2]),
        (["Grandala", 0], [1, 0]),
        (("Purple Finch", "Grandala"), [5, 1]),
        (torch.tensor([2, 3]), [2, 3]),
        (torch.tensor([2, 3], dtype=torch.int32), [2, 3]),
    ],
)
def test_targets_by_name_and_index_for_all_or_per_image(targets: object, expected: list[int]) -> None:
    assert find_targets(targets, LOGITS, BIRDS).tolist() == expected
    assert PLAIN.ask(LOGITS, targets, labels=BIRDS).targets.tolist() == expected
    assert torch.equal(row(PLAIN, LOGITS, targets, labels=BIRDS), torch.eye(6)[expected])


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ("Blue Grosbek", r"no class is called 'Blue Grosbek'; did you mean 'Blue Grosbeak'"),
        (6, r"class index 6 is out of range: the model has 6 classes, 0 to 5"),
        (-1, r"class index -1 is out of range"),
        ([0, 1, 2], r"3 targets were given for 2 images"),
        (torch.tensor([0]), r"1 targets were given for 2 images"),
    ],
)
def test_unusable_targets(targets: object, message: str) -> None:
    with pytest.raises(FinercamError, match=message):
        Contrast().ask(LOGITS, targets, labels=BIRDS)


def test_a_name_without_labels_is_refused() -> None:
    with pytest.raises(FinercamError, match="'Grandala' is a name, but the classifier has no class names"):
        Contrast().ask(LOGITS, "Grandala")
    assert Contrast().ask(LOGITS, "4").targets.tolist() == [4, 4]


@pytest.mark.parametrize("target", [True, 1.0, torch.tensor(1.0), torch.tensor([True, False]), [0, 1.0], object()])
def test_targets_that_are_not_classes_are_refused(target):
    with pytest.raises(FinercamError, match="is not a class"):
        Contrast().ask(torch.randn(2, 5), target)


def test_a_tensor_without_dimensions_is_one_target_for_all():
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
    assert Contrast().ask(logits, logits[0].argmax()).targets.tolist() == [1, 1]
    assert Contrast(against=[torch.tensor(2), logits[1].argmax()]).ask(logits, 1).references.tolist() == [[2, 0]] * 2


def test_similar_are_the_nearest_logits() -> None:
    question = Contrast("similar").ask(LOGITS, [4, 2])
    assert question.references.tolist() == [[5, 3, 1], [1, 3, 0]]  # |3 - 2|, |3 - 1|, 4 (1 before 2, no tie: 7, 8)


def test_predicted_are_the_highest_logits_but_the_targets() -> None:
    question = Contrast("predicted", references=2).ask(LOGITS, [4, 5])
    assert question.references.tolist() == [[0, 2], [4, 3]]


def test_weights_are_equation_11() -> None:
    head = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    head[2] = 0.1 * head[0] + 0.01  # nearly the same direction, much shorter
    head[4] = 9 * head[4]  # longer than any, in another
    assert int((head @ head[0])[1:].argmax()) + 1 != 2
    similar = reference.similarity(head)
    question = Contrast("weights").ask(LOGITS, [0, 3], head=head)
    for target, found in zip([0, 3], question.references.tolist(), strict=True):
        others = sorted((c for c in range(6) if c != target), key=lambda c: -similar[target][c])
        assert found == others[:3]
    assert question.references[0, 0] == 2
    with pytest.raises(FinercamError, match="this classifier has none; use against='similar'"):
        Contrast("weights").ask(LOGITS)


@pytest.mark.parametrize(
    ("against", "expected"),
    [
        (["Grandala", "Lazuli Bunting"], [[1, 3], [1, 3]]),
        ([3, 1], [[3, 1], [3, 1]]),
        (["Grandala"], [[1], [1]]),
        ([["Grandala"], [4, "Indigo Bunting"]], [[1, -1], [4, 2]]),
        ([(1, 3), (4, 2)], [[1, 3], [4, 2]]),
        ([0, 5, 1], [[5, 1], [0, 1]]),  # the target itself drops out, per image
        ([1, 1, "Grandala", 3], [[1, 3], [1, 3]]),
        (np.array([1, 3]), [[1, 3], [1, 3]]),
        (np.array([[1, 3], [4, 2]]), [[1, 3], [4, 2]]),
        (torch.tensor([[1, 3], [4, 2]]), [[1, 3], [4, 2]]),
    ],
)
def test_named_references(against: object, expected: list[list[int]]) -> None:
    question = Contrast(against, gamma=0.5).ask(LOGITS, [0, 5], labels=BIRDS)
    assert question.references.tolist() == expected
    for index, (target, references) in enumerate(zip([0, 5], expected, strict=True)):
        present = [r for r in references if r >= 0]
        expected_row = torch.eye(6)[target] - 0.5 * torch.eye(6)[present].mean(0)
        assert torch.allclose(question.rows[index, 0], expected_row)


def test_a_contrast_is_plain_data() -> None:
    contrast = Contrast(np.array([1, 3]))
    assert contrast == Contrast([1, 3]) == Contrast((1, 3))
    assert hash(contrast) == hash(Contrast([1, 3]))
    assert all(type(c) is int for c in contrast.against)


def test_part_of_a_batch_keeps_its_own_references() -> None:
    contrast = Contrast([["Grandala"], [4], [2, 3]], gamma=1)
    assert contrast.part(slice(1, 3)) == Contrast([[4], [2, 3]], gamma=1)
    assert Contrast([1, 2]).part(slice(1, 2)) == Contrast([1, 2])
    assert Contrast("similar").part(slice(1, 2)) == Contrast("similar")
    objective = Objective(lambda y: y.sum(1))
    assert objective.part(slice(0, 1)) is objective


@pytest.mark.parametrize(
    ("against", "message"),
    [
        ("similiar", r"against is 'similiar'; did you mean 'similar'\?; give classes as a list"),
        ("Grandala", r"against is 'Grandala'; .*give classes as a list of names or indices"),
        ([], r"no reference classes were named"),
        ([1, [2]], r"references must be classes, or one list of classes per image, not both"),
        (["Grandalla"], r"no class is called 'Grandalla'; did you mean 'Grandala'"),
        ([7], r"class index 7 is out of range"),
        ([[1], [2], [3]], r"3 lists of references were given for 2 images"),
        ([0], r"image 0: there is no class to compare 'Blue Grosbeak' with"),
        ([[1], []], r"image 1: there is no class to compare 'Purple Finch' with"),
    ],
)
def test_unusable_references(against: object, message: str) -> None:
    with pytest.raises(FinercamError, match=message):
        Contrast(against).ask(LOGITS, [0, 5], labels=BIRDS)


@pytest.mark.parametrize("against", ["similar", "predicted"])
@pytest.mark.parametrize("target", range(4))
def test_a_tie_never_changes_the_target(against: str, target: int) -> None:
    tied = torch.tensor([[5.0, 5.0, 5.0, 5.0]])
    question = Contrast(against, references=2).ask(tied, target)
    assert question.targets.tolist() == [target]
    assert question.references.tolist() == [[c for c in range(4) if c != target][:2]]


def test_fewer_classes_give_fewer_references() -> None:
    with pytest.warns(UserWarning, match="5 references were asked for, and the model has 2 other classes"):
        question = Contrast(references=5).ask(LOGITS[:, :3], [0, 1])
    assert question.references.shape == (2, 2)
    assert torch.allclose(question.rows[0, 0], torch.tensor([1.0, -0.3, -0.3]))
    two = Contrast().ask(torch.tensor([[1.0, 2.0]]))
    assert two.rows.tolist() == [[[pytest.approx(-0.6), 1.0]]]
    with pytest.raises(FinercamError, match="no class to compare 'class 0' with"):
        Contrast().ask(torch.tensor([[1.0]]))
    assert PLAIN.ask(torch.tensor([[1.0]])).rows.tolist() == [[[1.0]]]


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_gamma_zero_needs_no_reference(aggregate: str) -> None:
    for against in ([2], [[2], [1]]):
        question = Contrast(against, gamma=0, aggregate=aggregate).ask(LOGITS, 2)
        assert torch.equal(question.rows, torch.eye(6)[[2, 2]][:, None])
        assert question.shares.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("against", ["similar", "predicted"])
def test_classes_ruled_out_are_no_references(against: str) -> None:
    logits = torch.tensor([[3.0, -math.inf, 1.0, -math.inf, -math.inf]])
    question = Contrast(against).ask(logits)
    assert question.references.tolist() == [[2, -1, -1]]
    assert torch.allclose(question.rows, torch.tensor([[[1.0, 0, -0.6, 0, 0]]]))
    with pytest.raises(FinercamError, match="no class to compare 'class 0' with"):
        Contrast(against).ask(torch.tensor([[3.0, -math.inf, -math.inf]]))


@pytest.mark.parametrize("weighting", ["softmax", "official"])
def test_a_named_class_that_is_ruled_out_has_no_weight(weighting: str) -> None:
    logits = torch.tensor([[3.0, -math.inf, 1.0, 0.5]])
    with_it = row(Contrast([1, 2, 3], gamma=1, weighting=weighting), logits, 0)
    assert torch.allclose(with_it, row(Contrast([2, 3], gamma=1, weighting=weighting), logits, 0))
    assert with_it[0, 1] == 0


@pytest.mark.parametrize("way", ["similar", "predicted"])
def test_a_rank_takes_that_reference_alone(way):
    logits = torch.tensor([[5.0, 4.0, 1.0, 4.5, 0.0], [0.0, 3.0, 2.0, 1.0, 2.5]])
    every = Contrast(way, references=4).ask(logits, [0, 4]).references
    for rank in range(1, 5):
        question = Contrast(f"{way}@{rank}", gamma=1.0).ask(logits, [0, 4])
        assert question.references.tolist() == every[:, rank - 1 : rank].tolist()
        literal = torch.zeros_like(logits)
        for image, (target, other) in enumerate(zip([0, 4], every[:, rank - 1].tolist(), strict=True)):
            literal[image, target], literal[image, other] = 1, -1
        assert torch.equal(question.rows[:, 0], literal)


def test_a_rank_beyond_the_classes_is_refused():
    with pytest.raises(FinercamError, match="reference"):
        Contrast("similar@5").ask(torch.tensor([[1.0, 2.0, 3.0]]), [0])


@pytest.mark.parametrize("against", ["similar@", "similar@0", "similar@x", "similar@-1", "@1", "near@1"])
def test_a_rank_that_is_none_is_refused(against):
    with pytest.raises(FinercamError):
        Contrast(against)
