"""Of any two look-alikes the true trait is named, without being told which parts differ."""

from dataclasses import replace
from functools import partial

import pytest

import finercam
from finercam.aviary import PART_OF, SPECIES, Aviary, label_names, look_alikes
from finercam.aviary.format import as_dataset
from finercam.models.run import Run
from finercam.runs.engine import run_study
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.studies.places import groups_of
from finercam.studies.traits.study import Traits

#: Birds of each species.
EACH = 5
PAIRS = sorted(
    {
        tuple(sorted((label, label_names.index(other.name))))
        for label, species in enumerate(SPECIES)
        for other in look_alikes(species)
    }
)


def truth(pair):
    """Return the parts in which two species differ."""
    one, other = (SPECIES[label].attributes for label in pair)
    return {PART_OF[name] for name in one if one[name] != other[name]}


@pytest.mark.slow
def test_the_true_trait_is_named_for_nearly_all_pairs(tmp_path):
    classifier, every = finercam.load("aviary"), as_dataset(Aviary("test", 256, 31))
    of = {label: [item for item in every.items() if item.label == label][:EACH] for label in range(len(SPECIES))}
    right = {}
    for number, pair in enumerate(PAIRS[::3]):
        data = replace(every, items=partial(iter, [item for label in pair for item in of[label]]))
        study = Traits(dict(enumerate(label_names)), groups_of(data), data.part_names, pair)
        targets, out = list(range(len(SPECIES))), str(tmp_path / str(number))
        rows = run_study(
            study, loaded_classifier(classifier), data, out, targets, run=Run(images=8), engine=Local(1)
        ).rows
        first = max(
            (one for direction in study.summary(rows) for one in direction.carriers), key=lambda one: one.fall.mean
        )
        right[pair] = first.place in truth(pair)
    assert (len(PAIRS), len(right)) == (42, 14)
    # A name picked at random among the dozen places in sight would be right for one.
    assert sum(right.values()) >= 13, [pair for pair, found in right.items() if not found]
