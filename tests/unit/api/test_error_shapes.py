"""What errors look like behind each door."""

import pytest

from t4dm_compat.error_shapes import error_body, error_status, field_name

FACTS = {"errors": [{"field": "body.input", "reason": "is missing", "type": "missing"}]}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/embeddings", "/v1/chat/completions", "/v1/models/m"])
def test_openai_paths_answer_as_openai_does(path: str) -> None:
    assert error_body(path, 422, "validation_error", "input: is missing", FACTS) == {
        "error": {
            "message": "input: is missing",
            "type": "invalid_request_error",
            "param": "input",
            "code": "validation_error",
        }
    }


@pytest.mark.parametrize("path", ["/v1/memories/", "/v3/memories/search/", "/memories", "/search", "/v1/nothing"])
def test_mem0_paths_answer_one_string(path: str) -> None:
    assert error_body(path, 422, "validation_error", "why", FACTS) == {"detail": "why"}


@pytest.mark.parametrize("path", ["/api/v1/memory/search", "/searching", "/v10/memories", "/healthz", "/"])
def test_other_paths_keep_our_own_shape(path: str) -> None:
    body = error_body(path, 422, "validation_error", "why", FACTS)

    assert body == {"error": {"code": "validation_error", "message": "why", "details": FACTS}}


@pytest.mark.parametrize(
    ("path", "status", "answered"),
    [
        ("/v1/embeddings", 422, 400),
        ("/v1/chat/completions", 503, 503),
        ("/api/v1/memory/search", 422, 422),
    ],
)
def test_openai_paths_know_no_422(path: str, status: int, answered: int) -> None:
    assert error_status(path, status) == answered


def test_a_field_of_the_body_is_named_as_the_clients_of_each_door_know_it() -> None:
    assert field_name("/v1/embeddings", "body.input") == "input"
    assert field_name("/v3/memories/add/", "body.messages.0.role") == "messages.0.role"
    assert field_name("/api/v1/memory/store", "body.content") == "body.content"
