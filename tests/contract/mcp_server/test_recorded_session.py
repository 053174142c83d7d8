"""Client and daemon against what they said to each other over `/mcp` when it was recorded."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest

pytest.importorskip("mcp")

from tests.contract.mcp_server.recorded_session import NAME, Sender, replay
from tests.support.daemon import Daemon
from tests.support.recording import Recording, as_json, resend, same, steady

if not version("mcp").startswith("1."):
    pytest.skip("what was recorded was said by version 1 of the SDK", allow_module_level=True)


@pytest.mark.asyncio
async def test_the_client_still_says_what_it_said() -> None:
    recording = Recording.load(NAME)

    outcome, said = await replay(recording)

    assert len(said) == len(recording.exchanges)
    for now, then in zip(said, recording.exchanges, strict=True):
        assert same(steady(as_json(now)), steady(then.request)), (now, then.request)
    assert same(steady(as_json(outcome)), steady(recording.outcome))


def test_the_daemon_still_answers_what_it_answered(make_daemon: Callable[..., Daemon]) -> None:
    recording = Recording.load(NAME)

    found = resend(recording, make_daemon().start().url, Sender())

    for now, then in zip(found, recording.exchanges, strict=True):
        assert now.status == then.status, (now.request, now.answer)
        assert same(steady(told(now.answer)), steady(told(then.answer))), (now.request, now.answer, then.answer)


def told(answer: Any) -> Any:
    """Return an answer without texts that repeat its structure, or tell times in words."""
    if isinstance(answer, dict):
        structured = answer.get("structuredContent") is not None
        left_out = {"instructions", "version"} | ({"content"} if structured else set())
        return {
            key: told(one) if key != "text" or "read_at" not in str(one) else "<text>"
            for key, one in answer.items()
            if key not in left_out
        }
    return [told(one) for one in answer] if isinstance(answer, list) else answer
