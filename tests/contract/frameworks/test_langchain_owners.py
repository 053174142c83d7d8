"""Nobody hears what another has said, however they are told apart."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_classic")

from langchain_core.messages import HumanMessage
from pydantic import ValidationError as PydanticError

from t4dm.sdk import StoreRequest, T4DMClient, ValidationError
from t4dm_integrations.langchain import T4DMChatMessageHistory, T4DMMemory, T4DMRetriever
from tests.support.daemon import Daemon

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.deprecation.LangChainDeprecationWarning")


@pytest.mark.parametrize("column", ["user_id", "agent_id", "app_id", "run_id"])
def test_turns_of_different_owners_are_different_and_clearing_one_leaves_the_other(
    plain_daemon: Daemon, column: str
) -> None:
    one, other = (T4DMMemory(url=plain_daemon.url, space=f"turns-{column}", **{column: who}) for who in ("A", "B"))
    one.save_context({"input": "my secret is 42"}, {"output": "ok"})

    assert other.load_memory_variables({"input": "secret"}) == {"history": ""}
    other.clear()
    assert "secret is 42" in one.load_memory_variables({})["history"]
    one.close()
    other.close()


def test_a_conversation_of_nobodys_neither_hears_nor_clears_what_is_somebodys(plain_daemon: Daemon) -> None:
    place = {"url": plain_daemon.url, "space": "nobodys", "abstain_below": 0.0}
    ada, nobody = T4DMMemory(user_id="ada", **place), T4DMMemory(**place)
    ada.save_context({"input": "my PIN for the ferry is 4711"}, {"output": "ok"})

    assert "4711" not in nobody.load_memory_variables({"input": "the PIN for the ferry"})["history"]
    nobody.save_context({"input": "the ferry is late"}, {"output": "ok"})
    nobody.clear()

    elsewhere = T4DMMemory(user_id="ada", session_id="another", **place)
    assert "4711" in elsewhere.load_memory_variables({"input": "the PIN for the ferry"})["history"]
    for memory in (ada, nobody, elsewhere):
        memory.close()


def test_no_session_has_the_name_of_anothers(plain_daemon: Daemon) -> None:
    def history(session_id: str, **owner: str) -> T4DMChatMessageHistory:
        return T4DMChatMessageHistory(session_id, url=plain_daemon.url, space="names", **owner)

    history("x", user_id="ada").add_user_message("private")

    for name in ("ada/x", "user_id=ada/x", "/user_id=ada/x", "x"):
        assert history(name).messages == []
    assert history("da/x", user_id="a").messages == []
    assert [one.content for one in history("x", user_id="ada").messages] == ["private"]


def test_a_message_that_could_not_be_read_again_is_refused(plain_daemon: Daemon) -> None:
    class Unknown(HumanMessage):
        type: str = "mine"  # type: ignore[assignment]

    history = T4DMChatMessageHistory("unreadable", url=plain_daemon.url)
    history.add_user_message("before")

    with pytest.raises(ValidationError, match="message 0 cannot be stored"):
        history.add_messages([Unknown("x")])
    assert [one.content for one in history.messages] == ["before"]


def test_a_very_long_answer_is_remembered_in_parts(plain_daemon: Daemon) -> None:
    memory = T4DMMemory(url=plain_daemon.url, space="long", user_id="ada")

    hidden = f"<private>{'hush ' * 60_000}</private>"
    memory.save_context({"input": "Tell me everything."}, {"output": hidden + "ship " * 220_000})

    with T4DMClient(plain_daemon.url) as client:
        kept = [one.content for one in client.export(space="long", include_vectors=False)]
        assert sum(text.count("ship") for text in kept) >= 200_000  # parts that are the same are kept once
        assert not any("hush" in text for text in kept)
    memory.close()


def test_a_retriever_that_is_copied_for_another_owner_finds_what_is_theirs(plain_daemon: Daemon) -> None:
    with T4DMClient(plain_daemon.url) as client:
        for user in ("ada", "bob"):
            client.store(StoreRequest(content=f"{user} keeps the key to the pier", user_id=user, space="copied"))
    retriever = T4DMRetriever(url=plain_daemon.url, space="copied", user_id="ada")

    with pytest.raises(PydanticError, match="frozen"):
        retriever.user_id = "bob"
    copied = retriever.model_copy(update={"user_id": "bob"})

    assert [one.page_content for one in copied.invoke("the key")] == ["bob keeps the key to the pier"]
    assert [one.page_content for one in retriever.invoke("the key")] == ["ada keeps the key to the pier"]
    copied.close()
    retriever.close()
