"""A real daemon in a child process, on a free port of 127.0.0.1, with a directory of its own."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from t4dm.sdk import T4DMClient

START_TIMEOUT_S = 60.0
"""Loading the model and building its graph once takes seconds on two busy cores."""
_LISTENING = re.compile(r"listening on (http://\S+)")


class Daemon:
    """Start, stop, kill and restart one daemon."""

    def __init__(
        self, home: Path, *, cache: Path, model: str = "hashing", settings: Mapping[str, str] | None = None
    ) -> None:
        self.home = home
        self.settings = dict(settings or {})
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("T4DM_")},
            "T4DM_HOME": str(home),
            "T4DM_CACHE_PATH": str(cache),
            "T4DM_EMBEDDING_MODEL": model,
            **self.settings,
        }
        self.url = ""
        self.process: subprocess.Popen[str] | None = None
        self._lines: list[str] = []
        self._reader: threading.Thread | None = None

    @property
    def storage_path(self) -> Path:
        return self.home / "store"

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def start(self, *arguments: str, wait: bool = True) -> Daemon:
        """Run `t4dm serve -p 0`; return once it is ready (or, with `wait=False`, once it listens)."""
        # Of this life alone: the reader of one that was killed may still be at its last lines.
        self.url, self._lines, listening = "", [], threading.Event()
        command = [sys.executable, "-m", "t4dm", "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(
            command, env=self.env, cwd=self.home, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._reader = threading.Thread(target=self._read, args=(self.process, self._lines, listening), daemon=True)
        self._reader.start()
        if not listening.wait(START_TIMEOUT_S) or not self.url:
            raise AssertionError(f"the daemon did not start:\n{self.output}")
        if wait:
            self.wait_ready()
        return self

    def _read(self, process: subprocess.Popen[str], lines: list[str], listening: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if found := _LISTENING.search(line):
                self.url = found.group(1)
                self.env["T4DM_URL"] = self.url
                listening.set()
        process.stdout.close()
        listening.set()

    def wait_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        pause = threading.Event()
        with httpx.Client(trust_env=False) as http:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.output}")
                with contextlib.suppress(httpx.TransportError):  # it may end meanwhile: the next turn tells
                    if http.get(f"{self.url}/readyz").status_code == 200:
                        return
                pause.wait(0.05)
        raise AssertionError(f"the daemon did not become ready:\n{self.output}")

    def client(self, **options: object) -> T4DMClient:
        return T4DMClient(self.url, **options)  # type: ignore[arg-type]

    def terminate(self, timeout_s: float = 10.0) -> int:
        """Send SIGTERM and return the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """Send SIGKILL: no chance to flush anything."""
        assert self.process is not None
        self.process.kill()
        self.wait(10.0)

    def wait(self, timeout_s: float) -> int:
        assert self.process is not None
        code = self.process.wait(timeout_s)
        if self._reader is not None:
            self._reader.join(10.0)
        return code

    def close(self) -> None:
        if self.process is not None:
            self.kill()  # does nothing to one that has ended

    def run_cli(
        self, *arguments: str, stdin: str | None = None, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run `t4dm …` against this daemon, as a user would."""
        return subprocess.run(
            [sys.executable, "-m", "t4dm", *arguments],
            env=self.env, cwd=self.home, text=True, input=stdin, capture_output=True, timeout=timeout_s, check=False,
        )  # fmt: skip
