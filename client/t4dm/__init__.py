"""T4DM: a memory for agents that lasts.

    from t4dm import T4DM
    memory = T4DM()
    memory.add("Ada likes tea")

`T4DM` and `AsyncT4DM` are promised, and the typed client under `t4dm.sdk`. Names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from t4dm._version import __version__

if TYPE_CHECKING:
    from t4dm.async_memory import AsyncT4DM
    from t4dm.memory import T4DM

__all__ = ["T4DM", "AsyncT4DM", "__version__"]


_HOMES = {"T4DM": "t4dm.memory", "AsyncT4DM": "t4dm.async_memory"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
