"""`t4dm serve`: bind, serve, and go down in order.

On SIGTERM or SIGINT: stop accepting, refuse what waits, let requests finish, end what takes long, flush, release
the lock, exit 0, all within five seconds. A second signal ends the process at once; nothing acknowledged is lost,
for it is in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

import httpx
import psutil
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_settings import SettingsError

from t4dm._version import __version__
from t4dm_daemon.api.app import create_app
from t4dm_daemon.config import Settings, unknown_variables
from t4dm_daemon.core.errors import DaemonError
from t4dm_daemon.observability import logs
from t4dm_daemon.runtime import Runtime

logger = logging.getLogger(__name__)

_LAST_RESORT_S: Final = 4.4
"""The whole way down must take less than five seconds, whatever a request under way is doing."""
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
SWITCH_INTERVAL_S: Final = 0.0005
"""How long a thread may keep the interpreter from another that wants it. A request gives it up many times (sockets,
disk, products of vectors) and waits as long each time while an import computes; Python's own 5 ms are for programs
whose threads do not wait for each other. Measured in `python -m tests.bench http`, "Beside a load"."""


class DaemonServer(uvicorn.Server):
    """A uvicorn server that says when it answers, and whose signals mean: first go down in order, then at once."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, runtime: Runtime, announcement: str) -> None:
        super().__init__(config)
        self._app = app
        self._runtime = runtime
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            print(self._announcement, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        patience_s = self.config.timeout_graceful_shutdown
        assert patience_s is not None
        self._app.state.doors.stop()
        self._app.state.mcp.stop()
        # Half of the time for requests to finish; the other half for those that are interrupted to answer.
        loop = asyncio.get_running_loop()
        interrupting = loop.call_later(patience_s / 2, loop.run_in_executor, None, self._runtime.interrupt)
        await super().shutdown(sockets)
        interrupting.cancel()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - given by the system
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True
        timer = threading.Timer(_LAST_RESORT_S, _give_up)
        timer.daemon = True
        timer.start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {one: signal.signal(one, self.handle_exit) for one in _SIGNALS}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


def _give_up() -> None:
    logger.warning("not everything ended in time; leaving it, every acknowledged write is in the log")
    os._exit(0)


def _complain(message: str) -> None:
    print(f"t4dm: {message}", file=sys.stderr, flush=True)


def serve(*, announce_json: bool = False, **overrides: Any) -> int:
    """Run the daemon until it is told to stop; return the exit code of the process.

    Args:
        announce_json: Say where it listens as one JSON line instead of a sentence.
        **overrides: Settings that were given as flags.
    """
    try:
        settings = Settings(**overrides)
    except ValidationError as error:
        for fact in error.errors():
            name = "T4DM_" + "__".join(str(part) for part in fact["loc"]).upper()
            _complain(f"{name}: {fact['msg']} (given: {fact['input']!r})")
        return 2
    except SettingsError as error:
        _complain(f"{error}; groups are set like T4DM_STORAGE__SYNC=always")
        return 2
    logs.configure(level=settings.log_level, style=settings.log_format)
    for sentence in unknown_variables(os.environ):
        logger.warning(sentence)
    if os.environ.get("T4DM_API_KEYS"):
        _complain(
            "T4DM_API_KEYS is set, but this version has no API keys: it would serve everyone on this machine. "
            "Unset it to start without keys"
        )
        return 2
    if not _is_loopback(settings.host):
        _complain(
            f"refusing to listen on {settings.host}: only loopback addresses are allowed while there are no API keys; "
            "use 127.0.0.1, and an SSH tunnel to reach it from elsewhere"
        )
        return 2
    try:
        listener = _bind(settings.host, settings.port)
    except OSError as error:
        _complain(_who_holds(settings.host, settings.port, error))
        return 1
    return _run(settings, listener, announce_json=announce_json)


def _run(settings: Settings, listener: socket.socket, *, announce_json: bool) -> int:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    failures: list[BaseException] = []

    def stop(error: BaseException) -> None:
        failures.append(error)
        server.should_exit = True

    facts = {"url": url, "pid": os.getpid(), "store": str(settings.store), "version": __version__}
    sentence = f"T4DM {__version__} listening on {url} (store: {settings.store})"
    runtime = Runtime(settings)
    app = create_app(runtime, owner={"url": url, "kind": "daemon"}, on_failure=stop)
    server = DaemonServer(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="websockets-sansio",
            timeout_graceful_shutdown=max(1, int(settings.server.shutdown_s) - 1),
        ),
        app,
        runtime,
        json.dumps({"ok": True, "data": facts}) if announce_json else sentence,
    )
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    for one in _SIGNALS:  # before anyone can know that it runs
        signal.signal(one, server.handle_exit)
    with listener:
        server.run(sockets=[listener])
    for error in failures:
        _complain(error.message if isinstance(error, DaemonError) else f"{type(error).__name__}: {error}")
    return 1 if failures else 0


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(1024)
        listener.set_inheritable(True)
    except OSError:
        listener.close()
        raise
    return listener


def _who_holds(host: str, port: int, error: OSError) -> str:
    """Return a sentence that says who listens on the port, and what to do."""
    beginning = f"cannot listen on {host}:{port}: {error.strerror}"
    try:
        shown = f"[{host.strip('[]')}]" if ":" in host else host
        answer = httpx.get(f"http://{shown}:{port}/api/v1/health", timeout=1.0, trust_env=False).json()
        return (
            f"{beginning}; the T4DM daemon with pid {answer['pid']} already serves {answer['storage_path']} there. "
            "Use it, stop it, or choose another port with --port (0 takes a free one)"
        )
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        pass  # it is not T4DM; the system may know the process
    holder = "another program"
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                holder = f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
                break
    return f"{beginning}; {holder} holds it. Choose another port with --port (0 takes a free one)"
