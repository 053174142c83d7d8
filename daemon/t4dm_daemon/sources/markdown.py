"""Markdown: a file, or a folder of them; one memory for each section.

A section is what stands under a heading, up to the next one; the headings above it stand before its words, so that it
can be understood alone. Headings are `# …` and underlined ones (CommonMark 0.31 §4.2 and §4.3), outside of fenced
code. What stands before the first heading is a section, too.

Front matter is YAML between `---` at the top: `tags` (or `categories`) are the categories of each section, `date` (or
`created`, `created_at`) the time, `title` stands before the headings; all of it is in the metadata.

An id is made from the file's path (or its path in the folder, and the `name` of the folder) and the headings, so that a
section that was edited is updated by the next import.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from t4dm_daemon.core.errors import SourceError
from t4dm_daemon.sources.entries import Entry, SourceRecord, Unstored
from t4dm_daemon.sources.files import Files, walk
from t4dm_daemon.sources.times import moment

NAMES: Final = r"(?i).+\.(md|markdown|mdown)"
MAX_FILE_BYTES: Final = 64 * 1024 * 1024
MAX_FRONT_BYTES: Final = 64 * 1024
_HEADING: Final = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*")
_UNDERLINE: Final = re.compile(r" {0,3}(=+|-{2,})[ \t]*")
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_NO_PARAGRAPH: Final = re.compile(r"\s*$| {4}|\t| {0,3}([-*+>|]|\d+[.)]\s|#)")


@dataclass(slots=True)
class Section:
    """Words, and the headings they stand under, from the outermost."""

    line: int
    headings: list[str]
    lines: list[str] = field(default_factory=list[str])

    @property
    def body(self) -> str:
        return "\n".join(self.lines).strip()


def read(path: Path, files: Files, *, name: str | None = None) -> Iterator[Entry]:
    """Yield the sections of a file, or of every Markdown file of a folder. Raises SourceError."""
    if not path.is_dir():
        yield from _file(path, path.name, name or str(path.resolve().parent), files)
        return
    for found in walk(path, NAMES):
        if isinstance(found, Unstored):
            yield found
            continue
        place = found.relative_to(path).as_posix()
        try:
            yield from _file(found, place, name or str(path.resolve()), files)
        except SourceError as error:
            yield Unstored(place, error.message)


def _file(path: Path, place: str, root: str, files: Files) -> Iterator[Entry]:
    with closing(files.open(path)) as stream:
        raw = stream.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        yield Unstored(place, f"larger than {MAX_FILE_BYTES:,} bytes")
        return
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        front, lines, first = _front(text)
        time = moment(next((front[one] for one in ("date", "created", "created_at") if one in front), None))
    except UnicodeDecodeError as error:
        yield Unstored(place, f"not UTF-8: byte {error.start} cannot be decoded")
        return
    except ValueError as error:
        yield Unstored(place, f"front matter: {error}")
        return
    title = front.get("title") if isinstance(front.get("title"), str) else None
    fields: dict[str, Any] = {"categories": _tags(front)} | ({"event_time": time} if time is not None else {})
    counts: dict[tuple[str, ...], int] = {}
    is_empty = True
    for section in sections(lines, first):
        if not section.body:
            continue
        is_empty = False
        key = tuple(section.headings)
        counts[key] = counts.get(key, 0) + 1
        above = [title] if title and title not in section.headings else []
        content = "\n\n".join(one for one in (" > ".join([*above, *section.headings]), section.body) if one)
        metadata = {**front, "file": place, **({"headings": section.headings} if section.headings else {})}
        identity = ("markdown", root, place, *section.headings, str(counts[key]))
        yield SourceRecord(
            f"{place}, line {section.line}", identity, {"content": content, "metadata": metadata, **fields}
        )
    if is_empty:
        yield Unstored(place, "no words in it", is_wrong=False)


def sections(lines: list[str], first: int = 1) -> Iterator[Section]:
    """Yield the sections of a text; `first` is the number of its first line."""
    section, fence = Section(first, []), ""
    levels: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=first):
        fenced = _FENCE.fullmatch(line)
        if fence:
            if fenced and fenced[1].startswith(fence) and not fenced[2].strip():
                fence = ""
        elif fenced and not (fenced[1][0] == "`" and "`" in fenced[2]):
            fence = fenced[1]
        elif heading := _HEADING.fullmatch(line):
            yield section
            section = _below(levels, len(heading[1]), (heading[2] or "").strip(), number)
            continue
        elif (under := _UNDERLINE.fullmatch(line)) and section.lines and not _NO_PARAGRAPH.match(section.lines[-1]):
            said = section.lines.pop().strip()
            yield section
            section = _below(levels, 1 if under[1][0] == "=" else 2, said, number - 1)
            continue
        section.lines.append(line)
    yield section


def _below(levels: list[tuple[int, str]], level: int, heading: str, number: int) -> Section:
    """Return the section of a heading, below those of higher rank."""
    while levels and levels[-1][0] >= level:
        levels.pop()
    levels.append((level, heading))
    return Section(number, [one for _, one in levels if one])


def _front(text: str) -> tuple[dict[str, Any], list[str], int]:
    """Return the front matter, the lines after it, and the number of the first of them. Raises ValueError."""
    lines = text.split("\n")
    if lines[0].rstrip() != "---":
        return {}, lines, 1
    end = next((at for at, line in enumerate(lines[1:], start=1) if line.rstrip() in ("---", "...")), None)
    if end is None:
        return {}, lines, 1  # a rule at the top, no front matter
    return _yaml("\n".join(lines[1:end])), lines[end + 1 :], end + 2


def _yaml(text: str) -> dict[str, Any]:
    """Return the fields of front matter as JSON has them. Raises ValueError."""
    import yaml

    if len(text.encode()) > MAX_FRONT_BYTES:
        raise ValueError(f"larger than {MAX_FRONT_BYTES:,} bytes")
    try:
        if any(isinstance(one, yaml.AliasEvent) for one in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ValueError("aliases are not followed: a few lines of them can stand for gigabytes")
        given = yaml.safe_load(text)
        fields = json.loads(json.dumps(given, default=_plain, allow_nan=False))
    except (yaml.YAMLError, RecursionError, TypeError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    if given is None:
        return {}
    if not isinstance(fields, dict):
        raise ValueError("not a list of names and values")
    return fields


def _plain(value: object) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is nothing that JSON has")


def _tags(front: dict[str, Any]) -> list[str]:
    given = front.get("tags", front.get("categories"))
    found = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else []
    return list(dict.fromkeys(str(one).strip().lstrip("#") for one in found if str(one).strip().lstrip("#")))[:64]
