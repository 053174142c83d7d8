"""What CrewAI's storage and memory ask of a daemon: every operation once."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from tests.contract.frameworks import crewai_offline  # isort: skip  # before CrewAI: it switches telemetry off

from crewai.memory.storage import factory
from crewai.memory.types import MemoryRecord
from crewai.memory.unified_memory import Memory

from t4dm.adapters.crewai import T4DMCrewMemory, T4DMStorage, install

NOON = datetime(2026, 5, 1, 12)


def play(url: str) -> Any:
    return {"storage": _storage(url), "named": _named(url), "memory": _memory(url)}


def _storage(url: str) -> Any:
    storage = T4DMStorage(url, space="recorded-vectors", user_id="ada")
    records = [
        MemoryRecord(
            id="a", content="Alpha.", scope="/x", categories=["c", "d"], metadata={"k": 1}, **_made(0, [1, 0])
        ),
        MemoryRecord(id="b", content="Beta.", scope="/x/y", metadata={"k": None, "d.e": 2}, **_made(1, [0, 1])),
        MemoryRecord(
            id="c", content="Gamma.", scope="/xy", categories=["c"], source="s", private=True, **_made(2, [1, 1])
        ),
    ]
    outcome: dict[str, Any] = {"before": [_found(storage.search([1.0, 0.0])), storage.count()]}
    storage.save(records[:2])
    asyncio.run(_asave(storage, records[2:]))
    outcome["found"] = [
        _found(storage.search([1.0, 0.0])),
        _found(storage.search([1.0, 0.0], "/x", limit=1, min_score=0.4)),
        _found(storage.search([1.0, 0.0], categories=["c"], metadata_filter={"k": 1})),
        _found(storage.search([1.0, 0.0], metadata_filter={"d.e": 2, "k": None})),
        _found(asyncio.run(storage.asearch([0.0, 1.0]))),
    ]
    storage.touch_records(["a"])
    storage.update(records[1].model_copy(update={"content": "Changed."}))
    outcome["there"] = [_told(storage.get_record(name)) for name in ("b", "nobody")] + [
        _told(one) for one in storage.list_records(limit=2)
    ]
    outcome["scopes"] = [
        storage.get_scope_info("/x").model_dump(mode="json"),
        storage.list_scopes(),
        storage.list_categories("/x"),
        storage.count("/x"),
    ]
    outcome["deleted"] = [
        storage.delete("/x", metadata_filter={"d.e": 2}),
        storage.delete(record_ids=["a", "nobody"], older_than=NOON + timedelta(hours=1)),
        asyncio.run(storage.adelete("/xy")),
    ]
    storage.reset("/x")
    storage.close()
    return outcome


def _named(url: str) -> Any:
    factory.set_memory_storage_factory(None)
    install()
    name = url.replace("http://", "t4dm://") + "/recorded-named"
    memory = Memory(storage=name, embedder=crewai_offline.embed, llm=crewai_offline.Model(model="none"))
    factory.set_memory_storage_factory(None)
    memory.recall("nothing yet", depth="shallow")
    memory.reset()
    memory.close()
    return memory.list_scopes()


def _memory(url: str) -> Any:
    memory = T4DMCrewMemory(url=url, space="recorded-memory", root_scope="/crew", max_retries=0)
    one = memory.remember(crewai_offline.FERRY, "/harbour", ["boats"], {"pier": 6}, importance=0.9)
    many = memory.remember_many(["The ferry is blue.", "The ferry is fast."], source="ada", private=True)
    awaited = asyncio.run(memory.aremember(crewai_offline.FERRY, "/harbour"))
    assert one is not None
    outcome: dict[str, Any] = {
        "remembered": [_told(record) for record in (one, *many, awaited)],
        "recalled": [
            _matched(memory.recall("Which pier has the ferry?")),
            _matched(memory.recall("ferry", "/harbour", ["boats"], depth="shallow")),
            _matched(asyncio.run(memory.arecall("ferry", source="ada", limit=2))),
        ],
        "updated": _told(memory.update(one.id, content="The ferry has pier four.", categories=["piers"])),
        "listed": [_told(record) for record in memory.list_records()],
        "tree": memory.tree(),
        "forgotten": memory.forget(categories=["piers"]),
    }
    memory.reset()
    memory.reset_all()
    memory.close()
    return outcome


def _made(hour: int, direction: list[int]) -> dict[str, Any]:
    when = NOON + timedelta(hours=hour)
    return {
        "embedding": [float(one) for one in direction],
        "created_at": when,
        "last_accessed": when,
        "importance": 0.5,
    }


async def _asave(storage: T4DMStorage, records: list[MemoryRecord]) -> None:
    await storage.asave(records)
    await storage.aclose()


def _found(found: list[tuple[MemoryRecord, float]]) -> Any:
    return [[_told(record), score] for record, score in found]


def _matched(matches: Any) -> Any:
    return [[one.record.content, one.score, one.match_reasons] for one in matches]


def _told(record: MemoryRecord | None) -> Any:
    return None if record is None else record.model_dump(mode="json") | {"embedding": record.embedding}
