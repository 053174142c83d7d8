"""How useful memories were, kept for learning to draw on.

Each judgement is an item of its own in an internal space: which memory of which space, the reward in [-1, 1], the
question, and when. It is as durable as a memory and part of every backup; nothing reads it to rank, yet.
"""

from __future__ import annotations

import time

from t4dm.sdk.recall_models import FeedbackRequest
from t4dm_daemon.core.ids import new_id
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory import json_text
from t4dm_daemon.memory.spaces import FEEDBACK, Catalog, open_internal
from t4dm_daemon.storage.protocol import StorageBackend, View, Write

KIND = "feedback"


class FeedbackLog:
    """Keep judgements. Thread-safe: it holds no state of its own.

    Args:
        catalog: Where the internal space is.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def record(self, request: FeedbackRequest, memories: StorageBackend) -> int:
        """Keep what is said of memories that exist, durably and as a whole; return of how many.

        Args:
            request: What is said.
            memories: The space of the memories.
        """
        found = memories.get([one.id for one in request.items], view=View(include_expired=True))
        now = time.time_ns() // 1000
        writes = [
            Write(
                Item(
                    id=new_id(),
                    kind=KIND,
                    run_id=one.id,
                    app_id=request.space,
                    event_time=now,
                    value_json=json_text.encode(
                        {"id": one.id, "space": request.space, "reward": one.reward, "query": request.query},
                        field="items",
                        max_bytes=8 * 1024 * 1024,
                    ),
                )
            )
            for one, memory in zip(request.items, found, strict=True)
            if memory is not None
        ]
        if writes:
            open_internal(self._catalog, FEEDBACK).insert(writes)
        return len(writes)
