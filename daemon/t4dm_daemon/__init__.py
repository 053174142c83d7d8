"""The T4DM daemon: storage engine, memory service, HTTP doors. Needs `pip install 't4dm[daemon]'`."""
