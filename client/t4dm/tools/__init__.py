"""Memory as tools of a language model."""
