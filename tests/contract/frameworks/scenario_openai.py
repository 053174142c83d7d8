"""What OpenAI's own client asks of a daemon, in version 2 and in version 3 alike.

Run as a program, with the address of a daemon, it prints what came of it: so another Python, with another version of
the client and nothing of ours, plays the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import openai


def play(url: str) -> Any:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="anything", max_retries=0)
    embed = client.embeddings.create
    vector = embed(model="default", input="The ferry leaves from pier six.")
    numbers = embed(model="default", input="The ferry leaves from pier six.", encoding_format="float")
    several = embed(model="hashing", input=["Ada likes tea", "Ada mag Tee ☕", "Ada likes tea"], user="ada")
    said: Any = [{"role": "user", "content": "Which pier?"}]
    outcome = {
        "models": [one.id for one in client.models.list()],
        "model": _model(client.models.retrieve("hashing")),
        "alias": _model(client.models.retrieve("default")),
        "vector": vector.data[0].embedding,
        "same as numbers": vector.data[0].embedding == numbers.data[0].embedding,
        "usage": several.usage,
        "several": [(one.index, one.object, len(one.embedding)) for one in several.data],
        "repeated": several.data[0].embedding == several.data[2].embedding,
        "dimensions": len(embed(model="default", input="x", dimensions=256).data[0].embedding),
        "errors": {
            "unknown model": _refused(lambda: embed(model="text-embedding-3-small", input="x")),
            "model to describe": _refused(lambda: client.models.retrieve("nobody/nothing")),
            "tokens": _refused(lambda: embed(model="default", input=[1, 2, 3])),
            "lists of tokens": _refused(lambda: embed(model="default", input=[[1, 2], [3]])),
            "nothing": _refused(lambda: embed(model="default", input=[])),
            "an empty text": _refused(lambda: embed(model="default", input=["x", ""])),
            "shorter": _refused(lambda: embed(model="default", input="x", dimensions=64)),
            "chat": _refused(lambda: client.chat.completions.create(model="gpt", messages=said)),
            "stream": _refused(lambda: client.chat.completions.create(model="gpt", messages=said, stream=True)),
            "completion": _refused(lambda: client.completions.create(model="gpt", prompt="Once")),
            "response": _refused(lambda: client.responses.create(model="gpt", input="Which pier?")),
            "no message": _refused(lambda: client.chat.completions.create(model="gpt", messages=[])),
        },
        "awaited": asyncio.run(_awaited(url)) == vector.data[0].embedding,
    }
    client.close()
    return outcome


async def _awaited(url: str) -> list[float]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="anything", max_retries=0) as client:
        found = await client.embeddings.create(model="default", input="The ferry leaves from pier six.")
        return found.data[0].embedding


def _model(model: Any) -> dict[str, Any]:
    return {name: value for name, value in model.to_dict().items() if name != "created"}


def _refused(call: Callable[[], Any]) -> dict[str, Any]:
    try:
        call()
    except openai.APIStatusError as error:
        return {"status": error.status_code, "class": type(error).__name__, "error": error.body}
    raise AssertionError("this was to be refused")


if __name__ == "__main__":
    print(json.dumps(play(sys.argv[1])))
