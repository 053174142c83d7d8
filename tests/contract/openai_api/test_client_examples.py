"""The examples for OpenAI's and Anthropic's clients run as a user would run them, with a model that needs no network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from t4dm import T4DM
from tests.support.daemon import Daemon
from tests.support.language_model import chat_completion, chat_tool_call, language_model

EXAMPLES = Path(__file__).parents[3] / "examples" / "clients"


def run(name: str, *arguments: str, daemon: Daemon, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        env={**daemon.env, **environment}, cwd=cwd, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_texts_of_like_meaning_are_near_through_openais_client(daemon: Daemon, tmp_path: Path) -> None:
    pytest.importorskip("openai")

    boat, rates = run("openai_embeddings.py", daemon=daemon, cwd=tmp_path).splitlines()

    assert float(boat.split(": ")[1]) > float(rates.split(": ")[1]) + 0.3


def test_what_one_run_is_told_the_next_one_knows(daemon: Daemon, tmp_path: Path) -> None:
    pytest.importorskip("openai")

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        last = body["messages"][-1]
        if last["role"] == "tool":
            return chat_completion(body["model"], {"content": last["content"]})
        name = "memory_search" if last["content"].endswith("?") else "memory_store"
        argument = {"memory_search": "query", "memory_store": "content"}[name]
        return chat_completion(body["model"], chat_tool_call(name, {argument: last["content"]}))

    with language_model(answer) as (url, asked):
        environment = {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "x"}
        told = run("openai_tools.py", "Ada is allergic to walnuts.", daemon=daemon, cwd=tmp_path, **environment)
        found = run("openai_tools.py", "What must Ada not eat?", daemon=daemon, cwd=tmp_path, **environment)

    assert '"status":"created"' in told
    assert "Ada is allergic to walnuts." in found
    assert {tool["function"]["name"] for tool in asked[0]["tools"]} >= {"memory_store", "memory_search"}


def test_claudes_files_are_memories(daemon: Daemon, tmp_path: Path) -> None:
    pytest.importorskip("anthropic")

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        file = {"command": "create", "path": "/memories/ada.md", "file_text": "Ada is allergic to walnuts."}
        content = body["messages"][-1]["content"]
        if isinstance(content, str):
            block: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "memory", "input": file}
        else:
            result = content[0]["content"]
            block = {"type": "text", "text": result if isinstance(result, str) else result[0]["text"]}
        return {
            "id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": [block],
            "stop_reason": "tool_use" if block["type"] == "tool_use" else "end_turn", "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }  # fmt: skip

    with language_model(answer) as (url, asked):
        environment = {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "x"}
        told = run("anthropic_memory.py", "I am allergic.", daemon=daemon, cwd=tmp_path, **environment)

    assert told.splitlines() == ["tool_use", "File created successfully at: /memories/ada.md"]
    assert asked[0]["tools"] == [{"type": "memory_20250818", "name": "memory"}]
    with T4DM(daemon.url, space="memory-files", user_id="ada") as memory:
        (hit, *_) = memory.search("What must Ada not eat?")
    assert hit.memory.metadata["path"] == "/memories/ada.md"
