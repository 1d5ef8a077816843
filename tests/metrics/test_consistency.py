"""Agreement in part coordinates, against loops over pairs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finercam.errors import FinercamError
from finercam.metrics import consistency as module
from finercam.metrics.consistency import agreement, consistency


def part_shares(seed: int, photos: int = 9, parts: int = 6):
    """Random part vectors with hidden parts, one photo's map empty."""
    rng = np.random.default_rng(seed)
    shares = rng.random((photos, parts))
    shares[rng.random(shares.shape) < 0.35] = math.nan
    shares[0] = np.where(np.isnan(shares[0]), math.nan, 0.0)
    return torch.from_numpy(shares), torch.from_numpy(rng.integers(0, 3, photos))


def literal_agreement(a, b, least_parts):
    both = [(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True) if not (math.isnan(x) or math.isnan(y))]
    length = math.sqrt(sum(x * x for x, _ in both)) * math.sqrt(sum(y * y for _, y in both))
    if len(both) < least_parts or length == 0:
        return math.nan
    return sum(x * y for x, y in both) / length


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_agreement_is_the_cosine_over_the_parts_visible_in_both(seed, least_parts):
    shares, _ = part_shares(seed)
    expected = [[literal_agreement(a, b, least_parts) for b in shares[:4]] for a in shares]
    found = agreement(shares, shares[:4], least_parts)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), equal_nan=True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 4, 512]))
def test_within_and_between_are_means_over_pairs_in_pieces_of_any_size(seed, rows):
    shares, classes = part_shares(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS", rows)
        found = consistency(shares, classes)
    for i in range(len(shares)):
        pairs = {True: [], False: []}
        for j in range(len(shares)):
            alike = literal_agreement(shares[i], shares[j], 3)
            if i != j and not math.isnan(alike):
                pairs[bool(classes[i] == classes[j])].append(alike)
        for same, value in ((True, found.within[i]), (False, found.between[i])):
            assert float(value) == pytest.approx(np.mean(pairs[same]) if pairs[same] else math.nan, nan_ok=True)
    torch.testing.assert_close(found.gain, found.within - found.between, equal_nan=True)
    assert found.within[0].isnan()
    assert found.between[0].isnan()


def test_classes_that_look_at_their_own_parts_agree_inside_and_not_between():
    # Two classes, each looking at its own three of six parts, at maps of any scale.
    shares = torch.zeros(8, 6)
    shares[:4, :3] = torch.tensor([0.1, 0.2, 0.3])
    shares[4:, 3:] = torch.tensor([0.3, 0.2, 0.1])
    shares *= torch.linspace(0.1, 1, 8)[:, None]
    classes = torch.tensor([0] * 4 + [1] * 4)
    found = consistency(shares, classes)
    torch.testing.assert_close(found.within, torch.ones(8))
    torch.testing.assert_close(found.between, torch.zeros(8))
    # The same maps under labels that do not go with them.
    mixed = consistency(shares, torch.tensor([0, 1] * 4))
    assert (mixed.gain < 0.1).all()


def test_a_photo_alone_in_its_class_has_nothing_to_agree_with():
    shares = torch.rand(3, 4)
    found = consistency(shares, torch.tensor([0, 0, 1]))
    assert found.within.isnan().tolist() == [False, False, True]
    assert not found.between.isnan().any()
    assert consistency(shares, torch.zeros(3, dtype=torch.long)).between.isnan().all()
    assert consistency(shares[:0], torch.zeros(0, dtype=torch.long)).within.shape == (0,)


def test_the_order_of_photos_does_not_matter_and_a_copy_agrees_fully():
    shares, classes = part_shares(4)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        consistency(shares[order], classes[order]).gain, consistency(shares, classes).gain[order], equal_nan=True
    )
    alike = agreement(shares.float(), 3 * shares.float()).diagonal()
    torch.testing.assert_close(alike[~alike.isnan()], torch.ones(int((~alike.isnan()).sum())))
    assert float(alike[~alike.isnan()].max()) <= 1
    with pytest.raises(FinercamError, match="at least 2"):
        agreement(shares, shares, 1)


def test_a_callers_autocast_rounds_nothing():
    shares, _ = part_shares(1)
    shares = shares.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = agreement(shares, shares)
    torch.testing.assert_close(found, agreement(shares, shares), equal_nan=True, rtol=0, atol=0)
