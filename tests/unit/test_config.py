from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from t4dm_daemon.config import Settings, describe, unknown_variables


def test_groups_are_reached_with_two_underscores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T4DM_STORAGE__FLUSH_ITEMS", "123")
    monkeypatch.setenv("T4DM_ALLOWED_HOSTS", "box.local, other")
    settings = Settings()
    assert settings.storage.flush_items == 123
    assert settings.allowed_hosts == ["box.local", "other"]


def test_home_moves_everything_and_single_paths_win(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("T4DM_HOME", str(tmp_path))
    monkeypatch.delenv("T4DM_CACHE_PATH", raising=False)
    assert (Settings().store, Settings().cache) == (tmp_path / "store", tmp_path / "cache")
    monkeypatch.setenv("T4DM_STORAGE_PATH", str(tmp_path / "elsewhere"))
    assert (Settings().store, Settings().cache) == (tmp_path / "elsewhere", tmp_path / "cache")


def test_nothing_lives_in_the_current_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("T4DM_HOME", "T4DM_STORAGE_PATH", "T4DM_CACHE_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert not Settings().store.is_relative_to(tmp_path)
    assert not Settings().cache.is_relative_to(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"), [("T4DM_PORT", "70000"), ("T4DM_STORAGE__SYNC", "maybe"), ("T4DM_STORAGE__SINC", "x")]
)
def test_a_wrong_value_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_an_unknown_variable_is_named_with_its_neighbour() -> None:
    environ = {"T4DM_EMBEDING_MODEL": "x", "T4DM_URL": "y", "T4DM_PORT": "1", "PATH": "z"}
    assert unknown_variables(environ) == ["T4DM_EMBEDING_MODEL is not a setting; did you mean T4DM_EMBEDDING_MODEL?"]


def test_every_setting_is_described() -> None:
    assert all(text for _, _, text in describe())
