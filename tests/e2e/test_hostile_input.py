"""Input that must not get in: each has its own clear 4xx, and nothing is stored."""

from __future__ import annotations

import base64
import http.client
import json
import struct
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.daemon import Daemon

STORE = "/api/v1/memory/store"
SEARCH = "/api/v1/memory/search"
LIST = "/api/v1/memory/list"
DELETE = "/api/v1/memory/delete"
GOOD = {"content": "a good memory", "id": "good"}


@pytest.fixture(scope="module")
def http_client(plain_daemon: Daemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=plain_daemon.url, trust_env=False, timeout=30) as client:
        assert client.post(STORE, json=GOOD).status_code == 201
        assert client.post(STORE, json={"space": "six", "id": "v", "vector": [1, 0, 0, 0, 0, 0]}).status_code == 201
        yield client


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def _not_finite(number: float) -> str:
    return base64.b64encode(struct.pack("<6f", 1, 2, 3, 4, 5, number)).decode()


def _deep_filter(depth: int) -> Any:
    tree: Any = {"field": "a", "op": "eq", "value": 1}
    for _ in range(depth):
        tree = {"not": tree}
    return tree


REFUSED_JSON = [
    ("wrong dimension", STORE, {"space": "six", "vector": [1, 2, 3]}, 409, "dimension_mismatch"),
    ("wrong dimension of a question", SEARCH, {"space": "six", "vector": [1, 2, 3]}, 409, "dimension_mismatch"),
    ("a NaN in a vector", STORE, {"space": "six", "vector": _not_finite(float("nan"))}, 422, "invalid_input"),
    ("an infinity in a vector", STORE, {"space": "six", "vector": _not_finite(float("inf"))}, 422, "invalid_input"),
    ("a number too large for float32", STORE, {"space": "six", "vector": [1e39, 0, 0, 0, 0, 0]}, 422, None),
    ("a zero vector", STORE, {"space": "six", "vector": [0, 0, 0, 0, 0, 0]}, 422, "invalid_input"),
    ("an empty vector", STORE, {"space": "six", "vector": []}, 422, "validation_error"),
    ("text in a vector", STORE, {"space": "six", "vector": ["1", 2, 3, 4, 5, 6]}, 422, "validation_error"),
    ("booleans in a vector", STORE, {"space": "six", "vector": [True] * 6}, 422, "validation_error"),
    ("base64 of seven bytes", STORE, {"space": "six", "vector": "AAAAAAAAAA=="}, 422, "validation_error"),
    ("no vector for a client space", STORE, {"space": "six", "content": "text"}, 422, "vector_required"),
    ("a text question to a client space", SEARCH, {"space": "six", "query": "text", "mode": "vector"}, 422, "vector_required"),
    ("an empty selector", DELETE, {}, 400, "empty_selector"),
    ("an empty list of ids", DELETE, {"ids": []}, 400, "empty_selector"),
    ("an empty prefix", DELETE, {"namespace_prefix": []}, 400, "empty_selector"),
    ("an empty and", DELETE, {"filter": {"and": []}}, 422, "validation_error"),
    ("an unknown operator", SEARCH, {"query": "x", "filter": {"field": "a", "op": "like", "value": 1}}, 400, "unknown_field"),
    ("an unknown operator in a list", LIST, {"filter": {"field": "a", "op": "$eq", "value": 1}}, 400, "unknown_field"),
    ("an unknown operator in a deletion", DELETE, {"filter": {"field": "a", "op": "=", "value": 1}}, 400, "unknown_field"),
    ("a filter of two forms", LIST, {"filter": {"and": [], "field": "a", "op": "eq"}}, 422, "validation_error"),
    ("a list operand that is none", LIST, {"filter": {"field": "a", "op": "in", "value": 1}}, 422, "invalid_input"),
    ("a filter nested too deeply", LIST, {"filter": _deep_filter(100)}, 422, None),
    ("a bad time in a filter", LIST, {"filter": {"field": "created_at", "op": "gt", "value": "soon"}}, 422, "invalid_input"),
    ("a million characters", STORE, {"content": "x" * 10**6}, 422, "validation_error"),
    ("deeply nested metadata", STORE, {"content": "x", "metadata": _nested(100)}, 422, None),
    ("very deeply nested metadata", STORE, {"content": "x", "metadata": _nested(900)}, 422, None),
    ("too much metadata", STORE, {"content": "x", "metadata": {"a": "x" * 70_000}}, 422, "invalid_input"),
    ("metadata that is a list", STORE, {"content": "x", "metadata": [1]}, 422, "validation_error"),
    ("a bad time", STORE, {"content": "x", "event_time": "yesterday"}, 422, "validation_error"),
    ("a time as a number", STORE, {"content": "x", "event_time": 1_700_000_000}, 422, "validation_error"),
    ("a 13th month", STORE, {"content": "x", "event_time": "2026-13-01T00:00:00Z"}, 422, "validation_error"),
    ("a time before year 1", STORE, {"content": "x", "event_time": "0001-01-01T00:00:00+14:00"}, 422, "validation_error"),
    ("a fact that ends before it begins", STORE,
     {"content": "x", "valid_from": "2026-02-01T00:00:00Z", "valid_to": "2026-01-01T00:00:00Z"}, 422, "validation_error"),
    ("huge k", SEARCH, {"query": "x", "k": 10**9}, 422, "validation_error"),
    ("k of zero", SEARCH, {"query": "x", "k": 0}, 422, "validation_error"),
    ("k as text", SEARCH, {"query": "x", "k": "many"}, 422, "validation_error"),
    ("no question", SEARCH, {}, 422, "validation_error"),
    ("a blank question", SEARCH, {"query": "  "}, 422, "validation_error"),
    ("a mode that does not exist", SEARCH, {"query": "x", "mode": "psychic"}, 422, "validation_error"),
    ("a search by words without any", SEARCH, {"space": "six", "vector": [1] * 6, "mode": "lexical"}, 422, "invalid_input"),
    ("a negative weight", SEARCH, {"query": "x", "weights": {"dense": -1}}, 422, "validation_error"),
    ("an unknown weight", SEARCH, {"query": "x", "weights": {"luck": 1}}, 422, "validation_error"),
    ("nothing to supersede", STORE, {"content": "x", "supersedes": ["nobody"]}, 422, "invalid_input"),
    ("nothing but a private text", STORE, {"content": "<private>x</private>"}, 422, "invalid_input"),
    ("a scope of nobody", SEARCH, {"query": "x", "scopes": [{}]}, 400, "empty_selector"),
    ("an unknown field", STORE, {"content": "x", "contnet": "y"}, 422, "validation_error"),
    ("an empty id", STORE, {"content": "x", "id": ""}, 422, "validation_error"),
    ("an id of 513 bytes", STORE, {"content": "x", "id": "é" * 257}, 422, "validation_error"),
    ("an empty label", STORE, {"content": "x", "namespace": ["a", ""]}, 422, "validation_error"),
    ("importance above one", STORE, {"content": "x", "importance": 1.5}, 422, "validation_error"),
    ("a kind that does not exist", STORE, {"content": "x", "kind": "gossip"}, 422, "validation_error"),
    ("a space that does not exist", SEARCH, {"query": "x", "space": "nowhere"}, 404, "not_found"),
    ("a cursor of someone else", LIST, {"cursor": "bm9uc2Vuc2U"}, 422, "invalid_input"),
    ("a negative offset", LIST, {"offset": -1}, 422, "validation_error"),
]  # fmt: skip

