"""A small T4DM for tests of what speaks to one: the routes and shapes, kept in dictionaries, no meaning.

Over `transport()` it answers httpx without a network; over `serving()` it listens on 127.0.0.1.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote

import httpx
import msgpack

from t4dm.sdk import models as m

EPOCH = datetime(2026, 5, 1, 12, tzinfo=UTC)
HEALTH = {
    "status": "ok",
    "version": "0.1.0",
    "instance_id": "i",
    "pid": 7,
    "uptime_s": 61.0,
    "storage_path": "/data/store",
    "embedder": {"name": "minilm", "state": "ready", "dimension": 384},
    "signals": ["dense", "lexical"],
}
VERSION = {"version": "0.1.0", "api": "1", "data_format": 1, "features": []}


@dataclass
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: httpx.Headers
    body: bytes

    @property
    def json(self) -> Any:
        return msgpack.unpackb(self.body) if "msgpack" in self.headers["content-type"] else json.loads(self.body)


@dataclass
class Reply:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def error(status: int, code: str = "refused", **headers: str) -> Reply:
    body = {"error": {"code": code, "message": f"the reason for {status}", "details": {"fact": 1}}}
    return Reply(status, body, {name.replace("_", "-").lower(): value for name, value in headers.items()})


class FakeDaemon:
    """Answers from memory; `planned` replies come first, in order."""

    def __init__(self) -> None:
        self.spaces: dict[str, dict[str, m.Memory]] = {}
        self.seen: list[Seen] = []
        self.planned: list[Reply | Exception] = []
        self.keys: dict[str, Any] = {}
        self.export_tail: bytes | None = None
        self.settings: dict[str, dict[str, Any]] = {}
        """Per space, what differs from an empty server space: embedder, dimension, model."""
        self.before: Callable[[Seen], None] = lambda seen: None

    # Doors --------------------------------------------------------------------------------------------

    def transport(self) -> httpx.MockTransport:
        def answer(request: httpx.Request) -> httpx.Response:
            raw = request.url.raw_path.decode()
            reply = self.answer(request.method, raw, request.headers, request.content)
            return httpx.Response(reply[0], headers=reply[1], content=reply[2])

        return httpx.MockTransport(answer)

    @contextmanager
    def serving(self) -> Iterator[str]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, headers, content = fake.answer(
                    self.command, self.path, httpx.Headers(list(self.headers.items())), body
                )
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(ConnectionError):  # a client that did not wait
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(
        self, method: str, raw_path: str, headers: httpx.Headers, body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        path, _, query = raw_path.partition("?")
        seen = Seen(method, path, dict(parse_qsl(query)), headers, body)
        self.seen.append(seen)
        self.before(seen)
        if self.planned:
            planned = self.planned.pop(0)
            if isinstance(planned, Exception):
                raise planned
            reply = planned
        else:
            reply = self._route(seen)
        sent = {"content-type": "application/json", "x-request-id": headers.get("x-request-id", ""), **reply.headers}
        if reply.status == 204:
            return 204, sent, b""
        content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        return reply.status, sent, content

    # Routes -------------------------------------------------------------------------------------------

    def _route(self, seen: Seen) -> Reply:
        match seen.method, seen.path.split("/")[1:]:
            case "GET", ["version"]:
                return Reply(200, VERSION)
            case "GET", ["readyz"]:
                return Reply(200, {"ready": True, "phase": "ready", "models": {}})
            case "GET", ["api", "v1", "health"]:
                return Reply(200, HEALTH)
            case "GET", ["api", "v1", "stats"]:
                return Reply(200, self._stats())
            case "GET", ["api", "v1", "export"]:
                return self._export(seen)
            case method, ["api", "v1", "spaces", *name]:
                return self._space(method, unquote(name[0]) if name else None, seen)
            case "POST", ["api", "v1", "memory", verb]:
                return self._post(verb, seen)
            case method, ["api", "v1", "memory", memory_id, *rest]:
                return self._one(method, unquote(memory_id), seen, rest)
        return error(404, "not_found")

    def _post(self, verb: str, seen: Seen) -> Reply:
        given = seen.json
        space = self.spaces.setdefault(given.get("space", "default"), {})
        key = seen.headers.get("idempotency-key") or given.get("idempotency_key")
        match verb:
            case "store":
                request = m.StoreRequest.model_validate(given)
                memory = self._put(space, request.space, request)
                return Reply(201 if memory.status == "created" else 200, _dump(memory))
            case "batch":
                if key in self.keys:
                    return Reply(200, {**self.keys[key], "replayed": True})
                batch = m.BatchRequest.model_validate(given)
                stored = [self._put(space, batch.space, record) for record in batch.records]
                results = [{"id": one.id, "status": one.status, "version": one.version} for one in stored]
                self.keys[key] = {"results": results}
                return Reply(200, {"results": results})
            case "get":
                ids = m.GetRequest.model_validate(given).ids
                return Reply(200, {"results": [_dump(space[one]) for one in ids if one in space]})
            case "search":
                search = m.SearchRequest.model_validate(given)
                hits = [
                    {
                        "memory": _dump(one),
                        "score": 0.5,
                        "explain": {"dense": 0.5} if "explain" in search.include else None,
                    }
                    for one in self._matching(space, search)
                    if (search.query or "").lower() in one.content.lower()
                ]
                return Reply(200, {"results": hits[: search.k], "took_ms": 1.0})
            case "list":
                wanted = m.ListRequest.model_validate(given)
                found = self._matching(space, wanted)
                start = int(wanted.cursor or 0)
                end = start + wanted.limit
                cursor = str(end) if end < len(found) else None
                results = [_dump(one) for one in found[start:end]]
                return Reply(200, {"results": results, "total": len(found), "cursor": cursor})
            case "delete":
                delete = m.DeleteRequest.model_validate(given)
                if not (set(given) - {"space", "all", "dry_run"}) and not delete.all:
                    return error(400, "empty_selector")
                gone = [one.id for one in self._matching(space, delete) if delete.ids is None or one.id in delete.ids]
                for one in [] if delete.dry_run else gone:
                    del space[one]
                return Reply(200, {"deleted": len(gone), "dry_run": delete.dry_run})
            case "touch":
                return Reply(200, {"touched": sum(one in space for one in given["ids"])})
        return error(404, "not_found")

    def _one(self, method: str, memory_id: str, seen: Seen, rest: list[str]) -> Reply:
        space = self.spaces.get(seen.query.get("space", "default"), {})
        if memory_id not in space:
            return error(404, "memory_not_found")
        memory = space[memory_id]
        match method, rest:
            case "GET", []:
                return Reply(200, _dump(memory))
            case "GET", ["history"]:
                entry = {"event": "ADD", "version": 1, "recorded_at": EPOCH.isoformat(), "new": _dump(memory)}
                return Reply(200, {"id": memory_id, "results": [entry]})
            case "PATCH", []:
                changes = m.UpdateRequest.model_validate(seen.json)
                update = changes.model_dump(exclude_unset=True, exclude={"metadata_mode", "expected_version"})
                space[memory_id] = memory.model_copy(update=update | {"version": memory.version + 1})
                return Reply(200, _dump(space[memory_id]))
            case "DELETE", []:
                del space[memory_id]
                return Reply(204)
        return error(405)

    def _space(self, method: str, name: str | None, seen: Seen) -> Reply:
        if name is None:
            return Reply(200, {"results": [self._described(one) for one in self.spaces]})
        if method == "PUT":
            if name not in self.spaces:
                self.spaces[name] = {}
                self.settings.setdefault(name, {}).update(seen.json)
            elif any(self._described(name)[field] != value for field, value in seen.json.items()):
                return error(409, "space_exists")
        elif name not in self.spaces:
            return error(404, "space_not_found")
        elif method == "DELETE":
            del self.spaces[name]
            return Reply(204)
        return Reply(200, self._described(name))

    def _described(self, name: str) -> dict[str, Any]:
        own = self.settings.get(name, {})
        model = "minilm@1" if own.get("embedder", "server") == "server" else None
        space = {"name": name, "dimension": None, "metric": "cosine", "embedder": "server", "model": model}
        return {**space, "items": len(self.spaces[name]), **own}

    def _export(self, seen: Seen) -> Reply:
        wanted = seen.query.get("space")
        exclude = {"vector"} if seen.query.get("include_vectors") == "false" else set[str]()
        lines: list[bytes] = []
        count = 0
        for name in [name for name in self.spaces if wanted in (None, name)]:
            lines.append(json.dumps({"space": self._described(name)}).encode() + b"\n")
            lines += [one.model_dump_json(exclude=exclude).encode() + b"\n" for one in self.spaces[name].values()]
            count += len(self.spaces[name])
        tail = f'{{"end":true,"count":{count}}}\n'.encode() if self.export_tail is None else self.export_tail
        return Reply(200, b"".join(lines) + tail, {"content-type": "application/x-ndjson"})

    def _put(self, space: dict[str, m.Memory], name: str, record: m.RecordIn) -> m.Memory:
        memory_id = record.id or f"made-{len(space) + 1}"
        same = [one for one in space.values() if one.content == record.content]
        if record.id is None and same:
            return same[0].model_copy(update={"status": "duplicate"})
        old = space.get(memory_id)
        given = record.model_dump(exclude={"id", "space", "embed", "dedup", "ttl_s", "vector"}, exclude_none=True)
        times = {"recorded_at": EPOCH, "created_at": EPOCH, "updated_at": EPOCH, "event_time": EPOCH}
        space[memory_id] = m.Memory.model_validate(
            {
                **times,
                **given,
                "id": memory_id,
                "space": name,
                "vector": record.vector,
                "access_count": 0,
                "version": old.version + 1 if old else 1,
            }
        )
        return space[memory_id].model_copy(update={"status": "updated" if old else "created"})

    def _matching(self, space: dict[str, m.Memory], selection: m.Selection) -> list[m.Memory]:
        owner = ("user_id", "agent_id", "app_id", "run_id", "session_id")
        return [
            one
            for one in space.values()
            if all(getattr(selection, name) in (None, getattr(one, name)) for name in owner)
            and selection.kind in (None, one.kind)
            and (selection.filter is None or one.metadata.get(selection.filter.field or "") == selection.filter.value)
        ]

    def _stats(self) -> dict[str, Any]:
        items = sum(map(len, self.spaces.values()))
        sizes = {"segments": 1, "wal_bytes": 2048, "disk_bytes": 4096, "memory_bytes": 1024}
        counts = {"items": items, "versions": items, "by_kind": {"episodic": items}, "by_kappa": {}}
        return {
            **counts,
            **sizes,
            "spaces": [{"space": name, **counts, **sizes, "memtable_rows": 0} for name in self.spaces],
            "models": {},
            "embedding_cache": {},
        }


def _dump(memory: m.Memory) -> dict[str, Any]:
    return memory.model_dump(mode="json")
