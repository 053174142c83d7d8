"""The promise that nothing leaves the machine, held against the libraries below us too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# What CI services set; onnxruntime reports nothing where it sees one, so the test must hide them.
CI_MARKS = re.compile(
    r"^(CI|TF_BUILD|CONTINUOUS_INTEGRATION|BUILD_|GITHUB_|GITLAB_|TRAVIS|CIRCLECI|APPVEYOR|TEAMCITY|JENKINS|"
    r"CODEBUILD|BUILDKITE|BITBUCKET|DRONE|AZURE|ORT_|HF_|DO_NOT_TRACK|XDG_)"
)
INET = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')

PROGRAM = """
import sys, threading
from pathlib import Path

LOOPBACK = {"127.0.0.1", "::1", "localhost", None, ""}

def watch(event, arguments):
    host = None
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    if host not in LOOPBACK:
        print("reached for", event, arguments[:2], flush=True)

sys.addaudithook(watch)
from t4dm import T4DM

with T4DM(storage_path=sys.argv[1], settings={"cache_path": sys.argv[2], "embedding_model": "minilm"}) as memory:
    memory.add("My sister is allergic to peanuts.")
    assert len(memory.search("Which allergies are there?", k=1)) == 1
    threading.Event().wait(3.0)  # reports are sent in the background; onnxruntime's first look-up takes under 1 s
print("done", flush=True)
"""


def test_embedded_mode_with_the_default_model_reaches_for_nothing_and_leaves_home_alone(tmp_path: Path) -> None:
    """A process without any sign of CI adds, searches, and touches neither the network nor HOME.

    Python's own look-ups and connections are seen by an audit hook. Those of native code are seen by strace, if
    it is installed and allowed to trace; where it is not, only the audit hook and the empty HOME speak.
    """
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not CI_MARKS.match(name)} | {"HOME": str(home)}
    trace = tmp_path / "trace"
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "store"), str(tmp_path / "cache")]

    done = subprocess.run(
        [*_strace(trace), *command], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\n"
    assert [str(path.relative_to(home)) for path in home.rglob("*")] == []
    calls = trace.read_text(errors="replace").splitlines() if trace.exists() else []
    assert [line for line in calls if _leaves_the_machine(line)] == []


def _strace(trace: Path) -> list[str]:
    """Return what to put before a command to trace it; nothing where that is not possible."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "-f", "-o", os.devnull, "true"], capture_output=True).returncode:
        return []
    return [strace, "-f", "-e", "trace=connect,sendto,sendmsg", "-o", str(trace)]


def _leaves_the_machine(line: str) -> bool:
    """Whether a traced call names another machine, or a resolver on this one (port 53)."""
    named = INET.search(line)
    if named is None:
        return False
    port, address = named.groups()
    return port == "53" or not (address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1"))
