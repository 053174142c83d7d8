"""What importing costs: which modules it loads."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "numpy",
    "msgpack",
    "orjson",
    "torch",
    "faiss",
    "onnxruntime",
    "fastapi",
    "starlette",
    "uvicorn",
    "t4dm_daemon",
}


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after a statement."""
    script = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def tops(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


def test_importing_the_package_loads_neither_http_nor_models() -> None:
    assert not tops(loaded_by("import t4dm")) & (HEAVY | {"httpx", "pydantic", "typer", "rich"})


def test_importing_the_models_loads_no_http() -> None:
    assert not tops(loaded_by("from t4dm.sdk import RecordIn, T4DMError")) & (HEAVY | {"httpx", "typer", "rich"})


def test_the_tools_need_no_sdk_of_a_language_model() -> None:
    assert not tops(loaded_by("from t4dm.tools import openai_tools")) & (HEAVY | {"openai", "anthropic", "typer"})


@pytest.mark.parametrize("statement", ["from t4dm import T4DM; T4DM()", "from t4dm import AsyncT4DM; AsyncT4DM()"])
def test_the_client_needs_only_the_base_installation(statement: str) -> None:
    assert not tops(loaded_by(statement)) & (HEAVY | {"typer"})


def test_the_command_lines_help_loads_no_http_and_no_daemon() -> None:
    script = "import sys\nsys.argv = ['t4dm', '--help']\nfrom t4dm.__main__ import main\nmain()"

    modules = loaded_by(script)

    assert not tops(modules) & ((HEAVY | {"httpx", "pydantic"}) - {"t4dm_daemon"})
    assert {module for module in modules if module.startswith("t4dm_daemon.")} == {
        "t4dm_daemon.cli",
        *(
            f"t4dm_daemon.cli.{name}"
            for name in ("app", "arguments", "command", "finding", "links", "maintenance", "memories", "operations")
        ),
        *(f"t4dm_daemon.cli.{name}" for name in ("mcp", "namespaces", "options", "output", "progress", "recall")),
        "t4dm_daemon.cli.importing",
        *(f"t4dm_daemon.cli.importing.{name}" for name in ("app", "source_command", "sources", "stores")),
        "t4dm_daemon.cli.sessions",
        "t4dm_daemon.cli.transfer",
    }
