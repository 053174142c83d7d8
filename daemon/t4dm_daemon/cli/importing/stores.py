"""`t4dm import qdrant`, `chroma`, `vectors`: what another store holds, with its vectors, into a space.

It works on the files of the store, so no daemon may have them open; only the command itself loads the engine.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import UsageError
from t4dm_daemon.cli.command import FAILED, Command, Failure

if TYPE_CHECKING:
    from t4dm_daemon.cli.importing.migration import Outcome
    from t4dm_daemon.storage.loaders import Source
    from t4dm_daemon.storage.loaders.json_fields import Unknown
    from t4dm_daemon.storage.loaders.load import OnConflict

Collection = Annotated[str, typer.Option("--collection", "-c", help="The collection to load.")]
Space = Annotated[str | None, typer.Option("--space", "-s", help="Where to; named like the collection when absent.")]
OnConflictOption = Annotated[
    str, typer.Option("--on-conflict", help="An id that holds something else: replace it, keep it, or refuse.")
]
AnotherMetric = Annotated[
    bool,
    typer.Option("--allow-metric-change", help="Also take vectors that rank otherwise by cosine than at home."),
]
Validate = Annotated[
    bool, typer.Option("--validate/--no-validate", help="Afterwards compare records, and the answers to 100 queries.")
]
StoragePath = Annotated[
    Path | None, typer.Option("--storage-path", help="The store; the one of the settings (T4DM_…) when absent.")
]
_CONFLICTS = ("replace", "keep", "refuse")


def qdrant(
    source: Annotated[str, typer.Argument(help="The directory of a local Qdrant, or a server's http(s) URL.")],
    collection: Collection,
    space: Space = None,
    vector_name: Annotated[
        str | None, typer.Option("--vector-name", help="Which vector, where the points have several.")
    ] = None,
    drop_other_vectors: Annotated[
        bool, typer.Option("--drop-other-vectors", help="Leave the other vectors of the points behind.")
    ] = False,
    text_key: Annotated[
        str, typer.Option("--text-key", help="The key of the payload whose text becomes the content.")
    ] = "text",
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key", envvar="QDRANT_API_KEY", help="Of the server; the variable keeps it out of the process list."
        ),
    ] = None,
    on_conflict: OnConflictOption = "replace",
    allow_metric_change: AnotherMetric = False,
    validate: Validate = True,
    storage_path: StoragePath = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Load a collection of Qdrant. To run it again is safe: what is there already is not stored twice.

    The key of a server comes from QDRANT_API_KEY.

        t4dm import qdrant ./qdrant_data --collection notes
        t4dm import qdrant https://qdrant.example:6333 --collection notes --space work
    """

    def opened() -> Source:
        from t4dm_daemon.storage.loaders import QdrantSource

        is_url = re.match("https?://", source, re.IGNORECASE) is not None
        if api_key and source.lower().startswith("http:"):
            warnings.filterwarnings("ignore", "Api key is used with an insecure connection")  # said in our words
            output.note("The key travels unencrypted: the URL begins with http, not https.")
        return QdrantSource(
            collection,
            path=None if is_url else Path(source),
            url=source if is_url else None,
            api_key=api_key if is_url else None,
            vector_name=vector_name,
            drop_other_vectors=drop_other_vectors,
            allow_metric_change=allow_metric_change,
            text_key=text_key,
        )

    with Command(as_json=as_json, quiet=quiet, debug=debug) as command:
        _migrate(
            command,
            opened,
            collection if space is None else space,
            on_conflict,
            validate=validate,
            storage_path=storage_path,
        )


