"""The command line. It speaks to the daemon over HTTP through `t4dm.sdk`, and imports that only when it must."""

from __future__ import annotations

import io
import json
import sys

from t4dm_daemon.cli.app import app
from t4dm_daemon.cli.command import USAGE, Command

__all__ = ["app", "main"]


def main() -> int:
    """Run the command line on `sys.argv` and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode shows \\u2192 for an arrow
    Command.has_answered = False
    try:
        app(prog_name="t4dm")
    except SystemExit as end:
        exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if exit_code == USAGE and "--json" in sys.argv and not Command.has_answered:
            error = {"code": "usage", "message": "the command line is wrong; standard error says why", "details": {}}
            print(json.dumps({"ok": False, "error": error, "took_ms": 0.0}))
        return exit_code
    return 0
