from __future__ import annotations

import base64
import json
import logging
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from t4dm_daemon.core.errors import EmbeddingError, InvalidInputError
from t4dm_daemon.embedding import EmbeddingQueue, OpenAICompatible, VectorCache
from t4dm_daemon.embedding.base import RefusedTextsError

KEY = "sk-secret-of-the-test"


def plain_vector(text: str) -> list[float]:
    return [float(len(text)) + 1.0, 2.0, -3.0]


class Server:
    """An `/embeddings` endpoint on 127.0.0.1. `answer` may be replaced: body in, (status, headers, body) out."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.encoding = "float"
        self.before: list[tuple[int, dict[str, str], Any]] = []  # answered first, one per request
        self.answer: Callable[[dict[str, Any]], tuple[int, dict[str, str], Any]] = self.embed
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append(body)
                server.headers.append({name.lower(): value for name, value in self.headers.items()})
                if self.path != "/v1/embeddings":
                    status, headers, answer = 404, {}, {"error": {"message": f"no route {self.path}"}}
                elif server.before:
                    status, headers, answer = server.before.pop(0)
                else:
                    status, headers, answer = server.answer(body)
                payload = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def embed(self, body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        def encoded(text: str) -> Any:
            vector = plain_vector(text)
            return base64.b64encode(np.array(vector, "<f4").tobytes()).decode() if self.encoding == "base64" else vector

        data = [
            {"object": "embedding", "index": index, "embedding": encoded(text)}
            for index, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return 200, {}, {"object": "list", "data": data[::-1], "model": body["model"], "usage": usage}

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(10)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def make(server: Server, **options: Any) -> OpenAICompatible:
    return OpenAICompatible("test-model", base_url=server.url, api_key=KEY, backoff_s=0.001, **options)


@pytest.fixture
def embedder(server: Server) -> Iterator[OpenAICompatible]:
    made = make(server)
    made.load()
    server.requests.clear()
    yield made
    made.close()


def unit(text: str) -> np.ndarray:
    vector = np.array(plain_vector(text))
    return vector / np.linalg.norm(vector)


def test_loading_finds_the_dimension_and_sends_the_key(server: Server) -> None:
    embedder = make(server)
    with pytest.raises(EmbeddingError, match="not loaded"):
        _ = embedder.dimension

    embedder.load()

    assert embedder.dimension == 3
    assert (embedder.name, embedder.identity) == ("openai:test-model", "openai:test-model")
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.requests[0]["model"] == "test-model"
    embedder.close()
    embedder.close()


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_vectors_come_in_order_and_of_length_one(server: Server, embedder: OpenAICompatible, encoding: str) -> None:
    server.encoding = encoding
    texts = [f"text {'x' * number}" for number in range(70)]

    vectors = embedder.embed(texts)

    np.testing.assert_allclose(vectors, np.stack([unit(text) for text in texts]), atol=1e-6)
    assert vectors.dtype == np.float32
    assert [len(request["input"]) for request in server.requests] == [32, 32, 6]


def test_an_empty_text_is_sent_as_a_space(server: Server, embedder: OpenAICompatible) -> None:
    vectors = embedder.embed(["", "\ud800"])

    assert server.requests[0]["input"] == [" ", "?"]
    assert np.isfinite(vectors).all()
    assert embedder.embed([]).shape == (0, 3)


def test_busy_answers_are_tried_again(server: Server, embedder: OpenAICompatible) -> None:
    server.before = [(429, {"Retry-After": "0"}, {"error": "slow down"}), (503, {}, b"starting"), (500, {}, b"")]

    vectors = embedder.embed(["text"])

    np.testing.assert_allclose(vectors[0], unit("text"), atol=1e-6)
    assert len(server.requests) == 4


def test_a_server_that_stays_busy_is_an_error_with_its_last_status(server: Server, embedder: OpenAICompatible) -> None:
    server.before = [(503, {}, b"out of memory")] * 5

    with pytest.raises(EmbeddingError, match=r"after 5 attempts, last status 503 and 13 bytes") as caught:
        embedder.embed(["text"])

    assert caught.value.details["answer"] == "out of memory"


def test_a_wrong_key_is_not_tried_again_and_not_shown(server: Server, embedder: OpenAICompatible) -> None:
    server.before = [(401, {}, {"error": {"message": f"Incorrect API key provided: {KEY}"}})]

    with pytest.raises(EmbeddingError, match="check the API key") as caught:
        embedder.embed(["text"])

    assert KEY not in str(caught.value)
    assert KEY not in caught.value.details["answer"]
    assert len(server.requests) == 1


def test_a_wrong_path_says_what_to_check(server: Server) -> None:
    embedder = OpenAICompatible("m", base_url=server.url + "/nowhere")

    with pytest.raises(EmbeddingError, match=r"404.*check the base URL"):
        embedder.load()


def test_no_server_is_an_error_that_asks_whether_it_runs(server: Server) -> None:
    embedder = make(server, attempts=2)
    server.close()

    with pytest.raises(EmbeddingError, match="is the server running") as caught:
        embedder.load()

    assert isinstance(caught.value.__cause__, Exception)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>a proxy</html>",
        b"",
        {"data": []},
        {"data": [{"index": 0, "embedding": []}]},
        {"data": [{"index": 0, "embedding": [0, 0, 0]}]},
        {"data": [{"index": 0, "embedding": [1, None, 0]}]},
        {"data": [{"index": 0, "embedding": "no base64!"}]},
        {"data": ["text"]},
        {"error": "200 for an error"},
        [1, 2],
        b'{"data": [{"index": 0, "embedding": [NaN, 1, 1]}]}',
    ],
)
def test_an_answer_of_another_shape_is_a_clear_error(server: Server, embedder: OpenAICompatible, answer: Any) -> None:
    server.before = [(200, {}, answer)]

    with pytest.raises(EmbeddingError, match="did not answer as /embeddings does"):
        embedder.embed(["text"])


def test_another_dimension_than_at_first_is_an_error(server: Server, embedder: OpenAICompatible) -> None:
    server.before = [(200, {}, {"data": [{"index": 0, "embedding": [1.0, 2.0]}]})]

    with pytest.raises(EmbeddingError, match="dimension 2, at first it was 3"):
        embedder.embed(["text"])


def test_an_answer_without_indices_is_taken_in_its_order(server: Server, embedder: OpenAICompatible) -> None:
    server.before = [(200, {}, {"data": [{"embedding": [1, 0, 0]}, {"embedding": [0, 1, 0]}]})]

    np.testing.assert_array_equal(embedder.embed(["a", "b"]), [[1, 0, 0], [0, 1, 0]])


def test_a_long_text_is_sent_in_parts_and_pooled(server: Server, embedder: OpenAICompatible) -> None:
    text = "some words " * 2000

    vectors = embedder.embed([text, "short"])

    sent = [piece for request in server.requests for piece in request["input"]]
    assert "".join(sent[:-1]) == text
    assert all(len(piece.encode()) <= 6000 for piece in sent)
    assert np.linalg.norm(vectors[0]) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(vectors[1], unit("short"), atol=1e-6)


def test_a_text_the_server_finds_too_long_is_halved_until_it_fits(server: Server, embedder: OpenAICompatible) -> None:
    def only_short(body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        if any(len(text) > 700 for text in body["input"]):
            return 413, {}, {"error": "input too long"}
        return server.embed(body)

    server.answer = only_short

    vectors = embedder.embed(["neighbour", "some words " * 200])

    np.testing.assert_allclose(vectors[0], unit("neighbour"), atol=1e-6)
    assert np.linalg.norm(vectors[1]) == pytest.approx(1.0, abs=1e-6)


def test_a_text_refused_at_any_length_is_an_error_after_few_requests(
    server: Server, embedder: OpenAICompatible
) -> None:
    server.answer = lambda body: (400, {}, {"error": "never"})

    with pytest.raises(RefusedTextsError, match="400"):
        embedder.embed(["some words " * 500])

    assert len(server.requests) < 10


def test_a_server_that_refuses_the_first_text_is_not_loaded(server: Server) -> None:
    server.answer = lambda body: (400, {}, {"error": "a chat model"})

    with pytest.raises(EmbeddingError, match="is 'test-model' an embedding model"):
        make(server).load()


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("status", [200, 400, 401, 503])
def test_an_answer_that_repeats_the_text_reaches_neither_messages_nor_logs(
    server: Server, embedder: OpenAICompatible, caplog: pytest.LogCaptureFixture, status: int, bulk: bool
) -> None:
    secret = "my-diary-says"
    server.answer = lambda body: (status, {}, {"data": [{"index": 0, "embedding": body["input"]}]})

    with (
        caplog.at_level(logging.INFO),
        EmbeddingQueue(embedder, cache=VectorCache()) as queue,
        pytest.raises((EmbeddingError, InvalidInputError)) as caught,
    ):
        queue.embed([secret], bulk=bulk)

    assert secret in caught.value.details["answer"]
    formatter = logging.Formatter()
    assert caplog.records
    for record in caplog.records:
        assert secret not in formatter.format(record)
        assert secret not in repr(record.__dict__)
    assert secret not in "".join(traceback.format_exception(caught.value))


def test_closing_ends_a_wait_for_the_next_attempt(server: Server) -> None:
    embedder = OpenAICompatible("m", base_url=server.url, backoff_s=60.0)
    embedder.load()
    asked = threading.Event()

    def busy(body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        asked.set()
        return 503, {}, b"busy"

    server.answer = busy
    failures: list[EmbeddingError] = []

    def call() -> None:
        try:
            embedder.embed(["text"])
        except EmbeddingError as error:
            failures.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    assert asked.wait(10)

    embedder.close()
    caller.join(10)

    assert not caller.is_alive()
    assert len(failures) == 1
