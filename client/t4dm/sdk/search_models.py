"""How a search ranks: weights of its signals, and preference for hits that differ."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from t4dm.sdk.model_bases import Request
from t4dm.sdk.wire_types import MAX_K, Float, Int, Unit

Weight = Annotated[Float, Field(ge=0.0, le=100.0)]

__all__ = ["Mmr", "SearchWeights", "Weight"]


class SearchWeights(Request):
    """What each signal counts. The scale does not matter, only how they compare; 0 leaves a signal out."""

    dense: Weight = Field(default=1.0, description="Nearness of meaning.")
    lexical: Weight = Field(default=0.3, description="Words: BM25 of the text.")
    window: Weight = Field(default=0.4, description="Words: BM25 together with the memories before and after it.")
    actor: Weight = Field(default=0.3, description="It is by someone whom the question names.")
    date: Weight = Field(default=0.3, description="It happened at a time that the question names, or soon after.")
    statement: Weight = Field(default=0.1, description="It states something, and does not ask.")
    time: Weight = Field(default=0.2, description="It speaks of a time, and the question asks for one.")
    outdated: Annotated[Float, Field(ge=-100.0, le=0.0)] = Field(
        default=-0.5, description="It has stopped being true, and the question asks for what is."
    )
    graph: Weight = Field(default=0.3, description="It is linked to one of the best hits.")
    recency: Weight = Field(default=0.0, description="How well it would still be remembered (retrievability).")
    kappa: Weight = Field(default=0.0, description="Degree of consolidation.")
    importance: Weight = 0.0


class Mmr(Request):
    """Maximal marginal relevance: prefer hits that differ from those before them."""

    lambda_: Unit = Field(default=0.5, alias="lambda", description="1: the order of the scores, 0: differences alone.")
    fetch_k: Int = Field(default=50, ge=1, le=MAX_K, description="How many of the best to choose from.")

    model_config = ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)
