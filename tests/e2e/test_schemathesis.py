"""Generated requests against the running daemon: no 5xx but the one that is promised, no answer outside the schema.

Every route gets requests that fit its description and requests that do not. Mem0's routes have a file of their own.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from schemathesis import GenerationMode

from tests.support.daemon import Daemon
from tests.support.generated import OPERATIONS, SCHEMA, has_tag, send_generated

EXAMPLES = 25
"""Per route and mode; twenty routes in both modes make a run of under two minutes."""

_OWN = [operation for operation in OPERATIONS if not has_tag(operation, "mem0")]
NO_MODEL_YET = {"/v1/chat/completions", "/v1/completions", "/v1/responses"}
"""Where a request that is right is answered 503 `model_not_loaded`, and no other 5xx."""


@pytest.mark.parametrize("operation", _OWN, ids=[operation.label for operation in _OWN])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
def test_no_generated_request_breaks_the_contract(plain_daemon: Daemon, operation: Any, mode: GenerationMode) -> None:
    promised = {503: "model_not_loaded"} if operation.path in NO_MODEL_YET else {}
    send_generated(plain_daemon, operation, mode, examples=EXAMPLES, promised=promised)


def test_the_served_description_is_the_one_that_was_tested(plain_daemon: Daemon) -> None:
    assert httpx.get(f"{plain_daemon.url}/openapi.json", trust_env=False).json() == SCHEMA.raw_schema
