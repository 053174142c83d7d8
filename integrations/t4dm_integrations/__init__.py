"""Adapters that put T4DM into agent frameworks. Each one imports only its framework and `t4dm`."""
