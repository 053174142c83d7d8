"""Run each framework's tests in an environment that has that extra and no other, and write down the versions.

    python -m tests.contract.frameworks.matrix [EXTRA …]      (`make test-frameworks`)

The table in `docs/frameworks/README.md` between its two marks is written by this, from what pip installed and what
pytest counted; the column "together" is the environment that this runs in, which `make dev EXTRAS=all` makes. A test
of another framework is skipped where that is missing, so the counts also show that each stands alone.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = ROOT / "docs" / "frameworks" / "README.md"
BEGIN, END = "<!-- matrix -->", "<!-- end of matrix -->"


@dataclass(frozen=True)
class Framework:
    """An extra, what its tests need beside it, which distributions to name, and which tests are its own."""

    extra: str
    needs: tuple[str, ...]
    distributions: tuple[str, ...]
    tests: str


FRAMEWORKS: Final = (
    Framework(
        "langchain",
        ("langchain-tests>=1.1,<2",),
        ("langchain", "langchain-core", "langchain-classic", "langgraph", "langgraph-checkpoint"),
        "langchain or langgraph",
    ),
    Framework("llamaindex", (), ("llama-index-core",), "llamaindex"),
    Framework("autogen", ("autogen-ext>=0.7.5,<0.8",), ("autogen-core", "autogen-agentchat"), "autogen"),
    Framework("crewai", (), ("crewai",), "crewai"),
    Framework("anthropic", (), ("anthropic",), "anthropic"),
)


@dataclass(frozen=True)
class Row:
    framework: Framework
    versions: str
    python: str
    alone: str
    together: str


def main(names: Sequence[str]) -> int:
    unknown = set(names) - {one.extra for one in FRAMEWORKS}
    if unknown:
        print(f"no extra is called {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    rows = []
    for one in FRAMEWORKS:
        if names and one.extra not in names:
            continue
        with tempfile.TemporaryDirectory(prefix=f"t4dm-{one.extra}-") as directory:
            python = _environment(one, Path(directory))
            alone = _tests(python, one)
            versions = _versions(python, one)
        rows.append(Row(one, versions, sys.version.split()[0], alone, _tests(Path(sys.executable), one)))
        print(rows[-1], flush=True)
    if len(rows) == len(FRAMEWORKS):
        _write(rows)
    return 1 if any("failed" in row.alone + row.together or "error" in row.alone + row.together for row in rows) else 0


def _environment(one: Framework, directory: Path) -> Path:
    """Make a virtual environment with one extra; return its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", directory], check=True)
    python = directory / "bin" / "python"
    project = f"{ROOT}[daemon,test,{one.extra}]"
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*command, "--constraint", ROOT / "constraints.txt", "--editable", project, *one.needs], check=True, cwd=ROOT
    )
    return python


def _tests(python: Path, one: Framework) -> str:
    """Run the framework's tests, slow ones too; return pytest's own count."""
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "tests/contract/frameworks", "tests/unit/integrations",
         "tests/contract/test_public_names.py", "-m", "", "-k", one.tests, "-p", "no:cacheprovider"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, check=False,
    )  # fmt: skip
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else done.stderr.strip()
    if done.returncode:
        print(done.stdout[-5000:], done.stderr[-2000:], sep="\n", file=sys.stderr)
    return re.sub(r" in [\d.]+s.*|, \d+ deselected|=+ ?", "", last).strip()


def _versions(python: Path, one: Framework) -> str:
    program = f"import json, importlib.metadata as m; print(json.dumps([m.version(n) for n in {one.distributions!r}]))"
    found = json.loads(subprocess.run([python, "-c", program], check=True, capture_output=True, text=True).stdout)
    return ", ".join(f"{name} {version}" for name, version in zip(one.distributions, found, strict=True))


def _write(rows: Sequence[Row]) -> None:
    lines = [
        f"Tested on {datetime.now(UTC):%Y-%m-%d} with Python {rows[0].python}, by `make test-frameworks`:",
        "",
        "| extra | versions | alone | together with all others |",
        "|---|---|---|---|",
        *(f"| `t4dm[{row.framework.extra}]` | {row.versions} | {row.alone} | {row.together} |" for row in rows),
    ]
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + after, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
