"""The routes of episodes, entities and procedures; see `_calls.py`."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Final, TypeVar

from pydantic import BaseModel

from t4dm.sdk import graph_models as g
from t4dm.sdk import view_models as v
from t4dm.sdk._calls import Call, answer_as, checked_key, in_space, nothing, record_path, time_text
from t4dm.sdk.codec import decode

A = TypeVar("A", bound=BaseModel)

_EPISODES: Final = "/api/v1/episodes"
_ENTITIES: Final = "/api/v1/entities"
_PROCEDURES: Final = "/api/v1/procedures"


def _add(path: str, request: v.TypedIn, key: str | None, answer: type[A]) -> Call[A]:
    return Call("POST", path, answer_as(answer), body=request, idempotency_key=checked_key(key), is_repeatable=True)


def _get(
    path: str, record_id: str, space: str, as_of: datetime | None, known_at: datetime | None, answer: type[A]
) -> Call[A]:
    params = in_space(space)
    if as_of is not None:
        params["as_of"] = time_text(as_of)
    if known_at is not None:
        params["known_at"] = time_text(known_at)
    return Call("GET", record_path(path, record_id), answer_as(answer), params=params, is_repeatable=True)


def _delete(path: str, record_id: str, space: str) -> Call[None]:
    return Call("DELETE", record_path(path, record_id), nothing, params=in_space(space))


def _in_query(request: BaseModel | None) -> dict[str, str]:
    """Return what a request says, as parameters of a query."""
    if request is None:
        return {}
    told = request.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    return {name: str(one).lower() if isinstance(one, bool) else str(one) for name, one in told.items()}


def add_episode(request: v.EpisodeIn, idempotency_key: str | None) -> Call[v.Episode]:
    return _add(_EPISODES, request, idempotency_key, v.Episode)


def get_episode(episode_id: str, space: str, as_of: datetime | None, known_at: datetime | None) -> Call[v.Episode]:
    return _get(_EPISODES, episode_id, space, as_of, known_at, v.Episode)


def list_episodes(request: v.EpisodeListRequest | None) -> Call[v.EpisodeList]:
    return Call("GET", _EPISODES, answer_as(v.EpisodeList), params=_in_query(request), is_repeatable=True)


def search_episodes(request: v.EpisodeSearchRequest) -> Call[v.EpisodeSearchAnswer]:
    return Call("POST", f"{_EPISODES}/search", answer_as(v.EpisodeSearchAnswer), body=request, is_repeatable=True)


def delete_episode(episode_id: str, space: str) -> Call[None]:
    return _delete(_EPISODES, episode_id, space)


def add_entity(request: v.EntityIn, idempotency_key: str | None) -> Call[v.Entity]:
    return _add(_ENTITIES, request, idempotency_key, v.Entity)


def get_entity(entity_id: str, space: str, as_of: datetime | None, known_at: datetime | None) -> Call[v.Entity]:
    return _get(_ENTITIES, entity_id, space, as_of, known_at, v.Entity)


def list_entities(request: v.EntityListRequest | None) -> Call[v.EntityList]:
    return Call("GET", _ENTITIES, answer_as(v.EntityList), params=_in_query(request), is_repeatable=True)


def search_entities(request: v.EntitySearchRequest) -> Call[v.EntitySearchAnswer]:
    return Call("POST", f"{_ENTITIES}/search", answer_as(v.EntitySearchAnswer), body=request, is_repeatable=True)


def delete_entity(entity_id: str, space: str) -> Call[None]:
    return _delete(_ENTITIES, entity_id, space)


def supersede_entity(entity_id: str, request: v.SupersedeRequest, space: str) -> Call[v.Entity]:
    path = f"{record_path(_ENTITIES, entity_id)}/supersede"
    return Call("POST", path, answer_as(v.Entity), params=in_space(space), body=request)


def relate(entity_id: str, request: v.RelationIn, space: str) -> Call[g.Edge]:
    path = f"{record_path(_ENTITIES, entity_id)}/relations"
    return Call("POST", path, answer_as(g.Edge), params=in_space(space), body=request, is_repeatable=True)


def relations(entity_id: str, request: v.RelationListRequest | None) -> Call[builtins.list[v.Relation]]:
    return Call(
        "GET",
        f"{record_path(_ENTITIES, entity_id)}/relations",
        lambda response: decode(response, v.RelationList).results,
        params=_in_query(request),
        is_repeatable=True,
    )


def related_entities(entity_id: str, request: v.RelatedRequest | None) -> Call[builtins.list[v.RelatedEntity]]:
    return Call(
        "GET",
        f"{record_path(_ENTITIES, entity_id)}/related",
        lambda response: decode(response, v.RelatedAnswer).results,
        params=_in_query(request),
        is_repeatable=True,
    )


def add_procedure(request: v.ProcedureIn, idempotency_key: str | None) -> Call[v.Procedure]:
    return _add(_PROCEDURES, request, idempotency_key, v.Procedure)


def get_procedure(
    procedure_id: str, space: str, as_of: datetime | None, known_at: datetime | None
) -> Call[v.Procedure]:
    return _get(_PROCEDURES, procedure_id, space, as_of, known_at, v.Procedure)


def list_procedures(request: v.ProcedureListRequest | None) -> Call[v.ProcedureList]:
    return Call("GET", _PROCEDURES, answer_as(v.ProcedureList), params=_in_query(request), is_repeatable=True)


def search_procedures(request: v.ProcedureSearchRequest) -> Call[v.ProcedureSearchAnswer]:
    return Call("POST", f"{_PROCEDURES}/search", answer_as(v.ProcedureSearchAnswer), body=request, is_repeatable=True)


def delete_procedure(procedure_id: str, space: str) -> Call[None]:
    return _delete(_PROCEDURES, procedure_id, space)


def record_outcome(procedure_id: str, outcome: v.OutcomeRequest, space: str) -> Call[v.Procedure]:
    path = f"{record_path(_PROCEDURES, procedure_id)}/outcome"
    return Call("POST", path, answer_as(v.Procedure), params=in_space(space), body=outcome)


def deprecate_procedure(procedure_id: str, request: v.DeprecateRequest | None, space: str) -> Call[v.Procedure]:
    path = f"{record_path(_PROCEDURES, procedure_id)}/deprecate"
    body = v.DeprecateRequest() if request is None else request
    return Call("POST", path, answer_as(v.Procedure), params=in_space(space), body=body)
