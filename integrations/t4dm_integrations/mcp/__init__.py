"""T4DM's memory for MCP hosts: over standard input and output, and at the daemon's `/mcp`."""
