"""`t4dm flush`, `compact`, `backup`, `verify`, `restore`: the files of the store.

`verify --path` and `restore` work on files that no daemon has open; only they load the storage engine. Where the log is
authenticated they take its key from the settings, as the daemon does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.command import FAILED, Command

if TYPE_CHECKING:
    from t4dm.sdk import BackupReport, SpaceCompaction, VerifyReport

T = TypeVar("T")

_PATIENCE_S = 3600.0
OneSpace = Annotated[str | None, typer.Option("--space", "-s", help="Only this space; all when absent.")]


def flush(
    space: OneSpace = None,
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Write what is in memory to segments, so that the log before it can go. Nothing depends on it.

    t4dm flush
    """
    with Command(url=url, as_json=as_json, debug=debug, timeout_s=_PATIENCE_S) as command:
        command.client.flush(space=space)
        command.answer({}, lambda: output.line("flushed"))


def compact(
    everything: Annotated[
        bool, typer.Option("--everything", help="Merge all segments, and take what was purged out of the files.")
    ] = False,
    space: OneSpace = None,
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Merge segments. Reading and writing go on meanwhile; large stores take minutes.

    t4dm compact
    t4dm compact --everything --space notes
    """
    with Command(url=url, as_json=as_json, debug=debug, timeout_s=_PATIENCE_S) as command:
        reports = command.client.compact(space=space, everything=everything)
        command.answer({"results": reports}, lambda: _compacted(reports))


def backup(
    path: Annotated[
        Path | None, typer.Argument(help="Where to; must not exist. Absent: `backups` beside the store, by time.")
    ] = None,
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Copy the store as it is at one moment, while the daemon goes on. `t4dm restore` makes a store of it again.

    t4dm backup
    t4dm backup /mnt/other-disk/t4dm-monday
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug, timeout_s=_PATIENCE_S) as command:
        report = command.client.backup(path=None if path is None else str(path.absolute()))
        command.answer(report, lambda: _copied(report, "written to"), ids=[report.path])


def verify(
    path: Annotated[
        Path | None, typer.Option("--path", help="A store or a backup that nobody has open; the daemon is not asked.")
    ] = None,
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Compare every file of the store with what was written. Exit code 1 if something is wrong.

    Where no daemon runs, the store of this machine's settings is read itself.

        t4dm verify
        t4dm verify --path /mnt/other-disk/t4dm-monday
    """
    with Command(url=url, as_json=as_json, debug=debug, timeout_s=_PATIENCE_S) as command:
        report = _verified(command, is_elsewhere=url is not None) if path is None else _verified_files(path)
        command.answer(report, lambda: _verification(report))
        if not report.is_sound:
            raise typer.Exit(FAILED)


def restore(
    backup: Annotated[Path, typer.Argument(help="A backup, or a store that nobody has open.")],
    target: Annotated[Path, typer.Argument(help="Where to; must not exist.")],
    until: Annotated[
        str | None, typer.Option("--until", help="Bring back what was stored until this time (RFC 3339).")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", help="The archived log, to go on from the backup to a later time.")
    ] = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Make a store of a backup; no daemon is needed. Start one on it with: t4dm serve --storage-path TARGET

    t4dm restore backups/20260501T120000Z ./store
    t4dm restore backups/20260501T120000Z ./store --archive ./log-archive --until 2026-05-01T12:30:00Z
    """
    with Command(as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm._requests import moment
        from t4dm_daemon.core.clock import to_micros
        from t4dm_daemon.storage.t4dx.backup import restore as restore_files

        end = moment(until)
        report = _offline(
            lambda: restore_files(
                backup.absolute(),
                target.absolute(),
                archive=None if archive is None else archive.absolute(),
                until=None if end is None else to_micros(end),
                wal_key=_wal_key(),
            )
        )
        facts = {"path": report.path, "files": report.files, "size_bytes": report.size_bytes, "seconds": report.seconds}
        command.answer(facts, lambda: _copied(report, "restored to"), ids=[report.path])


def _verified(command: Command, *, is_elsewhere: bool) -> VerifyReport:
    """Ask the daemon; where none runs on this machine, read its store."""
    from t4dm.sdk import TransportError

    try:
        return command.client.verify()
    except TransportError as error:
        if error.code != "not_running" or is_elsewhere:
            raise
    from t4dm_daemon.config import Settings

    store = Settings().store
    output.note(f"No daemon runs at {command.client.url}; reading {store}")
    return _verified_files(store)


def _verified_files(path: Path) -> VerifyReport:
    from t4dm.sdk.admin_models import VerifyReport
    from t4dm_daemon.memory.maintenance import plain_verification
    from t4dm_daemon.storage.t4dx.backup import verify_files

    report = _offline(lambda: verify_files(path.absolute(), wal_key=_wal_key()))
    return VerifyReport.model_validate(plain_verification(report))


def _wal_key() -> bytes | None:
    """Return the log's key as the settings name it."""
    from t4dm_daemon.config import Settings
    from t4dm_daemon.runtime import wal_key

    return wal_key(Settings())


def _offline(work: Callable[[], T]) -> T:
    """Do work on files; its errors are told like the daemon's, and what it logs is not shown beside the answer."""
    import logging

    from t4dm_daemon.core.errors import DaemonError
    from t4dm_daemon.memory.backend import raise_for_caller

    logging.getLogger("t4dm_daemon").addHandler(logging.NullHandler())
    try:
        return work()
    except DaemonError as error:
        raise_for_caller(error)


def _copied(report: BackupReport | Any, said: str) -> None:
    output.line(f"{report.files} files ({output.size(report.size_bytes)}) {said} {report.path}")


def _verification(report: VerifyReport) -> None:
    for problem in report.problems:
        output.line(f"{problem.file}: {problem.message}")
    if report.is_sound:
        output.line(f"{report.files} files ({output.size(report.size_bytes)}) are as they were written")


def _compacted(reports: list[SpaceCompaction]) -> None:
    size = output.size if output.is_person() else str
    output.table(
        ["Merges", "Segments", "Versions", "Disk", "Seconds", "Space"],
        [
            [
                f"{one.merges}",
                f"{one.segments_before} → {one.segments_after}",
                f"{one.rows_before} → {one.rows_after}",
                f"{size(one.disk_bytes_before)} → {size(one.disk_bytes_after)}",
                f"{one.seconds:.1f}",
                one.space,
            ]
            for one in reports
        ],
        numbers=["Merges", "Segments", "Versions", "Disk", "Seconds"],
    )
