"""`python -m t4dm.mcp.server`: serve T4DM's memory to an MCP host over standard input and output. A façade."""

from __future__ import annotations

import sys

from t4dm._extras import missing_extra

try:
    from t4dm_integrations.mcp.server import main
except ModuleNotFoundError as error:
    raise missing_extra("mcp", error) from error

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
