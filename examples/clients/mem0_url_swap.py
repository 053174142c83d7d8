"""A program for Mem0 that knows nothing of T4DM: only its URL says who answers.

    MEM0_URL=https://api.mem0.ai MEM0_API_KEY=… python mem0_url_swap.py
    MEM0_URL=http://127.0.0.1:8765 MEM0_API_KEY=any python mem0_url_swap.py

Prints every answer as a line of JSON. `MEM0_TELEMETRY=False` turns off what the client tells its makers.
"""

import json
import os

from mem0 import MemoryClient

client = MemoryClient(api_key=os.environ["MEM0_API_KEY"], host=os.environ["MEM0_URL"])
messages = [
    {"role": "user", "content": "I'm a vegetarian. I live in Lisbon."},
    {"role": "assistant", "content": "Noted: no meat, and trams."},
]
owner = {"user_id": "url-swap"}

added = client.add(messages, user_id="url-swap", metadata={"source": "example"}, expiration_date="2999-12-31")
everything = client.get_all(filters=owner, page=1, page_size=2)
first = everything["results"][0]["id"]
answers = {
    "add": added,
    "get_all": everything,
    "search": client.search("What does the user eat?", filters=owner, top_k=3),
    "get": client.get(first),
    "update": client.update(first, text="The user eats no meat."),
    "history": client.history(first),
    "feedback": client.feedback(first, feedback="POSITIVE"),
    "users": client.users(),
    "batch_update": client.batch_update([{"memory_id": first, "text": "The user is a vegetarian."}]),
    "delete": client.delete(first),
    "delete_all": client.delete_all(user_id="url-swap"),
}
for name, answer in answers.items():
    print(json.dumps({name: answer}))
