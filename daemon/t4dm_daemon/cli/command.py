"""Run one command: its client, its answer, and what its failures look like.

Exit codes: 0 done · 1 failed · 2 the command line is wrong · 3 the daemon is not running · 4 not allowed ·
5 not found · 6 conflict · 130 interrupted · 141 the reader of a pipe went away.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import typer

from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import UsageError, is_asked

if TYPE_CHECKING:
    from pydantic import BaseModel

    from t4dm.sdk import T4DMClient, T4DMError

FAILED: Final = 1
USAGE: Final = 2
NOT_RUNNING: Final = 3
NOT_ALLOWED: Final = 4
NOT_FOUND: Final = 5
CONFLICT: Final = 6
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141


@dataclass(frozen=True, slots=True)
class Globals:
    """Options given before the command's name; they hold unless the command gives its own."""

    url: str | None = None
    as_json: bool = False
    quiet: bool = False
    debug: bool = False
    command: str = "t4dm"
    """As it is typed, without its arguments."""


globals_of_run: ContextVar[Globals] = ContextVar("globals_of_run")


@dataclass(frozen=True, slots=True)
class Failure:
    """What is told about a failure: to programs all of it, to people the message and the next command."""

    exit_code: int
    code: str
    message: str
    details: Mapping[str, Any]
    next_step: str = ""


class Command:
    """Hold a command's connection and turn whatever happens inside into output and an exit code.

    with Command(url=url, as_json=as_json) as command:
        memory = command.client.get(id)
        command.answer(memory, lambda: show(memory), ids=[memory.id])
    """

    has_answered: ClassVar[bool] = False
    """Whether a JSON document was printed in this process: exactly one must be."""

    def __init__(
        self,
        *,
        url: str | None = None,
        as_json: bool = False,
        quiet: bool = False,
        debug: bool = False,
        timeout_s: float = 120.0,
        max_retries: int = 3,
    ) -> None:
        before = globals_of_run.get(Globals())
        self.url = url or before.url
        self.as_json = as_json or before.as_json
        self.quiet = quiet or before.quiet
        self._debug = debug or before.debug
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._client: T4DMClient | None = None
        self._started_s = time.perf_counter()

    @property
    def client(self) -> T4DMClient:
        """The connection to the daemon, made when first asked for."""
        if self._client is None:
            from t4dm.sdk import T4DMClient

            self._client = T4DMClient(self.url, timeout_s=self._timeout_s, max_retries=self._max_retries)
        return self._client

    def answer(
        self,
        data: BaseModel | Mapping[str, Any] | list[Any],
        people: Callable[[], None],
        *,
        ids: Iterable[str] | None = None,
    ) -> None:
        """Print the result once, in the form that was asked for.

        Args:
            data: For `--json`.
            people: Prints for people, and lines for programs.
            ids: For `--quiet`; None where ids make no sense, then `--quiet` prints nothing.
        """
        if self.as_json:
            from pydantic_core import to_jsonable_python

            self._print_json({"ok": True, "data": to_jsonable_python(data, by_alias=True)})
        elif self.quiet:
            for one in ids or ():
                print(output.one_line(one))
        else:
            people()

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that cannot be undone. Raises UsageError where nobody can be asked."""
        if yes:
            return
        if self.as_json or not is_asked():
            raise UsageError(f"{question} Add --yes to say so")
        if not typer.confirm(output.safe(question), err=True):
            output.note("Nothing was deleted.")
            raise typer.Exit(FAILED)

    def fail(self, failure: Failure) -> None:
        """Print a failure."""
        if self.as_json:
            error = {"code": failure.code, "message": failure.message, "details": dict(failure.details)}
            self._print_json({"ok": False, "error": error})
            return
        output.note(f"t4dm: {failure.message}")
        if failure.next_step:
            output.note(f"  {failure.next_step}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            self._client.close()
        if isinstance(error, BrokenPipeError):
            _drop_stdout()
            raise typer.Exit(PIPE_CLOSED) from error
        failure = None if error is None else failure_of(error)
        is_told = False
        try:
            if failure is not None:
                if self._debug:
                    traceback.print_exception(error)
                self.fail(failure)
                is_told = not self.as_json
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError as broken:
            _drop_stdout()
            raise typer.Exit(PIPE_CLOSED) from broken
        except OSError as broken:
            _drop_stdout()
            if not is_told:
                output.note(f"t4dm: standard output: {broken.strerror or broken}")
            raise typer.Exit(FAILED) from broken
        if failure is not None:
            raise typer.Exit(failure.exit_code) from error

    def _print_json(self, document: dict[str, Any]) -> None:
        Command.has_answered = True
        document["took_ms"] = round((time.perf_counter() - self._started_s) * 1e3, 3)
        is_unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
        print(json.dumps(document, ensure_ascii=not is_unicode, default=repr))


def failure_of(error: BaseException) -> Failure | None:
    """Return how a failure is told, None for what is no failure of the command (an exit, a defect)."""
    if isinstance(error, UsageError):
        return Failure(USAGE, "usage", str(error), {}, f"See: {globals_of_run.get(Globals()).command} --help")
    if isinstance(error, KeyboardInterrupt):
        return Failure(INTERRUPTED, "interrupted", str(error) or "interrupted", {})
    import pydantic

    from t4dm.sdk import T4DMError
    from t4dm.sdk._validation import problems, sentence

    if isinstance(error, pydantic.ValidationError):
        return Failure(USAGE, "validation_error", sentence(error), {"errors": problems(error)})
    if isinstance(error, T4DMError):
        return _of_client(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Failure(FAILED, "file_error", f"{where}{error.strerror or error}", {})
    return None


def _of_client(error: T4DMError) -> Failure:
    from t4dm import sdk

    exit_code, next_step = FAILED, ""
    if isinstance(error, sdk.ValidationError):
        exit_code = USAGE
    elif isinstance(error, sdk.TransportError) and error.code in {"not_running", "unreachable"}:
        exit_code = NOT_RUNNING
        next_step = "It listens elsewhere? Say where: --url, or T4DM_URL"
    elif isinstance(error, sdk.TransportError) and error.code == "timeout":
        next_step = "It runs but does not answer: is it stopped, or very busy?"
    elif isinstance(error, sdk.AuthenticationError | sdk.PermissionDeniedError):
        exit_code, next_step = NOT_ALLOWED, "The key is taken from T4DM_API_KEY"
    elif isinstance(error, sdk.NotFoundError):
        exit_code, next_step = NOT_FOUND, _what_there_is(error.details)
    elif isinstance(error, sdk.ConflictError):
        exit_code = CONFLICT
    elif isinstance(error, sdk.UnavailableError):
        next_step = "See what it is doing: t4dm status"
    elif isinstance(error, sdk.ServerError) and error.request_id:
        next_step = f"The daemon's log says more under request id {error.request_id}"
    details = dict(error.details)
    if error.request_id:
        details["request_id"] = error.request_id
    return Failure(exit_code, error.code, error.message, details, next_step)


def _what_there_is(details: Mapping[str, Any]) -> str:
    """Return the command that lists what was looked for in vain."""
    if "path" in details:
        return ""
    is_space = "space" in details and not details.keys() & {"id", "ids"}
    return "See which spaces there are: t4dm stats" if is_space else "See what there is: t4dm list"


def _drop_stdout() -> None:
    """Send what is still to be written nowhere, so that the interpreter's exit does not complain again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
