"""Names, messages and spans that are too big, too many, or meant to be obeyed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faulty import BIN, spoken, until
from loopback import Loopback, hang, loopback
from memory_peak import PEAK_KIB
from trace_text import operations

__all__ = ["loopback"]

BIG = """
from opentelemetry import trace

SIZE = {size}

def greet(name):
    span = trace.get_current_span()
    with trace.get_tracer("t").start_as_current_span("inner") as inner:
        inner.set_attribute("big", "x" * SIZE)
        for number in range({events}):
            inner.add_event("event", {{"n": number}})
    return name

def shout(greeting):
    for number in range({spans}):
        with trace.get_tracer("t").start_as_current_span(f"span {{number}}"):
            pass
    return greeting

def tell(shouted, fail):
    raise ValueError("m" * (8 << 20))
"""


PLAIN = """
version: 1
disable_existing_loggers: false
handlers: {console: {class: logging.StreamHandler}}
root: {handlers: [console], level: ERROR}
"""

PEAK = f"""
import sys
sys.argv[0] = "kedro"
try:
    from kedro.framework.cli.cli import main
    main()
finally:
    print("PEAK", {PEAK_KIB}, file=sys.stderr)
"""


def test_a_gigabyte_and_a_million(
    project: Callable[..., Path],
    environment: dict[str, str],
    home: Path,
    loopback: Loopback,
    full: bool,
    figure: Callable[[str], None],
) -> None:
    """An attribute of a gigabyte, a million events: the recording is small, and so is what reading and shipping it takes."""
    size, events, spans = (1 << 30, 1_000_000, 100_000) if full else (64 << 20, 20_000, 2000)
    path = project(
        nodes=BIG.format(size=size, events=events, spans=spans), files={"logging.yml": PLAIN}
    )
    environment["KEDRO_LOGGING_CONFIG"] = str(
        path / "logging.yml"
    )  # Kedro's own would draw the message with Rich, for minutes
    environment.update(
        KEDRO_OTEL_DETAIL="full", KEDRO_OTEL_SHIP="manual", OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url
    )
    done = subprocess.run(
        [BIN / "kedro", "run"], cwd=path, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 1
    recordings = list((home / "recordings").glob("*.jsonl"))
    found = [one for one in operations(home) if one.end_ns is not None]
    assert {one.state for one in found} == {"ended"}
    assert {"kedro run", "node tell"} <= {one.name for one in found}
    assert sum(one.operation == "foreign" for one in found) == spans + 1
    longest = max(
        len(line) for recording in recordings for line in recording.read_bytes().splitlines()
    )
    size_kept = sum(recording.stat().st_size for recording in recordings)
    assert longest < 4 << 20
    peaks = {}
    for words in (["otel", "ship"], ["otel", "show"], ["otel", "status"]):
        seen = subprocess.run(
            [sys.executable, "-c", PEAK, *words],
            cwd=path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert seen.returncode == 0, seen.stderr[-2000:]
        peaks[words[1]] = int(seen.stderr.rpartition("PEAK")[2]) // 1024
    assert max(peaks.values()) < (900 if full else 300)
    assert max((request.size for request in loopback.of("traces")), default=0) < 4 << 20
    figure(
        f"attribute of {size >> 20} MiB, message of 8 MiB, {events} events, {spans} spans: longest line {longest >> 10} KiB, "
        f"recording {size_kept >> 10} KiB, peak memory {peaks} MiB"
    )


EVIL = "\\x00\\x1b[31m\\x1b]0;title\\x07\\u202egnp.exe</script><script>alert(1)</script>\\r\\n\\x9b2J\\ud800\\u2028"
NASTY = f"""
from opentelemetry import trace

EVIL = "{EVIL}"

class Evil(Exception):
    pass

def greet(name):
    with trace.get_tracer("t").start_as_current_span("span " + EVIL.replace("\\ud800", "")) as span:
        span.set_attribute("k" + EVIL.replace("\\ud800", ""), EVIL.replace("\\ud800", ""))
    return name

def shout(greeting):
    return greeting

def tell(shouted, fail):
    raise Evil(EVIL)
"""
REGISTRY = """
from kedro.pipeline import node, pipeline
from .nodes import EVIL, greet, shout, tell

def register_pipelines():
    greet.__name__ = EVIL
    return {"__default__": pipeline([
        node(greet, "params:name", "a" + EVIL, name="greet"),
        node(shout, "a" + EVIL, "b", name="shout", tags="tag"),
        node(tell, ["b", "params:fail"], "told", name="tell"),
    ])}
