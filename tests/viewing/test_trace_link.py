"""The link to a trace: said once, on stderr, where there is a backend and a template, and never otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from conftest import BIN, Result

TEMPLATE = "http://localhost:16686/trace/{trace_id}"
SENDING = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    "KEDRO_OTEL_SHIP": "manual",
    "KEDRO_OTEL_TRACE_URL": TEMPLATE,
}
LINK = re.compile(
    r"trace: \x1b]8;;(http://localhost:16686/trace/[0-9a-f]{32})\x1b\\\1\x1b]8;;\x1b\\"
)


def test_a_run_tells_its_link_once(
    project: Callable[..., Path], kedro: Callable[..., Result], terminal: Callable[..., str]
) -> None:
    """On a terminal, `kedro run` ends with one link to its trace; `show` tells the same one on stderr, also into a pipe."""
    path = project()
    (url,) = LINK.findall(terminal(BIN / "kedro", "run", cwd=path, env=SENDING))
    shown = kedro("otel", "show", cwd=path, env=SENDING)
    assert url.rpartition("/")[2] in shown.out
    assert f"trace: {url}\n" in shown.err
    assert url not in shown.out
    assert "16686" not in terminal(BIN / "kedro", "registry", "list", cwd=path, env=SENDING)


def test_no_link_where_nothing_is_sent(
    project: Callable[..., Path], kedro: Callable[..., Result], terminal: Callable[..., str]
) -> None:
    """No endpoint, no terminal, a template without the id or with a control character: no link; and none for a trace recorded to stay."""
    path = project()
    assert "16686" not in terminal(
        BIN / "kedro", "run", cwd=path, env={"KEDRO_OTEL_TRACE_URL": TEMPLATE}
    )
    assert "16686" not in kedro("otel", "show", cwd=path, env=SENDING).err
    assert "16686" not in kedro("run", cwd=path, env=SENDING).err
    for template in (
        "http://localhost:16686/",
        "http://localhost:16686/{trace_id}\x1b[31m",
        "javascript:16686{trace_id}",
    ):
        assert (
            "16686"
            not in kedro(
                "otel", "show", cwd=path, env={**SENDING, "KEDRO_OTEL_TRACE_URL": template}
            ).err
        )
