"""Mem0's API as plain HTTP: what its clients cannot show, above all that a careless request harms nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import httpx
import pydantic
import pytest

from t4dm.sdk import T4DMClient
from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from tests.support.daemon import Daemon


@pytest.fixture
def http(plain_daemon: Daemon) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=plain_daemon.url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def native(plain_daemon: Daemon) -> Iterator[T4DMClient]:
    with plain_daemon.client() as client:
        yield client


def _add(http: httpx.Client, text: Any, **fields: Any) -> list[dict[str, Any]]:
    answer = http.post("/v3/memories/add/", json={"messages": text, **fields})
    assert answer.status_code == 200, answer.text
    results: list[dict[str, Any]] = answer.json()["results"]
    return results


def _texts(http: httpx.Client, user: str, **fields: Any) -> list[str]:
    answer = http.post("/v3/memories/", json={"filters": {"user_id": user}, **fields})
    assert answer.status_code == 200, answer.text
    return [one["memory"] for one in answer.json()["results"]]


# Nothing is deleted by mistake -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "",
        "user_id=",
        "user_id=%20",
        "user_id=None",
        "user_id=undefined",
        "user=canary",
        "user_id=canary&category=x",
        "user_id=canary&user_id=other",
        "filters=",
        "filters={}",
        "filters=[]",
        "filters=%5Bobject%20Object%5D",
        "filters={'user_id':'canary'",
        "filters={'user_id':__import__('os')}",
        "filters={'user_id':None}",
        "filters={'user_id':''}",
        "filters={'name':'canary'}",
        "filters={'NOT':[{'user_id':'somebody'}]}",
        "filters={'OR':[{'user_id':'canary'},{'metadata':{'a':1}}]}",
        "filters={'user_id':{'ne':'somebody'}}",
        "filters={'created_at':{'gte':'2000-01-01'}}",
        "filters={'metadata':{'user_id':'canary'}}",
        "filters=%22canary%22",
        "metadata={'a':1}",
        "user_id=canary&metadata=a",
        "user_id=canary&filters=x",
        "filters=" + "(" * 5000,
        "filters=" + "-" * 5000 + "1",
        "org_id=t4dm&project_id=default",
    ],
)
@pytest.mark.parametrize("path", ["/v1/memories/", "/v1/memories", "/memories"])
def test_a_malformed_selector_deletes_nothing_and_says_so(http: httpx.Client, path: str, query: str) -> None:
    if not _texts(http, "canary"):
        _add(http, "The canary sings.", user_id="canary", infer=False)

    refused = http.delete(f"{path}?{query}")

    assert refused.status_code == 400, refused.text
    assert list(refused.json()) == ["detail"]
    assert isinstance(refused.json()["detail"], str)
    assert _texts(http, "canary") == ["The canary sings."]


def test_a_deletion_that_says_something_in_its_body_is_refused(http: httpx.Client) -> None:
    (kept,) = _add(http, "Stay.", user_id="bodied", infer=False)

    for path in ("/v1/memories/?user_id=bodied", f"/v1/memories/{kept['id']}/", "/v2/entities/user/bodied/"):
        refused = http.request("DELETE", path, json={"metadata": {"a": 1}})
        assert (refused.status_code, "nothing was deleted" in refused.json()["detail"]) == (400, True)
    for path in (f"/v1/memories/{kept['id']}/?all=true", "/v2/entities/user/bodied/?x=1", "/v2/entities/users/bodied/"):
        assert http.delete(path).status_code == 400

    assert _texts(http, "bodied") == ["Stay."]


@pytest.mark.parametrize(
    "query",
    [
        "filters={'user_id': 'doomed'}",
        'filters={"user_id": "doomed"}',
        'filters={"AND": [{"user_id": {"in": ["doomed"]}}, {"metadata": {"a": 1}}]}',
        "user_id=doomed&metadata={'a': 1}&org_id=o&project_id=p",
        "user_id=doomed",
    ],
)
def test_a_selector_that_can_be_read_deletes_what_it_names(http: httpx.Client, query: str) -> None:
    _add(http, "Doomed.", user_id="doomed", metadata={"a": 1}, infer=False)
    _add(http, "Expired.", user_id="doomed", metadata={"a": 1}, infer=False, expiration_date="2020-01-01")
    _add(http, "Spared.", user_id="spared", metadata={"a": 1})

    assert http.delete(f"/v1/memories/?{query}").json() == {"message": "Memories deleted successfully!"}

    assert _texts(http, "doomed", show_expired=True) == []
    assert _texts(http, "spared") == ["Spared."]
    http.delete("/v1/memories/?user_id=spared")


def test_a_batch_is_looked_up_before_the_first_is_touched(http: httpx.Client) -> None:
    (one,) = _add(http, "One.", user_id="batched", infer=False)
    missing = {"memory_id": "no-such-memory", "text": "x"}

    changed = http.put("/v1/batch/", json={"memories": [{"memory_id": one["id"], "text": "Two."}, missing]})
    deleted = http.request("DELETE", "/v1/batch/", json={"memories": [{"memory_id": one["id"]}, missing]})
    empty = http.request("DELETE", "/v1/batch/", json={"memories": []})
    twice = http.request("DELETE", "/v1/batch/", json={"memories": [{"memory_id": one["id"]}] * 2})

    assert (changed.status_code, deleted.status_code) == (404, 404)
    assert "no-such-memory" in changed.json()["detail"]
    assert empty.status_code in (400, 422)
    assert twice.status_code == 400
    assert _texts(http, "batched") == ["One."]


def test_nobody_reads_everybodys_memories_by_leaving_the_owner_out(http: httpx.Client) -> None:
    for path, body in (
        ("/v3/memories/", {}),
        ("/v3/memories/", {"filters": {"metadata": {"a": 1}}}),
        ("/v3/memories/search/", {"query": "x"}),
        ("/v1/memories/search/", {"query": "x", "user": "alice"}),
        ("/search", {"query": "x", "filters": {"topic": "x"}}),
    ):
        refused = http.post(path, json=body)
        assert (refused.status_code, "name at least one" in refused.json()["detail"]) == (400, True), path
    assert http.get("/v1/memories/").status_code == http.get("/memories").status_code == 400


def test_reset_leaves_memories_that_are_nobodys(make_daemon: Any) -> None:
    daemon = make_daemon().start()
    with daemon.client() as native, httpx.Client(base_url=daemon.url, trust_env=False) as http:
        kept = native.store(m.StoreRequest(content="Nobody's.")).id
        _add(http, "Somebody's.", run_id="r", expiration_date="2020-01-01")

        assert http.post("/reset").json() == {"message": "All memories reset"}

        assert native.get(kept).content == "Nobody's."
        assert native.list(m.ListRequest(show_expired=True)).total == 1


# What is stored is T4DM's own ---------------------------------------------------------------------------


def test_memories_are_the_same_through_both_doors(http: httpx.Client, native: T4DMClient) -> None:
    said = [{"role": "user", "content": "My name is Ülkü. 🎈"}, {"role": "assistant", "content": "Nice."}]
    metadata = {"a.b": [1, {"c": None}], "big": 2**70, "ü": "🎈"}
    told = _add(http, said, user_id="both", agent_id="a", app_id="p", run_id="r", metadata=metadata, timestamp=1e9)

    message = native.get(told[0]["id"])
    fact = native.get(told[2]["id"])

    assert (message.content, message.kind, message.metadata) == ("My name is Ülkü. 🎈", "episodic", metadata)
    assert (message.user_id, message.agent_id, message.app_id, message.run_id) == ("both", "a", "p", "r")
    assert message.event_time.timestamp() == message.created_at.timestamp() == 1e9
    assert (fact.content, fact.kind, fact.metadata, fact.categories) == (
        "The user's name is Ülkü", "semantic", metadata, ["name"],
    )  # fmt: skip
    assert fact.value == {"mem0": {"extracted": "rule:name"}}
    assert native.get(told[1]["id"]).value == {"mem0": {"role": "assistant"}}
    assert [(one.target, one.type) for one in native.links(fact.id, direction="out")] == [(message.id, "DERIVED_FROM")]
    shown = http.get(f"/v1/memories/{message.id}/").json()
    assert (shown["metadata"], shown["created_at"]) == (metadata, "2001-09-09T01:46:40+00:00")


def test_ids_with_slashes_and_worse_stay_whole(http: httpx.Client, native: T4DMClient) -> None:
    for name in ("docs/readme.md", "a/history", "ü?#%2F/ 100%", "search", "."):
        native.store(m.StoreRequest(id=name, content="Here.", user_id="ids"))
        path = f"/v1/memories/{quote(name, safe='')}"
        if name != ".":  # a client resolves it before it sends it
            assert http.get(f"{path}/").json()["id"] == http.get(path).json()["id"] == name
            assert http.put(f"{path}/", json={"text": "There."}).json()["memory"] == "There."
            assert [one["event"] for one in http.get(f"{path}/history/").json()] == ["ADD", "UPDATE"]
            assert http.delete(f"{path}/").status_code == 200
            assert http.get(f"/memories/{quote(name, safe='')}").status_code == 404


def test_what_is_told_again_takes_on_its_new_metadata_and_date(http: httpx.Client) -> None:
    (first,) = _add(http, "The tap drips.", user_id="again", metadata={"room": "bath"})

    again = _add(http, "The  tap drips.", user_id="again", metadata={"urgent": True}, expiration_date="2999-01-01")
    same = _add(http, "The tap drips.", user_id="again", metadata={"urgent": True})
    later = _add(http, "The tap drips.", user_id="again", expiration_date="2999-01-02")

    assert [(one["id"], one["event"]) for one in (*again, *same, *later)] == [
        (first["id"], "UPDATE"),
        (first["id"], "NOOP"),
        (first["id"], "UPDATE"),
    ]
    kept = http.get(f"/v1/memories/{first['id']}/").json()
    assert (kept["metadata"], kept["expiration_date"]) == ({"room": "bath", "urgent": True}, "2999-01-02")


def test_what_is_private_is_neither_stored_nor_made_a_fact(http: httpx.Client) -> None:
    told = _add(http, "Hello. <private>I am ill. I live in Rome. Yes.</private> I love tea.", user_id="private")

    assert [one["memory"] for one in told] == ["Hello. I love tea."]
    assert _texts(http, "private") == ["Hello. I love tea."]
    refused = http.post("/memories", json={"messages": "<private>My name is Bob.</private>", "user_id": "private"})
    assert refused.status_code == 400
    changed = http.put(f"/memories/{told[0]['id']}", json={"text": "<private>x</private>"})
    assert changed.status_code == 400


def test_without_infer_every_message_is_kept_word_for_word(http: httpx.Client) -> None:
    told = [one for _ in range(2) for one in _add(http, "I love tea.", user_id="plain", infer=False)]

    assert [one["event"] for one in told] == ["ADD", "ADD"]
    assert _texts(http, "plain") == ["I love tea.", "I love tea."]


def test_what_expired_is_hidden_but_can_be_read_and_revived(http: httpx.Client) -> None:
    (old,) = _add(http, "The offer.", user_id="expiring", expiration_date="2020-02-29", infer=False)

    assert _texts(http, "expiring") == []
    assert _texts(http, "expiring", show_expired=True) == ["The offer."]
    assert http.get(f"/v1/memories/{old['id']}/").json()["expiration_date"] == "2020-02-29"
    assert http.put(f"/v1/memories/{old['id']}/", json={"expiration_date": None}).json()["expiration_date"] is None
    assert _texts(http, "expiring") == ["The offer."]


@pytest.mark.parametrize("last", ["9999-12-31", "2999-02-28", "2028-02-29"])
def test_an_expiration_date_comes_back_as_it_was_given_and_can_be_filtered_by(http: httpx.Client, last: str) -> None:
    user = f"dated-{last}"
    (one,) = _add(http, "Until then.", user_id=user, expiration_date=last, infer=False)

    assert http.get(f"/v1/memories/{one['id']}/").json()["expiration_date"] == last
    for op, is_found in (("eq", True), ("gte", True), ("lte", True), ("gt", False), ("lt", False), ("ne", False)):
        asked = {"filters": {"user_id": user, "expiration_date": {op: last}}}
        assert http.post("/v3/memories/", json=asked).json()["count"] == is_found, op


def test_a_memory_that_never_was_current_is_shown_all_the_same(http: httpx.Client, native: T4DMClient) -> None:
    native.store(m.StoreRequest(id="first", content="Old.", user_id="first", expires_at="0001-01-01T00:00:00Z"))

    assert http.get("/v1/memories/first/").json()["expiration_date"] == "0001-01-01"


@pytest.mark.parametrize("depth", [9, 100, 500, 900, 5000])
def test_filters_nested_without_end_are_refused_everywhere(http: httpx.Client, depth: int) -> None:
    tree = '{"AND":[' * depth + '{"user_id":"canary"}' + "]}" * depth
    json = {"Content-Type": "application/json"}

    for path, body in (
        ("/v3/memories/", f'{{"filters":{tree}}}'),
        ("/v3/memories/search/", f'{{"query":"x","filters":{tree}}}'),
        ("/v3/memories/add/", f'{{"messages":"x","filters":{tree}}}'),
        ("/v3/memories/add/", f'{{"messages":"x","user_id":"deep","metadata":{{"a":{tree}}},"filters":{{}}}}'),
    ):
        answer = http.post(path, content=body, headers=json)
        assert answer.status_code in ((200, 400, 422) if "metadata" in body else (400, 422)), answer.text
    if depth < 900:
        assert http.delete(f"/v1/memories/?filters={tree}").status_code == 400


def test_an_immutable_memory_is_not_changed(http: httpx.Client) -> None:
    (one,) = _add(http, "Carved in stone.", user_id="stone", immutable=True, infer=False)

    refused = http.put(f"/v1/memories/{one['id']}/", json={"text": "Chalk."})

    assert (refused.status_code, "immutable" in refused.json()["detail"]) == (400, True)
    assert http.get(f"/v1/memories/{one['id']}/").json()["immutable"] is True


def test_delete_linked_takes_what_was_found_in_a_message_and_what_it_replaced(
    http: httpx.Client, native: T4DMClient
) -> None:
    message, fact = _add(http, "I live in Lisbon.", user_id="linked")
    shared, other = _add(http, "Well, I live in Lisbon!", user_id="linked")
    assert other["id"] == fact["id"]
    old = native.store(m.StoreRequest(content="I live in Porto.", user_id="linked")).id
    native.link(g.LinkRequest(edges=[g.EdgeIn(source=shared["id"], target=old, type="SUPERSEDES")]))

    http.delete(f"/v1/memories/{message['id']}/?delete_linked=true").raise_for_status()
    assert sorted(_texts(http, "linked")) == [
        "I live in Porto.", "The user lives in Lisbon", "Well, I live in Lisbon!",
    ]  # fmt: skip
    http.delete(f"/v1/memories/{shared['id']}/?delete_linked=true").raise_for_status()
    assert _texts(http, "linked") == []


# Adding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"messages": "x"}, 400),
        ({"messages": "x", "user_id": ""}, 422),
        ({"messages": "x", "user_id": True}, 422),
        ({"messages": "", "user_id": "u"}, 400),
        ({"messages": [], "user_id": "u"}, 400),
        ({"messages": [{"role": "system", "content": "Be kind."}], "user_id": "u"}, 400),
        ({"messages": [{"role": "user", "content": None}], "user_id": "u"}, 400),
        ({"messages": 5, "user_id": "u"}, 422),
        ({"user_id": "u"}, 422),
        ({"messages": "x", "user_id": "u", "metadata": ["a"]}, 422),
        ({"messages": "x", "user_id": "u", "expiration_date": "soon"}, 400),
        ({"messages": "x", "user_id": "u", "timestamp": "never"}, 400),
        ({"messages": "x", "filters": {"user_id": {"in": ["u"]}}}, 400),
        ({"messages": "x", "user_id": "u", "filters": {"user_id": "v"}}, 400),
        ({"messages": [{"role": "user", "content": {"type": "image_url", "image_url": {"url": "x"}}}], "user_id": "u"}, 501),
    ],
)  # fmt: skip
def test_what_cannot_be_remembered_is_refused_with_a_sentence(
    http: httpx.Client, native: T4DMClient, body: dict[str, Any], status: int
) -> None:
    before = native.stats().items

    for path in ("/v3/memories/add/", "/v1/memories", "/memories"):
        refused = http.post(path, json=body)
        assert refused.status_code == status, refused.text
        assert isinstance(refused.json()["detail"], str)

    assert native.stats().items == before


def test_parts_of_a_message_are_joined_and_owners_may_be_numbers_or_in_filters(http: httpx.Client) -> None:
    parts = [{"type": "text", "text": "First."}, {"type": "text", "text": "Second."}]

    _add(http, [{"role": "user", "content": parts}], filters={"AND": [{"user_id": 42}]}, infer=False)

    assert _texts(http, "42") == ["First.\nSecond."]
    assert http.post("/v2/memories/", json={"user_id": 42}).json()[0]["user_id"] == "42"


def test_many_at_once_are_all_there(http: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: _add(http, f"Fact {at}.", user_id="crowd"), range(40)))

    assert sorted(_texts(http, "crowd", page_size=100)) == sorted(f"Fact {at}." for at in range(40))


# Pages, events, the rest ------------------------------------------------------------------------------------


def test_pages_lead_from_the_first_to_the_last_and_back(http: httpx.Client) -> None:
    _add(http, [{"role": "user", "content": f"Page {at}."} for at in range(5)], user_id="pages", infer=False)
    body = {"filters": {"user_id": "pages"}, "fields": ["memory"]}

    seen, url = [], "/v3/memories/?page=1&page_size=2"
    while url:
        page = http.post(url, json=body).json()
        assert page["count"] == 5
        seen += [one["memory"] for one in page["results"]]
        url = page["next"]
        before = page["previous"]

    assert seen == [f"Page {at}." for at in reversed(range(5))]
    assert http.post(before, json=body).json()["results"] == [
        {"id": one["id"], "memory": one["memory"]}
        for one in http.post("/v3/memories/?page=2&page_size=2", json={"filters": {"user_id": "pages"}}).json()["results"]
    ]  # fmt: skip
    assert http.post("/v3/memories/?page=9&page_size=2", json=body).json()["results"] == []
    assert http.get("/v1/memories/?user_id=pages&page=1&page_size=4").json()["next"].startswith(str(http.base_url))
    assert http.post("/v3/memories/?page=0", json=body).status_code == 422


def test_an_add_can_be_asked_for_afterwards(http: httpx.Client) -> None:
    added = http.post("/v3/memories/add/", json={"messages": "An event.", "user_id": "events"}).json()

    event = http.get(f"/v1/event/{added['event_id']}/").json()

    assert (event["status"], event["results"]) == ("SUCCEEDED", added["results"])
    assert http.get("/v1/events/?page_size=1").json()["results"] == [event]
    assert http.get("/v1/event/none/").status_code == 404
    http.delete("/v1/memories/?user_id=events").raise_for_status()
    assert http.get(f"/v1/event/{added['event_id']}/").json()["results"] == []


class _Exported(pydantic.BaseModel):
    id: str
    content: str
    categories: list[str] = []


class _Export(pydantic.BaseModel):
    notes: list[_Exported]
    memories: list[str] | None = None
    count: int


def test_an_export_fills_a_schema_with_what_memories_have_now(http: httpx.Client) -> None:
    mine = {"filters": {"user_id": "exporting"}}
    for text in ("Tea at four.", "Rowing at six."):
        http.post("/v3/memories/add/", json={"messages": text, "user_id": "exporting", "infer": False})
    schema = json.dumps(_Export.model_json_schema())

    created = http.post("/v1/exports/", json={"schema": schema, **mine}).json()
    by_id = http.post("/v1/exports/get/", json={"memory_export_id": created["id"]}).json()
    latest = http.post("/v1/exports/get/", json=mine).json()
    http.delete(f"/v1/memories/{by_id['notes'][0]['id']}/").raise_for_status()
    afterwards = http.post("/v1/exports/get/", json=mine).json()

    assert _Export.model_validate(by_id).count == 2
    assert [one["content"] for one in by_id["notes"]] == by_id["memories"] == ["Rowing at six.", "Tea at four."]
    assert latest == by_id
    assert (afterwards["count"], afterwards["memories"]) == (1, ["Tea at four."])


@pytest.mark.parametrize(
    ("schema", "status", "said"),
    [
        ({"properties": {"mood": {"type": "string"}}}, 501, "'mood'"),
        ({"properties": {"notes": {"type": "array", "items": {"$ref": "#/$defs/no"}}}}, 501, "'notes'"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "properties": {"x": {"$ref": "#/$defs/a"}}}, 501, "'x'"),
        ("{}", 501, "language model"),
        ("{", 400, "not JSON"),
        ([], 400, "not an object"),
        (None, 400, "not an object"),
    ],
)
def test_an_export_that_memories_cannot_fill_is_refused(
    http: httpx.Client, schema: object, status: int, said: str
) -> None:
    refused = http.post("/v1/exports/", json={"schema": schema, "filters": {"user_id": "exporting"}})

    assert refused.status_code == status
    assert said in refused.json()["detail"]


def test_an_export_that_nobody_asked_for_is_not_found(http: httpx.Client) -> None:
    for body in ({"memory_export_id": "none"}, {"filters": {"user_id": "never"}}):
        assert http.post("/v1/exports/get/", json=body).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/summary/"),
        ("GET", "/v2/profiles/settings/"),
        ("GET", "/v2/entities/user/alice/profile/"),
        ("GET", "/api/v1/orgs/organizations/t4dm/projects/default/"),
        ("POST", "/api/v1/webhooks/projects/default/"),
        ("POST", "/v1/users/"),
        ("POST", "/configure"),
        ("GET", "/configure/providers"),
    ],
)
def test_what_is_not_served_says_what_to_use_instead(http: httpx.Client, method: str, path: str) -> None:
    refused = http.request(method, path, json={})

    assert refused.status_code == 501
    assert len(refused.json()["detail"].split()) > 8


def test_errors_have_the_shape_that_clients_read(http: httpx.Client) -> None:
    for answer, status in (
        (http.get("/v1/nothing/"), 404),
        (http.patch("/v1/memories/"), 405),
        (http.post("/v3/memories/search/", content=b"{", headers={"Content-Type": "application/json"}), 400),
        (http.post("/v3/memories/search/", content=b"{}", headers={"Content-Type": "text/plain"}), 415),
        (http.post("/search", json={"query": " ", "filters": {"user_id": "u"}}), 400),
        (http.post("/search", json={"query": "x", "top_k": 1001, "filters": {"user_id": "u"}}), 422),
        (http.get("/v1/ping/", headers={"Origin": "https://evil.example"}), 403),
        (http.get("/memories/none"), 404),
    ):
        assert (answer.status_code, list(answer.json())) == (status, ["detail"])
        assert isinstance(answer.json()["detail"], str)


def test_the_self_hosted_servers_routes_do_the_same(http: httpx.Client) -> None:
    added = http.post("/memories", json={"messages": [{"role": "user", "content": "Tea."}], "user_id": "self"}).json()
    one = added["results"][0]["id"]
    http.put(f"/memories/{one}", json={"text": "Green tea.", "metadata": {"topic": "drinks"}}).raise_for_status()

    assert http.get("/memories?user_id=self").json()["results"][0]["memory"] == "Green tea."
    found = http.post("/search", json={"query": "tea", "filters": {"user_id": "self", "topic": "drinks"}}).json()
    assert [hit["id"] for hit in found["results"]] == [one]
    assert http.post("/search", json={"query": "tea", "user_id": "self", "filters": {"topic": "x"}}).json() == {
        "results": []
    }
    assert [entry["event"] for entry in http.get(f"/memories/{one}/history").json()] == ["ADD", "UPDATE"]
    assert http.delete(f"/memories/{one}").json() == {"message": "Memory deleted successfully"}
    assert http.delete("/memories?user_id=self").json() == {"message": "All relevant memories deleted"}
    assert http.get("/memories?user_id=self").json() == {"results": []}


def test_an_empty_store_answers_like_one_that_holds_nothing_for_you(make_daemon: Any) -> None:
    daemon = make_daemon().start()
    with httpx.Client(base_url=daemon.url, trust_env=False) as http:
        assert http.post("/v3/memories/search/", json={"query": "x", "filters": {"user_id": "u"}}).json() == {
            "results": []
        }
        assert http.get("/v1/entities/").json()["results"] == []
        assert http.delete("/v1/memories/?user_id=u").status_code == 200
        assert http.get("/v1/memories/x/").status_code == http.get("/v1/memories/x/history/").status_code == 404
        assert http.delete("/v1/memories/x/").status_code == 404
