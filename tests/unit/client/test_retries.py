"""What is sent again, after what pause, and what is not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from t4dm.sdk import (
    AsyncT4DMClient,
    BatchRequest,
    DeleteRequest,
    RateLimitError,
    RecordIn,
    SearchRequest,
    ServerError,
    StoreRequest,
    T4DMClient,
    TouchRequest,
    TransportError,
    UnavailableError,
    UpdateRequest,
)
from tests.unit.client.fake_daemon import FakeDaemon, Reply, error

REFUSED = httpx.ConnectError("refused")
BROKEN = httpx.ReadError("broken")
SLOW = httpx.ReadTimeout("slow")


def test_a_refused_connection_is_tried_again_even_for_writes(
    client: T4DMClient, fake: FakeDaemon, pauses: list[float]
) -> None:
    client.store(StoreRequest(content="tea", id="m"))
    fake.planned = [REFUSED, httpx.ConnectTimeout("late")]

    client.update("m", UpdateRequest(content="coffee"))

    assert fake.spaces["default"]["m"].content == "coffee"
    assert len(pauses) == 2


def test_retries_end_after_max_retries(client: T4DMClient, fake: FakeDaemon, pauses: list[float]) -> None:
    fake.planned = [REFUSED] * 10

    with pytest.raises(TransportError):
        client.health()

    assert len(fake.seen) == 4  # one try and three retries
    assert len(pauses) == 3


def test_no_retries_when_none_are_wanted(fake: FakeDaemon) -> None:
    fake.planned = [error(503)]

    with T4DMClient(transport=fake.transport(), max_retries=0) as client, pytest.raises(UnavailableError):
        client.health()

    assert len(fake.seen) == 1


def test_pauses_grow_with_full_jitter(client: T4DMClient, fake: FakeDaemon, pauses: list[float]) -> None:
    fake.planned = [REFUSED, REFUSED, REFUSED]

    client.health()

    assert all(0 <= pause <= bound for pause, bound in zip(pauses, [0.1, 0.2, 0.4], strict=True))
    assert len(set(pauses)) == 3


@pytest.mark.parametrize("status", [429, 503])
def test_refusals_are_tried_again_after_the_pause_asked_for(
    client: T4DMClient, fake: FakeDaemon, pauses: list[float], status: int
) -> None:
    fake.planned = [error(status, Retry_After="2")]

    client.touch(TouchRequest(ids=["a"]))

    assert len(pauses) == 1
    assert 2 <= pauses[0] <= 2.1


def test_retry_after_may_be_a_date(client: T4DMClient, fake: FakeDaemon, pauses: list[float]) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=20)
    fake.planned = [error(503, Retry_After=format_datetime(moment, usegmt=True))]

    client.health()

    assert 15 < pauses[0] <= 20.1


def test_a_longer_pause_than_the_timeout_is_the_callers_to_wait(
    client: T4DMClient, fake: FakeDaemon, pauses: list[float]
) -> None:
    fake.planned = [error(429, Retry_After="3600")]

    with pytest.raises(RateLimitError) as caught:
        client.health()

    assert caught.value.retry_after_s == 3600
    assert pauses == []


@pytest.mark.parametrize("failure", [BROKEN, SLOW, httpx.RemoteProtocolError("gone"), error(502), error(504)])
def test_reading_calls_are_tried_again_when_an_answer_got_lost(
    client: T4DMClient, fake: FakeDaemon, failure: Reply | Exception
) -> None:
    fake.planned = [failure]

    answer = client.search(SearchRequest(query="tea"))

    assert answer.results == []
    assert len(fake.seen) == 2


@pytest.mark.parametrize("failure", [BROKEN, SLOW, error(502), error(504)])
def test_writes_with_a_key_are_tried_again_under_the_same_key(
    client: T4DMClient, fake: FakeDaemon, failure: Reply | Exception
) -> None:
    fake.planned = [failure, failure]

    client.batch(BatchRequest(records=[RecordIn(content="tea")]))

    keys = {seen.headers["idempotency-key"] for seen in fake.seen}
    assert len(fake.seen) == 3
    assert len(keys) == 1


def test_every_call_has_a_key_of_its_own(client: T4DMClient, fake: FakeDaemon) -> None:
    client.store(StoreRequest(content="tea"))
    client.store(StoreRequest(content="coffee"))
    client.store(StoreRequest(content="milk"), idempotency_key="mine")

    keys = [seen.headers["idempotency-key"] for seen in fake.seen]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


def test_a_key_in_the_batch_is_not_contradicted_by_a_header(client: T4DMClient, fake: FakeDaemon) -> None:
    client.batch(BatchRequest(records=[RecordIn(content="tea")], idempotency_key="schlüssel"))

    assert "idempotency-key" not in fake.seen[0].headers
    assert fake.seen[0].json["idempotency_key"] == "schlüssel"


@pytest.mark.parametrize("failure", [BROKEN, SLOW, error(502), error(504)])
def test_other_writes_are_not_sent_twice_when_their_fate_is_unknown(
    client: T4DMClient, fake: FakeDaemon, failure: Reply | Exception
) -> None:
    calls = [
        lambda: client.update("m", UpdateRequest(content="x")),
        lambda: client.delete("m"),
        lambda: client.delete_many(DeleteRequest(all=True)),
        lambda: client.touch(TouchRequest(ids=["m"])),
        lambda: client.request("POST", "/api/v1/anything", json={}),
    ]
    for call in calls:
        fake.planned = [failure]
        with pytest.raises((TransportError, ServerError)):
            call()

    assert len(fake.seen) == len(calls)


def test_a_raw_post_with_a_key_is_tried_again(client: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [BROKEN, Reply(200, {"done": 1})]

    assert client.request("post", "/api/v1/anything", json={}, idempotency_key="k") == {"done": 1}


@pytest.mark.parametrize("status", [400, 404, 409, 422, 500])
def test_answers_that_would_be_the_same_again_are_not_asked_for_again(
    client: T4DMClient, fake: FakeDaemon, status: int
) -> None:
    fake.planned = [error(status)]

    with pytest.raises(Exception, match=f"the reason for {status}"):
        client.health()

    assert len(fake.seen) == 1


def test_tries_of_one_call_share_a_request_id(client: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [error(503), error(503)]

    client.health()
    client.health()

    ids = [seen.headers["x-request-id"] for seen in fake.seen]
    assert ids[0] == ids[1] == ids[2] != ids[3]


def test_the_asynchronous_client_follows_the_same_policy(fake: FakeDaemon) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def act() -> None:
        async with AsyncT4DMClient(transport=fake.transport(), sleep=sleep) as client:
            fake.planned = [REFUSED, error(503), BROKEN]
            await client.store(StoreRequest(content="tea"))
            fake.planned = [BROKEN]
            with pytest.raises(TransportError, match="may have been carried out"):
                await client.delete("m")

    asyncio.run(act())

    assert len(fake.seen) == 5
    assert len(pauses) == 3


def test_wait_ready_looks_until_it_is_ready(client: T4DMClient, fake: FakeDaemon, pauses: list[float]) -> None:
    starting = Reply(503, {"ready": False, "phase": "recovering", "reason": "replaying", "models": {}})
    fake.planned = [REFUSED, starting, error(503, "stopping"), starting]

    readiness = client.wait_ready(60)

    assert readiness.ready
    assert len(pauses) == 4


def test_ready_tells_the_phase_of_a_daemon_that_is_starting(client: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [Reply(503, {"ready": False, "phase": "warming_up", "models": {}})]

    assert client.ready().phase == "warming_up"


def test_wait_ready_gives_up_when_the_time_is_over(fake: FakeDaemon) -> None:
    now = [0.0]
    starting = Reply(503, {"ready": False, "phase": "recovering", "reason": "replaying", "models": {}})

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with T4DMClient(transport=fake.transport(), sleep=sleep, clock=lambda: now[0]) as client:
        fake.planned = [starting] * 100
        with pytest.raises(UnavailableError, match="still recovering after 3 s: replaying"):
            client.wait_ready(3)
        fake.planned = [REFUSED] * 100
        with pytest.raises(TransportError):
            client.wait_ready(3)
        fake.planned = [Reply(503, {"ready": False, "phase": "failed", "reason": "disk", "models": {}})]
        with pytest.raises(ServerError, match="failed to start: disk"):
            client.wait_ready(3)

    assert now[0] == pytest.approx(6)


def test_each_look_of_wait_ready_takes_no_longer_than_the_time_left() -> None:
    now, waits = [0.0], list[float]()

    def silent(request: httpx.Request) -> httpx.Response:
        waits.append(request.extensions["timeout"]["read"])
        now[0] += waits[-1]
        raise httpx.ReadTimeout("silent", request=request)

    with (
        T4DMClient(transport=httpx.MockTransport(silent), sleep=lambda _: None, clock=lambda: now[0]) as client,
        pytest.raises(TransportError, match=r"within 3\.0 s"),
    ):
        client.wait_ready(3)

    assert waits == [3.0]


def test_wait_ready_of_a_closed_client_raises_at_once(fake: FakeDaemon, pauses: list[float]) -> None:
    client = T4DMClient(transport=fake.transport(), sleep=pauses.append)
    client.close()

    with pytest.raises(TransportError, match="closed"):
        client.wait_ready(30)

    assert pauses == []


def test_a_deadline_that_passed_is_a_server_error_and_no_promise(client: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [error(504, "deadline_exceeded")]

    with pytest.raises(ServerError) as caught:
        client.update("m", UpdateRequest(content="x"))

    assert caught.value.code == "deadline_exceeded"
    assert not isinstance(caught.value, UnavailableError)
    assert len(fake.seen) == 1
