"""Fit the confidence of an answer (`memory/calibration.py`) and find the threshold below which none is given.

    python -m tests.bench quality fit [--data DIRECTORY]

Answerable are the questions of our own conversation and of our changing facts whose evidence is in the first ten hits,
unanswerable those that nothing in them answers. With `--data`, a second fit adds conversations in LoCoMo's format:
their questions, and as unanswerable those of each other, asked of its own speakers. Every source counts the same, and
so do, inside each, both classes: a confidence of .5 means that one cannot tell, whatever the mix of questions.
Leave-one-out: each source is judged by parameters that were fitted on the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from t4dm_daemon.memory import calibration
from tests.bench.quality import fact_data, locomo
from tests.bench.quality.conversations import our_own
from tests.bench.quality.logistic import Numbers, fit, probability
from tests.bench.quality.metrics import auc, share_kept, threshold_keeping
from tests.bench.quality.samples import Sample, collect
from tests.bench.report import Table

ANSWERED, ABSTAINED = 0.90, 0.80
"""The aims: answerable questions that are answered, unanswerable ones that are not."""
_THRESHOLDS = tuple(step / 20 for step in range(21))


def run(data: Path | None) -> None:
    own, foreign = [our_own(), fact_data.as_conversation()], locomo.read_all(data)
    samples = collect([*own, *foreign], foreign=foreign)
    names = [one.name for one in own]
    ours = [one for one in samples if one.source in names]
    fitted = _report("Fitted on our own data", ours, ours)
    _curve("Fitted on our own data", ours, fitted)
    if foreign:
        others = [one for one in samples if one.source not in names]
        _judge("Fitted on our own data, asked of the others", others, fitted)
        _report("Fitted on all", samples, samples)
        _judge(
            "Parameters in force",
            samples,
            np.array([calibration.INTERCEPT, calibration.SIMILARITY, calibration.COVERAGE]),
        )


def _report(title: str, samples: Sequence[Sample], judged: Sequence[Sample]) -> Numbers:
    beta = _fitted(samples)
    print(f"\n{title}: INTERCEPT = {beta[0]:.2f}, SIMILARITY = {beta[1]:.2f}, COVERAGE = {beta[2]:.2f}")
    _judge(title, judged, beta)
    table = Table(
        f"{title}: leave one source out", ("left out", "AUC", "at the others' threshold: answered", "abstained")
    )
    for source in sorted({one.source for one in samples}):
        rest = [one for one in samples if one.source != source]
        left = [one for one in samples if one.source == source]
        if {one.is_answerable for one in rest} != {True, False}:
            continue
        others = _fitted(rest)
        threshold = threshold_keeping(_yes(rest, others), ANSWERED)
        yes, no = _yes(left, others), _no(left, others)
        table.row(
            source,
            auc(yes, no) if no else None,
            share_kept(yes, threshold),
            1 - share_kept(no, threshold) if no else None,
        )
    table.print()
    return beta


def _judge(title: str, samples: Sequence[Sample], beta: Numbers) -> None:
    """Print how well the classes are told apart, by source and kind of what is unanswerable."""
    threshold = threshold_keeping(_yes(samples, beta), ANSWERED)
    table = Table(
        f"{title}: threshold {threshold:.3f} answers {ANSWERED:.0%}",
        (
            "source",
            "unanswerable",
            "questions",
            "AUC",
            "answered",
            "abstained",
            f"abstained where it answers {ANSWERED:.0%}",
        ),
    )
    for source in sorted({one.source for one in samples}):
        yes = _yes([one for one in samples if one.source == source], beta)
        for kind in sorted({one.kind for one in samples if one.source == source and not one.is_answerable}):
            no = _no([one for one in samples if one.source == source and one.kind == kind], beta)
            table.row(
                source,
                kind,
                f"{len(yes)} + {len(no)}",
                auc(yes, no),
                share_kept(yes, threshold),
                1 - share_kept(no, threshold),
                1 - share_kept(no, threshold_keeping(yes, ANSWERED)),
            )
    yes, no = _yes(samples, beta), _no(samples, beta)
    table.row(
        "all",
        "",
        f"{len(yes)} + {len(no)}",
        auc(yes, no),
        share_kept(yes, threshold),
        1 - share_kept(no, threshold),
        1 - share_kept(no, threshold),
    )
    table.print()


def _curve(title: str, samples: Sequence[Sample], beta: Numbers) -> None:
    table = Table(f"{title}: by threshold", ("threshold", "answered", "abstained"))
    yes, no = _yes(samples, beta), _no(samples, beta)
    for threshold in _THRESHOLDS:
        table.row(f"{threshold:.2f}", share_kept(yes, threshold), 1 - share_kept(no, threshold))
    table.print()


def _features(samples: Sequence[Sample]) -> Numbers:
    return np.array([(one.similarity, one.coverage) for one in samples])


def _fitted(samples: Sequence[Sample]) -> Numbers:
    """Fit on what is found and on what is unanswerable.

    What is answerable and was not found says nothing, and what the other speaker said (category 5) is there.
    """
    used = [one for one in samples if one.is_found or (not one.is_answerable and one.kind != locomo.SWAPPED)]
    sizes: dict[tuple[str, bool], int] = {}
    for one in used:
        sizes[one.source, one.is_answerable] = sizes.get((one.source, one.is_answerable), 0) + 1
    weights = np.array([1.0 / sizes[one.source, one.is_answerable] for one in used])
    return fit(_features(used), np.array([one.is_answerable for one in used]), weights * len(used) / weights.sum())


def _yes(samples: Sequence[Sample], beta: Numbers) -> list[float]:
    """Return the confidence of questions that have an answer, found or not."""
    chosen = [one for one in samples if one.is_answerable]
    return probability(_features(chosen), beta).tolist() if chosen else []


def _no(samples: Sequence[Sample], beta: Numbers) -> list[float]:
    chosen = [one for one in samples if not one.is_answerable]
    return probability(_features(chosen), beta).tolist() if chosen else []
