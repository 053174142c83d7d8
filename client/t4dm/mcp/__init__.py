"""T4DM for MCP hosts. A façade."""
