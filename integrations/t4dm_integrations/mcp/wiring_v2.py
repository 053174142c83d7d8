"""The half of `wiring` that speaks to mcp 2.

Clients of the protocol of 2026-07-28 do not subscribe; they open a stream and say of which resources they want to
hear. Older clients subscribe as before. Both end in `Served.subscribe`.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

from t4dm._version import __version__
from t4dm_integrations.mcp.protocol import NAME, PROCESS, TITLE, Asker, Notify, ProtocolFault, Served
from t4dm_integrations.mcp.wiring import asker_of, current_instructions

# By name, because only one generation of the SDK is installed where types are checked.
_lowlevel: Final[Any] = importlib.import_module("mcp.server.lowlevel")
_subscriptions: Final[Any] = importlib.import_module("mcp.server.subscriptions")
_types: Final[Any] = importlib.import_module("mcp_types")
_exceptions: Final[Any] = importlib.import_module("mcp.shared.exceptions")

Handler = Callable[[Any, Any], Awaitable[Any]]


class _Server(_lowlevel.Server):  # type: ignore[misc,name-defined,unused-ignore]
    """A server whose instructions are those of the session that begins."""

    @property
    def instructions(self) -> str | None:
        return current_instructions.get(None)

    @instructions.setter
    def instructions(self, value: str | None) -> None:
        """The base class sets it once; what counts is the session's."""


def make_server(served: Served) -> Any:
    """Return a low-level server of version 2 that answers what `served` says."""

    def handler(answer: str, work: Callable[[Asker, Any], Awaitable[Any]]) -> Handler:
        model = getattr(_types, answer)

        async def handle(context: Any, params: Any) -> Any:
            with _as_sdk_error():
                return model.model_validate(await work(asker_of(context.request), params))

        return handle

    async def list_tools(asker: Asker, _: Any) -> Any:
        return {"tools": served.tools(asker)}

    async def call_tool(asker: Asker, params: Any) -> Any:
        return await served.call_tool(asker, params.name, params.arguments or {})

    async def list_resources(asker: Asker, _: Any) -> Any:
        return {"resources": served.resources(asker)}

    async def list_templates(asker: Asker, _: Any) -> Any:
        return {"resourceTemplates": served.resource_templates(asker)}

    async def read_resource(asker: Asker, params: Any) -> Any:
        return {"contents": await served.read_resource(asker, str(params.uri))}

    async def list_prompts(asker: Asker, _: Any) -> Any:
        return {"prompts": served.prompts(asker)}

    async def get_prompt(asker: Asker, params: Any) -> Any:
        return await served.get_prompt(asker, params.name, params.arguments or {})

    async def complete(asker: Asker, params: Any) -> Any:
        reference = params.ref.model_dump(by_alias=True, mode="json")
        values = await served.complete(asker, reference, params.argument.name, params.argument.value)
        return {"completion": {"values": values, "total": len(values), "hasMore": False}}

    async def subscribe(context: Any, params: Any) -> Any:
        asker = asker_of(context.request)
        with _as_sdk_error():
            await served.subscribe(asker, str(params.uri), asker.session or PROCESS, _notifier(context.session))
        return _types.EmptyResult()

    async def unsubscribe(context: Any, params: Any) -> Any:
        asker = asker_of(context.request)
        served.unsubscribe(asker, str(params.uri), asker.session or PROCESS)
        return _types.EmptyResult()

    async def listen(context: Any, params: Any) -> Any:
        asker, key = asker_of(context.request), uuid4().hex
        bus = _subscriptions.InMemorySubscriptionBus()
        uris = [str(uri) for uri in params.notifications.resource_subscriptions or ()]
        try:
            for uri in uris:
                with _as_sdk_error():
                    await served.subscribe(asker, uri, key, _publisher(bus))
            return await _subscriptions.ListenHandler(bus)(context, params)
        finally:
            for uri in uris:
                served.unsubscribe(asker, uri, key)

    return _Server(
        NAME,
        version=__version__,
        title=TITLE,
        on_list_tools=handler("ListToolsResult", list_tools),
        on_call_tool=handler("CallToolResult", call_tool),
        on_list_resources=handler("ListResourcesResult", list_resources),
        on_list_resource_templates=handler("ListResourceTemplatesResult", list_templates),
        on_read_resource=handler("ReadResourceResult", read_resource),
        on_list_prompts=handler("ListPromptsResult", list_prompts),
        on_get_prompt=handler("GetPromptResult", get_prompt),
        on_completion=handler("CompleteResult", complete),
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_subscriptions_listen=listen,
    )


@contextmanager
def _as_sdk_error() -> Iterator[None]:
    try:
        yield
    except ProtocolFault as fault:
        raise _exceptions.MCPError(fault.code, fault.message, fault.data) from fault


def _notifier(session: Any) -> Notify:
    async def notify(uri: str) -> None:
        await session.send_resource_updated(uri)

    return notify


def _publisher(bus: Any) -> Notify:
    async def publish(uri: str) -> None:
        await bus.publish(_subscriptions.ResourceUpdated(uri=uri))

    return publish
