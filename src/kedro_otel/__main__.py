"""``python -m kedro_otel …``: the commands of ``kedro otel`` without Kedro's start, and with nothing but the answer on stdout."""

from __future__ import annotations

from kedro_otel.cli import otel

if __name__ == "__main__":
    otel(prog_name="python -m kedro_otel")
