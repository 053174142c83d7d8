"""Attach strace to a running process: see its system calls, let one of them fail, or make it the last.

strace counts calls (`when=N`) by thread and by call, and only those that its path filter lets through. A target
is therefore a call, the file it is about, and which time a thread does that to that file; a counting run finds
the targets, for the same requests to the same store touch the same files again.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

CALLS = (
    "pwrite64", "fdatasync", "fsync", "rename", "renameat", "renameat2", "unlink", "unlinkat", "openat", "mkdir",
    "rmdir", "ftruncate", "fallocate",
)  # fmt: skip
"""What changes a directory of files. Of openat, only what may create a file counts."""
TIMEOUT_S = 20.0

_LINE = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<arguments>.*)")
_DESCRIPTOR = re.compile(r"\d+<(?P<path>/[^>]*)>")
_PATH = re.compile(r'"(?P<path>/[^"]*)"')


@dataclass(frozen=True, slots=True)
class Target:
    """The `time`-th call of this name by one thread on this file, from 1."""

    name: str
    path: str
    time: int

    @property
    def group(self) -> str:
        """What kind of call this is: its name and that of its file, numbers left out."""
        return f"{self.name} {re.sub(r'[0-9]+', '#', '/'.join(self.path.rsplit('/', 2)[-2:]))}"

    def inject(self, what: str, *, times: int = 1) -> list[str]:
        """Return strace's arguments for `what` (`error=EIO`, `signal=KILL`, …) here; `times` 0: ever after."""
        when = f"{self.time}+" if times == 0 else f"{self.time}..{self.time + times - 1}"
        return ["-P", self.path, "-e", f"inject={self.name}:{what}:when={when}"]


@functools.cache
def why_not() -> str | None:
    """Return why nothing can be traced here, None if it can."""
    if shutil.which("strace") is None:
        return "strace is not installed (apt-get install strace)"
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with Tracer(process.pid, Path("/dev/null")):
            return None
    except PermissionError as error:
        return f"strace may not attach to a process here: {error}"
    finally:
        process.communicate(b"\n", TIMEOUT_S)


class Tracer:
    """Trace a process and all its threads until `close`, which lets it go on unharmed."""

    def __init__(self, pid: int, log: Path, *options: str) -> None:
        self.log = log
        self._process = subprocess.Popen(
            ["strace", "-f", "-y", "-o", str(log), "-e", f"trace={','.join(CALLS)}", *options, "-p", str(pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        if "attached" not in line:
            self.close()
            raise PermissionError(line.strip())

    def wait(self) -> None:
        """Wait until the process has ended, and the log is complete.

        Of a process that is being killed, strace must not let go: it would wait for the first thread, which
        stays until strace has seen all others end.
        """
        try:
            self._process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise

    def close(self) -> None:
        """Let the process go, and complete the log."""
        if self._process.poll() is None:
            self._process.terminate()
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def injections(self) -> int:
        """Return how many calls were made to fail, or were the last one. Complete after `close`."""
        text = self.log.read_text(errors="replace")
        return text.count("(INJECTED)") + ("+++ killed by SIGKILL" in text)


def targets(log: Path, root: Path) -> list[Target]:
    """Return every call in a log that is about a file below `root`, in order."""
    seen: Counter[tuple[str, str, str]] = Counter()
    found = []
    for thread, name, path in _calls(log):
        if path.startswith(f"{root}/"):
            seen[thread, name, path] += 1
            found.append(Target(name, path, seen[thread, name, path]))
    return found


def _calls(log: Path) -> Iterator[tuple[str, str, str]]:
    for line in log.read_text(errors="replace").splitlines():
        call = _LINE.match(line)
        if call is None or (call["name"] == "openat" and "O_CREAT" not in line):
            continue
        file = _DESCRIPTOR.match(call["arguments"]) or _PATH.search(call["arguments"])
        if file is not None:
            yield call["thread"], call["name"], file["path"].removesuffix(" (deleted)")


def spread(found: Sequence[Target], count: int) -> list[Target]:
    """Return so many targets of as many groups as can be: of each the first, then the last, the middle, the rest."""
    groups: dict[str, list[Target]] = {}
    for one in dict.fromkeys(found):
        groups.setdefault(one.group, []).append(one)
    orders = [_outside_in(members) for members in groups.values()]
    if count < len(orders):
        return [orders[number * len(orders) // count][0] for number in range(count)]
    turns = range(max(map(len, orders), default=0))
    return [order[turn] for turn in turns for order in orders if turn < len(order)][:count]


def _outside_in(members: list[Target]) -> list[Target]:
    return list(dict.fromkeys([members[0], members[-1], members[len(members) // 2], *members]))
