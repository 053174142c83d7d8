"""`t4dm mcp`: serve an MCP host, and write the hosts' configurations."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated

import typer

from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import UsageError, is_asked
from t4dm_daemon.cli.command import FAILED, Command

if TYPE_CHECKING:
    from t4dm_integrations.mcp.hosts import Change, Host

Space = Annotated[str | None, typer.Option("--space", "-s", help="The space to read and write.")]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile", help="memory: T4DM's tools. knowledge-graph: the nine tools of the reference memory server."
    ),
]
Import = Annotated[
    Path | None,
    typer.Option("--import", help="A file of the reference memory server to begin with, for knowledge-graph."),
]
Deadline = Annotated[float | None, typer.Option("--deadline", help="Longest time for a call in seconds.")]
StoragePath = Annotated[
    Path | None, typer.Option("--storage-path", help="A data directory to serve in this process, without a daemon.")
]
HostName = Annotated[str, typer.Argument(help="claude-desktop, claude-code, cursor, vscode, windsurf or zed.")]
Name = Annotated[str, typer.Option("--name", help="What the host calls the server.")]
Project = Annotated[bool, typer.Option("--project", help="In this project's configuration, not in yours.")]
Config = Annotated[Path | None, typer.Option("--config", help="Another file than the host's usual one.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")]


def serve(
    context: typer.Context,
    storage_path: StoragePath = None,
    space: Space = None,
    user: o.User = None,
    agent: o.Agent = None,
    app: o.App = None,
    run: o.Run = None,
    session: o.Session = None,
    profile: Profile = None,
    import_file: Import = None,
    deadline: Deadline = None,
    url: o.Url = None,
    debug: o.Debug = False,
) -> None:
    """Serve the memory to the MCP host that started this, over standard input and output.

    Hosts run it by themselves once it is installed there:

        t4dm mcp install claude-desktop --user ada
        t4dm mcp install cursor --project --space my-app

    The daemon has to run meanwhile (t4dm serve); hosts that speak HTTP can use its address instead:
    http://127.0.0.1:8765/mcp, with ?user_id=ada for one user's memories. Every option is also an environment
    variable, for example T4DM_USER_ID; the profile is T4DM_MCP_PROFILE.
    """
    if context.invoked_subcommand is not None:
        return
    with Command(url=url, debug=debug) as command:
        given = _flags(space, user, agent, app, run, session, profile, import_file, deadline)
        given |= {"url": command.url, "storage_path": None if storage_path is None else str(storage_path)}
        server = _integration().server
        if sys.stdin is not None and sys.stdin.isatty():
            output.note("t4dm mcp speaks the protocol with an MCP host, not with people. Ctrl-C ends it.")
            output.note("To let a host start it: t4dm mcp install HOST")
        server.serve(server.options_of(given, os.environ))


def install(
    host: HostName,
    name: Name = "t4dm",
    project: Project = False,
    config: Config = None,
    storage_path: StoragePath = None,
    space: Space = None,
    user: o.User = None,
    agent: o.Agent = None,
    app: o.App = None,
    run: o.Run = None,
    session: o.Session = None,
    profile: Profile = None,
    import_file: Import = None,
    deadline: Deadline = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    url: o.Url = None,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Let a host start T4DM's server: show what changes in its configuration, ask, and write it.

    All else in the file stays as it is, and what was there is kept in a file beside it.

        t4dm mcp install claude-desktop --user ada
        t4dm mcp install vscode --project --dry-run
    """
    with Command(url=url, as_json=as_json, debug=debug) as command:
        given = _flags(space, user, agent, app, run, session, profile, import_file, deadline)
        given |= {"url": command.url, "storage_path": None if storage_path is None else str(storage_path.absolute())}
        parts = _integration()
        parts.server.check(given)  # what the server would refuse in the host is refused here
        arguments = ["-m", "t4dm.mcp.server"]
        for flag, value in given.items():
            if value is not None:
                arguments += [f"--{flag.replace('_', '-')}", value]
        known, file = _host(host, config, project=project)
        change = parts.hosts.installation(known, file, name, sys.executable, arguments)
        _carry_out(command, change, yes=yes, dry_run=dry_run, done=f"{known.title} starts T4DM now as {name!r}.")
        if change.is_needed and not dry_run and not command.as_json:
            output.note(known.afterwards)


def uninstall(
    host: HostName,
    name: Name = "t4dm",
    project: Project = False,
    config: Config = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: o.Json = False,
    debug: o.Debug = False,
) -> None:
    """Take T4DM's server out of a host's configuration: show what changes, ask, and write it.

    t4dm mcp uninstall claude-desktop
    """
    with Command(as_json=as_json, debug=debug) as command:
        known, file = _host(host, config, project=project)
        change = _integration().hosts.removal(known, file, name)
        _carry_out(command, change, yes=yes, dry_run=dry_run, done=f"{known.title} does not start {name!r} any more.")


def _integration() -> ModuleType:
    """Return the integration, with its parts `hosts` and `server`. Raises MissingExtraError."""
    from t4dm._extras import missing_extra

    try:
        import t4dm_integrations.mcp.hosts
        import t4dm_integrations.mcp.server
    except ModuleNotFoundError as error:
        raise missing_extra("mcp", error) from error
    return t4dm_integrations.mcp


def _flags(
    space: str | None,
    user: str | None,
    agent: str | None,
    app: str | None,
    run: str | None,
    session: str | None,
    profile: str | None,
    import_file: Path | None,
    deadline: float | None,
) -> dict[str, str | None]:
    """Return the options by the names that the server knows them by."""
    return {
        "space": space,
        "user_id": user,
        "agent_id": agent,
        "app_id": app,
        "run_id": run,
        "session_id": session,
        "profile": profile,
        "import": None if import_file is None else str(import_file.absolute()),
        "deadline": None if deadline is None else f"{deadline:g}",
    }


def _host(name: str, config: Path | None, *, project: bool) -> tuple[Host, Path]:
    hosts = _integration().hosts.HOSTS
    if name not in hosts:
        raise UsageError(f"there is no host {name!r}; it is one of {', '.join(hosts)}")
    if config is not None and project:
        raise UsageError("give --config or --project, not both")
    known = hosts[name]
    return known, config.absolute() if config is not None else known.file(in_project=project)


def _carry_out(command: Command, change: Change, *, yes: bool, dry_run: bool, done: str) -> None:
    """Show a change, ask, write it, and say so."""
    facts = {"file": str(change.file), "changed": change.is_needed and not dry_run, "diff": change.diff}
    if not change.is_needed:
        command.answer({**facts, "backup": None}, lambda: output.line(f"Nothing to change in {change.file}"))
        return
    if not command.as_json:
        for line in change.diff.splitlines():
            output.line(line)
    if dry_run:
        command.answer({**facts, "backup": None}, lambda: output.note("Nothing was written (--dry-run)."))
        return
    if not yes:
        if command.as_json or not is_asked():
            raise UsageError(f"{change.file} would change. Add --yes to write it, or --dry-run to see it")
        if not typer.confirm(output.safe(f"Write {change.file}?"), err=True):
            output.note("Nothing was written.")
            raise typer.Exit(FAILED)
    backup = change.write()

    def people() -> None:
        output.line(done)
        if backup is not None:
            output.note(f"What was there before: {backup}")

    command.answer({**facts, "backup": None if backup is None else str(backup)}, people)
