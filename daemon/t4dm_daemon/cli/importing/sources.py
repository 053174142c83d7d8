"""`t4dm import <source>`: how each source is opened. What they share is in `source_command`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import UsageError
from t4dm_daemon.cli.importing.source_command import Reading

_URL = re.compile(r"https?://", re.IGNORECASE)
_LOOPBACK = re.compile(r"http://(localhost|127(\.\d+){3}|\[::1\])(:|/|$)", re.IGNORECASE)

Name = Annotated[
    str | None,
    typer.Option(
        "--name", help="What ids are made from; the path when absent. Give it when the file moves between imports."
    ),
]
From = list[str] | None


def chatgpt(export: Annotated[Path, typer.Argument(help="The zip, its folder, or conversations.json.")]) -> Reading:
    """Import ChatGPT's data export: each turn a memory, each conversation a session.

    Of a conversation, what you see is imported: not the branches that you left, nor what tools said.

        t4dm import chatgpt export.zip --user ada
    """
    from t4dm_daemon.sources import Files, chatgpt

    files = Files()
    return Reading("chatgpt", str(export), chatgpt.read(export, files), files)


def claude(export: Annotated[Path, typer.Argument(help="The zip, its folder, or conversations.json.")]) -> Reading:
    """Import Claude's data export: each turn a memory, each conversation a session.

    t4dm import claude data-2026-05-01.zip --user ada
    """
    from t4dm_daemon.sources import Files, claude

    files = Files()
    return Reading("claude", str(export), claude.read(export, files), files)


def mem0(
    source: Annotated[str, typer.Argument(help="A JSON export, or the http(s) URL of the cloud or of your server.")],
    from_user: Annotated[From, typer.Option("--from-user", help="Of a server: only this user's; repeatable.")] = None,
    from_agent: Annotated[
        From, typer.Option("--from-agent", help="Of a server: only this agent's; repeatable.")
    ] = None,
    from_run: Annotated[From, typer.Option("--from-run", help="Of a server: only this run's; repeatable.")] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key", envvar="MEM0_API_KEY", help="Of the server; the variable keeps it out of the process list."
        ),
    ] = None,
) -> Reading:
    """Import Mem0: from the cloud, from a server of your own, or from a JSON export. Ids stay as they are.

    The key comes from MEM0_API_KEY. A server of your own may want to be told whose memories (--from-user).

        MEM0_API_KEY=… t4dm import mem0 https://api.mem0.ai
        t4dm import mem0 http://localhost:8888 --from-user ada
        t4dm import mem0 memories.json
    """
    owners = [
        {column: one}
        for column, given in (("user_id", from_user), ("agent_id", from_agent), ("run_id", from_run))
        for one in given or ()
    ]
    if not _URL.match(source):
        if owners:
            raise UsageError("--from-user, --from-agent and --from-run are for a server")
        from t4dm_daemon.sources import Files
        from t4dm_daemon.sources import mem0 as export

        files = Files()
        return Reading("mem0", source, export.read(Path(source), files), files)
    from t4dm_daemon.sources.mem0_server import Mem0Server

    if api_key and source.lower().startswith("http:") and not _LOOPBACK.match(source):
        output.note("The key travels unencrypted: the URL begins with http, not https.")
    return Reading("mem0", source, Mem0Server(source, api_key, owners=owners).entries())


def openmemory(
    backup: Annotated[Path, typer.Argument(help="The zip of a backup, its folder, or a file of it.")],
) -> Reading:
    """Import a backup of OpenMemory, with its apps, categories and ids.

    t4dm import openmemory memories_export_ada.zip
    """
    from t4dm_daemon.sources import Files, openmemory

    files = Files()
    return Reading("openmemory", str(backup), openmemory.read(backup, files), files)


def langchain_history(
    source: Annotated[Path, typer.Argument(help="A JSON file of a session, a folder of them, or a SQLite database.")],
    table: Annotated[str, typer.Option("--table", help="Of the database.")] = "message_store",
) -> Reading:
    """Import LangChain's chat histories: FileChatMessageHistory, or SQLChatMessageHistory on SQLite.

    T4DM's chat history for LangChain reads the sessions back; a file's name is its session's.

        t4dm import langchain-history ./histories/
        t4dm import langchain-history memory.db
    """
    from t4dm_daemon.sources import Files, langchain_history

    files = Files()
    return Reading("langchain-history", str(source), langchain_history.read(source, files, table=table), files)


def mcp_memory(
    file: Annotated[Path, typer.Argument(help="The file that MEMORY_FILE_PATH names.")], name: Name = None
) -> Reading:
    """Import the knowledge graph of the reference MCP memory server: entities, relations, links.

    t4dm import mcp-memory memory.jsonl
    """
    from t4dm_daemon.sources import Files, mcp_memory

    files = Files()
    return Reading("mcp-memory", str(file), mcp_memory.read(file, files, name=name), files)


def letta(file: Annotated[Path, typer.Argument(help="An agent file (.af), or archival memory as JSON.")]) -> Reading:
    """Import Letta: the blocks and messages of an agent file, or an agent's archival memory.

    t4dm import letta agent.af
    """
    from t4dm_daemon.sources import Files, letta

    files = Files()
    return Reading("letta", str(file), letta.read(file, files), files)


def jsonl(
    file: Annotated[Path, typer.Argument(help="One JSON object a line, or a JSON array; may be gzipped.")],
    text_key: Annotated[
        str | None, typer.Option("--text-key", help="The field with the words; content, text, memory, … when absent.")
    ] = None,
) -> Reading:
    """Import JSON lines of any kind: what no memory has goes into the metadata.

    An export of T4DM is imported without the word: t4dm import FILE

        t4dm import jsonl notes.jsonl --user ada
        t4dm import jsonl tickets.jsonl.gz --text-key summary
    """
    from t4dm_daemon.sources import Files
    from t4dm_daemon.sources import jsonl as lines

    files = Files()
    return Reading("jsonl", str(file), lines.read(file, files, text_key=text_key), files)


def markdown(
    source: Annotated[Path, typer.Argument(help="A file, or a folder with everything below it.")], name: Name = None
) -> Reading:
    """Import Markdown: one memory for each section, with the front matter as its metadata.

    t4dm import markdown ~/notes --user ada
    """
    from t4dm_daemon.sources import Files
    from t4dm_daemon.sources import markdown as notes

    files = Files()
    return Reading("markdown", str(source), notes.read(source, files, name=name), files)
