"""The nine tools as a host sees them: names, schemas, annotations and answers of the reference memory server."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from t4dm.sdk._validation import as_validation_error
from t4dm.sdk.errors import T4DMError, TransportError, ValidationError
from t4dm_integrations.mcp.knowledge_graph import models as k
from t4dm_integrations.mcp.knowledge_graph.graph import KnowledgeGraph
from t4dm_integrations.mcp.knowledge_graph.jsonl import import_file
from t4dm_integrations.mcp.protocol import RESOURCE_NOT_FOUND, Json, ProtocolFault
from t4dm_integrations.mcp.reach import Reach
from t4dm_integrations.mcp.schemas import input_schema, output_schema
from t4dm_integrations.mcp.scope import Scope

URI: Final = "memory://knowledge-graph"
_INSTRUCTIONS: Final = (
    "T4DM keeps a knowledge graph that outlasts this conversation: entities, what is known of them, and relations "
    "between them. Look with search_nodes or open_nodes before you answer what may depend on earlier conversations, "
    "and add what you learn. An error of a tool never means that the graph is empty."
)


@dataclass(frozen=True, slots=True)
class _Tool:
    title: str
    arguments: type[BaseModel]
    answer: type[BaseModel]
    act: Callable[[KnowledgeGraph, Any], BaseModel]
    writes: bool = True
    deletes: bool = False


def _delete_entities(graph: KnowledgeGraph, given: k.DeleteEntities) -> k.Done:
    graph.delete_entities(given.names)
    return k.Done(success=True, message="The graph holds these entities no longer")


def _delete_observations(graph: KnowledgeGraph, given: k.DeleteObservations) -> k.Done:
    graph.delete_observations(given.deletions)
    return k.Done(success=True, message="The graph holds these observations no longer")


def _delete_relations(graph: KnowledgeGraph, given: k.DeleteRelations) -> k.Done:
    graph.delete_relations(given.relations)
    return k.Done(success=True, message="The graph holds these relations no longer")


_TOOLS: Final[dict[str, _Tool]] = {
    "create_entities": _Tool(
        "Create Entities",
        k.CreateEntities,
        k.Entities,
        lambda graph, given: k.Entities(entities=graph.create_entities(given.entities)),
    ),
    "create_relations": _Tool(
        "Create Relations",
        k.CreateRelations,
        k.Relations,
        lambda graph, given: k.Relations(relations=graph.create_relations(given.relations)),
    ),
    "add_observations": _Tool(
        "Add Observations",
        k.AddObservations,
        k.Results,
        lambda graph, given: k.Results(results=graph.add_observations(given.observations)),
    ),
    "delete_entities": _Tool(
        "Delete Entities",
        k.DeleteEntities,
        k.Done,
        _delete_entities,
        deletes=True,
    ),
    "delete_observations": _Tool(
        "Delete Observations",
        k.DeleteObservations,
        k.Done,
        _delete_observations,
        deletes=True,
    ),
    "delete_relations": _Tool(
        "Delete Relations",
        k.DeleteRelations,
        k.Done,
        _delete_relations,
        deletes=True,
    ),
    "read_graph": _Tool("Read Graph", k.ReadGraph, k.Graph, lambda graph, _: graph.read(), writes=False),
    "search_nodes": _Tool(
        "Search Nodes", k.SearchNodes, k.Graph, lambda graph, given: graph.search(given.query), writes=False
    ),
    "open_nodes": _Tool("Open Nodes", k.OpenNodes, k.Graph, lambda graph, given: graph.open(given.names), writes=False),
}


class KnowledgeGraphs:
    """The tools of the profile, for any number of scopes. Used from one event loop.

    Args:
        reach: How memory is reached.
        memory_file: A file of the reference server; what it holds is added once, before the first call.
    """

    instructions: Final = _INSTRUCTIONS
    resource: Final[Json] = {
        "uri": URI,
        "name": "knowledge-graph",
        "title": "Knowledge Graph",
        "description": "All entities and relations.",
        "mimeType": "application/json",
    }

    def __init__(self, reach: Reach, *, memory_file: Path | None = None) -> None:
        self._reach = reach
        self._memory_file = memory_file
        self._imports: dict[Scope, asyncio.Task[None]] = {}

    @property
    def listed(self) -> list[Json]:
        """The tools in the protocol's form."""
        return [
            {
                "name": name,
                "title": tool.title,
                "description": " ".join((tool.arguments.__doc__ or "").split()),
                "inputSchema": input_schema(tool.arguments),
                "outputSchema": output_schema(tool.answer),
                "annotations": {
                    "readOnlyHint": not tool.writes,
                    "destructiveHint": tool.deletes,
                    "idempotentHint": tool.deletes or not tool.writes,
                    "openWorldHint": False,
                },
            }
            for name, tool in _TOOLS.items()
        ]

    @staticmethod
    def writes(name: str) -> bool:
        """Say whether a call of this tool may change something."""
        return name in _TOOLS and _TOOLS[name].writes

    async def call(self, scope: Scope, name: str, arguments: Json) -> tuple[str, Json]:
        """Carry a call out and return its answer as text and as an object. Raises T4DMError."""
        tool = _TOOLS.get(name)
        if tool is None:
            raise ValidationError(f"there is no tool {name[:200]!r}; there are {', '.join(_TOOLS)}", code="no_tool")
        with as_validation_error():
            given = tool.arguments.model_validate(arguments)
        answer = await self._with_graph(scope, lambda graph: tool.act(graph, given))
        plain = answer.model_dump(mode="json", by_alias=True)
        if isinstance(answer, k.Done):
            return answer.message, plain
        listed = getattr(answer, "LIST", None)
        return _text(plain if listed is None else plain[listed]), plain

    def check_known(self, uri: str) -> None:
        """Raise ProtocolFault unless a resource has this address."""
        if uri != URI:
            raise ProtocolFault(RESOURCE_NOT_FOUND, f"there is no resource {uri[:200]!r}; there is {URI}")

    async def read_resource(self, scope: Scope) -> Json:
        """Return the whole graph as one content of the protocol. Raises T4DMError."""
        graph = await self._with_graph(scope, KnowledgeGraph.read)
        return {"uri": URI, "mimeType": "application/json", "text": _text(graph.model_dump(mode="json", by_alias=True))}

    async def fingerprint(self, scope: Scope) -> str:
        """Return what differs as soon as the graph does. Raises T4DMError."""
        graph = await self._with_graph(scope, KnowledgeGraph.read)
        return hashlib.sha256(graph.model_dump_json().encode()).hexdigest()

    async def _with_graph(self, scope: Scope, work: Callable[[KnowledgeGraph], Any]) -> Any:
        await self._after_import(scope)
        return await self._reach(lambda backend: work(KnowledgeGraph(backend, scope)))

    async def _after_import(self, scope: Scope) -> None:
        """Add the file's content, if there is one and it was not added before.

        Raises:
            TransportError: It takes longer than a call may; it goes on, and the next call waits for the same.
            T4DMError: It failed; the next call tries again.
        """
        if self._memory_file is None:
            return
        under_way = self._imports.get(scope)
        if under_way is None:
            under_way = self._imports[scope] = asyncio.create_task(self._added(scope, self._memory_file))
        try:
            async with asyncio.timeout(self._reach.deadline_s):
                await asyncio.shield(under_way)
        except TimeoutError:
            raise TransportError(
                f"{self._memory_file} is still being imported, which goes on; nothing else was done. Call again soon",
                code="deadline_exceeded",
            ) from None
        except T4DMError:
            self._imports.pop(scope, None)
            raise

    async def _added(self, scope: Scope, path: Path) -> None:
        try:
            await self._reach.at_leisure(lambda backend: import_file(backend, scope, path, again=False))
        except FileNotFoundError:
            pass  # the reference server, too, begins with an empty graph then
        except OSError as error:
            raise ValidationError(
                f"MEMORY_FILE_PATH: {path} cannot be read: {error.strerror or error}", code="file_error"
            ) from error


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
