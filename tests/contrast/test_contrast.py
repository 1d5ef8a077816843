"""What is asked: coefficients, strengths, weightings and objectives, against the literal ones and their properties."""

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
from finercam.contrast.contrast import AGAINST, AGGREGATES, COMPARED, WEIGHTINGS
from finercam.contrast.labels import Labels
from finercam.contrast.taxa import taxon
from finercam.contrast.taxonomy import Taxonomy
from support import reference
from support.asked import BIRDS, LOGITS, row

INF = math.inf


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