"""


def test_what_is_meant_to_be_obeyed_is_shown_only(
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    environment: dict[str, str],
    home: Path,
    loopback: Loopback,
    figure: Callable[[str], None],
) -> None:
    """NUL, terminal sequences, bidirectional marks and markup in names and messages do nothing in terminal, JSON, HTML and on the wire."""
    environment.update(
        KEDRO_OTEL_DETAIL="full", KEDRO_OTEL_SHIP="manual", OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url
    )
    path = project(nodes=NASTY, registry=REGISTRY)
    kedro("run", cwd=path, code=None)
    assert operations(home)
    looked = 0
    for words in (
        ["show"],
        ["show", "last"],
        ["list"],
        ["status"],
        ["show", "--json"],
        ["list", "--json"],
        ["export"],
        ["report", "-o", "run.html"],
    ):
        result = kedro("otel", *words, cwd=path, code=None)
        if "No such command" in result.err:
            continue
        assert result.code == 0, result
        looked += 1
        text = result.out + result.err
        assert not set(text) & set("\x00\x07\x9b\u202e\u2028"), words
        assert "\x1b]" not in text
        assert "\x1b[31m" not in text or "--json" not in words
        if "--json" in words:
            spoken(result.out)
        if words[0] == "export":
            assert all(json.loads(line) for line in result.out.splitlines() if line.startswith("{"))
    if (path / "run.html").exists():
        html = (path / "run.html").read_text()
        assert "<script>alert(1)" not in html
        assert "\x00" not in html
    kedro("otel", "ship", cwd=path)
    assert loopback.total("kedro.commands") == 1
    assert len(loopback.span_names()) >= 5
    figure(f"{looked} views and the wire: 0 control characters, 0 markup that acts")


@pytest.mark.parametrize("words", [["run"], ["otel", "ship"]])
def test_no_credential_in_argv(
    words: list[str],
    project: Callable[..., Path],
    environment: dict[str, str],
    home: Path,
    loopback: Loopback,
    figure: Callable[[str], None],
) -> None:
    """While something is sent no credential is in any process's command line, nor afterwards on disk."""
    loopback.always.update(traces=hang)
    address = loopback.url.removeprefix("http://")
    environment.update(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://user:CANARY-password@{address}/path?key=CANARY-query",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer CANARY-token",
        KEDRO_OTEL_SHIP="background",
    )
    path = project()
    if words[0] == "otel":
        subprocess.run(
            [BIN / "kedro", "run"],
            cwd=path,
            env={**environment, "KEDRO_OTEL_SHIP": "manual"},
            check=True,
            capture_output=True,
        )
    process = subprocess.Popen(
        [BIN / "kedro", *words],
        cwd=path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: loopback.of("traces", accepted=False))
    lines = [_text(entry / "cmdline") for entry in Path("/proc").glob("[0-9]*")]
    assert [line for line in lines if b"CANARY" in line] == []
    loopback.closing.set()
    out, err = process.communicate(timeout=60)
    assert "CANARY" not in out + err
    assert [
        found for found in home.rglob("*") if found.is_file() and b"CANARY" in found.read_bytes()
    ] == []
    header = loopback.of("traces", accepted=False)[0].headers["authorization"]
    assert header == "Bearer CANARY-token"
    figure(
        f"{len(lines)} command lines, {sum(1 for found in home.rglob('*') if found.is_file())} files, logs and stderr: 0 hits"
    )


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_proxy_is_used_and_gets_no_credential_of_its_own(
    project: Callable[..., Path],
    kedro: Callable[..., Any],
    environment: dict[str, str],
    loopback: Loopback,
    figure: Callable[[str], None],
) -> None:
    """With a proxy set the request goes through it and nowhere else; .netrc has no say in it."""
    netrc = Path(environment["HOME"]) / ".netrc"
    netrc.write_text(
        "".join(
            f"{who} login CANARY password CANARY\n"
            for who in ("machine 127.0.0.1", "machine collector.invalid", "default")
        )
    )
    netrc.chmod(0o600)
    environment.update(
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector.invalid:4318", KEDRO_OTEL_SHIP="manual"
    )
    environment.update(HTTP_PROXY=loopback.url, http_proxy=loopback.url)
    path = project()
    kedro("run", cwd=path)
    kedro("otel", "ship", cwd=path)
    assert loopback.total("kedro.commands") == 1
    assert [
        request
        for request in loopback.requests
        if any("CANARY" in value or "Q0FOQVJZ" in value for value in request.headers.values())
    ] == []
    assert {request.headers["host"] for request in loopback.requests} == {"collector.invalid:4318"}
    figure(f"{len(loopback.requests)} requests through the proxy, 0 credentials from .netrc")
