"""Both sides of every adapter against what they said to each other when it was recorded."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest

from tests.contract.frameworks.recorded import SCENARIOS, scenario
from tests.support.daemon import Daemon
from tests.support.recording import Recording, as_json, replay, resend, same, steady


@pytest.fixture(params=SCENARIOS)
def name(request: pytest.FixtureRequest) -> str:
    module = SCENARIOS[request.param]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    return str(request.param)


def test_the_adapter_still_asks_what_it_asked(name: str) -> None:
    recording = Recording.load(name)

    outcome, found = replay(scenario(name), recording)

    for now, then in zip(found, recording.exchanges, strict=True):
        assert (now.method, steady(now.target)) == (then.method, steady(then.target))
        assert same(steady(as_json(now.request)), steady(then.request)), (now.target, now.request, then.request)
    assert same(steady(outcome), steady(recording.outcome)), outcome


def test_the_daemon_still_answers_what_it_answered(name: str, make_daemon: Callable[..., Daemon]) -> None:
    recording = Recording.load(name)

    found = resend(recording, make_daemon().start().url)

    for now, then in zip(found, recording.exchanges, strict=True):
        assert now.status == then.status, (now.target, now.answer)
        assert same(steady(now.answer), steady(then.answer)), (now.target, now.answer, then.answer)
