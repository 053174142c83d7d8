"""Names that users were promised. One that goes, or changes its home, breaks somebody's program."""

from __future__ import annotations

import importlib
import importlib.resources
import importlib.util
import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

PROMISED = {
    "t4dm": ["AsyncT4DM", "T4DM", "__version__"],
    "t4dm.sdk": [
        "AppendAnswer",
        "AppendRequest",
        "AsyncT4DMClient",
        "AuthenticationError",
        "BackupReport",
        "BatchAnswer",
        "BatchItem",
        "BatchRequest",
        "CategoriesRequest",
        "ConflictError",
        "DeleteAnswer",
        "DeleteOp",
        "DeleteRequest",
        "DeleteResult",
        "DeprecateRequest",
        "Edge",
        "EdgeChange",
        "EdgeIn",
        "EdgeName",
        "Entity",
        "EntityHit",
        "EntityIn",
        "EntityList",
        "EntityListRequest",
        "EntitySearchAnswer",
        "EntitySearchRequest",
        "Episode",
        "EpisodeContext",
        "EpisodeHit",
        "EpisodeIn",
        "EpisodeList",
        "EpisodeListRequest",
        "EpisodeSearchAnswer",
        "EpisodeSearchRequest",
        "Filter",
        "GetOp",
        "GetRequest",
        "GetResult",
        "Health",
        "HealthReport",
        "HistoryAnswer",
        "HistoryEntry",
        "Hit",
        "LinkRequest",
        "ListAnswer",
        "ListNamespacesOp",
        "ListNamespacesResult",
        "ListOp",
        "ListRequest",
        "ListResult",
        "Memory",
        "MemoryList",
        "Message",
        "MessagePage",
        "MessageStamp",
        "MessagesRequest",
        "MissingExtraError",
        "ModelState",
        "NamespaceInfo",
        "NamespaceList",
        "NamespacesRequest",
        "Node",
        "NotFoundError",
        "OpsAnswer",
        "OpsRequest",
        "OwnerInfo",
        "OwnerList",
        "OwnersRequest",
        "OutcomeRequest",
        "Owner",
        "PathRequest",
        "PermissionDeniedError",
        "Problem",
        "Procedure",
        "ProcedureHit",
        "ProcedureIn",
        "ProcedureList",
        "ProcedureListRequest",
        "ProcedureSearchAnswer",
        "ProcedureSearchRequest",
        "ProcedureStep",
        "ProtocolError",
        "PutOp",
        "PutResult",
        "RateLimitError",
        "Readiness",
        "RecordIn",
        "RestoreAnswer",
        "RestoreRequest",
        "RestoredMessage",
        "RelatedEntity",
        "RelatedRequest",
        "Relation",
        "RelationIn",
        "RelationListRequest",
        "ReweighRequest",
        "ScaleRequest",
        "SearchAnswer",
        "SearchOp",
        "SearchRequest",
        "SearchResult",
        "Selection",
        "ServerError",
        "Session",
        "SessionList",
        "SessionsRequest",
        "Space",
        "SpaceCompaction",
        "SpaceList",
        "SpaceRequest",
        "SpaceStats",
        "Stats",
        "StoreRequest",
        "SupersedeRequest",
        "T4DMClient",
        "T4DMError",
        "TimeRange",
        "TouchAnswer",
        "TouchOp",
        "TouchRequest",
        "TouchResult",
        "TransportError",
        "TraverseAnswer",
        "TraverseRequest",
        "UnavailableError",
        "UnlinkRequest",
        "UpdateRequest",
        "ValidationError",
        "VerifyReport",
        "VersionInfo",
    ],
    "t4dm.storage.t4dx": ["T4DXEngine"],
    "t4dm.tools": [
        "TOOL_NAMES",
        "anthropic_tools",
        "arun_tool_call",
        "openai_responses_tools",
        "openai_tools",
        "run_tool_call",
    ],
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PROMISED.items() for name in names])
def test_a_promised_name_is_there(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("module", ["t4dm", "t4dm.sdk", "t4dm.tools"])
def test_all_holds_the_promised_names_and_no_others(module: str) -> None:
    assert sorted(importlib.import_module(module).__all__) == sorted(PROMISED[module])


ADAPTERS = {
    "langchain": (
        "langchain_core",
        [
            "T4DMChatMessageHistory",
            "T4DMMemory",
            "T4DMMemoryMiddleware",
            "T4DMRetriever",
            "T4DMStore",
            "T4DMVectorStore",
        ],
    ),
    "llamaindex": ("llama_index", ["T4DMMemoryBlock", "T4DMVectorStore"]),
    "autogen": ("autogen_core", ["T4DMAutoGenMemory"]),
    "crewai": ("crewai", ["T4DMCrewMemory", "T4DMStorage", "install"]),
    "anthropic": ("anthropic", ["AsyncT4DMMemoryTool", "T4DMMemoryTool"]),
}


@pytest.mark.parametrize("extra", ADAPTERS)
def test_adapters_have_their_promised_names_and_a_missing_framework_names_its_extra(extra: str) -> None:
    """In a process of its own: importing a framework is slow, and one of them changes the whole process."""
    framework, names = ADAPTERS[extra]
    is_here = importlib.util.find_spec(framework) is not None
    program = f"import t4dm.adapters.{extra} as adapter; print(sorted(adapter.__all__) == {names!r})"
    environment = {**os.environ, "CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"}

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)

    if is_here:
        assert done.stdout.strip() == "True", done.stderr
    else:
        assert f"pip install 't4dm[{extra}]'" in done.stderr


def test_the_mcp_server_runs_as_a_module_and_names_its_extra_where_it_is_missing() -> None:
    program = "import sys; sys.modules['mcp'] = None; from t4dm.mcp.server import main; sys.exit(main([]))"

    helped = _run("-m", "t4dm.mcp.server", "--help")
    refused = _run("-c", program)

    assert "MCP host" in helped.stdout
    assert refused.returncode == 1
    assert "pip install 't4dm[mcp]'" in refused.stderr
    assert refused.stdout == ""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["t4dm", "t4dm.sdk"])
def test_a_name_that_does_not_exist_is_an_attribute_error(module: str) -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        importlib.import_module(module).nonsense  # noqa: B018


def test_names_that_are_loaded_late_are_listed_by_dir() -> None:
    assert {"T4DM", "AsyncT4DM"} <= set(dir(importlib.import_module("t4dm")))
    assert {"T4DMClient", "Memory"} <= set(dir(importlib.import_module("t4dm.sdk")))


def test_the_console_command_runs_the_command_line() -> None:
    (command,) = entry_points(group="console_scripts", name="t4dm")

    assert command.value == "t4dm.__main__:main"
    assert callable(command.load())


def test_the_package_is_typed() -> None:
    assert (importlib.resources.files("t4dm") / "py.typed").is_file()
