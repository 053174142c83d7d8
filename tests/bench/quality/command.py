"""python -m tests.bench quality [retrieval|facts|duplicates|fit] [--data DIRECTORY] [--seed N]; without a name: all but the fit."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.bench.quality import fit

PARTS = ("retrieval", "facts", "duplicates", "fit")


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench quality", description=__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS)
    parser.add_argument(
        "--data", type=Path, help="directory of conversations in LoCoMo's format; without it, only ours"
    )
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(given)
    if options.part == "fit":
        fit.run(options.data)
