"""`t4dm link`, `unlink`, `links`, `traverse`, `path`, `provenance`: how memories hang together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.command import NOT_FOUND, Command, Failure

if TYPE_CHECKING:
    from t4dm.sdk import Edge, Node

Source = Annotated[str, typer.Argument(help="The id where the link begins.")]
Type = Annotated[str, typer.Argument(help="CAUSES, PART_OF, RELATES_TO, DERIVED_FROM, …; a wrong one lists all.")]
Target = Annotated[str, typer.Argument(help="The id where the link ends.")]
Id = Annotated[str, typer.Argument(help="The memory's id.")]
Types = Annotated[list[str] | None, typer.Option("--type", "-t", help="Only links of this type; repeatable.")]
Direction = Annotated[str, typer.Option("--direction", help="out (along links), in (against them) or both.")]
Limit = Annotated[int, typer.Option("--limit", "-n", help="At most this many memories.")]


def link(
    source: Source,
    type: Type,
    target: Target,
    weight: Annotated[float, typer.Option("--weight", "-w", help="0 to 1.")] = 1.0,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Link two memories; a link that exists takes the new weight.

    t4dm link storm CAUSES delay --weight 0.8
    """
    with Command(url=url, as_json=as_json, debug=debug) as command:
        from t4dm.sdk.graph_models import EdgeIn, LinkRequest

        edge = EdgeIn.model_validate({**_name(source, type, target), "weight": weight})
        linked = command.client.link(LinkRequest(edges=[edge], space=space))
        command.answer({"linked": linked}, lambda: output.line(f"linked {source} {edge.type} {target}"))


def unlink(
    source: Source,
    type: Type,
    target: Target,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """End the link between two memories. Exit code 5 if there is none.

    t4dm unlink storm CAUSES delay
    """
    with Command(url=url, as_json=as_json, debug=debug) as command:
        from t4dm.sdk.graph_models import EdgeName, UnlinkRequest

        edge = EdgeName.model_validate(_name(source, type, target))
        unlinked = command.client.unlink(UnlinkRequest(edges=[edge], space=space))
        if unlinked:
            command.answer({"unlinked": unlinked}, lambda: output.line(f"unlinked {source} {edge.type} {target}"))
            return
        said = f"there is no link {source!r} {edge.type} {target!r}"
        command.fail(
            Failure(NOT_FOUND, "not_found", said, {**edge.model_dump()}, f"See what there is: t4dm links {source}")
        )
        raise typer.Exit(NOT_FOUND)


def links(
    id: Id,
    direction: Direction = "both",
    known_at: o.KnownAt = None,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Show the links at one memory.

    t4dm links storm --direction out
    """
    with Command(url=url, as_json=as_json, debug=debug) as command:
        from t4dm._requests import moment

        found = command.client.links(id, direction=_direction(direction), space=space, known_at=moment(known_at))
        command.answer({"results": found}, lambda: _edges(found))


def traverse(
    id: Annotated[list[str], typer.Argument(help="Where to start; several ids start from all of them.")],
    depth: Annotated[int, typer.Option("--depth", "-d", help="The most links to walk, 1 to 6.")] = 1,
    type: Types = None,
    direction: Direction = "out",
    limit: Limit = 100,
    as_of: o.AsOf = None,
    known_at: o.KnownAt = None,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Walk from memories along their links, nearest first.

    t4dm traverse storm --depth 3 --type CAUSES
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.graph_models import TraverseRequest

        request = TraverseRequest.model_validate(
            {
                "start": id,
                "edge_types": _types(type),
                "direction": direction,
                "depth": depth,
                "limit": limit,
                "as_of": as_of,
                "known_at": known_at,
                "include_memories": True,
                "space": space,
            }
        )
        found = command.client.traverse(request)
        command.answer(found, lambda: _nodes(found.nodes), ids=[node.id for node in found.nodes])


def path(
    source: Annotated[str, typer.Argument(help="The id to begin at.")],
    target: Annotated[str, typer.Argument(help="The id to come to.")],
    type: Types = None,
    direction: Direction = "out",
    max_depth: Annotated[int, typer.Option("--max-depth", help="The most links it may have, 1 to 64.")] = 6,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Show a shortest path from one memory to another. No output means that there is none.

    t4dm path storm refund --direction both
    """
    with Command(url=url, as_json=as_json, debug=debug) as command:
        from t4dm.sdk.graph_models import PathRequest

        request = PathRequest.model_validate(
            {
                "source": source,
                "target": target,
                "edge_types": _types(type),
                "direction": direction,
                "max_depth": max_depth,
                "space": space,
            }
        )
        found = command.client.path(request)
        command.answer({"edges": found}, lambda: _path(found))


def provenance(
    id: Id,
    forward: Annotated[bool, typer.Option("--forward", help="What was made of it, instead of its origins.")] = False,
    depth: Annotated[int, typer.Option("--depth", "-d", help="The most links to walk, 1 to 64.")] = 6,
    limit: Limit = 100,
    known_at: o.KnownAt = None,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Show what a memory was made from, nearest first.

    t4dm provenance summary
    t4dm provenance note --forward
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm._requests import moment

        found = command.client.provenance(
            id,
            direction="forward" if forward else "backward",
            depth=depth,
            limit=limit,
            known_at=moment(known_at),
            include_memories=True,
            space=space,
        )
        command.answer({"id": id, "nodes": found}, lambda: _nodes(found), ids=[node.id for node in found])


def _name(source: str, type: str, target: str) -> dict[str, Any]:
    return {"source": source, "target": target, "type": type.upper()}


def _types(types: list[str] | None) -> list[str] | None:
    return [one.upper() for one in types] if types else None


def _direction(text: str) -> Any:
    """Return a direction, checked where the client sends it on as it is."""
    from t4dm_daemon.cli.arguments import UsageError

    if text not in {"out", "in", "both"}:
        raise UsageError(f"--direction is out, in or both, not {text!r}")
    return text


def _edges(edges: list[Edge]) -> None:
    output.table(
        ["Weight", "Source", "Type", "Target"],
        [[f"{edge.weight:.3f}", edge.source, edge.type, edge.target] for edge in edges],
        numbers=["Weight"],
    )


def _path(edges: list[Edge] | None) -> None:
    if edges is None:
        if output.is_person():
            output.note("There is no such path.")
        return
    _edges(edges)


def _nodes(nodes: list[Node]) -> None:
    output.table(
        ["Depth", "Weight", "Id", "Link", "Content"],
        [
            [
                f"{node.depth}",
                f"{node.edge.weight:.3f}",
                node.id,
                f"{node.edge.source} {node.edge.type} {node.edge.target}",
                "" if node.memory is None else node.memory.content,
            ]
            for node in nodes
        ],
        numbers=["Depth", "Weight"],
    )
