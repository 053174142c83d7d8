"""What Anthropic's memory tool asks of a daemon: every command once, with what each does when it cannot."""

from __future__ import annotations

from typing import Any

from anthropic.lib.tools import ToolError

from t4dm.adapters.anthropic import T4DMMemoryTool

COMMANDS: list[dict[str, Any]] = [
    {"command": "view", "path": "/memories"},
    {"command": "create", "path": "/memories/people/ada.md", "file_text": "likes tea\nlives in Rome\n"},
    {"command": "create", "path": "/memories/people/ada.md", "file_text": "again"},
    {"command": "view", "path": "/memories/people/ada.md", "view_range": [2, 2]},
    {"command": "str_replace", "path": "/memories/people/ada.md", "old_str": "tea", "new_str": "coffee"},
    {"command": "insert", "path": "/memories/people/ada.md", "insert_line": 2, "insert_text": "speaks English"},
    {"command": "insert", "path": "/memories/people", "insert_line": 0, "insert_text": "x"},
    {"command": "rename", "old_path": "/memories/people", "new_path": "/memories/friends"},
    {"command": "view", "path": "/memories"},
    {"command": "view", "path": "/memories/friends/ada.md"},
    {"command": "view", "path": "/memories/../secret"},
    {"command": "delete", "path": "/memories/friends"},
    {"command": "delete", "path": "/memories/friends"},
]


def play(url: str) -> Any:
    with T4DMMemoryTool(url, space="recorded", user_id="ada") as tool:
        told = [_told(tool, command) for command in COMMANDS]
        events = [event.event for event in tool.history("/memories/people/ada.md")]
        return {"told": told, "history": events, "cleared": tool.clear_all_memory()}


def _told(tool: T4DMMemoryTool, command: dict[str, Any]) -> Any:
    try:
        return tool.call(command)
    except ToolError as error:
        return {"error": error.content}
