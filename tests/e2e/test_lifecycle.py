"""How the daemon starts, refuses to start, and goes down."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from t4dm.sdk import UnavailableError
from t4dm.sdk import models as m
from tests.support.daemon import Daemon

MakeDaemon = Callable[..., Daemon]


def _serve(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a second `t4dm serve` that is expected to end by itself."""
    return daemon.run_cli("serve", *arguments, timeout_s=30.0)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_code_0_and_frees_the_lock(make_daemon: MakeDaemon, stop: signal.Signals) -> None:
    daemon = make_daemon().start()
    with daemon.client() as client:
        client.store(m.StoreRequest(content="x"))
    assert daemon.process is not None

    daemon.process.send_signal(stop)

    assert daemon.wait(6.0) == 0, daemon.output
    assert "Traceback" not in daemon.output
    daemon.start()
    assert daemon.terminate() == 0


def test_a_request_under_way_is_told_that_the_daemon_stops_and_holds_nothing_up(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(model="minilm").start()
    answers: list[httpx.Response] = []
    body = {"records": [{"content": f"a long story number {n} " + "with many words " * 100} for n in range(2000)]}

    def import_much() -> None:
        answers.append(httpx.post(f"{daemon.url}/api/v1/memory/batch", json=body, timeout=60.0, trust_env=False))

    worker = threading.Thread(target=import_much)
    worker.start()
    with daemon.client() as client:
        while client.stats().embedding_cache["misses"] < 100:
            threading.Event().wait(0.01)  # until the import is under way
    started = time.monotonic()

    assert daemon.terminate() == 0, daemon.output

    assert time.monotonic() - started < 4.5  # promised: within 5 s
    worker.join(10.0)
    (answer,) = answers
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.headers["x-request-id"]
    assert answer.json()["error"]["code"] == "busy"
    assert answer.json()["error"]["details"] == {"phase": "stopping"}
    assert "Traceback" not in daemon.output
    daemon.start()
    with daemon.client() as client:
        assert client.stats().items == 0  # all or nothing: it was not acknowledged


def test_a_request_whose_body_never_ends_is_told_that_the_daemon_stops(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    address = urlsplit(daemon.url)
    with socket.create_connection((address.hostname, address.port), timeout=10.0) as half:
        half.sendall(b"POST /api/v1/memory/store HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        with daemon.client() as client:
            client.health()

        assert daemon.terminate() == 0, daemon.output

        answer = half.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503")
    assert b'"phase":"stopping"' in answer
    assert "Traceback" not in daemon.output


def test_an_export_that_is_cut_off_lacks_its_last_line_and_leaves_no_traceback(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    with daemon.client() as client:
        client.batch(
            m.BatchRequest(records=[m.RecordIn(content=f"{n} " + "word " * 1000, embed=False) for n in range(5000)])
        )
    # Nobody reads on: the daemon has to wait.
    with httpx.stream("GET", f"{daemon.url}/api/v1/export", timeout=60.0, trust_env=False) as answer:
        arriving = answer.iter_raw()
        received = next(arriving)

        assert daemon.terminate() == 0, daemon.output

        with contextlib.suppress(httpx.TransportError):
            received += b"".join(arriving)
    assert not received.rstrip().endswith(b'"count":5000}')
    assert "Traceback" not in daemon.output


def test_a_second_signal_ends_it_at_once(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    address = urlsplit(daemon.url)
    with socket.create_connection((address.hostname, address.port)) as half:
        half.sendall(b"POST /api/v1/memory/store HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{")
        with daemon.client() as client:
            client.store(m.StoreRequest(id="kept", content="x"))
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        while "Shutting down" not in daemon.output:
            threading.Event().wait(0.01)
        daemon.process.send_signal(signal.SIGTERM)
        started = time.monotonic()
        code = daemon.wait(5.0)
    assert time.monotonic() - started < 1.0
    assert code == 128 + signal.SIGTERM
    daemon.start()
    with daemon.client() as client:
        assert client.get("kept").content == "x"


def test_a_second_daemon_on_the_directory_is_refused_by_name_of_the_first(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    assert daemon.process is not None

    second = _serve(daemon, "--port", "0")

    assert second.returncode == 1
    assert second.stdout == ""  # it never said that it listens
    assert daemon.url in second.stderr
    assert str(daemon.process.pid) in second.stderr
    assert "Traceback" not in second.stderr
    with daemon.client() as client:
        assert client.health().status == "ok"


def test_a_lock_file_left_by_a_killed_daemon_blocks_nobody(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    daemon.kill()
    assert (daemon.storage_path / "LOCK").exists()
    daemon.start()
    assert daemon.terminate() == 0


@pytest.mark.slow
def test_a_killed_daemon_comes_back_with_the_key_of_its_log_and_says_what_is_wrong_without(
    make_daemon: MakeDaemon, tmp_path: Path
) -> None:
    key = tmp_path / "wal.key"
    on = {"T4DM_STORAGE__WAL_MAC": "hmac-sha256", "T4DM_STORAGE__WAL_KEY_FILE": str(key)}
    daemon = make_daemon(settings=on)
    missing = _serve(daemon, "--port", "0")
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    daemon.start()
    with daemon.client() as client:
        client.store(m.StoreRequest(id="kept", content="x"))
    daemon.kill()

    for name in on:
        del daemon.env[name]
    without = _serve(daemon, "--port", "0")
    key.write_bytes(b"o" * 32)
    daemon.env |= on
    wrong = _serve(daemon, "--port", "0")
    key.write_bytes(b"k" * 32)
    daemon.start()

    assert missing.returncode == without.returncode == wrong.returncode == 1
    assert f"head -c 32 /dev/urandom > {key}" in missing.stderr
    assert "000000000001.wal" in without.stderr
    assert "T4DM_STORAGE__WAL_KEY_FILE" in without.stderr
    assert "another key" in wrong.stderr
    assert "Traceback" not in missing.stderr + without.stderr + wrong.stderr
    with daemon.client() as client:
        assert client.get("kept").content == "x"
    assert daemon.terminate() == 0
    for name in on:
        del daemon.env[name]
    daemon.start()  # after a clean end all is in segments: the log may go on without
    with daemon.client() as client:
        assert client.get("kept").content == "x"


def test_a_taken_port_is_refused_and_says_who_holds_it(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    port = str(urlsplit(daemon.url).port)
    by_t4dm = _serve(daemon, "--port", port)
    assert by_t4dm.returncode == 1
    assert str(daemon.storage_path) in by_t4dm.stderr

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        by_other = _serve(daemon, "--port", str(other.getsockname()[1]))
    assert by_other.returncode == 1
    assert "python" in by_other.stderr or "another program" in by_other.stderr
    assert "--port" in by_other.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_beyond_this_machine_is_refused(make_daemon: MakeDaemon, host: str) -> None:
    refused = _serve(make_daemon(), "--host", host, "--port", "0")
    assert refused.returncode == 2
    assert "loopback" in refused.stderr


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("T4DM_PORT", "99999", "T4DM_PORT"),
        ("T4DM_STORAGE__SYNC", "sometimes", "T4DM_STORAGE__SYNC"),
        ("T4DM_EMBEDDING_MODEL", "minilmm", "minilm"),
        ("T4DM_EMBEDDING_MODEL", "no/such-model", "HF_HUB_OFFLINE"),
        ("T4DM_STORAGE_PATH", "/dev/null/store", "T4DM_STORAGE_PATH"),
        ("T4DM_API_KEYS", "secret", "has no API keys"),
    ],
)
def test_a_wrong_setting_is_named(make_daemon: MakeDaemon, name: str, value: str, says: str) -> None:
    daemon = make_daemon()
    daemon.env |= {name: value, "HF_HUB_OFFLINE": "1"}
    refused = _serve(daemon, *([] if name == "T4DM_PORT" else ["--port", "0"]))
    assert refused.returncode in (1, 2)
    assert says in refused.stderr
    assert "secret" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_another_embedder_is_refused_and_both_are_named(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(model="hashing").start()
    with daemon.client() as client:
        client.store(m.StoreRequest(id="a", content="x"))
    assert daemon.terminate() == 0

    daemon.env["T4DM_EMBEDDING_MODEL"] = "minilm"
    refused = _serve(daemon, "--port", "0")

    assert refused.returncode == 1
    for word in ("hashing", "minilm", "t4dm export", "t4dm import"):
        assert word in refused.stderr
    daemon.env["T4DM_EMBEDDING_MODEL"] = "hashing"
    daemon.start()
    with daemon.client() as client:
        assert client.get("a").content == "x"


def test_a_store_without_memories_takes_another_embedder(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(model="hashing").start()
    with daemon.client() as client:
        client.create_space("notes")
    assert daemon.terminate() == 0
    daemon.env["T4DM_EMBEDDING_MODEL"] = "minilm"
    daemon.start()
    with daemon.client() as client:
        assert [(one.name, one.dimension) for one in client.list_spaces()] == [("default", 384), ("notes", 384)]
    assert "another model from now on space=notes" in daemon.output


def test_it_answers_health_and_refuses_work_until_it_is_ready(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(model="minilm").start(wait=False)
    phases = set()
    with httpx.Client(base_url=daemon.url, trust_env=False) as http:
        while True:
            assert http.get("/healthz").status_code == 200
            ready = http.get("/readyz")
            phases.add(ready.json()["phase"])
            if ready.status_code == 200:
                break
            early = http.post("/api/v1/memory/store", json={"content": "x"})
            if early.status_code != 503:
                break  # it became ready in between
            assert early.headers["retry-after"]
            assert early.json()["error"]["code"] == "busy"
    assert phases <= {"starting", "recovering", "warming_up", "ready"}
    with daemon.client(max_retries=0) as client:
        try:
            client.wait_ready(30.0)
        except UnavailableError:
            pytest.fail("never ready")
        assert client.version().api == "1"


def test_the_data_directory_is_private(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    with daemon.client() as client:
        client.store(m.StoreRequest(content="x"))
    assert daemon.terminate() == 0
    for path in [daemon.storage_path, *daemon.storage_path.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_nothing_is_written_to_the_current_directory(make_daemon: MakeDaemon, tmp_path: Path) -> None:
    daemon = make_daemon()
    elsewhere = tmp_path / "cwd"
    elsewhere.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "t4dm", "serve", "--port", "0"], env=daemon.env, cwd=elsewhere,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if " ready " in line:
            break
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 0
    assert list(elsewhere.iterdir()) == []


def test_memory_contents_never_reach_the_log(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start("--log-level", "info")
    with daemon.client() as client:
        stored = client.store(m.StoreRequest(content="a secret sentence", metadata={"k": "secret value"}))
        client.search(m.SearchRequest(query="secret question"))
        client.update(stored.id, m.UpdateRequest(content="another secret"))
    with httpx.Client(base_url=daemon.url, trust_env=False) as http:
        http.post("/api/v1/memory/store", json={"content": "secret", "wrong": "secret"})
    assert daemon.terminate() == 0
    assert "secret" not in daemon.output


def test_the_api_description_renders_offline(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start()
    with httpx.Client(base_url=daemon.url, trust_env=False) as http:
        page = http.get("/docs")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "http://" not in page.text
        assert "https://" not in page.text
        for asset in ("/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css", "/docs/start.js", "/openapi.json"):
            assert asset in page.text or asset == "/openapi.json"
            assert http.get(asset).status_code == 200


@pytest.mark.parametrize("delay_s", [0.0, 0.15, *(pytest.param(one, marks=pytest.mark.slow) for one in (0.05, 0.3))])
def test_a_signal_during_startup_ends_it_quietly(make_daemon: MakeDaemon, delay_s: float) -> None:
    daemon = make_daemon(model="minilm").start(wait=False)
    threading.Event().wait(delay_s)
    assert daemon.terminate() == 0, daemon.output
    assert "Traceback" not in daemon.output
    daemon.start()


def test_it_listens_on_ipv6_loopback_and_names_the_holder_there(make_daemon: MakeDaemon) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    daemon = make_daemon().start("--host", "::1")
    assert daemon.url.startswith("http://[::1]:")
    with daemon.client() as client:
        assert client.health().status == "ok"
    second = _serve(daemon, "--host", "::1", "--port", str(urlsplit(daemon.url).port))
    assert second.returncode == 1
    assert str(daemon.storage_path) in second.stderr
    assert "Traceback" not in second.stderr


def test_another_loopback_address_is_its_own_host(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon().start("--host", "127.0.0.2")
    with daemon.client() as client:
        assert client.store(m.StoreRequest(content="x")).version == 1


@pytest.mark.parametrize(("name", "value"), [("T4DM_STORAGE", "foo"), ("T4DM_LOG_LEVEL", "loud")])
def test_a_malformed_setting_is_a_sentence(make_daemon: MakeDaemon, name: str, value: str) -> None:
    daemon = make_daemon()
    daemon.env[name] = value
    refused = _serve(daemon, "--port", "0")
    assert refused.returncode == 2
    assert "T4DM_" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_empty_variables_count_as_unset(make_daemon: MakeDaemon) -> None:
    daemon = make_daemon(settings={"T4DM_STORAGE_PATH": "", "T4DM_PORT": ""}).start()
    with daemon.client() as client:
        assert client.health().storage_path == str(daemon.storage_path)
