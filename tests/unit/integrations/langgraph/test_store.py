"""T4DMStore before anything is sent: settings, copies, and what its constructor refuses."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langgraph")

from langgraph.store.base import BaseStore

from t4dm.sdk import T4DMClient, ValidationError
from t4dm_integrations.langgraph import T4DMStore

NOWHERE = "http://127.0.0.1:1"


def embed(texts: Sequence[str]) -> list[list[float]]:
    return [[1.0, float(len(text))] for text in texts]


def test_it_is_made_of_plain_json():
    text = """{"url": "http://127.0.0.1:1", "space": "team", "app_id": "crm", "index": {"fields": ["text"]},
               "ttl": {"default_ttl": 60, "refresh_on_read": false}, "timeout_s": 5, "max_retries": 0}"""

    store = T4DMStore(**json.loads(text))

    assert isinstance(store, BaseStore)
    assert json.loads(json.dumps(store.settings)) == json.loads(text) | {"storage_path": None}
    assert store.ttl_config == {"default_ttl": 60, "refresh_on_read": False}
    assert store.supports_ttl


def test_making_one_opens_nothing(tmp_path: Path):
    T4DMStore(storage_path=tmp_path / "store")

    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_have_the_settings(copied: Any):
    store = T4DMStore(NOWHERE, space="team", index={"dims": 2, "embed": embed, "fields": ["a"]}, ttl={"default_ttl": 1})

    other = copied(store)

    assert other is not store
    assert other.settings == store.settings
    assert other.embeddings is not None
    assert other.embeddings.embed_query("abc") == [1.0, 3.0]


def test_one_made_of_a_client_is_shared_by_copies_and_not_pickled():
    with T4DMClient(NOWHERE) as client:
        store = T4DMStore(client=client)

        assert copy.deepcopy(store) is store
        with pytest.raises(ValidationError, match="cannot be saved"):
            pickle.dumps(store)


def test_keys_are_never_part_of_the_settings(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("T4DM_API_KEY", "a-secret-that-nobody-may-see")

    store = T4DMStore(NOWHERE)

    assert "secret" not in json.dumps(store.settings)
    assert b"secret" not in pickle.dumps(store)
    assert "secret" not in repr(store)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"url": NOWHERE, "storage_path": "x"}, TypeError, "at most one"),
        ({"index": {"embedding": embed}}, ValueError, "'embedding'; it takes dims, embed, fields"),
        ({"index": {"embed": embed}}, ValueError, "no dims"),
        ({"ttl": {"default": 5}}, ValueError, "'default'; it takes default_ttl"),
        ({"app_id": ""}, ValueError, "app_id is not empty"),
        ({"index": {"dims": 3, "embed": "nobody:model"}}, ValueError, "nobody"),
    ],
)
def test_what_nobody_would_read_is_refused(given: dict[str, Any], kind: type[Exception], message: str):
    with pytest.raises(kind, match=message):
        T4DMStore(**given)


def test_an_embedder_may_be_named_by_its_provider(monkeypatch: pytest.MonkeyPatch):
    from langgraph.store.base import embed as embed_module

    named = []

    def make(name: str) -> Any:
        named.append(name)
        return embed_module.EmbeddingsLambda(embed)

    monkeypatch.setattr(embed_module, "_get_init_embeddings", lambda: make)

    store = T4DMStore(NOWHERE, index={"dims": 2, "embed": "openai:text-embedding-3-small"})

    assert named == ["openai:text-embedding-3-small"]
    assert store.embeddings is not None
    assert store.settings["index"]["embed"] == "openai:text-embedding-3-small"


def test_it_takes_the_arguments_of_the_base_class():
    for name in ("get", "search", "put", "delete", "list_namespaces", "batch"):
        for method in (name, f"a{name}"):
            assert inspect.signature(getattr(T4DMStore, method)) == inspect.signature(getattr(BaseStore, method))


def test_closing_twice_and_without_use_does_no_harm():
    with T4DMStore(NOWHERE) as store:
        store.close()
    store.close()
