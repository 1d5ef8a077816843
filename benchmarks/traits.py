"""``python -m benchmarks.traits``: of how many pairs of look-alikes is the true trait named, by which rule?

Look-alikes of the aviary differ in one or two parts, which are known; nothing of that is told. Each rule names a part
of a pair from the same rows. Chance is what a part picked at random among those in sight would give.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import finercam
from finercam.aviary import PART_OF, SPECIES, Aviary, label_names, look_alikes
from finercam.aviary.format import as_dataset
from finercam.models.run import Run
from finercam.runs.engine import run_study
from finercam.runs.loaded import loaded_classifier
from finercam.runs.local import Local
from finercam.studies.places import groups_of
from finercam.studies.traits.findings import Carrier
from finercam.studies.traits.study import Traits

#: What a rule calls a part that tells most.
RULES: dict[str, Callable[[Carrier], float]] = {
    "painting it over costs the most": lambda one: one.fall.mean,
    "it has the most of the map": lambda one: one.share.mean,
    "it has the most beyond its area": lambda one: one.beyond.mean,
    "it has the most beyond its area, over that area's root": lambda one: (
        one.beyond.mean / math.sqrt(one.even.mean) if one.even.mean else math.nan
    ),
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--birds", type=int, default=20, help="of each species")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument("--method", default="sharp")
    given = parser.parse_args()
    classifier = finercam.load("aviary")
    every = as_dataset(Aviary("test", 60 * given.birds, given.seed))
    items = list(every.items())
    of = {label: [one for one in items if one.label == label][: given.birds] for label in range(len(SPECIES))}
    right, chance, pairs = dict.fromkeys(RULES, 0), 0.0, _pairs()
    for pair in pairs:
        data = replace(every, items=partial(iter, [item for label in pair for item in of[label]]))
        study = Traits(dict(enumerate(label_names)), groups_of(data), data.part_names, pair, method=given.method)
        with tempfile.TemporaryDirectory() as out:
            rows = run_study(
                study,
                loaded_classifier(classifier),
                data,
                out,
                list(range(len(SPECIES))),
                run=Run(images=16),
                engine=Local(1),
            ).rows
            carriers = [one for direction in study.summary(rows) for one in direction.carriers]
        truth = _truth(pair)
        places = {one.place for one in carriers}
        chance += len(places & truth) / len(places)
        for name, rule in RULES.items():
            known = [(rule(one), one.place) for one in carriers if not math.isnan(rule(one))]
            right[name] += max(known)[1] in truth
    print(f"| a part is named because | right, of {len(pairs)} pairs |\n|---|---|")
    for name, count in right.items():
        print(f"| {name} | {count} |")
    print(f"| it was picked at random | {chance:.1f} |")


def _pairs() -> list[tuple[int, int]]:
    labels = range(len(SPECIES))
    return [(a, b) for a in labels for b in labels if a < b and SPECIES[b] in look_alikes(SPECIES[a])]


def _truth(pair: tuple[int, int]) -> set[str]:
    one, other = (SPECIES[label].attributes for label in pair)
    return {PART_OF[name] for name in one if one[name] != other[name]}


if __name__ == "__main__":
    main()
