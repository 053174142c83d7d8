"""What to say when an optional part is not installed."""

from __future__ import annotations

from t4dm.sdk.errors import MissingExtraError


def missing_extra(extra: str, error: ModuleNotFoundError) -> MissingExtraError:
    """Return the error that names the missing module and the command that installs it.

    Args:
        extra: The extra that brings the module, for example `daemon`.
        error: What the import raised.
    """
    return MissingExtraError(
        f"{error.name or 'a module'} is not installed; it comes with: pip install 't4dm[{extra}]'",
        code="missing_extra",
        details={"extra": extra, "module": error.name},
    )
