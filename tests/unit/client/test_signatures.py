"""The synchronous and the asynchronous classes, and the protocol, have the same methods."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from t4dm import T4DM, AsyncT4DM
from t4dm._async_backend import AsyncMemoryBackend, InThread
from t4dm._backend import MemoryBackend
from t4dm.sdk import AsyncT4DMClient, T4DMClient


def methods(kind: type[Any]) -> dict[str, Callable[..., Any]]:
    return {
        name: member
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and name != "aclose"
    }


def signature(function: Callable[..., Any]) -> str:
    return re.sub(r"\bAsync(?=Iterator|T4DM)", "", str(inspect.signature(function)))


@pytest.mark.parametrize(
    ("one", "other"),
    [(T4DMClient, AsyncT4DMClient), (T4DM, AsyncT4DM), (MemoryBackend, AsyncMemoryBackend), (MemoryBackend, InThread)],
)
def test_both_have_the_same_methods_with_the_same_signatures(one: type[Any], other: type[Any]) -> None:
    assert {name: signature(method) for name, method in methods(one).items()} == {
        name: signature(method) for name, method in methods(other).items()
    }


@pytest.mark.parametrize(("one", "other"), [(T4DMClient, AsyncT4DMClient), (T4DM, AsyncT4DM)])
def test_both_are_constructed_with_the_same_arguments(one: type[Any], other: type[Any]) -> None:
    assert list(inspect.signature(one).parameters) == list(inspect.signature(other).parameters)


@pytest.mark.parametrize("kind", [AsyncT4DMClient, AsyncT4DM])
def test_every_asynchronous_method_is_awaited_or_iterated(kind: type[Any]) -> None:
    for method in methods(kind).values():
        assert inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)


def test_the_client_is_a_memory_backend(client: T4DMClient) -> None:
    assert isinstance(client, MemoryBackend)
    for name, method in methods(MemoryBackend).items():
        mine = inspect.signature(getattr(T4DMClient, name))
        assert mine.parameters == inspect.signature(method).parameters


def test_every_public_method_says_what_it_does() -> None:
    for kind in (T4DMClient, AsyncT4DMClient, T4DM, AsyncT4DM):
        assert all(inspect.getdoc(method) for method in methods(kind).values())
