"""Long work on the store holds up nobody else."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import httpx
from fastapi import FastAPI

from t4dm.sdk import models as m
from t4dm_daemon.api import errors
from t4dm_daemon.api.deps import Doors
from t4dm_daemon.api.routes import admin, operations, spaces
from t4dm_daemon.api.work import Lane

TIMEOUT_S = 30


def test_health_and_reads_are_answered_while_a_compaction_runs() -> None:
    began, gate = threading.Event(), threading.Event()

    def compact(**_: object) -> list[Any]:
        began.set()
        assert gate.wait(TIMEOUT_S)
        return []

    async def scenario() -> None:
        health = m.Health(status="ok", instance_id="i", pid=1, uptime_s=1.0)
        runtime: Any = SimpleNamespace(
            health=lambda: health,
            maintenance=SimpleNamespace(compact=compact),
            service=SimpleNamespace(spaces=SimpleNamespace(open_all=list)),
        )
        app = FastAPI()
        for module in (admin, operations, spaces):
            app.include_router(module.router)
        errors.install(app)
        quick, bulk = (Lane(name, workers=1, max_waiting=0, deadline_s=TIMEOUT_S) for name in ("quick", "bulk"))
        app.state.doors = Doors(runtime, quick=quick, bulk=bulk)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            compaction = asyncio.create_task(http.post("/api/v1/admin/compact", json={}))
            while not began.is_set():
                await asyncio.sleep(0)

            assert (await http.get("/healthz")).status_code == 200
            assert (await http.get("/api/v1/spaces")).json() == {"results": []}
            assert not compaction.done()

            gate.set()
            assert (await compaction).json() == {"results": []}
        quick.close()
        bulk.close()

    asyncio.run(scenario())
