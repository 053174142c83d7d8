"""`python -m t4dm.mcp.server` and `t4dm mcp`, started by a genuine client as a host starts them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("mcp")

from pydantic import AnyUrl

from t4dm.mcp.server import main
from tests.support.daemon import Daemon
from tests.support.mcp_sessions import Heard, call, over_stdio, refused, text_of, updated

pytestmark = pytest.mark.asyncio


async def test_a_host_remembers_across_sessions_and_sees_what_others_store(plain_daemon: Daemon) -> None:
    environment = {"T4DM_URL": plain_daemon.url, "T4DM_USER_ID": "stdio"}

    async with over_stdio(environment=environment) as session:
        began = await session.initialize()
        stored = await call(session, "t4dm_remember", content="The ferry leaves from pier six")
    async with over_stdio("--user-id", "stdio", environment={"T4DM_URL": plain_daemon.url}) as session:
        again = await session.initialize()
        found = await call(session, "t4dm_search", query="Which pier does the ferry leave from?")
    async with over_stdio("--user-id", "somebody-else", environment=environment) as session:
        other = await session.initialize()

    assert began.serverInfo.name == "t4dm"
    assert "Nothing is stored yet" in (began.instructions or "")
    assert "pier six" in (again.instructions or "")
    assert found["results"][0]["id"] == stored["id"]
    assert "pier six" not in (other.instructions or "")
    with plain_daemon.client() as client:
        assert client.get(stored["id"]).user_id == "stdio"


async def test_a_daemon_that_dies_and_comes_back_is_told_as_that(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon().start()
    port = daemon.url.rpartition(":")[2]

    async with over_stdio("--url", daemon.url) as session:
        await session.initialize()
        await call(session, "t4dm_remember", content="Still here tomorrow")
        daemon.kill()
        dead = await refused(session, "t4dm_search", query="tomorrow")
        also = await refused(session, "t4dm_remember", content="x")
        daemon.start("--port", port)
        found = await call(session, "t4dm_search", query="Still here tomorrow")

    for told in (dead, also):
        assert "cannot be reached" in told
        assert "t4dm serve" in told
        assert "nothing about what is stored" in told
    assert found["results"][0]["content"] == "Still here tomorrow"


@pytest.mark.slow
async def test_a_session_that_begins_without_a_daemon_works_as_soon_as_there_is_one(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon().start()
    port = daemon.url.rpartition(":")[2]
    daemon.terminate()

    async with over_stdio("--url", daemon.url) as session:
        began = await session.initialize()
        tools = (await session.list_tools()).tools
        told = await refused(session, "t4dm_timeline")
        daemon.start("--port", port)
        answer = await call(session, "t4dm_timeline")

    assert "t4dm serve" in (began.instructions or "")
    assert "Nothing is stored" not in (began.instructions or "")
    assert tools
    assert "t4dm serve" in told
    assert answer["total"] == 0


@pytest.mark.slow
async def test_a_daemon_that_hangs_is_an_error_in_time_and_the_server_still_ends(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon().start()
    assert daemon.process is not None

    async with over_stdio("--url", daemon.url, "--deadline", "1") as session:
        await session.initialize()
        daemon.process.send_signal(signal.SIGSTOP)
        loop = asyncio.get_running_loop()
        began = loop.time()
        told = await refused(session, "t4dm_search", query="x")
        took_s = loop.time() - began
        left = loop.time()
    ended_s = loop.time() - left
    daemon.process.send_signal(signal.SIGCONT)

    assert "did not answer within 1 s" in told
    assert took_s < 10  # the deadline, on a busy machine
    assert ended_s < 10


async def test_changes_by_others_reach_a_subscriber(plain_daemon: Daemon) -> None:
    heard: Heard = []

    async with over_stdio("--user-id", "watched", "--url", plain_daemon.url, heard=heard) as session:
        await session.initialize()
        await session.subscribe_resource(AnyUrl("memory://recent"))
        await call(session, "t4dm_remember", content="A change")
        async with asyncio.timeout(20):
            while not updated(heard):
                await asyncio.sleep(0.02)
        recent = await text_of(session, "memory://recent")

    assert updated(heard) == ["memory://recent"]
    assert "A change" in recent


async def test_a_data_directory_is_served_without_a_daemon(tmp_path: Path) -> None:
    environment = {"T4DM_EMBEDDING_MODEL": "hashing", "T4DM_CACHE_PATH": str(tmp_path / "cache")}

    for _ in range(2):
        async with over_stdio("--storage-path", str(tmp_path / "store"), environment=environment) as session:
            await session.initialize()
            await call(session, "t4dm_remember", content="Kept in a file")
            found = await call(session, "t4dm_search", query="Kept in a file")

    assert [one["content"] for one in found["results"]] == ["Kept in a file"]


async def test_the_knowledge_graph_profile_reads_the_reference_servers_file(
    plain_daemon: Daemon, tmp_path: Path
) -> None:
    file = tmp_path / "memory.jsonl"
    file.write_text(json.dumps({"type": "entity", "name": "Ada", "entityType": "person", "observations": ["tea"]}))
    environment = {
        "T4DM_URL": plain_daemon.url,
        "T4DM_MCP_PROFILE": "knowledge-graph",
        "T4DM_SPACE": "graph",
        "MEMORY_FILE_PATH": str(file),
    }

    async with over_stdio(environment=environment) as session:
        await session.initialize()
        graph = await call(session, "read_graph")

    assert [one["name"] for one in graph["entities"]] == ["Ada"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--profile", "nonsense"], "there is no profile 'nonsense'"),
        (["--deadline", "soon"], "the deadline is a number of seconds"),
        (["--url", "http://127.0.0.1:1", "--storage-path", "x"], "not both"),
        (["--user-id", "x" * 600], "user_id"),
        (["--user-id", ""], "user_id is empty"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
async def test_flags_that_cannot_be_are_refused_before_anything_is_served(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as ended:  # argparse's way to refuse
        code = ended.code

    out, err = capsys.readouterr()
    assert code == 2
    assert told in err
    assert out == ""


NOISY = """
import os, sys
from t4dm._connection import Connection
backend = Connection.backend
def noisy(self):
    print("from Python", flush=True)
    os.write(1, b"from a library")
    return backend(self)
