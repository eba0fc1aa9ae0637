"""What each setting of the slim network is worth, and how steady the runs of slim-search are: tables of its rows."""

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from benchmarks import final_values, rows
from sb3_hyper.experiments.results import RunResult
from sb3_hyper.experiments.statistics import N_LAST
from sb3_hyper.experiments.study_runs import StudyRuns, area, final
from sb3_hyper.experiments.table import Table, numbers

HOPPER = "Hopper-v5"
FALLEN = 50.0  # an evaluation below this return is one of falls
SETTLED = 15_000  # steps from which on evaluations are counted: before it all critics have just begun
# standing still is worth 1000: all episodes are above the first, and no farther apart than the second
STANDING, ALIKE = 900.0, 20.0
MEASURED = {"slim": "sa_hyper", "mlp": "mlp", "layernorm_mlp": "layernorm_mlp"}  # runs that gradient-accuracy measured
NONE = "-"
# what the dynamic hidden layer is like; those of the other variants are without LayerNorm
DYNAMIC = dict.fromkeys(("mlp", "layernorm_mlp"), "none") | dict.fromkeys(
    ("bounded", "bounded_128", "dynamic_layer_norm"), "with LayerNorm"
)

# a change -> pairs of variants, with it and without, that differ in nothing else
CHANGES: dict[str, list[tuple[str, str]]] = {
    "LayerNorm on the dynamic hidden layer": [
        ("dynamic_layer_norm", "slim"),
        ("bounded", "no_gain"),
        ("bounded_128", "no_gain_128"),
    ],
    "no gains": [("no_gain", "slim"), ("bounded", "dynamic_layer_norm"), ("no_gain_128", "width_128")],
    "width 128 in place of 256": [("width_128", "slim"), ("no_gain_128", "no_gain"), ("bounded_128", "bounded")],
    "dynamic hidden units of length one": [("unit_128", "no_gain_128")],
    "critic learning rate 1e-4": [("critic_lr_1e-4", "slim")],
    "critic learning rate 1e-3": [("critic_lr_1e-3", "slim")],
    "heads of low rank": [("low_rank", "slim")],
    "residual heads": [("residual", "slim")],
    "no LayerNorm in the primary network": [("no_layer_norm", "slim")],
    "one block in place of two": [("one_block", "slim")],
    "dynamic hidden layer of 64": [("dynamic_64", "slim")],
    "dynamic hidden layer of 256": [("dynamic_256", "slim")],
    "one primary network for both critics": [("shared_primary", "slim")],
}


CHOSEN = "no_gain"  # the best of the first six changes after two seeds: it had a third for that
# variants that a LayerNorm on the dynamic hidden layer has been added to, without any other change
MATCHED = [without for _, without in CHANGES["LayerNorm on the dynamic hidden layer"]]
FEWER = "fewer pairs"
SMALL = 0.1  # a probability that a page may make something of


class Effect(NamedTuple):
    """
    Mean difference that a change makes; the exact probability of one as large if it made none; how probable it would be then
    that this probability is below ``SMALL``.
    """

    difference: float
    p: float
    by_chance: float


