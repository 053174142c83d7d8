"""`t4dm serve`, `status`, `stats`, `version`: the daemon itself."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from t4dm._version import __version__
from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.command import FAILED, Command, Globals, globals_of_run

if TYPE_CHECKING:
    from t4dm.sdk import HealthReport, Stats, VersionInfo


def serve(
    host: Annotated[
        str | None, typer.Option("--host", help="Address to listen on; 127.0.0.1 when absent: this machine only.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", "-p", min=0, max=65535, help="0 takes a free one; 8765 when absent.")
    ] = None,
    storage_path: Annotated[
        Path | None,
        typer.Option("--storage-path", help="Where memories are kept; your data directory when absent."),
    ] = None,
    embedding_model: Annotated[
        str | None, typer.Option("--embedding-model", help="What turns text into vectors.")
    ] = None,
    log_level: Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option("--log-format", help="text or json.")] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Say that it listens in one line of JSON: ok, and data with url, pid, store, version."
        ),
    ] = False,
) -> None:
    """Run the daemon in the foreground until Ctrl-C.

    Every option is also an environment variable: T4DM_PORT, T4DM_STORAGE_PATH, …

        t4dm serve
        t4dm serve --port 0 --storage-path ./memories
    """
    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "storage_path": storage_path,
        "embedding_model": embedding_model,
        "log_level": log_level,
        "log_format": log_format,
    }
    # Before numpy is loaded: with two BLAS threads, scans on a busy machine take three times as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from t4dm_daemon.api.server import serve as run
    except ModuleNotFoundError as error:
        output.note(f"t4dm: the daemon needs {error.name}, which is not installed")
        output.note("  Install it with: pip install 't4dm[daemon]'")
        raise typer.Exit(FAILED) from error
    settings = {name: value for name, value in given.items() if value is not None}
    if as_json or globals_of_run.get(Globals()).as_json:
        settings["announce_json"] = True
    raise typer.Exit(run(**settings))


def status(url: o.Url = None, as_json: o.Json = False, debug: o.Debug = False) -> None:
    """Show whether the daemon runs and is well. Exit code 3 if it does not run."""
    with Command(url=url, as_json=as_json, debug=debug, timeout_s=10.0, max_retries=0) as command:
        report = command.client.health()
        where = command.client.url
        data = {"url": where, "client_version": __version__, **report.model_dump(mode="json")}
        command.answer(data, lambda: _status(where, report))


def stats(url: o.Url = None, as_json: o.Json = False, debug: o.Debug = False) -> None:
    """Count memories, versions and bytes, in all and for each space."""
    with Command(url=url, as_json=as_json, debug=debug) as command:
        counted = command.client.stats()
        command.answer(counted, lambda: _stats(counted))


def version(url: o.Url = None, as_json: o.Json = False, debug: o.Debug = False) -> None:
    """Show the version of this program, and the daemon's if it runs."""
    with Command(url=url, as_json=as_json, debug=debug, timeout_s=5.0, max_retries=0) as command:
        from t4dm.sdk import TransportError

        daemon: VersionInfo | None
        absence = ""
        try:
            daemon = command.client.version()
        except TransportError as error:
            daemon, absence = None, "not running" if error.code == "not_running" else "does not answer"
        where = command.client.url
        data = {"client": __version__, "python": platform.python_version(), "url": where, "daemon": daemon}
        command.answer(data, lambda: _version(where, daemon, absence))


def _status(url: str, report: HealthReport) -> None:
    embedder = f"{report.embedder.name} ({report.embedder.state}"
    embedder += f", {report.embedder.dimension} dimensions)" if report.embedder.dimension else ")"
    output.fields(
        [
            ("status", report.status),
            ("url", url),
            ("version", report.version),
            ("pid", str(report.pid)),
            ("up", output.duration(report.uptime_s)),
            ("store", report.storage_path),
            ("embedder", embedder),
            ("error", report.embedder.error or ""),
            ("signals", ", ".join(report.signals)),
        ]
    )
    if report.version != __version__:
        output.note(f"This program is version {__version__}, the daemon {report.version}; restart it: t4dm serve")


def _stats(counted: Stats) -> None:
    output.table(
        ["Memories", "Versions", "Segments", "WAL", "Disk", "RAM", "Space"],
        [
            [
                f"{one.items}",
                f"{one.versions}",
                f"{one.segments}",
                *(
                    (output.size(one.wal_bytes), output.size(one.disk_bytes), output.size(one.memory_bytes))
                    if output.is_person()
                    else (str(one.wal_bytes), str(one.disk_bytes), str(one.memory_bytes))
                ),
                one.space,
            ]
            for one in counted.spaces
        ],
        numbers=["Memories", "Versions", "Segments", "WAL", "Disk", "RAM"],
    )
    if output.is_person():
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in counted.by_kind.items() if count)
        output.note(f"{counted.items:,} memories in all{f': {kinds}' if kinds else ''}")
        if counted.messages:
            output.note(f"{output.messages(counted.messages)} of sessions")


def _version(url: str, daemon: VersionInfo | None, absence: str) -> None:
    output.line(f"t4dm {__version__} (Python {platform.python_version()})")
    if daemon is None:
        output.line(f"daemon: {absence} at {url}")
    else:
        output.line(f"daemon {daemon.version} at {url} (API {daemon.api}, data format {daemon.data_format})")
