"""What an adapter and the daemon say to each other, kept, so that a change of either side is noticed.

    record   play a scenario against a real daemon and note every exchange
    replay   play it again without a daemon: its requests must be those of the recording, its outcome too
    resend   send the recorded requests to a real daemon: its answers must be those of the recording

Times, durations and what the daemon names itself differ from run to run; `steady` tells what is left.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import httpx
import respx

from t4dm.sdk.codec import MSGPACK, decode_any, media_type
from t4dm.sdk.vectors import to_base64

RECORDINGS: Final = Path(__file__).parents[1] / "contract" / "recordings"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?|(?<=- \[)\d{4}-\d\d-\d\d(?=, )")
"""Times, and the date in a line of a context block."""
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ADDRESS: Final = re.compile(r"http://127\.0\.0\.1:\d+")
_NAMED: Final = re.compile(f"{_TIME.pattern}|{_UUID.pattern}")
"""What requests may repeat of earlier answers: names that the daemon gave, and times at which it did something."""
_VOLATILE: Final = frozenset({"took_ms", "access_count", "last_accessed", "created"})
"""Durations; uses, which are counted within about a second of a search; and when a model was loaded."""
_CURSOR: Final = "cursor"
"""Where a page ended: opaque, and made of times."""
_TOLERANCE: Final = 1e-4
"""Of numbers in answers: scores are sums of 32-bit floats, whose order differs between processors."""

Play = Callable[[str], Any]
"""A scenario: given the address of a daemon, use an adapter and return what came of it, as plain JSON."""


Send = Callable[[httpx.Client, str, str, Any], tuple[int, Any]]
"""Send one request (method, target, body) and return status and answer."""


@dataclass
class Exchange:
    """One request and its answer; bodies as JSON, None where there is none."""

    method: str
    target: str
    request: Any
    status: int
    answer: Any


@dataclass
class Recording:
    outcome: Any
    exchanges: list[Exchange] = field(default_factory=list)

    def save(self, name: str) -> None:
        RECORDINGS.mkdir(exist_ok=True)
        text = json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False)
        (RECORDINGS / f"{name}.json").write_text(text + "\n")

    @classmethod
    def load(cls, name: str) -> Recording:
        facts = json.loads((RECORDINGS / f"{name}.json").read_text())
        return cls(facts["outcome"], [Exchange(**one) for one in facts["exchanges"]])


def record(play: Play, url: str) -> Recording:
    """Play a scenario against a real daemon."""
    recording = Recording(None)
    with _overheard(recording.exchanges):
        recording.outcome = as_json(play(url))
    return recording


def replay(play: Play, recording: Recording) -> tuple[Any, list[Exchange]]:
    """Play a scenario against the recording alone. Return its outcome, and the exchanges that it led to."""
    found: list[Exchange] = []
    expected = iter(recording.exchanges)

    def answer(request: httpx.Request) -> httpx.Response:
        body = _body(request)
        one = next(expected, None)
        if one is None:
            raise AssertionError(f"a request that is not in the recording: {request.method} {request.url} {body}")
        found.append(Exchange(request.method, _target(request), body, one.status, one.answer))
        if one.answer is None:
            return httpx.Response(one.status)
        return httpx.Response(one.status, json=one.answer)

    with respx.mock(assert_all_called=False) as router:
        router.route().mock(side_effect=answer)
        outcome = as_json(play("http://127.0.0.1:1"))
    left = [one.target for one in expected]
    assert not left, f"requests of the recording that were not made: {left}"
    return outcome, found


def resend(recording: Recording, url: str, send: Send | None = None) -> list[Exchange]:
    """Send the recorded requests to a real daemon, with the names that it gives for those that it gave then.

    Args:
        recording: The requests.
        url: Where the daemon is.
        send: Sends one request and returns status and answer; as JSON when absent.
    """
    found: list[Exchange] = []
    names: dict[str, str] = {}
    with httpx.Client(base_url=url, trust_env=False) as http:
        for one in recording.exchanges:
            status, answer = (send or _send)(
                http, one.method, _renamed(one.target, names), _renamed(one.request, names)
            )
            _learn(one.answer, answer, names)
            found.append(Exchange(one.method, one.target, one.request, status, answer))
    return found


def _send(http: httpx.Client, method: str, target: str, request: Any) -> tuple[int, Any]:
    body = request if request is not None else None
    response = http.request(method, target, json=body, headers={"Accept": "application/json"})
    return response.status_code, decode_any(response) if response.content else None


def same(found: Any, expected: Any) -> bool:
    """Say whether two steady values are alike: numbers within a tolerance."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in found)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(found, float) or isinstance(expected, float):
        numbers = all(type(one) in (int, float) for one in (found, expected))
        return numbers and math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return type(found) is type(expected) and bool(found == expected)


