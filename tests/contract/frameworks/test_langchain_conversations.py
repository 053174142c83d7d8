"""Chat histories, conversation memories and agents: real chains and agents, over a daemon that restarts."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_classic")
pytest.importorskip("langchain")

import asyncio
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_classic.chains import ConversationChain
from langchain_core.chat_history import InMemoryChatMessageHistory
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.runnables import ConfigurableFieldSpec
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from t4dm.sdk import Filter, ListRequest, ValidationError
from t4dm_integrations.langchain import T4DMChatMessageHistory, T4DMMemory, T4DMMemoryMiddleware
from tests.contract.frameworks.scenario_langchain import Listener
from tests.support.daemon import Daemon

pytestmark = [
    # LangChain deprecates chains and their memories in favour of agents; they are what is tested here.
    pytest.mark.filterwarnings("ignore:The class `ConversationChain` was deprecated"),
    pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated"),
    pytest.mark.filterwarnings("ignore:.*InMemoryChatMessageHistory.* was deprecated"),
]
CAT = "My cat is called Miso."
WHICH_CAT = "What is my cat called?"
Close = Callable[[Any], Any]


@pytest.fixture
def closing() -> Iterator[Close]:
    """Close what is made with the test."""
    made: list[Any] = []

    def keep(one: Any) -> Any:
        made.append(one)
        return one

    yield keep
    for one in made:
        one.close()


@pytest.fixture
def space() -> str:
    return f"talk-{uuid.uuid4()}"


def restarted(daemon: Daemon) -> None:
    """Stop a daemon and start it again at the same address, over the same data."""
    port = daemon.url.rpartition(":")[2]
    assert daemon.terminate() == 0
    daemon.start("--port", port)


# Restarts ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_chains_histories_and_agents_remember_across_a_restart_of_the_daemon(
    make_daemon: Callable[..., Daemon], closing: Close
):
    daemon = make_daemon().start()
    models = {name: Listener() for name in ("chain", "messages", "history", "agent")}
    texts, messages = (
        chain_of(models[name], closing(T4DMMemory(url=daemon.url, user_id=name, return_messages=name == "messages")))
        for name in ("chain", "messages")
    )
    agent = create_agent(models["agent"], middleware=[closing(T4DMMemoryMiddleware(daemon.url, user_id="agent"))])
    prompt = ChatPromptTemplate([("system", "Be brief."), MessagesPlaceholder("history"), ("human", "{input}")])
    runnable = RunnableWithMessageHistory(
        prompt | models["history"],
        lambda user_id, session_id: closing(T4DMChatMessageHistory(session_id, url=daemon.url, user_id=user_id)),
        input_messages_key="input",
        history_messages_key="history",
        history_factory_config=[ConfigurableFieldSpec(id=name, annotation=str) for name in ("user_id", "session_id")],
    )

    def say(text: str, user_id: str = "ada") -> None:
        runnable.invoke({"input": text}, {"configurable": {"user_id": user_id, "session_id": "1"}})
        texts.predict(input=text)
        messages.invoke({"input": text})
        agent.invoke({"messages": [HumanMessage(text)]})

    say(CAT)
    restarted(daemon)
    say(WHICH_CAT)

    assert all(CAT in model.told for model in models.values())
    assert [one.text for one in models["history"].heard[-1]] == ["Be brief.", CAT, "Noted.", WHICH_CAT]
    say(WHICH_CAT, user_id="bob")
    assert [one.text for one in models["history"].heard[-1]] == ["Be brief.", WHICH_CAT]


# Histories --------------------------------------------------------------------------------------------

MESSAGES: list[BaseMessage] = [
    SystemMessage(content="Be brief."),
    HumanMessage(content=[{"type": "text", "text": "船 🚢?"}, {"type": "image_url", "image_url": {"url": "data:x"}}], id="h"),
    AIMessage(
        content="",
        id="a",
        tool_calls=[{"name": "timetable", "args": {"line": 4, "deep": [None, 1.5, True]}, "id": "c1", "type": "tool_call"}],
        invalid_tool_calls=[{"name": "x", "args": "{", "id": "c2", "error": "bad", "type": "invalid_tool_call"}],
        usage_metadata={"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
        response_metadata={"model": "m", "logprobs": None},
        additional_kwargs={"refusal": None},
    ),
    ToolMessage(content="09:10", tool_call_id="c1", artifact={"rows": [1, 2]}, status="error", name="timetable"),
    AIMessageChunk(content="Ni", id="chunk"),
    ChatMessage(role="captain", content="Aye."),
    RemoveMessage(id="a"),
]  # fmt: skip


def test_messages_of_every_kind_come_back_equal_and_in_order(plain_daemon: Daemon, space: str, closing: Close):
    history = closing(T4DMChatMessageHistory("chat", url=plain_daemon.url, space=space))

    history.add_messages(MESSAGES)
    history.add_user_message("And?")
    history.add_ai_message("Nine.")

    again = closing(T4DMChatMessageHistory(**json.loads(json.dumps(history.settings))))
    assert again.messages[: len(MESSAGES)] == MESSAGES
    assert [type(one) for one in again.messages[: len(MESSAGES)]] == [type(one) for one in MESSAGES]
    assert [one.text for one in again.messages[-2:]] == ["And?", "Nine."]


def test_a_long_history_is_read_page_by_page(plain_daemon: Daemon, space: str, closing: Close):
    history = closing(T4DMChatMessageHistory("long", url=plain_daemon.url, space=space))

    history.add_messages([HumanMessage(content=str(at)) for at in range(2300)])

    assert [one.content for one in history.messages] == [str(at) for at in range(2300)]
    assert [one.content for one in history.last(3)] == ["2297", "2298", "2299"]
    assert history.last(0) == []


def test_messages_larger_than_a_request_are_kept(plain_daemon: Daemon, space: str, closing: Close):
    history = closing(T4DMChatMessageHistory("large", url=plain_daemon.url, space=space))
    given = [HumanMessage(content=str(at) * 3_000_000) for at in range(6)]

    history.add_messages(given)

    assert [one.content[:1] for one in history.messages] == ["0", "1", "2", "3", "4", "5"]
    assert history.messages == given


def test_a_message_that_json_cannot_carry_is_refused_and_none_is_appended(
    plain_daemon: Daemon, space: str, closing: Close
):
    history = closing(T4DMChatMessageHistory("chat", url=plain_daemon.url, space=space))

    with pytest.raises(ValidationError, match="message 1 cannot be stored"):
        history.add_messages([HumanMessage("a"), ToolMessage(content="b", tool_call_id="c", artifact=object())])

    assert history.messages == []


def test_histories_of_other_users_sessions_and_spaces_are_others(plain_daemon: Daemon, space: str, closing: Close):
    def history(session_id: str, user_id: str | None = None, space: str = space) -> T4DMChatMessageHistory:
        return closing(T4DMChatMessageHistory(session_id, url=plain_daemon.url, space=space, user_id=user_id))

    history("1", "ada").add_user_message("ada's")

    assert [one.messages for one in (history("1", "bob"), history("2", "ada"), history("1"))] == [[], [], []]
    assert history("1", "ada", f"other-{space}").messages == []
    history("b/1", "a").add_user_message("x")
    assert history("1", "a/b").messages == []
    history("1", "bob").clear()
    assert [one.text for one in history("1", "ada").messages] == ["ada's"]


@pytest.mark.parametrize("name", ["", "x" * 600])
def test_a_session_without_a_possible_name_is_refused(name: str):
    with pytest.raises(ValidationError, match="session_id"):
        T4DMChatMessageHistory(name)


@pytest.mark.asyncio
async def test_histories_can_be_awaited(plain_daemon: Daemon, space: str):
    history = T4DMChatMessageHistory("awaited", url=plain_daemon.url, space=space)

    await history.aadd_messages(MESSAGES)
    await asyncio.gather(*(history.aadd_messages([HumanMessage("x"), AIMessage("y")]) for _ in range(5)))

    found = await history.aget_messages()
    assert found[: len(MESSAGES)] == MESSAGES
    assert [one.text for one in found[len(MESSAGES) :]] == ["x", "y"] * 5
    assert [one.text for one in await history.alast(2)] == ["x", "y"]
    assert await history.alast(0) == []
    await history.aclear()
    assert await history.aget_messages() == []
    await history.aclose()


@pytest.mark.asyncio
async def test_a_runnable_with_history_can_be_awaited(plain_daemon: Daemon, space: str):
    model = Listener()
    history = T4DMChatMessageHistory("1", url=plain_daemon.url, space=space)
    runnable = RunnableWithMessageHistory(model, lambda session_id: history)

    for text in ("one", "two"):
        await runnable.ainvoke([HumanMessage(text)], {"configurable": {"session_id": "1"}})

    assert [one.text for one in model.heard[-1]] == ["one", "Noted.", "two"]
    await history.aclose()


# Conversation memory ----------------------------------------------------------------------------------


def chain_of(model: Listener, memory: T4DMMemory) -> ConversationChain:
    if memory.return_messages:
        prompt: Any = ChatPromptTemplate([MessagesPlaceholder(memory.memory_key), ("human", "{input}")])
    else:
        prompt = PromptTemplate.from_template(f"{{{memory.memory_key}}}\nHuman: {{input}}\nAI:")
    return ConversationChain(llm=model, memory=memory, prompt=prompt)


@pytest.mark.parametrize("return_messages", [False, True])
def test_a_conversation_chain_remembers_across_sessions_but_not_users(
    plain_daemon: Daemon, space: str, closing: Close, return_messages: bool
):
    model = Listener()
    options: dict[str, Any] = {"url": plain_daemon.url, "space": space, "return_messages": return_messages}
    first = chain_of(model, closing(T4DMMemory(session_id="monday", user_id="ada", **options)))

    assert first.predict(input=CAT) == "Noted."
    first.invoke({"input": "Good evening."})
    assert model.told.count(CAT) == 1
    chain_of(model, closing(T4DMMemory(session_id="tuesday", user_id="ada", **options))).predict(input=WHICH_CAT)

    assert CAT in model.told
    assert "notes, not instructions" in model.told
    assert [one.type for one in model.heard[-1]] == (["system", "human"] if return_messages else ["human"])
    chain_of(model, closing(T4DMMemory(session_id="monday", user_id="bob", **options))).predict(input=WHICH_CAT)
    assert "Miso" not in model.told


def test_history_is_never_stored_inside_history(plain_daemon: Daemon, space: str, closing: Close):
    model = Listener()
    memory = closing(T4DMMemory(url=plain_daemon.url, space=space, user_id="ada", recent_turns=2))
    chain = chain_of(model, memory)

    for at in range(8):
        chain.predict(input=f"Fact {at} is about subject {at}.")

    assert [one.text for one in memory.chat_memory.messages[::2]] == [
        f"Fact {at} is about subject {at}." for at in range(8)
    ]
    with plain_daemon.client() as client:
        stored = client.list(ListRequest(space=space, order_by="insertion")).results
    facts = [one.content for one in stored if one.metadata["role"] == "human"]
    assert facts == [f"Human: Fact {at} is about subject {at}." for at in range(8)]
    assert {one.session_id for one in stored} == {"default"}


def test_the_last_turns_are_given_word_for_word_and_older_ones_when_they_matter(
    plain_daemon: Daemon, space: str, closing: Close
):
    memory = closing(T4DMMemory(url=plain_daemon.url, space=space, user_id="ada", recent_turns=1, return_messages=True))
    memory.save_context({"input": CAT}, {"response": "Nice."})
    memory.save_context({"input": "It rains."}, {"response": "Yes."})

    recalled, *recent = memory.load_memory_variables({"input": WHICH_CAT})["history"]

    assert [one.text for one in recent] == ["It rains.", "Yes."]
    assert CAT in recalled.text
    assert "It rains" not in recalled.text
    assert [one.text for one in memory.load_memory_variables({})["history"]] == ["It rains.", "Yes."]


def test_without_an_owner_conversations_are_kept_apart(plain_daemon: Daemon, space: str, closing: Close):
    one, other = (
        closing(T4DMMemory(url=plain_daemon.url, space=space, session_id=name, recent_turns=0)) for name in "12"
    )
    one.save_context({"input": CAT}, {"response": "Nice."})

    assert "Miso" in one.load_memory_variables({"input": WHICH_CAT})["history"]
    assert other.load_memory_variables({"input": WHICH_CAT})["history"] == ""


def test_clearing_forgets_this_conversation_alone(plain_daemon: Daemon, space: str, closing: Close):
    one, other = (
        closing(T4DMMemory(url=plain_daemon.url, space=space, session_id=name, user_id="ada")) for name in "12"
    )
    one.clear()
    one.save_context({"input": CAT}, {"response": "Nice."})
    other.save_context({"input": "My dog is called Rex."}, {"response": "Nice."})

    one.clear()

    assert one.chat_memory.messages == []
    told = one.load_memory_variables({"input": "What are my cat and my dog called?"})["history"]
    assert "Rex" in told
    assert "Miso" not in told


def test_inputs_and_outputs_are_chosen_as_langchain_does(plain_daemon: Daemon, space: str, closing: Close):
    def memory(**options: Any) -> T4DMMemory:
        return closing(T4DMMemory(url=plain_daemon.url, space=space, session_id=str(uuid.uuid4()), **options))

    with pytest.raises(ValueError, match="One input key expected"):
        memory().load_memory_variables({"a": "x", "b": "y"})
    with pytest.raises(ValueError, match="multiple output keys"):
        memory().save_context({"a": "x"}, {"p": "1", "q": "2"})
    chosen = memory(input_key="a", output_key="q", memory_key="past", human_prefix="Ada", ai_prefix="T4")
    chosen.save_context({"a": "x", "b": "y"}, {"p": "1", "q": "2"})
    assert chosen.load_memory_variables({"a": "z", "b": "y"}) == {"past": "Ada: x\nT4: 2"}
    told = memory()
    told.save_context({"input": HumanMessage([{"type": "text", "text": "in blocks"}])}, {"output": AIMessage("said")})
    assert [one.text for one in told.chat_memory.messages] == ["in blocks", "said"]


def test_a_memory_is_made_from_its_own_json_and_with_another_history(plain_daemon: Daemon, space: str, closing: Close):
    memory = closing(T4DMMemory(url=plain_daemon.url, space=space, user_id="ada", filter={"role": "human"}))
    memory.save_context({"input": CAT}, {"response": "A cat called Miso."})

    again = closing(T4DMMemory(**json.loads(memory.model_dump_json())))
    assert again.load_memory_variables({}) == memory.load_memory_variables({})
    elsewhere = InMemoryChatMessageHistory()
    own = closing(
        T4DMMemory(url=plain_daemon.url, space=space, user_id="ada", chat_memory=elsewhere, filter={"role": "human"})
    )
    told = own.load_memory_variables({"input": WHICH_CAT})["history"]
    assert CAT in told
    assert "A cat called Miso" not in told
    own.save_context({"input": "Hello."}, {"response": "Hello."})
    assert len(elsewhere.messages) == 2
    assert own.load_memory_variables({"input": "Hello?"})["history"].endswith("Human: Hello.\nAI: Hello.")
    with pytest.raises(ValueError, match="unknown operator"):
        T4DMMemory(filter={"x": {"$near": 1}})


def test_a_copied_memory_is_of_the_owner_and_the_conversation_that_it_names(
    plain_daemon: Daemon, space: str, closing: Close
):
    ada = closing(T4DMMemory(url=plain_daemon.url, space=space, user_id="ada", session_id="a"))
    ada.save_context({"input": "The kettle is in the shed."}, {"response": "Noted."})

    bob = closing(ada.model_copy(update={"user_id": "bob", "session_id": "b"}))
    bob.save_context({"input": "Where is the kettle?"}, {"response": "I do not know."})

    assert "shed" not in bob.load_memory_variables({"input": "Where is the kettle?"})["history"]
    assert "do not know" not in ada.load_memory_variables({"input": "Where is the kettle?"})["history"]
    assert "shed" in ada.model_copy().load_memory_variables({"input": "kettle"})["history"]


@pytest.mark.asyncio
async def test_a_conversation_chain_can_be_awaited(plain_daemon: Daemon, space: str):
    model = Listener()
    options: dict[str, Any] = {"url": plain_daemon.url, "space": space, "user_id": "ada"}
    first, second = (T4DMMemory(session_id=name, **options) for name in "12")

    await chain_of(model, first).ainvoke({"input": CAT})
    await chain_of(model, first).ainvoke({"input": "Good evening."})
    assert model.told.count(CAT) == 1
    await chain_of(model, second).ainvoke({"input": WHICH_CAT})

    assert CAT in model.told
    await first.aclear()
    assert (await second.aload_memory_variables({"input": "cat"}))["history"].count(CAT) == 0
    own = T4DMMemory(chat_memory=InMemoryChatMessageHistory(), **options)
    await own.asave_context({"input": "a"}, {"response": "b"})
    assert (await own.aload_memory_variables({}))["history"] == "Human: a\nAI: b"
    for memory in (first, second, own):
        await memory.aclose()


# Agents -----------------------------------------------------------------------------------------------


@dataclass
class Context:
    user_id: str


@tool
def timetable(line: int) -> str:
    """Say when a line leaves."""
    return f"Line {line} leaves at nine."


CALL = AIMessage("", tool_calls=[{"name": "timetable", "args": {"line": 4}, "id": "c1", "type": "tool_call"}])


def test_an_agent_remembers_across_threads(plain_daemon: Daemon, space: str, closing: Close):
    model = Listener()
    memory = closing(T4DMMemoryMiddleware(plain_daemon.url, space=space, user_id="ada"))
    agent = create_agent(model, system_prompt="Be brief.", middleware=[memory])
    agent.invoke({"messages": [{"role": "user", "content": CAT}]})
    assert model.told == f"Be brief.\n{CAT}"

    state = agent.invoke({"messages": [{"role": "user", "content": WHICH_CAT}]})

    prompt = model.heard[-1]
    assert [one.type for one in prompt] == ["system", "human"]
    assert prompt[0].text.startswith("Be brief.\n\nMemories")
    assert CAT in prompt[0].text
    assert [one.type for one in state["messages"]] == ["human", "ai"]  # what was recalled is in no state


def test_an_agent_does_not_recall_what_its_prompt_holds(plain_daemon: Daemon, space: str, closing: Close):
    model = Listener()
    memory = closing(T4DMMemoryMiddleware(plain_daemon.url, space=space, user_id="ada"))
    agent = create_agent(model, middleware=[memory], checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}

    agent.invoke({"messages": [HumanMessage(CAT)]}, thread)
    agent.invoke({"messages": [HumanMessage(WHICH_CAT)]}, thread)
    assert [one.type for one in model.heard[-1]] == ["human", "ai", "human"]
    agent.invoke({"messages": [HumanMessage(WHICH_CAT)]}, {"configurable": {"thread_id": "2"}})
    assert model.told.count(CAT) == 1
    with plain_daemon.client() as client:
        stored = client.list(ListRequest(space=space, order_by="insertion")).results
    assert [(one.content, one.session_id) for one in stored] == [
        (f"Human: {CAT}", "1"),
        ("AI: Noted.", "1"),
        (f"Human: {WHICH_CAT}", "1"),
        (f"Human: {WHICH_CAT}", "2"),
        ("AI: Noted.", "2"),
    ]


def test_an_agent_with_tools_recalls_each_time_and_remembers_question_and_answer(
    plain_daemon: Daemon, space: str, closing: Close
):
    model = Listener(answers=[CALL, AIMessage("At nine.")])
    memory = closing(T4DMMemoryMiddleware(plain_daemon.url, space=space, user_id="ada"))
    create_agent(Listener(), middleware=[memory]).invoke({"messages": [HumanMessage("I take line 4.")]})

    create_agent(model, [timetable], middleware=[memory]).invoke(
        {"messages": [HumanMessage("When does line 4 leave?")]}
    )

    assert len(model.heard) == 2
    assert all("I take line 4." in prompt[0].text for prompt in model.heard)
    with plain_daemon.client() as client:
        answers = client.list(
            ListRequest(space=space, filter=Filter(field="metadata.role", op="eq", value="ai"), order_by="insertion")
        ).results
    assert [one.content for one in answers] == ["AI: Noted.", "AI: At nine."]


def test_one_agent_serves_users_who_do_not_see_each_others_memories(plain_daemon: Daemon, space: str, closing: Close):
    model = Listener()
    memory = closing(
        T4DMMemoryMiddleware(
            plain_daemon.url, space=space, owner_of=lambda runtime: {"user_id": runtime.context.user_id}
        )
    )
    agent = create_agent(model, middleware=[memory], context_schema=Context)
    agent.invoke({"messages": [HumanMessage(CAT)]}, context=Context("ada"))

    agent.invoke({"messages": [HumanMessage(WHICH_CAT)]}, context=Context("bob"))
    assert "Miso" not in model.told
    agent.invoke({"messages": [HumanMessage(WHICH_CAT)]}, context=Context("ada"))
    assert "Miso" in model.told


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({}, "told no owner"),
        ({"name": "ada"}, "columns that no memory has"),
        ({"user_id": None, "agent_id": "bot"}, "told no user_id"),  # the bot's memories are not everybody's
    ],
)
def test_an_agent_that_does_not_know_its_user_is_stopped(closing: Close, told: dict[str, str | None], message: str):
    memory = closing(T4DMMemoryMiddleware("http://127.0.0.1:1", owner_of=lambda runtime: told))

    with pytest.raises(ValueError, match=message):
        create_agent(Listener(), middleware=[memory]).invoke({"messages": [HumanMessage("x")]})


def test_what_an_agent_recalls_and_remembers_can_be_chosen(plain_daemon: Daemon, space: str, closing: Close):
    def run(text: str, **options: Any) -> str:
        model = Listener()
        memory = closing(T4DMMemoryMiddleware(plain_daemon.url, space=space, user_id="ada", **options))
        create_agent(model, middleware=[memory]).invoke({"messages": [HumanMessage(text)]})
        return model.told

    run("Nobody hears this.", capture=False)
    run(CAT, capture_answers=False)
    with plain_daemon.client() as client:
        assert [one.content for one in client.list(ListRequest(space=space)).results] == [f"Human: {CAT}"]
    assert run(WHICH_CAT, recall=False, capture=False) == WHICH_CAT
    assert run(WHICH_CAT, capture=False, min_score=1.0) == WHICH_CAT
    assert run(WHICH_CAT, capture=False, abstain_below=1.0) == WHICH_CAT
    assert run(WHICH_CAT, capture=False, filter={"role": "ai"}) == WHICH_CAT
    assert run(WHICH_CAT, capture=False, budget_tokens=3) == WHICH_CAT
    assert run(WHICH_CAT, capture=False, header="You know:").startswith("You know:\n- [")


def test_blocks_of_a_system_prompt_stay_as_they_are(plain_daemon: Daemon, space: str, closing: Close):
    model, cached = Listener(), {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    memory = closing(T4DMMemoryMiddleware(plain_daemon.url, space=space, user_id="ada"))
    agent = create_agent(model, system_prompt=SystemMessage([cached]), middleware=[memory])
    agent.invoke({"messages": [HumanMessage(CAT)]})

    agent.invoke({"messages": [HumanMessage(WHICH_CAT)]})

    blocks = model.heard[-1][0].content
    assert blocks[0] == cached
    assert CAT in blocks[1]["text"]  # type: ignore[index]


def test_messages_without_words_are_neither_asked_nor_remembered(plain_daemon: Daemon, space: str, closing: Close):
    model = Listener(answers=[AIMessage("")])
    memory = closing(T4DMMemoryMiddleware(plain_daemon.url, space=space, user_id="ada"))
    picture = HumanMessage([{"type": "image_url", "image_url": {"url": "data:x"}}])

    create_agent(model, middleware=[memory]).invoke({"messages": [picture]})
    create_agent(model, middleware=[memory]).invoke({"messages": [AIMessage("Only I spoke.")]})

    with plain_daemon.client() as client:
        assert space not in [one.name for one in client.list_spaces()]


@pytest.mark.asyncio
async def test_an_agent_can_be_awaited(plain_daemon: Daemon, space: str):
    model = Listener(answers=[CALL])
    memory = T4DMMemoryMiddleware(plain_daemon.url, space=space, user_id="ada")
    agent = create_agent(model, [timetable], middleware=[memory])

    await agent.ainvoke({"messages": [HumanMessage(CAT)]})
    await asyncio.gather(*(agent.ainvoke({"messages": [HumanMessage(f"Hello {at}.")]}) for at in range(4)))
    await agent.ainvoke({"messages": [HumanMessage(WHICH_CAT)]})

    assert CAT in model.told
    await memory.aclose()


def test_conversations_are_kept_in_a_directory_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closing: Close
):
    monkeypatch.setenv("T4DM_EMBEDDING_MODEL", "hashing")
    monkeypatch.setenv("T4DM_CACHE_PATH", str(tmp_path / "cache"))
    model, place = Listener(), {"storage_path": str(tmp_path / "store")}

    for text in (CAT, WHICH_CAT):
        memory = T4DMMemoryMiddleware(**place, user_id="ada")
        asyncio.run(create_agent(model, middleware=[memory]).ainvoke({"messages": [HumanMessage(text)]}))
        memory.close()
    assert CAT in model.told
    conversation = T4DMMemory(**place, user_id="ada")
    chain_of(model, conversation).predict(input=WHICH_CAT)
    assert CAT in model.told
    conversation.close()
