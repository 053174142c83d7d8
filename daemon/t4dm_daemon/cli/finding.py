"""`t4dm search` and `t4dm list`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import UsageError, json_object, labels, text_argument
from t4dm_daemon.cli.command import Command

if TYPE_CHECKING:
    from t4dm.sdk import Hit, ListAnswer, ListRequest, Memory

_PAGE = 1000


def search(
    query: Annotated[str | None, typer.Argument(help="What to look for; - reads standard input.")] = None,
    k: Annotated[int, typer.Option("--k", "-k", help="At most this many hits.")] = 10,
    filter: o.Filter = None,
    min_score: Annotated[float | None, typer.Option("--min-score", help="0 to 1.")] = None,
    as_of: o.AsOf = None,
    known_at: o.KnownAt = None,
    kind: o.Kind = None,
    namespace: o.Namespace = None,
    mode: Annotated[str | None, typer.Option("--mode", help="hybrid (default), vector, lexical or graph.")] = None,
    abstain_below: Annotated[
        float | None, typer.Option("--abstain-below", help="No hits unless the best is at least this likely right.")
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="Happened at or after this time (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Happened before this time (RFC 3339).")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show what each signal contributed.")] = False,
    space: o.Space = "default",
    user: o.User = None,
    agent: o.Agent = None,
    app: o.App = None,
    run: o.Run = None,
    session: o.Session = None,
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Find memories by meaning, words and links, best first. No output means that nothing is relevant.

    t4dm search "what does Ada drink?" --user ada
    t4dm search tea -k 3 --explain --filter '{"field": "topic", "op": "eq", "value": "drinks"}'
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.models import SearchRequest

        given: dict[str, Any] = {
            "filter": json_object("--filter", filter),
            "min_score": min_score,
            "as_of": as_of,
            "known_at": known_at,
            "kind": kind,
            "mode": mode,
            "abstain_below": abstain_below,
            "time_range": {name: at for name, at in (("from", since), ("to", until)) if at} or None,
            "namespace_prefix": labels("--namespace", namespace),
            "include": ["explain"] if explain else None,
            **o.owner(user, agent, app, run, session),
        }
        request = SearchRequest(
            query=text_argument(query, None, what="what to look for"),
            k=k,
            space=space,
            **{name: value for name, value in given.items() if value is not None},
        )
        found = command.client.search(request)
        command.answer(found, lambda: _hits(found.results), ids=[hit.memory.id for hit in found.results])


def list_memories(
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", help="At most this many; 20 when absent, no limit with --all.")
    ] = None,
    order_by: Annotated[
        str, typer.Option("--order-by", help="created_at, event_time or insertion; with - before it, descending.")
    ] = "-created_at",
    filter: o.Filter = None,
    kind: o.Kind = None,
    namespace: o.Namespace = None,
    as_of: o.AsOf = None,
    known_at: o.KnownAt = None,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on where the last page ended.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All pages.")] = False,
    space: o.Space = "default",
    user: o.User = None,
    agent: o.Agent = None,
    app: o.App = None,
    run: o.Run = None,
    session: o.Session = None,
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """List memories, newest first.

    t4dm list --user ada --limit 5
    t4dm list --all --quiet | wc -l
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.models import ListRequest

        if limit is not None and limit < 1:
            raise UsageError("--limit is at least 1")
        given: dict[str, Any] = {
            "filter": json_object("--filter", filter),
            "kind": kind,
            "namespace_prefix": labels("--namespace", namespace),
            "as_of": as_of,
            "known_at": known_at,
            "cursor": cursor,
            "order_by": order_by,
            **o.owner(user, agent, app, run, session),
        }
        request = ListRequest(
            space=space,
            limit=min(_PAGE, limit or _PAGE) if everything else 20 if limit is None else limit,
            **{name: value for name, value in given.items() if value is not None},
        )
        if everything:
            _list_all(command, request, limit)
            return
        page = command.client.list(request)
        command.answer(page, lambda: _memories(page.results), ids=[memory.id for memory in page.results])
        if page.cursor is not None and not (command.as_json or command.quiet) and output.is_person():
            output.note(f"{len(page.results)} of {page.total:,}; go on with --cursor {page.cursor}")


def _list_all(command: Command, request: ListRequest, limit: int | None) -> None:
    if command.as_json:
        memories: list[Memory] = []
        total, cursor = 0, None
        for page in _pages(command, request, limit):
            memories += page.results
            total, cursor = page.total, page.cursor
        command.answer({"results": memories, "total": total, "cursor": cursor}, lambda: None)
        return
    for page in _pages(command, request, limit):
        found = page.results
        command.answer({}, lambda found=found: _memories(found), ids=[one.id for one in found])  # type: ignore[misc]


def _pages(command: Command, request: ListRequest, limit: int | None) -> Iterator[ListAnswer]:
    while True:
        page = command.client.list(request)
        yield page
        if limit is not None:
            limit -= len(page.results)
        if page.cursor is None or limit == 0:
            return
        size = request.limit if limit is None else min(request.limit, limit)
        request = request.model_copy(update={"cursor": page.cursor, "limit": size})


def _hits(hits: list[Hit]) -> None:
    if not hits and output.is_person():
        output.note("Nothing relevant.")
        return
    columns = ["Score", "Id", "Happened", "Content"]
    rows = [[f"{hit.score:.3f}", hit.memory.id, output.when(hit.memory.event_time), hit.memory.content] for hit in hits]
    if any(hit.explain for hit in hits):
        columns.insert(3, "Why")
        for row, hit in zip(rows, hits, strict=True):
            row.insert(3, " ".join(f"{signal}={part:.3f}" for signal, part in (hit.explain or {}).items()))
    output.table(columns, rows, numbers=["Score"])


def _memories(memories: list[Memory]) -> None:
    output.table(
        ["Id", "Kind", "Happened", "Content"],
        [[memory.id, memory.kind, output.when(memory.event_time), memory.content] for memory in memories],
    )
