"""Exports of other products, made up, in the shapes their readers document."""

from __future__ import annotations

import gzip
import json
import sqlite3
import uuid
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

Json = dict[str, Any]


def uid(name: str) -> str:
    """Return the same UUID for the same name."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


# ChatGPT ----------------------------------------------------------------------------------------------


def chatgpt_message(name: str, role: str, *parts: Any, time: float | None = 1_700_000_000.0, **more: Any) -> Json:
    return {
        "id": uid(name),
        "author": {"role": role, "name": None, "metadata": {}},
        "create_time": time,
        "content": {"content_type": "text", "parts": list(parts)},
        "recipient": "all",
        "metadata": {},
        **more,
    }


def chatgpt_conversation(name: str, *messages: Json | None, title: str = "Tea", branches: int = 0) -> Json:
    """Return a conversation whose nodes follow each other; `branches` more answers hang on the second one."""
    mapping: Json = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    parent = "root"
    for number, message in enumerate(messages):
        node = f"{name}-{number}"
        mapping[node] = {"id": node, "message": message, "parent": parent, "children": []}
        mapping[parent]["children"].append(node)
        parent = node
    for number in range(branches):
        node = f"{name}-branch-{number}"
        left = chatgpt_message(f"{name}-left-{number}", "assistant", f"a left answer {number}")
        mapping[node] = {"id": node, "message": left, "parent": f"{name}-0", "children": []}
        mapping[f"{name}-0"]["children"].insert(0, node)
    return {
        "conversation_id": uid(name),
        "title": title,
        "create_time": 1_700_000_000.25,
        "update_time": 1_700_000_100.0,
        "mapping": mapping,
        "current_node": parent,
    }


def chatgpt_talk(name: str, turns: int) -> Json:
    """Return a conversation of so many turns, each with words of its own."""
    return chatgpt_conversation(
        name,
        *(
            chatgpt_message(
                f"{name}-{n}", ("user", "assistant")[n % 2], f"{name} says number {n}", time=1_700_000_000.0 + n
            )
            for n in range(turns)
        ),
    )


def in_zip(path: Path, **members: Any) -> Path:
    """Write a zip; `__` in a name stands for its dot."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            data = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
            archive.writestr(name.replace("__", "."), data)
    return path


# Claude -----------------------------------------------------------------------------------------------


def claude_message(name: str, sender: str, text: str, **more: Any) -> Json:
    return {
        "uuid": uid(name),
        "sender": sender,
        "text": text,
        "content": [{"type": "text", "text": text}],
        "created_at": "2026-03-01T10:00:00.5Z",
        "updated_at": "2026-03-01T10:00:00.5Z",
        "attachments": [],
        "files": [],
        **more,
    }


def claude_conversation(name: str, *messages: Json) -> Json:
    return {
        "uuid": uid(name),
        "name": "Planning the garden",
        "created_at": "2026-03-01T09:00:00Z",
        "updated_at": "2026-03-01T11:00:00Z",
        "account": {"uuid": uid("account")},
        "chat_messages": list(messages),
    }


# Mem0 and OpenMemory ----------------------------------------------------------------------------------


def mem0_memory(n: int, **more: Any) -> Json:
    return {
        "id": uid(f"mem0-{n}"),
        "memory": f"Ada keeps {n} bees",
        "user_id": "ada",
        "agent_id": None,
        "app_id": None,
        "run_id": None,
        "hash": "0" * 32,
        "metadata": {"n": n},
        "categories": ["hobbies"],
        "created_at": "2025-05-01T03:00:00-07:00",
        "updated_at": "2025-06-01T03:00:00-07:00",
        "expiration_date": None,
        **more,
    }


def openmemory_backup(path: Path, *, lines: bool = True) -> Path:
    memories = [
        {"id": uid("om-1"), "content": "Ada prefers oolong", "state": "active", "app_id": uid("app")},
        {"id": uid("om-2"), "content": "Ada lived in Paris", "state": "archived", "app_id": uid("app")},
        {"id": uid("om-3"), "content": "Ada smokes", "state": "deleted", "app_id": None},
    ]
    common = {"created_at": "2025-05-01T10:00:00+00:00", "updated_at": "2025-05-01T10:00:00+00:00"}
    tables = {
        "user": {"id": uid("user"), "user_id": "ada", "name": "Ada"},
        "apps": [{"id": uid("app"), "name": "cursor"}],
        "categories": [{"id": uid("cat"), "name": "drinks"}],
        "memories": [
            {**one, **common, "user_id": uid("user"), "metadata": {}, "category_ids": [uid("cat")]} for one in memories
        ],
        "export_meta": {"version": "1"},
    }
    if not lines:
        return in_zip(path, memories__json=tables)
    each = [
        json.dumps(
            {
                **{k: v for k, v in one.items() if k != "app_id"},
                **common,
                "metadata": {"k": 1},
                "app": "cursor",
                "categories": ["drinks"],
            }
        )
        for one in memories
    ]
    return in_zip(path, memories__json=tables, memories__jsonl__gz=gzip.compress("\n".join(each).encode()))


# LangChain --------------------------------------------------------------------------------------------


def langchain_message(kind: str, content: Any, **data: Any) -> Json:
    return {
        "type": kind,
        "data": {"content": content, "additional_kwargs": {}, "response_metadata": {}, "type": kind, "name": None, "id": None, **data},
    }  # fmt: skip


def langchain_database(path: Path, rows: list[tuple[str, str]], table: str = "message_store") -> Path:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f'CREATE TABLE "{table}" (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)')
        database.executemany(f'INSERT INTO "{table}" (session_id, message) VALUES (?, ?)', rows)
        database.commit()
    return path


# MCP and Letta ----------------------------------------------------------------------------------------


def mcp_graph() -> list[Json]:
    return [
        {"type": "entity", "name": "Ada", "entityType": "person", "observations": ["likes tea", "was born in 1815"]},
        {"type": "entity", "name": "Analytical Society", "entityType": "club", "observations": []},
        {"type": "relation", "from": "Ada", "to": "Analytical Society", "relationType": "member_of"},
        {"type": "relation", "from": "Ada", "to": "Analytical Society", "relationType": "supports"},
    ]


def letta_agent_file() -> Json:
    packed = json.dumps({"type": "user_message", "message": "I moved to Lisbon", "time": "2025-01-01"})
    beat = json.dumps({"type": "heartbeat", "reason": "automated"})
    sent = {"function": {"name": "send_message", "arguments": json.dumps({"message": "Lisbon is lovely"})}}
    time = "2025-01-02T03:04:05+00:00"
    return {
        "agents": [
            {
                "id": "agent-0",
                "name": "companion",
                "block_ids": ["block-0"],
                "messages": [
                    {"id": "message-0", "role": "system", "content": "You are …", "created_at": time},
                    {"id": "message-1", "role": "user", "content": [{"type": "text", "text": packed}], "created_at": time},
                    {"id": "message-2", "role": "user", "content": beat, "created_at": time},
                    {"id": "message-3", "role": "assistant", "content": None, "tool_calls": [sent], "created_at": time},
                    {"id": "message-4", "role": "tool", "content": "ok", "created_at": time},
                ],
            }
        ],
        "blocks": [
            {"id": "block-0", "label": "human", "value": "The user is called Ada.", "description": "Who it is"},
            {"id": "block-1", "label": "persona", "value": ""},
        ],
        "groups": [], "files": [], "sources": [], "tools": [{"name": "send_message"}],
    }  # fmt: skip


def as_lines(path: Path, lines: list[Any]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path
