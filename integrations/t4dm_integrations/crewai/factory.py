"""Storages by name: `Memory(storage="t4dm://127.0.0.1:8765/crew")`, once `install()` has been called.

    t4dm://HOST:PORT/SPACE?user_id=…      a daemon there
    t4dm:///SPACE                         the daemon at T4DM_URL, else http://127.0.0.1:8765
    t4dm:///SPACE?storage_path=/data/t4dm a data directory, served in this process

The query takes storage_path, timeout_s, max_retries and the owner columns. A name, unlike a storage, can be saved with
a crew.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from crewai.memory.storage import factory

from t4dm.sdk import models as m
from t4dm.sdk.errors import ValidationError
from t4dm_integrations.crewai.storage import DEFAULT_SPACE, T4DMStorage

_SCHEME: Final = "t4dm"
_NUMBERS: Final[dict[str, type[int] | type[float]]] = {"timeout_s": float, "max_retries": int}
_TEXTS: Final = frozenset({"storage_path", *m.Owner.model_fields})


def install() -> None:
    """Let CrewAI make a `T4DMStorage` of every storage named `t4dm://…`. Twice does no harm.

    Other names go to the factory that was there before, else to CrewAI's own storages.
    """
    before = factory._factory  # CrewAI tells in no other way what was set
    if isinstance(before, _Factory):
        return
    factory.set_memory_storage_factory(_Factory(before))


class _Factory:
    """Make storages of our names, and leave others to who was asked before."""

    def __init__(self, before: factory.MemoryStorageFactory | None) -> None:
        self._before = before

    def __call__(self, spec: str) -> Any:
        if spec.partition(":")[0].lower() == _SCHEME:
            return storage_of(spec)
        return None if self._before is None else self._before(spec)


def storage_of(spec: str) -> T4DMStorage:
    """Return the storage that a name means.

    Raises:
        ValidationError: The name says something that is not known.
    """
    parts = urlsplit(spec)
    space = unquote(parts.path.strip("/"))
    settings: dict[str, Any] = {"space": space or DEFAULT_SPACE}
    if parts.netloc:
        settings["url"] = f"http://{parts.netloc}"
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in _NUMBERS:
            settings[name] = _number(spec, name, value)
        elif name in _TEXTS:
            settings[name] = value
        else:
            known = ", ".join(sorted((*_TEXTS, *_NUMBERS)))
            raise _wrong(spec, f"it says {name!r}; known are {known}")
    if parts.fragment or parts.username is not None:
        raise _wrong(spec, "it has a fragment or a user name; a key is taken from T4DM_API_KEY")
    if parts.netloc and "storage_path" in settings:
        raise _wrong(spec, "it names a daemon and a data directory")
    return T4DMStorage(**settings)


def _number(spec: str, name: str, value: str) -> float | int:
    try:
        return _NUMBERS[name](value)
    except ValueError:
        raise _wrong(spec, f"{name} is a number, not {value!r}") from None


def _wrong(spec: str, why: str) -> ValidationError:
    shown = spec.rpartition("@")[2]  # a password may stand before it
    return ValidationError(f"the storage {shown!r} cannot be used: {why}", code="validation_error")
