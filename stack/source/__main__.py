"""Write the dashboards and the alert rules: ``python stack/source``.

With ``--check``, write nothing and exit with 1 if a file is not what would be written.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import alerts
import runs
import usage
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

STACK = Path(__file__).resolve().parent.parent


def texts() -> dict[Path, str]:
    """Each generated file and what belongs in it."""
    boards = {"usage": usage.build(), "runs": runs.build()}
    files = {
        STACK / "grafana" / "dashboards" / f"{name}.json": _json(board.build())
        for name, board in boards.items()
    }
    return {**files, STACK / "alerts.yml": alerts.text()}


def _json(board: Dashboard) -> str:
    for number, panel in enumerate(board.panels or [], 1):
        panel.id_val = number  # links to a panel name it
    return json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write or compare every generated file."""
    stale = [
        path
        for path, text in texts().items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        if "--check" in arguments:
            print(
                f"{path.relative_to(STACK.parent)} is not current; run python stack/source",
                file=sys.stderr,
            )
        else:
            path.write_text(texts()[path], encoding="utf-8")
            print(f"wrote {path.relative_to(STACK.parent)}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
