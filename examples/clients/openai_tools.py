"""A language model that keeps its own memory, by tools. Needs: pip install t4dm openai, a running daemon, a model.

OPENAI_BASE_URL and OPENAI_API_KEY say where the model is, OPENAI_MODEL which one: OpenAI's, or a local server's.
"""

import os
import sys
from typing import Any

from openai import OpenAI

from t4dm import T4DM
from t4dm.tools import openai_tools, run_tool_call

client, memory = OpenAI(), T4DM(user_id="ada")
messages: list[Any] = [{"role": "user", "content": " ".join(sys.argv[1:]) or "What do you know about me?"}]
while True:
    answer = client.chat.completions.create(
        model=os.environ.get("OPENAI_MODEL", "gpt-5-mini"), messages=messages, tools=openai_tools()
    )
    message = answer.choices[0].message
    messages += [message, *(run_tool_call(memory, call) for call in message.tool_calls or ())]
    if not message.tool_calls:
        break
print(message.content)
