"""Finding, explaining and knowing when: every promise once, over HTTP and in this process."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from t4dm._backend import MemoryBackend
from t4dm.sdk import ConflictError, NotFoundError, ValidationError
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import recall_models as r

MARCH = datetime(2025, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def _ids(answer: m.SearchAnswer) -> list[str]:
    return [hit.memory.id for hit in answer.results]


def _store(backend: MemoryBackend, space: str, *texts: str, **fields: object) -> None:
    for number, text in enumerate(texts):
        backend.store(m.StoreRequest(id=f"m{number}", content=text, space=space, **fields))  # type: ignore[arg-type]


# Signals and explanations -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["hybrid", "lexical", "graph", "vector"])
def test_explanations_sum_to_the_score_and_scores_fall(backend: MemoryBackend, space: str, mode: m.SearchMode) -> None:
    _store(
        backend, space, "Ann: Did you buy tea?", "Bob: I bought green tea in March 2025.", "Ann: The cat sleeps.",
        session_id="s", metadata={"speaker": "Bob"}, event_time=MARCH,
    )  # fmt: skip

    answer = backend.search(m.SearchRequest(query="When did Bob buy tea?", space=space, mode=mode, include=["explain"]))

    assert answer.results
    scores = [hit.score for hit in answer.results]
    assert scores == sorted(scores, reverse=True)
    for hit in answer.results:
        assert hit.explain is not None
        assert hit.ranks is not None
        assert sum(hit.explain.values()) == pytest.approx(hit.score, abs=1e-9)
        assert 0.0 <= hit.score <= 1.0


def test_every_signal_that_speaks_for_a_hit_is_named(backend: MemoryBackend, space: str) -> None:
    _store(
        backend, space, "Bob: What a day.", "Bob: I bought green tea in March 2025.", "Bob: It was cold.",
        session_id="s", metadata={"speaker": "Bob"}, event_time=MARCH,
    )  # fmt: skip

    best = backend.search(
        m.SearchRequest(query="When did Bob buy the tea in March 2025?", space=space, include=["explain"])
    ).results[0]

    assert best.memory.id == "m1"
    assert best.explain is not None
    assert {"dense", "lexical", "window", "actor", "date", "statement", "time"} <= best.explain.keys()
    assert best.ranks is not None
    assert best.ranks["lexical"] == 1


def test_a_weight_of_zero_leaves_a_signal_out(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "green tea", "black coffee")

    weights = m.SearchWeights(dense=0.0, window=0.0, graph=0.0, statement=0.0)
    answer = backend.search(m.SearchRequest(query="tea", space=space, weights=weights, include=["explain"]))

    assert _ids(answer) == ["m0"]
    assert answer.results[0].explain is not None
    assert answer.results[0].explain.keys() == {"lexical"}


def test_words_find_what_has_no_vector_and_search_by_words_needs_words(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "the blue umbrella", embed=False)

    assert _ids(backend.search(m.SearchRequest(query="umbrellas", space=space, mode="lexical"))) == ["m0"]
    with pytest.raises(ValidationError):
        backend.search(m.SearchRequest(vector=b"\0\0\x80?" * 256, space=space, mode="lexical"))


def test_a_space_whose_callers_bring_vectors_is_searched_by_words_too(backend: MemoryBackend, space: str) -> None:
    vectors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    for number, (text, vector) in enumerate(zip(("red kite", "blue boat"), vectors, strict=True)):
        backend.store(m.StoreRequest(id=f"m{number}", content=text, vector=vector, space=space))  # type: ignore[arg-type]

    by_words = backend.search(m.SearchRequest(query="boats", space=space))
    by_both = backend.search(m.SearchRequest(query="boats", vector=vectors[0], space=space))  # type: ignore[arg-type]

    assert _ids(by_words)[0] == "m1"
    assert set(_ids(by_both)) == {"m0", "m1"}


def test_what_is_linked_to_a_hit_is_found_with_it(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "the lighthouse at the cape", "zzz qqq", *(f"noise {n} www" for n in range(200)))
    backend.link(g.LinkRequest(edges=[g.EdgeIn(source="m0", target="m1", type="CAUSES")], space=space))

    hits = backend.search(m.SearchRequest(query="lighthouse", space=space, include=["explain"])).results
    linked = next(hit for hit in hits if hit.memory.id == "m1")
    only = backend.search(m.SearchRequest(query="lighthouse", space=space, mode="graph")).results

    assert linked.explain is not None
    assert linked.explain["graph"] > 0
    assert "m1" in {hit.memory.id for hit in only}


def test_a_quoted_phrase_is_looked_for_as_such(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "york new pizza", "a new york pizza", "new pizza, old york")

    answer = backend.search(m.SearchRequest(query='"new york"', space=space, mode="lexical"))

    assert _ids(answer)[0] == "m1"


def test_memories_that_say_the_same_are_shown_once_unless_their_numbers_differ(
    backend: MemoryBackend, space: str
) -> None:
    _store(
        backend, space, "the rent of the room is 640", "the rent of the  room is 640 ", "the rent of the room is 790"
    )

    def found(**fields: object) -> list[str]:
        return _ids(backend.search(m.SearchRequest(query="rent of the room", space=space, **fields)))  # type: ignore[arg-type]

    assert len({"m0", "m1"} & set(found())) == 1
    assert "m2" in found()
    assert set(found(collapse=False)) == {"m0", "m1", "m2"}
    assert set(found(mode="vector")) == {"m0", "m1", "m2"}


def test_mmr_prefers_what_differs(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "green tea leaves", "green tea leaf", "green teas leaves", "tea ceremony kyoto")

    near = _ids(backend.search(m.SearchRequest(query="green tea leaves", space=space, k=2, collapse=False)))
    mixed = _ids(
        backend.search(
            m.SearchRequest(
                query="green tea leaves", space=space, k=2, collapse=False, mmr=m.Mmr(lambda_=0.1, fetch_k=4)
            )
        )
    )

    assert near[0] == mixed[0]
    assert mixed[1] == "m3"


def test_it_abstains_when_asked_to_and_answers_otherwise(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "the train to Riga leaves at nine")

    hopeless = m.SearchRequest(query="volcano insurance premium", space=space, abstain_below=0.5)

    assert backend.search(hopeless).results == []
    assert backend.search(hopeless.model_copy(update={"abstain_below": None})).results
    assert backend.search(m.SearchRequest(query="train to Riga leaves at nine", space=space, abstain_below=0.5)).results


def test_offset_goes_on_where_the_first_page_ended(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, *(f"tea number {n} of many" for n in range(30)))

    every = _ids(backend.search(m.SearchRequest(query="tea", space=space, k=20)))
    pages = [_ids(backend.search(m.SearchRequest(query="tea", space=space, k=10, offset=at))) for at in (0, 10)]

    assert pages[0] + pages[1] == every


# Time -------------------------------------------------------------------------------------------------


def test_a_superseded_fact_stops_being_true_and_stays_told_of(backend: MemoryBackend, space: str) -> None:
    backend.store(
        m.StoreRequest(id="old", content="Ann lives in Riga", space=space, event_time=MARCH, valid_from=MARCH)
    )
    between = backend.get("old", space=space).recorded_at
    backend.store(
        m.StoreRequest(
            id="new", content="Ann lives in Oslo", space=space, event_time=MARCH + 60 * DAY, supersedes=["old"]
        )
    )

    def best(**fields: object) -> str:
        return _ids(backend.search(m.SearchRequest(query="Where does Ann live?", space=space, **fields)))[0]  # type: ignore[arg-type]

    assert backend.get("old", space=space).valid_to == MARCH + 60 * DAY
    assert [one.event for one in backend.history("old", space=space)] == ["ADD", "SUPERSEDE"]
    assert [(edge.source, edge.target) for edge in backend.links("new", space=space) if edge.type == "SUPERSEDES"] == [
        ("new", "old")
    ]
    assert best() == "new"
    assert best(as_of=MARCH + 30 * DAY) == "old"
    assert best(known_at=between) == "old"
    (before,) = [
        hit.memory.id
        for hit in backend.search(m.SearchRequest(query="Ann lives", space=space, as_of=MARCH + 61 * DAY)).results
    ]
    assert before == "new"


def test_superseding_what_does_not_exist_stores_nothing(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="x", content="there", space=space))

    with pytest.raises(ValidationError, match="nowhere"):
        backend.store(m.StoreRequest(id="new", content="y", space=space, supersedes=["nowhere"]))
    with pytest.raises(ValidationError, match="itself"):
        backend.store(m.StoreRequest(id="x", content="y", space=space, supersedes=["x"]))

    assert backend.list(m.ListRequest(space=space)).total == 1


def test_several_of_a_batch_may_take_the_place_of_one(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="old", content="the office is in Riga", space=space))
    records = [
        m.RecordIn(id=name, content=f"there is an office in {name}", supersedes=["old", "old"])
        for name in ("Oslo", "Bergen")
    ]

    backend.batch(m.BatchRequest(records=records, space=space))

    assert {edge.source for edge in backend.links("old", space=space) if edge.type == "SUPERSEDES"} == {
        "Oslo",
        "Bergen",
    }
    assert backend.get("old", space=space).valid_to is not None


def test_two_writers_that_supersede_the_same_fact_both_win(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="old", content="the price is 1", space=space))
    failures: list[BaseException] = []

    def replace(number: int) -> None:
        try:
            backend.store(
                m.StoreRequest(id=f"new{number}", content=f"the price is {number}", space=space, supersedes=["old"])
            )
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    threads = [threading.Thread(target=replace, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len([edge for edge in backend.links("old", space=space) if edge.type == "SUPERSEDES"]) == 6


def test_an_inverted_time_range_is_refused(backend: MemoryBackend, space: str) -> None:
    with pytest.raises((ValidationError, ValueError), match="later than from"):
        backend.search(
            m.SearchRequest(query="x", space=space, time_range={"from": MARCH, "to": MARCH - DAY})  # type: ignore[arg-type]
        )


# Writing ----------------------------------------------------------------------------------------------


def test_memories_of_a_session_are_chained_in_the_order_they_came(backend: MemoryBackend, space: str) -> None:
    backend.batch(
        m.BatchRequest(
            space=space, records=[m.RecordIn(id=f"m{n}", content=f"turn {n}", session_id="s") for n in range(3)]
        )
    )
    backend.store(m.StoreRequest(id="m3", content="turn 3", session_id="s", space=space))
    backend.store(m.StoreRequest(id="other", content="elsewhere", session_id="t", space=space))
    backend.store(m.StoreRequest(id="m1", content="turn one", session_id="s", space=space))  # no new link: it was there

    chain = [
        (edge.source, edge.target)
        for name in ("m0", "m1", "m2", "m3", "other")
        for edge in backend.links(name, direction="out", space=space)
        if edge.type == "TEMPORAL_BEFORE"
    ]

    assert chain == [("m0", "m1"), ("m1", "m2"), ("m2", "m3")]


def test_owners_that_use_one_name_for_a_session_have_a_chain_each(backend: MemoryBackend, space: str) -> None:
    for number in range(6):
        owner = {"user_id": "ann"} if number % 2 else {"user_id": "bob", "namespace": ["x"]}
        backend.store(m.StoreRequest(id=f"m{number}", content=f"t {number}", session_id="s", space=space, **owner))  # type: ignore[arg-type]

    chain = [
        (edge.source, edge.target)
        for number in range(6)
        for edge in backend.links(f"m{number}", direction="out", space=space)
    ]

    assert chain == [("m0", "m2"), ("m1", "m3"), ("m2", "m4"), ("m3", "m5")]


def test_the_chain_of_a_session_does_not_fork_under_writers_at_once(backend: MemoryBackend, space: str) -> None:
    def write(number: int) -> None:
        backend.store(m.StoreRequest(id=f"m{number}", content=f"t {number}", session_id="s", embed=False, space=space))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))

    ends = [
        (edge.source, edge.target)
        for number in range(40)
        for edge in backend.links(f"m{number}", direction="out", space=space)
    ]
    assert len(ends) == 39
    assert len({source for source, _ in ends}) == len({target for _, target in ends}) == 39


def test_the_chain_goes_on_after_its_end_was_deleted(backend: MemoryBackend, space: str) -> None:
    for number in range(3):
        backend.store(m.StoreRequest(id=f"m{number}", content=f"turn {number}", session_id="s", space=space))
    backend.delete("m2", space=space)
    backend.store(m.StoreRequest(id="m3", content="turn 3", session_id="s", space=space))

    assert [(edge.source, edge.target) for edge in backend.links("m3", space=space)] == [("m1", "m3")]


def test_near_duplicates_of_one_owner_are_stored_and_linked(backend: MemoryBackend, space: str) -> None:
    def add(text: str, user: str = "ann") -> m.Memory:
        return backend.store(m.StoreRequest(content=text, user_id=user, space=space))

    first = add("the meeting with the bank is on monday morning at the office")
    again = add("The meeting with the bank is on monday morning at the office!")
    others = add("the meeting with the bank is on monday morning at the office", user="bob")

    assert {first.status, again.status, others.status} == {"created"}
    (link,) = backend.links(again.id, space=space)
    assert (link.source, link.target, link.type) == (again.id, first.id, "SIMILAR_TO")
    assert backend.links(others.id, space=space) == []
    assert again.importance < first.importance  # what is new is worth more


def test_an_importance_that_is_given_stays(backend: MemoryBackend, space: str) -> None:
    assert backend.store(m.StoreRequest(content="x y z", importance=0.25, space=space)).importance == 0.25
    assert backend.store(m.StoreRequest(id="named", content="x y z", space=space)).importance == 0.5


def test_private_spans_are_never_stored(backend: MemoryBackend, space: str) -> None:
    stored = backend.store(m.StoreRequest(content="My pin is <private>4417</private> as ever", space=space))
    changed = backend.update(stored.id, m.UpdateRequest(content="Now <private>5528</private> it changed"), space=space)

    assert (stored.content, changed.content) == ("My pin is as ever", "Now it changed")
    assert backend.search(m.SearchRequest(query="4417 5528", space=space, mode="lexical")).results == []
    with pytest.raises(ValidationError, match="private"):
        backend.store(m.StoreRequest(content="<private>all</private>", space=space))


def test_recalls_are_counted_shortly_after(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="a", content="green tea", space=space))
    backend.search(m.SearchRequest(query="tea", space=space, touch=False))
    backend.search(m.SearchRequest(query="tea", space=space))

    deadline = time.monotonic() + 20
    while backend.get("a", space=space).access_count == 0 and time.monotonic() < deadline:
        threading.Event().wait(0.05)

    counted = backend.get("a", space=space)
    assert counted.access_count == 1
    assert counted.last_accessed is not None


def test_pins_are_set_and_taken_back(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "one", "two")

    assert backend.pin(r.PinRequest(ids=["m0", "m1", "none"], space=space)) == 2
    assert backend.get("m0", space=space).pinned
    assert backend.pin(r.PinRequest(ids=["m0"], pinned=False, space=space)) == 1
    assert not backend.get("m0", space=space).pinned


def test_feedback_is_kept_of_what_exists_and_changes_no_list(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "one")
    items = [r.FeedbackItem(id="m0", reward=1.0), r.FeedbackItem(id="none", reward=-1.0)]

    assert backend.feedback(r.FeedbackRequest(items=items, query="which?", space=space)) == 1
    assert backend.list(m.ListRequest(space=space)).total == 1
    assert "t4dm:feedback" not in {one.name for one in backend.list_spaces()}
    with pytest.raises(NotFoundError):
        backend.list(m.ListRequest(space="t4dm:feedback"))


# Context ----------------------------------------------------------------------------------------------


def test_a_context_keeps_to_its_budget_and_says_what_it_was_made_from(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, *(f"fact {n} about tea: " + "very " * 20 + "fine" for n in range(20)))

    block = backend.context(
        r.ContextRequest(query="tea", space=space, budget_tokens=200, abstain_below=0.0, header="What I know:")
    )

    assert block.text.startswith("What I know:\n- [")
    assert 0 < block.tokens <= 200
    assert len(block.parts) + block.left_out == 20
    assert block.left_out > 0
    assert block.text.count("\n") == len(block.parts)


def test_a_context_tells_the_version_that_is_true(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="old", content="Ann drinks tea", space=space, event_time=MARCH))
    backend.store(
        m.StoreRequest(id="new", content="Ann drinks coffee", space=space, event_time=MARCH + DAY, supersedes=["old"])
    )

    now = backend.context(r.ContextRequest(query="What does Ann drink?", space=space, abstain_below=0.0))
    then = backend.context(
        r.ContextRequest(query="What does Ann drink?", space=space, abstain_below=0.0, as_of=MARCH + DAY / 2)
    )

    assert [part.id for part in now.parts] == ["new"]
    assert [part.id for part in then.parts] == ["old"]


def test_a_context_of_nothing_relevant_is_empty(backend: MemoryBackend, space: str) -> None:
    _store(backend, space, "the train to Riga leaves at nine")

    block = backend.context(r.ContextRequest(query="volcano insurance premium", space=space))

    assert (block.text, block.parts, block.tokens) == ("", [], 0)


def test_what_has_expired_is_deleted_for_good_when_asked_to(backend: MemoryBackend, space: str) -> None:
    backend.store(m.StoreRequest(id="gone", content="a password", space=space, ttl_s=0.001))
    _store(backend, space, "stays")

    answer = backend.delete_many(m.DeleteRequest(space=space, expired=True, purge=True))

    assert (answer.deleted, answer.purged) == (1, 1)
    assert backend.list(m.ListRequest(space=space, show_expired=True)).total == 1
    with pytest.raises(NotFoundError):
        backend.history("gone", space=space)


def test_a_fact_that_is_not_true_yet_is_not_the_answer(backend: MemoryBackend, space: str) -> None:
    future = datetime(2190, 1, 1, tzinfo=UTC)
    backend.store(m.StoreRequest(id="now", content="The office is in Paris", space=space, event_time=MARCH))
    backend.store(
        m.StoreRequest(
            id="then", content="The office moves to Rome", space=space, valid_from=future, supersedes=["now"]
        )
    )

    assert _ids(backend.search(m.SearchRequest(query="where is the office", space=space)))[0] == "now"


def test_what_says_the_same_does_not_crowd_out_the_rest(backend: MemoryBackend, space: str) -> None:
    records = [m.RecordIn(id=f"same{n}", content="thanks for the cat") for n in range(120)]
    records += [m.RecordIn(id=f"other{n}", content=f"cat story {word}") for n, word in enumerate("abcdefghijkl")]
    backend.batch(m.BatchRequest(records=records, space=space))

    for mode in ("hybrid", "lexical", "vector"):
        found = backend.search(
            m.SearchRequest(query="thanks for the cat", space=space, mode=mode, collapse=True, k=8)  # type: ignore[arg-type]
        )
        assert len(found.results) == 8, mode


def test_a_duplicate_inside_a_batch_does_not_break_the_chain_of_its_session(backend: MemoryBackend, space: str) -> None:
    texts = ["alpha one", "ok", "beta two", "ok", "gamma three"]
    records = [m.RecordIn(content=text, session_id="s") for text in texts]

    ids = [one.id for one in backend.batch(m.BatchRequest(records=records, space=space)).results]

    before = [edge.source for edge in backend.links(ids[4], direction="in", space=space)]
    assert before == [ids[2]]


def test_activation_does_not_flow_through_what_the_search_may_not_see(backend: MemoryBackend, space: str) -> None:
    for name, text, user in (("a1", "zebra stripes", "ann"), ("b1", "www", "bob"), ("a2", "qqq", "ann")):
        backend.store(m.StoreRequest(id=name, content=text, user_id=user, space=space))
    edges = [g.EdgeIn(source="a1", target="b1", type="CAUSES"), g.EdgeIn(source="b1", target="a2", type="CAUSES")]
    backend.link(g.LinkRequest(edges=edges, space=space))

    hits = backend.search(
        m.SearchRequest(query="zebra stripes", user_id="ann", space=space, include=["explain"])
    ).results

    assert all("graph" not in (hit.explain or {}) for hit in hits)


@pytest.mark.parametrize("query", ["what happened yesterday", "today", "9000 days ago", "9" * 5000 + " days ago"])
@pytest.mark.parametrize("year", [1, 9999])
def test_dates_beyond_the_calendar_are_no_dates(backend: MemoryBackend, space: str, query: str, year: int) -> None:
    _store(backend, space, "something happened")

    backend.search(m.SearchRequest(query=query, space=space, as_of=datetime(year, 12, 31, 23, tzinfo=UTC)))


@pytest.mark.parametrize(
    "text", ["cat " + "[" * 60_000, "cat " + " " * 60_000 + "x", "cat" + " \t" * 60_000 + "<private>y"]
)
def test_a_strange_text_costs_no_more_than_its_length(backend: MemoryBackend, space: str, text: str) -> None:
    backend.store(m.StoreRequest(id="strange", content=text, embed=False, space=space))

    found = backend.search(m.SearchRequest(query="cat " + "\u201c" * 30_000, space=space, mode="lexical"))

    assert _ids(found) == ["strange"]


def test_a_repeated_store_that_superseded_answers_as_before_when_the_old_one_is_gone(
    backend: MemoryBackend, space: str
) -> None:
    backend.store(m.StoreRequest(id="old", content="she lives in Oslo", embed=False, space=space))
    request = m.StoreRequest(content="she lives in Bergen", supersedes=["old"], embed=False, space=space)
    first = backend.store(request, idempotency_key="move-1")
    backend.delete("old", space=space)

    assert backend.store(request, idempotency_key="move-1") == first
    with pytest.raises(ConflictError) as refused:
        backend.store(m.StoreRequest(content="another", supersedes=["old"], space=space), idempotency_key="move-1")
    assert refused.value.code == "idempotency_mismatch"
    assert backend.list(m.ListRequest(space=space)).total == 1


@pytest.mark.parametrize("is_there", [False, True])
def test_one_batch_cannot_write_a_memory_and_supersede_it(backend: MemoryBackend, space: str, is_there: bool) -> None:
    if is_there:
        backend.store(m.StoreRequest(id="a", content="first", embed=False, space=space))
    records = [m.RecordIn(id="a", content="again", embed=False), m.RecordIn(id="b", content="b", supersedes=["a"])]

    with pytest.raises(ValidationError, match="two requests") as refused:
        backend.batch(m.BatchRequest(records=records, space=space))

    assert refused.value.details["id"] == "a"
    if is_there:
        assert backend.list(m.ListRequest(space=space)).total == 1
    else:
        with pytest.raises(NotFoundError):  # not even a space
            backend.list(m.ListRequest(space=space))
