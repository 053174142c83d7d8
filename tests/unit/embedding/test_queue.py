from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from t4dm_daemon.core.errors import BusyError, EmbeddingError, InvalidInputError
from t4dm_daemon.embedding import EmbeddingQueue, HashingEmbedder, MiniLM, VectorCache
from t4dm_daemon.embedding.base import RefusedTextsError

TIMEOUT_S = 20.0


class Scripted(HashingEmbedder):
    """Hashing that records its calls and, while `gate` is closed, stops in the first call it is given."""

    def __init__(self) -> None:
        super().__init__(16)
        self.calls: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.load_gate = threading.Event()
        self.load_gate.set()
        self.load_error: Exception | None = None
        self.bad: dict[str, Exception] = {}
        self.closed = 0

    def load(self) -> None:
        assert self.load_gate.wait(TIMEOUT_S)
        if self.load_error is not None:
            raise self.load_error

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.calls.append(list(texts))
        self.entered.set()
        assert self.gate.wait(TIMEOUT_S)
        for text in texts:
            if text in self.bad:
                raise self.bad[text]
        return super().embed(texts)

    def close(self) -> None:
        self.closed += 1
        self.load_gate.set()
        self.gate.set()


class Stepped(Scripted):
    """The same with a step for every text; `at_step` is called after each."""

    def __init__(self) -> None:
        super().__init__()
        self.at_step: Callable[[int], None] = lambda step: None

    def embed_in_steps(self, texts: Sequence[str]) -> Generator[None, None, np.ndarray]:
        rows = []
        for step, text in enumerate(texts):
            rows.append(Scripted.embed(self, [text])[0])
            self.at_step(step)
            yield
        return np.stack(rows)


@pytest.fixture
def embedder() -> Scripted:
    return Scripted()


@pytest.fixture
def queue(embedder: Scripted) -> Iterator[EmbeddingQueue]:
    with EmbeddingQueue(embedder, cache=VectorCache(), max_batch=4, max_waiting=10) as made:
        assert made.wait_ready(TIMEOUT_S)
        yield made


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as made:
        yield made


class Busy:
    """Hold the worker in a call while tests line up what comes next."""

    def __init__(self, queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor) -> None:
        self.queue, self.embedder, self.pool = queue, embedder, pool
        embedder.gate.clear()
        embedder.entered.clear()
        self.first = pool.submit(queue.embed, ["first"])
        assert embedder.entered.wait(TIMEOUT_S)

    def submit(
        self, texts: list[str], *, bulk: bool = False, timeout_s: float | None = TIMEOUT_S
    ) -> Future[np.ndarray]:
        """Start a call and return once its texts are in line."""
        with self.queue._lock:
            known = set(self.queue._requests)
        future = self.pool.submit(self.queue.embed, texts, bulk=bulk, timeout_s=timeout_s)
        wait_until(lambda: bool(self.queue._requests - known) or future.done())
        return future

    def release(self) -> None:
        self.embedder.gate.set()
        self.first.result(TIMEOUT_S)


def wait_until(condition: Callable[[], bool]) -> None:
    moment = threading.Event()
    for _ in range(int(TIMEOUT_S / 0.001)):
        if condition():
            return
        moment.wait(0.001)
    raise AssertionError("the condition did not come about")


def expected(*texts: str) -> np.ndarray:
    return HashingEmbedder(16).embed(texts)


def test_vectors_come_in_the_order_of_the_texts(queue: EmbeddingQueue) -> None:
    texts = ["a", "b", "a", "", "c", "b"]

    np.testing.assert_array_equal(queue.embed(texts), expected(*texts))
    assert queue.embed([]).shape == (0, 16)


def test_a_text_in_the_cache_never_reaches_the_worker(
    queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor
) -> None:
    queue.embed(["known"])
    busy = Busy(queue, embedder, pool)

    vectors = queue.embed(["known", "known"], timeout_s=TIMEOUT_S)  # the worker is held

    np.testing.assert_array_equal(vectors, expected("known", "known"))
    busy.release()


def test_changing_a_result_changes_nothing_for_others(queue: EmbeddingQueue) -> None:
    for _ in range(2):
        vectors = queue.embed(["text"])
        np.testing.assert_array_equal(vectors, expected("text"))
        vectors[:] = 7.0


