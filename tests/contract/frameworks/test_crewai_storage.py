"""CrewAI's storage on T4DM: its protocol, beside CrewAI's own storage, and under CrewAI's own memory."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("crewai")

from tests.contract.frameworks.crewai_offline import FERRY, AnalysingModel, Model, crew_with, embed  # isort: skip

from crewai.memory.storage import factory
from crewai.memory.storage.backend import EmbeddingDimensionMismatchError, StorageBackend
from crewai.memory.storage.lancedb_storage import LanceDBStorage
from crewai.memory.types import MemoryRecord
from crewai.memory.unified_memory import Memory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from t4dm.adapters.crewai import T4DMStorage, install
from t4dm.sdk import ConflictError, TransportError, ValidationError
from t4dm_integrations.crewai.factory import storage_of
from tests.support.daemon import Daemon
from tests.support.recording import same

# CrewAI reads its own deprecated fields.
pytestmark = [
    pytest.mark.filterwarnings("ignore:function_calling_llm is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:deprecated$:DeprecationWarning"),
]

NOON = datetime(2026, 5, 1, 12)


@pytest.fixture(autouse=True)
def _own_directory(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWAI_STORAGE_DIR", str(tmp_path / "crewai"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.fixture
def storage(plain_daemon: Daemon, request: pytest.FixtureRequest) -> Iterator[T4DMStorage]:
    made = T4DMStorage(plain_daemon.url, space=str(request.node.name))
    yield made
    made.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def record(id: str, scope: str = "/", angle: float = 0.0, **fields: Any) -> MemoryRecord:
    """Return a record whose vector points into a direction of its own."""
    vector = [math.cos(angle), math.sin(angle)]
    return MemoryRecord(id=id, content=f"Record {id}.", scope=scope, embedding=vector, **fields)


def ids(found: list[Any]) -> list[str]:
    return [one[0].id if isinstance(one, tuple) else one.id for one in found]


# The protocol -------------------------------------------------------------------------------------------


def test_it_is_what_crewai_calls_a_storage_backend(storage: T4DMStorage):
    assert isinstance(storage, StorageBackend)


def test_before_the_first_save_there_is_nothing_and_no_error(storage: T4DMStorage):
    assert storage.search([1.0, 0.0]) == storage.list_records() == storage.list_scopes() == []
    assert storage.get_record("a") is None
    assert (storage.count(), storage.delete(), storage.list_categories()) == (0, 0, {})
    assert storage.get_scope_info("/a").record_count == 0
    storage.touch_records(["a"])
    storage.reset("/a")
    storage.reset()


def test_a_record_comes_back_as_it_was_saved(storage: T4DMStorage):
    given = record(
        "an id / with * signs",
        "/crew/harbour",
        categories=["boats", "piers"],
        metadata={"pier": 6, "a.b": None, "deep": {"list": [1, 2.5, "x"]}},
        importance=0.9,
        created_at=NOON,
        last_accessed=NOON + timedelta(microseconds=1),
        source="ada",
        private=True,
    )

    storage.save([given])

    [(found, score)] = storage.search([1.0, 0.0])
    assert found == given == storage.get_record(given.id) == storage.list_records()[0]
    assert found.created_at.tzinfo is None
    assert found.embedding == [1.0, 0.0]
    assert score == 1.0


def test_scopes_end_at_their_slashes(storage: T4DMStorage):
    storage.save(
        [record("root"), record("a", "/a"), record("ab", "/ab"), record("deep", "/a/b/c"), record("*", "/*/d")]
    )

    assert set(ids(storage.search([1.0, 0.0], "/a"))) == set(ids(storage.list_records("/a/"))) == {"a", "deep"}
    assert (storage.count("/a"), storage.count("/"), storage.count()) == (2, 5, 5)
    assert storage.list_scopes() == ["/*", "/a", "/ab"]
    assert (storage.list_scopes("/a"), storage.list_scopes("/*")) == (["/a/b"], ["/*/d"])
    assert storage.delete("/a") == 2
    assert set(ids(storage.list_records())) == {"root", "ab", "*"}


def test_all_that_is_given_must_hold_for_a_deletion(storage: T4DMStorage):
    storage.save(
        [
            record("old", "/a", categories=["x"], created_at=NOON - timedelta(days=1)),
            record("new", "/a", categories=["x", "y"], metadata={"k": 1}, created_at=NOON),
            record("other", "/b", categories=["x"], created_at=NOON),
        ]
    )

    assert storage.delete(record_ids=[]) == 0
    assert storage.delete("/b", record_ids=["new"]) == 0
    assert storage.delete(record_ids=["new", "nobody"], metadata_filter={"k": 2}) == 0
    assert storage.delete("/a", categories=["x"], older_than=NOON) == 1
    assert storage.delete(categories=["y", "z"], record_ids=["new"], metadata_filter={"k": 1}) == 1
    assert ids(storage.list_records()) == ["other"]
    assert storage.delete() == 1


def test_metadata_are_compared_as_python_compares_them(storage: T4DMStorage):
    storage.save(
        [
            record("a", metadata={"n": 1, "dotted.key": "x", "l": [1, 2]}),
            record("b", metadata={"n": True, "dotted": {"key": "x"}}, angle=0.1),
            record("c", metadata={"n": None}, angle=0.2),
            record("d", metadata={}, angle=0.3),
        ]
    )

    def found(**metadata: Any) -> list[str]:
        return ids(storage.search([1.0, 0.0], metadata_filter=metadata))

    assert found(n=1) == found(n=1.0) == found(n=True) == ["a", "b"]
    assert found(n=None) == ["c", "d"]
    assert found(l=[1, 2]) == ["a"]
    assert found(n="1") == []
    assert found(**{"dotted.key": "x"}) == ["a"]
    assert storage.search([1.0, 0.0], metadata_filter={"dotted.key": "x"}, limit=1)
    assert storage.delete(metadata_filter={"dotted.key": "x"}) == 1
    assert set(ids(storage.list_records())) == {"b", "c", "d"}
    with pytest.raises(ValidationError):
        storage.search([1.0, 0.0], metadata_filter={"when": NOON})


def test_min_score_is_inclusive_and_the_limit_counts_what_matches(storage: T4DMStorage):
    storage.save([record(f"{at:02}", angle=at / 20, categories=["odd"] if at % 2 else []) for at in range(20)])

    [*_, (last, score)] = storage.search([1.0, 0.0], limit=4)

    assert ids(storage.search([1.0, 0.0], limit=100, min_score=score)) == ["00", "01", "02", last.id]
    assert ids(storage.search([1.0, 0.0], categories=["odd", "none"], limit=3)) == ["01", "03", "05"]
    assert storage.search([1.0, 0.0], limit=0) == []


def test_more_than_a_page_is_saved_listed_and_searched(storage: T4DMStorage):
    records = [record(f"{at:04}", angle=at / 1000, created_at=NOON + timedelta(seconds=at)) for at in range(1203)]

    storage.save(records)

    assert ids(storage.list_records(limit=2000)) == [one.id for one in reversed(records)]
    assert ids(storage.list_records(limit=700, offset=600)) == [one.id for one in reversed(records)][600:1300]
    assert ids(storage.search([1.0, 0.0], limit=1100)) == [one.id for one in records][:1100]


def test_an_update_replaces_and_a_touch_changes_the_last_access_alone(storage: T4DMStorage):
    given = record("a", "/a", created_at=NOON, last_accessed=NOON)
    storage.save([given])

    storage.touch_records(["a", "nobody"])
    touched = storage.get_record("a")
    storage.update(given.model_copy(update={"content": "Changed.", "scope": "/b"}))

    assert touched is not None
    assert touched.last_accessed > NOON
    assert touched.created_at == NOON
    changed = storage.get_record("a")
    assert changed is not None
    assert (changed.content, changed.scope, changed.created_at) == ("Changed.", "/b", NOON)
    assert changed.embedding == given.embedding
    assert storage.list_scopes() == ["/b"]


def test_another_length_of_vectors_is_crewais_error_until_all_is_reset(storage: T4DMStorage):
    storage.save([record("a")])
    longer = MemoryRecord(id="b", content="Longer.", embedding=[1.0, 0.0, 0.0])

    for call in (lambda: storage.save([longer]), lambda: storage.update(longer), lambda: storage.search([1.0] * 3)):
        with pytest.raises(EmbeddingDimensionMismatchError) as caught:
            call()
        assert (caught.value.stored_dim, caught.value.new_dim) == (2, 3)
    with pytest.raises(EmbeddingDimensionMismatchError):
        storage.save([record("c"), longer])
    assert ids(storage.list_records()) == ["a"]

    storage.reset()
    storage.save([longer])
    assert ids(storage.search([1.0, 0.0, 0.0])) == ["b"]


def test_a_reset_leaves_no_history_and_a_deletion_does(storage: T4DMStorage, plain_daemon: Daemon):
    storage.save([record("deleted", "/a"), record("reset", "/b"), record("kept", "/c")])

    storage.delete("/a")
    storage.reset("/b")

    with plain_daemon.client() as client:
        assert [one.event for one in client.history("deleted", space=storage.space)] == ["ADD", "DELETE"]
        assert client.list_spaces()
    assert ids(storage.list_records()) == ["kept"]


def test_a_record_without_an_embedding_is_kept_and_listed(storage: T4DMStorage):
    storage.save(
        [
            record("a"),
            MemoryRecord(id="b", content="No vector."),
            record("c").model_copy(update={"embedding": [0.0, 0.0]}),
        ]
    )

    assert set(ids(storage.list_records())) == {"a", "b", "c"}
    assert ids(storage.search([1.0, 0.0])) == ["a"]


def test_owners_do_not_see_each_other(plain_daemon: Daemon):
    ada, bob = (T4DMStorage(plain_daemon.url, space="owned", user_id=name) for name in ("ada", "bob"))
    ada.save([record("a", "/x", categories=["c"])])
    bob.save([record("b", "/y")])

    assert ids(ada.search([1.0, 0.0])) == ids(ada.list_records()) == ["a"]
    assert (bob.count(), bob.list_scopes(), bob.list_categories(), bob.get_record("a")) == (1, ["/y"], {}, None)
    bob.reset()
    assert ada.count() == 1
    ada.close()
    bob.close()


def test_owners_neither_replace_nor_touch_each_others_records(plain_daemon: Daemon):
    ada, bob = (T4DMStorage(plain_daemon.url, space="owned-ids", user_id=name) for name in ("ada", "bob"))
    ada.save([record("a", created_at=NOON, last_accessed=NOON)])
    taken = [record("b", last_accessed=NOON), record("a").model_copy(update={"content": "Bob's."})]

    async def save_awaited() -> None:
        try:
            await bob.asave(taken)
        finally:
            await bob.aclose()

    with pytest.raises(ConflictError, match="another owner"):
        bob.save(taken)
    with pytest.raises(ConflictError, match="another owner"):
        asyncio.run(save_awaited())
    with pytest.raises(ConflictError, match="another owner"):
        bob.update(taken[1])
    assert bob.count() == 0
    bob.save(taken[:1])
    bob.touch_records(["a", "b"])

    hers, his = ada.get_record("a"), bob.get_record("b")
    assert hers is not None
    assert his is not None
    assert (hers.content, hers.last_accessed) == ("Record a.", NOON)
    assert his.last_accessed > NOON
    ada.save([record("a").model_copy(update={"content": "Ada's."})])
    changed = ada.get_record("a")
    assert changed is not None
    assert changed.content == "Ada's."
    ada.close()
    bob.close()


def test_awaited_calls_do_the_same(storage: T4DMStorage):
    async def play() -> tuple[list[Any], int, list[Any]]:
        await storage.asave([record("a"), record("b", "/b")])
        found = await storage.asearch([1.0, 0.0], "/b")
        deleted = await storage.adelete("/b")
        left = await storage.asearch([1.0, 0.0])
        await storage.areset()
        await storage.aclose()
        return found, deleted, left

    found, deleted, left = asyncio.run(play())

    assert (ids(found), deleted, ids(left)) == (["b"], 1, ["a"])
    assert storage.count() == 0


def test_a_space_that_the_daemon_embeds_is_refused_with_what_it_is(plain_daemon: Daemon):
    storage = T4DMStorage(plain_daemon.url, space="default")

    with pytest.raises(ConflictError, match="embedder server"):
        storage.save([record("a")])
    with pytest.raises(ValidationError, match="space of its own"):
        storage.reset()
    storage.close()


# Beside CrewAI's own storage ----------------------------------------------------------------------------

SCOPES = ["/a", "/b", "/a/x", "/a/x/y", "/b/z"]
CATEGORIES = ["red", "green", "blue"]
some_metadata = st.dictionaries(st.sampled_from(["k", "n"]), st.sampled_from([0, 1, True, None, "t", 2.5]), max_size=2)
some_categories = st.lists(st.sampled_from(CATEGORIES), unique=True, max_size=2)


@st.composite
def batches(draw: st.DrawFn) -> list[MemoryRecord]:
    """Draw records whose ids, times and directions all differ, so that every order is one order."""
    numbers = draw(st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=8))
    return [
        record(
            f"r{number}",
            draw(st.sampled_from(SCOPES)),
            angle=number / 60 * math.pi * 0.9,
            categories=draw(some_categories),
            metadata=draw(some_metadata),
            importance=draw(st.sampled_from([0.0, 0.25, 1.0])),
            created_at=NOON + timedelta(seconds=number),
            source=draw(st.sampled_from([None, "ada"])),
            private=draw(st.booleans()),
        )
        for number in numbers
    ]


scopes = st.none() | st.sampled_from(["/", *SCOPES, "/nowhere"])
deletions = st.one_of(
    st.fixed_dictionaries({"record_ids": st.lists(st.integers(0, 60).map("r{}".format), min_size=1, max_size=4)}),
    st.fixed_dictionaries(
        {"scope_prefix": scopes, "categories": some_categories, "metadata_filter": some_metadata},
        optional={"older_than": st.integers(0, 60).map(lambda second: NOON + timedelta(seconds=second))},
    ).filter(
        lambda asked: (
            any(asked["categories"]) or any(asked["metadata_filter"]) or asked["scope_prefix"] not in (None, "/")
        )
    ),
)
steps = st.one_of(
    st.tuples(st.just("update"), batches().map(lambda batch: batch[0])),
    st.tuples(st.just("delete"), deletions),
    st.tuples(st.just("reset"), scopes.filter(lambda scope: scope not in (None, "/"))),
)
questions = st.fixed_dictionaries(
    {"scope_prefix": scopes, "categories": some_categories, "metadata_filter": some_metadata},
    optional={"min_score": st.sampled_from([0.3, 0.6])},
)


def seen(storage: Any, asked: list[dict[str, Any]]) -> dict[str, Any]:
    """Return all that a storage tells."""
    told: dict[str, Any] = {
        "count": storage.count(),
        "records": [shown(one) for one in storage.list_records(limit=100)],
    }
    told["page"] = ids(storage.list_records("/a", limit=3, offset=1))
    for scope in ["/", *SCOPES, "/nowhere"]:
        info = storage.get_scope_info(scope)
        told[scope] = [
            info.model_dump(),
            storage.list_scopes(scope),
            storage.list_categories(scope),
            storage.count(scope),
        ]
    for number in (0, 30):
        told[f"r{number}"] = None if (one := storage.get_record(f"r{number}")) is None else shown(one)
    # CrewAI's looks for three times the limit and filters afterwards: the limit is beyond what there is.
    told["found"] = [
        [[one.id, score] for one, score in storage.search([0.6, 0.8], limit=100, **question)] for question in asked
    ]
    return told


def shown(one: MemoryRecord) -> Any:
    return one.model_dump(exclude={"last_accessed"}) | {"embedding": list(one.embedding or ())}


def check_beside_crewais_own(
    storage: T4DMStorage, batch: list[MemoryRecord], then: list[tuple[str, Any]], asked: list[dict[str, Any]]
) -> None:
    storage.reset()
    with tempfile.TemporaryDirectory() as directory:
        own = LanceDBStorage(path=directory, compact_every=0)
        for one in (own, storage):
            one.save(batch)
        assert same(found := seen(storage, asked), expected := seen(own, asked)), (found, expected)
        for name, argument in then:
            answers = [
                getattr(one, name)(**argument) if name == "delete" else getattr(one, name)(argument)
                for one in (own, storage)
            ]
            assert answers[0] == answers[1], (name, argument)
        assert same(found := seen(storage, asked), expected := seen(own, asked)), (found, expected)


SAME_STORAGE = [HealthCheck.function_scoped_fixture]


@settings(max_examples=8, suppress_health_check=SAME_STORAGE)
@given(batches(), st.lists(steps, max_size=4), st.lists(questions, min_size=1, max_size=3))
def test_it_tells_what_crewais_own_storage_tells(storage: T4DMStorage, batch: Any, then: Any, asked: Any):
    check_beside_crewais_own(storage, batch, then, asked)


@pytest.mark.slow
@pytest.mark.timeout(900)
@settings(max_examples=150, suppress_health_check=[*SAME_STORAGE, HealthCheck.too_slow])
@given(batches(), st.lists(steps, max_size=8), st.lists(questions, min_size=1, max_size=4))
def test_it_tells_what_crewais_own_storage_tells_at_length(storage: T4DMStorage, batch: Any, then: Any, asked: Any):
    check_beside_crewais_own(storage, batch, then, asked)


# Names of storages --------------------------------------------------------------------------------------


@pytest.fixture
def _no_factory() -> Iterator[None]:
    factory.set_memory_storage_factory(None)
    yield
    factory.set_memory_storage_factory(None)


@pytest.mark.usefixtures("_no_factory")
def test_a_name_makes_a_storage_and_other_names_go_to_who_was_there(plain_daemon: Daemon):
    other = T4DMStorage(plain_daemon.url, space="other")
    factory.set_memory_storage_factory(lambda spec: other if spec == "mine" else None)
    install()
    install()
    name = plain_daemon.url.replace("http://", "t4dm://") + "/named?user_id=ada"
    memory = Memory(storage=name, embedder=embed, llm=Model(model="none"))

    memory.remember(FERRY, scope="/a", categories=[], importance=0.5)

    assert [one.record.content for one in memory.recall("ferry pier", depth="shallow")] == [FERRY]
    assert T4DMStorage(plain_daemon.url, space="named", user_id="ada").count("/a") == 1
    assert factory.resolve_memory_storage("mine") is other
    assert factory.resolve_memory_storage("lancedb") is None
    assert name in memory.model_dump_json(exclude={"llm", "embedder"})
    memory.close()


def test_what_a_name_says_is_what_the_storage_is(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("T4DM_URL", "http://127.0.0.1:9")

    assert storage_of("t4dm://127.0.0.1:1/a%2Fb?timeout_s=2.5&max_retries=0").space == "a/b"
    assert storage_of("t4dm://127.0.0.1:1").space == storage_of("t4dm:///").space == "crewai-vectors"
    here = storage_of(f"t4dm:///notes?storage_path={tmp_path}/store&run_id=7")
    assert (here.space, here._connection.settings["storage_path"]) == ("notes", f"{tmp_path}/store")
    for wrong in (
        "t4dm://127.0.0.1:1/a?colour=red",
        "t4dm://127.0.0.1:1/a?timeout_s=long",
        "t4dm://me:secret@127.0.0.1:1/a",
        f"t4dm://127.0.0.1:1/a?storage_path={tmp_path}",
    ):
        with pytest.raises(ValidationError) as caught:
            storage_of(wrong)
        assert "secret" not in str(caught.value)


# Under CrewAI's own memory ------------------------------------------------------------------------------


def test_a_crew_knows_in_its_second_run_what_it_learned_in_its_first(make_daemon: Callable[..., Daemon]):
    daemon = make_daemon()
    prompts = []
    for _ in range(2):
        daemon.close()
        daemon.start()
        model = AnalysingModel(model="none")
        with_storage = Memory(
            storage=T4DMStorage(daemon.url),
            embedder=embed,
            llm=model,
            root_scope="/crew/harbour",
            query_analysis_threshold=1000,
        )
        crew_with(with_storage, model).kickoff()
        assert "ExtractedMemories" in model.analyses
        prompts.append(model.prompts[0])
        with_storage.close()

    assert FERRY not in prompts[0]
    assert FERRY in prompts[1]
    storage = T4DMStorage(daemon.url)
    assert storage.list_scopes("/crew/harbour") == ["/crew/harbour/agent"]
    assert storage.list_categories()["boats"] >= 1
    storage.close()


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_daemon_that_is_down_or_slow_is_an_error(silent: str, is_slow: bool):
    url, message = (silent, "0.1") if is_slow else ("http://127.0.0.1:1", "not running")
    storage = T4DMStorage(url, max_retries=0, timeout_s=0.1)
    memory = Memory(storage=storage, embedder=embed, llm=Model(model="none"))

    for call in (
        lambda: storage.search([1.0]),
        lambda: storage.save([record("a")]),
        lambda: storage.list_records(),
        lambda: storage.count(),
        lambda: storage.get_record("a"),
        lambda: storage.delete("/a"),
        lambda: storage.reset(),
        lambda: asyncio.run(storage.asearch([1.0])),
        lambda: memory.recall("Which pier?", depth="shallow"),
    ):
        with pytest.raises(TransportError, match=message):
            call()
    asyncio.run(storage.aclose())
    memory.close()


def test_what_crewais_own_memory_swallows_is_logged(caplog: pytest.LogCaptureFixture):
    storage = T4DMStorage("http://127.0.0.1:1", max_retries=0)
    memory = Memory(storage=storage, embedder=embed, llm=Model(model="none"))

    memory.recall("Which pier?", depth="deep")
    memory.remember_many([FERRY], scope="/a", categories=[], importance=0.5)
    memory.close()

    logged = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert any(text.startswith("memory search failed: T4DM is not running") for text in logged)
    assert any(text.startswith("memory save failed: T4DM is not running") for text in logged)
