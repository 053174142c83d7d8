"""Memory as tools of a language model: what to tell it, and how to carry out what it calls.

    tools = openai_tools()                                   for chat.completions.create(tools=…)
    answer = run_tool_call(memory, call, user_id="ada")      for each of message.tool_calls

Needs no SDK: calls are read, and results written, in the forms of OpenAI's Chat Completions and Responses and of
Anthropic's Messages.
"""

from __future__ import annotations

from typing import Final

from t4dm.tools.arguments import MODELS
from t4dm.tools.calls import arun_tool_call, run_tool_call
from t4dm.tools.schema import anthropic_tools, openai_responses_tools, openai_tools

__all__ = [
    "TOOL_NAMES",
    "anthropic_tools",
    "arun_tool_call",
    "openai_responses_tools",
    "openai_tools",
    "run_tool_call",
]

TOOL_NAMES: Final = tuple(MODELS)
"""Names of the memory tools, for programs that have others, too."""
