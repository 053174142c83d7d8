"""What a language model calls is carried out, by the real service, and every mistake is an answer it can read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from t4dm import T4DM, AsyncT4DM
from t4dm._backend import MemoryBackend
from t4dm.sdk import AsyncT4DMClient, T4DMClient
from t4dm.tools import TOOL_NAMES, arun_tool_call, openai_tools, run_tool_call
from t4dm.tools.arguments import MODELS, Store, description
from tests.support.daemon import Daemon
from tests.support.language_model import chat_completion, chat_tool_call, language_model

Call = Callable[..., Any]


@pytest.fixture
def call(backend: MemoryBackend, space: str) -> Call:
    """Carry out a tool for Ada in a space of its own; return the result, or the error."""

    def carry_out(name: str, user_id: str = "ada", **arguments: Any) -> Any:
        answer = run_tool_call(backend, (name, arguments), space=space, user_id=user_id)
        result = json.loads(answer["content"])
        assert answer["is_error"] == ("error" in result)
        return result

    return carry_out


def test_a_memory_lives_through_all_seven_tools(call: Call) -> None:
    tea = call("memory_store", content="Ada likes tea", kind="semantic", categories=["taste"], importance=0.9,
               metadata=[{"key": "cups", "value": 3}], event_time="2026-05-01")  # fmt: skip
    coffee = call("memory_store", content="Ada likes coffee", event_time="2026-05-02T08:00:00Z")
    linked = call("memory_link", source_id=coffee["id"], target_id=tea["id"], type="CONTRADICTS", weight=0.5)
    found = call("memory_search", query="What does Ada like?", metadata=[{"key": "cups", "value": 3}])
    changed = call("memory_update", id=tea["id"], content="Ada likes green tea", pinned=True)
    read = call("memory_get", ids=[tea["id"], "nobody"], history=True, links=True)
    days = call("memory_timeline", after="2026-05-01", before="2026-05-03")
    gone = call("memory_forget", ids=[tea["id"], "nobody"])

    assert (tea["status"], linked["status"], changed["version"]) == ("created", "linked", 2)
    assert [one["id"] for one in found["results"]] == [tea["id"]]
    assert found["results"][0].keys() >= {"content", "kind", "event_time", "categories", "metadata", "score"}
    assert (read["results"][0]["content"], read["results"][0]["pinned"]) == ("Ada likes green tea", True)
    assert [one["content"] for one in read["results"][0]["history"]] == ["Ada likes tea", "Ada likes green tea"]
    assert {"direction": "in", "type": "CONTRADICTS", "weight": 0.5, "id": coffee["id"],
            "content": "Ada likes coffee"} in read["results"][0]["links"]  # fmt: skip
    assert read["missing"] == ["nobody"]
    assert ([one["id"] for one in days["results"]], days["total"]) == ([tea["id"], coffee["id"]], 2)
    assert gone == {"forgotten": 1, "missing": ["nobody"]}
    assert call("memory_get", ids=[tea["id"]])["error"]["code"] == "not_found"


def test_what_is_superseded_stops_being_true_and_is_found_for_the_past(call: Call) -> None:
    old = call("memory_store", content="Ada lives in Paris", valid_from="2020-01-01")
    call("memory_store", content="Ada lives in Rome", supersedes=[old["id"]], valid_from="2025-01-01")

    now = call("memory_search", query="Where does Ada live?", as_of="2026-01-01T00:00:00Z")
    then = call("memory_search", query="Where does Ada live?", as_of="2021-01-01T00:00:00Z")

    assert [one["content"] for one in now["results"]] == ["Ada lives in Rome"]
    assert [one["content"] for one in then["results"]] == ["Ada lives in Paris"]


def test_a_timeline_shows_what_happened_around_a_memory_and_the_latest_without_any_time(call: Call) -> None:
    ids = [call("memory_store", content=f"Day {day}", event_time=f"2026-05-0{day}")["id"] for day in range(1, 8)]

    around = call("memory_timeline", around_id=ids[3], limit=4)
    latest = call("memory_timeline", limit=2)

    assert [one["content"] for one in around["results"]] == ["Day 2", "Day 3", "Day 4", "Day 5"]
    assert [one["content"] for one in latest["results"]] == ["Day 6", "Day 7"]
    assert latest["total"] == 7


def test_storing_what_is_known_says_that_it_was_known(call: Call) -> None:
    first = call("memory_store", content="Ada likes tea")

    assert call("memory_store", content="Ada likes tea") == {"id": first["id"], "status": "duplicate", "version": 1}


def test_a_long_text_is_shown_in_part_and_read_on(call: Call) -> None:
    text = "".join(f"{number:07d} " for number in range(3000))
    kept = call("memory_store", content=text)["id"]

    (found,) = call("memory_search", query=text[:200])["results"]
    pages, start = "", 0
    while start is not None:
        (page,) = call("memory_get", ids=[kept], from_character=start)["results"]
        pages, start = pages + page["content"], page.get("next_character")

    assert (len(found["content"]), found["next_character"]) == (2000, 2000)
    assert pages == text


def test_nothing_found_says_so_and_is_no_error(call: Call) -> None:
    assert call("memory_search", query="tea") == {"results": [], "note": "nothing has been stored yet"}
    assert call("memory_timeline") == {"results": [], "total": 0, "note": "nothing is stored of that time"}
    call("memory_store", content="Ada likes tea")

    nothing = call("memory_search", query="tea", before="1999-01-01")

    assert nothing == {"results": [], "note": "nothing relevant is stored"}


def test_another_owners_memories_are_not_there_whatever_the_model_knows_of_them(call: Call) -> None:
    bobs = call("memory_store", "bob", content="Bob's PIN is 1234")["id"]
    mine = call("memory_store", content="Ada likes tea")["id"]

    refused = [
        call("memory_get", ids=[bobs], history=True),
        call("memory_update", id=bobs, content="changed"),
        call("memory_forget", ids=[bobs]),
        call("memory_link", source_id=mine, target_id=bobs, type="CAUSES"),
        call("memory_store", content="Bob has no PIN", supersedes=[bobs]),
        call("memory_timeline", around_id=bobs),
    ]

    assert [one["error"]["code"] for one in refused] == ["not_found"] * 6
    assert [one["id"] for one in call("memory_search", query="PIN 1234")["results"]] == [mine]
    (left,) = call("memory_get", "bob", ids=[bobs])["results"]
    assert (left["content"], "version" in left) == ("Bob's PIN is 1234", False)


@pytest.mark.parametrize("name", ["user_id", "space", "agent_id"])
def test_the_model_cannot_say_whose_memories_it_wants(backend: MemoryBackend, name: str) -> None:
    answer = run_tool_call(backend, ("memory_search", {"query": "PIN", name: "bob"}), user_id="ada")

    assert answer["is_error"]
    assert f"{name}: Extra inputs are not permitted" in answer["content"]


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("get_weather", {}, "the memory tools are memory_store"),
        ("memory_store", {}, "content: Field required"),
        ("memory_store", {"content": " "}, "nothing to remember"),
        ("memory_store", {"content": "<private>PIN 1234</private>"}, "nothing to remember"),
        ("memory_update", {"id": "nobody", "content": ""}, "memory_forget deletes"),
        ("memory_store", {"content": "x", "kind": "dream"}, "kind"),
        ("memory_store", {"content": "x", "event_time": "yesterday"}, "2026-05-01T12:00:00Z"),
        ("memory_store", {"content": "x", "importance": 7}, "importance"),
        ("memory_store", {"content": "x", "valid_from": "2026-02-01", "valid_to": "2026-01-01"}, "later than valid_from"),
        ("memory_store", {"content": "x", "metadata": [{"key": "kind", "value": "y"}]}, "taken"),
        ("memory_store", {"content": "x", "metadata": [{"key": "a", "value": 1}] * 2}, "'a' is given more than once"),
        ("memory_store", {"content": "x", "supersedes": ["nobody"]}, "no memory with the id 'nobody'"),
        ("memory_store", {"content": "\ud800"}, "surrogate"),
        ("memory_store", {"content": "x" * 1_000_000}, "999999 characters"),
        ("memory_search", {"query": ""}, "ask something"),
        ("memory_search", {"query": "x", "limit": 0}, "limit"),
        ("memory_search", {"query": "x", "after": "2026-02-01", "before": "2026-01-01"}, "later than from"),
        ("memory_search", {"query": "x", "top_k": 3}, "the arguments of memory_search are query, limit"),
        ("memory_get", {"ids": []}, "ids"),
        ("memory_get", {"ids": ["nobody"]}, "no memory with the id 'nobody'"),
        ("memory_get", {"ids": [""]}, "an id is not empty"),
        ("memory_update", {"id": "nobody", "content": "x"}, "no memory with the id 'nobody'"),
        ("memory_update", {"id": "nobody"}, "at least one change"),
        ("memory_forget", {"ids": ["a", "b"]}, "no memories with the ids 'a', 'b'"),
        ("memory_link", {"source_id": "a", "target_id": "b", "type": "LIKES"}, "type"),
        ("memory_link", {"source_id": "a", "target_id": "b", "type": "CAUSES"}, "no memories with the ids 'a', 'b'"),
        ("memory_timeline", {"around_id": "nobody"}, "no memory with the id 'nobody'"),
        ("memory_timeline", {"after": "2026-02-01", "before": "2026-01-01"}, "later than after"),
    ],
)  # fmt: skip
def test_a_models_mistake_is_an_answer_that_says_what_to_do(call: Call, name: str, arguments: Any, says: str) -> None:
    result = call(name, **arguments)

    assert says in result["error"]["message"]


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ('{"query": "tea"', "not JSON"),
        ('["tea"]', "a JSON object"),
        ("null", "a JSON object"),
        ('{"query": NaN}', "NaN is not JSON"),
        ("", "query: Field required"),
        ("[" * 100_000, "nested too deeply"),
        (7, "a JSON object"),
    ],
)
def test_arguments_that_are_no_object_are_an_answer_too(backend: MemoryBackend, written: Any, says: str) -> None:
    answer = run_tool_call(backend, ("memory_search", written))

    assert answer["is_error"]
    assert says in json.loads(answer["content"])["error"]["message"]


# Forms ------------------------------------------------------------------------------------------------

ARGUMENTS = '{"content": "Ada likes tea", "kind": null}'


def test_each_api_is_answered_in_its_own_form(backend: MemoryBackend, space: str) -> None:
    chat = {"id": "c1", "type": "function", "function": {"name": "memory_store", "arguments": ARGUMENTS}}
    response = {"type": "function_call", "id": "f", "call_id": "r1", "name": "memory_store", "arguments": ARGUMENTS}
    claude = {"type": "tool_use", "id": "a1", "name": "memory_store", "input": json.loads(ARGUMENTS)}

    one, two, three = (run_tool_call(backend, call, space=space) for call in (chat, response, claude))

    assert (one["role"], one["tool_call_id"], json.loads(one["content"])["status"]) == ("tool", "c1", "created")
    assert (two["type"], two["call_id"], json.loads(two["output"])["status"]) == (
        "function_call_output", "r1", "duplicate",
    )  # fmt: skip
    assert (three["type"], three["tool_use_id"], three["is_error"]) == ("tool_result", "a1", False)
    assert all(" " not in one["content"].replace("Ada likes tea", "") for one in (one, three))


def test_the_sdks_own_objects_are_understood(backend: MemoryBackend, space: str) -> None:
    chat = pytest.importorskip("openai.types.chat")
    responses = pytest.importorskip("openai.types.responses")
    anthropic = pytest.importorskip("anthropic.types")
    function = {"name": "memory_store", "arguments": ARGUMENTS}
    calls = [
        chat.ChatCompletionMessageToolCall.model_validate({"id": "c1", "type": "function", "function": function}),
        responses.ResponseFunctionToolCall(type="function_call", call_id="r1", **function),
        anthropic.ToolUseBlock(type="tool_use", id="a1", name="memory_store", input=json.loads(ARGUMENTS)),
    ]

    answers = [run_tool_call(backend, call, space=space) for call in calls]

    assert [one.get("tool_call_id") or one.get("call_id") or one["tool_use_id"] for one in answers] == [
        "c1",
        "r1",
        "a1",
    ]
    assert all('"id":' in (one.get("content") or one["output"]) for one in answers)


@pytest.mark.parametrize("wrong", [None, "memory_store", 7, ("memory_store",), {"type": "text", "text": "hi"}, {}])
def test_what_is_no_call_at_all_is_the_programs_mistake(backend: MemoryBackend, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"tool_calls|a pair is"):
        run_tool_call(backend, wrong)


def test_a_keyword_that_does_not_exist_is_the_programs_mistake(backend: MemoryBackend) -> None:
    with pytest.raises(TypeError, match="user"):
        run_tool_call(backend, ("memory_timeline", {}), user="ada")  # type: ignore[call-arg]


# Clients ----------------------------------------------------------------------------------------------


def test_the_owner_and_the_space_of_a_memory_hold_for_its_tools(backend: MemoryBackend, space: str) -> None:
    memory = T4DM(client=backend, space=space, user_id="ada", agent_id="cook")

    stored = json.loads(run_tool_call(memory, ("memory_store", {"content": "tea"}), agent_id=None)["content"])

    kept = backend.get(stored["id"], space=space)
    assert (kept.user_id, kept.agent_id) == ("ada", None)
    assert (memory.space, memory.owner) == (space, {"user_id": "ada", "agent_id": "cook"})


def test_awaited_calls_do_the_same_with_every_client(plain_daemon: Daemon, space: str) -> None:
    async def carry_out() -> list[Any]:
        async with (
            AsyncT4DM(plain_daemon.url, space=space, user_id="ada") as memory,
            AsyncT4DMClient(plain_daemon.url) as client,
        ):
            with T4DMClient(plain_daemon.url) as blocking:
                await arun_tool_call(memory, ("memory_store", {"content": "Ada likes tea"}))
                answers = [
                    await arun_tool_call(one, ("memory_search", {"query": "tea"}), space=space, user_id="ada")
                    for one in (client, blocking, T4DM(client=blocking))
                ]
                answers.append(await arun_tool_call(memory, ("memory_search", {"query": "tea"})))
                answers.append(await arun_tool_call(memory, ("memory_get", {"ids": ["nobody"]})))
        return answers

    *found, failed = asyncio.run(carry_out())

    assert [json.loads(one["content"])["results"][0]["content"] for one in found] == ["Ada likes tea"] * 4
    assert failed["is_error"]


def test_a_client_that_must_be_awaited_says_which_function_awaits() -> None:
    with pytest.raises(TypeError, match="arun_tool_call"):
        run_tool_call(AsyncT4DMClient("http://127.0.0.1:1"), ("memory_timeline", {}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", TOOL_NAMES)
def test_a_daemon_that_is_down_is_never_an_empty_memory(name: str) -> None:
    arguments: dict[str, Any] = {
        "memory_store": {"content": "x"},
        "memory_search": {"query": "x"},
        "memory_get": {"ids": ["x"]},
        "memory_update": {"id": "x", "content": "x"},
        "memory_forget": {"ids": ["x"]},
        "memory_timeline": {},
        "memory_link": {"source_id": "x", "target_id": "y", "type": "CAUSES"},
    }[name]
    with T4DMClient("http://127.0.0.1:1", max_retries=0) as client:
        answer = run_tool_call(client, (name, arguments))

    message = json.loads(answer["content"])["error"]["message"]
    assert answer["is_error"]
    assert "t4dm serve" in message
    assert "do not conclude that there are no memories" in message


# OpenAI's own client ----------------------------------------------------------------------------------


@pytest.fixture
def model() -> Iterator[tuple[str, list[Any]]]:
    """A server that speaks chat completions: it stores what it is told, then repeats what the tool answered."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        said = body["messages"][-1]["content"]
        if body["messages"][-1]["role"] != "user":
            return chat_completion(body["model"], {"content": said})
        arguments = {**dict.fromkeys(Store.model_fields), "content": said}
        return chat_completion(body["model"], chat_tool_call("memory_store", arguments))

    with language_model(answer) as (url, asked):
        yield f"{url}/v1", asked


