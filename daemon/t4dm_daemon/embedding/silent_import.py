"""Import model libraries with their telemetry off.

Some report on their users from the moment they are imported: onnxruntime 1.31 resolves
mobile.events.data.microsoft.com and writes ~/.cache/Microsoft/DeveloperTools, and its own
`disable_telemetry_events()` comes too late to stop it. The environment is what all of them read in time.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Final

_SILENCE: Final = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime
    "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub, below sentence-transformers
    "DO_NOT_TRACK": "1",
}


def import_silently(name: str) -> ModuleType:
    """Return the module `name`, imported by a process that asks not to be reported on.

    Every import of onnxruntime and sentence_transformers in this package goes through here.
    """
    os.environ.update(_SILENCE)
    return importlib.import_module(name)
