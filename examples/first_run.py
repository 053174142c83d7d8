"""Start the daemon, give it a conversation, ask it questions, and leave it serving.

This is what `make run` does. In steps:

1. If a T4DM daemon already answers on the address, use it. Otherwise start `t4dm serve` as a child process, with
   its own default settings and data directory, and wait until it is ready.
2. Import `data/conversation.jsonl` into the space `demo`. Turns that are already there are left alone.
3. Ask the first six questions of `data/questions.jsonl` and show the best answers, and how long each search took.
4. Say how to go on, and serve until Ctrl-C. With ONCE=1 in the environment, stop the daemon and exit instead.

The address is T4DM_URL, or T4DM_HOST and T4DM_PORT, or http://127.0.0.1:8765; T4DM_PORT=0 takes a free port.
Exit code: 0; 1 when something failed, or no evidence was found for more than half of the questions; the daemon's
own when it ended by itself.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any
from urllib.parse import urlsplit

from t4dm import T4DM
from t4dm.sdk import NotFoundError, T4DMError
from t4dm.sdk.models import Hit, RecordIn

DATA = Path(__file__).resolve().parent / "data"
SPACE = "demo"
BATCH = 25
QUESTIONS = 6
SHOWN = 3
SEARCHED = 10
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 30.0
LOG_LINES = 20
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy: this is our own machine


class FirstRunError(Exception):
    """Something went wrong that the message explains."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the ids of the turns that tell the answer, or told an earlier one."""

    text: str
    evidence: frozenset[str]


# The address ------------------------------------------------------------------------------------------


def address(environ: Mapping[str, str]) -> str:
    """Return the URL where the daemon is, or will be."""
    if url := environ.get("T4DM_URL"):
        return url.rstrip("/")
    host = environ.get("T4DM_HOST") or "127.0.0.1"
    port = int(environ.get("T4DM_PORT") or 8765) or _free_port(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _free_port(host: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def fetch(url: str) -> dict[str, Any] | None:
    """Return the JSON object that a GET answers, whatever its status; None when there is none."""
    try:
        with _OPENER.open(url, timeout=2) as answer:
            body = json.load(answer)
    except urllib.error.HTTPError as error:  # /readyz answers 503 with a body until it is ready
        with error:
            try:
                body = json.load(error)
            except (OSError, ValueError, http.client.HTTPException):
                return None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    return body if isinstance(body, dict) else None


def is_t4dm(url: str) -> bool:
    """Return whether a T4DM daemon answers here, ready or not."""
    health = fetch(f"{url}/healthz")
    return health is not None and health.get("status") == "ok" and "instance_id" in health


# The daemon -------------------------------------------------------------------------------------------


class Daemon:
    """`t4dm serve` as a child process whose last log lines are kept.

    It runs in a session of its own, so that Ctrl-C reaches it once, through `forward`, and not twice.
    """

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        place = urlsplit(url)
        settings = {"T4DM_PORT": str(place.port or 80), "PYTHONUNBUFFERED": "1"}
        if environ.get("T4DM_URL"):
            settings["T4DM_HOST"] = place.hostname or "127.0.0.1"
        self.url = url
        self.echo = False
        self.is_stopping = False
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "t4dm", "serve"],
            env={**environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        assert self._child.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._child.stdout,), daemon=True)
        self._reader.start()

    @property
    def code(self) -> int | None:
        """Return the exit code, 128 + n after signal n; None while it runs."""
        code = self._child.poll()
        return code if code is None or code >= 0 else 128 - code

    def _read(self, stream: IO[str]) -> None:
        for line in stream:
            self._log.append(line.rstrip())
            if self.echo:
                print(line, end="", flush=True)

    def last_words(self) -> str:
        """Return the last lines of its log, indented."""
        self._reader.join(timeout=2)
        return "\n".join(f"    {line}" for line in self._log) or "    (it said nothing)"

    def wait_ready(self) -> None:
        """Show the phase until the daemon is ready.

        Raises:
            FirstRunError: It ended, failed, or took longer than START_TIMEOUT_S.
        """
        started, phase = time.monotonic(), ""
        while True:
            if self.code is not None:
                raise FirstRunError(f"the daemon ended with code {self.code} before it was ready:\n{self.last_words()}")
            state = fetch(f"{self.url}/readyz") or {}
            elapsed = time.monotonic() - started
            if (now := str(state.get("phase", "starting"))) != phase:
                phase = now
                print(f"  {elapsed:5.1f} s  {phase.replace('_', ' ')}", flush=True)
            if state.get("ready"):
                return
            if elapsed > START_TIMEOUT_S:
                raise FirstRunError(f"the daemon was not ready after {START_TIMEOUT_S:.0f} s:\n{self.last_words()}")
            time.sleep(0.1)

    def forward(self, number: int, frame: FrameType | None = None) -> None:
        """Pass a signal on to the daemon."""
        del frame
        self.is_stopping = True
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(number)

    def wait(self) -> int:
        """Wait until the daemon ends by itself or by a signal, and return its code."""
        while self.code is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=1)
        self._reader.join(timeout=2)
        return self.code

    def stop(self) -> int:
        """Ask the daemon to stop, and return its code; kill it when it does not within STOP_TIMEOUT_S."""
        if self.code is None:
            self.forward(signal.SIGTERM)
            try:
                self._child.wait(timeout=STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                print(f"the daemon did not stop within {STOP_TIMEOUT_S:.0f} s; killing it", file=sys.stderr)
                self._child.kill()
        return self.wait()


@contextlib.contextmanager
def forwarded_signals(daemon: Daemon) -> Iterator[None]:
    """Hand SIGINT, SIGTERM and SIGHUP to the daemon while the block runs."""
    forwarded = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, daemon.forward) for number in forwarded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# The conversation -------------------------------------------------------------------------------------


