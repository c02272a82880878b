"""Segments made by hand, line by line as docs/recording-format.md says: for tests of what reads them.

Deliberately not made with the package's own writer, so that reader and writer are each held to the document::

    tape = Tape(folder)
    run = tape.start("run", "run __default__", 0.5)
    tape.span("dataset", "load a", run, 0.6, 0.7)
    tape.end(run, 2.0)

Times are seconds after the tape's beginning.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import secrets
import time
from pathlib import Path
from typing import Any

from kedro_otel.recording import machine

SECOND = 10**9


class Tape:
    """One segment under construction; every call appends one line."""

    def __init__(
        self,
        folder: Path,
        at: int | None = None,
        *,
        trace: str | None = None,
        pid: int = 4711,
        **header: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.at = time.time_ns() - 3600 * SECOND if at is None else at
        self.trace = trace or secrets.token_hex(16)
        self.kinds: dict[str, str] = {}
        stem = f"{self.at:020d}-{pid}-{secrets.token_hex(4)}"
        self.path = folder / f"{stem}.jsonl"
        self._held = -1
        resource = header.pop(
            "resource",
            {"service.name": "kedro", "kedro.version": "1.7.0", "kedro.project.name": "demo"},
        )
        self.line(
            **{"kedro-otel": 1},
            segment=stem,
            **{
                "process": secrets.token_hex(8),
                "sequence": 0,
                "pid": pid,
                "bootId": machine.boot_id(),
                "machineId": machine.machine_id(),
                "startTimeUnixNano": str(self.at),
                "detail": "usage",
                "destination": None,
                "ephemeral": False,
                "owner": "kedro-otel",
                **header,
            },
            resource={"attributes": attributes(resource)},
        )

    def raw(self, data: bytes) -> None:
        """Append bytes as they are, and say that they were written a moment after the last second they tell of."""
        with self.path.open("ab") as file:
            file.write(data)

    def line(self, **fields: Any) -> None:
        """Append one line."""
        self.raw(json.dumps(fields, separators=(",", ":")).encode() + b"\n")

    def ns(self, seconds: float) -> int:
        """Return nanoseconds since the epoch."""
        return self.at + round(seconds * SECOND)

    def start(
        self,
        operation: str,
        name: str,
        at: float,
        parent: str = "",
        *,
        trace: str | None = None,
        span: str | None = None,
        **attrs: Any,
    ) -> str:
        """Begin a command, run or node; return its span id. ``kedro_node_name=…`` is the attribute ``kedro.node.name``."""
        span = span or secrets.token_hex(8)
        self.kinds[span] = operation
        self.line(
            start=operation,
            traceId=trace or self.trace,
            spanId=span,
            parentSpanId=parent,
            name=name,
            kind=1,
            startTimeUnixNano=str(self.ns(at)),
            attributes=attributes(dotted(attrs)),
        )
        return span

    def end(
        self,
        span: str,
        at: float,
        error: str | None = None,
        *,
        trace: str | None = None,
        more: dict[str, Any] | None = None,
        **attrs: Any,
    ) -> None:
        """End what :meth:`start` began; ``error`` is its type."""
        found = dotted(attrs) | ({"error.type": error} if error else {})
        self.line(
            end=self.kinds[span],
            traceId=trace or self.trace,
            spanId=span,
            endTimeUnixNano=str(self.ns(at)),
            status={"code": 2} if error else {},
            attributes=attributes(found),
            **(more or {}),
        )

    def span(
        self,
        operation: str,
        name: str,
        parent: str,
        begin: float,
        end: float,
        error: str | None = None,
        *,
        trace: str | None = None,
        more: dict[str, Any] | None = None,
        **attrs: Any,
    ) -> str:
        """Tell of a dataset operation or a foreign span; return its span id."""
        span = secrets.token_hex(8)
        self.line(
            span=operation,
            traceId=trace or self.trace,
            spanId=span,
            parentSpanId=parent,
            name=name,
            startTimeUnixNano=str(self.ns(begin)),
            endTimeUnixNano=str(self.ns(end)),
            attributes=attributes(dotted(attrs) | ({"error.type": error} if error else {})),
            status={"code": 2} if error else {},
            **{"kind": 1, **(more or {})},
        )
        return span

    def node(
        self,
        name: str,
        run: str,
        begin: float,
        load: float,
        compute: float,
        save: float,
        error: str | None = None,
        *,
        inputs: Any = (),
        outputs: Any = (),
        saved: dict[str, Any] | None = None,
        **attrs: Any,
    ) -> str:
        """Tell of a node that loads one dataset, computes, and saves one, each for so many seconds; return its span id.

        ``saved`` is what is known of the data that it saves.
        """
        node = self.start(
            "node",
            f"node {name}",
            begin,
            run,
            kedro_node_name=name,
            kedro_node_inputs=list(inputs),
            kedro_node_outputs=list(outputs),
            **attrs,
        )
        end = begin + load
        if load:
            dataset = inputs[0] if inputs else f"{name}_in"
            self.span(
                "dataset",
                f"load {dataset}",
                node,
                begin,
                end,
                kedro_dataset_name=dataset,
                kedro_dataset_operation="load",
                kedro_dataset_type="custom",
            )
        end += compute
        if save and not error:
            dataset = outputs[0] if outputs else f"{name}_out"
            self.span(
                "dataset",
                f"save {dataset}",
                node,
                end,
                end + save,
                kedro_dataset_name=dataset,
                kedro_dataset_operation="save",
                kedro_dataset_type="custom",
                **(saved or {}),
            )
            end += save
        times = {
            "kedro_node_load_duration": load,
            "kedro_node_compute_duration": compute,
            "kedro_node_save_duration": 0.0 if error else save,
        }
        where = (
            {"kedro_error_file_path": "src/demo/nodes.py", "kedro_error_line_number": 42}
            if error
            else {}
        )
        self.end(node, end, error, **times, **where)
        return node

    def live(self) -> None:
        """Hold the lock that says that the process lives: until :meth:`dead`, or this process ends."""
        self._held = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._held, fcntl.LOCK_EX)

    def dead(self) -> None:
        """Let go of the lock."""
        os.close(self._held)


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return attributes as OTLP/JSON spells them."""
    return [{"key": key, "value": value(found)} for key, found in values.items()]


