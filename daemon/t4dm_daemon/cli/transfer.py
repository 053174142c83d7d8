"""`t4dm export` and `t4dm import`: everything out, everything in, as one JSON object a line."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import IO, Annotated

import typer

from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import UsageError, stdin_bytes
from t4dm_daemon.cli.command import Command
from t4dm_daemon.cli.progress import progress

_STDIO = Path("-")
_STDOUT = Path("/dev/stdout")


def export(
    file: Annotated[Path, typer.Argument(help="Where to; - is standard output.")] = _STDIO,
    space: Annotated[str | None, typer.Option("--space", "-s", help="Only this space; all when absent.")] = None,
    no_vectors: Annotated[
        bool, typer.Option("--no-vectors", help="Leave the vectors out; an import embeds anew.")
    ] = False,
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Write every memory and link to a file, as of one moment. The file appears when it is complete, or not at all.

    t4dm export memories.jsonl
    t4dm export --no-vectors | gzip > memories.jsonl.gz
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm_daemon.cli.export_file import write_file, write_lines

        if file in {_STDIO, _STDOUT} and command.as_json:
            raise UsageError("--json and the export cannot both go to standard output; name a file")
        if file == _STDOUT:
            file = _STDIO
        lines = command.client.export_lines(space=space, include_vectors=not no_vectors)
        is_shown = not (command.as_json or command.quiet) and file != _STDIO
        with progress("Exporting", total=None, is_shown=is_shown) as advance:
            if file == _STDIO:
                write_lines(lines, _stdout(), advance)
                return
            count, edges, size_bytes = write_file(lines, file, advance)
        links = f" and {output.links(edges)}" if edges else ""
        command.answer(
            {"file": str(file), "count": count, "edges": edges, "size_bytes": size_bytes},
            lambda: output.line(f"{output.memories(count)}{links} written to {file} ({output.size(size_bytes)})"),
        )


def import_memories(
    file: Annotated[Path, typer.Argument(help="JSON lines as `t4dm export` writes them; - is standard input.")],
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, max=10_000, help="Memories sent at once.")] = 200,
    on_conflict: Annotated[
        str, typer.Option("--on-conflict", help="An id that exists: replace it, merge, or error.")
    ] = "replace",
    space: Annotated[
        str | None, typer.Option("--space", "-s", help="Put all in this space; each line's own when absent.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check every line; the daemon is not asked.")] = False,
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Read memories and links from a file. To run it again is safe: what is there already is not stored twice.

    A line is an object with the fields of a memory, `content` first of all; others are left out. Histories are
    not part of a file: each memory starts with one version. A space is created with the settings that the export
    gives it; where the daemon embeds with another model than the export's, its texts are embedded anew.

        t4dm import memories.jsonl
        jq -c '{content: .text, id: .uuid}' notes.jsonl | t4dm import - --space notes
    """
    # Embedding a batch of long texts can take minutes on a small machine.
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug, timeout_s=600.0) as command:
        from t4dm_daemon.cli.importing.export_lines import Importer, LineReader

        if on_conflict not in {"replace", "merge", "error"}:
            raise UsageError("--on-conflict is replace, merge or error")
        is_shown = not (command.as_json or command.quiet)
        with _opened(file) as stream, progress("Importing", total=_size(file), is_shown=is_shown) as advance:
            importer = Importer(
                None if dry_run else command.client,
                space=space,
                batch_size=batch_size,
                on_conflict=on_conflict,
                advance=advance,
            )
            importer.run(LineReader(stream))
        report = importer.report
        command.answer(report.as_json(dry_run=dry_run), lambda: output.line(report.sentence(dry_run=dry_run)))
        if report.unlinked and not command.as_json:
            ends = ", ".join(repr(one) for one in sorted(report.missing)[:5])
            output.note(f"{output.links(report.unlinked)} left out: there is no memory {ends} at an end of them")
        if report.ignored and is_shown:
            output.note(f"Fields that are no part of a memory were left out: {', '.join(sorted(report.ignored))}")


def _stdout() -> IO[bytes]:
    if sys.stdout is None:
        raise UsageError("standard output is closed; name a file")
    return sys.stdout.buffer


def _opened(file: Path) -> AbstractContextManager[IO[bytes]]:
    return nullcontext(stdin_bytes()) if file == _STDIO else file.open("rb")


def _size(file: Path) -> int | None:
    return None if file == _STDIO or not file.is_file() else file.stat().st_size
