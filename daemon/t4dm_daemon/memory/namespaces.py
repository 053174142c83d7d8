"""What there is in a space: its namespaces, categories and owners, with counts.

Expired memories do not count, unless they are asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, get_args

from t4dm.sdk import namespace_models as n
from t4dm_daemon.core.filter import Filter, Leaf, NamespacePrefix, all_of
from t4dm_daemon.memory import filters, records
from t4dm_daemon.memory.spaces import Spaces
from t4dm_daemon.storage.protocol import Group, View

ANY_LABEL: Final = "*"


@dataclass(slots=True)
class _Tally:
    count: int = 0
    categories: Counter[str] = field(default_factory=Counter[str])
    created: tuple[int, int] | None = None
    happened: tuple[int, int] | None = None

    def add(self, group: Group) -> None:
        self.count += group.count
        for category in set(group.labels[1] or ()):
            self.categories[category] += group.count
        created, happened = group.bounds
        self.created = _widened(self.created, created)
        self.happened = _widened(self.happened, happened)


class NamespaceService:
    """List namespaces and count categories. Thread-safe: it holds no state of its own."""

    def __init__(self, spaces: Spaces) -> None:
        self._spaces = spaces

    def namespaces(self, request: n.NamespacesRequest) -> n.NamespaceList:
        """Return the namespaces that hold memories and match, in the order of their labels.

        `prefix` and `suffix` are compared with the whole namespace, before `max_depth` cuts it off.

        Raises:
            NotFoundError: There is no such space.
        """
        fixed = _fixed_labels(request.prefix or ())
        where = all_of(filters.owner_filter(request), _prefix(fixed), _kind(request.kind))
        backend = self._spaces.open(request.space).backend
        tallies: dict[tuple[str, ...], _Tally] = {}
        for group in backend.groups(["namespace", "categories"], bounds=["created_at", "event_time"], where=where):
            namespace: tuple[str, ...] = group.labels[0] or ()
            if not (_begins(namespace, request.prefix or ()) and _ends(namespace, request.suffix or ())):
                continue
            shown = namespace if request.max_depth is None else namespace[: request.max_depth]
            tallies.setdefault(shown, _Tally()).add(group)
        page = sorted(tallies)[request.offset : request.offset + request.limit]
        return n.NamespaceList(results=[_info(one, tallies[one]) for one in page], total=len(tallies))

    def categories(self, request: n.CategoriesRequest) -> n.CategoryCounts:
        """Return how many of the memories have each category, most first. Raises NotFoundError."""
        prefix = tuple(request.namespace_prefix or ())
        where = all_of(filters.owner_filter(request), _prefix(prefix), _kind(request.kind))
        (counted,) = self._spaces.open(request.space).backend.count_values(["categories"], where=where)
        counts: Counter[str] = Counter()
        for categories, number in counted:
            for category in set(categories):
                counts[category] += number
        return n.CategoryCounts(categories=_most_first(counts))

    def owners(self, request: n.OwnersRequest) -> n.OwnerList:
        """Return every value of the owner columns with its memories, by column and value. Raises NotFoundError."""
        backend = self._spaces.open(request.space).backend
        view = View(include_expired=request.show_expired)
        found: list[n.OwnerInfo] = []
        for column in get_args(n.OwnerColumn):
            if request.columns is not None and column not in request.columns:
                continue
            groups = backend.groups([column], bounds=["created_at", "updated_at"], view=view)
            named = {group.labels[0]: group for group in groups if group.labels[0] is not None}
            found += [_owner(column, named[one]) for one in sorted(named)]
        return n.OwnerList(results=found[request.offset : request.offset + request.limit], total=len(found))


def _info(namespace: tuple[str, ...], tally: _Tally) -> n.NamespaceInfo:
    assert tally.created is not None
    assert tally.happened is not None
    return n.NamespaceInfo.model_validate(
        {
            "namespace": list(namespace),
            "count": tally.count,
            "categories": _most_first(tally.categories),
            "oldest": records.time_text(tally.created[0]),
            "newest": records.time_text(tally.created[1]),
            "first_event": records.time_text(tally.happened[0]),
            "last_event": records.time_text(tally.happened[1]),
        }
    )


def _owner(column: n.OwnerColumn, group: Group) -> n.OwnerInfo:
    created, updated = group.bounds
    return n.OwnerInfo.model_validate(
        {
            "column": column,
            "id": group.labels[0],
            "count": group.count,
            "oldest": records.time_text(created[0]),
            "newest": records.time_text(created[1]),
            "updated": records.time_text(updated[1]),
        }
    )


def _most_first(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def _widened(before: tuple[int, int] | None, more: tuple[int, int]) -> tuple[int, int]:
    return more if before is None else (min(before[0], more[0]), max(before[1], more[1]))


def _fixed_labels(prefix: Sequence[str]) -> tuple[str, ...]:
    """Return the labels before the first wildcard: the part that the store can look for."""
    labels = tuple(prefix)
    return labels[: labels.index(ANY_LABEL)] if ANY_LABEL in labels else labels


def _prefix(labels: tuple[str, ...]) -> Filter | None:
    return NamespacePrefix(labels) if labels else None


def _kind(kind: str | None) -> Filter | None:
    return None if kind is None else Leaf("kind", "eq", kind)


def _begins(namespace: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(namespace) >= len(pattern) and _agree(namespace[: len(pattern)], pattern)


def _ends(namespace: Sequence[str], pattern: Sequence[str]) -> bool:
    return len(namespace) >= len(pattern) and _agree(namespace[len(namespace) - len(pattern) :], pattern)


def _agree(labels: Sequence[str], pattern: Sequence[str]) -> bool:
    return all(wanted in (ANY_LABEL, label) for label, wanted in zip(labels, pattern, strict=True))
