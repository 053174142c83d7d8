"""Text for a prompt, made of what answers a question, within a budget of tokens.

Most useful first; nothing that says the same twice; of a fact that has changed the version that is true (at `as_of`,
or now), which is the newest of it. Each memory is one line, with when it happened and how long ago that is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from t4dm.sdk import models as m
from t4dm.sdk.recall_models import ContextRequest
from t4dm_daemon.core.clock import from_micros
from t4dm_daemon.memory.ranking import Hit

_DAY_US: Final = 86_400_000_000
ENOUGH: Final = 0.07
"""Confidence from which a block is worth its tokens: 99 in 100 answerable questions pass (docs/ranking.md). To an agent
a memory that is missing ("I'm allergic to walnuts." has .09 for "What must I not eat?") is worse than one too many."""
_SPANS: Final = ((365, "year"), (30, "month"), (7, "week"), (1, "day"))


class TokenCounter(Protocol):
    """Counts tokens as the embedder's tokenizer does (`embedding.queue.EmbeddingQueue`)."""

    @property
    def counted_by(self) -> str: ...
    def count_tokens(self, texts: Sequence[str]) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class Block:
    """A block of text, and what it was made of."""

    text: str
    parts: tuple[tuple[Hit, int], ...]
    tokens: int
    left_out: int


def build(
    request: ContextRequest, search: Callable[[m.SearchRequest], Sequence[Hit]], counter: TokenCounter, *, now: int
) -> Block:
    """Return the block for a request.

    Args:
        request: The question and the budget.
        search: Answers questions.
        counter: Counts tokens.
        now: Microseconds; what is true now is told, unless the request names another moment.
    """
    moment = from_micros(now)
    changes: dict[str, object] = {"as_of": request.as_of or moment}
    if request.abstain_below is None:
        changes["abstain_below"] = ENOUGH
    asked = {name: getattr(request, name) for name in request.model_fields_set & m.SearchRequest.model_fields.keys()}
    hits = search(m.SearchRequest(**(asked | {"k": request.k} | changes)))
    lines = [_line(hit, now) for hit in hits]
    counts = counter.count_tokens([request.header, *lines]) if lines else [0]
    used = counts[0]
    kept: list[tuple[Hit, int]] = []
    text: list[str] = [request.header] if request.header else []
    for hit, line, tokens in zip(hits, lines, counts[1:], strict=True):
        if used + tokens > request.budget_tokens:
            continue  # a shorter one may still fit
        kept.append((hit, tokens))
        text.append(line)
        used += tokens
    if not kept:
        return Block("", (), 0, len(hits))
    return Block("\n".join(text), tuple(kept), used, len(hits) - len(kept))


def _line(hit: Hit, now: int) -> str:
    item = hit.item
    content = " ".join(item.content.split())
    return f"- [{from_micros(item.event_time):%Y-%m-%d}, {age(item.event_time, now)}] {content}"


def age(event_time: int, now: int) -> str:
    """Return how long ago something was, in the largest whole unit."""
    days = (now - event_time) / _DAY_US
    if days < 0:
        return "to come"
    for length, unit in _SPANS:
        count = int(days // length)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "today"
