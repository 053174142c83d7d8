"""The typed client of the daemon's HTTP API: `T4DMClient`, `AsyncT4DMClient`, their models and errors.

Everything in `__all__` is promised. Names are loaded when first used, so that importing the models alone does
not import an HTTP stack.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from t4dm.sdk.admin_models import BackupReport, Problem, SpaceCompaction, VerifyReport
    from t4dm.sdk.async_client import AsyncT4DMClient
    from t4dm.sdk.client import T4DMClient
    from t4dm.sdk.errors import (
        AuthenticationError,
        ConflictError,
        MissingExtraError,
        NotFoundError,
        PermissionDeniedError,
        ProtocolError,
        RateLimitError,
        ServerError,
        T4DMError,
        TransportError,
        UnavailableError,
        ValidationError,
    )
    from t4dm.sdk.graph_models import (
        Edge,
        EdgeChange,
        EdgeIn,
        EdgeName,
        LinkRequest,
        Node,
        PathRequest,
        ReweighRequest,
        ScaleRequest,
        TraverseAnswer,
        TraverseRequest,
        UnlinkRequest,
    )
    from t4dm.sdk.models import (
        BatchAnswer,
        BatchItem,
        BatchRequest,
        DeleteAnswer,
        DeleteRequest,
        Filter,
        GetRequest,
        Health,
        HealthReport,
        HistoryAnswer,
        HistoryEntry,
        Hit,
        ListAnswer,
        ListRequest,
        Memory,
        MemoryList,
        ModelState,
        Owner,
        Readiness,
        RecordIn,
        SearchAnswer,
        SearchRequest,
        Selection,
        Space,
        SpaceList,
        SpaceRequest,
        SpaceStats,
        Stats,
        StoreRequest,
        TimeRange,
        TouchAnswer,
        TouchRequest,
        UpdateRequest,
        VersionInfo,
    )

__all__ = [
    "AsyncT4DMClient",
    "AuthenticationError",
    "BackupReport",
    "BatchAnswer",
    "BatchItem",
    "BatchRequest",
    "ConflictError",
    "DeleteAnswer",
    "DeleteRequest",
    "Edge",
    "EdgeChange",
    "EdgeIn",
    "EdgeName",
    "Filter",
    "GetRequest",
    "Health",
    "HealthReport",
    "HistoryAnswer",
    "HistoryEntry",
    "Hit",
    "LinkRequest",
    "ListAnswer",
    "ListRequest",
    "Memory",
    "MemoryList",
    "MissingExtraError",
    "ModelState",
    "Node",
    "NotFoundError",
    "Owner",
    "PathRequest",
    "PermissionDeniedError",
    "Problem",
    "ProtocolError",
    "RateLimitError",
    "Readiness",
    "RecordIn",
    "ReweighRequest",
    "ScaleRequest",
    "SearchAnswer",
    "SearchRequest",
    "Selection",
    "ServerError",
    "Space",
    "SpaceCompaction",
    "SpaceList",
    "SpaceRequest",
    "SpaceStats",
    "Stats",
    "StoreRequest",
    "T4DMClient",
    "T4DMError",
    "TimeRange",
    "TouchAnswer",
    "TouchRequest",
    "TransportError",
    "TraverseAnswer",
    "TraverseRequest",
    "UnavailableError",
    "UnlinkRequest",
    "UpdateRequest",
    "ValidationError",
    "VerifyReport",
    "VersionInfo",
]

_GRAPH = (
    "Edge",
    "EdgeChange",
    "EdgeIn",
    "EdgeName",
    "LinkRequest",
    "Node",
    "PathRequest",
    "ReweighRequest",
    "ScaleRequest",
    "TraverseAnswer",
    "TraverseRequest",
    "UnlinkRequest",
)
_HOMES = {
    "T4DMClient": "t4dm.sdk.client",
    "AsyncT4DMClient": "t4dm.sdk.async_client",
    **dict.fromkeys(("BackupReport", "Problem", "SpaceCompaction", "VerifyReport"), "t4dm.sdk.admin_models"),
    **dict.fromkeys(_GRAPH, "t4dm.sdk.graph_models"),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name) or ("t4dm.sdk.errors" if name.endswith("Error") else "t4dm.sdk.models")
    value: object = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
