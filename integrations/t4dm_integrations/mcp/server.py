"""`python -m t4dm.mcp.server`, `t4dm mcp`: serve one host over standard input and output.

The memories are the daemon's, or those of a data directory that is served in this process. Whose they are is said by
flags, or by the environment (`T4DM_USER_ID`, `T4DM_SPACE`, …); flags win. Nothing but the protocol goes to standard
output.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final, TextIO

from t4dm._connection import Connection
from t4dm._version import __version__
from t4dm.sdk.errors import T4DMError, ValidationError
from t4dm_integrations.mcp import sdk_log, wiring
from t4dm_integrations.mcp.knowledge_graph import KnowledgeGraphs
from t4dm_integrations.mcp.reach import DEADLINE_S, InThreads, Reach
from t4dm_integrations.mcp.scope import NAMES, Scope, scope_of
from t4dm_integrations.mcp.service import MemoryServer

_LONGEST_DEADLINE_S: Final = 600.0
_CLOSING_S: Final = 5.0
"""A data directory is flushed within that time; what is acknowledged is in its log anyway."""
_PREFIX: Final = "T4DM_"


@dataclass(frozen=True, slots=True)
class Options:
    """What to serve.

    Attributes:
        url: Where the daemon is; None: `T4DM_URL`, else http://127.0.0.1:8765.
        storage_path: A data directory to serve in this process instead.
        scope: Whose memories, and which tools.
        deadline_s: Longest time for a call.
        memory_file: A file of the reference memory server, which the profile `knowledge-graph` begins with.
    """

    url: str | None = None
    storage_path: Path | None = None
    scope: Scope = field(default_factory=Scope)
    deadline_s: float = DEADLINE_S
    memory_file: Path | None = None


def options_of(given: Mapping[str, str | None], environment: Mapping[str, str]) -> Options:
    """Return what flags and environment ask for, by the names of the flags with `_` for `-`.

    Raises:
        ValidationError: A value that cannot be, or a data directory and an URL.
    """
    found = {name: value for name, value in given.items() if value}

    def setting(name: str) -> str | None:
        variable = "T4DM_MCP_PROFILE" if name == "profile" else _PREFIX + name.upper()
        return given[name] if given.get(name) is not None else environment.get(variable) or None

    scope = scope_of({name: setting(name) for name in NAMES})
    storage_path = found.get("storage_path")
    if storage_path and found.get("url"):
        raise ValidationError("give --url or --storage-path, not both", code="validation_error")
    file = found.get("import") or environment.get("MEMORY_FILE_PATH")
    return Options(
        url=found.get("url"),
        storage_path=None if storage_path is None else Path(storage_path).expanduser(),
        scope=scope,
        deadline_s=_deadline_s(found.get("deadline") or environment.get("T4DM_MCP_DEADLINE_S")),
        memory_file=Path(file).expanduser() if file and scope.profile == "knowledge-graph" else None,
    )


def check(given: Mapping[str, str | None]) -> None:
    """Refuse what the server would refuse when a host starts it with these flags.

    Raises:
        ValidationError: A value that cannot be.
        MissingExtraError: The SDK is not installed.
    """
    options_of(given, {})
    wiring.is_version_2()


def serve(options: Options) -> None:
    """Serve the host at the other end of standard input and output, until it closes its end.

    Raises:
        MissingExtraError: The SDK is not installed.
    """
    wiring.is_version_2()  # before anything is opened
    sdk_log.install()
    with wiring.standard_output() as wire:
        connection = Connection(
            options.url, storage_path=options.storage_path, timeout_s=options.deadline_s, max_retries=1
        )
        call = InThreads(connection)
        _end_on_signals(call)
        try:
            asyncio.run(_serve(call, options, wire))
        finally:
            call.close()
            if call.is_busy:  # a call hangs whose answer nobody waits for: its thread must not keep the process
                os._exit(0)


def _end_on_signals(call: InThreads) -> None:
    """Close and end when told to. (The SDK waits for its next line in a thread, which no exception can end.)"""

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - given by the system
        closing = threading.Thread(target=call.close, daemon=True)
        closing.start()
        closing.join(_CLOSING_S)
        os._exit(128 + number)

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, end)


async def _serve(call: InThreads, options: Options, wire: TextIO) -> None:
    reach = Reach(call, deadline_s=options.deadline_s)
    served = MemoryServer(reach, KnowledgeGraphs(reach, memory_file=options.memory_file))
    wiring.current_scope.set(options.scope)
    wiring.current_instructions.set(await served.instructions(options.scope))
    try:
        await wiring.run_stdio(wiring.make_server(served), wire)
    finally:
        await served.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server as a program, and return its exit code."""
    parser = _parser()
    given = {name.replace("-", "_"): value for name, value in vars(parser.parse_args(arguments)).items()}
    try:
        options = options_of(given, os.environ)
        serve(options)
    except T4DMError as error:
        print(f"t4dm mcp: {error.message}", file=sys.stderr)
        return 2 if isinstance(error, ValidationError) else 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m t4dm.mcp.server",
        description="Serve T4DM's memory to an MCP host over standard input and output.",
    )
    parser.add_argument("--version", action="version", version=f"t4dm {__version__}")
    for name, help_text in FLAGS.items():
        parser.add_argument(f"--{name}", metavar=name.upper().replace("-", "_"), help=help_text)
    return parser


FLAGS: Final = {
    "url": "where the daemon is; T4DM_URL when absent, else http://127.0.0.1:8765",
    "storage-path": "a data directory to serve in this process, without a daemon",
    "space": "the space to read and write",
    "user-id": "whose memories",
    "agent-id": "which agent's memories",
    "app-id": "which app's memories",
    "run-id": "which run's memories",
    "session-id": "which session's memories",
    "profile": "memory (T4DM's tools) or knowledge-graph (the tools of the reference memory server)",
    "import": "a file of the reference memory server to begin with; MEMORY_FILE_PATH when absent",
    "deadline": f"longest time for a call in seconds; {DEADLINE_S:g} when absent",
}
"""Flags of the program, and what they mean; `t4dm mcp` has the same."""


def _deadline_s(given: str | None) -> float:
    if given is None:
        return DEADLINE_S
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _LONGEST_DEADLINE_S:
        raise ValidationError(
            f"the deadline is a number of seconds, greater than 0 and at most {_LONGEST_DEADLINE_S:g}; "
            f"this one is {given!r}",
            code="validation_error",
        )
    return seconds
