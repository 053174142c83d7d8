"""The recorded scenarios: `python -m tests.contract.frameworks.recorded` records them anew (`make record`)."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.daemon import Daemon
from tests.support.recording import Play, record

SCENARIOS: Final = {
    "langchain": "langchain",
    "langgraph": "langgraph",
    "llamaindex": "llama_index",
    "autogen": "autogen_core",
    "crewai": "crewai",
    "mem0": "mem0",
    "openai": "openai",
    "langchain_openai": "langchain_openai",
    "anthropic": "anthropic",
    "mcp": "mcp",
}
"""Name of each scenario, and the module without which it cannot be played."""

_MEM0: Final = "tests.contract.clients.mem0.scenario"
_ELSEWHERE: Final = {"mem0": _MEM0, "mem0-1.0.11": _MEM0, "mem0-0.1.118": _MEM0}
"""Scenarios that are not `scenario_<name>.py` here. Older clients are recorded when they come first on the path."""


def scenario(name: str) -> Play:
    """Return the function `play` of a scenario."""
    place = _ELSEWHERE.get(name, f"tests.contract.frameworks.scenario_{name}")
    play: Play = importlib.import_module(place).play
    return play


def main(names: Sequence[str]) -> None:
    for name in names or SCENARIOS:
        with tempfile.TemporaryDirectory() as directory:
            home = Path(directory) / "home"
            home.mkdir()
            daemon = Daemon(home, cache=Path(directory) / "cache", model="hashing").start()
            try:
                recording = record(scenario(name), daemon.url)
            finally:
                daemon.close()
        recording.save(name)
        print(f"{name}: {len(recording.exchanges)} exchanges")


if __name__ == "__main__":
    main(sys.argv[1:])
