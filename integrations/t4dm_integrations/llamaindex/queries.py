"""LlamaIndex's queries as T4DM's searches, and what was found as LlamaIndex's results.

| mode | how T4DM searches | similarity |
|---|---|---|
| DEFAULT | nearest vectors | cosine, in [-1, 1] |
| MMR | nearest vectors, chosen so that they differ | cosine |
| HYBRID with alpha | alpha * vectors + (1 - alpha) * words (BM25) | score, in [0, 1] |
| HYBRID | its own ranking: meaning, words, links, times, names | score |
| SPARSE | words alone (BM25) | score |
| TEXT_SEARCH | its own ranking by words | score |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode, VectorStoreQueryResult

from t4dm._requests import known_fields
from t4dm.sdk import models as m
from t4dm.sdk._validation import as_validation_error
from t4dm_integrations.llamaindex import filters
from t4dm_integrations.llamaindex.nodes import to_node

_SEARCH_FIELDS: Final = frozenset(m.SearchRequest.model_fields) - {
    "query", "vector", "k", "offset", "space", "filter", "include", "mode", "mmr",
}  # fmt: skip
_OWN_FIELDS: Final = frozenset(("mmr_threshold", "mmr_prefetch_k", "mmr_prefetch_factor", "include_embeddings"))
_MMR_THRESHOLD: Final = 0.5
_MMR_PREFETCH_FACTOR: Final = 4.0
_MMR_LEAST_PREFETCH: Final = 50
_ONLY: Final = m.SearchWeights(
    dense=0.0, lexical=0.0, window=0.0, actor=0.0, date=0.0, statement=0.0, time=0.0, outdated=0.0, graph=0.0
)
"""No signal at all; to be updated with those that count."""
_NEEDS_TEXT: Final = (VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.TEXT_SEARCH)
_NEEDS_VECTOR: Final = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR, VectorStoreQueryMode.HYBRID)
MODES: Final = tuple(dict.fromkeys((*_NEEDS_VECTOR, *_NEEDS_TEXT)))


@dataclass(frozen=True, slots=True)
class Search:
    """One query: what is asked of T4DM, and how its hits are handed on.

    Attributes:
        pages: Requests one after the other, of which each but the last asks for as much as a request may; none where
            no nodes are wanted.
        has_cosine: The similarity is the cosine; else it is the score.
    """

    pages: Sequence[m.SearchRequest]
    has_cosine: bool

    def result(self, hits: Sequence[m.Hit]) -> VectorStoreQueryResult:
        """Return nodes, similarities and ids, best first; lists that may be empty, never None."""
        once = list({hit.memory.id: hit for hit in hits}.values())
        return VectorStoreQueryResult(
            nodes=[to_node(hit.memory) for hit in once],
            similarities=[
                hit.similarity if self.has_cosine and hit.similarity is not None else hit.score for hit in once
            ],
            ids=[hit.memory.id for hit in once],
        )


def to_search(
    query: VectorStoreQuery, kwargs: Mapping[str, Any], *, space: str, owner: Mapping[str, str], is_embedded: bool
) -> Search:
    """Return what a query asks of T4DM.

    Args:
        query: LlamaIndex's query.
        kwargs: What was given beside it (`vector_store_kwargs`).
        space: Where to search.
        owner: Whose nodes.
        is_embedded: Vectors come from the caller; else the daemon makes the question's vector.

    Raises:
        NotImplementedError: A mode, or a restriction of what is returned, that T4DM does not have.
        ValueError: Something is missing, contradicts itself, or is out of range.
    """
    given = known_fields("query", kwargs, (_SEARCH_FIELDS | _OWN_FIELDS) - owner.keys())
    own = {name: given.pop(name) for name in _OWN_FIELDS & given.keys()}
    mode = _mode(query, own)
    asked: dict[str, Any] = {"collapse": False, **given, **owner, "space": space}
    asked["include"] = ["value", "vector"] if own.get("include_embeddings") else ["value"]
    asked |= _question(query, mode, is_embedded)
    asked |= _ranking(query, mode, given)
    if (where := _restriction(query)) is not None:
        asked["filter"] = where
    k = _wanted(query, mode)
    if mode is VectorStoreQueryMode.MMR:
        asked["mmr"] = _diversity(query, own, k)
    with as_validation_error():
        end = max(k, 1) if k else 0  # a negative k is for the request to refuse
        pages = [m.SearchRequest(k=min(k - at, m.MAX_K), offset=at, **asked) for at in range(0, end, m.MAX_K)]
    return Search(pages, has_cosine=mode in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR))


def _mode(query: VectorStoreQuery, own: Mapping[str, Any]) -> VectorStoreQueryMode:
    mode = VectorStoreQueryMode(query.mode)
    if mode not in MODES:
        known = ", ".join(one.value for one in MODES)
        raise NotImplementedError(f"T4DM does not search in mode {mode.value!r}; it has: {known}")
    if query.output_fields or query.embedding_field:
        raise NotImplementedError(
            "T4DM returns whole nodes, which have one vector: no output_fields, no embedding_field"
        )
    if mode is not VectorStoreQueryMode.MMR:
        for name in own.keys() - {"include_embeddings"}:
            raise ValueError(f"{name} belongs to the mode mmr, not to {mode.value!r}")
    return mode


def _question(query: VectorStoreQuery, mode: VectorStoreQueryMode, is_embedded: bool) -> dict[str, Any]:
    """Return the text and the vector that are asked with."""
    asked: dict[str, Any] = {}
    if mode in _NEEDS_TEXT or not is_embedded:
        if not (query.query_str and query.query_str.strip()):
            raise ValueError(f"mode {mode.value!r} asks with a text: give query_str")
        asked["query"] = query.query_str
    if mode in _NEEDS_VECTOR and is_embedded:
        if query.query_embedding is None:
            raise ValueError(f"mode {mode.value!r} asks with a vector: give query_embedding")
        asked["vector"] = [float(number) for number in query.query_embedding]
    return asked


def _ranking(query: VectorStoreQuery, mode: VectorStoreQueryMode, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the hits are ranked."""
    if mode in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.MMR):
        return {"mode": "vector"}
    if mode is VectorStoreQueryMode.TEXT_SEARCH:
        return {"mode": "lexical"}
    if mode is VectorStoreQueryMode.HYBRID and query.alpha is None:
        return {"mode": "hybrid"}
    if "weights" in given:
        raise ValueError("give alpha, or weights in mode hybrid without it: SPARSE and alpha are weights themselves")
    if mode is VectorStoreQueryMode.SPARSE:
        return {"mode": "lexical", "weights": _ONLY.model_copy(update={"lexical": 1.0})}
    alpha = float(query.alpha or 0.0)
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha lies between 0 (words) and 1 (vectors), not at {alpha}")
    if alpha == 1:  # ranks what has no word of the question and points away from it, too
        return {"mode": "vector"}
    return {"mode": "hybrid", "weights": _ONLY.model_copy(update={"dense": alpha, "lexical": 1.0 - alpha})}


