"""OpenAI's client with the daemon's embedder: no key, no network. Needs: pip install openai, and a running daemon."""

import os

from openai import OpenAI

url = os.environ.get("T4DM_URL", "http://127.0.0.1:8765")
client = OpenAI(base_url=f"{url}/v1", api_key="anything")
texts = ["The ferry leaves from pier six.", "A boat departs at the sixth jetty.", "Interest rates rose again."]
ferry, boat, rates = (one.embedding for one in client.embeddings.create(model="default", input=texts).data)
for other, vector in (("boat", boat), ("rates", rates)):
    print(f"ferry and {other}: {sum(a * b for a, b in zip(ferry, vector, strict=True)):.2f}")
