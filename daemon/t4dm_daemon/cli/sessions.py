"""`t4dm session append`, `show`, `list`, `clear`: chat histories."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import UsageError, json_or_text, stdin_text
from t4dm_daemon.cli.command import Command

if TYPE_CHECKING:
    from t4dm.sdk import Message, Session

HELP: Final = "Chat histories: messages in the order in which they were appended."

Id = Annotated[str, typer.Argument(help="The session's name.")]
Space = Annotated[str, typer.Option("--space", "-s", help="The space that the session belongs to.")]


def append(
    id: Id,
    message: Annotated[
        list[str] | None,
        typer.Argument(help="JSON if it reads as JSON, else a text; - reads JSON lines from standard input."),
    ] = None,
    space: Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Append messages to a session, all or none. The session needs not be made.

    t4dm session append chat-7 '{"role": "user", "content": "Which pier?"}' '{"role": "assistant", "content": "Six."}'
    jq -c . messages.json | t4dm session append chat-7 -
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.session_models import AppendRequest

        values = _lines(stdin_text()) if message in (None, ["-"]) else _values(message or [])
        if not values:
            raise UsageError("give at least one message, or pipe them in")
        done = command.client.append_messages(id, AppendRequest(messages=values, space=space))
        first, last = done.results[0].seq, done.results[-1].seq
        command.answer(
            done,
            lambda: output.line(f"appended {output.messages(len(values))} to {id}: {first} to {last}"),
            ids=[str(stamp.seq) for stamp in done.results],
        )


def show(
    id: Id,
    last: Annotated[int | None, typer.Option("--last", "-n", help="Only the newest so many; 20 when absent.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="The oldest so many instead.")] = None,
    after: Annotated[int | None, typer.Option("--after", help="Only those with a greater number.")] = None,
    before: Annotated[int | None, typer.Option("--before", help="Only those with a lesser number.")] = None,
    space: Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Show the messages of a session, oldest first. No output means that it holds none.

    t4dm session show chat-7 --last 5
    t4dm session show chat-7 --limit 100 --after 100
    """
    with Command(url=url, as_json=as_json, debug=debug) as command:
        from t4dm.sdk.session_models import MessagesRequest

        given = {"last": last, "limit": limit, "after": after, "before": before}
        if last is None and limit is None:
            given["last"] = 20
        request = MessagesRequest(space=space, **{name: value for name, value in given.items() if value is not None})
        page = command.client.messages(id, request)
        command.answer(page, lambda: _messages(page.results))
        if len(page.results) < page.total and not command.as_json and output.is_person():
            output.note(f"{len(page.results)} of {output.messages(page.total)}")


def list_sessions(
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most this many sessions.")] = 20,
    offset: Annotated[int, typer.Option("--offset", help="After so many.")] = 0,
    space: Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """List the sessions that hold messages, the one with the newest message first.

    t4dm session list --limit 5
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.session_models import SessionsRequest

        found = command.client.sessions(SessionsRequest(space=space, limit=limit, offset=offset))
        command.answer(found, lambda: _sessions(found.results), ids=[one.id for one in found.results])


def clear(
    id: Id,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    space: Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Forget the messages of a session for good.

    t4dm session clear chat-7 --yes
    """
    with Command(url=url, as_json=as_json, debug=debug) as command:
        command.confirm(f"This forgets every message of session {id!r} for good.", yes=yes)
        deleted = command.client.clear_messages(id, space=space)
        command.answer({"deleted": deleted}, lambda: output.line(f"forgot {output.messages(deleted)}"))


def _values(texts: list[str]) -> list[Any]:
    return [json_or_text("a message", text) for text in texts]


def _lines(text: str) -> list[Any]:
    """Return the JSON values of lines."""
    values: list[Any] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"line {number} of standard input is not JSON: {error}") from None
    return values


def _messages(messages: list[Message]) -> None:
    output.table(
        ["Seq", "When", "Message"],
        [[f"{one.seq}", output.when(one.created_at), json.dumps(one.value, ensure_ascii=False)] for one in messages],
        numbers=["Seq"],
    )


def _sessions(sessions: list[Session]) -> None:
    output.table(
        ["Messages", "First", "Last", "Session"],
        [[f"{one.messages}", output.when(one.first_at), output.when(one.last_at), one.id] for one in sessions],
        numbers=["Messages"],
    )