def effect(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Effect:
    """
    A stratified exact permutation test: in each pair all ways to say which runs have the change are equally likely.

    :param pairs: Scores of the runs with the change and without it, ``(n_with,)`` and ``(n_without,)`` for each pair.
    :return: The difference of means, averaged over pairs; the share of ways whose difference is at least as large; and the
        share of ways that have a small such share.
    """

    def difference(pair: tuple[np.ndarray, np.ndarray], chosen: Sequence[int]) -> float:
        scores = np.concatenate(pair)
        is_chosen = np.isin(np.arange(len(scores)), chosen)
        return float(scores[is_chosen].mean() - scores[~is_chosen].mean())

    ways = [
        [difference(pair, chosen) for chosen in combinations(range(len(pair[0]) + len(pair[1])), len(pair[0]))]
        for pair in pairs
    ]
    every = np.array(list(product(*ways))).mean(axis=1)  # the first one is the one that is
    sizes = np.round(np.abs(every), 9)  # ties are ties
    shares = (sizes.size - np.searchsorted(np.sort(sizes), sizes)) / sizes.size
    return Effect(float(every[0]), float(shares[0]), float(np.mean(shares < SMALL)))


def effects(runs: StudyRuns) -> Table:
    """
    :param runs: The runs of slim-search.
    :return: What each change is worth in each environment.
    """
    environments = runs.study.environments
    found, by_chance = [], []
    for change, variants in _changes():
        cells, n_runs = [], []
        for environment, score in product(environments, (final, area)):
            scores = [
                (runs.scores(score, one, environment), runs.scores(score, other, environment)) for one, other in variants
            ]
            pairs = [pair for pair in scores if all(map(len, pair))]
            sizes = [sum(len(pair[side]) for pair in pairs) for side in (0, 1)]
            if score is final:
                n_runs.append("{} / {}".format(*sizes))
            if not pairs:
                cells.append(NONE)
                continue
            one = effect(pairs)
            cells.append(f"{numbers('{}', round(one.difference), decimals=0)} ({one.p:.2f})")
            if change in CHANGES:
                by_chance.append(one.by_chance)
        if any(cell != NONE for cell in cells):
            found.append((change, ", ".join(dict.fromkeys(n_runs)), *cells))
    caption = (
        "What a change adds to final score and area, mean over the pairs of variants that differ in nothing else (three pairs "
        "for the first three changes, one for the others; pairs without runs are left out), and in brackets the exact "
        "probability of a difference as large if the change did nothing (permutations of the runs within pairs). Runs: with "
        f"the change / without, in the two environments where they differ. {FEWER.capitalize()}: without the variant no "
        "gains, which was the best of six after two seeds and has a third for that; to be chosen so makes it look better than "
        f"it is, and worse what is added to it. Of the other {len(by_chance)} probabilities "
        f"{sum(by_chance):.1f} would be below {SMALL} if no change did anything (in a single pair, that of two runs and three "
        "cannot be below 0.1, that of one and three not below 0.25)."
    )
    header = ("Change", "Runs", *(f"{place}: {what}" for place in environments for what in ("final", "area")))
    return Table("effects", "What each change is worth", caption, header, found)


def _changes() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for change, pairs in CHANGES.items():
        yield change, pairs
        others = [pair for pair in pairs if CHOSEN not in pair]
        if others and others != pairs:
            yield f"{change}, {FEWER}", others


def steadiness(runs: StudyRuns) -> Table:
    """
    :param runs: The runs of slim-search.
    :return: How often the policies fall or stand still on Hopper, and whose values run away.
    """
    values = {(row["variant"], row["seed"]): float(row["value"]) for row in _last_values(runs.study.name)}
    values |= {
        (variant, row["seed"]): float(row["value"])
        for variant, name in MEASURED.items()
        for row in _last_values("gradient-accuracy")
        if row["variant"] == name
    }
    returns = [
        float(row["policy_return"])
        for study in (runs.study.name, "gradient-accuracy", "critics-100k")
        for row in rows.read(final_values.file_of(study))
        if row["environment"] == HOPPER
    ]
    most = max(returns, default=np.inf)
    found: list[tuple[str, ...]] = []
    matched: list[tuple[RunResult, float]] = []
    for group in ("none", "with LayerNorm", "without LayerNorm"):
        own: list[tuple[RunResult, float]] = []
        for name in (name for name in runs.study.variants if DYNAMIC.get(name, "without LayerNorm") == group):
            variant = [(run, values.get((name, str(run.seed)), np.nan)) for run in runs.finished(name, HOPPER)]
            if variant:
                found.append((group, runs.study.variants[name].label, *_counts(variant, most)))
            own += variant
            matched += variant if name in MATCHED else []
        if own:
            found.append((group, "all of them", *_counts(own, most)))
        if group == "without LayerNorm" and matched:
            found.append((group, "those with a counterpart", *_counts(matched, most)))
    caption = (
        f"{HOPPER}, evaluations from {SETTLED:,} steps on. Falls: runs with an evaluation below {FALLEN:.0f}, and how many of "
        f"these evaluations there are. Standing still: evaluations all of whose episodes are above {STANDING:.0f} and alike "
        f"(within {ALIKE:.0f}): a robot that does not move gets 1000. Highest: the best evaluation that is none of these. "
        "Final: mean of the last five evaluations. Moving: of those of them that are not of standing still, means of runs' "
        "means; an evaluation in which only some episodes stand still counts as moving. With a counterpart: those that a "
        "variant with LayerNorm differs from in nothing else. Values: last "
        f"models whose critic gives their own actions more than {most:.0f} on average, the highest discounted return of all "
        "TD3's policies that were measured here."
    )
    header = ("Dynamic hidden layer", "Variant", "Runs", "Falls", "Standing still", "Highest", "Final", "Moving", "Values")
    return Table("steadiness", "Falls, standing still, and values", caption, header, found, n_names=2)


def _counts(own: Sequence[tuple[RunResult, float]], most: float) -> tuple[str, ...]:
    curves = [run.returns[run.steps >= SETTLED] for run, _ in own]  # (n_evaluations, n_episodes) each
    fallen = [curve.mean(axis=1) < FALLEN for curve in curves]
    standing = [_stands(curve) for curve in curves]
    others = np.concatenate([curve[~still].mean(axis=1) for curve, still in zip(curves, standing, strict=True)])
    last = [run.returns[-N_LAST:] for run, _ in own]
    moving = [kept.mean() for curve in last if len(kept := curve[~_stands(curve)])]
    known = [value for _, value in own if not np.isnan(value)]
    n_evaluations = sum(map(len, curves))
    return (
        str(len(own)),
        f"{sum(map(np.any, fallen))} ({sum(map(np.sum, fallen))} of {n_evaluations})",
        f"{sum(map(np.sum, standing))} of {n_evaluations}",
        f"{others.max():.0f}" if len(others) else NONE,
        f"{np.mean([final(run) for run, _ in own]):.0f}",
        f"{np.mean(moving):.0f}" if moving else NONE,
        f"{sum(value > most for value in known)} of {len(known)}",
    )


def _stands(curve: np.ndarray) -> np.ndarray:
    return (curve.min(axis=1) > STANDING) & (np.ptp(curve, axis=1) < ALIKE)


def _last_values(study: str) -> list[rows.Row]:
    return [row for row in rows.read(final_values.file_of(study)) if row["environment"] == HOPPER and row["which"] == "last"]
