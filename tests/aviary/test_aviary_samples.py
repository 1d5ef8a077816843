import hashlib
import inspect
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from finercam import aviary
from finercam.aviary import PARTS, SPECIES, Aviary, bird, samples
from finercam.aviary.scene import hidden_by
from finercam.errors import FinercamError

PUBLISHED_LABELS = [16, 7, 19, 25, 5, 12, 14, 11]
PUBLISHED_BACKGROUNDS = ["foliage", "foliage", "sand", "foliage", "foliage", "sky"]
INDICES = [0, 1, 7, 31, 32, 1000]


def fingerprint(sample):
    digest = hashlib.sha256(sample.image.tobytes())
    for masks in (sample.masks, sample.differences):
        for name, mask in masks.items():
            digest.update(name.encode() + np.packbits(mask).tobytes())
    words = [sample.label, sample.species, sample.attributes, sample.caption, sample.box, sample.background]
    digest.update(json.dumps(words).encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def drawn():
    """A sample of every species, twice."""
    return list(Aviary("test", 2 * len(SPECIES), seed=3))


def grown(mask, by):
    """The literal dilation by a square."""
    out = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        out[max(0, y - by) : y + by + 1, max(0, x - by) : x + by + 1] = True
    return out


def test_samples_are_the_same_in_another_process_and_another_order():
    code = "import hashlib, json\nimport numpy as np\nfrom finercam.aviary import Aviary\n"
    code += inspect.getsource(fingerprint)
    code += f"print(json.dumps([fingerprint(Aviary('test', 2000, 5)[i]) for i in {INDICES[::-1]}]))"
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    here = [fingerprint(Aviary("test", 2000, 5)[i]) for i in INDICES]
    assert json.loads(done.stdout) == here[::-1]
    assert len(set(here)) == len(INDICES)


def test_the_stream_is_the_one_that_was_published():
    # Weights and figures rest on these pictures; a change here makes them stale.
    assert [aviary.label_at("test", index) for index in range(8)] == PUBLISHED_LABELS
    assert [aviary.background_at("test", index) for index in range(6)] == PUBLISHED_BACKGROUNDS


def test_split_index_and_seed_each_change_the_picture():
    pictures = [
        aviary.picture(split, index, seed)[0].tobytes()
        for split, index, seed in (("train", 0, 0), ("test", 0, 0), ("train", 1, 0), ("train", 0, 1))
    ]
    assert len(set(pictures)) == 4


def test_every_run_of_labels_holds_each_species_once():
    n = len(SPECIES)
    first, second = ([aviary.label_at("train", block * n + k, 2) for k in range(n)] for block in (0, 1))
    assert sorted(first) == sorted(second) == list(range(n))
    assert first != second
    assert first != sorted(first)


def test_a_sample_is_described_by_its_species(drawn):
    for sample in drawn:
        species = SPECIES[sample.label]
        assert (sample.species, sample.family, sample.attributes) == (species.name, species.family, species.attributes)
        assert set(sample.differences) == {other.name for other in aviary.look_alikes(species)}
        assert sample.image.shape == (128, 128, 3)
        assert sample.image.dtype == np.uint8


def test_masks_are_of_seen_parts_and_never_overlap(drawn):
    for sample in drawn:
        assert set(sample.masks) <= set(PARTS)
        assert all(mask.any() for mask in sample.masks.values())
        assert sum(mask.astype(int) for mask in sample.masks.values()).max() == 1
        have = {"crest": "crest_form", "eye_ring": "eye_ring", "wing_bar": "wing_bar", "eye_line": "eye_line"}
        for part, attribute in have.items():
            if sample.attributes[attribute] == "none":
                assert part not in sample.masks
        # What look-alikes differ in is never hidden for the most part.
        for part in {"eye", "head", "wing", "tail"}:
            assert part in sample.masks, (sample.species, part)


def test_masks_stay_clear_of_what_is_in_front():
    clipped = 0
    for index in range(60):
        _, scene = samples._scene("front", index, 0, False, 128)
        hidden = hidden_by(scene.front, 128)
        sample = aviary.sample("front", index)
        for mask in [*sample.masks.values(), *sample.differences.values()]:
            assert not (mask & (hidden >= 0.5)).any()
        x0, y0, x1, y1 = sample.box
        clipped += bool((hidden[y0:y1, x0:x1] >= 0.5).any())
    assert clipped > 20


def test_the_box_is_the_smallest_around_the_masks(drawn):
    for sample in drawn:
        seen = np.any(list(sample.masks.values()), axis=0)
        x0, y0, x1, y1 = sample.box
        assert seen[y0:y1, x0:x1].sum() == seen.sum()
        for line in (seen[y0], seen[y1 - 1], seen[:, x0], seen[:, x1 - 1]):
            assert line.any()


@pytest.mark.parametrize("index", range(12))
def test_masks_and_box_agree_with_the_pixels(index):
    sample, empty = aviary.sample("pixels", index), aviary.empty_scene("pixels", index)
    _, scene = samples._scene("pixels", index, 0, False, 128)
    changed = (sample.image != empty).any(2)
    seen = np.any(list(sample.masks.values()), axis=0)
    # Some pixels of a bird have the very colour of what is behind them.
    assert (changed & seen).sum() > 0.97 * seen.sum()
    # Beside the bird there is only its antialiased edge and the wing's shadow, and what the blur makes of them.
    hidden = hidden_by(scene.front, 128) > 0
    assert not (changed & ~grown(seen | hidden, 6 + scene.photo.passes)).any()


def test_no_part_is_cut_off_by_its_window():
    for index in range(40):
        species, scene = samples._scene("cut", index, 0, False, 128)
        for part, layers in samples._draw(species, scene).parts.items():
            for layer in layers:
                w, alpha = layer.window, layer.alpha
                for inside, line in (
                    (w.top > 0, alpha[0]),
                    (w.bottom < 128, alpha[-1]),
                    (w.left > 0, alpha[:, 0]),
                    (w.right < 128, alpha[:, -1]),
                ):
                    assert not inside or line.max() < 0.02, (species.name, part)


@pytest.mark.parametrize("index", range(len(SPECIES)))
def test_repainting_changes_its_mask_and_nothing_else(index):
    aviary_ = Aviary("repaint", 100)
    sample = aviary_[index]
    _, scene = samples._scene("repaint", index, 0, False, 128)
    for other, difference in sample.differences.items():
        repainted = aviary_.repaint(index, other)
        assert (repainted.species, SPECIES[repainted.label].name) == (other, other)
        changed = (sample.image != repainted.image).any(2)
        assert not (changed & ~repainted.mask).any()
        assert not (difference & ~repainted.mask).any()
        # Not generous: an edge's antialiasing and the blur around the difference, or a tail's thin tip.
        slack = repainted.mask & ~grown(difference, 2 + scene.photo.passes)
        assert slack.sum() < 0.12 * repainted.mask.sum()
        # It shows: every look-alike differs by many pixels, and by far more than the noise.
        far = np.abs(sample.image.astype(int) - repainted.image).max(2) > 20
        assert (far & difference).sum() > 50
        if aviary.differing(SPECIES[sample.label], aviary.find_species(other)) in COLOURED:
            assert (changed & difference).sum() > 0.97 * difference.sum()


# Traits that colour the whole of their part, with and without the other's.
COLOURED = {("throat_colour",), ("wing_bar",), ("crown_colour",), ("eye_ring",), ("leg_colour",), ("beak_colour",)}


def test_a_repainted_bird_is_the_look_alike_in_the_same_scene():
    sample, other = aviary.sample("back", 4), None
    for other in sample.differences:
        species, scene = samples._scene("back", 4, 0, False, 128)
        direct = samples._photo(scene, samples._draw(aviary.find_species(other), scene).parts)
        assert np.array_equal(aviary.repaint("back", 4, 0, other).image, direct)
        # Seen from the look-alike, the difference is the same.
        there = samples._draw(aviary.find_species(other), scene)
        mask = samples._difference(there, species, bird.seen(there.parts, 128))
        assert np.array_equal(mask, sample.differences[other])
    assert other is not None


def test_the_bias_moves_nothing_but_the_background():
    for index in range(8):
        fair, biased = aviary.sample("bias", index), aviary.sample("bias", index, biased=True)
        assert (fair.label, fair.attributes) == (biased.label, biased.attributes)
        if fair.background != biased.background:
            assert not np.array_equal(fair.image, biased.image)
            assert biased.background == aviary.favourite(SPECIES[biased.label])
            assert np.array_equal(fair.masks["eye"], biased.masks["eye"])
        else:
            assert np.array_equal(fair.image, biased.image)


def test_a_sequence_of_samples():
    few = Aviary("train", 5, seed=9, size=48)
    assert len(few) == 5
    assert few.label_names == aviary.label_names
    assert [sample.label for sample in few] == [few.label(index) for index in range(5)]
    assert np.array_equal(few[-1].image, few[np.int64(4)].image)
    image, label = few.picture(3)
    assert np.array_equal(image, few[3].image)
    assert label == few[3].label
    assert few.empty_scene(2).shape == (48, 48, 3)
    with pytest.raises(IndexError, match="holds 5"):
        few[5]


def test_samples_can_be_sent_between_processes():
    sample = aviary.sample("sent", 0, size=32)
    back = pickle.loads(pickle.dumps(sample))
    assert np.array_equal(back.image, sample.image)
    assert back.attributes == sample.attributes


def test_the_size_is_only_the_resolution():
    for index in range(4):
        small, large = aviary.sample("size", index, size=64), aviary.sample("size", index, size=256)
        assert np.abs(4 * np.array(small.box) - np.array(large.box)).max() <= 14
        shrunk = large.image.reshape(64, 4, 64, 4, 3).mean((1, 3))
        assert np.abs(shrunk - small.image).mean() < 12
        assert small.caption == large.caption


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Aviary("train", -1), "the number of birds is -1"),
        (lambda: Aviary("", 3), "split's name is empty"),
        (lambda: Aviary(seed=-4), "seed is -4"),
        (lambda: Aviary(size=16), "size is 16 pixels"),
        (lambda: aviary.sample("train", -1), "index is -1"),
        (lambda: aviary.repaint("train", 0, 0, "Snow-breasted Thrush"), "did you mean"),
    ],
)
def test_bad_arguments_are_refused(make, says):
    with pytest.raises(FinercamError, match=says):
        make()


def test_repainting_as_a_stranger_is_refused():
    sample = aviary.sample("train", 0)
    stranger = next(species for species in SPECIES if species.family != sample.family)
    with pytest.raises(
        FinercamError, match=f"{stranger.name}.*not a look-alike of '{sample.species}'.*sample 0"
    ) as error:
        aviary.repaint("train", 0, 0, stranger.name)
    assert any(other in str(error.value) for other in sample.differences)
