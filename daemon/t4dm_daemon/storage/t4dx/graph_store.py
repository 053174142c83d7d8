"""One space as a graph (`core.protocols.GraphStore`): items are nodes, edges are relationships.

Properties are a payload (`storage.payload`: the text among them becomes the content), labels are the item's
categories. A node is made as `semantic` memory: a fact, not an event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args

from t4dm_daemon.core.errors import ConflictError, InvalidInputError, NotFoundError
from t4dm_daemon.core.item import EDGE_TYPES, Edge, Item
from t4dm_daemon.core.protocols import Direction, Neighbour, Node, RelationshipName
from t4dm_daemon.storage.payload import TEXT_KEY, encode_object, join, split
from t4dm_daemon.storage.protocol import Deletion, EdgeChange, Write
from t4dm_daemon.storage.t4dx.database import Database
from t4dm_daemon.storage.t4dx.engine import T4DXEngine
from t4dm_daemon.storage.t4dx.vector_store import ATTEMPTS, LEARNED, revised

_DIRECTIONS: Final = frozenset(get_args(Direction))
_TYPES: Final = frozenset(EDGE_TYPES)


class T4DXGraphStore:
    """Read and write a space of a database as a graph. Implements `GraphStore`; thread-safe.

    Args:
        database: Who owns it closes it.
        space: An existing space; what vectors it takes is its own affair.
        text_key: The property whose text becomes the content.

    Raises:
        NotFoundError: There is no such space. Every method raises it once the space is deleted.
    """

    def __init__(self, database: Database, space: str, *, text_key: str = TEXT_KEY) -> None:
        self._database = database
        self._space = space
        self._text_key = text_key
        database.space(space)

    @property
    def _engine(self) -> T4DXEngine:
        return self._database.space(self._space)

    # Nodes --------------------------------------------------------------------------------------------

    def create_node(self, node: Node) -> None:
        """Store a new node. Raises ConflictError when the id exists."""
        self.create_nodes([node])

    def create_nodes(self, nodes: Sequence[Node]) -> None:
        """Store new nodes, all or nothing; see `GraphStore.create_nodes`."""
        seen: set[str] = set()
        writes = []
        for node in nodes:
            _check_id(node.id)
            if node.id in seen:
                raise InvalidInputError(f"the id {node.id!r} is given twice", id=node.id)
            seen.add(node.id)
            content, metadata = self._split(node.id, node.properties)
            item = Item(
                id=node.id,
                content=content,
                metadata_json=metadata,
                vector=node.vector,
                kind="semantic",
                categories=_labels(node.labels),
            )
            writes.append(Write(item, expected_version=0))
        self._engine.insert(writes)

    def get_node(self, node_id: str) -> Node | None:
        """Return a node, None when there is none."""
        return self.get_nodes([node_id])[0]

    def get_nodes(self, node_ids: Sequence[str]) -> list[Node | None]:
        """Return the node of each id, in order; None where there is none."""
        for one in node_ids:
            _check_id(one)
        return [None if item is None else self._node(item) for item in self._engine.get(node_ids)]

    def update_node(
        self,
        node_id: str,
        properties: Mapping[str, Any] | None = None,
        *,
        labels: Sequence[str] | None = None,
        replace: bool = False,
    ) -> Node:
        """Change properties and labels, and return the node; see `GraphStore.update_node`."""
        _check_id(node_id)
        patch = {} if properties is None else properties
        self._split(node_id, patch)
        changes = {} if labels is None else {"categories": _labels(labels)}
        attempt = 0
        while True:
            attempt += 1
            (current,) = self._engine.get([node_id], with_vectors=True)
            if current is None:
                raise self._absent([node_id])
            is_replaced = replace and properties is not None
            before = {} if is_replaced else join(current.content, current.metadata_json, self._text_key)
            content, metadata = self._split(node_id, before | dict(patch))
            item = revised(current, content, metadata, **changes)
            try:
                self._engine.insert([Write(item, expected_version=current.version, carry=LEARNED)])
                return self._node(item)
            except ConflictError:
                if attempt == ATTEMPTS:
                    raise

    def delete_node(self, node_id: str) -> bool:
        """Delete a node and its relationships; False when there was none."""
        return self.delete_nodes([node_id])[0]

    def delete_nodes(self, node_ids: Sequence[str]) -> list[bool]:
        """Delete nodes and their relationships, in order; False where there was none."""
        for one in node_ids:
            _check_id(one)
        return self._engine.delete([Deletion(one) for one in node_ids])

    # Relationships ------------------------------------------------------------------------------------

    def create_relationship(self, relationship: Edge) -> None:
        """Link two nodes; see `GraphStore.create_relationships`."""
        self.create_relationships([relationship])

    def create_relationships(self, relationships: Sequence[Edge]) -> None:
        """Link nodes, all or nothing; see `GraphStore.create_relationships`."""
        for one in relationships:
            _check_types([one.type])
            _check_unit("weight", one.weight)
        ends = dict.fromkeys(end for one in relationships for end in (one.source, one.target))
        self._require_nodes(list(ends))
        try:
            self._engine.insert([], relationships)
        except InvalidInputError as error:
            if "id" in error.details:  # an end was deleted since it was looked up
                raise self._absent([error.details["id"]]) from error
            raise

    def relationships(
        self, node_id: str, *, direction: Direction = "both", types: Sequence[str] | None = None
    ) -> list[Edge]:
        """Return the relationships at a node, optionally of some types only. Raises NotFoundError."""
        _check_direction(direction)
        _check_types(types)
        self._require_nodes([node_id])
        edges = self._engine.edges(node_id, direction=direction)
        return edges if types is None else [one for one in edges if one.type in types]

    def strengthen(self, source: str, type: str, target: str, amount: float) -> float:
        """Add to a weight, clipped to [0, 1], and return the new weight."""
        name = (source, type, target)
        weight = self.strengthen_many({name: amount})[name]
        if weight is None:
            raise self._unlinked(name)
        return weight

    def strengthen_many(self, amounts: Mapping[RelationshipName, float]) -> dict[RelationshipName, float | None]:
        """Add to many weights in one durable write; None where there is no relationship."""
        for (_, type_, _), amount in amounts.items():
            _check_types([type_])
            _check_number("amount", amount, lambda one: -1.0 <= one <= 1.0, "in [-1, 1]")
        changes = [
            EdgeChange(source, target, type_, add=float(amount)) for (source, type_, target), amount in amounts.items()
        ]
        return dict(zip(amounts, self._engine.update_edges(changes), strict=True))

    def update_weight(self, source: str, type: str, target: str, weight: float) -> None:
        """Set a weight in [0, 1]. Raises NotFoundError when there is no such relationship."""
        _check_types([type])
        _check_unit("weight", weight)
        if self._engine.update_edges([EdgeChange(source, target, type, set=float(weight))]) == [None]:
            raise self._unlinked((source, type, target))

    def delete_relationship(self, source: str, type: str, target: str) -> bool:
        """Unlink two nodes; False when they were not linked so."""
        return self.delete_relationships([(source, type, target)])[0]

    def delete_relationships(self, names: Sequence[RelationshipName]) -> list[bool]:
        """Unlink many in one durable write, in order; False where there was nothing."""
        _check_types([type_ for _, type_, _ in names])
        return self._engine.remove_edges([(source, target, type_) for source, type_, target in names])

    # Walking ------------------------------------------------------------------------------------------

    def neighbours(
        self,
        node_id: str,
        *,
        types: Sequence[str] | None = None,
        direction: Direction = "out",
        depth: int = 1,
        limit: int = 1000,
    ) -> list[Neighbour]:
        """Return the nodes within `depth` steps, nearest first, each once; see `GraphStore.neighbours`.

        A node that is deleted while the answer is made is left out of it.
        """
        _check_walk(direction, types, depth=depth, limit=limit)
        self._require_nodes([node_id])
        reached = self._engine.traverse([node_id], types=types, direction=direction, depth=depth, limit=limit)
        items = self._engine.get([one.id for one in reached])
        return [
            Neighbour(self._node(item), one.depth, one.edge)
            for one, item in zip(reached, items, strict=True)
            if item is not None
        ]

    def path(
        self,
        source: str,
        target: str,
        *,
        max_depth: int = 6,
        types: Sequence[str] | None = None,
        direction: Direction = "out",
    ) -> list[Edge] | None:
        """Return a shortest path, None when none is short enough; see `GraphStore.path`."""
        _check_walk(direction, types, max_depth=max_depth)
        self._require_nodes([source, target])
        if source == target:
            return []
        return self._engine.path(source, target, types=types, direction=direction, max_depth=max_depth)

    # Inside -------------------------------------------------------------------------------------------

    def _node(self, item: Item) -> Node:
        return Node(item.id, join(item.content, item.metadata_json, self._text_key), item.categories)

    def _split(self, node_id: str, properties: Mapping[str, Any]) -> tuple[str, bytes]:
        try:
            encode_object(properties, "properties")
            return split(properties, self._text_key)
        except InvalidInputError as error:
            raise InvalidInputError(f"node {node_id!r}: {error.message}", **error.details, id=node_id) from None

    def _require_nodes(self, ids: Sequence[str]) -> None:
        for one in ids:
            _check_id(one)
        missing = [one for one, item in zip(ids, self._engine.get(ids), strict=True) if item is None]
        if missing:
            raise self._absent(missing)

    def _absent(self, ids: Sequence[str]) -> NotFoundError:
        return NotFoundError(f"there is no node {ids[0]!r} in space {self._space!r}", ids=list(ids), space=self._space)

    def _unlinked(self, name: RelationshipName) -> NotFoundError:
        source, type_, target = name
        return NotFoundError(
            f"there is no relationship {source!r} -{type_}-> {target!r} in space {self._space!r}",
            source=source,
            type=type_,
            target=target,
            space=self._space,
        )


def _check_id(node_id: str) -> None:
    if not isinstance(node_id, str):
        raise InvalidInputError(f"a node's id is a string, not {type(node_id).__name__}", id=repr(node_id))


def _labels(labels: Sequence[str]) -> tuple[str, ...]:
    if isinstance(labels, str):
        raise InvalidInputError("labels are a list of strings, not one string", labels=labels)
    return tuple(labels)


def _check_types(types: Sequence[str] | None) -> None:
    if isinstance(types, str):
        raise InvalidInputError("types are a list of strings, not one string", types=types)
    for one in types or ():
        if one not in _TYPES:
            raise InvalidInputError(f"unknown relationship type {one!r}; known: {', '.join(EDGE_TYPES)}", type=one)


def _check_direction(direction: str) -> None:
    if direction not in _DIRECTIONS:
        raise InvalidInputError('a direction is "out", "in" or "both"', direction=direction)


def _check_walk(direction: str, types: Sequence[str] | None, **counts: int) -> None:
    _check_direction(direction)
    _check_types(types)
    for name, value in counts.items():
        if type(value) is not int or value < 1:
            raise InvalidInputError(f"{name} is a positive integer", field=name, value=value)


def _check_unit(name: str, value: float) -> None:
    _check_number(name, value, lambda one: 0.0 <= one <= 1.0, "in [0, 1]")


def _check_number(name: str, value: float, holds: Callable[[float], bool], where: str) -> None:
    if type(value) not in (int, float) or not holds(value):
        raise InvalidInputError(f"{name} is a number {where}", field=name, value=value)
