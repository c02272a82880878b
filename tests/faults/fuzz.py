"""Feed the segment reader, or the masking, with inputs that nobody would think of, guided by the coverage that they reach.

    python tests/faults/fuzz.py reader -runs=1000000
    python tests/faults/fuzz.py masking -runs=1000000

Needs ``atheris`` (Linux); ``make fuzz`` installs it. What is held is said in :func:`reader_holds` and :func:`masking_holds`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["kedro_otel"]):
    from kedro_otel.facts import masking, redaction
    from kedro_otel.recording import model, reader, scan
    from kedro_otel.semconv import measurements

FOLDER = Path(
    tempfile.mkdtemp(
        prefix="kedro-otel-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
    )
)
SEGMENT = FOLDER / "00000000000000000001-1-0123abcd.jsonl"
IDS = '"traceId":"0123456789abcdef0123456789abcdef","spanId":"0123456789abcdef"'
SEEDS = (
    (
        '{"kedro-otel":1,"segment":"s","process":"p","sequence":0,"pid":1,"bootId":"b","machineId":"m","startTimeUnixNano":"1","owner":"kedro-otel",'
        '"locked":true,"detail":"full","destination":null,"ephemeral":false,"resource":{"attributes":[{"key":"k","value":{"stringValue":"v"}}]}}\n'
    ),
    f'{{"start":"command",{IDS},"parentSpanId":"","name":"kedro run","kind":1,"startTimeUnixNano":"2","attributes":[]}}\n',
    f'{{"start":"node",{IDS},"name":"node \\ud800","startTimeUnixNano":"2","attributes":[{{"key":"i","value":{{"intValue":"9"}}}}],"flags":0}}\n',
    f'{{"end":"node",{IDS},"endTimeUnixNano":"3","status":{{"code":2}},"attributes":[{{"key":"d","value":{{"doubleValue":0.5}}}}],"events":[{{}}]}}\n',
    (
        f'{{"span":"dataset",{IDS},"name":"load a","startTimeUnixNano":"2","endTimeUnixNano":"3","status":{{}},'
        '"attributes":[{"key":"a","value":{"arrayValue":{"values":[{"boolValue":true}]}}}],"links":[{"traceId":"x"}],"traceState":"a=b"}\n'
    ),
    '{"drop":"0123456789abcdef"}\n{"owner":"user"}\n{"continued":"x"}\n{"lost":{"why":3}}\n',
)
EXACT = SEEDS[0].encode()


def reader_holds(data: bytes) -> None:
    """Whatever bytes are in a segment, reading raises SegmentError or gives operations that can be shown, folded and sent; neighbours survive."""
    if data[:1] >= b"\x80":
        data = EXACT + data[1:]
    SEGMENT.write_bytes(data)
    try:
        segment = reader.read(SEGMENT)
    except model.SegmentError:
        segment = None
    with contextlib.suppress(model.SegmentError):
        scan.glance(SEGMENT)
    if segment is None:
        return
    assert 0 <= segment.size <= len(data)
    assert all(count > 0 for count in (*segment.skipped.values(), *segment.lost.values()))
    for one in segment.operations:
        assert len(one.trace_id) == 32
        assert int(one.trace_id, 16)
        assert len(one.span_id) == 16
        assert int(one.span_id, 16)
        assert 0 <= one.start_ns < 2**63
        assert one.end_ns is None or one.start_ns <= one.end_ns < 2**63
        assert one.end_ns is not None or one.state in {"open", "unknown"}
        json.dumps([one.name, one.attributes, one.events, one.links]).encode()
        one.name.encode()
        for level in ("usage", "run", "full"):
            left = redaction.at(one, segment.header, level)
            if left is not None and left.end_ns is not None:
                list(measurements.measure(left, level))


def masking_holds(data: bytes) -> None:
    """Whatever is typed, only words of the commands' vocabulary are left of it."""
    text = data.decode("utf-8", "surrogateescape" if data[:1] < b"\x40" else "replace")
    words = text.split("\x1f")
    if len(words) > 1:
        words[0] = SORTED[ord(words[0][:1] or "\0") % len(SORTED)]
    masked = masking.mask(CLI, words)
    assert set(masked.words) <= VOCABULARY
    assert set(masked.name.split(" ")) <= VOCABULARY
    assert not masked.own


def vocabulary(command, found, click):
    """Collect every word of ``command`` and of the commands below it."""
    found.update(
        {command.name} if command.name else set(),
        (word for each in command.params for word in each.opts if word.startswith("-")),
    )
    if hasattr(command, "list_commands"):
        context = click.Context(command)
        for name in command.list_commands(context):
            vocabulary(command.get_command(context, name), found, click)


def main() -> None:
    """Fuzz what the first word says; the others are libFuzzer's."""
    global CLI, VOCABULARY, SORTED  # noqa: PLW0603 (a fuzzer calls a function of one argument)
    os.environ["KEDRO_OTEL_RAISE"] = "1"
    what = sys.argv.pop(1)
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    if what == "reader":
        for number in range(len(SEEDS)):
            (corpus / str(number)).write_text("".join(SEEDS[: number + 1]))
            (corpus / f"{number}-headed").write_bytes(b"\xff" + SEEDS[number].encode())
        holds = reader_holds
    else:
        import click
        from kedro.framework.cli.cli import cli, global_commands, project_commands
        from kedro.framework.cli.utils import CommandCollection

        CLI = CommandCollection(
            ("Global commands", [cli, global_commands]),
            ("Project specific commands", [project_commands]),
        )
        VOCABULARY = {"*****", "", "-h", "-v", "--help", "--version", *masking.STARTERS}
        vocabulary(CLI, VOCABULARY, click)
        SORTED = sorted(VOCABULARY)
        for number, word in enumerate(SORTED):
            (corpus / str(number)).write_text(
                f"{chr(number)}\x1f--starter=spaceflights-pandas\x1f{word}\x1fx=y"
            )
        holds = masking_holds
    atheris.Setup(
        [
            sys.argv[0],
            "-max_len=4096",
            "-timeout=20",
            "-rss_limit_mb=2048",
            "-print_final_stats=1",
            *sys.argv[1:],
            str(corpus),
        ],
        holds,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
