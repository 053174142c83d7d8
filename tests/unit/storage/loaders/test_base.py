from __future__ import annotations

import sys
from pathlib import Path

import pytest

from t4dm_daemon.core.errors import MissingExtraError
from t4dm_daemon.storage.loaders import ChromaSource, QdrantSource
from t4dm_daemon.storage.loaders.base import import_extra


@pytest.mark.parametrize(("module", "extra"), [("qdrant_client", "qdrant"), ("chromadb", "chroma")])
def test_a_missing_package_is_an_import_error_that_says_what_to_install(
    module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed

    opened = {"qdrant": lambda: QdrantSource("notes", path=tmp_path), "chroma": lambda: ChromaSource(tmp_path, "notes")}

    with pytest.raises(ImportError, match=r"pip install 't4dm\[" + extra) as raised:
        opened[extra]()

    assert isinstance(raised.value, MissingExtraError)
    assert raised.value.details == {"extra": extra, "module": module}
    assert raised.value.code == "missing_extra"


def test_a_package_that_is_installed_and_broken_says_so_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_store.py").write_text("import no_such_module_of_another_name\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        import_extra("broken_store", "x")


def test_importing_the_loaders_imports_no_optional_package() -> None:
    import subprocess

    code = (
        "import sys, t4dm_daemon.storage.loaders as _; "
        "sys.exit(any(name in sys.modules for name in ('qdrant_client', 'chromadb')))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
