"""An MCP host beside the daemon: what a session waits for, with the hot cache and without it.

    python -m tests.bench mcp [--memories 10000] [--rounds 200]

A real daemon holds the memories (vectors by the hashing embedder, so no model is timed); a client of the MCP SDK speaks
to `t4dm mcp` over standard input and output. Beside it, in the same run, the same question asked of the daemon by the
typed client, and an empty request (`ping`), which is what the protocol itself costs. The last row is what the server
itself measured of its cache.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from pydantic import AnyUrl

from t4dm.sdk import T4DMClient
from t4dm.sdk import models as m
from tests.bench.report import Table, percentiles
from tests.support.daemon import Daemon
from tests.support.mcp_sessions import call, over_stdio

BATCH: Final = 500
OWNER: Final = "bench"


def run(memories: int = 10_000, rounds: int = 200) -> None:
    with tempfile.TemporaryDirectory(prefix="t4dm-bench-", ignore_cleanup_errors=True) as directory:
        daemon = Daemon(Path(directory), cache=Path(directory) / "cache", model="hashing").start()
        try:
            with daemon.client() as client:
                _fill(client, memories)
                table = Table(f"MCP over standard input and output, {memories} memories", ("what", "p50 ms", "p99 ms"))
                asyncio.run(_measure(daemon, client, table, rounds))
                table.print()
        finally:
            daemon.close()


def _fill(client: T4DMClient, memories: int) -> None:
    for start in range(0, memories, BATCH):
        some = range(start, min(start + BATCH, memories))
        client.batch(m.BatchRequest(records=[m.RecordIn(content=_text(at), user_id=OWNER) for at in some]))


def _text(at: int) -> str:
    return f"Note {at}: the meeting about project {at % 97} was moved to room {at % 13}."


async def _measure(daemon: Daemon, client: T4DMClient, table: Table, rounds: int) -> None:
    async with over_stdio("--user-id", OWNER, environment={"T4DM_URL": daemon.url}) as session:

        async def written_and_read(number: int) -> float:
            await call(session, "t4dm_remember", content=f"Written in round {number}.")
            return await _seconds(lambda: session.read_resource(AnyUrl("memory://context")))

        async def asked(number: int) -> None:
            await call(session, "t4dm_search", query=f"project {number % 97}", limit=10)

        await session.initialize()
        table.row("an empty request (ping)", *await _timed(lambda _: session.send_ping(), rounds))
        read = await _timed(lambda _: session.read_resource(AnyUrl("memory://context")), rounds)
        table.row("memory://context, from the hot cache", *read)
        anew = [await written_and_read(number) for number in range(rounds // 4)]
        table.row("memory://context, after a write", *percentiles(anew))
        table.row("t4dm_search", *await _timed(asked, rounds))
        table.row("the same search by the typed client", *_searched(client, rounds))
        cache = json.loads((await session.read_resource(AnyUrl("memory://hot-cache"))).contents[0].text)["measured"]
        table.row(
            f"the cache: {cache['hits']} hits of {cache['mean_hit_us']} µs, misses: mean", cache["mean_miss_ms"], None
        )


def _searched(client: T4DMClient, rounds: int) -> tuple[float, float]:
    times = []
    for number in range(rounds):
        start = time.perf_counter()
        client.search(m.SearchRequest(query=f"project {number % 97}", k=10, user_id=OWNER))
        times.append(time.perf_counter() - start)
    return percentiles(times)


async def _timed(ask: Callable[[int], Awaitable[Any]], rounds: int) -> tuple[float, float]:
    return percentiles([await _seconds(lambda number=number: ask(number)) for number in range(rounds)])


async def _seconds(ask: Callable[[], Awaitable[Any]]) -> float:
    start = time.perf_counter()
    await ask()
    return time.perf_counter() - start


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args(arguments)
    run(options.memories, options.rounds)


if __name__ == "__main__":
    main()
