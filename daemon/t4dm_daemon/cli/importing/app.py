"""`t4dm import`: one command for each source; without the name of one, an export of T4DM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from t4dm_daemon.cli import transfer
from t4dm_daemon.cli.importing import sources, stores
from t4dm_daemon.cli.importing.source_command import source_command

HELP = """Import: an export of T4DM (t4dm import FILE), what another product keeps, or the vectors of another store.

To run an import again is safe, and goes on where it was stopped: nothing is stored twice.
"""
_OWN = "export"
_OWN_PANEL, _FILES, _STORES = (
    "T4DM itself",
    "Other products, through the daemon",
    "Vectors as they are, no daemon running",
)


class ImportGroup(TyperGroup):
    """Commands, one of which may be left out: what begins with no command's name is its argument."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            word = args[0]
            if word.isidentifier() and not Path(word).exists():
                ctx.fail(f"there is neither a source nor a file {word!r}; the sources: {', '.join(self.commands)}")
            args = [_OWN, *args]
        return super().parse_args(ctx, args)


def import_app(help_text: Callable[[str | None], str]) -> typer.Typer:
    """Return the group; `help_text` turns docstrings into help."""
    group = typer.Typer(cls=ImportGroup, no_args_is_help=True)
    commands: tuple[tuple[str, Callable[..., Any], str], ...] = (
        (_OWN, transfer.import_memories, _OWN_PANEL),
        *(
            (name, source_command(reader), _FILES)
            for name, reader in (
                ("mem0", sources.mem0),
                ("openmemory", sources.openmemory),
                ("langchain-history", sources.langchain_history),
                ("mcp-memory", sources.mcp_memory),
                ("letta", sources.letta),
                ("chatgpt", sources.chatgpt),
                ("claude", sources.claude),
                ("jsonl", sources.jsonl),
                ("markdown", sources.markdown),
            )
        ),
        ("qdrant", stores.qdrant, _STORES),
        ("chroma", stores.chroma, _STORES),
        ("vectors", stores.vectors, _STORES),
    )
    for name, command, panel in commands:
        group.command(name, help=help_text(command.__doc__), rich_help_panel=panel)(command)
    return group
