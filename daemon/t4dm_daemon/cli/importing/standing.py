"""What a record is to the store: new, there as it is, or there with something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from t4dm.sdk import NotFoundError, T4DMClient
from t4dm.sdk.models import GetRequest, Memory, RecordIn

Standing = Literal["new", "same", "other"]

_LEARNED: Final = frozenset(("importance", "kappa", "pinned", "access_count", "last_accessed", "expires_at"))
"""What the store learns about a memory is not compared, so that an import does not undo it."""
_COMPARED: Final = (
    frozenset(RecordIn.model_fields)
    - _LEARNED
    - {
        "id",
        "vector",
        "embed",
        "dedup",
        "supersedes",
        "ttl_s",
        "updated_at",
    }
)


def there(client: T4DMClient, space: str, ids: Sequence[str]) -> dict[str, Memory]:
    """Return those memories that exist, by id; none where the space does not exist yet."""
    try:
        return {one.id: one for one in client.get_many(GetRequest(ids=list(ids), space=space))}
    except NotFoundError as error:
        if error.is_missing_space:
            return {}
        raise


def standing(record: RecordIn, stored: Memory | None) -> Standing:
    """Compare the fields that the record gives."""
    if stored is None:
        return "new"
    given = record.model_fields_set & _COMPARED
    return "same" if all(getattr(record, name) == getattr(stored, name) for name in given) else "other"
