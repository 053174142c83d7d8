"""Operations written once for callers that wait and callers that await.

An operation is a generator: it yields what is to be carried out, is sent what came of it, and returns its result.
What T4DM could not carry out is raised where the operation yielded it, which may make something of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from t4dm.sdk.errors import T4DMError

S = TypeVar("S")
T = TypeVar("T")


def drive(steps: Generator[S, Any, T], carry_out: Callable[[S], Any]) -> T:
    """Carry out an operation step by step and return what it comes to."""
    try:
        step = next(steps)
        while True:
            try:
                answer = carry_out(step)
            except T4DMError as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result


async def adrive(steps: Generator[S, Any, T], carry_out: Callable[[S], Awaitable[Any]]) -> T:
    """Carry out an operation as `drive` does, awaited."""
    try:
        step = next(steps)
        while True:
            try:
                answer = await carry_out(step)
            except T4DMError as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
