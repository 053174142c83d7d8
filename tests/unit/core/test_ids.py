from __future__ import annotations

import uuid

from t4dm_daemon.core.ids import KEY_BYTES, key_of, new_id


def test_a_canonical_uuid_is_its_own_key() -> None:
    one = uuid.UUID("0190a0b0-c0d0-7e00-8000-000000000001")

    assert key_of(str(one)) == one.bytes


def test_other_spellings_of_a_uuid_are_other_ids() -> None:
    one = "0190a0b0-c0d0-7e00-8000-00000000000a"
    spellings = [one, one.upper(), one.replace("-", ""), f"{{{one}}}", f"urn:uuid:{one}", one + "\n"]

    assert len({key_of(spelling) for spelling in spellings}) == len(spellings)


def test_any_string_has_a_key_of_sixteen_bytes() -> None:
    for text in ["", "a", "日本語", "x" * 512, "\ud800", "\0"]:
        assert len(key_of(text)) == KEY_BYTES


def test_new_ids_are_version_7_and_rise() -> None:
    made = [new_id() for _ in range(20_000)]

    assert made == sorted(set(made))
    assert {uuid.UUID(one).version for one in made} == {7}
    assert {uuid.UUID(one).variant for one in made} == {uuid.RFC_4122}
