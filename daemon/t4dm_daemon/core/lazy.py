"""Packages whose names need a library that may be missing: imported when a name is first used, not before."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from t4dm_daemon.core.errors import MissingExtraError


def lazy_names(package: str, homes: Mapping[str, str], *, extra: str) -> Callable[[str], Any]:
    """Return a `__getattr__` for a package that finds its names in its modules.

    Args:
        package: The package's `__name__`.
        homes: Module of each name, relative to the package.
        extra: What to install if a library is missing; the error names both.
    """

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("t4dm_daemon"):
                raise  # a mistake of ours, not a missing library
            raise MissingExtraError(
                f"{error.name} is not installed; it comes with: pip install 't4dm[{extra}]'", extra=extra
            ) from error

    return find
