"""Writers that say what was acknowledged, until they are killed. Run as a program: `writers.py DIRECTORY`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np

from t4dm_daemon.core.item import Edge, Item
from t4dm_daemon.storage.protocol import Deletion, FieldUpdate, Write
from t4dm_daemon.storage.t4dx import Database

WRITERS = 4


def _write(engine, writer: int, start: int, out: threading.Lock) -> None:  # type: ignore[no-untyped-def]
    vector = np.ones(8, np.float32)
    for number in range(start, start + 1_000_000):
        a, b = f"{writer}-{number}-a", f"{writer}-{number}-b"
        engine.insert([Write(Item(id=a, content=a, vector=vector)), Write(Item(id=b))], [Edge(a, b, "CAUSES")])
        engine.update_fields([FieldUpdate(a, {}, {"access_count": 1})])
        engine.insert([Write(Item(id=f"{writer}-doomed"))])
        engine.delete([Deletion(f"{writer}-doomed")])
        with out:
            sys.stdout.write(f"{writer} {number}\n")
            sys.stdout.flush()


def main() -> None:
    database = Database(Path(sys.argv[1]), flush_items=50)
    engine = database.space("s") if "s" in database.spaces() else database.create_space("s")
    start = int(sys.argv[2])
    out = threading.Lock()
    for writer in range(WRITERS):
        threading.Thread(target=_write, args=(engine, writer, start, out)).start()


if __name__ == "__main__":
    main()
