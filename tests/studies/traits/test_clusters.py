import math

import pytest
import torch

from finercam.studies.traits.clusters import clusters
from finercam.studies.traits.typical import by_typicality
from support.carried import carried, patches


def photos(count: int, kinds: int, noise: float, common: float = 0.0, seed: int = 0):
    """Return photos of which each shows two kinds of patches, in turn; without kinds each patch is another."""
    generator = torch.Generator().manual_seed(seed)
    centres = common + torch.nn.functional.normalize(torch.randn(max(1, kinds), 64, generator=generator))
    centres = centres if kinds else torch.full_like(centres, common)
    rows = []
    for number in range(count):
        kind = [(2 * number + at) % max(1, kinds) for at in (0, 1)]
        features = [centres[one] + noise / 8 * torch.randn(64, generator=generator) for one in kind]
        rows.append(carried(number, patches=patches(features, [0.5, 0.3])))
    return rows


@pytest.mark.parametrize("kinds", [2, 3, 4])
@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_patches_that_show_the_same_are_one_cluster(kinds, noise):
    rows = photos(24, kinds, noise)
    found = clusters(rows)
    # A patch that is like no other may stay alone, and is nothing that photos have in common.
    common = [one for one in found if one.photos > 1]
    assert len(common) == kinds
    assert all(one.tight for one in common)
    assert sum(one.photos for one in found) <= sum(one.photos for one in common) + 1
    for one in common:
        assert len({(2 * member.photo + member.patch) % kinds for member in one.members}) == 1
    # All the evidence is somewhere, in the order of its weight.
    shares = [one.share.mean for one in found]
    assert sum(shares) == pytest.approx(0.8)
    assert shares == sorted(shares, reverse=True)


def test_the_share_is_the_mean_over_all_photos_with_saliency():
    rows = photos(12, 2, 0.1)
    # A third of the photos shows the second kind no more, and one shows nothing.
    rows = [carried(one.id, patches=one.patches[: 1 if one.id % 3 == 0 else 2]) for one in rows]
    first, second = clusters([*rows, carried(12, empty=True)])
    assert (first.share.mean, first.share.n, first.photos) == (pytest.approx(0.5), 12, 12)
    assert (second.share.mean, second.photos) == (pytest.approx(0.3 * 8 / 12), 8)
    assert second.share.low < 0.2 < second.share.high


def test_members_are_of_different_photos_the_most_typical_first():
    rows = photos(10, 1, 0.8)
    (found,) = clusters(rows)
    assert sorted(one.photo for one in found.members) == list(range(10))
    likeness = [one.likeness for one in found.members]
    assert likeness == sorted(likeness, reverse=True)


def test_patches_that_have_nothing_in_common_are_no_tighter_than_chance():
    found = clusters(photos(20, 0, 1.0))
    assert not any(one.tight for one in found)


def test_one_kind_is_not_cut_in_two_and_the_same_is_found_again():
    rows = photos(20, 1, 1.0, common=0.3)
    assert len(clusters(rows)) == 1
    assert clusters(photos(20, 3, 1.0)) == clusters(photos(20, 3, 1.0))


def test_few_or_no_photos():
    assert clusters([]) == clusters([carried(0, empty=True)]) == []
    (found,) = clusters(photos(1, 2, 0.1))
    assert found.photos == 1
    assert not found.tight
    assert math.isnan(found.tightness)


def test_the_photo_unlike_the_others_is_the_least_typical():
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number in range(6):
        features = torch.nn.functional.normalize(torch.ones(32) + 0.3 * torch.randn(32, generator=generator), dim=0)
        rows.append(carried(number, features=(-features if number == 3 else features).tolist()))
    found = by_typicality([*rows, carried(6, empty=True)])
    assert len(found) == 6
    assert found[-1][0].id == 3
    assert found[-1][1] < 0
    # Literally: the cosine with the mean of the others.
    one = found[0][0]
    others = torch.tensor([row.features for row in rows if row.id != one.id]).mean(0)
    assert found[0][1] == pytest.approx(
        float(torch.nn.functional.cosine_similarity(torch.tensor(one.features), others, dim=0)), abs=1e-5
    )
    assert by_typicality(rows[:3]) == []
