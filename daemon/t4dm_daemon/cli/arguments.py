"""From what stands on the command line to values; whatever cannot be read is a UsageError (exit code 2)."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, Final

_UNITS_S: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)")


class UsageError(Exception):
    """The command line asks for something that cannot be."""


def raw_pairs(option: str, texts: Iterable[str] | None) -> dict[str, str]:
    """Return `key=value` arguments as they stand."""
    found: dict[str, str] = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} takes key=value, not {text!r}")
        if key in found:
            raise UsageError(f"{option} gives {key!r} twice")
        found[key] = value
    return found


def pairs(option: str, texts: Iterable[str] | None) -> dict[str, Any]:
    """Return `key=value` arguments as an object."""
    return {key: json_or_text(option, value) for key, value in raw_pairs(option, texts).items()}


def json_or_text(option: str, text: str) -> Any:
    """Return JSON's value where the text is JSON, else the text: `3` is a number, `tea` and `NaN` are texts."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text
    except RecursionError:
        raise UsageError(f"{option} is nested too deeply") from None


def json_object(option: str, text: str | None) -> dict[str, Any] | None:
    """Return an option's JSON object."""
    if text is None:
        return None
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        raise UsageError(f"{option} is not JSON: {error}") from None
    except RecursionError:
        raise UsageError(f"{option} is nested too deeply") from None
    if not isinstance(value, dict):
        raise UsageError(f"{option} takes a JSON object")
    return value


def duration_s(option: str, text: str | None) -> float | None:
    """Return seconds: `90`, `15m`, `12h`, `7d`, `2w`."""
    if text is None:
        return None
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise UsageError(f"{option} takes seconds, or a number with s, m, h, d or w, not {text!r}")
    return float(match[1]) * _UNITS_S[match[2]]


def labels(option: str, text: str | None) -> list[str] | None:
    """Return the labels of a path such as `work/notes`."""
    if text is None:
        return None
    parts = text.strip("/").split("/")
    if not all(parts):
        raise UsageError(f"{option} takes labels separated by single slashes, not {text!r}")
    return parts


def stdin_bytes() -> BinaryIO:
    """Return standard input. Raises UsageError if it is closed, as `<&-` leaves it."""
    if sys.stdin is None:
        raise UsageError("standard input is closed")
    return sys.stdin.buffer


def is_asked() -> bool:
    """Say whether a person sits at standard input."""
    return sys.stdin is not None and sys.stdin.isatty()


def stdin_text() -> str:
    """Return what was piped in, without the last line's end."""
    try:
        text = stdin_bytes().read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"standard input is not UTF-8: byte {error.start} cannot be decoded") from None
    return text.removesuffix("\n").removesuffix("\r")


def text_argument(given: str | None, file: Path | None, *, what: str, may_be_empty: bool = False) -> str:
    """Return a text from an argument, a file, or standard input (`-`, or when something is piped in)."""
    if given is not None and file is not None:
        raise UsageError(f"give {what} or --file, not both")
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{file} is not UTF-8 text: byte {error.start} cannot be decoded") from None
    if given is not None and given != "-":
        if not (given.strip() or may_be_empty):
            raise UsageError(f"{what} is empty")
        return given
    if given is None and is_asked():
        raise UsageError(f"give {what}, or pipe it in")
    text = stdin_text()
    if not text.strip():
        raise UsageError(f"standard input is empty; give {what}, or pipe it in")
    return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