def test_an_agents_loop_with_openais_client_ends_with_a_stored_memory(
    backend: MemoryBackend, space: str, model: tuple[str, list[Any]]
) -> None:
    openai = pytest.importorskip("openai")
    url, asked = model
    messages: list[Any] = [{"role": "user", "content": "Ada likes tea"}]

    with openai.OpenAI(base_url=url, api_key="x") as client:
        said = client.chat.completions.create(model="m", messages=messages, tools=openai_tools()).choices[0].message
        messages += [said, *(run_tool_call(backend, one, space=space) for one in said.tool_calls)]
        last = client.chat.completions.create(model="m", messages=messages, tools=openai_tools()).choices[0].message

    kept = backend.get(json.loads(last.content)["id"], space=space)
    assert kept.content == "Ada likes tea"
    assert asked[0]["tools"] == openai_tools()


def test_openais_parser_gives_the_models_of_the_arguments_back(model: tuple[str, list[Any]]) -> None:
    openai = pytest.importorskip("openai")
    tools = [
        openai.pydantic_function_tool(one, name=name, description=description(one)) for name, one in MODELS.items()
    ]

    with openai.OpenAI(base_url=model[0], api_key="x") as client:
        said: Any = [{"role": "user", "content": "Ada likes tea"}]
        message = client.chat.completions.parse(model="m", messages=said, tools=tools).choices[0].message

    assert message.tool_calls[0].function.parsed_arguments == Store(content="Ada likes tea")
