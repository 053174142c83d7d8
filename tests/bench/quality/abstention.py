"""Does it keep silent when nothing answers? By threshold, and at the daemon's own setting."""

from __future__ import annotations

from collections.abc import Sequence

from t4dm.sdk import T4DMClient
from t4dm.sdk import models as m
from t4dm_daemon.config import SearchSettings
from tests.bench.quality.metrics import auc, share_kept, threshold_keeping
from tests.bench.report import Table

ANSWERED, ABSTAINED = 0.90, 0.80
"""The aims: answerable questions that are answered, unanswerable ones that are not."""
_STEPS = 20


def measure(client: T4DMClient, space: str, title: str, answerable: Sequence[str], unanswerable: Sequence[str]) -> None:
    """Print the shares of answerable questions that get hits, and of unanswerable ones that get none."""
    yes = [confidence(client, space, text) for text in answerable]
    no = [confidence(client, space, text) for text in unanswerable]
    setting = float(SearchSettings().abstain_below)
    best = threshold_keeping(yes, ANSWERED)
    table = Table(
        f"Abstention, {title}: {len(yes)} answerable, {len(no)} unanswerable, AUC {auc(yes, no):.3f}",
        ("abstain_below", f"answered (aim {ANSWERED:.0%})", f"abstained (aim {ABSTAINED:.0%})"),
    )
    for threshold, name in (
        (setting, f"{setting:.3f} (the daemon's)"),
        (best, f"{best:.3f} (answers {ANSWERED:.0%} here)"),
        *((step / _STEPS, f"{step / _STEPS:.2f}") for step in range(_STEPS + 1)),
    ):
        table.row(name, share_kept(yes, threshold), 1.0 - share_kept(no, threshold))
    table.print()


def confidence(client: T4DMClient, space: str, text: str) -> float:
    """Return the score of the first hit, which is the confidence of the answer; 0 without a hit."""
    hits = client.search(m.SearchRequest(query=text, space=space, k=1, abstain_below=0.0)).results
    return hits[0].score if hits else 0.0
