"""Generated requests against Mem0's routes: no 5xx but what is not served, and a bystander keeps every memory."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from t4dm.sdk import models as m
from tests.support.daemon import Daemon
from tests.support.generated import OPERATIONS, has_tag, send_generated

EXAMPLES = 10
"""Per route and mode in the fast run."""
MANY = 300
CANARY = "canary-7d1f"
SONGS = [f"The canary sings song {number}." for number in range(20)]

_ROUTES = [operation for operation in OPERATIONS if has_tag(operation, "mem0")]
_MODES = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


def _no_failure(context: Any, response: Any, case: Any) -> None:
    """Fail on a 5xx, but for a 501, which says what is not served."""
    assert response.status_code < 500 or response.status_code == 501, response.text


CHECKS = [_no_failure, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def canary(plain_daemon: Daemon) -> list[str]:
    """The ids of a bystander's memories, all of which must be as they were when everything is over."""
    with httpx.Client(base_url=plain_daemon.url, trust_env=False) as http:
        messages = [{"role": "user", "content": song} for song in SONGS]
        body = {"messages": messages, "user_id": CANARY, "agent_id": CANARY, "app_id": CANARY, "run_id": CANARY}
        added = http.post("/v3/memories/add/", json={**body, "metadata": {"kept": True}, "infer": False})
    return [one["id"] for one in added.json()["results"]]


def _check_canary(daemon: Daemon, ids: list[str]) -> None:
    with daemon.client() as client:
        kept = client.get_many(m.GetRequest(ids=ids))
    assert [(one.content, one.version, one.metadata) for one in kept] == [(song, 1, {"kept": True}) for song in SONGS]


@pytest.mark.parametrize("operation", _ROUTES, ids=[operation.label for operation in _ROUTES])
@pytest.mark.parametrize("mode", _MODES, ids=["valid", "invalid"])
def test_no_generated_request_breaks_anything(
    plain_daemon: Daemon, canary: list[str], operation: Any, mode: GenerationMode
) -> None:
    if operation.path == "/reset":
        pytest.skip("deletes everybody's memories, as it says")

    send_generated(plain_daemon, operation, mode, examples=EXAMPLES, checks=CHECKS)

    _check_canary(plain_daemon, canary)


@pytest.mark.slow
@pytest.mark.parametrize("mode", _MODES, ids=["valid", "invalid"])
def test_many_generated_deletions_leave_the_bystander_alone(
    plain_daemon: Daemon, canary: list[str], mode: GenerationMode
) -> None:
    for operation in _ROUTES:
        if operation.method.upper() == "DELETE":
            send_generated(plain_daemon, operation, mode, examples=MANY, checks=CHECKS)

    _check_canary(plain_daemon, canary)
