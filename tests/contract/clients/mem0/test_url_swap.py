"""One program, two URLs: Mem0's documented answers, and a daemon. It sees the same keys and types at both."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon

EXAMPLE = Path(__file__).parents[4] / "examples" / "clients" / "mem0_url_swap.py"
DOCUMENTED = json.loads((Path(__file__).parent / "fixtures" / "documented_answers.json").read_text())["answers"]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mem0") is None, reason="mem0ai is not installed")


class _Documented(BaseHTTPRequestHandler):
    """Answers what is documented, whatever is asked."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = DOCUMENTED.get(f"{self.command} {self.path.partition('?')[0]}")
        body = json.dumps(answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815  # the names that http.server looks for

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _documented_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Documented) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _run(url: str, tmp_path: Path) -> dict[str, Any]:
    env = {
        **os.environ,
        "MEM0_URL": url,
        "MEM0_API_KEY": "any",
        "MEM0_TELEMETRY": "False",
        "MEM0_DIR": str(tmp_path),
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, EXAMPLE], env=env, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    return {name: answer for line in done.stdout.splitlines() for name, answer in json.loads(line).items()}


def _differences(documented: Any, found: Any, where: str) -> Iterator[str]:
    """Yield what is documented and is missing or of another type. (An answer may have more than is documented.)"""
    if isinstance(documented, dict) and isinstance(found, dict) and where.rpartition(".")[2] != "metadata":
        for key, value in documented.items():
            if key in found:
                yield from _differences(value, found[key], f"{where}.{key}")
            else:
                yield f"{where}.{key} is missing"
    elif isinstance(documented, list) and isinstance(found, list):
        if documented and isinstance(documented[0], dict):
            assert found, f"{where} is empty"
            for one in found:
                yield from _differences(documented[0], one, f"{where}[]")
    elif type(documented) is not type(found):
        yield f"{where} is {found!r}, documented as {documented!r}"


def test_the_same_program_sees_the_same_keys_and_types_at_both_urls(plain_daemon: Daemon, tmp_path: Path) -> None:
    with _documented_server() as url:
        documented = _run(url, tmp_path)
    found = _run(plain_daemon.url, tmp_path)

    assert documented.keys() == found.keys()
    differences = list(_differences(documented, found, ""))
    # The documented event is an ADD; the one after it has an old memory.
    assert [one for one in differences if ".old_memory is" not in one] == []
    assert found["search"]["results"][0]["memory"] in (
        "I'm a vegetarian. I live in Lisbon.",
        "The user is a vegetarian",
    )


def test_the_comparison_notices_what_is_missing_or_of_another_type() -> None:
    documented = {"results": [{"id": "a", "score": 0.5, "metadata": {"a": 1}}]}

    assert list(_differences(documented, {"results": [{"id": 1, "metadata": {}}]}, "")) == [
        ".results[].id is 1, documented as 'a'",
        ".results[].score is missing",
    ]