def _restriction(query: VectorStoreQuery) -> m.Filter | None:
    """Return what may be found. A list of ids that is empty restricts nothing: LlamaIndex gives `[]` for all nodes."""
    return filters.all_of(
        filters.to_filter(query.filters),
        filters.of_documents(query.doc_ids) if query.doc_ids else None,
        filters.with_ids(query.node_ids) if query.node_ids else None,
    )


def _wanted(query: VectorStoreQuery, mode: VectorStoreQueryMode) -> int:
    wanted: int | None = None
    if mode is VectorStoreQueryMode.HYBRID:
        wanted = query.hybrid_top_k
    elif mode is VectorStoreQueryMode.SPARSE:
        wanted = query.sparse_top_k
    k = query.similarity_top_k if wanted is None else wanted
    if mode is VectorStoreQueryMode.MMR and k > m.MAX_K:
        raise ValueError(f"mode mmr finds at most {m.MAX_K} nodes, not {k}")
    return k


def _diversity(query: VectorStoreQuery, own: Mapping[str, Any], k: int) -> m.Mmr:
    """Return the preference for nodes that differ.

    LlamaIndex balances cosines, T4DM its scores (1 + cosine) / 2: half as steep, so the weight of the differences is
    halved as well. t·c - (1-t)·d orders as t'·c/2 - (1-t')·d does for t' = 2t / (1 + t).
    """
    threshold = query.mmr_threshold if query.mmr_threshold is not None else own.get("mmr_threshold")
    threshold = _MMR_THRESHOLD if threshold is None else threshold
    if not 0 <= threshold <= 1:
        raise ValueError(f"mmr_threshold lies between 0 (differences) and 1 (similarity), not at {threshold}")
    if own.get("mmr_prefetch_k") is not None:
        if own.get("mmr_prefetch_factor") is not None:
            raise ValueError("give mmr_prefetch_k or mmr_prefetch_factor, not both")
        fetch_k = int(own["mmr_prefetch_k"])
    else:
        factor = own.get("mmr_prefetch_factor")
        fetch_k = int(k * (_MMR_PREFETCH_FACTOR if factor is None else float(factor)))
        fetch_k = min(max(fetch_k, k, _MMR_LEAST_PREFETCH if factor is None else 1), m.MAX_K)
    with as_validation_error():
        return m.Mmr(lambda_=2 * threshold / (1 + threshold), fetch_k=fetch_k)
