"""Use the memory inside this process, without a daemon: open a directory, close it, open it again.

One process owns a directory at a time. Needs `pip install 't4dm[daemon]'`.
"""

import tempfile

from t4dm import T4DM

with tempfile.TemporaryDirectory() as directory:
    with T4DM(storage_path=directory) as memory:
        kept = memory.add("The lighthouse lamp turns once every nine seconds.", metadata={"topic": "lighthouse"})
        memory.add("The keeper's boat is called Petrel.", metadata={"topic": "boat"})
        print(f"stored {kept.id}, recorded at {kept.recorded_at:%Y-%m-%d %H:%M:%S} UTC")

    with T4DM(storage_path=directory) as memory:
        print(f"reopened: {len(memory.get_all())} memories")
        for hit in memory.search("How often does the beam come round?", k=2):
            print(f"{hit.score:.2f}  {hit.memory.content}")
        print("by id:", memory.get(kept.id).content)
