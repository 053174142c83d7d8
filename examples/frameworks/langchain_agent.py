"""A LangChain agent that remembers: what one thread was told, another knows, each user for themselves.

`Listener` stands where a language model would: it answers with what memory put before it. Needs a running daemon
(`t4dm serve`) at T4DM_URL, by default http://127.0.0.1:8765, and: pip install 't4dm[langchain]'
"""

from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from t4dm import T4DM
from t4dm.adapters.langchain import T4DMMemoryMiddleware

SPACE = "langchain-agent-example"


@dataclass
class Context:
    user_id: str


class Listener(BaseChatModel):
    @property
    def _llm_type(self) -> str:
        return "listener"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        recalled = [line for line in str(messages[0].text).splitlines() if line.startswith("- [")]
        answer = AIMessage(f"I remember {len(recalled)} thing(s). {' '.join(recalled[:1])}".strip())
        return ChatResult(generations=[ChatGeneration(message=answer)])


def owner(runtime: Any) -> dict[str, str]:
    return {"user_id": runtime.context.user_id}


memory = T4DMMemoryMiddleware(space=SPACE, owner_of=owner, capture_answers=False)
agent = create_agent(Listener(), middleware=[memory], context_schema=Context)
with T4DM(space=SPACE) as everything:
    if SPACE in [space.name for space in everything.backend.list_spaces()]:
        everything.delete_all(all=True)  # so that running it again begins afresh

for user, text in (
    ("ada", "I'm allergic to walnuts."),
    ("ada", "What must I not eat?"),
    ("bob", "What must I not eat?"),
):
    state = agent.invoke({"messages": [HumanMessage(text)]}, context=Context(user))
    print(f"{user}: {text}\n  -> {state['messages'][-1].text}")
memory.close()
