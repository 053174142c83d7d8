"""What is imported, and when."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_core")

import subprocess
import sys

import t4dm_integrations.langchain as adapter

PROGRAM = """
import sys
from t4dm_integrations.langchain import T4DMChatMessageHistory, T4DMRetriever, T4DMVectorStore
T4DMVectorStore(), T4DMRetriever(), T4DMChatMessageHistory("1")
wanted = ("langchain", "langchain_classic", "langgraph", "numpy", "t4dm_daemon")
print(sorted(sys.modules.keys() & set(wanted)))
"""


def test_store_retriever_and_history_need_langchain_core_alone():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.strip() == "[]"


def test_every_name_that_is_promised_can_be_imported_and_no_other():
    pytest.importorskip("langchain_classic")
    pytest.importorskip("langchain")

    assert all(getattr(adapter, name) is not None for name in adapter.__all__)
    with pytest.raises(AttributeError, match="T4DMNothing"):
        adapter.T4DMNothing  # noqa: B018
