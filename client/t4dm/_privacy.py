"""What a caller marks as private is never stored: `<private>…</private>` spans are cut out before anything else."""

from __future__ import annotations

import re
from typing import Final

_SPAN: Final = re.compile(r"(?:(?<![ \t])[ \t]+)?<private>.*?(?:</private>|\Z)", re.DOTALL | re.IGNORECASE)
"""An opening without an end hides all that follows: rather too much than too little."""


def without_private(content: str) -> str:
    """Return a text without its private spans; the text itself where it has none."""
    return _SPAN.sub("", content).strip() if "<private>" in content.lower() else content
