"""Write what is generated from the code: `schemas/*.json` and `docs/settings.md`.

python -m t4dm_daemon.api.schema [--check] ROOT
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from t4dm.tools import anthropic_tools, openai_responses_tools, openai_tools
from t4dm_daemon.api.app import create_app
from t4dm_daemon.config import Settings, settings_page
from t4dm_daemon.runtime import Runtime


def generated() -> dict[str, str]:
    """Return the text of each generated file by its path in the project."""
    document = create_app(Runtime(Settings())).openapi()
    return {
        "schemas/openapi.json": _json(document, sort_keys=True),
        # In the order in which a model is shown them.
        "schemas/openai_tools.json": _json(openai_tools()),
        "schemas/openai_responses_tools.json": _json(openai_responses_tools()),
        "schemas/anthropic_tools.json": _json(anthropic_tools()),
        "docs/settings.md": settings_page(),
    }


def _json(value: Any, *, sort_keys: bool = False) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=sort_keys) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, nargs="?", default=Path())
    parser.add_argument("--check", action="store_true", help="fail when a file is not current, and write nothing")
    arguments = parser.parse_args()
    stale = [name for name, text in generated().items() if _text(arguments.root / name) != text]
    if arguments.check:
        for name in stale:
            print(f"{name} is not current: run 'make schemas'", file=sys.stderr)
        return 1 if stale else 0
    for name, text in generated().items():
        path = arguments.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"{name}: {'written' if name in stale else 'unchanged'}")
    return 0


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
