"""The command of a source: its own arguments, and those that all sources share, which are written once here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast, get_type_hints

import typer

from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import UsageError
from t4dm_daemon.cli.command import FAILED, INTERRUPTED, Command, Failure

if TYPE_CHECKING:
    from t4dm_daemon.cli.importing.report import ImportReport
    from t4dm_daemon.cli.importing.writer import OnConflict
    from t4dm_daemon.sources import Entry, Files

_CONFLICTS: Final = ("replace", "keep", "refuse")
_HOW: Final = "How"
_OWNER: Final = "Whose memories they become, whatever the source says"


@dataclass(frozen=True, slots=True)
class Reading:
    """An opened source.

    Attributes:
        source: Its kind, as in `t4dm import <kind>`.
        where: The file, folder or URL.
        entries: What it yields.
        files: Counts what was read of files; None for a server.
    """

    source: str
    where: str
    entries: Iterator[Entry]
    files: Files | None = None


def _shared(
    space: Annotated[str, typer.Option("--space", "-s", help="Where to.")] = "default",
    user: Annotated[
        str | None, typer.Option("--user", "--user-id", help="Of this user.", rich_help_panel=_OWNER)
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", "--agent-id", help="Of this agent.", rich_help_panel=_OWNER)
    ] = None,
    app: Annotated[str | None, typer.Option("--app", "--app-id", help="Of this app.", rich_help_panel=_OWNER)] = None,
    run: Annotated[str | None, typer.Option("--run", "--run-id", help="Of this run.", rich_help_panel=_OWNER)] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything and say what would happen; store nothing.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first entry that is wrong.")] = False,
    on_conflict: Annotated[
        str,
        typer.Option(
            "--on-conflict",
            help="An id that holds something else: replace it by a new version, keep it, or refuse the entry.",
            rich_help_panel=_HOW,
        ),
    ] = "replace",
    keep_duplicates: Annotated[
        bool,
        typer.Option(
            "--keep-duplicates", help="Also store words that the same owner said before.", rich_help_panel=_HOW
        ),
    ] = False,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=10_000, help="Memories sent at once.", rich_help_panel=_HOW)
    ] = 200,
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None: ...


def source_command(reader: Callable[..., Reading]) -> Callable[..., None]:
    """Return the command that stores what a reader's function opens: its arguments, and the shared ones."""

    def command(**given: Any) -> None:
        own = {name: given.pop(name) for name in inspect.signature(reader).parameters}
        connection = {name: given.pop(name) for name in ("url", "as_json", "quiet", "debug")}
        # Embedding a batch of long texts can take minutes on a small machine.
        with Command(**connection, timeout_s=600.0) as running:
            _import(running, lambda: reader(**own), **given)

    parameters = [*_parameters(reader), *_parameters(_shared)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    command.__doc__, command.__name__ = reader.__doc__, reader.__name__
    return command


def _parameters(function: Callable[..., object]) -> list[inspect.Parameter]:
    hints = get_type_hints(function, include_extras=True)
    return [
        one.replace(annotation=hints[one.name], kind=inspect.Parameter.KEYWORD_ONLY)
        for one in inspect.signature(function).parameters.values()
    ]


def _import(
    command: Command,
    opened: Callable[[], Reading],
    *,
    space: str,
    dry_run: bool,
    strict: bool,
    on_conflict: str,
    keep_duplicates: bool,
    batch_size: int,
    **owner: str | None,
) -> None:
    if on_conflict not in _CONFLICTS:
        raise UsageError(f"--on-conflict is {', '.join(_CONFLICTS[:-1])} or {_CONFLICTS[-1]}")
    from pydantic import TypeAdapter

    from t4dm.sdk import T4DMError
    from t4dm.sdk.models import Owner, SpaceName
    from t4dm_daemon.cli.importing.report import ImportReport
    from t4dm_daemon.cli.importing.writer import Rules
    from t4dm_daemon.core.errors import DaemonError

    columns = o.owner(owner["user"], owner["agent"], owner["app"], owner["run"], None)
    Owner(**columns)
    TypeAdapter(SpaceName).validate_python(space)
    try:
        reading = opened()
    except DaemonError as error:
        raise T4DMError(error.message, code=error.code, details=error.details) from error
    report = ImportReport(f"{reading.source} {reading.where}", space, dry_run=dry_run)
    rules = Rules(
        source=reading.source,
        space=space,
        owner=columns,
        on_conflict=cast("OnConflict", on_conflict),
        batch_size=batch_size,
        keeps_duplicates=keep_duplicates,
        is_strict=strict,
    )
    try:
        _store(command, reading, rules, report)
    except T4DMError as error:
        error.message = f"{error.message} ({report.so_far()})"
        error.details["report"] = report.as_json()
        raise
    except KeyboardInterrupt:
        message = f"stopped: {report.so_far()}"
        command.fail(Failure(INTERRUPTED, "interrupted", message, {"report": report.as_json()}))
        raise typer.Exit(INTERRUPTED) from None
    command.answer(report.as_json(), lambda: _tell(report))
    if not (command.as_json or command.quiet):
        for text in report.complaints():
            output.note(text)
    if not report.is_whole:
        raise typer.Exit(FAILED)


def _store(command: Command, reading: Reading, rules: Any, report: ImportReport) -> None:
    from t4dm_daemon.cli.importing.interrupts import asked_to_stop, until
    from t4dm_daemon.cli.importing.writer import Writer
    from t4dm_daemon.cli.progress import progress
    from t4dm_daemon.sources.files import plain_size

    files = reading.files
    is_shown = not (command.as_json or command.quiet)
    total = None if files is None else plain_size(Path(reading.where))
    with progress(f"Importing {reading.source}", total=total, is_shown=is_shown) as advance:
        shown = 0

        def follow(memories: int, _units: int) -> None:
            nonlocal shown
            read = 0 if files is None else files.read_bytes
            advance(memories, read - shown)
            shown = read

        with closing(cast("Any", reading.entries)), asked_to_stop(at_once=True) as stop:
            Writer(command.client, rules, report, follow).run(until(stop, reading.entries))


def _tell(report: ImportReport) -> None:
    for text in report.lines():
        output.line(text)