Connection.backend = noisy
from t4dm.mcp.server import main
sys.exit(main())
"""


async def test_what_libraries_print_does_not_reach_the_host(plain_daemon: Daemon) -> None:
    initialize = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }  # fmt: skip

    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", NOISY, "--url", plain_daemon.url],
        input=json.dumps(initialize) + "\n", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    (answer,) = map(json.loads, done.stdout.splitlines())
    assert answer["id"] == 1
    assert done.stderr.count("from Python") == done.stderr.count("from a library") >= 1
    assert done.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
async def test_a_signal_ends_it_although_its_input_is_open(tmp_path: Path, number: signal.Signals) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "t4dm.mcp.server", "--storage-path", str(tmp_path / "store")],
        env={**os.environ, "T4DM_EMBEDDING_MODEL": "hashing", "T4DM_CACHE_PATH": str(tmp_path)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert server.stdin is not None
    assert server.stdout is not None
    initialize = {
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }  # fmt: skip
    with server:
        server.stdin.write(json.dumps(initialize).encode() + b"\n")
        server.stdin.flush()
        answer = await asyncio.to_thread(server.stdout.readline)
        server.send_signal(number)
        code = await asyncio.to_thread(server.wait, 20)

    assert b"serverInfo" in answer
    assert code == 128 + number


async def test_the_command_serves_like_the_module(plain_daemon: Daemon) -> None:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "t4dm", "mcp", "--user", "command", "--url", plain_daemon.url],
        env=dict(os.environ),
    )
    async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
        await session.initialize()
        await call(session, "t4dm_remember", content="By the command")

    with plain_daemon.client() as client:
        from t4dm.sdk import ListRequest

        assert [one.content for one in client.list(ListRequest(user_id="command")).results] == ["By the command"]
