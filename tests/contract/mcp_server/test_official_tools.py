"""The Inspector's command line, and the official conformance suite, against T4DM.

T4DM_NPM names a directory in whose node_modules are `@modelcontextprotocol/inspector` (0.15 runs on Node 20) and
`@modelcontextprotocol/conformance`; T4DM_NODE22 names a Node 22 or later, which the latter needs. The suite's other
scenarios ask for tools and resources that are made for them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

from tests.support.daemon import Daemon

_BIN = Path(os.environ.get("T4DM_NPM", "/nowhere")) / "node_modules" / ".bin"
_INSPECTOR, _CONFORMANCE = _BIN / "mcp-inspector", _BIN / "conformance"
_NODE_22 = os.environ.get("T4DM_NODE22", "")

with_inspector = pytest.mark.skipif(not _INSPECTOR.exists(), reason="T4DM_NPM names no directory with the Inspector")
with_conformance = pytest.mark.skipif(
    not (_CONFORMANCE.exists() and _NODE_22), reason="T4DM_NPM and T4DM_NODE22 name no conformance suite and Node 22"
)
SCENARIOS = [
    "server-initialize",
    "ping",
    "tools-list",
    "resources-list",
    "prompts-list",
    "completion-complete",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
]


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@with_conformance
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_conformance(plain_daemon: Daemon, scenario: str) -> None:
    told = run(_NODE_22, str(_CONFORMANCE), "server", "--url", f"{plain_daemon.url}/mcp", "--scenario", scenario)

    assert ", 0 failed, 0 warnings" in told
    assert "Passed: 0/" not in told


@with_inspector
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_the_inspector_lists_calls_and_reads(plain_daemon: Daemon, transport: str) -> None:
    if transport == "http":
        target = [f"{plain_daemon.url}/mcp?user_id=inspector", "--transport", "http"]
    else:
        server = [sys.executable, "-m", "t4dm.mcp.server", "--user-id", "inspector"]
        path = os.pathsep.join(filter(None, sys.path))
        target = [*server, "-e", f"T4DM_URL={plain_daemon.url}", "-e", f"PYTHONPATH={path}"]

    def inspect(method: str, *more: str) -> Any:
        return json.loads(run(str(_INSPECTOR), "--cli", *target, "--method", method, *more))

    tools = inspect("tools/list")["tools"]
    stored = inspect("tools/call", "--tool-name", "t4dm_remember", "--tool-arg", "content=Seen by the Inspector")
    found = inspect("tools/call", "--tool-name", "t4dm_search", "--tool-arg", "query=Inspector")
    resources = inspect("resources/list")["resources"]
    context = inspect("resources/read", "--uri", "memory://context")["contents"]
    prompts = inspect("prompts/list")["prompts"]
    prompt = inspect("prompts/get", "--prompt-name", "recall", "--prompt-args", "topic=Inspector")

    assert "t4dm_remember" in [tool["name"] for tool in tools]
    assert stored["structuredContent"]["status"] in ("created", "duplicate")
    assert found["structuredContent"]["results"][0]["content"] == "Seen by the Inspector"
    assert "memory://context" in [one["uri"] for one in resources]
    assert "Seen by the Inspector" in context[0]["text"]
    assert "recall" in [one["name"] for one in prompts]
    assert "Seen by the Inspector" in prompt["messages"][0]["content"]["text"]
