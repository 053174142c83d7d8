"""The memory service: what happens between a request and the storage engine."""
