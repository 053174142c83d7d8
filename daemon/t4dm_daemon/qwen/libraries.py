"""The model libraries, kept from doing what nobody asked for.

peft imports bitsandbytes where that is installed. On a CPU with bfloat16 in AVX-512, bitsandbytes asks the package
`kernels`, where that is installed, to fetch compiled code from a hub and run it, and complains where it is not. Nobody
asked for either: for the time of the import `kernels` is not there, and the complaint is not heard.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from transformers.utils import logging as transformers_logging

_COMPLAINS: Final = "bitsandbytes.backends.cpu.ops"


@contextmanager
def _nothing_fetched() -> Iterator[None]:
    modules: dict[str, Any] = sys.modules
    absent = object()
    before = modules.get("kernels", absent)
    complaints = logging.getLogger(_COMPLAINS)
    level = complaints.level
    modules["kernels"] = None  # makes importing it fail
    complaints.setLevel(logging.ERROR)
    try:
        yield
    finally:
        complaints.setLevel(level)
        if before is absent:
            modules.pop("kernels", None)
        else:
            modules["kernels"] = before


with _nothing_fetched():
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep the libraries from drawing on a terminal that is not theirs, and leave them as they were."""
    from huggingface_hub import utils as hub

    of_hub, of_models = hub.are_progress_bars_disabled(), transformers_logging.is_progress_bar_enabled()
    hub.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if not of_hub:
            hub.enable_progress_bars()
        if of_models:
            transformers_logging.enable_progress_bar()


__all__ = ["LoraConfig", "LoraLayer", "inject_adapter_in_model", "no_progress_bars"]
