"""What the SDK writes to the log: no memories, and no alarm about sessions that end.

Version 1 logs requests that it cannot read, with all that is in them, through the root logger; and an error with a
traceback whenever a client ends a session while its stream is open.
"""

from __future__ import annotations

import logging
import os
from typing import Final

_OF_THE_SDK: Final = f"{os.sep}mcp{os.sep}shared{os.sep}"
_ENDINGS: Final = frozenset(("ClosedResourceError", "BrokenResourceError", "EndOfStream"))


class _WithoutContents(logging.Filter):
    """Of what the SDK logs through the root logger, keep what went wrong, not with which message."""

    def filter(self, record: logging.LogRecord) -> bool:
        if _OF_THE_SDK in record.pathname and record.levelno > logging.DEBUG:
            record.msg = record.getMessage().partition(":")[0]
            record.args = ()
            record.exc_info = None
        return True


class _WithoutEndings(logging.Filter):
    """Leave out that a stream was closed."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind = record.exc_info[0] if record.exc_info else None
        return kind is None or kind.__name__ not in _ENDINGS


_FILTERS: Final = (_WithoutContents(), _WithoutEndings())


def install() -> None:
    """Filter what the SDK logs from now on. Twice does no harm."""
    logging.getLogger("mcp").setLevel(max(logging.getLogger("mcp").level, logging.WARNING))
    for name, filtering in zip((None, "mcp.server.streamable_http"), _FILTERS, strict=True):
        logging.getLogger(name).addFilter(filtering)
