"""`t4dm mcp install` and `uninstall`: what is shown, asked, written, kept and refused."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

pytest.importorskip("mcp")

from t4dm_integrations.mcp.hosts import HOSTS
from tests.unit.cli.conftest import Run

FILES = {
    "claude-desktop": (".config/Claude/claude_desktop_config.json", "mcpServers", {}),
    "claude-code": (".claude.json", "mcpServers", {"type": "stdio"}),
    "cursor": (".cursor/mcp.json", "mcpServers", {}),
    "vscode": (".config/Code/User/mcp.json", "servers", {"type": "stdio"}),
    "windsurf": (".codeium/windsurf/mcp_config.json", "mcpServers", {}),
    "zed": (".config/zed/settings.json", "context_servers", {"source": "custom"}),
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_hosts_are_tested() -> None:
    assert set(FILES) == set(HOSTS)


@pytest.mark.parametrize("host", FILES)
def test_an_entry_is_written_where_the_host_looks_for_it(run: Run, home: Path, host: str) -> None:
    place, key, fixed = FILES[host]

    done = run("mcp", "install", host, "--user", "ada", "--space", "work", "--yes")

    assert done.exit_code == 0, done.err
    arguments = ["-m", "t4dm.mcp.server", "--space", "work", "--user-id", "ada"]
    expected = {**fixed, "command": sys.executable, "args": arguments}
    assert json.loads((home / place).read_text()) == {key: {"t4dm": expected}}
    assert "+" in done.out
    assert HOSTS[host].afterwards in done.err


@pytest.mark.parametrize("host", FILES)
def test_uninstalling_leaves_what_was_there_before(run: Run, home: Path, host: str) -> None:
    place, key, _ = FILES[host]
    file = home / place
    file.parent.mkdir(parents=True, exist_ok=True)
    before = f'{{\n  // mine\n  "{key}": {{\n    "other": {{"command": "x"}}\n  }},\n  "theme": "dark"\n}}\n'
    file.write_text(before)

    run("mcp", "install", host, "--yes")
    between = file.read_text()
    done = run("mcp", "uninstall", host, "--yes")

    assert "t4dm.mcp.server" in between
    assert "// mine" in between
    assert done.exit_code == 0
    assert file.read_text() == before
    assert len(list(file.parent.glob("*.before-t4dm-*"))) == 2


def test_what_was_there_is_kept_beside_with_its_permissions(run: Run, home: Path) -> None:
    file = home / "mcp.json"
    file.write_text('{"mcpServers": {}}')
    file.chmod(0o600)

    done = run("mcp", "install", "cursor", "--config", str(file), "--yes", "--json")

    data = done.json["data"]
    assert data["changed"] is True
    assert Path(data["backup"]).read_text() == '{"mcpServers": {}}'
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_link_to_a_file_stays_a_link(run: Run, home: Path) -> None:
    (home / "dotfiles").mkdir()
    (home / "dotfiles" / "mcp.json").write_text("{}")
    link = home / "mcp.json"
    link.symlink_to(home / "dotfiles" / "mcp.json")

    run("mcp", "install", "cursor", "--config", str(link), "--yes")

    assert link.is_symlink()
    assert "t4dm" in (home / "dotfiles" / "mcp.json").read_text()


def test_twice_changes_nothing_and_other_options_replace_the_entry(run: Run, home: Path) -> None:
    file = home / "mcp.json"
    for _ in range(2):
        done = run("mcp", "install", "cursor", "--config", str(file), "--yes")
    assert "Nothing to change" in done.out

    entry = json.loads(file.read_text())
    entry["mcpServers"]["t4dm"]["autoApprove"] = ["t4dm_search"]
    file.write_text(json.dumps(entry))
    run("mcp", "install", "cursor", "--config", str(file), "--user", "bob", "--yes")

    after = json.loads(file.read_text())["mcpServers"]["t4dm"]
    assert after["args"][-2:] == ["--user-id", "bob"]
    assert after["autoApprove"] == ["t4dm_search"]


def test_an_address_makes_way_for_the_command(run: Run, home: Path) -> None:
    file = home / "mcp.json"
    entry = {"type": "http", "url": "http://127.0.0.1:8765/mcp", "headers": {"a": "b"}, "disabled": False}
    file.write_text(json.dumps({"mcpServers": {"t4dm": entry}}))

    run("mcp", "install", "cursor", "--config", str(file), "--yes")

    after = json.loads(file.read_text())["mcpServers"]["t4dm"]
    assert set(after) == {"disabled", "command", "args"}


def test_a_file_that_is_marked_as_read_only_is_left_alone(run: Run, home: Path) -> None:
    file = home / "mcp.json"
    file.write_text("{}")
    file.chmod(0o444)

    done = run("mcp", "install", "cursor", "--config", str(file), "--yes")

    assert done.exit_code != 0
    assert "is read-only" in done.err
    assert list(home.iterdir()) == [file]


def test_an_owner_that_was_not_filled_in_is_refused(run: Run, home: Path) -> None:
    done = run("mcp", "install", "cursor", "--user", "", "--yes")

    assert done.exit_code == 2
    assert "user_id is empty" in done.err
    assert list(home.iterdir()) == []


def test_dry_run_shows_and_writes_nothing(run: Run, home: Path) -> None:
    done = run("mcp", "install", "cursor", "--dry-run")

    assert done.exit_code == 0
    assert "t4dm.mcp.server" in done.out
    assert not (home / ".cursor").exists()


def test_nothing_is_written_where_nobody_can_be_asked(run: Run, home: Path) -> None:
    done = run("mcp", "install", "cursor")

    assert done.exit_code == 2
    assert "--yes" in done.err
    assert not (home / ".cursor").exists()


def test_a_project_has_a_configuration_of_its_own(run: Run, home: Path) -> None:
    run("mcp", "install", "vscode", "--project", "--yes")

    assert "t4dm" in json.loads((home / ".vscode" / "mcp.json").read_text())["servers"]


@pytest.mark.parametrize("content", ['{"mcpServers": {', '{"mcpServers": 5}', "nonsense"])
def test_a_broken_file_is_refused_and_left_alone(run: Run, home: Path, content: str) -> None:
    file = home / "mcp.json"
    file.write_text(content)

    for verb in ("install", "uninstall"):
        done = run("mcp", verb, "cursor", "--config", str(file), "--yes")
        assert done.exit_code == 2
        assert "Nothing was changed" in done.err
        assert "line 1, column" in done.err

    assert file.read_text() == content
    assert list(home.iterdir()) == [file]


def test_a_file_that_is_not_utf8_is_refused(run: Run, home: Path) -> None:
    (home / "mcp.json").write_bytes(b'{"a": "\xff"}')

    done = run("mcp", "install", "cursor", "--config", str(home / "mcp.json"), "--yes")

    assert done.exit_code == 2
    assert "is not UTF-8" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["install", "emacs"], "there is no host 'emacs'"),
        (["install", "windsurf", "--project"], "no configuration within a project"),
        (["install", "cursor", "--profile", "nonsense"], "there is no profile"),
        (["install", "cursor", "--deadline", "-1"], "the deadline is a number"),
        (["install", "cursor", "--project", "--config", "x"], "not both"),
        (["--profile", "nonsense"], "there is no profile"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    run: Run, home: Path, arguments: list[str], told: str
) -> None:
    done = run("mcp", *arguments)

    assert done.exit_code == 2
    assert told in done.err
    assert list(home.iterdir()) == []


def test_uninstalling_what_is_not_there_changes_nothing(run: Run, home: Path) -> None:
    done = run("mcp", "uninstall", "zed", "--yes")

    assert done.exit_code == 0
    assert "Nothing to change" in done.out
    assert list(home.iterdir()) == []
