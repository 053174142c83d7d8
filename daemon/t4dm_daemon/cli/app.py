"""The command line: what there is, in the order of its help."""

from __future__ import annotations

import inspect
import textwrap
from typing import Annotated

import typer

from t4dm._version import __version__
from t4dm_daemon.cli import (
    finding,
    links,
    maintenance,
    mcp,
    memories,
    namespaces,
    operations,
    recall,
    sessions,
    transfer,
)
from t4dm_daemon.cli import options as o
from t4dm_daemon.cli.command import Globals, globals_of_run
from t4dm_daemon.cli.importing.app import HELP as IMPORT_HELP
from t4dm_daemon.cli.importing.app import import_app

app = typer.Typer(
    name="t4dm",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"t4dm {__version__}")
        raise typer.Exit


def _help_text(docstring: str | None) -> str:
    """Return a docstring as help, its indented paragraphs (examples) line by line as they stand."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(
        f"\b\n{textwrap.dedent(paragraph)}" if paragraph.startswith(" ") else paragraph for paragraph in paragraphs
    )


def options_before_the_command(
    context: typer.Context,
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """T4DM: a memory for agents, on this machine.

        t4dm serve                          start the daemon; leave it running
        t4dm add "Ada likes tea"            remember
        t4dm search "what does Ada drink?"  find

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not running, 4 not allowed, 5 not found, 6 conflict.
    """
    del version
    command = f"t4dm {context.invoked_subcommand or ''}".rstrip()
    globals_of_run.set(Globals(url=url, as_json=as_json, quiet=quiet, debug=debug, command=command))
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


app.callback(invoke_without_command=True, help=_help_text(options_before_the_command.__doc__))(
    options_before_the_command
)

_DAEMON, _MEMORIES, _LINKS, _FILES = "The daemon", "Memories", "Links", "Files"
for _name, _command, _panel in (
    ("serve", operations.serve, _DAEMON),
    ("status", operations.status, _DAEMON),
    ("stats", operations.stats, _DAEMON),
    ("version", operations.version, _DAEMON),
    ("add", memories.add, _MEMORIES),
    ("search", finding.search, _MEMORIES),
    ("list", finding.list_memories, _MEMORIES),
    ("get", memories.get, _MEMORIES),
    ("update", memories.update, _MEMORIES),
    ("delete", memories.delete, _MEMORIES),
    ("history", memories.history, _MEMORIES),
    ("context", recall.context, _MEMORIES),
    ("timeline", recall.timeline, _MEMORIES),
    ("pin", recall.pin, _MEMORIES),
    ("unpin", recall.unpin, _MEMORIES),
    ("forget", recall.forget, _MEMORIES),
    ("feedback", recall.feedback, _MEMORIES),
    ("namespaces", namespaces.namespaces, _MEMORIES),
    ("categories", namespaces.categories, _MEMORIES),
    ("link", links.link, _LINKS),
    ("unlink", links.unlink, _LINKS),
    ("links", links.links, _LINKS),
    ("graph", links.traverse, _LINKS),
    ("traverse", links.traverse, _LINKS),
    ("path", links.path, _LINKS),
    ("provenance", links.provenance, _LINKS),
    ("export", transfer.export, _FILES),
    ("flush", maintenance.flush, _FILES),
    ("compact", maintenance.compact, _FILES),
    ("backup", maintenance.backup, _FILES),
    ("verify", maintenance.verify, _FILES),
    ("restore", maintenance.restore, _FILES),
):
    app.command(_name, help=_help_text(_command.__doc__), rich_help_panel=_panel)(_command)

_session = typer.Typer(no_args_is_help=True)
for _name, _verb in (
    ("append", sessions.append),
    ("show", sessions.show),
    ("list", sessions.list_sessions),
    ("clear", sessions.clear),
):
    _session.command(_name, help=_help_text(_verb.__doc__))(_verb)
_mcp = typer.Typer()
_mcp.callback(invoke_without_command=True, help=_help_text(mcp.serve.__doc__))(mcp.serve)
for _name, _write in (("install", mcp.install), ("uninstall", mcp.uninstall)):
    _mcp.command(_name, help=_help_text(_write.__doc__))(_write)
app.add_typer(_mcp, name="mcp", rich_help_panel="Other programs")
app.add_typer(_session, name="session", help=sessions.HELP, rich_help_panel=_MEMORIES)
app.add_typer(import_app(_help_text), name="import", help=IMPORT_HELP, rich_help_panel=_FILES)
