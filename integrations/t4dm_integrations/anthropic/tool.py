"""The memory tool itself, for programs that wait and programs that await."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from anthropic.lib.tools import BetaAbstractMemoryTool, BetaAsyncAbstractMemoryTool, ToolError
from anthropic.types.beta import (
    BetaCacheControlEphemeralParam,
    BetaMemoryTool20250818CreateCommand,
    BetaMemoryTool20250818DeleteCommand,
    BetaMemoryTool20250818InsertCommand,
    BetaMemoryTool20250818RenameCommand,
    BetaMemoryTool20250818StrReplaceCommand,
    BetaMemoryTool20250818ViewCommand,
)

from t4dm._async_backend import AsyncMemoryBackend
from t4dm._backend import MemoryBackend
from t4dm._connection import Connected, Connection
from t4dm._requests import owner_defaults
from t4dm._steps import adrive, drive
from t4dm.sdk import models as m
from t4dm.sdk.errors import T4DMError
from t4dm_integrations.anthropic.files import Files, Steps
from t4dm_integrations.anthropic.paths import FilePath

T = TypeVar("T")

SPACE: Final = "memory-files"
_COMMANDS: Final = frozenset({"view", "create", "str_replace", "insert", "delete", "rename"})


class _Tool(Connected):
    """What both tools are made of."""

    def _open(
        self,
        url: str | None,
        *,
        space: str,
        storage_path: str | Path | None,
        client: MemoryBackend | AsyncMemoryBackend | None,
        owner: dict[str, str],
        timeout_s: float,
    ) -> None:
        self._connection = Connection(url, storage_path=storage_path, client=client, timeout_s=timeout_s)
        self._files = Files(space, owner)

    def _view(self, command: BetaMemoryTool20250818ViewCommand) -> Steps[str]:
        view_range = getattr(command, "view_range", None)
        if view_range is not None and not (isinstance(view_range, list) and all(map(_is_integer, view_range))):
            raise ToolError("Invalid `view_range` parameter: it is a list of two line numbers, for example [1, 20].")
        return self._files.view(_path(command, "path"), view_range)

    def _create(self, command: BetaMemoryTool20250818CreateCommand) -> Steps[str]:
        return self._files.create(_path(command, "path"), _text(command, "file_text"))

    def _str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> Steps[str]:
        return self._files.replace(_path(command, "path"), _text(command, "old_str"), _text(command, "new_str", ""))

    def _insert(self, command: BetaMemoryTool20250818InsertCommand) -> Steps[str]:
        line = getattr(command, "insert_line", None)
        if not _is_integer(line):
            raise ToolError(f"Invalid `insert_line` parameter: {line!r}. It should be a line number.")
        return self._files.insert(_path(command, "path"), command.insert_line, _text(command, "insert_text"))

    def _delete(self, command: BetaMemoryTool20250818DeleteCommand) -> Steps[str]:
        return self._files.delete(_path(command, "path"))

    def _rename(self, command: BetaMemoryTool20250818RenameCommand) -> Steps[str]:
        return self._files.rename(_path(command, "old_path"), _path(command, "new_path"))


class T4DMMemoryTool(_Tool, BetaAbstractMemoryTool):
    """Anthropic's memory tool over T4DM: give it to `client.beta.messages.tool_runner(tools=[…])`.

    Files are memories of a space: they survive the process, are searched by meaning with everything else, and every
    edit and deletion stays in their history. Whatever fails is raised as the SDK's ToolError, which the model reads.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        space: str = SPACE,
        storage_path: str | Path | None = None,
        client: MemoryBackend | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        run_id: str | None = None,
        session_id: str | None = None,
        timeout_s: float = 30.0,
        cache_control: BetaCacheControlEphemeralParam | None = None,
    ) -> None:
        """Note where the files are; nothing is sent before the first command.

        Args:
            url: The daemon; `T4DM_URL`, else http://127.0.0.1:8765, when absent.
            space: Where the files are; nothing else should be stored there.
            storage_path: A data directory to serve in this process, instead of a daemon.
            client: A client of your own, which stays open.
            user_id: Whose files: each owner has a /memories of its own. So do the other four.
            agent_id: See user_id.
            app_id: See user_id.
            run_id: See user_id.
            session_id: See user_id.
            timeout_s: Longest wait for an answer of the daemon.
            cache_control: As for every tool of the SDK.
        """
        super().__init__(cache_control=cache_control)
        owner = owner_defaults(user_id=user_id, agent_id=agent_id, app_id=app_id, run_id=run_id, session_id=session_id)
        self._open(url, space=space, storage_path=storage_path, client=client, owner=owner, timeout_s=timeout_s)

    def call(self, input: object) -> Any:
        """Carry out a command as the model wrote it."""
        _check_command(input)
        return super().call(input)

    def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        return self._run(self._view(command))

    def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        return self._run(self._create(command))

    def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        return self._run(self._str_replace(command))

    def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        return self._run(self._insert(command))

    def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        return self._run(self._delete(command))

    def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        return self._run(self._rename(command))

    def clear_all_memory(self) -> str:
        """Delete every file of this owner; histories stay."""
        return self._run(self._files.clear())

    def history(self, path: str) -> list[m.HistoryEntry]:
        """Return every version of the file at a path, oldest first. Raises T4DMError."""
        return drive(self._files.history(FilePath.parse(path)), self._ask)

    def _run(self, steps: Steps[T]) -> T:
        with _told():
            return drive(steps, self._ask)

    def _ask(self, call: Any) -> Any:
        return call(self._connection.backend())


