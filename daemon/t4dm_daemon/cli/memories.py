"""`t4dm add`, `get`, `update`, `delete`, `history`: one memory, or some by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import (
    UsageError,
    duration_s,
    json_object,
    json_or_text,
    labels,
    pairs,
    raw_pairs,
    stdin_text,
    text_argument,
)
from t4dm_daemon.cli.command import NOT_FOUND, Command, Failure

if TYPE_CHECKING:
    from t4dm.sdk import DeleteAnswer, DeleteRequest, HistoryEntry, Memory

_SHOWN_CHARS = 60
_OWNER = ("user_id", "agent_id", "app_id", "run_id", "session_id")
_LISTS = {"namespace": "/", "categories": ","}


def add(
    text: Annotated[str | None, typer.Argument(help="What to remember; - reads standard input.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Take the text from a file.", exists=True)] = None,
    id: Annotated[str | None, typer.Option("--id", help="Any name; an existing one is replaced.")] = None,
    meta: o.Meta = None,
    kind: o.Kind = None,
    importance: Annotated[float | None, typer.Option("--importance", help="0 to 1.")] = None,
    category: Annotated[list[str] | None, typer.Option("--category", "-c", help="Repeatable.")] = None,
    namespace: o.Namespace = None,
    at: Annotated[str | None, typer.Option("--at", help="When it happened (RFC 3339); now when absent.")] = None,
    valid_from: Annotated[str | None, typer.Option("--valid-from", help="From when it is true (RFC 3339).")] = None,
    valid_to: Annotated[str | None, typer.Option("--valid-to", help="Until when it is true (RFC 3339).")] = None,
    ttl: Annotated[str | None, typer.Option("--ttl", help="Forget after: 90 (seconds), 15m, 12h, 7d, 2w.")] = None,
    supersedes: Annotated[
        list[str] | None, typer.Option("--supersedes", help="A memory that stops being true with this one. Repeatable.")
    ] = None,
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
    """Remember a text.

    t4dm add "Ada likes tea" --user ada --meta topic=drinks
    t4dm add "The rent is 790" --supersedes rent-2025
    git log -1 --format=%B | t4dm add --category work
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.models import StoreRequest

        given: dict[str, Any] = {
            "id": id,
            "kind": kind,
            "importance": importance,
            "categories": category or None,
            "namespace": labels("--namespace", namespace),
            "event_time": at,
            "valid_from": valid_from,
            "valid_to": valid_to,
            "ttl_s": duration_s("--ttl", ttl),
            "supersedes": supersedes or None,
            "metadata": pairs("--meta", meta) or None,
        }
        request = StoreRequest(
            content=text_argument(text, file, what="the text to remember"),
            space=space,
            **{name: value for name, value in given.items() if value is not None},
            **o.owner(user, agent, app, run, session),
        )
        memory = command.client.store(request)
        said = {"duplicate": "known already:", "updated": "replaced"}.get(memory.status or "", "stored")
        command.answer(memory, lambda: output.line(f"{said} {memory.id}"), ids=[memory.id])


