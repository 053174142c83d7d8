"""Mem0's HTTP API over a T4DM memory: its platform's routes, and those of its self-hosted server."""

from __future__ import annotations

from t4dm_compat.mem0.routes import router

__all__ = ["router"]
