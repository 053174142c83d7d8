"""Break a real daemon many times and count what it loses: `python -m tests.crash.campaign [--rounds N]`.

Writers send requests through the public client and keep a model of what was acknowledged. After each crash
every memory is read back. What must hold, for each writer: all of its model is there and nothing else, except
that the one request in flight may have been carried out, wholly.
"""

from __future__ import annotations

import argparse
import functools
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from t4dm.sdk import ServerError, T4DMClient
from t4dm.sdk import models as m
from tests.crash.requests import (
    REQUESTS,
    SETTINGS,
    WRITERS,
    Counts,
    Key,
    Known,
    Request,
    State,
    Writer,
    WrongAnswerError,
    inside,
    known_of,
)
from tests.crash.strace import CALLS, Target, Tracer, spread, targets, why_not
from tests.support.daemon import Daemon


class Bed:
    """One daemon, its store, and writers that know what must be in it."""

    def __init__(self, directory: Path, *, cache: Path, seed: int, writers: int = 1) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.home.mkdir(parents=True)
        self.daemon = Daemon(self.home, cache=cache, settings=SETTINGS)
        self.counts = Counts()
        self.writers = [Writer(f"w{number}", seed * 100 + number) for number in range(writers)]
        self.random = random.Random(seed)
        self.targets: list[Target] = []
        """What the requests of a round call; filled by `prepare`."""
        self._beginning: Any = None
        self._logs = 0

    def client(self) -> T4DMClient:
        return self.daemon.client(max_retries=0)

    def tracer(self, *options: str) -> Tracer:
        assert self.daemon.process is not None
        self._logs += 1
        return Tracer(self.daemon.process.pid, self.directory / f"calls-{self._logs}.log", *options)

    def close(self) -> None:
        self.daemon.close()

    # Reading back -------------------------------------------------------------------------------------

    def read(self, client: T4DMClient) -> State:
        """Return everything that readers can see."""
        return {(memory.space, memory.id): known_of(memory) for memory in client.export(include_vectors=False)}

    def check(self, client: T4DMClient, *, live: bool = False) -> None:
        """Compare everything. `live`: without a restart in between, a request that failed must not be seen."""
        found = self.read(client)
        names = {writer.name: writer for writer in self.writers}
        shares: dict[str, dict[Key, Known]] = {name: {} for name in names}
        for key, known in found.items():
            self._expect(key[1].split(":")[0] in names, f"{key} was never stored")
            shares[key[1].split(":")[0]][key] = known
        for writer in self.writers:
            share = shares[writer.name]
            self.counts.reads_compared += len(writer.state)
            for space in {key[0] for key in (*share, *writer.state)} | set(writer.maybe):
                expected, seen = inside(writer.state, space), inside(share, space)
                request = None if live else writer.maybe.get(space)
                done = None if request is None else inside(request.change(writer.state), space)
                self._expect(seen in (expected, done), _difference(seen, expected, request))
                self.counts.in_flight_done += done is not None and seen == done
                self.counts.in_flight_absent += done is not None and seen != done
        self._search(client)

    def settle(self, client: T4DMClient) -> None:
        """After a restart: compare everything, send again what can be, and go on from what was found."""
        self.check(client)
        found = self.read(client)
        for writer in self.writers:
            own = {key: known for key, known in found.items() if key[1].startswith(f"{writer.name}:")}
            for request in writer.restarted(own):
                request.send(client)
        self.check(client)

    def _search(self, client: T4DMClient) -> None:
        """Find a few by their own text: the vectors belong to the texts."""
        for writer in self.writers:
            if not writer.state:
                continue
            (space, name), known = self.random.choice(list(writer.state.items()))
            if space in writer.maybe:
                continue
            hits = client.search(m.SearchRequest(query=known.content, space=space, k=5, touch=False)).results
            alike = {hit.memory.id for hit in hits if hit.similarity is not None and hit.similarity > 0.999}
            self._expect(name in alike, f"a search for the text of {name} does not find it")

    def _expect(self, holds: bool, message: str) -> None:
        if not holds:
            self.counts.losses += 1
            raise WrongAnswerError(f"{message}\nkept in {self.home}\n{self.daemon.output[-3000:]}")

    # Rounds -------------------------------------------------------------------------------------------

    def kill_round(self) -> None:
        """Kill -9 the daemon while all writers write, restart it, compare."""
        if self.daemon.process is None:
            self.daemon.start()
        errors: list[BaseException] = []
        enough = threading.Semaphore(0)

        def work(writer: Writer) -> None:
            try:
                with self.client() as client:
                    while not writer.maybe:
                        writer.run(client, mine[writer.name], 1)
                        enough.release()
            except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
                errors.append(error)
                enough.release()

        mine = {writer.name: Counts() for writer in self.writers}
        threads = [threading.Thread(target=work, args=(writer,)) for writer in self.writers]
        for thread in threads:
            thread.start()
        for _ in range(self.random.randrange(1, 120)):
            enough.acquire(timeout=30.0)
            if errors:
                break
        time.sleep(self.random.random() * 0.01)  # the moment is the point: anywhere within a request
        self.daemon.kill()
        for thread in threads:
            thread.join(30.0)
        for part in mine.values():
            self.counts.acknowledged += part.acknowledged
            self.counts.refused += part.refused
            self.counts.reads_compared += part.reads_compared
            self.counts.wrong_answers += part.wrong_answers
        if errors:
            raise errors[0]
        self.counts.kills += 1
        self.counts.rounds += 1
        self.daemon.start()
        with self.client() as client:
            self.settle(client)

    def prepare(self) -> None:
        """Fill the store, keep it as the beginning of every round, and note what a round's requests call."""
        self.daemon.start()
        with self.client() as client:
            self.writer.run(client, self.counts, 20)
        _ended(self.daemon)
        shutil.copytree(self.home, self.directory / "template")
        self._beginning = self.writer.snapshot()
        self.daemon.start()
        with self.client() as client, self.tracer() as tracer:
            refusals = self.writer.run(client, self.counts, REQUESTS)
            _ended(self.daemon)
            tracer.wait()
        assert not refusals
        self.targets = targets(tracer.log, self.daemon.storage_path)

    @property
    def writer(self) -> Writer:
        (only,) = self.writers
        return only

    def restore(self) -> None:
        """Put the store back to where rounds begin."""
        self.daemon.close()
        shutil.rmtree(self.home)
        shutil.copytree(self.directory / "template", self.home)
        self.writer.restore(self._beginning)

    def fault_round(self, target: Target, what: str, *, times: int = 1) -> list[ServerError]:
        """Let one system call fail or be the last, restart, compare. Return the refusals."""
        self.restore()
        self.daemon.start()
        with self.client() as client, self.tracer(*target.inject(what, times=times)) as tracer:
            refusals = self.writer.run(client, self.counts, REQUESTS)
            if "KILL" in what:
                self._end(tracer)
            else:
                self.check(client, live=True)
                if tracer.injections:
                    tracer.close()
                    self._go_on(client)
                    self.daemon.kill()
                else:  # it comes at the end
                    self._end(tracer)
        if "EINTR" in what and refusals:
            self.counts.wrong_answers += 1
            raise WrongAnswerError(f"an interrupted call is not repeated: {refusals}")
        if "ENOSPC" in what and any(refusal.status != 507 for refusal in refusals):
            self.counts.wrong_answers += 1
            raise WrongAnswerError(f"a full disk is {[(one.status, one.code, one.message) for one in refusals]}")
        self.counts.rounds += 1
        self.counts.injected += bool(tracer.injections)
        self.counts.hit[f"{what} {target.group}"] += bool(tracer.injections)
        self.daemon.start()
        with self.client() as client:
            self.settle(client)
            self.writer.run(client, self.counts, 3)
            self.check(client, live=True)
        return refusals

    def _go_on(self, client: T4DMClient) -> None:
        """Writing works again once the fault is gone, unless the daemon says that it takes nothing more."""
        refusals = self.writer.run(client, self.counts, 2)
        for refusal in refusals:
            if refusal.code != "wal_error" or "restart" not in refusal.message:
                raise WrongAnswerError(f"still refused after the fault: {refusal.code}: {refusal}")

    def _end(self, tracer: Tracer) -> None:
        """End a daemon that may have ended already, all of it traced."""
        process = self.daemon.process
        assert process is not None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        tracer.wait()
        self.daemon.wait(15.0)
        self.counts.kills += process.returncode == -signal.SIGKILL

    def recovery_round(self, name: str, nth: int) -> bool:
        """Kill the daemon at a system call of its own recovery. Return whether it came to that."""
        self.restore()
        self.daemon.start()
        with self.client() as client:
            self.writer.run(client, self.counts, REQUESTS)
        self.daemon.kill()
        before = self.daemon.process
        failure: list[BaseException] = []

        def start() -> None:
            try:
                self.daemon.start()
            except BaseException as error:  # noqa: BLE001 - it was to die
                failure.append(error)

        starting = threading.Thread(target=start)
        starting.start()
        while self.daemon.process is before:
            threading.Event().wait(0.001)
        with self.tracer("-e", f"inject={name}:signal=KILL:when={nth}") as tracer:
            starting.join(60.0)
            assert self.daemon.process is not None
            if failure:
                tracer.wait()
        self.daemon.close()
        self.counts.rounds += 1
        self.counts.kills += 2
        self.counts.injected += bool(tracer.injections)
        self.counts.hit[f"recovery {name}"] += bool(tracer.injections)
        self.daemon.start()
        with self.client() as client:
            self.settle(client)
        return bool(tracer.injections)


