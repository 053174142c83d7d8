"""Read the file of the reference memory server: one entity or relation a line, as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pydantic

from t4dm._backend import MemoryBackend
from t4dm.sdk import models as m
from t4dm.sdk._validation import sentence
from t4dm.sdk.errors import NotFoundError, ValidationError
from t4dm_integrations.mcp.knowledge_graph import models as k
from t4dm_integrations.mcp.knowledge_graph.graph import KnowledgeGraph
from t4dm_integrations.mcp.scope import Scope

_AT_ONCE: Final = 200
_IMPORT: Final = "knowledge_graph_import"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did."""

    entities: int
    observations: int
    relations: int
    known: int
    """Lines whose entity or relation was there already; new observations of such an entity are counted above."""
    was_done_before: bool = False


def import_file(backend: MemoryBackend, scope: Scope, path: Path, *, again: bool = True) -> Imported:
    """Add what a file holds to a graph. Nothing that is there is changed or lost.

    Args:
        backend: Where to.
        scope: Whose graph it is.
        path: The file.
        again: Also when a file with the same content was imported before; what was deleted since then comes back.

    Raises:
        ValidationError: A line is not what it should be; then nothing was imported.
        OSError: The file cannot be read.
    """
    content = path.read_bytes()
    entities, relations = parse(content, path)
    mark = f"kg-import-{hashlib.sha256(repr(scope).encode() + content).hexdigest()[:32]}"
    if not again and _is_there(backend, scope, mark):
        return Imported(0, 0, 0, 0, was_done_before=True)
    graph = KnowledgeGraph(backend, scope)
    made = observed = related = 0
    for part in _parts(entities):
        new = {entity.name for entity in graph.create_entities(part)}
        made += len(new)
        observed += sum(len(set(entity.observations)) for entity in part if entity.name in new)
        added = graph.add_observations([k.Addition(entity_name=one.name, contents=one.observations) for one in part])
        observed += sum(len(one.added_observations) for one in added)
    for some in _parts(relations):
        related += len(graph.create_relations(some))
    backend.store(
        m.StoreRequest(
            id=mark,
            content=f"Imported the knowledge graph of {path.name}",
            metadata={_IMPORT: {"file": str(path), "entities": len(entities), "relations": len(relations)}},
            embed=False,
            space=scope.space,
            **scope.owner_fields,
        )
    )
    return Imported(made, observed, related, known=len(entities) + len(relations) - made - related)


def parse(content: bytes, path: Path) -> tuple[list[k.Entity], list[k.Relation]]:
    """Return the entities and relations of a file, or raise ValidationError that names the line."""
    entities: list[k.Entity] = []
    relations: list[k.Relation] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            item: Any = json.loads(line.decode())
            kind = item.get("type") if isinstance(item, dict) else None
            if kind == "entity":
                entities.append(k.Entity.model_validate(item))
            elif kind == "relation":
                relations.append(k.Relation.model_validate(item))
            else:
                raise ValidationError('"type" is neither "entity" nor "relation"', code="invalid_line")
        except pydantic.ValidationError as error:
            raise _wrong(path, number, sentence(error)) from None
        except ValidationError as error:
            raise _wrong(path, number, error.message) from None
        except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or a number of thousands of digits
            raise _wrong(path, number, f"it is not JSON ({error})") from None
    return entities, relations


def _wrong(path: Path, number: int, reason: str) -> ValidationError:
    return ValidationError(
        f"{path}, line {number}: {reason}; nothing was imported",
        code="invalid_line",
        details={"file": str(path), "line": number},
    )


def _is_there(backend: MemoryBackend, scope: Scope, memory_id: str) -> bool:
    try:
        return bool(backend.get_many(m.GetRequest(ids=[memory_id], space=scope.space)))
    except NotFoundError as error:
        if not error.is_missing_space:
            raise
        return False


def _parts(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for at in range(0, len(items), _AT_ONCE):
        yield items[at : at + _AT_ONCE]
