"""Store a sentence and find it by its meaning, in three lines.

Needs a running daemon (`t4dm serve`) at T4DM_URL, by default http://127.0.0.1:8765.
"""

from t4dm import T4DM

memory = T4DM()
memory.add("The spare key hangs behind the fuse box.")
hits = memory.search("How do I get in if I lock myself out?", k=3)

for hit in hits:
    print(f"{hit.score:.2f}  {hit.memory.content}")
memory.close()
