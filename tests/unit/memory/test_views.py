"""What only a race shows in superseding, deprecating and counting; the promises are in tests/contract/test_views.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from t4dm.sdk import graph_models as g
from t4dm.sdk import models as m
from t4dm.sdk import view_models as v
from t4dm_daemon.core.errors import ConflictError, InvalidInputError, NotFoundError
from t4dm_daemon.core.item import Item
from t4dm_daemon.memory.feedback import FeedbackLog
from t4dm_daemon.memory.graph import GraphService
from t4dm_daemon.memory.service import MemoryService
from t4dm_daemon.memory.spaces import Spaces
from t4dm_daemon.memory.superseding import succession
from t4dm_daemon.memory.views import EntityService, EpisodeService, ProcedureService, Views
from t4dm_daemon.storage.protocol import StorageBackend, Write
from t4dm_daemon.storage.t4dx import Database


class Embedder:
    """Every text means the same."""

    def embed(
        self, texts: Sequence[str], *, bulk: bool = False, timeout_s: float | None = None
    ) -> npt.NDArray[np.float32]:
        return np.ones((len(texts), 2), np.float32)

    @property
    def counted_by(self) -> str:
        return "words"

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(tmp_path / "store", sync="off") as opened:
        yield opened


@pytest.fixture
def service(database: Database) -> Iterator[MemoryService]:
    spaces = Spaces(database)
    spaces.adopt_embedder("none", 2, "none")
    made = MemoryService(spaces, Embedder(), deadline_s=5, bulk_deadline_s=5, feedback=FeedbackLog(database))
    yield made
    made.close()


@pytest.fixture
def graph(service: MemoryService) -> GraphService:
    return GraphService(service.spaces)


@pytest.fixture
def views(service: MemoryService, graph: GraphService) -> Views:
    made = Views(
        EpisodeService(service), EntityService(service, graph, Embedder(), deadline_s=5), ProcedureService(service)
    )
    for name in ("ada", "engine"):
        made.entities.add(v.EntityIn(id=name, name=name, entity_type="t"))
    for name in ("old", "new"):
        made.procedures.add(v.ProcedureIn(id=name, name=name))
    return made


@pytest.fixture
def before_insert(database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen once, between what a writer reads and what it writes."""

    def arrange(happen: Callable[[], object]) -> None:
        engine = database.space("default")
        insert = engine.insert

        def late(*arguments: Any, **keywords: Any) -> Any:
            monkeypatch.setattr(engine, "insert", insert)
            happen()
            return insert(*arguments, **keywords)

        monkeypatch.setattr(engine, "insert", late)

    return arrange


def test_who_loses_the_race_for_the_old_version_supersedes_what_it_became(
    service: MemoryService, views: Views, before_insert: Callable[[Callable[[], object]], None]
) -> None:
    before_insert(lambda: service.update("ada", m.UpdateRequest(metadata={"note": 1})))

    new = views.entities.supersede("ada", v.SupersedeRequest(summary="new"))

    assert views.entities.plain(new, "default")["metadata"] == {"note": 1}
    assert views.entities.get("ada").version == 3


def test_a_relation_whose_end_goes_while_it_is_carried_over_is_left_out(
    service: MemoryService, views: Views, before_insert: Callable[[Callable[[], object]], None]
) -> None:
    views.entities.relate("ada", v.RelationIn(target="engine", type="USES"))
    before_insert(lambda: service.delete("engine"))

    new = views.entities.supersede("ada", v.SupersedeRequest(summary="new"))

    assert views.entities.relations(new.id, v.RelationListRequest()) == []
    assert views.entities.get("ada").valid_to == new.valid_from


def test_who_supersedes_what_another_superseded_meanwhile_is_told(
    views: Views, before_insert: Callable[[Callable[[], object]], None]
) -> None:
    before_insert(lambda: views.entities.supersede("ada", v.SupersedeRequest(summary="first")))

    with pytest.raises(ConflictError, match="not true any more"):
        views.entities.supersede("ada", v.SupersedeRequest(summary="second"))

    found = views.entities.list(v.EntityListRequest(show_superseded=True))
    assert sorted(item.content for item in found[0]) == ["ada", "ada: first", "engine"]


def test_an_outcome_told_while_a_procedure_is_deprecated_is_kept(
    views: Views, before_insert: Callable[[Callable[[], object]], None]
) -> None:
    before_insert(lambda: views.procedures.record_outcome("old", v.OutcomeRequest(success=True)))

    ended = views.procedures.deprecate("old", v.DeprecateRequest(replacement="new"))

    assert views.procedures.plain(ended, "default")["executions"] == 1


def test_a_replacement_that_goes_meanwhile_is_refused_and_the_procedure_stays(
    service: MemoryService, views: Views, before_insert: Callable[[Callable[[], object]], None]
) -> None:
    before_insert(lambda: service.delete("new"))

    with pytest.raises(InvalidInputError, match="to be used instead"):
        views.procedures.deprecate("old", v.DeprecateRequest(replacement="new"))

    assert views.procedures.get("old").version == 1


def test_an_outcome_that_loses_the_race_is_counted_all_the_same(
    views: Views, before_insert: Callable[[Callable[[], object]], None]
) -> None:
    before_insert(lambda: views.procedures.record_outcome("old", v.OutcomeRequest(success=True)))

    counted = views.procedures.record_outcome("old", v.OutcomeRequest(success=False))

    assert views.procedures.plain(counted, "default")["success_rate"] == 0.5


def test_a_relation_taken_back_while_it_is_made_is_told(
    views: Views, graph: GraphService, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = graph.link

    def undone(request: g.LinkRequest) -> int:
        linked = link(request)
        edges = [g.EdgeName(source=one.source, target=one.target, type=one.type) for one in request.edges]
        graph.unlink(g.UnlinkRequest(edges=edges))
        return linked

    monkeypatch.setattr(graph, "link", undone)

    with pytest.raises(ConflictError, match="taken back"):
        views.entities.relate("ada", v.RelationIn(target="engine"))


def test_only_the_procedures_that_are_shown_count_as_used(service: MemoryService, views: Views) -> None:
    asked = v.ProcedureSearchRequest(query="old", k=1)

    views.procedures.search(asked)
    views.procedures.search(asked.model_copy(update={"touch": False}))
    service.close()

    assert {name: views.procedures.get(name).access_count for name in ("old", "new")} == {"old": 1, "new": 0}


@pytest.fixture
def backend(database: Database) -> StorageBackend:
    database.create_space("s", embedder="client", model=None, metric="cosine", dimension=2)
    engine = database.space("s")
    engine.insert([Write(item) for item in (Item(id="a", valid_from=10), Item(id="b", valid_from=20, valid_to=100))])
    return engine


def test_what_is_succeeded_ends_at_the_moment_and_is_linked(backend: StorageBackend) -> None:
    closing, (edge,) = succession(backend, "b", "new", 50)

    assert (closing.item.id, closing.item.valid_to, closing.expected_version) == ("b", 50, 1)
    assert (edge.source, edge.type, edge.target) == ("new", "SUPERSEDES", "b")
    assert succession(backend, "b", None, 50)[1] == []


@pytest.mark.parametrize(
    ("old", "moment", "kind"),
    [
        ("nobody", 50, NotFoundError),
        ("b", 100, ConflictError),
        ("b", 20, InvalidInputError),
        ("b", 50, InvalidInputError),
    ],
)
def test_what_cannot_be_succeeded_is_refused(
    backend: StorageBackend, old: str, moment: int, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        succession(backend, old, "b" if moment == 50 and old == "b" else "new", moment)
