"""Requests generated from the daemon's own description, for every route that it describes.

(The operations are driven through schemathesis' strategies; its own pytest plugin does not run under pytest 9.2.)
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

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

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
SCHEMA: Final = schemathesis.openapi.from_dict(create_app(Runtime(Settings())).openapi())
OPERATIONS: Final = [result.ok() for result in SCHEMA.get_all_operations()]


def has_tag(operation: Any, tag: str) -> bool:
    return tag in operation.definition.raw.get("tags", [])


def send_generated(
    daemon: Daemon,
    operation: Any,
    mode: GenerationMode,
    *,
    examples: int,
    checks: Any = CHECKS,
    promised: Mapping[int, str] = MappingProxyType({}),
) -> None:
    """Send requests that fit the description of a route, or with NEGATIVE that do not; check every answer.

    `promised` are statuses that the route may always answer, with the code of the error in OpenAI's shape.
    """
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        return  # any path segment is a valid id, and there is nothing else to get wrong

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        answer = case.call(base_url=daemon.url, timeout=30)
        if answer.status_code in promised:
            assert answer.json()["error"]["code"] == promised[answer.status_code]
            return
        case.validate_response(answer, checks=checks)

    run()
