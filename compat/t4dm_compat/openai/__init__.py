"""OpenAI's HTTP API, as its genuine clients speak it, over the models of the daemon."""
