"""An agent that remembers: its tools use the store, and what they put there outlives the thread and the process.

A real agent has a language model; here a script stands in its place. Needs a running daemon (`t4dm serve`) at
T4DM_URL, by default http://127.0.0.1:8765.
"""

from langchain.agents import create_agent
from langchain.tools import ToolRuntime, tool
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from t4dm.adapters.langchain import T4DMStore


class Scripted(GenericFakeChatModel):
    def bind_tools(self, tools, **given):  # noqa: ARG002
        return self


def calling(name: str, text: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": {"text": text}, "id": name}])


@tool
def remember(text: str, runtime: ToolRuntime) -> str:
    """Keep something in mind."""
    runtime.store.put(("memories", "ada"), text, {"text": text})
    return "kept"


@tool
def recall(text: str, runtime: ToolRuntime) -> str:
    """Look for what is known."""
    found = runtime.store.search(("memories", "ada"), query=text, limit=1)
    return found[0].value["text"] if found else "nothing"


def main() -> None:
    script = [
        calling("remember", "Walnuts make Ada ill."),
        calling("remember", "The ferry leaves from pier four."),
        AIMessage("I will keep both in mind."),
        calling("recall", "allergies: which nuts to leave out"),
        AIMessage("Then without walnuts."),
    ]
    with T4DMStore(space="langgraph-example") as store:
        agent = create_agent(Scripted(messages=iter(script)), [remember, recall], store=store)
        for text in (
            "Walnuts make me ill, and my ferry leaves from pier four.",
            "What should I leave out of the cake?",
        ):
            print("user: ", text)
            for message in agent.invoke({"messages": [("user", text)]})["messages"][1:]:
                if message.content:
                    print(f"{message.type:>5}:", message.content)


if __name__ == "__main__":
    main()