def read_turns(path: Path) -> list[RecordIn]:
    """Return the turns of a JSON Lines file."""
    return [RecordIn.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def read_questions(path: Path) -> list[Question]:
    """Return the questions of a JSON Lines file."""
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return [Question(entry["question"], frozenset(entry["evidence"])) for entry in entries]


def missing(memory: T4DM, turns: Sequence[RecordIn]) -> list[RecordIn]:
    """Return the turns that are not stored yet, or with another text."""
    try:
        stored = {one.id: one.content for one in memory.get_all()}
    except NotFoundError:  # the first write makes the space
        return list(turns)
    return [turn for turn in turns if stored.get(str(turn.id)) != turn.content]


def import_turns(memory: T4DM, turns: Sequence[RecordIn]) -> None:
    """Store what is missing, in batches, and show how far it is."""
    new = missing(memory, turns)
    if not new:
        print(f"The conversation is there already: {len(turns)} turns in space {SPACE!r}.")
        return
    is_terminal = sys.stdout.isatty()
    started = time.perf_counter()
    print(f"Importing {len(new)} turns into space {SPACE!r}:")
    for at in range(0, len(new), BATCH):
        memory.add_many(new[at : at + BATCH])
        done, seconds = min(at + BATCH, len(new)), time.perf_counter() - started
        bar = "#" * (30 * done // len(new))
        line = f"  [{bar:30}] {done:4} of {len(new)} turns  {done / seconds:6.0f} turns/s"
        print(f"\r{line}" if is_terminal else line, end="" if is_terminal else "\n", flush=True)
    if is_terminal:
        print()


def ask(memory: T4DM, question: Question) -> bool:
    """Search, print the best answers, and return whether any evidence was found."""
    started = time.perf_counter()
    hits = memory.search(question.text, k=SEARCHED)
    took_ms = (time.perf_counter() - started) * 1e3
    ranks = [rank for rank, hit in enumerate(hits, 1) if hit.memory.id in question.evidence]
    verdict = f"evidence at rank {ranks[0]}" if ranks else f"no evidence among the first {SEARCHED}"
    print(f"\n? {question.text}  ({took_ms:.1f} ms, {verdict})")
    for hit in hits[:SHOWN]:
        print(_hit_line(hit, is_evidence=hit.memory.id in question.evidence))
    return bool(ranks)


def _hit_line(hit: Hit, *, is_evidence: bool) -> str:
    mark = "*" if is_evidence else " "
    return f"  {mark} {hit.score:.3f}  {hit.memory.event_time:%Y-%m-%d}  {hit.memory.content}"


def run_demo(url: str) -> bool:
    """Import the conversation, ask the questions, and return whether there was evidence for at least half of them."""
    questions = read_questions(DATA / "questions.jsonl")[:QUESTIONS]
    with T4DM(url, space=SPACE) as memory:
        import_turns(memory, read_turns(DATA / "conversation.jsonl"))
        print(f"\nThe {SHOWN} best of {SEARCHED} hits for each question.")
        print("* marks evidence: a turn that tells the answer, or what it was before.")
        found = sum([ask(memory, question) for question in questions])
    print(f"\n{found} of {len(questions)} questions have evidence among the first {SEARCHED} hits.")
    return found * 2 >= len(questions)


def next_steps(url: str) -> str:
    """Return how to go on from here."""
    health = fetch(f"{url}/api/v1/health") or {}
    python, at = shlex.quote(sys.executable), "" if url == "http://127.0.0.1:8765" else f"T4DM_URL={url} "
    argument = "" if not at else f'"{url}", '
    return f"""
T4DM serves on {url}

  curl     curl -s {url}/api/v1/memory/search -H 'Content-Type: application/json' \\
             -d '{{"query": "what did the van sell for", "space": "{SPACE}", "k": 3}}'
  Python   from t4dm import T4DM
           memory = T4DM({argument}space="{SPACE}")
           print(memory.search("what did the van sell for", k=3)[0].memory.content)
  CLI      {at}{python} -m t4dm search --space {SPACE} "what did the van sell for"
  browser  {url}/docs
  data     {health.get("storage_path", "unknown")}
"""


# ------------------------------------------------------------------------------------------------------


def use_running(url: str) -> int:
    """Run the demonstration against a daemon that somebody else started, and leave it alone."""
    print(f"A T4DM daemon already serves on {url}; using it.")
    is_good = run_demo(url)
    print(next_steps(url))
    return 0 if is_good else 1


def run_own(url: str, *, once: bool) -> int:
    """Start a daemon, run the demonstration, and serve until a signal comes (or stop it at once)."""
    print("Starting the daemon (t4dm serve):", flush=True)
    daemon = Daemon(url, os.environ)
    with forwarded_signals(daemon):
        try:
            daemon.wait_ready()
            is_good = run_demo(url)
            if once:
                code = daemon.stop()
                print(f"The daemon stopped with code {code}.")
                return code if code else 0 if is_good else 1
            print(next_steps(url))
            print("Serving until Ctrl-C. The daemon's log:", flush=True)
            daemon.echo = True
            code = daemon.wait()
            if not daemon.is_stopping:
                print(f"The daemon ended by itself with code {code}.", file=sys.stderr)
            return code
        except (FirstRunError, T4DMError) as error:
            if daemon.is_stopping:  # a signal stopped it under our hands
                return daemon.wait()
            print(f"error: {error}", file=sys.stderr)
            return daemon.code or daemon.stop() or 1
        finally:
            if daemon.code is None:
                daemon.stop()


def main() -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # names and emoji, whatever the terminal can show
    try:
        url = address(os.environ)
        if is_t4dm(url):
            return use_running(url)
    except ValueError as error:
        print(f"error: T4DM_URL or T4DM_PORT is not an address: {error}", file=sys.stderr)
        return 2
    except (T4DMError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return run_own(url, once=os.environ.get("ONCE") == "1")


if __name__ == "__main__":
    sys.exit(main())
