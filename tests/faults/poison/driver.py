"""Runs scenarios in forked children of a process that has Kedro loaded already, one after the other, as lines of JSON say.

Each line: ``{"words": [...] | "script": "...", "env": {...}, "out": "path"}``. Answers with a line: the exit code.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import kedro.framework.cli.cli
import kedro.framework.cli.project
import kedro.framework.session
import kedro.runner
import kedro_datasets.json  # noqa: F401 (loaded once, for all)
import opentelemetry.sdk.trace  # noqa: F401
import sitecustomize


def child(job: dict) -> None:
    """Become the scenario's process."""
    os.environ.update(job["env"])
    os.environ.pop("POISON_DRIVER")
    os.dup2(os.open(job["out"] + ".out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    os.dup2(os.open(job["out"] + ".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sitecustomize.install()
    if "script" in job:
        sys.argv = ["script.py"]
        sys.modules["__main__"].__dict__["__file__"] = job["script"]
        exec(
            compile(Path(job["script"]).read_text(), job["script"], "exec"), {"__name__": "script"}
        )
    else:
        sys.argv = ["kedro", *job["words"]]
        kedro.framework.cli.cli.main()


for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        child(job)
        break
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 (the answer)
