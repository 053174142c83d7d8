"""peft, imported so that nothing else happens.

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

__all__ = ["LoraConfig", "LoraLayer", "inject_adapter_in_model"]