_JSON = {"content-type": "application/json"}
REFUSED_BYTES = [
    ("invalid UTF-8", b'{"content": "\xff\xfe"}', _JSON, 400, "invalid_utf8"),
    ("a lone surrogate", b'{"content": "\\ud800"}', _JSON, (400, 422), None),
    ("a lone surrogate beside a long number", b'{"content": "\\ud800", "metadata": {"n": 12345678901234567890}}', _JSON, 400, "invalid_utf8"),
    ("truncated JSON", b'{"content": "half', _JSON, 400, "invalid_json"),
    ("two documents", b'{"content": "a"}{"content": "b"}', _JSON, 400, "invalid_json"),
    ("NaN in JSON", b'{"content": "x", "metadata": {"a": NaN}}', _JSON, 400, "invalid_json"),
    ("infinity by exponent", b'{"content": "x", "metadata": {"a": 1e999}}', _JSON, (400, 422), None),
    ("a number of 5000 digits", b'{"content": "x", "metadata": {"a": ' + b"9" * 5000 + b"}}", _JSON, (400, 422), None),
    ("brackets without end", b"[" * 100_000, _JSON, 400, "invalid_json"),
    ("nothing", b"", _JSON, (400, 422), None),
    ("a list", b"[]", _JSON, 422, "validation_error"),
    ("null", b"null", _JSON, 422, "validation_error"),
    ("msgpack garbage", b"\xc1\xff\x00garbage", {"content-type": "application/msgpack"}, 400, "invalid_msgpack"),
    ("half a msgpack map", b"\x82\xa7content", {"content-type": "application/msgpack"}, 400, "invalid_msgpack"),
    ("msgpack with binary text", b"\x81\xa7content\xc4\x02\xff\xfe", {"content-type": "application/msgpack"}, (400, 422), None),
    ("a form", b"content=x", {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    ("plain text, as a foreign form would send it", b'{"content": "x"}', {"content-type": "text/plain"}, 415, "unsupported_media_type"),
    ("no content type", b'{"content": "x"}', {}, 415, "unsupported_media_type"),
]  # fmt: skip

REFUSED_HEADERS = [
    ("a rebound name", {"host": "evil.example"}),
    ("a name that begins well", {"host": "localhost.evil.example"}),
    ("a name with a loopback label", {"host": "127.0.0.1.evil.example:8765"}),
    ("an empty host", {"host": ""}),
    ("a foreign origin", {"origin": "https://evil.example"}),
    ("another port of this machine", {"origin": "http://127.0.0.1:3000"}),
    ("a page from a file", {"origin": "null"}),
    ("another site", {"sec-fetch-site": "cross-site"}),
]


def _check(answer: httpx.Response, status: int | tuple[int, ...], code: str | None) -> None:
    expected = status if isinstance(status, tuple) else (status,)
    assert answer.status_code in expected, answer.text[:500]
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "details"}
    assert error["message"]
    assert len(answer.content) < 10_000
    if code is not None:
        assert error["code"] == code, error


def _stored(client: httpx.Client) -> dict[str, int]:
    stats = client.get("/api/v1/stats").json()
    return {space["space"]: space["versions"] for space in stats["spaces"]}


@pytest.mark.parametrize(
    ("path", "body", "status", "code"), [row[1:] for row in REFUSED_JSON], ids=[row[0] for row in REFUSED_JSON]
)
def test_a_wrong_request_is_refused_and_stores_nothing(
    http_client: httpx.Client, path: str, body: object, status: int, code: str | None
) -> None:
    before = _stored(http_client)

    answer = http_client.post(path, content=json.dumps(body), headers=_JSON)

    _check(answer, status, code)
    assert _stored(http_client) == before


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"), [row[1:] for row in REFUSED_BYTES], ids=[row[0] for row in REFUSED_BYTES]
)
def test_a_body_that_cannot_be_read_is_refused_and_stores_nothing(
    http_client: httpx.Client, body: bytes, headers: dict[str, str], status: int, code: str | None
) -> None:
    before = _stored(http_client)

    answer = http_client.post(STORE, content=body, headers=headers)

    _check(answer, status, code)
    assert _stored(http_client) == before


