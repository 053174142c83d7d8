"""Does a search find what answers, does it know when nothing does, and as of when?

    python -m tests.bench quality [retrieval|facts|duplicates|mem0|fit] [--data DIRECTORY] [--seed N]

Without a name: all but mem0 and the fit. DIRECTORY holds conversations in LoCoMo's format; without it only our own data is
asked. A real daemon runs with its default settings and the packaged embedder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from tests.bench.quality import abstention, duplicates, facts, fit, locomo, retrieval
from tests.bench.quality.conversations import our_own
from tests.support.daemon import Daemon

PARTS = ("retrieval", "facts", "duplicates", "mem0", "fit")


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="?", choices=PARTS)
    parser.add_argument("--data", type=Path, help="directory of conversations in LoCoMo's format")
    parser.add_argument("--seed", type=int, default=7, help="of the bootstrap")
    options = parser.parse_args(given)
    if options.part == "fit":
        fit.run(options.data)
        return
    own, foreign = our_own(), locomo.read_all(options.data)
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="t4dm-quality-") as directory:
        cache = Path(os.environ.get("T4DM_CACHE_PATH", directory)) / "cache"
        daemon = Daemon(Path(directory), cache=cache, model="minilm").start()
        try:
            with daemon.client(timeout_s=600.0) as client:
                if options.part in (None, "retrieval"):
                    retrieval.run(client, own, foreign, seed=options.seed)
                    for one in (own, *foreign):
                        answerable = [question.text for question in one.answerable]
                        unanswerable = [question.text for question in one.unanswerable]
                        abstention.measure(client, one.name, one.name, answerable, unanswerable)
                if options.part == "mem0":
                    from tests.bench.quality import mem0_door  # needs a package that nothing else here needs

                    mem0_door.run(client, daemon.url, [own, *foreign])
                if options.part in (None, "facts"):
                    facts.run(client)
                if options.part in (None, "duplicates"):
                    duplicates.run(client)
        finally:
            daemon.close()