def value(found: Any) -> dict[str, Any]:
    """Return one attribute's value as OTLP/JSON spells it."""
    if isinstance(found, bool):
        return {"boolValue": found}
    if isinstance(found, int):
        return {"intValue": str(found)}
    if isinstance(found, float):
        return {
            "doubleValue": found
            if math.isfinite(found)
            else {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(found)]
        }
    if isinstance(found, list):
        return {"arrayValue": {"values": [value(item) for item in found]}}
    return {"stringValue": str(found)}


def dotted(attrs: dict[str, Any]) -> dict[str, Any]:
    """Return keyword arguments as attribute keys."""
    return {key.replace("_", "."): found for key, found in attrs.items()}


def a_run(
    folder: Path,
    nodes: list[tuple[str, float, float, float]],
    *,
    at: int | None = None,
    pipeline: str = "__default__",
    run_id: str | None = None,
    error: tuple[str, str] | None = None,
    dies: bool = False,
    command: str | None = "kedro run",
    trace: str | None = None,
    attrs: dict[str, dict[str, Any]] | None = None,
) -> Tape:
    """Fabricate a whole run of nodes (name, seconds of load, compute, save), one after another.

    ``error`` names the node that fails and with what; ``dies``: the process is killed in the last node's function; ``attrs`` adds to
    :meth:`Tape.node`'s arguments by node.
    """
    tape = Tape(folder, at, trace=trace)
    top = (
        tape.start(
            "command",
            command,
            0,
            process_executable_name="kedro",
            process_pid=4711,
            kedro_command_line=command,
            kedro_command_name=command[6:],
        )
        if command
        else ""
    )
    clock = 0.4 if command else 0.0
    run = tape.start(
        "run",
        f"run {pipeline}",
        clock,
        top,
        kedro_pipeline_name=pipeline,
        kedro_run_id=run_id or f"run-{tape.trace[:6]}",
        kedro_runner_name="SequentialRunner",
        kedro_environment_name="local",
        kedro_run_node_count=len(nodes),
    )
    failed = None
    for index, (name, load, compute, save) in enumerate(nodes):
        more = {
            "inputs": [f"d{index}"],
            "outputs": [f"d{index + 1}"],
            **(attrs or {}).get(name, {}),
        }
        if dies and index == len(nodes) - 1:
            node = tape.start("node", f"node {name}", clock, run, kedro_node_name=name)
            tape.span(
                "dataset",
                f"load d{index}",
                node,
                clock,
                clock + load,
                kedro_dataset_name=f"d{index}",
                kedro_dataset_operation="load",
            )
            break
        failed = error[1] if error and error[0] == name else None
        tape.node(name, run, clock, load, compute, save, failed, **more)
        clock += load + compute + (0 if failed else save)
        if failed:
            break
    else:
        failed = None
    if not dies:
        tape.end(run, clock + 0.01, failed)
        if top:
            tape.end(top, clock + 0.05, failed, process_exit_code=1 if failed else 0)
        os.utime(tape.path, ns=(tape.ns(clock + 0.05), tape.ns(clock + 0.05)))
    else:
        os.utime(tape.path, ns=(tape.ns(clock + 0.1), tape.ns(clock + 0.1)))
    return tape
