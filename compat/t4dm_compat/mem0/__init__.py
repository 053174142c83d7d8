"""Mem0's HTTP API, as its genuine clients speak it, over T4DM's memories."""
