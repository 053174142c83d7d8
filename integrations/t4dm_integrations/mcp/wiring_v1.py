"""The half of `wiring` that speaks to mcp 1.30 and later versions of 1."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from mcp import types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.shared.exceptions import McpError
from pydantic import AnyUrl

from t4dm._version import __version__
from t4dm_integrations.mcp.protocol import NAME, PROCESS, Asker, Notify, ProtocolFault, Served
from t4dm_integrations.mcp.wiring import asker_of, current_instructions


class _Server(Server[Any, Any]):
    """A server that offers subscriptions, and whose instructions are those of the session that begins."""

    @property
    def instructions(self) -> str | None:
        return current_instructions.get(None)

    @instructions.setter
    def instructions(self, value: str | None) -> None:
        """The base class sets it once; what counts is the session's."""

    def get_capabilities(
        self, notification_options: NotificationOptions, experimental_capabilities: dict[str, dict[str, Any]]
    ) -> types.ServerCapabilities:
        found = super().get_capabilities(notification_options, experimental_capabilities)
        if found.resources is not None:
            found.resources.subscribe = True
        return found


def make_server(served: Served) -> Any:
    """Return a low-level server of version 1 that answers what `served` says."""
    server = _Server(NAME, version=__version__)

    def on(request: type, answer: type[Any], work: Callable[[Asker, Any], Awaitable[Any]]) -> None:
        async def handle(asked: Any) -> types.ServerResult:
            asker = asker_of(getattr(server.request_context, "request", None))
            try:
                found = await work(asker, asked.params)
            except ProtocolFault as fault:
                data = types.ErrorData(code=fault.code, message=fault.message, data=fault.data)
                raise McpError(data) from fault
            return types.ServerResult(answer.model_validate(found))

        server.request_handlers[request] = handle

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

    async def subscribe(asker: Asker, params: Any) -> Any:
        session = server.request_context.session
        await served.subscribe(asker, str(params.uri), asker.session or PROCESS, _notifier(session))
        return {}

    async def unsubscribe(asker: Asker, params: Any) -> Any:
        served.unsubscribe(asker, str(params.uri), asker.session or PROCESS)
        return {}

    on(types.ListToolsRequest, types.ListToolsResult, list_tools)
    on(types.CallToolRequest, types.CallToolResult, call_tool)
    on(types.ListResourcesRequest, types.ListResourcesResult, list_resources)
    on(types.ListResourceTemplatesRequest, types.ListResourceTemplatesResult, list_templates)
    on(types.ReadResourceRequest, types.ReadResourceResult, read_resource)
    on(types.ListPromptsRequest, types.ListPromptsResult, list_prompts)
    on(types.GetPromptRequest, types.GetPromptResult, get_prompt)
    on(types.CompleteRequest, types.CompleteResult, complete)
    on(types.SubscribeRequest, types.EmptyResult, subscribe)
    on(types.UnsubscribeRequest, types.EmptyResult, unsubscribe)
    return server


def _notifier(session: Any) -> Notify:
    async def notify(uri: str) -> None:
        await session.send_resource_updated(AnyUrl(uri))

    return notify