def steady(value: Any) -> Any:
    """Return a value without what differs from run to run: times, durations, names made by either side."""
    names: dict[str, str] = {}

    def name(match: re.Match[str]) -> str:
        return names.setdefault(match[0], f"<name {len(names) + 1}>")

    def is_volatile(key: str, one: Any) -> bool:
        return key in _VOLATILE or (key == _CURSOR and isinstance(one, str))

    def walk(part: Any) -> Any:
        if isinstance(part, dict):
            # In one order, whatever the order on the wire, so that names are counted alike.
            return {walk(key): "<volatile>" if is_volatile(key, part[key]) else walk(part[key]) for key in sorted(part)}
        if isinstance(part, list):
            return [walk(one) for one in part]
        if not isinstance(part, str):
            return part
        return _UUID.sub(name, _TIME.sub("<time>", _ADDRESS.sub("<daemon>", part)))

    return walk(value)


def as_json(value: Any) -> Any:
    """Return a value as it comes back from JSON."""
    return json.loads(json.dumps(value))


def _learn(then: Any, now: Any, names: dict[str, str]) -> None:
    """Note which name of now stands where a name of then stood."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in then.keys() & now.keys():
            if key == _CURSOR and isinstance(then[key], str) and isinstance(now[key], str):
                names[then[key]] = now[key]
            _learn(then[key], now[key], names)
    elif isinstance(then, list) and isinstance(now, list):
        for one, other in zip(then, now, strict=False):
            _learn(one, other, names)
    elif isinstance(then, str) and isinstance(now, str) and _NAMED.fullmatch(then) and _NAMED.fullmatch(now):
        names[then] = now


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if value is None or not names:
        return value
    if isinstance(value, dict) and value.get(_CURSOR) in names:
        value = {**value, _CURSOR: names[value[_CURSOR]]}
    return json.loads(_NAMED.sub(lambda match: names.get(match[0], match[0]), json.dumps(value)))


def _target(request: httpx.Request) -> str:
    return request.url.raw_path.decode()


def _body(request: httpx.Request) -> Any:
    if not request.content:
        return None
    response = httpx.Response(200, headers={"content-type": request.headers["content-type"]}, content=request.content)
    return _plain(decode_any(response))


def _plain(value: Any) -> Any:
    """Return a body with its vectors as JSON carries them."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return to_base64(value) if isinstance(value, bytes) else value


@contextmanager
def _overheard(exchanges: list[Exchange]) -> Iterator[None]:
    """Note every exchange over httpx's own transports."""
    send, send_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    def note(request: httpx.Request, response: httpx.Response) -> None:
        answer = _vectors_as_numbers(decode_any(response), response) if response.content else None
        exchanges.append(Exchange(request.method, _target(request), _body(request), response.status_code, answer))

    def listen(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        response = send(self, request)
        response.read()
        note(request, response)
        return response

    async def listen_async(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        response = await send_async(self, request)
        await response.aread()
        note(request, response)
        return response

    with (
        patch.object(httpx.HTTPTransport, "handle_request", listen),
        patch.object(httpx.AsyncHTTPTransport, "handle_async_request", listen_async),
    ):
        yield


def _vectors_as_numbers(value: Any, response: httpx.Response) -> Any:
    """Return an answer as JSON would have carried it: vectors as lists of numbers."""
    if media_type(response) != MSGPACK:
        return value
    from t4dm.sdk.vectors import unpack

    def walk(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: walk(one) for key, one in part.items()}
        if isinstance(part, list):
            return [walk(one) for one in part]
        return list(unpack(part)) if isinstance(part, bytes) else part

    return walk(value)
