"""``kedro-otel …`` and ``python -m kedro_otel …``: the commands of ``kedro otel`` without Kedro's start and its log line on stdout."""

from __future__ import annotations

import sys
from pathlib import Path

from kedro_otel.cli import otel

__all__ = ["main"]


def main() -> None:
    """Run the command that ``sys.argv`` names, and exit with its exit code."""
    python = Path(sys.executable).name
    otel(prog_name=f"{python} -m kedro_otel" if __name__ == "__main__" else "kedro-otel")


if __name__ == "__main__":
    main()
