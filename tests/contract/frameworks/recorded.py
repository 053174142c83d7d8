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
    "mcp": "mcp",
}
"""Name of each scenario, and the module without which it cannot be played."""


def scenario(name: str) -> Play:
    """Return the function `play` of `scenario_<name>.py`."""
    play: Play = importlib.import_module(f"tests.contract.frameworks.scenario_{name}").play
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