def test_requests_that_wait_share_batches_and_their_duplicates(
    queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(queue, embedder, pool)
    futures = [busy.submit(["a", "b"]), busy.submit(["b", "c"]), busy.submit(["c", "a", "d"])]

    busy.release()

    results = [future.result(TIMEOUT_S) for future in futures]
    np.testing.assert_array_equal(results[2], expected("c", "a", "d"))
    assert embedder.calls == [["first"], ["a", "b", "c", "d"]]


def test_a_query_overtakes_an_import_between_batches(
    queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(queue, embedder, pool)
    bulk = busy.submit([f"import {number}" for number in range(6)], bulk=True)
    query = busy.submit(["query"])

    busy.release()

    query.result(TIMEOUT_S)
    bulk.result(TIMEOUT_S)
    assert [call[0] for call in embedder.calls] == ["first", "query", "import 0", "import 4"]


def test_a_query_takes_along_its_text_from_an_import(
    queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(queue, embedder, pool)
    bulk = busy.submit(["i0", "i1", "i2", "i3", "i4", "wanted"], bulk=True)
    query = busy.submit(["wanted"])

    busy.release()

    np.testing.assert_array_equal(query.result(TIMEOUT_S), expected("wanted"))
    np.testing.assert_array_equal(bulk.result(TIMEOUT_S)[5], expected("wanted")[0])
    assert embedder.calls == [["first"], ["wanted"], ["i0", "i1", "i2", "i3"], ["i4"]]


def test_long_texts_make_small_batches(queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor) -> None:
    busy = Busy(queue, embedder, pool)
    texts = [f"{number}" + " word" * 600 for number in range(3)]
    future = busy.submit(texts, bulk=True)

    busy.release()

    future.result(TIMEOUT_S)
    assert [len(call) for call in embedder.calls] == [1, 1, 1, 1]


def test_a_query_is_served_between_the_steps_of_one_bulk_batch(pool: ThreadPoolExecutor) -> None:
    embedder = Stepped()
    queries: list[Future[np.ndarray]] = []

    with EmbeddingQueue(embedder, cache=VectorCache(), max_batch=8) as queue:
        assert queue.wait_ready(TIMEOUT_S)

        def ask(step: int) -> None:
            if step == 1:
                queries.append(pool.submit(queue.embed, ["query"], timeout_s=TIMEOUT_S))
                wait_until(lambda: "query" in queue._interactive)

        embedder.at_step = ask
        texts = ["i0 " * 9000, "i1", "i2", "i3"]
        vectors = queue.embed(texts, bulk=True, timeout_s=TIMEOUT_S)
        np.testing.assert_array_equal(queries[0].result(TIMEOUT_S), expected("query"))

    np.testing.assert_array_equal(vectors, expected(*texts))
    assert [call[0][:5].strip() for call in embedder.calls] == ["i0 i0", "i1", "query", "i2", "i3"]


def test_too_many_waiting_texts_are_refused_with_a_time_to_come_back(
    queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(queue, embedder, pool)
    accepted = busy.submit([f"text {number}" for number in range(9)], bulk=True)

    with pytest.raises(BusyError) as caught:
        queue.embed(["one", "two"], timeout_s=TIMEOUT_S)
    one_more = busy.submit(["text 3", "ten"])  # "text 3" waits already and takes no place

    assert caught.value.retry_after_s >= 0.5
    assert queue.waiting == 10
    busy.release()
    assert accepted.result(TIMEOUT_S).shape == (9, 16)
    assert one_more.result(TIMEOUT_S).shape == (2, 16)


def test_more_texts_than_ever_fit_are_the_callers_mistake(queue: EmbeddingQueue) -> None:
    with pytest.raises(InvalidInputError, match="send them in parts"):
        queue.embed([f"text {number}" for number in range(11)])


def test_when_the_time_is_up_the_caller_is_told_and_its_texts_leave_the_line(
    queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(queue, embedder, pool)
    patient = busy.submit(["shared"], bulk=True)

    with pytest.raises(BusyError, match=r"within 0\.01 s"):
        queue.embed(["shared", "own"], bulk=True, timeout_s=0.01)

    assert queue.waiting == 1
    busy.release()
    np.testing.assert_array_equal(patient.result(TIMEOUT_S), expected("shared"))
    assert embedder.calls == [["first"], ["shared"]]


def test_one_bad_text_fails_its_caller_and_not_its_neighbours(
    queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor
) -> None:
    embedder.bad["bad"] = RefusedTextsError("unreadable", status=400)
    busy = Busy(queue, embedder, pool)
    good, bad, also_good = busy.submit(["good"]), busy.submit(["fine", "bad"]), busy.submit(["fine"])

    busy.release()

    np.testing.assert_array_equal(good.result(TIMEOUT_S), expected("good"))
    np.testing.assert_array_equal(also_good.result(TIMEOUT_S), expected("fine"))
    with pytest.raises(InvalidInputError, match="a text of 3 characters was not embedded: unreadable") as caught:
        bad.result(TIMEOUT_S)
    assert caught.value.details == {"status": 400}
    assert queue.state == "ready"


@pytest.mark.parametrize("bulk", [False, True])
def test_a_batch_fails_at_once_when_the_server_is_away(
    queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor, bulk: bool
) -> None:
    embedder.bad["a"] = EmbeddingError("no answer", url="x", answer="what a says")
    busy = Busy(queue, embedder, pool)
    futures = [busy.submit([text], bulk=bulk) for text in "abc"]

    busy.release()

    for future in futures:
        with pytest.raises(EmbeddingError, match="no answer") as caught:
            future.result(TIMEOUT_S)
        assert caught.value.details == {"url": "x"}  # the answer may quote a neighbour's text
    assert embedder.calls == [["first"], ["a", "b", "c"]]


def test_a_server_that_goes_away_while_a_refused_batch_is_tried_again_is_asked_once(
    queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor
) -> None:
    embedder.bad = {"refused": RefusedTextsError("no"), "away": EmbeddingError("no answer")}
    busy = Busy(queue, embedder, pool)
    futures = [busy.submit([text]) for text in ("fine", "refused", "away", "late")]

    busy.release()

    assert [type(future.exception(TIMEOUT_S)) for future in futures] == [
        type(None), InvalidInputError, EmbeddingError, EmbeddingError
    ]  # fmt: skip
    assert embedder.calls[1:] == [["fine", "refused", "away", "late"], ["fine"], ["refused"], ["away"]]


def test_an_unexpected_failure_is_logged_and_told_without_its_words(
    queue: EmbeddingQueue, embedder: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    embedder.bad["diary"] = ValueError("cannot read 'diary'")

    with caplog.at_level(logging.INFO), pytest.raises(EmbeddingError, match="ValueError") as caught:
        queue.embed(["diary"])

    assert "diary" not in "".join(traceback.format_exception(caught.value, limit=0))
    (record,) = caplog.records
    assert record.__dict__["error"] == "ValueError"
    assert "diary" not in logging.Formatter().format(record)


@pytest.mark.parametrize("kind", ["plain", "stepped"])
def test_an_import_goes_on_under_a_steady_stream_of_queries(pool: ThreadPoolExecutor, kind: str) -> None:
    embedder = Stepped() if kind == "stepped" else Scripted()
    with EmbeddingQueue(embedder, cache=VectorCache(), max_batch=1 if kind == "plain" else 4) as queue:
        assert queue.wait_ready(TIMEOUT_S)
        busy = Busy(queue, embedder, pool)
        bulk = busy.submit(["i0", "i1", "i2"], bulk=True)
        queries = [f"q{number} " + "word " * 700 for number in range(40)]  # each a micro-batch of its own
        stream = busy.submit(queries)

        busy.release()

        bulk.result(TIMEOUT_S)
        stream.result(TIMEOUT_S)

    served = "".join(call[0][0] for call in embedder.calls[1:])
    assert served == "qqqqqqqqi" * 3 + "q" * 16


def test_a_failure_is_not_remembered(queue: EmbeddingQueue, embedder: Scripted) -> None:
    embedder.bad["text"] = EmbeddingError("the server is away", url="x")
    with pytest.raises(EmbeddingError, match="the server is away") as caught:
        queue.embed(["text"])
    del embedder.bad["text"]

    np.testing.assert_array_equal(queue.embed(["text"]), expected("text"))
    assert caught.value.details == {"url": "x"}


def test_vectors_of_another_shape_or_not_finite_are_errors(
    queue: EmbeddingQueue, embedder: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (np.zeros((1, 5), np.float32), np.full((1, 16), np.nan, np.float32)):
        with monkeypatch.context() as patch:
            patch.setattr(embedder, "embed", lambda texts, wrong=wrong: wrong)
            with pytest.raises(EmbeddingError, match="returned an array"):
                queue.embed(["text"])

    assert queue.cache.stats().entries == 0


def test_embedding_waits_while_loading_up_to_its_time(embedder: Scripted, pool: ThreadPoolExecutor) -> None:
    embedder.load_gate.clear()
    with EmbeddingQueue(embedder, cache=VectorCache()) as queue:
        assert queue.state == "loading"
        assert not queue.wait_ready(0.01)
        with pytest.raises(BusyError, match="still loading"):
            queue.embed(["text"], timeout_s=0.01)
        patient = pool.submit(queue.embed, ["text"])

        embedder.load_gate.set()

        np.testing.assert_array_equal(patient.result(TIMEOUT_S), expected("text"))
        assert (queue.state, queue.error) == ("ready", None)
        assert (queue.name, queue.identity, queue.dimension) == ("hashing", "hashing:v1@16", 16)


def test_the_first_call_starts_the_worker(embedder: Scripted) -> None:
    queue = EmbeddingQueue(embedder, cache=VectorCache())

    np.testing.assert_array_equal(queue.embed(["text"], timeout_s=TIMEOUT_S), expected("text"))
    queue.close()


@pytest.mark.parametrize("error", [EmbeddingError("weights missing: pip install x"), MemoryError("no room")])
def test_a_failed_load_tells_its_reason_and_can_be_tried_again(embedder: Scripted, error: Exception) -> None:
    embedder.load_error = error
    with EmbeddingQueue(embedder, cache=VectorCache()) as queue:
        assert not queue.wait_ready(TIMEOUT_S)
        assert queue.state == "failed"
        assert str(error) in str(queue.error)
        with pytest.raises(EmbeddingError, match=str(error)):
            queue.embed(["text"])
        embedder.load_error = None

        queue.start()

        assert queue.wait_ready(TIMEOUT_S)
        assert queue.embed(["text"]).shape == (1, 16)


def test_closing_fails_those_who_wait_and_closes_the_embedder(
    queue: EmbeddingQueue, embedder: Scripted, pool: ThreadPoolExecutor
) -> None:
    busy = Busy(queue, embedder, pool)
    waiting = [busy.submit(["one"]), busy.submit(["two"], bulk=True)]

    queue.close()
    queue.close()

    assert busy.first.exception(TIMEOUT_S) is None or isinstance(busy.first.exception(), BusyError)
    for future in waiting:
        with pytest.raises(BusyError, match="nothing was done"):
            future.result(TIMEOUT_S)
    with pytest.raises(BusyError, match="nothing was done"):
        queue.embed(["three"])
    queue.start()
    assert queue.state == "failed"
    assert embedder.closed == 1


def test_closing_while_loading_fails_those_who_wait_for_it(embedder: Scripted, pool: ThreadPoolExecutor) -> None:
    embedder.load_gate.clear()
    queue = EmbeddingQueue(embedder, cache=VectorCache())
    queue.start()
    waiting = pool.submit(queue.embed, ["text"])

    queue.close()

    with pytest.raises(BusyError, match="nothing was done"):
        waiting.result(TIMEOUT_S)
    assert embedder.closed == 2  # once more when load() had ended after all


def test_many_threads_with_queries_and_imports_all_get_their_vectors(minilm: MiniLM, pool: ThreadPoolExecutor) -> None:
    texts = [f"note {number} about subject {number % 7}" for number in range(60)]
    reference = minilm.embed(texts)

    class Shared(MiniLM):
        def close(self) -> None: ...

    shared = Shared.__new__(Shared)
    shared.__dict__.update(minilm.__dict__)
    with EmbeddingQueue(shared, cache=VectorCache(), max_batch=8) as queue:
        jobs = [
            (start, pool.submit(queue.embed, texts[start : start + 12], bulk=start % 2 == 0, timeout_s=60))
            for start in range(0, 48, 3)
        ]
        for start, job in jobs:
            # 1e-5: float32 rounding of other batches
            np.testing.assert_allclose(job.result(60), reference[start : start + 12], atol=1e-5)
        stats = queue.cache.stats()

    assert stats.entries == 57
