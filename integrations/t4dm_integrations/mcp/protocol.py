"""What a server answers, whichever SDK carries it: plain objects in the protocol's own form, by its own names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from t4dm_integrations.mcp.scope import Scope

Json = dict[str, Any]
Notify = Callable[[str], Awaitable[None]]
"""Tell a client that a resource has changed. Raises when the client has gone."""

INVALID_PARAMS: Final = -32602
RESOURCE_NOT_FOUND: Final = -32002
INTERNAL_ERROR: Final = -32603

NAME: Final = "t4dm"
TITLE: Final = "T4DM memory"
PROCESS: Final = "process"
"""The session of a transport that serves one client: stdio."""


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: whose memories, and in which session; None where the transport has no sessions."""

    scope: Scope
    session: str | None


class ProtocolFault(Exception):  # noqa: N818 - it is an answer of the protocol, with a code of the protocol
    """A request that is answered with an error of the protocol, not with a tool's result."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class Served(Protocol):
    """A server without a transport."""

    def tools(self, asker: Asker) -> list[Json]: ...

    async def call_tool(self, asker: Asker, name: str, arguments: Json) -> Json: ...

    def resources(self, asker: Asker) -> list[Json]: ...

    def resource_templates(self, asker: Asker) -> list[Json]: ...

    async def read_resource(self, asker: Asker, uri: str) -> list[Json]: ...

    def prompts(self, asker: Asker) -> list[Json]: ...

    async def get_prompt(self, asker: Asker, name: str, arguments: dict[str, str]) -> Json: ...

    async def complete(self, asker: Asker, reference: Json, name: str, beginning: str) -> list[str]: ...

    async def subscribe(self, asker: Asker, uri: str, key: str, notify: Notify) -> None: ...

    def unsubscribe(self, asker: Asker, uri: str, key: str) -> None: ...
