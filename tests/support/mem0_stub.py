"""A small server on a real socket that answers as Mem0's cloud or a hosted server of Mem0 does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

KEY = "m0-key"


@dataclass
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass
class Mem0Stub:
    """What the server holds, and how it behaves.

    Attributes:
        flavour: "v3" or "v2" (a cloud of that age), "v1" (an old one), "hosted", "hosted-old" (needs an owner).
        faults: What happens to the next requests for memories: a status, or "cut".
        retry_after: Said with 429.
    """

    flavour: str
    memories: list[dict[str, Any]]
    faults: list[int | str] = field(default_factory=list)
    retry_after: str = "2"
    asked: list[Asked] = field(default_factory=list)
    page_size: int | None = None
    url: str = ""

    def answer(self, asked: Asked) -> tuple[int, Any] | None:
        key = asked.headers.get("authorization", "").removeprefix("Token ")
        if self.flavour.startswith("hosted"):
            key = asked.headers.get("x-api-key", "")
        is_ping = asked.path == "/v1/ping/"
        if is_ping and self.flavour.startswith("hosted"):
            return 404, {"detail": "Not Found"}
        if key != KEY:
            return 401, {"detail": "Given token not valid for any token type"}
        if is_ping:
            return 200, {"status": "ok", "org_id": "o", "project_id": "p", "user_email": None}
        if self.faults and "memories" in asked.path:
            fault = self.faults.pop(0)
            return None if fault == "cut" else (int(fault), {"detail": "later"})
        return self._listing(asked)

    def _listing(self, asked: Asked) -> tuple[int, Any]:
        match self.flavour, asked.method, asked.path:
            case ("v3", "POST", "/v3/memories/") | ("v2", "POST", "/v2/memories/"):
                return 200, self._page(asked, [one for one in self.memories if _passes(one, asked.body["filters"])])
            case ("v1", "GET", "/v1/entities/"):
                names = sorted({one["user_id"] for one in self.memories})
                return 200, {"count": len(names), "results": [{"type": "user", "name": one} for one in names]}
            case ("v1", "GET", "/v1/memories/"):
                return 200, [one for one in self.memories if one["user_id"] == asked.query["user_id"]]
            case ("hosted" | "hosted-old", "GET", "/memories"):
                return self._hosted(asked.query)
        return 404, {"detail": "Not Found"}

    def _page(self, asked: Asked, found: list[dict[str, Any]]) -> dict[str, Any]:
        size, page = self.page_size or int(asked.query["page_size"]), int(asked.query["page"])
        part = found[(page - 1) * size : page * size]
        more = page * size < len(found)
        return {
            "count": len(found),
            "next": f"http://elsewhere.invalid{asked.path}?page={page + 1}" if more else None,
            "previous": None,
            "results": part,
        }

    def _hosted(self, query: dict[str, str]) -> tuple[int, Any]:
        owners = {name: value for name, value in query.items() if name in ("user_id", "agent_id", "run_id")}
        if self.flavour == "hosted-old" and not owners:
            return 400, {"detail": "At least one identifier is required."}
        top_k = int(query.get("top_k", 20 if owners else 1000))
        if top_k > 1000:
            return 422, {"detail": [{"loc": ["query", "top_k"], "msg": "less than or equal to 1000"}]}
        found = [one for one in self.memories if all(one[name] == value for name, value in owners.items())]
        return 200, {"results": found[:top_k]}


def _passes(memory: dict[str, Any], filters: dict[str, Any]) -> bool:
    (joined,) = filters
    fits = [
        memory.get(name) is not None if value == "*" else memory.get(name) == value
        for one in filters[joined]
        for name, value in one.items()
    ]
    return any(fits) if joined == "OR" else all(fits)


@contextmanager
def serving(stub: Mem0Stub) -> Iterator[Mem0Stub]:
    """Serve on a free port while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(size)) if size else None
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, url.path, dict(parse_qsl(url.query)), body, headers)
            stub.asked.append(asked)
            answer = stub.answer(asked)
            status, content = answer or (200, {"results": []})
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if status == 429:
                self.send_header("Retry-After", stub.retry_after)
            self.end_headers()
            self.wfile.write(data if answer is not None else data[:3])
            if answer is None:  # the connection is cut in the middle of the body
                self.close_connection = True

        def do_GET(self) -> None:
            self._handle()

        def do_POST(self) -> None:
            self._handle()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