@pytest.mark.parametrize("headers", [row[1] for row in REFUSED_HEADERS], ids=[row[0] for row in REFUSED_HEADERS])
@pytest.mark.parametrize(
    "method_and_path", ["GET /healthz", "GET /docs", "GET /openapi.json", f"POST {STORE}", "GET /nowhere"]
)
def test_a_foreign_page_is_refused_before_every_route(
    http_client: httpx.Client, headers: dict[str, str], method_and_path: str
) -> None:
    method, path = method_and_path.split()
    before = _stored(http_client)

    answer = http_client.request(
        method, path, content=json.dumps(GOOD) if method == "POST" else None, headers={**_JSON, **headers}
    )

    _check(answer, 403, "forbidden")
    assert _stored(http_client) == before


def test_own_pages_and_loopback_names_are_welcome(http_client: httpx.Client, plain_daemon: Daemon) -> None:
    port = urlsplit(plain_daemon.url).port
    for host in ("localhost", "127.0.0.1", "[::1]", "LOCALHOST"):
        headers = {"host": f"{host}:{port}", "origin": f"http://{host.lower()}:{port}", "sec-fetch-site": "same-origin"}
        assert http_client.get("/healthz", headers=headers).status_code == 200


def test_a_body_over_the_limit_is_refused_before_it_is_read(plain_daemon: Daemon) -> None:
    address = urlsplit(plain_daemon.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=10)
    connection.putrequest("POST", STORE)
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(2**40))
    connection.endheaders()

    answer = connection.getresponse()

    assert answer.status == 413
    assert json.loads(answer.read())["error"]["code"] == "body_too_large"
    connection.close()


