"""CrewAI's own memory, with its own ranking and an embedder of your choice, kept in T4DM instead of in a local file.

`embed` stands where a real embedder would, so that this runs offline. Needs a running daemon (`t4dm serve`) at
T4DM_URL, by default http://127.0.0.1:8765, and: pip install 't4dm[crewai]'
"""

import os
import tempfile

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")
os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp())

from crewai.llms.base_llm import BaseLLM
from crewai.memory.unified_memory import Memory

from t4dm.adapters.crewai import install

WORDS = ["ferry", "pier", "six", "blue", "tram", "stop"]


class NoModel(BaseLLM):
    """Memories that say all of themselves, and shallow recalls, ask no model."""

    def call(self, _messages, **_):
        raise RuntimeError("no model is needed here")


def embed(texts):
    """Return a vector for each text: which of a few words it has."""
    return [[float(text.lower().count(word)) + 0.01 for word in WORDS] for text in texts]


def main() -> None:
    install()  # from now on, Memory(storage="t4dm://…") is one of T4DM's
    memory = Memory(storage="t4dm:///crewai-storage-example", embedder=embed, llm=NoModel(model="none"))
    memory.reset()  # so that running it again begins afresh
    memory.remember("The ferry leaves from pier six.", scope="/harbour", categories=["boats"], importance=0.8)
    memory.remember("The tram stop is blue.", scope="/town", categories=["trams"], importance=0.3)
    for match in memory.recall("Which pier has the ferry?", depth="shallow", limit=1):
        print(f"{match.score:.2f}  {match.record.scope}  {match.record.content}")
    print(memory.tree())
    memory.close()


if __name__ == "__main__":
    main()