class AsyncT4DMMemoryTool(_Tool, BetaAsyncAbstractMemoryTool):
    """`T4DMMemoryTool` for `AsyncAnthropic`: the same files, awaited."""

    def __init__(
        self,
        url: str | None = None,
        *,
        space: str = SPACE,
        storage_path: str | Path | None = None,
        client: MemoryBackend | AsyncMemoryBackend | None = None,
        user_id: str | None = None,
        agent_id: str | None = None,
        app_id: str | None = None,
        run_id: str | None = None,
        session_id: str | None = None,
        timeout_s: float = 30.0,
        cache_control: BetaCacheControlEphemeralParam | None = None,
    ) -> None:
        """Note where the files are, as `T4DMMemoryTool` does."""
        super().__init__(cache_control=cache_control)
        owner = owner_defaults(user_id=user_id, agent_id=agent_id, app_id=app_id, run_id=run_id, session_id=session_id)
        self._open(url, space=space, storage_path=storage_path, client=client, owner=owner, timeout_s=timeout_s)

    async def call(self, input: object) -> Any:
        """Carry out a command as the model wrote it."""
        _check_command(input)
        return await super().call(input)

    async def view(self, command: BetaMemoryTool20250818ViewCommand) -> str:
        return await self._run(self._view(command))

    async def create(self, command: BetaMemoryTool20250818CreateCommand) -> str:
        return await self._run(self._create(command))

    async def str_replace(self, command: BetaMemoryTool20250818StrReplaceCommand) -> str:
        return await self._run(self._str_replace(command))

    async def insert(self, command: BetaMemoryTool20250818InsertCommand) -> str:
        return await self._run(self._insert(command))

    async def delete(self, command: BetaMemoryTool20250818DeleteCommand) -> str:
        return await self._run(self._delete(command))

    async def rename(self, command: BetaMemoryTool20250818RenameCommand) -> str:
        return await self._run(self._rename(command))

    async def clear_all_memory(self) -> str:
        """Delete every file of this owner; histories stay."""
        return await self._run(self._files.clear())

    async def history(self, path: str) -> list[m.HistoryEntry]:
        """Return every version of the file at a path, oldest first. Raises T4DMError."""
        return await adrive(self._files.history(FilePath.parse(path)), self._ask)

    async def _run(self, steps: Steps[T]) -> T:
        with _told():
            return await adrive(steps, self._ask)

    async def _ask(self, call: Any) -> Any:
        return await call(self._connection.async_backend())


@contextmanager
def _told() -> Iterator[None]:
    """Tell the model what T4DM could not do; the SDK would show it the exception's repr."""
    try:
        yield
    except T4DMError as error:
        raise ToolError(f"The memory could not be reached or changed: {error.message}") from error


def _check_command(given: object) -> None:
    command = given.get("command") if isinstance(given, dict) else None
    if command not in _COMMANDS:
        raise ToolError(f"Unknown command: {command!r}. The commands are {', '.join(sorted(_COMMANDS))}.")


def _path(command: object, name: str) -> FilePath:
    return FilePath.parse(_text(command, name))


def _text(command: object, name: str, absent: str | None = None) -> str:
    value = getattr(command, name, None)
    if value is None:
        value = absent
    if not isinstance(value, str):
        raise ToolError(f"Invalid `{name}` parameter: it is a text, and must be given.")
    return value


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
