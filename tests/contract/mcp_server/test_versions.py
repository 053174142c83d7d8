"""Clients and servers of both generations of the SDK, in every pairing, over both transports.

The environment's own is version 1. Version 2 is taken from the directory that T4DM_MCP2 names, made by
`pip install --target DIRECTORY "mcp>=2.3,<3"`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp")

from tests.support.daemon import Daemon
from tests.support.mcp_sessions import call, over_http

_V2 = Path(os.environ.get("T4DM_MCP2", "/nowhere"))
_TALK = Path(__file__).with_name("talk_v2.py")

pytestmark = pytest.mark.skipif(not (_V2 / "mcp").is_dir(), reason="T4DM_MCP2 names no directory with mcp 2")


def paths(*first: Path) -> str:
    """Return a PYTHONPATH with these before all that this process has."""
    return os.pathsep.join([*map(str, first), *filter(None, sys.path)])


def talk(target: str, mode: str, **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(_TALK), target, mode],
        env={**os.environ, "PYTHONPATH": paths(_V2), **environment},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(found: dict[str, Any], protocol: str) -> None:
    assert found["protocol"] == protocol
    assert "Nothing is stored yet" in found["instructions"]
    assert len(found["tools"]) == 11
    assert found["resources"] == ["memory://context", "memory://hot-cache", "memory://recent"]
    assert found["prompts"] == ["recall", "start_session", "summarise_session"]
    assert found["stored"]["status"] == "created"
    for part in ("found", "context", "prompt"):
        assert "The otter sleeps at noon" in found[part]
    assert found["wrong"][0] is True
    assert "query: Input should be a valid string" in found["wrong"][1]
    assert "memory://context" in found["nonsense"]
    assert found["updated"] == ["memory://recent"]


@pytest.mark.parametrize(
    ("server", "mode", "protocol"),
    [
        ((_V2,), "auto", "2026-07-28"),
        ((_V2,), "legacy", "2025-11-25"),
        ((), "auto", "2025-11-25"),
        ((), "legacy", "2025-11-25"),
    ],
    ids=["2-2", "2-2-as-before", "2-1", "2-1-as-before"],
)
def test_a_client_of_version_2_over_stdio(
    plain_daemon: Daemon, space: str, server: tuple[Path, ...], mode: str, protocol: str
) -> None:
    environment = {"SERVER_PYTHONPATH": paths(*server), "T4DM_URL": plain_daemon.url, "T4DM_SPACE": space}

    check(talk("stdio", mode, **environment), protocol)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_of_version_2_over_http_with_a_daemon_of_version_1(
    plain_daemon: Daemon, space: str, mode: str
) -> None:
    check(talk(f"{plain_daemon.url}/mcp?space={space}", mode), "2025-11-25")


@pytest.mark.asyncio
async def test_a_daemon_of_version_2(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon(settings={"PYTHONPATH": paths(_V2)}).start()

    check(talk(f"{daemon.url}/mcp?space=new", "auto"), "2026-07-28")
    check(talk(f"{daemon.url}/mcp?space=old", "legacy"), "2025-11-25")
    async with over_http(f"{daemon.url}/mcp?space=v1") as session:
        began = await session.initialize()
        await call(session, "t4dm_remember", content="By version 1")
    assert began.serverInfo.title == "T4DM memory"
    assert daemon.terminate() == 0
    assert "Traceback" not in daemon.output
