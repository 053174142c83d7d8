"""Run benchmarks.

python -m tests.bench                     the store, the daemon and the embedder
python -m tests.bench store|blocking|indexes|http|hybrid|embedding|recall|peers|quality|langchain|mcp [options]
"""

from __future__ import annotations

import importlib
import sys

BENCHES = {
    **{
        name: f"tests.bench.bench_{name}"
        for name in (
            "store",
            "blocking",
            "indexes",
            "peers",
            "http",
            "hybrid",
            "embedding",
            "recall",
            "langchain",
            "mcp",
        )
    },
    "quality": "tests.bench.quality.command",
}
"""Each is imported when it is asked for: not everything that one needs is installed everywhere."""
WITHOUT_DATA = ("store", "http", "embedding")


def main() -> int:
    name, *options = sys.argv[1:] or [""]
    if name and name not in BENCHES:
        print(f"no benchmark is called {name!r}; there are {', '.join(BENCHES)}", file=sys.stderr)
        return 2
    for each in [name] if name else WITHOUT_DATA:
        importlib.import_module(BENCHES[each]).main(options)
    return 0


sys.exit(main())
