from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from t4dm_daemon import embedding

REPORTING = {"onnxruntime", "sentence_transformers"}


def test_a_library_is_imported_with_its_telemetry_off() -> None:
    program = (
        "import os\n"
        "from t4dm_daemon.embedding.silent_import import import_silently\n"
        "assert import_silently('colorsys').__name__ == 'colorsys'\n"
        "print(*(os.environ[name] for name in"
        " ('ORT_DISABLE_TELEMETRY', 'HF_HUB_DISABLE_TELEMETRY', 'DO_NOT_TRACK')))\n"
    )

    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)

    assert done.stdout.split() == ["1", "1", "1"]


def test_no_module_imports_a_reporting_library_by_itself() -> None:
    (package,) = embedding.__path__
    for file in Path(package).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names.append(node.module)
            assert not REPORTING & {name.partition(".")[0] for name in names}, (file, names)
