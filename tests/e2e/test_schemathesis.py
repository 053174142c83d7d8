"""Generated requests against the running daemon: no 5xx but the one that is promised, no answer outside the schema.

Every route gets requests that fit its description and requests that do not. (The operations are driven through
schemathesis' strategies; its own pytest plugin does not run under pytest 9.2.)
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from t4dm_daemon.api.app import create_app
from t4dm_daemon.config import Settings
from t4dm_daemon.runtime import Runtime
from tests.support.daemon import Daemon

EXAMPLES = 25
"""Per route and mode; twenty routes in both modes make a run of under two minutes."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

NO_MODEL_YET = {"/v1/chat/completions", "/v1/completions", "/v1/responses"}
"""Where a request that is right is answered 503 `model_not_loaded`, and no other 5xx."""

_SCHEMA = schemathesis.openapi.from_dict(create_app(Runtime(Settings())).openapi())
_OPERATIONS = [result.ok() for result in _SCHEMA.get_all_operations()]


@pytest.mark.parametrize("operation", _OPERATIONS, ids=[operation.label for operation in _OPERATIONS])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
def test_no_generated_request_breaks_the_contract(plain_daemon: Daemon, operation: Any, mode: GenerationMode) -> None:
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        return  # any path segment is a valid id, and there is nothing else to get wrong

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        if operation.path not in NO_MODEL_YET:
            case.call_and_validate(base_url=plain_daemon.url, checks=CHECKS, timeout=30)
            return
        answer = case.call(base_url=plain_daemon.url, timeout=30)
        if answer.status_code == 503:
            assert answer.json()["error"]["code"] == "model_not_loaded"
            return
        case.validate_response(answer, checks=CHECKS)

    run()


def test_the_served_description_is_the_one_that_was_tested(plain_daemon: Daemon) -> None:
    assert httpx.get(f"{plain_daemon.url}/openapi.json", trust_env=False).json() == _SCHEMA.raw_schema
