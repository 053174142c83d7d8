"""What is worth remembering of a run: its result, with the task that it answers, in pieces that can be found.

CrewAI asks a language model for this. Here the daemon's search does without: it finds the part of a long result that
answers a question, and tells apart what was said before.
"""

from __future__ import annotations

import re
from typing import Final

MAX_PIECE: Final = 1200
"""Characters of a result that go into one memory: about what an embedder of 256 tokens reads."""
_MAX_TASK: Final = 300
_DUMP: Final = re.compile(
    r"(?:Task|Input): (?P<task>.*?)\nAgent: .*?\n(?:Expected result: .*?\n)?Result:(?P<result>.*)", re.DOTALL
)
"""How CrewAI tells what was done; who did it, and what was expected, are no help in finding it."""
_ANSWER: Final = "Final Answer:"
"""Before it, an agent that speaks in thoughts and actions tells its thoughts."""


def statements_of(content: str) -> list[str]:
    """Return the texts to remember of what an agent did, or of any text."""
    dump = _DUMP.fullmatch(content.strip())
    if dump is None:
        return _pieces(content)
    task = " ".join(dump["task"].split())
    if len(task) > _MAX_TASK:
        task = task[: _MAX_TASK - 1].rstrip() + "…"
    result = dump["result"].rpartition(_ANSWER)[2]
    return [f"{task}\n{piece}" if task else piece for piece in _pieces(result)]


def _pieces(text: str) -> list[str]:
    """Cut a text at its paragraphs, else at its lines or sentences, into pieces that are not too long."""
    pieces: list[str] = []
    for part in _parts(text.strip(), ("\n\n", "\n", ". ", " ")):
        if pieces and len(pieces[-1]) + len(part) <= MAX_PIECE:
            pieces[-1] += part
        else:
            pieces.append(part)
    return [piece.strip() for piece in pieces if piece.strip()]


def _parts(text: str, separators: tuple[str, ...]) -> list[str]:
    if len(text) <= MAX_PIECE:
        return [text]
    if not separators:
        return [text[at : at + MAX_PIECE] for at in range(0, len(text), MAX_PIECE)]
    *cut, last = text.split(separators[0])
    return [part for piece in (*(one + separators[0] for one in cut), last) for part in _parts(piece, separators[1:])]
