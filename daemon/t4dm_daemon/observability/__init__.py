"""Logging, and what the daemon says about its own health."""
