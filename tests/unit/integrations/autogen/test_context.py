"""Blocks of memories in a model context, and what a context is asked by."""

from __future__ import annotations

import pytest

pytest.importorskip("autogen_core")

from autogen_core import FunctionCall, Image
from autogen_core.models import (
    AssistantMessage,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    SystemMessage,
    UserMessage,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from t4dm_integrations.autogen import context as x


def test_the_question_is_what_the_user_said_last_and_no_tools_result():
    messages = [
        UserMessage(content="Which pier?", source="user"),
        AssistantMessage(content=[FunctionCall(id="1", name="look", arguments="{}")], source="ada"),
        FunctionExecutionResultMessage(content=[FunctionExecutionResult(content="six", name="look", call_id="1")]),
        SystemMessage(content="Be brief."),
    ]

    assert x.question_in(messages, x.HEADER) == "Which pier?"


def test_the_question_of_a_message_with_a_picture_is_its_text():
    picture = Image(Picture.new("RGB", (1, 1)))
    messages = [
        UserMessage(content=["What is", picture, "this?"], source="user"),
        UserMessage(content=[picture], source="user"),
    ]

    assert x.question_in(messages, x.HEADER) == "What is\nthis?"


@pytest.mark.parametrize("role", ["system", "user"])
def test_a_block_is_neither_a_question_nor_something_said(role: x.Role):
    block = x.as_message(["(2026-05-01) The ferry leaves."], x.HEADER, role)

    assert x.question_in([block], x.HEADER) == ""
    assert x.shown_in([block], x.HEADER) == {"(2026-05-01) The ferry leaves."}


def test_of_a_very_long_message_the_beginning_and_the_end_are_asked_for():
    long = "Here is the log. " + "x" * 2_000_000 + " Why did it fail?"

    question = x.question_in([UserMessage(content=long, source="user")], x.HEADER)

    assert question.startswith("Here is the log.")
    assert question.endswith("Why did it fail?")
    assert len(question) <= 100_001


texts = st.text(st.sampled_from("ab-( \n\r•é"), max_size=12).filter(str.strip)


@given(st.lists(texts, min_size=1, max_size=5), st.sampled_from(["system", "user"]))
def test_what_a_block_shows_can_be_read_back_from_it(contents: list[str], role: x.Role):
    entries = [x.entry_of(content, "2026-05-01") for content in contents]

    block = x.as_message(entries, x.HEADER, role)

    assert x.shown_in([block], x.HEADER) == set(entries)