def _ended(daemon: Daemon) -> None:
    code = daemon.terminate()
    assert code == 0, daemon.output


def _difference(seen: State, expected: State, request: Request | None) -> str:
    lost = sorted(set(expected) - set(seen))
    added = sorted(set(seen) - set(expected))
    changed = [(key, expected[key], seen[key]) for key in seen if key in expected and seen[key] != expected[key]]
    flight = None if request is None else request.kind
    return f"missing {lost[:9]}, unexpected {added[:9]}, changed {str(changed[:3])[:1500]}, in flight {flight}"


@dataclass(frozen=True)
class Fault:
    """What is done to which calls, how often in a row (0: ever after)."""

    what: str
    calls: tuple[str, ...]
    times: int = 1

    def pick(self, found: Sequence[Target], count: int) -> list[Target]:
        """Return so many targets, spread over the kinds of calls and files."""
        return spread([target for target in found if target.name.startswith(self.calls)], count)


FAULTS = {
    "killed": Fault("signal=KILL", CALLS),
    "sync failed": Fault("error=EIO", ("fdatasync", "fsync")),
    "disk full": Fault("error=ENOSPC", ("pwrite64", "openat", "mkdir", "fallocate"), times=2),
    "disk stays full": Fault("error=ENOSPC", ("pwrite64", "openat"), times=0),
    "call failed": Fault("error=EIO", ("pwrite64", "openat", "rename", "unlink", "mkdir", "rmdir", "ftruncate")),
    "interrupted": Fault("error=EINTR", ("pwrite64", "fdatasync", "fsync")),
}
"""rename stands for renameat, unlink for unlinkat, too: names are beginnings."""


