"""A CrewAI crew that remembers: what its first run found out, the second one knows, and no model is asked for that.

`Model` stands where a language model would, so that this runs offline. Needs a running daemon (`t4dm serve`) at
T4DM_URL, by default http://127.0.0.1:8765, and: pip install 't4dm[crewai]'
"""

import os
import tempfile

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")
os.environ.setdefault("CREWAI_STORAGE_DIR", tempfile.mkdtemp())

from crewai import Agent, Crew, Task
from crewai.llms.base_llm import BaseLLM

from t4dm.adapters.crewai import T4DMCrewMemory

FOUND = "The harbour office moved to 14 Quay Street in March."


class Model(BaseLLM):
    """Answer from memory where the prompt has some; else look it up, which is what a real crew would do at length."""

    def call(self, messages, **_):
        has_memory = FOUND in str(messages)
        print("the agent", "remembers" if has_memory else "looks it up")
        return f"Thought: I know\nFinal Answer: {FOUND}"

    def supports_function_calling(self):
        return False


def run(memory: T4DMCrewMemory, question: str) -> None:
    clerk = Agent(role="Clerk", goal="Answer questions", backstory="You know the town.", llm=Model(model="offline"))
    task = Task(description=question, expected_output="A sentence.", agent=clerk)
    print(Crew(agents=[clerk], tasks=[task], memory=memory, tracing=False).kickoff().raw)


def main() -> None:
    memory = T4DMCrewMemory(space="crewai-example", root_scope="/crew/town")
    memory.reset()  # so that running it again begins afresh
    run(memory, "Where is the harbour office?")
    run(memory, "A ship has come in. To which address do I send its papers, at the harbour office?")
    for match in memory.recall("address of the harbour office", limit=1):
        print(f"{match.score:.2f}  {match.record.scope}  {match.record.content.splitlines()[-1]}")
    memory.close()


if __name__ == "__main__":
    main()
