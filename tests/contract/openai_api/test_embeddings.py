"""`/v1/models` and `/v1/embeddings`, asked by OpenAI's own client and by hand, over a real daemon."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from t4dm import T4DM
from tests.contract.frameworks.recorded import scenario
from tests.support.daemon import Daemon
from tests.support.recording import Recording, as_json, same, steady

openai = pytest.importorskip("openai")

ROOT = Path(__file__).parents[3]
OTHER_PYTHON = "T4DM_TEST_OPENAI_PYTHON"
"""Names the Python of an environment with another major version of openai."""


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Any]:
    """OpenAI's client, with its own retries, before a daemon with the packaged model."""
    with openai.OpenAI(base_url=f"{daemon.url}/v1", api_key="anything") as client:
        yield client


def ask(daemon: Daemon, body: Any, path: str = "/v1/embeddings", **options: Any) -> httpx.Response:
    return httpx.post(f"{daemon.url}{path}", json=body, trust_env=False, timeout=60, **options)


@pytest.mark.parametrize(
    "text",
    [
        "Ada likes tea",
        "Ada mag Tee ☕, 日本語も",
        " spaces  stay ",
        "a long story. " * 200,
        "\x00 a control character",
    ],
    ids=["plain", "unicode", "spaces", "long", "control"],
)
def test_the_embedding_of_a_text_is_the_one_that_its_memory_has(daemon: Daemon, client: Any, text: str) -> None:
    found = client.embeddings.create(model="minilm", input=text).data[0].embedding

    with T4DM(daemon.url, space="same-vectors") as memory:
        stored = memory.get(memory.add(text).id, include_vector=True)
    assert found == stored.vector


def test_base64_and_numbers_are_the_same_vector(daemon: Daemon) -> None:
    numbers = ask(daemon, {"model": "minilm", "input": "tea", "encoding_format": "float"}).json()
    text = ask(daemon, {"model": "minilm", "input": "tea", "encoding_format": "base64"}).json()

    packed = base64.b64decode(text["data"][0]["embedding"])
    assert list(struct.unpack("<384f", packed)) == numbers["data"][0]["embedding"]
    assert sum(one * one for one in numbers["data"][0]["embedding"]) == pytest.approx(1, abs=1e-5)


def test_meaning_survives_the_door(client: Any) -> None:
    texts = ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "Interest rates rose again."]

    a, b, c = (one.embedding for one in client.embeddings.create(model="default", input=texts).data)

    assert dot(a, b) > dot(a, c) + 0.3  # measured: 0.6 and 0.0


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def test_tokens_are_counted_by_the_models_own_tokenizer(client: Any) -> None:
    usage = client.embeddings.create(model="minilm", input=["hello world", "unbelievable"]).usage

    assert usage.prompt_tokens == usage.total_tokens == 2 + 1


def test_an_embedder_without_a_tokenizer_invents_no_count(plain_daemon: Daemon) -> None:
    assert ask(plain_daemon, {"model": "hashing", "input": "hello world"}).json()["usage"] is None


def test_two_thousand_texts_come_back_in_their_order(plain_daemon: Daemon) -> None:
    texts = [f"text number {number}" for number in range(2048)]
    body = {"model": "default", "encoding_format": "base64"}

    together = ask(plain_daemon, {**body, "input": texts}).json()["data"]

    assert [one["index"] for one in together] == list(range(2048))
    for number in (0, 1023, 2047):
        alone = ask(plain_daemon, {**body, "input": texts[number]}).json()["data"][0]
        assert together[number]["embedding"] == alone["embedding"]


