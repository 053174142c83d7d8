"""A real daemon, killed at its system calls and in between, and refused by the disk.

The long form: `T4DM_CRASH_ROUNDS=50` runs so many rounds in every test here; `python -m tests.crash.campaign`
counts what it sees.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from t4dm.sdk import ServerError
from t4dm.sdk import models as m
from tests.crash import strace
from tests.crash.campaign import FAULTS, REQUESTS, WRITERS, Bed, Counts, recoveries

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

_ASKED = int(os.environ.get("T4DM_CRASH_ROUNDS", "0"))


def _rounds(few: int, many: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("rounds", [_ASKED or few, pytest.param(many, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, model_cache: Path) -> Iterator[Bed]:
    reason = strace.why_not()
    if reason is not None:
        pytest.skip(reason)
    bed = Bed(tmp_path_factory.mktemp("traced"), cache=model_cache, seed=1)
    bed.prepare()
    yield bed
    bed.close()


@pytest.fixture
def bed(prepared: Bed) -> Bed:
    prepared.counts = Counts()
    return prepared


@_rounds(3, 20)
def test_kill_9_under_load_loses_nothing_acknowledged_over_many_lives_of_one_store(
    tmp_path: Path, model_cache: Path, rounds: int
) -> None:
    bed = Bed(tmp_path, cache=model_cache, seed=2, writers=WRITERS)
    try:
        for _ in range(rounds):
            bed.kill_round()
    finally:
        bed.close()

    assert bed.counts.kills == rounds
    assert bed.counts.acknowledged > rounds


@_rounds(5, 45)
def test_killed_at_a_system_call_it_loses_nothing_acknowledged(bed: Bed, rounds: int) -> None:
    _break(bed, "killed", rounds)

    assert bed.counts.kills >= rounds * 2 // 3


@_rounds(2, 18)
@pytest.mark.parametrize("fault", ["sync failed", "disk full", "disk stays full"])
def test_what_the_disk_refuses_is_refused_and_all_else_is_kept(bed: Bed, fault: str, rounds: int) -> None:
    _break(bed, fault, rounds)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["call failed", "interrupted"])
def test_a_call_that_fails_or_is_interrupted_loses_nothing_acknowledged(bed: Bed, fault: str) -> None:
    _break(bed, fault, _ASKED or 12)


@_rounds(1, 12)
def test_killed_in_its_recovery_it_recovers_the_next_time(bed: Bed, rounds: int) -> None:
    for name, nth in recoveries(rounds):
        bed.recovery_round(name, nth)

    assert bed.counts.injected


def test_after_a_failed_sync_of_the_log_it_takes_no_write_and_says_so_until_it_is_restarted(bed: Bed) -> None:
    target = next(one for one in bed.targets if one.group == "fdatasync wal/#.wal")
    bed.restore()
    bed.daemon.start()

    with bed.client() as client, bed.tracer(*target.inject("error=EIO")) as tracer:
        refusals: list[ServerError] = []
        for _ in range(REQUESTS):
            refusals = refusals or bed.writer.run(client, bed.counts, 1)
        (space,) = bed.writer.maybe
        bed.check(client, live=True)
        tracer.close()
        with pytest.raises(ServerError) as still:
            client.store(m.StoreRequest(space=space, content="after it"))
        bed.check(client, live=True)
    bed.daemon.kill()

    assert (refusals[0].status, refusals[0].code) == (500, "wal_error")
    assert "read-only" in refusals[0].message
    assert (still.value.status, still.value.code) == (500, "wal_error")
    assert "restart" in still.value.message
    bed.daemon.start()
    with bed.client() as client:
        bed.settle(client)
        bed.writer.run(client, bed.counts, 3)
        bed.check(client, live=True)


def test_while_the_log_cannot_grow_every_write_is_507_and_then_it_is_taken_again(bed: Bed) -> None:
    target = next(one for one in bed.targets if one.group == "pwrite64 wal/#.wal")
    bed.restore()
    bed.daemon.start()

    with bed.client() as client, bed.tracer(*target.inject("error=ENOSPC", times=0)) as tracer:
        space = Path(target.path).parts[-3]
        assert space == "1"  # `default`, the first one made
        refusals = []
        for number in range(3):
            with pytest.raises(ServerError) as refused:
                client.store(m.StoreRequest(id=f"{bed.writer.name}:refused-{number}", content="x"))
            refusals.append((refused.value.status, refused.value.code))
        bed.check(client, live=True)
        tracer.close()
        bed.writer.run(client, bed.counts, 5)
        bed.check(client, live=True)
    bed.daemon.kill()

    assert refusals == [(507, "storage_full")] * 3
    bed.daemon.start()
    with bed.client() as client:
        bed.check(client)


@pytest.mark.parametrize("group", ["openat wal/#.wal", "mkdir spaces/#", "openat store/CATALOG.new"])
def test_a_file_that_cannot_be_made_because_the_disk_is_full_is_507(bed: Bed, group: str) -> None:
    target = next(one for one in bed.targets if one.group == group)

    refusals = bed.fault_round(target, "error=ENOSPC")

    assert [(one.status, one.code) for one in refusals] == [(507, "storage_full")]


def test_a_write_is_not_acknowledged_before_the_log_is_synced(bed: Bed) -> None:
    delay_s = 0.1
    bed.restore()
    bed.daemon.start()
    taken_s = []

    with bed.client() as client, bed.tracer("-e", f"inject=fdatasync:delay_enter={round(delay_s * 1e6)}"):
        for number in range(5):
            began = time.monotonic()
            client.store(m.StoreRequest(id=f"slow-{number}", content="x"))
            taken_s.append(time.monotonic() - began)

    assert min(taken_s) >= delay_s


def _break(bed: Bed, fault: str, rounds: int) -> None:
    one = FAULTS[fault]
    for target in one.pick(bed.targets, rounds):
        bed.fault_round(target, one.what, times=one.times)
    assert bed.counts.injected >= rounds * 2 // 3  # of files that are made in the background, not all come again
