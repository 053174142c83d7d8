from __future__ import annotations

import threading

import numpy as np
import pytest

from t4dm_daemon.embedding import VectorCache


def vector(value: float, dimension: int = 8) -> np.ndarray:
    return np.full(dimension, value, np.float32)


def test_a_vector_is_found_under_its_identity_and_text_only() -> None:
    cache = VectorCache()
    cache.put("a", "text", vector(1))

    assert cache.get("a", "text") is not None
    assert cache.get("b", "text") is None
    assert cache.get("a", "other") is None


def test_changing_the_array_put_in_does_not_change_the_cache() -> None:
    cache = VectorCache()
    given = vector(1)
    cache.put("a", "text", given)

    given[:] = 9

    kept = cache.get("a", "text")
    assert kept is not None
    assert kept[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 5


def test_the_least_recently_used_vectors_go_first() -> None:
    probe = VectorCache()
    probe.put("a", "x", vector(0))
    cache = VectorCache(3 * probe.stats().size_bytes)
    for text in ("1", "2", "3"):
        cache.put("a", text, vector(1))

    cache.get("a", "1")
    cache.put("a", "4", vector(1))

    assert [text for text in ("1", "2", "3", "4") if cache.get("a", text) is not None] == ["1", "3", "4"]


def test_the_bound_in_bytes_holds_at_every_moment() -> None:
    cache = VectorCache(10_000)

    for number in range(500):
        cache.put("a", f"text {number % 70}", vector(number, 1 + number % 90))
        assert cache.stats().size_bytes <= 10_000

    assert cache.stats().entries > 10


def test_a_cache_of_no_bytes_keeps_nothing() -> None:
    cache = VectorCache(0)

    cache.put("a", "text", vector(1))

    assert cache.get("a", "text") is None
    assert cache.stats().entries == 0


def test_replacing_a_vector_counts_its_bytes_once() -> None:
    cache = VectorCache()
    cache.put("a", "text", vector(1))
    before = cache.stats().size_bytes

    cache.put("a", "text", vector(2))

    assert cache.stats().size_bytes == before
    kept = cache.get("a", "text")
    assert kept is not None
    assert kept[0] == 2


def test_hits_and_misses_are_counted_and_clear_forgets_the_vectors() -> None:
    cache = VectorCache()
    cache.put("a", "text", vector(1))
    cache.get("a", "text")
    cache.get("a", "other")
    cache.get("a", "\ud800 lone surrogate")

    cache.clear()

    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.entries, stats.size_bytes) == (1, 2, 0, 0)


def test_many_threads_leave_the_books_in_order() -> None:
    cache = VectorCache(20_000)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for number in rng.integers(0, 100, 300):
            if cache.get("a", str(number)) is None:
                cache.put("a", str(number), vector(float(number)))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    stats = cache.stats()
    assert stats.hits + stats.misses == 4 * 300
    assert stats.size_bytes <= 20_000
    for number in range(100):
        kept = cache.get("a", str(number))
        assert kept is None or kept[0] == number