def test_many_callers_at_once_each_get_their_own(plain_daemon: Daemon) -> None:
    def embed(number: int) -> Any:
        body = {"model": "default", "input": [f"caller {number}", f"caller {number} again"]}
        return ask(plain_daemon, body).json()["data"]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(embed, [*range(40), *range(40)]))

    assert found[:40] == found[40:]
    assert len({json.dumps(one) for one in found}) == 40


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        ({"model": "default"}, "input", "required"),
        ({"input": "x"}, "model", "required"),
        ({"model": "default", "input": None}, "input", "a text or a list of texts"),
        ({"model": "default", "input": {"text": "x"}}, "input", "a text or a list of texts"),
        ({"model": "default", "input": ""}, "input", "input is empty"),
        ({"model": "default", "input": []}, "input", "at least one"),
        ({"model": "default", "input": [[]]}, "input", "check_embedding_ctx_length=False"),
        ({"model": "default", "input": [7]}, "input", "check_embedding_ctx_length=False"),
        ({"model": "default", "input": [[7, 8]]}, "input", "check_embedding_ctx_length=False"),
        ({"model": "default", "input": ["x", 7]}, "input", "input[1] is not a text"),
        ({"model": "default", "input": ["x", None]}, "input", "input[1] is not a text"),
        ({"model": "default", "input": [True]}, "input", "is not a text"),
        ({"model": "default", "input": ["x", ""]}, "input", "input[1] is empty"),
        ({"model": "default", "input": ["x"] * 2049}, "input", "at most 2048"),
        ({"model": "default", "input": "x" * 1_000_000}, "input", "at most 999999"),
        ({"model": "default", "input": ["x" * 900_000] * 5}, "input", "at most 4000000"),
        ({"model": "default", "input": "x", "dimensions": 8}, "dimensions", "has 256"),
        ({"model": "default", "input": "x", "dimensions": "256"}, "dimensions", "integer"),
        ({"model": "default", "input": "x", "encoding_format": "hex"}, "encoding_format", "base64"),
        ({"model": "default", "input": "x", "input_type": "query"}, "input_type", "not permitted"),
        ({"model": 7, "input": "x"}, "model", "string"),
    ],
)
def test_what_is_wrong_is_refused_with_the_field_and_what_to_do(
    plain_daemon: Daemon, body: Any, param: str, says: str
) -> None:
    answer = ask(plain_daemon, body)

    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["param"]) == (400, "invalid_request_error", param)
    assert says in error["message"]
    assert error.keys() == {"message", "type", "param", "code"}


def test_an_unknown_model_is_not_found_and_the_answer_names_the_one_there_is(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="embeds with 'minilm'") as refused:
        client.embeddings.create(model="text-embedding-ada-002", input="x")

    assert refused.value.code == "model_not_found"


@pytest.mark.parametrize("alias", ["minilm", "default", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_every_alias_leads_to_the_model(client: Any, alias: str) -> None:
    assert client.models.retrieve(alias).id == "minilm"
    assert client.embeddings.create(model=alias, input="x").model == "minilm"


def test_a_text_request_is_refused_at_once_and_not_tried_again(daemon: Daemon, client: Any) -> None:
    """A 503 is tried again by the client, unless it is told not to: the answer comes before its shortest pause."""
    with pytest.raises(openai.InternalServerError, match="no language model is loaded") as refused:
        client.chat.completions.create(model="gpt-x", messages=[{"role": "user", "content": "hi"}])

    assert refused.value.code == "model_not_loaded"
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"
    models = httpx.get(f"{daemon.url}/readyz", trust_env=False).json()["models"]
    assert (models["embedder"]["state"], models["language"]["state"]) == ("ready", "absent")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"])
@pytest.mark.parametrize("body", [[], {"model": 1}, {"model": "x", "messages": "hi", "prompt": 1.5, "input": 1}])
def test_a_text_request_of_another_shape_is_a_400_whatever_is_loaded(
    plain_daemon: Daemon, path: str, body: Any
) -> None:
    answer = ask(plain_daemon, body, path)

    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_the_guard_stands_before_these_routes_too(plain_daemon: Daemon) -> None:
    answer = ask(plain_daemon, {"model": "default", "input": "x"}, headers={"Origin": "https://example.com"})

    assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")


@pytest.mark.slow  # importing crewai takes ten seconds
def test_crewais_embedder_speaks_to_the_daemon(daemon: Daemon) -> None:
    if importlib.util.find_spec("crewai") is None:
        pytest.skip("crewai is not installed")
    program = f"""
from crewai.rag.embeddings.factory import build_embedder
config = {{"api_key": "anything", "api_base": "{daemon.url}/v1", "model_name": "default"}}
print([len(one) for one in build_embedder({{"provider": "openai", "config": config}})(["tea", "coffee"])])
"""
    environment = {**os.environ, "CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout.splitlines()[-1:] == ["[384, 384]"], done.stderr


def test_another_version_of_the_client_gets_the_same(plain_daemon: Daemon) -> None:
    python = os.environ.get(OTHER_PYTHON)
    if not python:
        pytest.skip(f"{OTHER_PYTHON} names no Python with another version of openai")
    program = ["-m", "tests.contract.frameworks.scenario_openai", plain_daemon.url]

    done = subprocess.run(
        [python, *program], cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert same(steady(json.loads(done.stdout)), steady(Recording.load("openai").outcome))


def test_the_recorded_session_still_holds_over_a_real_socket(plain_daemon: Daemon) -> None:
    outcome = as_json(scenario("openai")(plain_daemon.url))

    assert same(steady(outcome), steady(Recording.load("openai").outcome))