def _rounds(title: str, bed: Bed, rounds: Sequence[Callable[[], object]]) -> bool:
    """Run rounds, print what they saw, and return whether nothing was wrong."""
    began = time.monotonic()
    wrong = 0
    for number, one in enumerate(rounds, 1):
        try:
            one()
            if number % 50 == 0:
                print(f"{title}: {number} of {len(rounds)} rounds, {bed.counts.losses} losses", flush=True)
        except (AssertionError, ServerError, OSError, subprocess.TimeoutExpired) as error:
            wrong += 1
            print(f"\n{title}: {error}\n", flush=True)
            if bed.daemon.process is None or not bed.targets:
                break  # one store over all rounds: what follows would only repeat it
    bed.close()
    print(f"{title}: {len(rounds)} rounds, {wrong} wrong, {time.monotonic() - began:.0f} s\n{bed.counts.table()}")
    for name, times in sorted(bed.counts.hit.items()):
        print(f"    {name:<50}{times:>6}")
    print(flush=True)
    return wrong == 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Break a real daemon many times and count what it loses.")
    parser.add_argument("--rounds", type=int, default=200, help="kills under load, and rounds of each fault")
    parser.add_argument("--only", choices=["kill -9", "recovery", *FAULTS], help="one part of it")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    directory = Path(tempfile.mkdtemp(prefix="t4dm-crash-"))
    print(f"seed {options.seed}, in {directory}", flush=True)
    parts = [options.only] if options.only else ["kill -9", "recovery", *FAULTS]
    reason = why_not()
    good = True
    for part in parts:
        is_load = part == "kill -9"
        if not is_load and reason is not None:
            print(f"{part}: skipped: {reason}")
            continue
        bed = Bed(directory / part.replace(" ", "-"), cache=directory / "cache", seed=options.seed,
                  writers=WRITERS if is_load else 1)  # fmt: skip
        rounds: list[Callable[[], object]]
        if is_load:
            rounds = [bed.kill_round] * options.rounds
        else:
            bed.prepare()
            bed.counts = Counts()
            if part == "recovery":
                rounds = [functools.partial(bed.recovery_round, *one) for one in recoveries(options.rounds)]
            else:
                fault = FAULTS[part]
                rounds = [
                    functools.partial(bed.fault_round, target, fault.what, times=fault.times)
                    for target in fault.pick(bed.targets, options.rounds)
                ]
        good &= _rounds(part, bed, rounds)
    if good:
        shutil.rmtree(directory)
    print("nothing was lost" if good else f"see above; the stores are in {directory}")
    return 0 if good else 1


def recoveries(count: int) -> list[tuple[str, int]]:
    """Return calls of a recovery to die at."""
    names = ("pwrite64", "fsync", "unlink", "fdatasync", "rename")
    return [(names[number % len(names)], number // len(names) + 1) for number in range(count)]


if __name__ == "__main__":
    sys.exit(main())
