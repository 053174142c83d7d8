"""Claude with a memory of files that are T4DM's memories. Needs: pip install 't4dm[anthropic]', and a running daemon.

ANTHROPIC_API_KEY is the key, ANTHROPIC_MODEL the model, ANTHROPIC_BASE_URL another address than Anthropic's.
"""

import os
import sys

from anthropic import Anthropic

from t4dm.adapters.anthropic import T4DMMemoryTool

memory = T4DMMemoryTool(user_id="ada")
runner = Anthropic().beta.messages.tool_runner(
    model=os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5"),
    max_tokens=1024,
    messages=[{"role": "user", "content": " ".join(sys.argv[1:]) or "What do you know about me?"}],
    tools=[memory],
    betas=["context-management-2025-06-27"],
)
for message in runner:
    for block in message.content:
        print(block.text if block.type == "text" else block.type)
memory.close()
