"""Models of a few thousand weights; nothing here without the model libraries."""

from __future__ import annotations

import importlib.util

import pytest

MISSING = [name for name in ("torch", "transformers", "peft", "safetensors") if importlib.util.find_spec(name) is None]
collect_ignore_glob = ["test_*.py"] if MISSING else []

if not MISSING:
    import torch

    @pytest.fixture(autouse=True, scope="session")
    def _one_thread() -> None:
        torch.set_num_threads(1)
