"""Narrow a search with a filter, change a memory, and ask what was known before the change.

Needs a running daemon (`t4dm serve`) at T4DM_URL, by default http://127.0.0.1:8765.
"""

from t4dm import T4DM

with T4DM(user_id="filters-example") as memory:
    memory.delete_all(user_id="filters-example")  # so that running it again begins afresh

    ferry = memory.add(
        "Berta's ferry to the island leaves at 07:40.",
        metadata={"topic": "travel", "price": 12.5},
        event_time="2026-03-02",
    )
    memory.add(
        "Berta takes the night train home at 22:15.", metadata={"topic": "travel", "price": 49}, event_time="2026-03-05"
    )
    memory.add("Berta's dentist opens at eight.", metadata={"topic": "health"}, event_time="2026-03-06")

    cheap_travel = {
        "and": [
            {"field": "topic", "op": "eq", "value": "travel"},
            {"field": "price", "op": "lt", "value": 20},
        ]
    }
    print("filtered:")
    for hit in memory.search("When does Berta leave?", filter=cheap_travel):
        print(f"  {hit.score:.2f}  {hit.memory.event_time:%Y-%m-%d}  {hit.memory.content}")

    before = ferry.recorded_at
    memory.update(
        ferry.id, content="Berta's ferry to the island leaves at 08:10.", metadata={"changed_by": "harbour office"}
    )

    print("history:")
    for entry in memory.history(ferry.id):
        told = entry.new.content if entry.new else "-"
        print(f"  {entry.event:7} version {entry.version}  {told}")

    question = "When does the ferry to the island leave?"
    now = memory.search(question, k=1)[0].memory
    then = memory.search(question, k=1, filter=cheap_travel, known_at=before)[0].memory
    print("now:         ", now.content)
    print("known before:", then.content)

    memory.delete(ferry.id)
    found = memory.search(question, filter=cheap_travel)
    known = memory.search(question, filter=cheap_travel, known_at=before)
    print(f"after delete: {len(found)} found now, {len(known)} known before")
