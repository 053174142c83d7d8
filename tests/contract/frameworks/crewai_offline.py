"""What CrewAI needs to run without a network: a model and an embedder of our own, and no telemetry."""

from __future__ import annotations

import hashlib
import os
import warnings
from typing import Any

os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("CREWAI_DISABLE_TRACKING", "true")
os.environ.setdefault("OTEL_SDK_DISABLED", "true")

with warnings.catch_warnings():  # of its own modules, where warnings are errors
    warnings.simplefilter("ignore")
    from crewai import Agent, Crew, Task
    from crewai.llms.base_llm import BaseLLM
    from crewai.memory.analyze import ExtractedMemories, MemoryAnalysis

from pydantic import PrivateAttr

FERRY = "The ferry leaves from pier six."
ANSWER = f"Thought: I know\nFinal Answer: {FERRY}"


class Model(BaseLLM):
    """Answer the same to every prompt, and analyse memories as CrewAI's own memory asks."""

    _prompts: list[str] = PrivateAttr(default_factory=list)
    _analyses: list[str] = PrivateAttr(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        """What it was asked by agents."""
        return self._prompts

    @property
    def analyses(self) -> list[str]:
        """What it was asked by CrewAI's memory."""
        return self._analyses

    def call(
        self,
        messages: Any,
        tools: Any = None,
        callbacks: Any = None,
        available_functions: Any = None,
        from_task: Any = None,
        from_agent: Any = None,
        response_model: Any = None,
    ) -> Any:
        if response_model is None:
            self._prompts.append(str(messages))
            return ANSWER
        self._analyses.append(response_model.__name__)
        if response_model is ExtractedMemories:
            return ExtractedMemories(memories=[FERRY])
        if response_model is MemoryAnalysis:
            return MemoryAnalysis(suggested_scope="/harbour", categories=["boats"], importance=0.8)
        return response_model()

    def supports_function_calling(self) -> bool:
        return False


class AnalysingModel(Model):
    """Fill in what CrewAI's memory asks for, as a model that can call functions does."""

    def supports_function_calling(self) -> bool:
        return True


def embed(texts: list[str]) -> list[list[float]]:
    """Return a vector for each text: its words, hashed into 64 dimensions."""
    vectors = []
    for text in texts:
        vector = [0.0] * 64
        for word in text.lower().replace(".", " ").replace("?", " ").split():
            vector[hashlib.sha256(word.encode()).digest()[0] % 64] += 1.0
        vectors.append(vector)
    return vectors


def crew_with(memory: Any, model: Model) -> Crew:
    """Return a crew of one agent with one task."""
    agent = Agent(role="Pilot", goal="know the harbour", backstory="Old and wise.", llm=model)
    task = Task(description="From which pier does the ferry leave?", expected_output="a pier", agent=agent)
    return Crew(agents=[agent], tasks=[task], memory=memory, tracing=False, verbose=False)
