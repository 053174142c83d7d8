"""What older clients of Mem0 and the daemon said to each other: the daemon still answers as it did.

To record anew, with that version first on the path: `python -m tests.contract.frameworks.recorded mem0-1.0.11`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.daemon import Daemon
from tests.support.recording import Recording, resend, same, steady


@pytest.mark.parametrize("version", ["1.0.11", "0.1.118"])
def test_the_daemon_still_answers_older_clients_as_it_did(version: str, make_daemon: Callable[..., Daemon]) -> None:
    recording = Recording.load(f"mem0-{version}")

    found = resend(recording, make_daemon().start().url)

    assert len(found) > 25
    for now, then in zip(found, recording.exchanges, strict=True):
        assert now.status == then.status, (now.target, now.answer)
        assert same(steady(now.answer), steady(then.answer)), (now.target, now.answer, then.answer)