def get(
    id: Annotated[str, typer.Argument(help="The memory's id.")],
    as_of: o.AsOf = None,
    known_at: o.KnownAt = None,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Show one memory, now or as it was.

    t4dm get m-1
    t4dm get m-1 --known-at 2026-05-01
    """
    with Command(url=url, as_json=as_json, debug=debug) as command:
        from t4dm._requests import moment

        memory = command.client.get(id, space=space, as_of=moment(as_of), known_at=moment(known_at))
        command.answer(memory, lambda: _show(memory), ids=[memory.id])


def update(
    id: Annotated[str, typer.Argument(help="The memory's id.")],
    content: Annotated[str | None, typer.Option("--content", help="The new text; - reads standard input.")] = None,
    meta: o.Meta = None,
    replace_meta: Annotated[
        bool, typer.Option("--replace-meta", help="Replace all metadata instead of the keys given.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value, repeatable: importance=0.9, pinned=true, valid_to=null, …"),
    ] = None,
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Change a memory; the old version stays in its history.

    t4dm update m-1 --content "Ada likes coffee"
    t4dm update m-1 --meta topic=drinks --set importance=0.9 --set valid_to=null
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.models import UpdateRequest

        changes = _assignments(set_)
        if content is not None:
            changes["content"] = text_argument(content, None, what="the new text", may_be_empty=True)
        if meta or replace_meta:
            changes["metadata"] = pairs("--meta", meta)
            changes["metadata_mode"] = "replace" if replace_meta else "merge"
        if not changes:
            raise UsageError("give at least one change: --content, --meta or --set")
        memory = command.client.update(id, UpdateRequest(**changes), space=space)
        command.answer(memory, lambda: output.line(f"updated {memory.id} (version {memory.version})"), ids=[memory.id])


def delete(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids; - reads them from standard input, one a line.")] = None,
    filter: o.Filter = None,
    everything: Annotated[bool, typer.Option("--all", help="All of the space, or of the owner given.")] = False,
    older_than: Annotated[str | None, typer.Option("--older-than", help="Created before this time (RFC 3339).")] = None,
    kind: o.Kind = None,
    namespace: o.Namespace = None,
    expired: Annotated[bool, typer.Option("--expired", help="Only what has expired.")] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="Forget their history too, even of ids that were deleted before.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
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
    """Delete memories by id or by what they match. Their history stays, unless they are purged.

    t4dm delete m-1 m-2
    t4dm delete --filter '{"field": "topic", "op": "eq", "value": "tea"}' --dry-run
    t4dm delete --all --user ada --yes
    t4dm delete --expired --purge --yes
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.models import MAX_LIMIT, DeleteRequest

        named = _named(ids)
        selector: dict[str, Any] = {
            "ids": named or None,
            "filter": json_object("--filter", filter),
            "older_than": older_than,
            "expired": expired or None,
            "kind": kind,
            "namespace_prefix": labels("--namespace", namespace),
            **o.owner(user, agent, app, run, session),
        }
        given = {name: value for name, value in selector.items() if value is not None}
        if named and everything:
            raise UsageError("give ids or --all, not both")
        if not given and not everything:
            raise UsageError("say what to delete: ids, --filter, an owner such as --user, --expired, or --all")
        is_narrowed = len(given) > bool(named)
        chunks = [{"ids": named[start : start + MAX_LIMIT]} for start in range(0, len(named), MAX_LIMIT)]
        requests = [
            DeleteRequest(space=space, all=everything, purge=purge, **(given | chunk)) for chunk in chunks or [{}]
        ]
        if dry_run:
            found = _delete(command, requests, dry_run=True)
            _tell(command, found, named, "would be deleted", is_narrowed=is_narrowed)
            return
        if not yes:
            count = len(named) if named and not is_narrowed else _delete(command, requests, dry_run=True).deleted
            history = " and forget the history for good" if purge else ""
            command.confirm(f"Delete {output.memories(count)} from space {space}{history}?", yes=yes)
        done = "deleted and forgotten" if purge else "deleted"
        _tell(command, _delete(command, requests, dry_run=False), named, done, is_narrowed=is_narrowed)


def history(
    id: Annotated[str, typer.Argument(help="The memory's id.")],
    space: o.Space = "default",
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Show everything that happened to a memory, oldest first.

    t4dm history m-1
    """
    with Command(url=url, as_json=as_json, debug=debug) as command:
        entries = command.client.history(id, space=space)
        command.answer(
            {"id": id, "results": entries},
            lambda: output.table(
                ["Version", "Event", "Recorded", "What"],
                [[str(e.version), e.event, output.when(e.recorded_at), _what(e)] for e in entries],
                numbers=["Version"],
            ),
        )


def _show(memory: Memory) -> None:
    output.fields(
        [
            ("id", memory.id),
            ("kind", memory.kind),
            ("version", str(memory.version)),
            ("namespace", "/".join(memory.namespace)),
            ("categories", ", ".join(memory.categories)),
            *((name, getattr(memory, name) or "") for name in _OWNER),
            ("importance", f"{memory.importance:g}"),
            ("kappa", f"{memory.kappa:g}"),
            ("happened", output.when(memory.event_time)),
            ("valid from", output.when(memory.valid_from) if memory.valid_from else ""),
            ("valid to", output.when(memory.valid_to) if memory.valid_to else ""),
            ("expires", output.when(memory.expires_at) if memory.expires_at else ""),
            ("created", output.when(memory.created_at)),
            ("updated", output.when(memory.updated_at)),
            ("metadata", _compact(memory.metadata) if memory.metadata else ""),
            ("value", _compact(memory.value) if memory.value is not None else ""),
            ("content", memory.content),
        ]
    )


def _what(entry: HistoryEntry) -> str:
    """Return what changed, field by field."""
    if entry.old is None or entry.new is None:
        memory = entry.new or entry.old
        return "" if memory is None else _short(memory.content)
    old, new = entry.old.model_dump(mode="json"), entry.new.model_dump(mode="json")
    unimportant = {"version", "recorded_at", "updated_at", "access_count", "last_accessed", "status", "vector"}
    return "; ".join(
        f"{name}: {_short(_compact(old[name]))} → {_short(_compact(new[name]))}"
        for name in new
        if name not in unimportant and old[name] != new[name]
    )


def _compact(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 1]}…"


def _assignments(texts: list[str] | None) -> dict[str, Any]:
    """Return `--set` values: JSON, but a text stays one where the field holds text."""
    changes: dict[str, Any] = {}
    for name, text in raw_pairs("--set", texts).items():
        value = json_or_text("--set", text)
        if name == "content" and value is None:
            raise UsageError("content cannot be null; for the text itself: --content null")
        if name == "content" or (name in _OWNER and value is not None):
            value = text
        elif name in _LISTS and isinstance(value, str):
            value = text.split(_LISTS[name])
        changes[name] = value
    return changes


def _named(ids: list[str] | None) -> list[str]:
    if ids == ["-"]:
        ids = [one for line in stdin_text().split("\n") if (one := line.removesuffix("\r"))]
        if not ids:
            raise UsageError("standard input holds no ids")
    return list(dict.fromkeys(ids or []))


def _delete(command: Command, requests: list[DeleteRequest], *, dry_run: bool) -> DeleteAnswer:
    """Delete in as many requests as the ids need, and return one count."""
    from t4dm.sdk.models import DeleteAnswer

    answers = [command.client.delete_many(one.model_copy(update={"dry_run": dry_run})) for one in requests]
    return DeleteAnswer(
        deleted=sum(answer.deleted for answer in answers),
        dry_run=dry_run,
        purged=sum(answer.purged for answer in answers),
    )


def _tell(command: Command, answer: DeleteAnswer, named: list[str], done: str, *, is_narrowed: bool) -> None:
    """Print the count; an id that was named and not found is a failure.

    Args:
        command: Prints.
        answer: The count.
        named: The ids that were given.
        done: What happened to those counted.
        is_narrowed: Other options select too, so an id may exist and not be selected.
    """
    absent = len(named) - answer.deleted
    if absent <= 0:
        command.answer(answer, lambda: output.line(f"{output.memories(answer.deleted)} {done}"))
        return
    details = {"given": len(named), "deleted": answer.deleted, "dry_run": answer.dry_run}
    if is_narrowed:
        said = f"{absent} of the {len(named)} ids do not exist or are not selected by the other options"
    elif len(named) == 1:
        said = f"there is no memory {named[0]!r}"
    else:
        said = f"{absent} of the {len(named)} ids do not exist"
    if answer.deleted:
        said += f"; {output.memories(answer.deleted)} {done}"
    command.fail(Failure(NOT_FOUND, "not_found", said, details, "See what there is: t4dm list"))
    raise typer.Exit(NOT_FOUND)
