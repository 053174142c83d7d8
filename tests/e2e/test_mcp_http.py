"""The daemon's `/mcp`: a genuine client over streamable HTTP, what guards it, and what becomes of its sessions."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

pytest.importorskip("mcp")

from pydantic import AnyUrl

from t4dm.sdk import StoreRequest
from tests.support.daemon import Daemon
from tests.support.mcp_sessions import Heard, call, json_of, over_http, text_of, updated

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


def post(url: str, body: Any = INITIALIZE, **headers: str) -> httpx.Response:
    return httpx.post(url, json=body, headers={**HEADERS, **headers}, trust_env=False, timeout=30)


@pytest.mark.asyncio
async def test_users_are_apart_and_sessions_begin_with_what_is_known(plain_daemon: Daemon) -> None:
    for user in ("ada", "bob"):
        async with over_http(f"{plain_daemon.url}/mcp?user_id={user}") as session:
            began = await session.initialize()
            assert "Nothing is stored yet" in (began.instructions or "")
            await call(session, "t4dm_remember", content=f"The password of {user} is {user * 3}")

    async with over_http(f"{plain_daemon.url}/mcp?user_id=ada") as session:
        began = await session.initialize()
        found = await call(session, "t4dm_search", query="password of bob")
        summary = await call(session, "t4dm_session_summary")
        context = await text_of(session, "memory://context")

    assert "adaadaada" in (began.instructions or "")
    for text in (began.instructions, str(found), context):
        assert "bobbobbob" not in str(text)
    assert (summary["remembered"], summary["searches"]) == ([], 1)
    with plain_daemon.client() as client:
        assert client.stats().items >= 2


@pytest.mark.asyncio
async def test_profile_and_space_stand_in_the_url(plain_daemon: Daemon) -> None:
    async with over_http(f"{plain_daemon.url}/mcp?space=graph&profile=knowledge-graph") as session:
        await session.initialize()
        names = [tool.name for tool in (await session.list_tools()).tools]
        await call(session, "create_entities", entities=[{"name": "x", "entityType": "y", "observations": ["z"]}])

    assert "create_entities" in names
    assert "t4dm_search" not in names
    with plain_daemon.client() as client:
        assert client.get_space("graph").items == 2


@pytest.mark.asyncio
async def test_a_subscriber_hears_of_its_own_writes_at_once(plain_daemon: Daemon) -> None:
    heard: Heard = []

    async with over_http(f"{plain_daemon.url}/mcp?user_id=writer", heard=heard) as session:
        await session.initialize()
        await session.subscribe_resource(AnyUrl("memory://recent"))
        await call(session, "t4dm_remember", content="A change")
        async with asyncio.timeout(20):
            while not updated(heard):
                await asyncio.sleep(0.02)

    assert updated(heard) == ["memory://recent"]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_subscriber_hears_of_what_other_programs_store(plain_daemon: Daemon) -> None:
    heard: Heard = []

    async with over_http(f"{plain_daemon.url}/mcp?user_id=hearer", heard=heard) as session:
        await session.initialize()
        await session.subscribe_resource(AnyUrl("memory://recent"))
        with plain_daemon.client() as client:
            client.store(StoreRequest(content="By another program", user_id="hearer"))
        async with asyncio.timeout(30):  # it is looked for every five seconds
            while not updated(heard):
                await asyncio.sleep(0.05)
        recent = await json_of(session, "memory://recent")

    assert [one["content"] for one in recent["results"]] == ["By another program"]


@pytest.mark.asyncio
async def test_many_clients_at_once(plain_daemon: Daemon) -> None:
    async def talk(number: int) -> int:
        async with over_http(f"{plain_daemon.url}/mcp?user_id=many-{number}") as session:
            await session.initialize()
            for part in range(3):
                await call(session, "t4dm_remember", content=f"{number} {part}")
            return int((await call(session, "t4dm_timeline"))["total"])

    assert await asyncio.gather(*(talk(number) for number in range(8))) == [3] * 8


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"Host": "evil.example"}, "Host 'evil.example' is not this daemon's"),
        ({"Origin": "https://evil.example"}, "foreign"),
        ({"Sec-Fetch-Site": "cross-site"}, "another site"),
    ],
)
def test_pages_of_other_sites_do_not_get_in(plain_daemon: Daemon, headers: dict[str, str], told: str) -> None:
    for method in ("POST", "GET", "DELETE"):
        answer = httpx.request(
            method, f"{plain_daemon.url}/mcp", json=INITIALIZE, headers={**HEADERS, **headers}, trust_env=False
        )
        assert answer.status_code == 403
        assert told in answer.text


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("usr_id=ada", "'usr_id' is not one of space, user_id"),
        ("user_id=ada&user_id=bob", "given twice"),
        ("profile=nonsense", "there is no profile"),
        (f"user_id={'x' * 600}", "user_id"),
        ("user_id=%ff", "UTF-8"),
        ("user_id=", "user_id is empty"),
    ],
)
def test_an_address_that_means_nothing_is_refused(plain_daemon: Daemon, query: str, told: str) -> None:
    answer = post(f"{plain_daemon.url}/mcp?{query}")

    assert answer.status_code == 400
    assert told in answer.json()["error"]["message"]


def test_bodies_that_are_no_requests_and_sessions_that_are_none_are_refused(plain_daemon: Daemon) -> None:
    url = f"{plain_daemon.url}/mcp"

    assert httpx.post(url, content=b"{", headers=HEADERS, trust_env=False).status_code == 400
    assert post(url, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).status_code == 400
    assert post(url, **{"mcp-session-id": "nonsense"}).status_code == 404
    assert post(url, [INITIALIZE]).status_code == 400
    deep = b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    assert "deeper than 200" in httpx.post(url, content=deep, headers=HEADERS, trust_env=False).text
    assert post(f"{url}/").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{}" * 201 + b'"' + b'\\"' * 1_000_000,  # a string without an end
        b"[" * 100 + b"{}" * 1_000_000,
        b'{"jsonrpc": "2.0", "id": 1, "method": "\xff"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": ' + b"9" * 5000 + b"}",
        b"",
    ],
    ids=["quotes", "brackets", "no-utf-8", "long-number", "nothing"],
)
def test_a_body_that_cannot_be_read_is_told_soon(plain_daemon: Daemon, body: bytes) -> None:
    answer = httpx.post(f"{plain_daemon.url}/mcp", content=body, headers=HEADERS, trust_env=False, timeout=20)

    assert answer.status_code == 400
    assert "cannot be read as JSON" in answer.json()["error"]["message"]


def test_a_session_serves_no_other_address(plain_daemon: Daemon) -> None:
    url = f"{plain_daemon.url}/mcp?user_id="
    session = {"mcp-session-id": post(f"{url}ada").headers["mcp-session-id"]}
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}

    answer = post(f"{url}eve", listing, **session)

    assert answer.status_code == 404  # clients begin a new session then
    assert "another address" in answer.json()["error"]["message"]
    assert post(f"{url}ada", listing, **session).status_code == 200


def test_what_is_said_does_not_reach_the_log_and_ending_a_session_is_no_error(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon().start()
    url = f"{daemon.url}/mcp"

    async def talk() -> None:
        async with over_http(url) as session:
            await session.initialize()
            await call(session, "t4dm_remember", content="hunter2 is the secret")

    asyncio.run(talk())
    session = {"mcp-session-id": post(url).headers["mcp-session-id"]}
    wrong = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "x", "arguments": ["hunter2"]}}
    note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": "hunter2"}}
    assert "hunter2" not in json.dumps(post(url, wrong, **session).headers.multi_items())
    post(url, note, **session)
    daemon.terminate()

    assert "hunter2" not in daemon.output
    assert "Traceback" not in daemon.output
    assert " error " not in daemon.output


def test_an_open_stream_does_not_keep_the_daemon_from_stopping(make_daemon: Callable[..., Daemon]) -> None:
    daemon = make_daemon().start()
    url = f"{daemon.url}/mcp"
    session = post(url).headers["mcp-session-id"]
    post(url, {"jsonrpc": "2.0", "method": "notifications/initialized"}, **{"mcp-session-id": session})

    with (
        httpx.Client(trust_env=False, timeout=30) as http,
        http.stream("GET", url, headers={**HEADERS, "mcp-session-id": session}) as stream,
    ):
        assert stream.status_code == 200
        began = time.monotonic()
        code = daemon.terminate()
        took_s = time.monotonic() - began

    assert code == 0
    assert took_s < 3  # patience for requests alone would be three seconds and more
    assert "Traceback" not in daemon.output


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_session_that_the_daemon_took_with_it_is_an_error_and_a_new_one_works(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon().start()
    url, port = f"{daemon.url}/mcp", daemon.url.rpartition(":")[2]
    session = post(url).headers["mcp-session-id"]

    async with over_http(url) as lasting:
        await lasting.initialize()
        await call(lasting, "t4dm_remember", content="On disk")
    daemon.kill()
    with pytest.raises(httpx.ConnectError):
        post(url)
    daemon.start("--port", port)
    gone = post(url, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}, **{"mcp-session-id": session})
    async with over_http(url) as fresh:
        await fresh.initialize()
        found = await call(fresh, "t4dm_search", query="On disk")

    assert gone.status_code == 404
    assert [one["content"] for one in found["results"]] == ["On disk"]
