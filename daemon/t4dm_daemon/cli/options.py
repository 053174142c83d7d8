"""The options that commands share, as types. A command takes those that make sense for it."""

from __future__ import annotations

from typing import Annotated

import typer

_CONNECTION = "Connection and output"
_OWNER = "Whose memory"

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Where the daemon is; T4DM_URL when absent, else http://127.0.0.1:8765.",
        rich_help_panel=_CONNECTION,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON document: ok, data or error, took_ms.", rich_help_panel=_CONNECTION),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print ids only.", rich_help_panel=_CONNECTION)]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=_CONNECTION)]
Space = Annotated[str, typer.Option("--space", "-s", help="The space the memories live in.")]

User = Annotated[
    str | None, typer.Option("--user", help="Only of, or for, this user (user_id).", rich_help_panel=_OWNER)
]
Agent = Annotated[
    str | None, typer.Option("--agent", help="Only of, or for, this agent (agent_id).", rich_help_panel=_OWNER)
]
App = Annotated[str | None, typer.Option("--app", help="Only of, or for, this app (app_id).", rich_help_panel=_OWNER)]
Run = Annotated[str | None, typer.Option("--run", help="Only of, or for, this run (run_id).", rich_help_panel=_OWNER)]
Session = Annotated[
    str | None, typer.Option("--session", help="Only of, or for, this session (session_id).", rich_help_panel=_OWNER)
]

Kind = Annotated[str | None, typer.Option("--kind", help="episodic (an event), semantic (a fact) or procedural.")]
Filter = Annotated[
    str | None,
    typer.Option(
        "--filter", "-f", help='A filter as JSON, for example \'{"field": "topic", "op": "eq", "value": "tea"}\'.'
    ),
]
Namespace = Annotated[str | None, typer.Option("--namespace", help="Labels from the root, as in work/notes.")]
Meta = Annotated[
    list[str] | None,
    typer.Option("--meta", "-m", help="key=value, repeatable; the value is JSON if it reads as JSON, else text."),
]
AsOf = Annotated[str | None, typer.Option("--as-of", help="What was true at this time (RFC 3339).")]
KnownAt = Annotated[str | None, typer.Option("--known-at", help="What was stored at this time (RFC 3339).")]


def owner(user: str | None, agent: str | None, app: str | None, run: str | None, session: str | None) -> dict[str, str]:
    """Return the owner columns that were given."""
    columns = {"user_id": user, "agent_id": agent, "app_id": app, "run_id": run, "session_id": session}
    return {name: value for name, value in columns.items() if value is not None}
