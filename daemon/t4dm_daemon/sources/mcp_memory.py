"""The knowledge graph of the reference MCP memory server: JSON lines, `memory.jsonl`.

    {"type": "entity", "name": "Ada", "entityType": "person", "observations": ["likes tea", …]}
    {"type": "relation", "from": "Ada", "to": "Acme", "relationType": "works_at"}

An entity becomes an entity of T4DM (a semantic memory with name, type and observations); a relation becomes a link of
the type that has its name, else RELATES_TO, and a sentence of its own, so that its name is kept and found. Names are
unique within a graph, not in the world: ids are made from the name of the graph, too (`name`).

Checked against src/memory/index.ts of github.com/modelcontextprotocol/servers (server-memory 2026.8.31): entities
come first, and empty lines are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, get_args

from t4dm.sdk.graph_models import EdgeType
from t4dm.sdk.view_models import TOLD_KAPPA
from t4dm_daemon.sources.entries import Entry, SourceLink, SourceRecord, Unstored
from t4dm_daemon.sources.files import Document, Files
from t4dm_daemon.sources.objects import Given, json_lines

_TYPES: Final = frozenset(get_args(EdgeType)) - {"SUPERSEDES", "MERGED_FROM", "CONSOLIDATED_INTO"}
"""Links that say what T4DM itself did are not for others to make."""


def read(path: Path, files: Files, *, name: str | None = None) -> Iterator[Entry]:
    """Yield entities, relations as sentences, and their links. Raises SourceError.

    Args:
        path: The file.
        files: Opens it.
        name: Of the graph; its path when absent.
    """
    graph = name or str(path.resolve())
    known: dict[str, str] = {}
    relations: list[Given] = []  # a graph is small: its server holds all of it, too
    for given in json_lines(Document(path.name, lambda: files.open(path))):
        if isinstance(given, Unstored):
            yield given
        elif given.fields.get("type") == "relation":
            relations.append(given)
        elif given.fields.get("type") == "entity":
            yield _entity(given, graph, known)
        else:
            yield Unstored(given.place, f"neither entity nor relation: type {given.fields.get('type')!r}")
    for given in relations:
        yield from _relation(given, graph, known)


def _entity(given: Given, graph: str, known: dict[str, str]) -> Entry:
    name, kind, told = (given.fields.get(one) for one in ("name", "entityType", "observations"))
    if not (isinstance(name, str) and name and isinstance(kind, str)):
        return Unstored(given.place, "an entity has a name and an entityType")
    if not isinstance(told, list) or not all(isinstance(one, str) for one in told):
        return Unstored(given.place, "observations is an array of texts")
    if name in known:
        return Unstored(given.place, f"the entity {name!r} is there already, at {known[name]}")
    known[name] = given.place
    kind = kind or "thing"
    summary = "\n".join(told)
    own = {"name": name, "entity_type": kind, **({"summary": summary} if summary else {})}
    fields: dict[str, Any] = {
        "content": f"{name}: {summary}" if summary else name,
        "kind": "semantic",
        "kappa": TOLD_KAPPA,
        "metadata": {"entity": {"name": name, "entity_type": kind}, **_rest(given.fields, "observations")},
        "value": own,
    }
    return SourceRecord(given.place, _identity(graph, name), fields)


def _relation(given: Given, graph: str, known: dict[str, str]) -> Iterator[Entry]:
    start, end, kind = (given.fields.get(one) for one in ("from", "to", "relationType"))
    if not (isinstance(start, str) and isinstance(end, str) and isinstance(kind, str) and start and end and kind):
        yield Unstored(given.place, "a relation has from, to and relationType")
        return
    lost = [one for one in (start, end) if one not in known]
    if lost:
        yield Unstored(given.place, f"there is no entity {lost[0]!r}")
        return
    fields: dict[str, Any] = {
        "content": f"{start} {kind.replace('_', ' ')} {end}",
        "kind": "semantic",
        "metadata": {"relation": {"from": start, "to": end, "type": kind}, **_rest(given.fields, "relationType")},
    }
    yield SourceRecord(given.place, ("mcp-memory", graph, "relation", start, kind, end), fields)
    told = kind.upper().replace(" ", "_").replace("-", "_")
    link = told if told in _TYPES else "RELATES_TO"
    yield SourceLink(given.place, _identity(graph, start), _identity(graph, end), link)


def _identity(graph: str, name: str) -> tuple[str, ...]:
    return ("mcp-memory", graph, "entity", name)


def _rest(fields: dict[str, Any], last: str) -> dict[str, Any]:
    """Return the fields that the server does not write."""
    known = {"type", "name", "entityType", "from", "to", last, "entity", "relation"}
    return {name: value for name, value in fields.items() if name not in known and value is not None}
