"""What is asked: targets, references and coefficients, against the literal objectives and their properties."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from finercam import PLAIN, Contrast, FinercamError, Objective
from finercam.contrast import contrast as contrast_module
from finercam.contrast.contrast import AGAINST, AGGREGATES, COMPARED, WEIGHTINGS, find_targets
from finercam.contrast.labels import Labels
from finercam.contrast.taxa import taxon
from finercam.contrast.taxonomy import Taxonomy
from support import reference

BIRDS = Labels(["Blue Grosbeak", "Grandala", "Indigo Bunting", "Lazuli Bunting", "House Finch", "Purple Finch"])
LOGITS = torch.tensor([[9.0, 7.0, 8.0, 1.0, 3.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
INF = math.inf


def row(contrast: Contrast | Objective, logits: Tensor, target: object = None, **options: object) -> Tensor:
    question = contrast.ask(logits, target, **options)
    assert question.rows.shape[1] == 1
    return question.rows[:, 0]


# --- targets -----------------------------------------------------------------------------------------------------


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


# --- references --------------------------------------------------------------------------------------------------


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
    logits = torch.tensor([[3.0, -INF, 1.0, -INF, -INF]])
    question = Contrast(against).ask(logits)
    assert question.references.tolist() == [[2, -1, -1]]
    assert torch.allclose(question.rows, torch.tensor([[[1.0, 0, -0.6, 0, 0]]]))
    with pytest.raises(FinercamError, match="no class to compare 'class 0' with"):
        Contrast(against).ask(torch.tensor([[3.0, -INF, -INF]]))


@pytest.mark.parametrize("weighting", ["softmax", "official"])
def test_a_named_class_that_is_ruled_out_has_no_weight(weighting: str) -> None:
    logits = torch.tensor([[3.0, -INF, 1.0, 0.5]])
    with_it = row(Contrast([1, 2, 3], gamma=1, weighting=weighting), logits, 0)
    assert torch.allclose(with_it, row(Contrast([2, 3], gamma=1, weighting=weighting), logits, 0))
    assert with_it[0, 1] == 0


# --- gamma, weighting, aggregation -------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [-0.5, 0, 0.6, 1, 2, 1e6])
def test_gamma_may_be_any_number(gamma: float) -> None:
    expected = torch.eye(6)[0] - gamma * torch.eye(6)[[1, 3]].mean(0)
    assert torch.allclose(row(Contrast([1, 3], gamma=gamma), LOGITS, 0)[0], expected)


@pytest.mark.parametrize("gamma", [math.nan, math.inf, -math.inf, 1e39, -1.1e6])
def test_gamma_has_a_range(gamma: float) -> None:
    """1e39 is finite, and a row of float32 with it is not."""
    with pytest.raises(FinercamError, match=re.escape(f"gamma is {gamma}; it must be a ")):
        Contrast(gamma=gamma)


def test_strengths_are_told_in_full() -> None:
    one, other = (Contrast([1], gamma=gamma).sentence(0, [1], None) for gamma in (1.2345671, 1.2345674))
    assert one == "class 0, against class 1, gamma 1.2345671"
    assert other == "class 0, against class 1, gamma 1.2345674"


def test_default_gamma() -> None:
    assert Contrast().gamma == 0.6
    assert Contrast(weighting="softmax").gamma == 0.6
    assert Contrast(weighting="official").gamma == 1
    assert Contrast(weighting="official", gamma=0.3).gamma == 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"references": 0}, r"references is 0; it must be at least 1"),
        ({"weighting": "officiel"}, r"weighting is 'officiel'; did you mean 'official'"),
        ({"aggregate": "median"}, r"aggregate is 'median'; did you mean 'mean'"),
        ({"aggregate": "max", "weighting": "softmax"}, r"weighting 'softmax' has no meaning for the maximum"),
        ({"aggregate": "max", "weighting": "official"}, r"weighting 'official' has no meaning for the maximum"),
        ({"aggregate": "mean-after-relu", "weighting": "official"}, r"'official' is defined for aggregate='mean'"),
        ({"reverse": True, "weighting": "official"}, r"'official' is defined for aggregate='mean' and reverse=False"),
    ],
)
def test_unusable_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(FinercamError, match=message):
        Contrast(**options)


def test_official_weighting_of_the_known_example() -> None:
    logits = torch.tensor([[12.0, 10.0, 8.0, 5.0]], dtype=torch.float64)
    found = row(Contrast([1, 2, 3], weighting="official"), logits, 0)[0]
    assert found.tolist() == pytest.approx([1, -1.1089, 0.0869, 0.0220], abs=5e-5)


REAL = st.floats(-30, 30, allow_subnormal=False)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Tensor, int, list[int], float]:
    """Logits, a target, references and a gamma."""
    classes = draw(st.integers(2, 8))
    logits = torch.tensor([draw(st.lists(REAL, min_size=classes, max_size=classes))], dtype=torch.float64)
    order = draw(st.permutations(range(classes)))
    return logits, order[0], order[1 : 1 + draw(st.integers(1, classes - 1))], draw(st.floats(-3, 3))


def derivative(objective: reference.Objective, logits: Tensor) -> Tensor:
    y = logits[0].clone().requires_grad_()
    return torch.autograd.grad(objective(y), y)[0]


@settings(deadline=None)
@given(cases())
def test_every_weighting_is_the_derivative_of_its_objective(case: tuple[Tensor, int, list[int], float]) -> None:
    logits, c, references, gamma = case
    objectives = {
        "mean": reference.mean_finer(c, references, gamma),
        "softmax": reference.official(c, references, gamma, detach=True),
        "official": reference.official(c, references, gamma),
    }
    for weighting, objective in objectives.items():
        expected = derivative(objective, logits)
        found = row(Contrast(references, gamma=gamma, weighting=weighting), logits, c)[0]
        assert float((found - expected).abs().max()) <= 1e-12 * max(1.0, float(expected.abs().max()))


@settings(deadline=None)
@given(cases(), st.sampled_from(WEIGHTINGS), st.sampled_from(AGGREGATES), st.booleans())
def test_rows_sum_to_one_minus_gamma(
    case: tuple[Tensor, int, list[int], float], weighting: str, aggregate: str, reverse: bool
) -> None:
    logits, c, references, gamma = case
    if weighting != "mean" and (aggregate != "mean" or reverse):
        weighting = "mean"
    question = Contrast(references, gamma=gamma, weighting=weighting, aggregate=aggregate, reverse=reverse).ask(
        logits, c
    )
    assert torch.allclose(question.rows.sum(2), torch.tensor(1 - gamma, dtype=torch.float64), atol=1e-10)
    assert torch.allclose(question.shares.sum(1), torch.tensor(1.0, dtype=torch.float64))
    assert torch.equal(question.rows[0, :, c], torch.full_like(question.rows[0, :, c], -gamma if reverse else 1))


@settings(deadline=None)
@given(cases(), st.integers(-64, 64), st.sampled_from(["similar", "predicted"]))
def test_references_do_not_change_when_a_constant_is_added(
    case: tuple[Tensor, int, list[int], float], constant: int, against: str
) -> None:
    logits, c, references, gamma = case
    logits = logits.mul(8).round().div(8)  # so that the sum is exact, and ties abound
    for weighting in WEIGHTINGS:
        contrast = Contrast(against, references=len(references), gamma=gamma, weighting=weighting)
        one, other = contrast.ask(logits, c), contrast.ask(logits + constant, c)
        assert one.references.tolist() == other.references.tolist()
        assert torch.allclose(one.rows, other.rows, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.* references were asked for")
@settings(deadline=None)
@given(cases(), st.sampled_from(["similar", "predicted"]), st.integers(1, 9))
def test_references_are_distinct_nearest_and_never_the_target(
    case: tuple[Tensor, int, list[int], float], against: str, count: int
) -> None:
    logits, c, _, _ = case
    question = Contrast(against, references=count).ask(logits, c)
    found = question.references[0].tolist()
    assert question.targets.tolist() == [c]
    assert len(set(found)) == len(found) == min(count, logits.shape[1] - 1)
    assert c not in found
    y = logits[0].tolist()
    distance = [abs(y[i] - y[c]) if against == "similar" else -y[i] for i in range(len(y))]
    rest = [distance[i] for i in range(len(y)) if i != c and i not in found]
    of_found = [distance[i] for i in found]
    assert of_found == sorted(of_found)
    assert not rest or max(of_found) <= min(rest)


@settings(deadline=None)
@given(cases())
def test_gamma_zero_is_the_target_alone(case: tuple[Tensor, int, list[int], float]) -> None:
    logits, c, references, _ = case
    for weighting in WEIGHTINGS:
        found = Contrast(references, gamma=0, weighting=weighting).ask(logits, c)
        assert torch.equal(found.rows, PLAIN.ask(logits, c).rows)


@settings(deadline=None)
@given(cases(), st.sampled_from(["mean", "softmax"]))
def test_reverse_swaps_the_sides(case: tuple[Tensor, int, list[int], float], weighting: str) -> None:
    logits, c, references, gamma = case
    forth = row(Contrast(references, gamma=1, weighting=weighting), logits, c)
    back = row(Contrast(references, gamma=1, weighting=weighting, reverse=True), logits, c)
    assert torch.equal(back, -forth)
    found = row(Contrast(references, gamma=gamma, weighting=weighting, reverse=True), logits, c)[0]
    assert found[c] == -gamma
    assert torch.allclose(found.clamp(min=0)[references], -forth[0][references])


@pytest.mark.parametrize("aggregate", ["max", "mean-after-relu"])
def test_one_row_per_reference_where_maps_are_combined_later(aggregate: str) -> None:
    contrast = Contrast([[1, 2, 3], [4]], gamma=0.5, aggregate=aggregate)
    question = contrast.ask(LOGITS, [0, 5])
    one_hot = torch.eye(6)
    expected = [[one_hot[0] - 0.5 * one_hot[d] for d in (1, 2, 3)], [one_hot[5] - 0.5 * one_hot[4]] * 3]
    assert torch.allclose(question.rows, torch.stack([torch.stack(rows) for rows in expected]))
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    maps[1, 1:] = maps[1, 0]  # as the same row gives the same map
    if aggregate == "max":
        expected_maps = torch.stack([maps[0].amax(0), maps[1, 0]])
    else:
        expected_maps = torch.stack([maps[0].relu().mean(0), maps[1, 0].relu()])
    assert torch.allclose(question.combine(maps), expected_maps)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@pytest.mark.parametrize("against", [way for way in AGAINST if way != COMPARED])
def test_a_batch_is_its_single_images(against: str, weighting: str) -> None:
    logits = 3 * torch.randn(4, 9, generator=torch.Generator().manual_seed(5))
    head = torch.randn(9, 3, generator=torch.Generator().manual_seed(6))
    # Three classes in each genus, and one of nothing that is known.
    ranks = [[*"kpcof", f"Genus{'abc'[i // 3]}", f"sp{i}"] for i in range(8)]
    labels = Labels([f"class {i}" for i in range(9)], Taxonomy.of([*map(taxon, ranks), None]))
    contrast = Contrast(against, weighting=weighting)
    batch = contrast.ask(logits, [0, 1, 2, 8], head=head, labels=labels)
    for i, target in enumerate([0, 1, 2, 8]):
        one = contrast.ask(logits[i : i + 1], target, head=head, labels=labels)
        assert one.references.tolist() == batch.references[i : i + 1].tolist()
        assert torch.allclose(one.rows, batch.rows[i : i + 1])


# --- precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_coefficients_are_float32_at_least(dtype: torch.dtype) -> None:
    contrast = Contrast(gamma=0.7)
    question = contrast.ask(LOGITS.to(dtype), 0)
    assert question.rows.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert torch.allclose(question.rows.float(), contrast.ask(LOGITS, 0).rows, rtol=0, atol=1e-7)


@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_callers_autocast_does_not_round_coefficients(weighting: str) -> None:
    contrast = Contrast([1, 3, 4], gamma=0.7, weighting=weighting)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = contrast.ask(LOGITS, 0).rows
    assert torch.equal(rounded, contrast.ask(LOGITS, 0).rows)


# --- objectives --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_an_objective_is_its_derivative(context: type) -> None:
    objective = Objective(lambda y: y.logsumexp(1) - y[:, 2] ** 2, name="free energy")
    with context():
        question = objective.ask(LOGITS.clone(), "House Finch", labels=BIRDS)
    expected = LOGITS.softmax(1)
    expected[:, 2] -= 2 * LOGITS[:, 2]
    assert torch.allclose(question.rows[:, 0], expected)
    assert not question.rows.requires_grad
    assert question.targets.tolist() == [4, 4]
    assert question.references.shape == (2, 0)
    assert objective.sentence(4, [], BIRDS) == "free energy"


def test_an_objective_that_is_a_contrast_is_that_contrast() -> None:
    finer = Objective(lambda y: y[:, 0] - 0.6 * (y[:, 1] + y[:, 3]) / 2)
    assert torch.allclose(finer.ask(LOGITS).rows, Contrast([1, 3]).ask(LOGITS, 0).rows)


@pytest.mark.parametrize(
    "function", [lambda y: y.sum(), lambda y: y, lambda y: y.detach().sum(1), lambda y: y.argmax(1).float()]
)
def test_an_objective_returns_one_differentiable_number_per_image(function: object) -> None:
    with pytest.raises(FinercamError, match=r"must return one number per image, differentiable.*'odd' returned shape"):
        Objective(function, name="odd").ask(LOGITS)


# --- sentences ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "Blue Grosbeak, against Grandala, Indigo Bunting, Lazuli Bunting, gamma 0.6"),
        ({"gamma": 1}, "Blue Grosbeak, against Grandala, Indigo Bunting, Lazuli Bunting, gamma 1"),
        ({"gamma": 0}, "Blue Grosbeak, alone"),
        (
            {"weighting": "softmax", "aggregate": "mean-after-relu"},
            "Blue Grosbeak, against Grandala, Indigo Bunting, Lazuli Bunting, gamma 0.6, softmax weighting, "
            "mean-after-relu of the references",
        ),
        (
            {"aggregate": "max"},
            "Blue Grosbeak, against Grandala, Indigo Bunting, Lazuli Bunting, gamma 0.6, max of the references",
        ),
        (
            {"reverse": True},
            "Grandala, Indigo Bunting, Lazuli Bunting, against Blue Grosbeak, reversed, gamma 0.6",
        ),
    ],
)
def test_a_contrast_says_what_it_asks(options: dict[str, object], expected: str) -> None:
    assert Contrast(**options).sentence(0, [1, 2, 3], BIRDS) == expected


def test_a_sentence_without_names() -> None:
    assert Contrast().sentence(3, [1, 2], None) == "class 3, against class 1, class 2, gamma 0.6"


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


@pytest.mark.parametrize("target", [True, 1.0, torch.tensor(1.0), torch.tensor([True, False]), [0, 1.0], object()])
def test_targets_that_are_not_classes_are_refused(target):
    with pytest.raises(FinercamError, match="is not a class"):
        Contrast().ask(torch.randn(2, 5), target)


def test_a_tensor_without_dimensions_is_one_target_for_all():
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 1.0]])
    assert Contrast().ask(logits, logits[0].argmax()).targets.tolist() == [1, 1]
    assert Contrast(against=[torch.tensor(2), logits[1].argmax()]).ask(logits, 1).references.tolist() == [[2, 0]] * 2


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        ({"references": True}, "references is True"),
        ({"against": None}, "against is None; give classes as a list"),
        ({"against": 3}, "against is 3; give classes as a list"),
        ({"against": [True]}, "is not a class"),
        ({"against": "similar@²"}, "a rank from 1 upwards"),
        ({"against": "similar@" + "9" * 5000}, "a rank from 1 upwards"),
        ({"gamma": 10**400}, "it must be a number from"),
    ],
)
def test_options_of_other_kinds_are_refused_in_one_line(odd, message):
    with pytest.raises(FinercamError, match=message) as error:
        Contrast(**odd)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("given", [2.5, 2.0, "3", None, torch.tensor(2.0)])
def test_a_number_of_references_is_a_whole_one(given):
    # The types of public signatures are checked in tests, so it is asked of what they call.
    with pytest.raises(FinercamError, match="it must be a whole number"):
        contrast_module._count(given)
    assert contrast_module._count(np.int64(2)) == contrast_module._count(torch.tensor(2)) == 2
    assert [contrast_module._is_strength(one) for one in (0, 0.5, np.float32(1), "0.6", None, INF)] == [True] * 3 + [
        False
    ] * 3
