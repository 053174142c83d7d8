"""`t4dm context`, `timeline`, `pin`, `unpin`, `forget` and `feedback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import UsageError, json_object, labels, text_argument
from t4dm_daemon.cli.command import Command

if TYPE_CHECKING:
    from t4dm.sdk import Memory

_Ids = Annotated[list[str], typer.Argument(help="Ids.")]


def context(
    query: Annotated[str | None, typer.Argument(help="What the prompt is about; - reads standard input.")] = None,
    budget: Annotated[int, typer.Option("--budget", "-b", help="At most so many tokens.")] = 1000,
    k: Annotated[int, typer.Option("--k", "-k", help="At most so many memories.")] = 30,
    header: Annotated[str, typer.Option("--header", help="A line before the memories.")] = "",
    filter: o.Filter = None,
    as_of: o.AsOf = None,
    known_at: o.KnownAt = None,
    namespace: o.Namespace = None,
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
    """Print text for a prompt, made of what answers a question. No output means that nothing is relevant.

    t4dm context "what does Ada drink?" --budget 200
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.recall_models import ContextRequest

        given: dict[str, Any] = {
            "filter": json_object("--filter", filter),
            "as_of": as_of,
            "known_at": known_at,
            "namespace_prefix": labels("--namespace", namespace),
            **o.owner(user, agent, app, run, session),
        }
        request = ContextRequest(
            query=text_argument(query, None, what="what the prompt is about"),
            k=k,
            budget_tokens=budget,
            header=header,
            space=space,
            **{name: value for name, value in given.items() if value is not None},
        )
        block = command.client.context(request)

        def show() -> None:
            if block.text:
                typer.echo(block.text)
            if output.is_person():
                output.note(
                    f"{block.tokens:,} of {block.budget_tokens:,} tokens ({block.counted_by}), "
                    f"{len(block.parts)} memories, {block.left_out} without room"
                )

        command.answer(block, show, ids=[part.id for part in block.parts])


def timeline(
    since: Annotated[str | None, typer.Option("--from", help="Happened at or after this time (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Happened before this time (RFC 3339).")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most this many, the latest.")] = 50,
    as_of: o.AsOf = None,
    known_at: o.KnownAt = None,
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
    """Show memories in the order in which they happened, and until when each is true.

    t4dm timeline --user ada --from 2026-05-01 --to 2026-06-01
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.models import Filter, ListRequest

        if limit < 1:
            raise UsageError("--limit is at least 1")
        bounds = [
            Filter(field="event_time", op=op, value=value) for op, value in (("gte", since), ("lt", until)) if value
        ]
        given: dict[str, Any] = {
            "filter": Filter(and_=bounds) if bounds else None,
            "as_of": as_of,
            "known_at": known_at,
            **o.owner(user, agent, app, run, session),
        }
        page = command.client.list(
            ListRequest(
                order_by="-event_time",
                limit=limit,
                space=space,
                **{name: value for name, value in given.items() if value is not None},
            )
        )
        memories = page.results[::-1]
        command.answer(
            {"results": memories, "total": page.total}, lambda: _happenings(memories), ids=[one.id for one in memories]
        )


def _happenings(memories: list[Memory]) -> None:
    output.table(
        ["Happened", "True", "Id", "Content"],
        [[output.when(one.event_time), _validity(one), one.id, one.content] for one in memories],
    )


def _validity(memory: Memory) -> str:
    return "still" if memory.valid_to is None else f"until {output.when(memory.valid_to)}"


def pin(
    ids: _Ids,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Pin memories: sleep never forgets them.

    t4dm pin m-1 m-2
    """
    _pin(Command(url=url, as_json=as_json, quiet=quiet, debug=debug), ids, space, pinned=True)


def unpin(
    ids: _Ids,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Unpin memories: they may fade again.

    t4dm unpin m-1
    """
    _pin(Command(url=url, as_json=as_json, quiet=quiet, debug=debug), ids, space, pinned=False)


def _pin(command: Command, ids: list[str], space: str, *, pinned: bool) -> None:
    with command:
        from t4dm.sdk.recall_models import PinRequest

        count = command.client.pin(PinRequest(ids=ids, pinned=pinned, space=space))
        _require_some(count, ids, space)
        word = "pinned" if pinned else "unpinned"
        command.answer({word: count}, lambda: output.line(f"{word} {count} of {len(ids)}"))


def _require_some(count: int, ids: list[str], space: str) -> None:
    if not count:
        from t4dm.sdk import NotFoundError

        raise NotFoundError(f"there is no memory {', '.join(ids)} in space {space!r}", code="not_found", status=404)


def forget(
    ids: _Ids,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Delete memories for good: their history goes with them. `delete` keeps it.

    t4dm forget m-1 --yes
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.models import DeleteRequest

        command.confirm(f"Forget {output.memories(len(ids))} for good? This cannot be undone.", yes=yes)
        answer = command.client.delete_many(DeleteRequest(ids=ids, purge=True, space=space))
        _require_some(answer.deleted, ids, space)
        command.answer(answer, lambda: output.line(f"forgot {answer.deleted} of {len(ids)}"))


def feedback(
    memory_id: Annotated[str, typer.Argument(help="The memory.")],
    reward: Annotated[float, typer.Argument(help="-1 misled, 0 was of no use, 1 helped.")],
    query: Annotated[str | None, typer.Option("--query", help="The question that it was found by.")] = None,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Say how useful a memory was; it is kept, for learning to draw on.

    t4dm feedback m-1 1 --query "what does Ada drink?"
    t4dm feedback m-2 -- -1
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.recall_models import FeedbackItem, FeedbackRequest

        request = FeedbackRequest(items=[FeedbackItem(id=memory_id, reward=reward)], query=query, space=space)
        recorded = command.client.feedback(request)
        _require_some(recorded, [memory_id], space)
        command.answer({"recorded": recorded}, lambda: output.line(f"noted {reward:g} for {memory_id}"))