def test_a_chunked_body_over_the_limit_is_refused(http_client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"content": "'
        for _ in range(40):
            yield b"x" * 1024 * 1024

    try:
        answer = http_client.post(STORE, content=chunks(), headers=_JSON)
    except (httpx.WriteError, httpx.RemoteProtocolError):
        return  # the daemon closed the connection while the body was still coming
    _check(answer, 413, "body_too_large")


def test_wrong_routes_and_methods_answer_in_the_one_shape(http_client: httpx.Client) -> None:
    _check(http_client.get("/api/v1/nothing"), 404, "not_found")
    _check(http_client.put(STORE, json=GOOD), 405, "method_not_allowed")
    _check(http_client.get("/api/v1/memory/no%2Fsuch"), 404, "not_found")
    _check(http_client.get("/api/v1/memory/%ff"), 422, "invalid_input")
    _check(http_client.get("/api/v1/memory/good?as_of=never"), 422, "validation_error")


def test_every_answer_carries_the_request_id(http_client: httpx.Client) -> None:
    assert http_client.get("/healthz", headers={"x-request-id": "abc-123"}).headers["x-request-id"] == "abc-123"
    assert http_client.get("/nowhere", headers={"x-request-id": "abc-124"}).headers["x-request-id"] == "abc-124"
    assert len(http_client.get("/healthz", headers={"x-request-id": "bad id"}).headers["x-request-id"]) == 16
    assert (
        http_client.get("/healthz", headers={"host": "evil.example", "x-request-id": "e"}).headers["x-request-id"]
        == "e"
    )


def test_a_wrong_method_is_told_all_the_right_ones(http_client: httpx.Client) -> None:
    assert http_client.options("/api/v1/memory/x").headers["allow"] == "DELETE, GET, PATCH"
    assert http_client.options("/api/v1/spaces/a%2Fb").headers["allow"] == "DELETE, GET, PUT"


@pytest.mark.parametrize(
    "body",
    [
        {"content": "x", "pinned": 0},
        {"content": "x", "importance": "0.5"},
        {"content": "x", "embed": "yes"},
        {"content": "x", "ttl_s": "5"},
    ],
    ids=str,
)
def test_values_of_another_json_type_are_not_coerced(http_client: httpx.Client, body: dict[str, object]) -> None:
    _check(http_client.post(STORE, json=body), 422, "validation_error")


def test_a_host_that_only_begins_like_loopback_is_refused(http_client: httpx.Client) -> None:
    for host in ("[::1].evil.example", "[::1]evil", "localhost:80:80", "localhost@evil.example", "127.0.0.1\\evil"):
        _check(http_client.get("/healthz", headers={"host": host}), 403, "forbidden")
    twice = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "https://evil.example")]
    _check(http_client.get("/healthz", headers=twice), 403, "forbidden")


@pytest.mark.parametrize(
    "field", ["content", "vector", "kind", "event_time", "importance", "kappa", "pinned", "metadata"]
)
def test_null_for_a_field_that_cannot_be_null_is_refused_by_name(http_client: httpx.Client, field: str) -> None:
    http_client.post(STORE, json={"id": "kept", "content": "as it was"})

    answer = http_client.patch("/api/v1/memory/kept", json={field: None})

    _check(answer, 422, "validation_error")
    assert field in answer.json()["error"]["message"]


def test_a_lone_surrogate_has_one_code_whatever_else_the_body_holds(http_client: httpx.Client) -> None:
    for number in (b"1", b"12345678901234567890123"):
        body = b'{"content": "\\ud800", "metadata": {"n": ' + number + b"}}"
        _check(http_client.post(STORE, content=body, headers=_JSON), 400, "invalid_utf8")


def test_a_compressed_body_is_refused_in_words(http_client: httpx.Client) -> None:
    answer = http_client.post(STORE, content=b"\x1f\x8b", headers={**_JSON, "content-encoding": "gzip"})

    _check(answer, 415, "unsupported_media_type")
    assert "Content-Encoding 'gzip'" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/memory/list", {"filter": {"field": "a", "op": "x" * 100_000, "value": 1}}),
        ("/api/v1/memory/list", {"filter": {"field": "." + "x" * 100_000, "op": "eq", "value": 1}}),
        ("/api/v1/memory/list", {"y" * 100_000: 1}),
        ("/api/v1/" + "z" * 10_000, {}),
    ],
)
def test_an_error_does_not_repeat_a_long_text(http_client: httpx.Client, path: str, body: dict[str, object]) -> None:
    answer = http_client.post(path, json=body)

    assert 400 <= answer.status_code < 500
    assert len(answer.content) < 4000


def test_health_answers_head(http_client: httpx.Client) -> None:
    for path in ("/healthz", "/readyz"):
        answer = http_client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
