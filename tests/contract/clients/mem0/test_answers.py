"""Every answer against Mem0's own description of it, and where it has none against what its clients declare.

`schemas/mem0/openapi.json` is cut from Mem0's OpenAPI document. Three things there are known to be otherwise in the
service, and are checked as its clients read them: a deletion's history entry has no new memory, entities come in
`results`, and a list holds memories (the document repeats the fields of entities).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from tests.support.daemon import Daemon

SCHEMAS = Path(__file__).parents[4] / "schemas" / "mem0"
DOCUMENT = json.loads((SCHEMAS / "openapi.json").read_text())
ANSWERS = json.loads((SCHEMAS / "answers.json").read_text())


@pytest.fixture
def http(plain_daemon: Daemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=plain_daemon.url, trust_env=False, timeout=30) as client:
        yield client


def _documented(path: str, method: str, answer: Any, *, status: str = "200") -> None:
    schema = DOCUMENT["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]
    jsonschema.Draft202012Validator(_plain(schema)).validate(answer)


def _declared(name: str, answer: Any) -> None:
    jsonschema.Draft202012Validator({**ANSWERS, "$ref": f"#/$defs/{name}"}).validate(answer)


def _plain(schema: Any) -> Any:
    """Return an OpenAPI 3.0 schema as JSON Schema, which says `nullable` with a second type."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value) for key, value in schema.items() if key != "nullable"}
    if schema.get("nullable"):
        plain = {"anyOf": [plain, {"type": "null"}]}
    return plain


def _json(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def test_the_schemas_are_schemas() -> None:
    jsonschema.Draft202012Validator.check_schema(ANSWERS)
    for routes in DOCUMENT["paths"].values():
        for route in routes.values():
            for response in route["responses"].values():
                jsonschema.Draft202012Validator.check_schema(_plain(response["content"]["application/json"]["schema"]))


def test_every_answer_is_as_mem0_describes_it(http: httpx.Client) -> None:
    said = [{"role": "user", "content": "My name is Alice."}, {"role": "assistant", "content": "Hello, Alice."}]
    owned = {"user_id": "schema", "metadata": {"a": 1}, "expiration_date": "2999-12-31"}
    _declared("ping", _json(http.get("/v1/ping/")))
    added = _json(http.post("/v3/memories/add/", json={"messages": said, **owned}))
    _declared("add", added)
    _declared("add", _json(http.post("/v3/memories/add/", json={"messages": said, **owned})))  # known by now
    _declared("event", _json(http.get(f"/v1/event/{added['event_id']}/")))
    older = _json(http.post("/v1/memories/", json={"messages": "Tea.", "user_id": "schema", "output_format": "v1.1"}))
    _documented("/v1/memories/", "post", older["results"])
    one = added["results"][0]["id"]

    asked = {"filters": {"user_id": "schema"}}
    page = _json(http.post("/v3/memories/?page=2&page_size=1", json=asked))
    _declared("page", page)
    assert page["results"]
    found = _json(http.post("/v3/memories/search/", json={"query": "Alice", **asked}))
    _declared("search", found)
    assert found["results"]
    _documented("/v2/memories/search/", "post", _json(http.post("/v2/memories/search/", json={"query": "x", **asked})))
    listed = _json(http.post("/v1/memories/search/", json={"query": "Alice", "user_id": "schema"}))
    _documented("/v1/memories/search/", "post", listed)
    for answer in (http.get("/v1/memories/?user_id=schema"), http.post("/v2/memories/", json=asked)):
        _documented("/v1/memories/search/", "post", _json(answer))
    _documented("/v1/memories/{memory_id}/", "get", _json(http.get(f"/v1/memories/{one}/")))
    _documented("/v1/memories/{memory_id}/", "put", _json(http.put(f"/v1/memories/{one}/", json={"text": "Al."})))
    _documented("/v1/memories/{memory_id}/history/", "get", _json(http.get(f"/v1/memories/{one}/history/")))
    _documented(
        "/v1/feedback/", "post", _json(http.post("/v1/feedback/", json={"memory_id": one, "feedback": "POSITIVE"}))
    )
    entities = _json(http.get("/v1/entities/"))
    _declared("entities", entities)
    _documented("/v1/entities/", "get", entities["results"])
    batch = {"memories": [{"memory_id": one, "text": "Alice."}]}
    _declared("message", _json(http.put("/v1/batch/", json=batch)))
    _declared("message", _json(http.request("DELETE", "/v1/batch/", json=batch)))
    *before, end = _json(http.get(f"/v1/memories/{one}/history/"))
    _documented("/v1/memories/{memory_id}/history/", "get", [*before, {**end, "new_memory": ""}])
    assert (end["event"], end["old_memory"], end["new_memory"]) == ("DELETE", "Alice.", None)
    other = added["results"][1]["id"]
    for path, documented in (
        (f"/v1/memories/{other}/", "/v1/memories/{memory_id}/"),
        ("/v1/memories/?user_id=schema", "/v1/memories/"),
        ("/v1/entities/user/schema/", "/v1/entities/{entity_type}/{entity_id}/"),
    ):
        answer = _json(http.delete(path))
        _declared("message", answer)
        _documented(documented, "delete", answer, status="204")
    refused = http.get(f"/v1/memories/{one}/")
    assert refused.status_code == 404
    _declared("error", refused.json())
