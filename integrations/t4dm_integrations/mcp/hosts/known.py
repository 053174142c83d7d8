"""The hosts whose configuration is known: where it lies, and under which key a server stands.

Sources: the hosts' own documentation: modelcontextprotocol.io (Claude Desktop), code.claude.com (Claude Code),
cursor.com, code.visualstudio.com/docs/agents/reference/mcp-configuration, docs.windsurf.com, zed.dev/docs/ai/mcp.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from t4dm.sdk.errors import ValidationError


@dataclass(frozen=True, slots=True)
class Host:
    """One host.

    Attributes:
        title: What people call it.
        key: Of the object that holds the servers by name.
        user_file: Its file for all projects of this user.
        project_file: Its file within a project, relative to the project; None where it has none.
        fixed: What an entry says beside command, args and env.
        afterwards: What the person has to do then.
    """

    title: str
    key: str
    user_file: Callable[[], Path]
    project_file: str | None
    fixed: Mapping[str, Any]
    afterwards: str

    def file(self, *, in_project: bool) -> Path:
        """Return the file to change. Raises ValidationError for a project's where the host has none."""
        if not in_project:
            return self.user_file()
        if self.project_file is None:
            raise ValidationError(f"{self.title} has no configuration within a project", code="no_project_file")
        return Path.cwd() / self.project_file

    def entry(self, command: str, arguments: list[str]) -> dict[str, Any]:
        return {**self.fixed, "command": command, "args": arguments}


def _application_data(name: str) -> Path:
    """Return where an application keeps its settings on this system."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / name
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / name
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / name


def _zed() -> Path:
    if sys.platform == "darwin":
        return Path.home() / ".config" / "zed" / "settings.json"
    return _application_data("Zed" if sys.platform == "win32" else "zed") / "settings.json"


HOSTS: Final[dict[str, Host]] = {
    "claude-desktop": Host(
        "Claude Desktop",
        "mcpServers",
        lambda: _application_data("Claude") / "claude_desktop_config.json",
        None,
        {},
        "Quit Claude Desktop and start it again.",
    ),
    "claude-code": Host(
        "Claude Code",
        "mcpServers",
        lambda: Path.home() / ".claude.json",
        ".mcp.json",
        {"type": "stdio"},
        "Start a new session of Claude Code; /mcp shows the server.",
    ),
    "cursor": Host(
        "Cursor",
        "mcpServers",
        lambda: Path.home() / ".cursor" / "mcp.json",
        ".cursor/mcp.json",
        {},
        "Cursor's settings show the server under MCP.",
    ),
    "vscode": Host(
        "VS Code",
        "servers",
        lambda: _application_data("Code") / "User" / "mcp.json",
        ".vscode/mcp.json",
        {"type": "stdio"},
        "Run the command `MCP: List Servers` in VS Code and start the server.",
    ),
    "windsurf": Host(
        "Windsurf",
        "mcpServers",
        lambda: Path.home() / ".codeium" / "windsurf" / "mcp_config.json",
        None,
        {},
        "Refresh the servers in Windsurf's Cascade panel.",
    ),
    "zed": Host(
        "Zed",
        "context_servers",
        _zed,
        ".zed/settings.json",
        {"source": "custom"},
        "Zed's agent panel shows the server.",
    ),
}
