"""Vocabulary of the daemon: items, filters, time, ids, errors. Standard library and numpy only."""
