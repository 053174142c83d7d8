"""Run benchmarks.

python -m tests.bench                     the store, the daemon and the embedder
python -m tests.bench store|blocking|indexes|http|hybrid|embedding|recall|peers|quality [options]
"""

from __future__ import annotations

import sys

from tests.bench import (
    bench_blocking,
    bench_embedding,
    bench_http,
    bench_hybrid,
    bench_indexes,
    bench_peers,
    bench_recall,
    bench_store,
)
from tests.bench.quality import command as bench_quality

BENCHES = {
    "store": bench_store.main,
    "blocking": bench_blocking.main,
    "indexes": bench_indexes.main,
    "peers": bench_peers.main,
    "http": bench_http.main,
    "hybrid": bench_hybrid.main,
    "embedding": bench_embedding.main,
    "recall": bench_recall.main,
    "quality": bench_quality.main,
}
WITHOUT_DATA = ("store", "http", "embedding")


def main() -> int:
    name, *options = sys.argv[1:] or [""]
    if name in BENCHES:
        BENCHES[name](options)
        return 0
    if name:
        print(f"no benchmark is called {name!r}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for each in WITHOUT_DATA:
        BENCHES[each]([])
    return 0


sys.exit(main())
