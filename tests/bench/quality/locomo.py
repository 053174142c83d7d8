"""Read conversations in the format of LoCoMo (Maharana et al., ACL 2024).

A file holds `session_N` lists of turns `{speaker, dia_id, text, blip_caption?}`, `session_N_date_time`, and `qa` with
`question`, `evidence` and `category`. Categories 1 to 4 are answered by their evidence; questions of category 5 ask of
one speaker what the other one said, so nothing answers them. The data is not ours to give (CC BY-NC 4.0).
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.bench.quality.conversations import Asked, Conversation, Turn

CATEGORIES = {1: "1 multi-hop", 2: "2 temporal", 3: "3 open", 4: "4 single-hop"}
SWAPPED = "5 adversarial"
SECONDS_A_TURN = 30
_SESSION = re.compile(r"session_(\d+)")
_TURN = re.compile(r"D:?(\d+):0*(\d+)")
_CLOCK = "%I:%M %p on %d %B, %Y"


def read(path: Path) -> Conversation:
    """Return a conversation: its turns in order, and the questions whose evidence is among them, or of category 5."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    turns = []
    for number in sorted(int(found[1]) for name in document if (found := _SESSION.fullmatch(name))):
        session = f"session_{number}"
        start = datetime.strptime(document[f"{session}_date_time"], _CLOCK).replace(tzinfo=UTC)
        turns += [
            Turn(
                id=turn["dia_id"],
                content=f"{turn['speaker']}: {turn['text']}"
                + (f" [shares a photo: {turn['blip_caption']}]" if turn.get("blip_caption") else ""),
                speaker=turn["speaker"],
                session=session,
                at=start + timedelta(seconds=SECONDS_A_TURN * at),
            )
            for at, turn in enumerate(document[session])
        ]
    known = {turn.id for turn in turns}
    questions = []
    for entry in document["qa"]:
        said = {f"D{a}:{b}" for text in entry.get("evidence", ()) for a, b in _TURN.findall(text)}
        evidence = frozenset(said & known)
        if entry["category"] in CATEGORIES and evidence:
            questions.append(Asked(entry["question"], CATEGORIES[entry["category"]], evidence))
        elif entry["category"] == 5:
            questions.append(Asked(entry["question"], SWAPPED, frozenset()))
    return Conversation(path.stem, tuple(turns), tuple(questions))


def read_all(directory: Path | None) -> list[Conversation]:
    """Return the conversations of a directory by name; none where there is no directory."""
    if directory is None:
        return []
    found = [read(path) for path in sorted(directory.glob("*.json"))]
    if not found:
        raise SystemExit(f"{directory} holds no .json conversations")
    return found
