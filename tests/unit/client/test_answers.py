"""What an answer, or none, means to the caller."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from t4dm import sdk
from t4dm.sdk import AsyncT4DMClient, T4DMClient
from tests.unit.client.fake_daemon import FakeDaemon, Reply, error


@pytest.fixture
def once(fake: FakeDaemon) -> T4DMClient:
    return T4DMClient("http://127.0.0.1:9", transport=fake.transport(), max_retries=0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, sdk.ValidationError),
        (401, sdk.AuthenticationError),
        (403, sdk.PermissionDeniedError),
        (404, sdk.NotFoundError),
        (409, sdk.ConflictError),
        (413, sdk.ValidationError),
        (415, sdk.ValidationError),
        (422, sdk.ValidationError),
        (429, sdk.RateLimitError),
        (500, sdk.ServerError),
        (503, sdk.UnavailableError),
        (507, sdk.ServerError),
    ],
)
def test_each_status_has_its_error(once: T4DMClient, fake: FakeDaemon, status: int, kind: type[sdk.T4DMError]) -> None:
    fake.planned = [error(status, "some_code", X_Request_ID="r-1")]

    with pytest.raises(sdk.T4DMError) as caught:
        once.health()

    assert type(caught.value) is kind
    assert caught.value.code == "some_code"
    assert caught.value.status == status
    assert caught.value.message == f"the reason for {status}"
    assert caught.value.details == {"fact": 1}
    assert caught.value.request_id == "r-1"


@pytest.mark.parametrize("status", [405, 408, 418])
def test_an_unexpected_refusal_is_still_a_t4dm_error(once: T4DMClient, fake: FakeDaemon, status: int) -> None:
    fake.planned = [error(status)]

    with pytest.raises(sdk.T4DMError) as caught:
        once.health()

    assert type(caught.value) is sdk.T4DMError
    assert caught.value.status == status


def test_a_page_of_something_else_is_named(once: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, b"<!DOCTYPE html><title>Grafana</title>", {"content-type": "text/html; charset=utf-8"})]

    with pytest.raises(sdk.ProtocolError, match=r"200 OK, text/html, beginning with '<!DOCTYPE html><title>Grafana"):
        once.health()


def test_json_of_something_else_is_named(once: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, {"hello": "world"})]

    with pytest.raises(sdk.ProtocolError, match=r"unexpected JSON: status: Field required") as caught:
        once.health()

    assert caught.value.code == "protocol_error"


@pytest.mark.parametrize("body", [b"{", b"\xff", b""])
def test_broken_json_is_a_protocol_error(once: T4DMClient, fake: FakeDaemon, body: bytes) -> None:
    fake.planned = [Reply(200, body)]

    with pytest.raises(sdk.ProtocolError):
        once.health()


def test_a_foreign_404_is_not_a_missing_memory(once: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [Reply(404, {"detail": "Not Found"})]

    with pytest.raises(sdk.ProtocolError, match="404 Not Found"):
        once.get("m")


def test_a_redirect_is_named_and_not_followed(once: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [Reply(302, b"", {"location": "https://login.example"})]

    with pytest.raises(sdk.ProtocolError, match=r"a redirect to https://login\.example"):
        once.health()


def test_a_bare_503_of_a_proxy_is_unavailable(once: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [Reply(503, b"upstream", {"content-type": "text/plain", "retry-after": "9"})]

    with pytest.raises(sdk.UnavailableError) as caught:
        once.health()

    assert caught.value.retry_after_s == 9


def test_a_broken_compression_is_a_protocol_error(once: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [Reply(200, b"not gzip", {"content-encoding": "gzip"})]

    with pytest.raises(sdk.ProtocolError):
        once.health()


def test_a_timeout_says_how_long_and_that_a_write_may_have_happened(once: T4DMClient, fake: FakeDaemon) -> None:
    fake.planned = [httpx.ReadTimeout("slow")]

    with pytest.raises(sdk.TransportError, match=r"did not answer DELETE .* within 30.0 s; it may have") as caught:
        once.delete("m")

    assert caught.value.code == "timeout"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nothing_listening_says_how_to_start_it(host: str) -> None:
    url = f"http://{host}:{_free_port()}"

    async def act() -> None:
        async with AsyncT4DMClient(url, max_retries=0) as client:
            await client.health()

    expected = f"T4DM is not running at {url}; start it with: t4dm serve"
    with T4DMClient(url, max_retries=0) as client, pytest.raises(sdk.TransportError) as caught:
        client.health()
    with pytest.raises(sdk.TransportError) as caught_async:
        asyncio.run(act())

    assert caught.value.message == expected
    assert caught_async.value.message == expected
    assert caught.value.code == "not_running"
    assert caught.value.request_id


def test_a_closed_client_says_so() -> None:
    client = T4DMClient()
    client.close()
    client.close()

    with pytest.raises(sdk.TransportError, match="closed"):
        client.health()


def test_proxy_variables_do_not_capture_this_machine(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{_free_port()}")

    with fake.serving() as url, T4DMClient(url, max_retries=0) as client:
        assert client.version().version == "0.1.0"


def test_settings_come_from_the_environment(fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T4DM_URL", "127.0.0.1:1234/base/")
    monkeypatch.setenv("T4DM_API_KEY", " secret\n")

    client = T4DMClient(transport=fake.transport(), headers={"x-extra": "1"})
    with client, pytest.raises(sdk.NotFoundError):
        client.health()

    assert client.url == "http://127.0.0.1:1234/base"
    assert fake.seen[0].path == "/base/api/v1/health"
    assert fake.seen[0].headers["authorization"] == "Bearer secret"
    assert fake.seen[0].headers["x-extra"] == "1"
    assert fake.seen[0].headers["t4dm-client"].startswith("python/")


def test_a_password_in_the_url_is_not_told() -> None:
    client = T4DMClient("http://ada:secret@127.0.0.1:1")

    assert "secret" not in repr(client)
    client.close()


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x/?q=1", "http://x:port"])
def test_a_url_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(sdk.ValidationError):
        T4DMClient(url)
