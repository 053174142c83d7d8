"""The console command `t4dm`. Its code comes with the daemon; this says so where that is not installed."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        from t4dm_daemon.cli import main as run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"t4dm", "t4dm_daemon"}:
            raise  # a defect, not something to install
        print(
            f"The command line needs {error.name}, which is not installed.\n"
            "Install it with: pip install 't4dm[daemon]'",
            file=sys.stderr,
        )
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
