"""Each method for sessions, namespaces and mixed batches reaches its route; retries do no harm."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs

import httpx
import msgpack
import pytest

from t4dm import AsyncT4DM
from t4dm._async_backend import AsyncMemoryBackend
from t4dm.sdk import (
    AppendRequest,
    AsyncT4DMClient,
    CategoriesRequest,
    MessagesRequest,
    NamespacesRequest,
    OpsRequest,
    OwnersRequest,
    RestoredMessage,
    RestoreRequest,
    SessionsRequest,
    T4DMClient,
    TransportError,
    ValidationError,
)
from tests.unit.client.fake_daemon import EPOCH, FakeDaemon, Reply

STAMP = {"seq": 1, "created_at": EPOCH.isoformat()}
APPENDED = {"results": [STAMP], "replayed": False}
PAGE = {
    "session_id": "a/b",
    "space": "default",
    "results": [{**STAMP, "value": {"n": None}}],
    "total": 1,
    "after": None,
}
SESSIONS = {"results": [], "total": 0}
RESTORED = {"created": 1, "duplicate": 0}
NAMES = {"results": [], "total": 0}
DONE = {"results": [{"op": "touch", "touched": 1}], "took_ms": 1.0}
MESSAGE = RestoredMessage(session_id="s", seq=1, created_at=EPOCH, value=None)
SENT = {"session_id": "s", "seq": 1, "created_at": "2026-05-01T12:00:00Z", "value": None}
NAMED = NamespacesRequest(prefix=["a b", "*"], suffix=["&"], max_depth=2, user_id="ü")
TOUCH: dict[str, Any] = {"ops": [{"op": "touch", "ids": ["a"]}]}
GET: dict[str, Any] = {"ops": [{"op": "get", "ids": ["a"]}]}

Case = tuple[str, tuple[Any, ...], dict[str, Any], Any, str, str, dict[str, list[str]], Any, bool]
CASES: list[Case] = [
    # method, arguments, keywords, the reply, verb, path, query, body, is repeatable
    ("append_messages", ("a/b", AppendRequest(messages=[1])), {}, APPENDED, "POST", "/api/v1/sessions/a%2Fb/messages", {}, {"messages": [1]}, True),
    ("messages", ("a/b",), {}, PAGE, "GET", "/api/v1/sessions/a%2Fb/messages", {}, None, True),
    ("messages", ("..", MessagesRequest(last=3, after=0, space="s")), {}, PAGE, "GET", "/api/v1/sessions/%2E%2E/messages", {"last": ["3"], "after": ["0"], "space": ["s"]}, None, True),
    ("clear_messages", ("s",), {"space": "x"}, {"deleted": 2}, "DELETE", "/api/v1/sessions/s/messages", {"space": ["x"]}, None, False),
    ("sessions", (), {}, SESSIONS, "GET", "/api/v1/sessions", {}, None, True),
    ("sessions", (SessionsRequest(limit=5),), {}, SESSIONS, "GET", "/api/v1/sessions", {"limit": ["5"]}, None, True),
    ("restore_messages", (RestoreRequest(messages=[MESSAGE]),), {}, RESTORED, "POST", "/api/v1/sessions/restore", {}, {"messages": [SENT]}, True),
    ("namespaces", (), {}, NAMES, "GET", "/api/v1/namespaces", {}, None, True),
    ("namespaces", (NAMED,), {}, NAMES, "GET", "/api/v1/namespaces", {"prefix": ["a b", "*"], "suffix": ["&"], "max_depth": ["2"], "user_id": ["ü"]}, None, True),
    ("owners", (), {}, NAMES, "GET", "/api/v1/owners", {}, None, True),
    ("owners", (OwnersRequest(columns=["user_id", "run_id"], show_expired=True, space="s"),), {}, NAMES, "GET", "/api/v1/owners", {"columns": ["user_id", "run_id"], "show_expired": ["True"], "space": ["s"]}, None, True),
    ("categories", (CategoriesRequest(namespace_prefix=["a", "b"]),), {}, {"categories": {"x": 1}}, "GET", "/api/v1/categories", {"namespace_prefix": ["a", "b"]}, None, True),
    ("ops", (OpsRequest.model_validate(TOUCH),), {}, DONE, "POST", "/api/v1/ops", {}, TOUCH, False),
    ("ops", (OpsRequest.model_validate(GET),), {}, DONE, "POST", "/api/v1/ops", {}, GET, True),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_a_call_reaches_its_route_from_every_client(
    client: T4DMClient, fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    method, arguments, keywords, body, verb, path, query, sent, _ = case
    queries: list[dict[str, list[str]]] = []
    answer = fake.answer

    def noted(verb: str, raw_path: str, headers: httpx.Headers, content: bytes) -> tuple[int, dict[str, str], bytes]:
        queries.append(parse_qs(raw_path.partition("?")[2]))
        return answer(verb, raw_path, headers, content)

    async def awaited(backend: AsyncMemoryBackend) -> Any:
        return await getattr(backend, method)(*arguments, **keywords)

    async def act() -> list[Any]:
        async with AsyncT4DMClient(transport=fake.transport()) as other, AsyncT4DM(client=client) as threaded:
            return [await awaited(other), await awaited(threaded.backend)]

    monkeypatch.setattr(fake, "answer", noted)
    fake.planned = [Reply(200, body) for _ in range(3)]
    results = [getattr(client, method)(*arguments, **keywords), *asyncio.run(act())]

    assert results[0] == results[1] == results[2]
    assert results[0] in ({"x": 1}, 2) or results[0] == type(results[0]).model_validate(body)
    assert queries == [query] * 3
    for seen in fake.seen:
        assert (seen.method, seen.path) == (verb, path)
        assert (seen.json if seen.body else None) == sent
        assert ("idempotency-key" in seen.headers) == (method in {"ops", "append_messages"})


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_a_call_whose_fate_is_unknown_is_only_sent_again_where_that_does_no_harm(
    client: T4DMClient, fake: FakeDaemon, case: Case
) -> None:
    method, arguments, keywords, body, *_, is_repeatable = case
    fake.planned = [httpx.ReadError("cut"), Reply(200, body)]

    if is_repeatable:
        getattr(client, method)(*arguments, **keywords)
        first, second = fake.seen
        assert first.headers.get("idempotency-key") == second.headers.get("idempotency-key")
    else:
        with pytest.raises(TransportError, match="may have been carried out"):
            getattr(client, method)(*arguments, **keywords)
        assert len(fake.seen) == 1


def test_the_callers_own_key_travels(client: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, APPENDED), Reply(200, DONE)]

    client.append_messages("s", AppendRequest(messages=[1]), idempotency_key="mine")
    client.ops(OpsRequest.model_validate(GET), idempotency_key="mine, too")

    assert [seen.headers["idempotency-key"] for seen in fake.seen] == ["mine", "mine, too"]


def test_vectors_of_operations_travel_packed_and_what_was_filled_in_place_travels(
    client: T4DMClient, fake: FakeDaemon
) -> None:
    fake.planned = [Reply(200, DONE), Reply(200, DONE)]
    request = OpsRequest.model_validate({"ops": [{"op": "put", "id": "a", "vector": [1.0, 0.5]}]})
    plain = OpsRequest.model_validate({"ops": [{"op": "put", "id": "a"}]})
    plain.ops[0].metadata["filled"] = 1  # type: ignore[union-attr]

    client.ops(request)
    client.ops(plain)

    packed, text = fake.seen
    assert packed.headers["content-type"] == "application/msgpack"
    assert len(msgpack.unpackb(packed.body)["ops"][0]["vector"]) == 8
    assert text.json["ops"][0]["metadata"] == {"filled": 1}


@pytest.mark.parametrize("session", ["", "\ud800"])
def test_what_is_no_name_is_refused_before_it_travels(client: T4DMClient, fake: FakeDaemon, session: str) -> None:
    with pytest.raises(ValidationError):
        client.messages(session)

    assert fake.seen == []