def chroma(
    source: Annotated[Path, typer.Argument(help="The directory of a persistent Chroma.")],
    collection: Collection,
    space: Space = None,
    tenant: Annotated[str, typer.Option("--tenant", help="Chroma's tenant.")] = "default_tenant",
    database: Annotated[str, typer.Option("--database", help="Chroma's database.")] = "default_database",
    on_conflict: OnConflictOption = "replace",
    allow_metric_change: AnotherMetric = False,
    validate: Validate = True,
    storage_path: StoragePath = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Load a collection of Chroma. To run it again is safe: what is there already is not stored twice.

    Chroma converts the files of its older versions when it opens them; load from a copy if that matters.

        t4dm import chroma ./chroma --collection notes
    """

    def opened() -> Source:
        from t4dm_daemon.storage.loaders import ChromaSource

        return ChromaSource(
            source, collection, tenant=tenant, database=database, allow_metric_change=allow_metric_change
        )

    with Command(as_json=as_json, quiet=quiet, debug=debug) as command:
        _migrate(
            command,
            opened,
            collection if space is None else space,
            on_conflict,
            validate=validate,
            storage_path=storage_path,
        )


def vectors(
    file: Annotated[Path, typer.Argument(help="One JSON object a line, with its vector.")],
    space: Annotated[
        str | None, typer.Option("--space", "-s", help="Where to; named like the file when absent.")
    ] = None,
    from_space: Annotated[
        str | None, typer.Option("--from-space", help="Of an export with several spaces, the one to load.")
    ] = None,
    unknown: Annotated[
        str, typer.Option("--unknown", help="A field that no memory has: refuse the line, or put it into the metadata.")
    ] = "refuse",
    on_conflict: OnConflictOption = "replace",
    validate: Validate = True,
    storage_path: StoragePath = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Load lines that bring their own vectors. To run it again is safe: nothing is stored twice.

    A line has `id`, `content` (or `text`), `vector` (or `embedding`) and `metadata` (or `payload`); texts without
    vectors are embedded by the daemon, with: t4dm import jsonl FILE

        t4dm import vectors notes.jsonl
        t4dm import vectors dump.jsonl --space notes --unknown metadata
    """

    def opened() -> Source:
        from t4dm_daemon.storage.loaders import JsonlSource

        return JsonlSource(file, space=from_space, unknown=cast("Unknown", unknown))

    with Command(as_json=as_json, quiet=quiet, debug=debug) as command:
        if unknown not in {"refuse", "metadata"}:
            raise UsageError("--unknown is refuse or metadata")
        _migrate(
            command,
            opened,
            file.stem if space is None else space,
            on_conflict,
            validate=validate,
            storage_path=storage_path,
        )


def _migrate(
    command: Command,
    opened: Callable[[], Source],
    space: str,
    on_conflict: str,
    *,
    validate: bool,
    storage_path: Path | None,
) -> None:
    if on_conflict not in _CONFLICTS:
        raise UsageError(f"--on-conflict is {', '.join(_CONFLICTS[:-1])} or {_CONFLICTS[-1]}")
    from t4dm_daemon.cli.importing.migration import Migration
    from t4dm_daemon.config import Settings
    from t4dm_daemon.core.errors import StorageLockedError

    given: dict[str, Any] = {} if storage_path is None else {"storage_path": storage_path}
    try:
        outcome = Migration(
            opened,
            space=space,
            settings=Settings(**given),
            on_conflict=cast("OnConflict", on_conflict),
            is_validated=validate,
            is_shown=not (command.as_json or command.quiet),
        ).run()
    except StorageLockedError as error:
        next_step = "Stop the daemon, then run this again"
        command.fail(Failure(FAILED, error.code, error.message, error.details, next_step))
        raise typer.Exit(FAILED) from error
    command.answer(outcome.as_json(), lambda: _tell(outcome))
    if not outcome.is_whole:
        raise typer.Exit(FAILED)


def _tell(outcome: Outcome) -> None:
    from t4dm_daemon.cli.importing.migration import comparison, refused, sentence

    output.line(sentence(outcome))
    if outcome.compared is not None:
        for text in comparison(outcome, outcome.compared):
            output.line(text)
    if outcome.loaded.bare:
        output.note(
            f"{output.memories(outcome.loaded.bare)} without a vector: found by filter, not by meaning. "
            "To have texts embedded, use: t4dm import jsonl"
        )
    if outcome.loaded.refused:
        for text in refused(outcome.loaded):
            output.note(text)
