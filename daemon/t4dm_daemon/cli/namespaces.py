"""`t4dm namespaces` and `t4dm categories`: what there is, counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from t4dm_daemon.cli import options as o
from t4dm_daemon.cli import output
from t4dm_daemon.cli.arguments import labels
from t4dm_daemon.cli.command import Command

if TYPE_CHECKING:
    from t4dm.sdk import NamespaceInfo


def namespaces(
    prefix: Annotated[
        str | None, typer.Option("--prefix", help="Those that begin so: work/notes; * stands for any one label.")
    ] = None,
    suffix: Annotated[str | None, typer.Option("--suffix", help="Those that end so; with * likewise.")] = None,
    max_depth: Annotated[
        int | None, typer.Option("--depth", "-d", help="Cut off after so many labels, and count together.")
    ] = None,
    kind: o.Kind = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="At most this many.")] = 100,
    offset: Annotated[int, typer.Option("--offset", help="After so many.")] = 0,
    space: o.Space = "default",
    user: o.User = None,
    agent: o.Agent = None,
    app: o.App = None,
    run: o.Run = None,
    session: o.Session = None,
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """List the namespaces that hold memories, with how many.

    t4dm namespaces --prefix 'users/*' --depth 2
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.namespace_models import NamespacesRequest

        given: dict[str, Any] = {
            "prefix": labels("--prefix", prefix),
            "suffix": labels("--suffix", suffix),
            "max_depth": max_depth,
            "kind": kind,
            **o.owner(user, agent, app, run, session),
        }
        request = NamespacesRequest(
            space=space,
            limit=limit,
            offset=offset,
            **{name: value for name, value in given.items() if value is not None},
        )
        found = command.client.namespaces(request)
        command.answer(
            found, lambda: _namespaces(found.results), ids=["/".join(one.namespace) for one in found.results]
        )
        if len(found.results) < found.total and not (command.as_json or command.quiet) and output.is_person():
            output.note(f"{len(found.results)} of {found.total:,}")


def categories(
    namespace: o.Namespace = None,
    kind: o.Kind = None,
    space: o.Space = "default",
    user: o.User = None,
    agent: o.Agent = None,
    app: o.App = None,
    run: o.Run = None,
    session: o.Session = None,
    url: o.Url = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,
) -> None:
    """Count the memories of each category, most first.

    t4dm categories --namespace work
    """
    with Command(url=url, as_json=as_json, quiet=quiet, debug=debug) as command:
        from t4dm.sdk.namespace_models import CategoriesRequest

        given: dict[str, Any] = {
            "namespace_prefix": labels("--namespace", namespace),
            "kind": kind,
            **o.owner(user, agent, app, run, session),
        }
        request = CategoriesRequest(space=space, **{name: value for name, value in given.items() if value is not None})
        counted = command.client.categories(request)
        command.answer({"categories": counted}, lambda: _categories(counted), ids=list(counted))


def _namespaces(found: list[NamespaceInfo]) -> None:
    output.table(
        ["Memories", "Newest", "Categories", "Namespace"],
        [
            [f"{one.count}", output.when(one.newest), ", ".join(one.categories), "/".join(one.namespace)]
            for one in found
        ],
        numbers=["Memories"],
    )


def _categories(counted: dict[str, int]) -> None:
    output.table(
        ["Memories", "Category"], [[f"{count}", name] for name, count in counted.items()], numbers=["Memories"]
    )
