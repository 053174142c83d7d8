"""Each method for links, walks and the files reaches its route and returns its model; retries do no harm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pydantic
import pytest

from t4dm import AsyncT4DM
from t4dm._async_backend import AsyncMemoryBackend
from t4dm.sdk import (
    AsyncT4DMClient,
    EdgeChange,
    EdgeIn,
    EdgeName,
    LinkRequest,
    PathRequest,
    ReweighRequest,
    ScaleRequest,
    T4DMClient,
    TransportError,
    TraverseRequest,
    UnlinkRequest,
    ValidationError,
)
from t4dm.sdk import models as m
from tests.unit.client.fake_daemon import EPOCH, FakeDaemon, Reply

EDGE = {"source": "a", "target": "b/c", "type": "CAUSES", "weight": 0.5, "created_at": EPOCH.isoformat()}
NODE = {"id": "b/c", "depth": 1, "edge": EDGE}
REPORT = {
    "space": "s", "merges": 1, "segments_before": 3, "segments_after": 1, "rows_before": 9, "rows_after": 7,
    "disk_bytes_before": 900, "disk_bytes_after": 700, "seconds": 0.5,
}  # fmt: skip
BACKUP = {"path": "/b", "files": 3, "size_bytes": 900, "seconds": 0.5}
SOUND = {"files": 3, "size_bytes": 900, "problems": [], "is_sound": True}
NAME = {"source": "a", "target": "b/c", "type": "CAUSES"}
MOMENT = datetime(2026, 5, 1, tzinfo=UTC)

LINK = LinkRequest(edges=[EdgeIn(source="a", target="b/c", type="CAUSES", weight=0.5)], space="s")
SET = ReweighRequest(changes=[EdgeChange(source="a", target="b/c", type="CAUSES", set=0.5)])
ADD = ReweighRequest(changes=[EdgeChange(source="a", target="b/c", type="CAUSES", add=-0.5)])
UNLINK = UnlinkRequest(edges=[EdgeName(source="a", target="b/c", type="CAUSES")])

Case = tuple[str, tuple[Any, ...], dict[str, Any], Any, str, str, dict[str, str], Any, bool]
CASES: list[Case] = [
    # method, arguments, keywords, the reply, verb, path, query, body, is repeatable
    ("link", (LINK,), {}, {"linked": 1}, "POST", "/api/v1/edges", {}, {"edges": [NAME | {"weight": 0.5}], "space": "s"}, True),
    ("reweigh", (SET,), {}, {"weights": [0.5]}, "PATCH", "/api/v1/edges", {}, {"changes": [NAME | {"set": 0.5}]}, True),
    ("reweigh", (ADD,), {}, {"weights": [None]}, "PATCH", "/api/v1/edges", {}, {"changes": [NAME | {"add": -0.5}]}, False),
    ("unlink", (UNLINK,), {}, {"unlinked": 0}, "POST", "/api/v1/edges/delete", {}, {"edges": [NAME]}, False),
    ("scale_links", (ScaleRequest(multiply=0.9, types=["USES"]),), {}, {"scaled": 4}, "POST", "/api/v1/edges/scale", {}, {"multiply": 0.9, "types": ["USES"]}, False),
    ("links", ("b/c",), {}, {"results": [EDGE]}, "GET", "/api/v1/memory/b%2Fc/edges", {"space": "default", "direction": "both"}, None, True),
    ("links", ("a",), {"direction": "in", "space": "s", "known_at": MOMENT}, {"results": []}, "GET", "/api/v1/memory/a/edges", {"space": "s", "direction": "in", "known_at": "2026-05-01T00:00:00Z"}, None, True),
    ("traverse", (TraverseRequest(start=["a"], depth=2),), {}, {"nodes": [NODE], "took_ms": 1.0}, "POST", "/api/v1/graph/traverse", {}, {"start": ["a"], "depth": 2}, True),
    ("path", (PathRequest(source="a", target="b/c"),), {}, {"edges": [EDGE]}, "POST", "/api/v1/graph/path", {}, {"source": "a", "target": "b/c"}, True),
    ("path", (PathRequest(source="a", target="b/c"),), {}, {"edges": None}, "POST", "/api/v1/graph/path", {}, {"source": "a", "target": "b/c"}, True),
    ("provenance", ("a",), {"direction": "forward", "depth": 2, "limit": 9, "known_at": MOMENT, "include_memories": True}, {"nodes": [NODE], "took_ms": 1.0}, "GET", "/api/v1/memory/a/provenance", {"space": "default", "direction": "forward", "depth": "2", "limit": "9", "known_at": "2026-05-01T00:00:00Z", "include_memories": "true"}, None, True),
    ("delete", ("a",), {"purge": True}, None, "DELETE", "/api/v1/memory/a", {"space": "default", "purge": "true"}, None, False),
    ("flush", (), {}, None, "POST", "/api/v1/admin/flush", {}, None, True),
    ("flush", (), {"space": "s"}, None, "POST", "/api/v1/admin/flush", {"space": "s"}, None, True),
    ("backup", (), {}, BACKUP, "POST", "/api/v1/admin/backup", {}, {"path": None}, False),
    ("backup", (), {"path": "/b"}, BACKUP, "POST", "/api/v1/admin/backup", {}, {"path": "/b"}, False),
    ("verify", (), {}, SOUND, "POST", "/api/v1/admin/verify", {}, None, True),
    ("compact", (), {"space": "s", "everything": True}, {"results": [REPORT]}, "POST", "/api/v1/admin/compact", {}, {"space": "s", "everything": True}, False),
]  # fmt: skip


def _reply(body: Any) -> Reply:
    return Reply(204) if body is None else Reply(200, body)


def _plain(result: Any) -> Any:
    """Return a result of a method as the reply it was made from."""
    if isinstance(result, pydantic.BaseModel):
        return result.model_dump(mode="json", exclude_none=True)
    return [_plain(one) for one in result] if isinstance(result, list) else result


def _expected(body: Any) -> Any:
    if body is None or len(body) > 1:
        return body
    (value,) = body.values()
    return value


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_a_call_reaches_its_route_from_every_client(client: T4DMClient, fake: FakeDaemon, case: Case) -> None:
    method, arguments, keywords, body, verb, path, query, sent, _ = case

    async def awaited(backend: AsyncMemoryBackend) -> Any:
        return await getattr(backend, method)(*arguments, **keywords)

    async def act() -> list[Any]:
        async with AsyncT4DMClient(transport=fake.transport()) as other, AsyncT4DM(client=client) as threaded:
            return [await awaited(other), await awaited(threaded.backend)]

    fake.planned = [_reply(body) for _ in range(3)]
    results = [getattr(client, method)(*arguments, **keywords), *asyncio.run(act())]

    wanted = _expected(body)
    if method == "provenance":
        wanted = body["nodes"]
    assert [_at_utc(_plain(result)) for result in results] == [_at_utc(wanted)] * 3
    for seen in fake.seen:
        assert (seen.method, seen.path, seen.query) == (verb, path, query)
        assert (seen.json if seen.body else None) == sent


def _at_utc(value: Any) -> Any:
    """Return the value with its times in one spelling."""
    if isinstance(value, dict):
        return {
            name: m.parse_time(one).isoformat() if name == "created_at" else _at_utc(one) for name, one in value.items()
        }
    return [_at_utc(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{n}" for n, case in enumerate(CASES)])
def test_a_call_whose_fate_is_unknown_is_only_sent_again_where_that_does_no_harm(
    client: T4DMClient, fake: FakeDaemon, case: Case
) -> None:
    method, arguments, keywords, body, *_, is_repeatable = case
    fake.planned = [httpx.ReadError("cut"), _reply(body)]

    if is_repeatable:
        getattr(client, method)(*arguments, **keywords)
    else:
        with pytest.raises(TransportError, match="may have been carried out"):
            getattr(client, method)(*arguments, **keywords)

    assert len(fake.seen) == (2 if is_repeatable else 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: EdgeIn.model_validate({"source": "a", "target": "b", "type": "LIKES"}),
        lambda: EdgeIn(source="a", target="b", type="USES", weight=1.5),
        lambda: EdgeChange(source="a", target="b", type="USES"),
        lambda: EdgeChange(source="a", target="b", type="USES", add=0.1, set=0.1),
        lambda: EdgeChange(source="a", target="b", type="USES", add=float("nan")),
        lambda: ScaleRequest(low=0.6, high=0.5),
        lambda: ScaleRequest(types=[]),
        lambda: LinkRequest(edges=[]),
        lambda: TraverseRequest(start=[]),
        lambda: TraverseRequest(start="a", depth=7),
        lambda: PathRequest(source="a", target="", max_depth=1),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_travels(make: Callable[[], object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        make()


def test_a_compaction_of_a_space_without_a_name_is_refused(client: T4DMClient, fake: FakeDaemon) -> None:
    with pytest.raises(ValidationError):
        client.compact(space="")

    assert fake.seen == []
