"""What a whole command takes: ``kedro --version``, ``kedro registry list`` the demo's ``kedro run``; beside the others, with every endpoint."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.endpoints import endpoint
from benchmarks.environments import ENVIRONMENTS, build, libraries
from benchmarks.processes import Contestant, Cost, once, rounds

ENDPOINTS = ("up", "refused", "hung", "slow")
SENDERS = ("plain", "instrument")
OTHERS = ("libraries", "vendor", "psutil", "profile", "mlflow")


class Place:
    """A folder in which contestants run: for each a HOME of its own and, where asked for, a copy of the demo project."""

    def __init__(self, folder: Path) -> None:
        """Build what is not built yet; the demo project is made once, when it is first asked for, and copied."""
        self.folder = folder
        folder.mkdir(parents=True)
        self.bins = {
            name: found
            for name, environment in ENVIRONMENTS.items()
            if (found := build(environment)) is not None
        }
        self.libraries = libraries()
        self.template = folder / "template"

    def demo(self) -> Path:
        """Return the demo project as ``kedro otel demo`` writes it, before any run."""
        if not self.template.exists():
            code = "from pathlib import Path; from kedro_otel.cli.demo import _write; _write(Path('template'))"
            environment = {
                **self._base(self.folder / "home" / "template"),
                "PYTHONPATH": str(self.libraries),
            }
            subprocess.run(
                [str(self.bins["ours"] / "python"), "-c", code],
                cwd=self.folder,
                env=environment,
                check=True,
            )
        return self.template

    def contestant(
        self,
        name: str,
        environment: str,
        words: Sequence[str],
        *,
        project: bool,
        more: Mapping[str, str] | None = None,
    ) -> Contestant:
        """Return ``kedro`` with ``words`` in the named environment, in an empty folder or in a copy of the demo project."""
        folder = self.folder / name.replace(" ", "-")
        if project:
            shutil.copytree(self.demo(), folder)
        else:
            folder.mkdir()
        home = self.folder / "home" / folder.name
        variables = {**self._base(home), **(more or {})}
        if project:
            variables["PYTHONPATH"] = str(self.libraries)
        found = self.bins[environment]
        prefix = [str(found / word) for word in ENVIRONMENTS[environment].prefix]
        return Contestant(name, [*prefix, str(found / "kedro"), *words], variables, folder)

    @staticmethod
    def _base(home: Path) -> dict[str, str]:
        home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",  # threads of OpenMP would wait for each other on a busy machine
            "KEDRO_OTEL_EPHEMERAL": "false",
            "KEDRO_OTEL_SHIP": "background",  # as where the machine stays: this one may be a container, where a command waits for its shipping
        }


WORKS: dict[str, tuple[str, ...]] = {
    "version": ("--version",),
    "registry": ("registry", "list"),
    "run": ("run",),
}
"""What is measured: the first in an empty folder, the others in the demo project."""


def measure(work: str, folder: Path, count: int) -> dict[str, Any]:
    """Return, for every contestant of one work, its raw costs and those of Kedro alone beside it, ``count`` rounds.

    What the others do when the connection is refused takes many seconds each time, so it gets five rounds of its own, with one command.
    """
    words = WORKS[work]
    with contextlib.ExitStack() as stack:
        urls = {kind: stack.enter_context(endpoint(kind)) for kind in ENDPOINTS}
        place = Place(folder)
        found = _block(
            _all(place, words, urls, project=work != "version"), count, f"kedro {' '.join(words)}"
        )
        if work == "version":
            refused = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": urls["refused"],
                "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            }
            listed = [place.contestant("bare again", "bare", words, project=False)]
            listed += [
                place.contestant(f"{name} refused", name, words, project=False, more=refused)
                for name in SENDERS
                if name in place.bins
            ]
            found |= _block(listed, 5, "the others, connection refused")
    return found


def _all(
    place: Place, words: Sequence[str], urls: Mapping[str, str], *, project: bool
) -> list[Contestant]:
    """Return the contestants of one command: Kedro alone first, then ours in every state, then the others as they are meant to be used."""
    listed = [
        place.contestant("bare", "bare", words, project=project),
        place.contestant("ours", "ours", words, project=project),
        place.contestant(
            "ours off", "ours", words, project=project, more={"KEDRO_OTEL_ENABLED": "false"}
        ),
    ]
    for kind, url in urls.items():
        listed.append(
            place.contestant(
                f"ours {kind}",
                "ours",
                words,
                project=project,
                more={"OTEL_EXPORTER_OTLP_ENDPOINT": url},
            )
        )
    up = {"OTEL_EXPORTER_OTLP_ENDPOINT": urls["up"], "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    others = [name for name in (*SENDERS, *OTHERS) if name in place.bins]
    return listed + [
        place.contestant(name, name, words, project=project, more=up if name in SENDERS else {})
        for name in others
    ]


def _block(contestants: Sequence[Contestant], times: int, what: str) -> dict[str, Any]:
    """Run the contestants in rounds; return each one's costs with those of the first beside them."""
    print(f"{what}, {times} rounds")
    taken = {
        name: [cost._asdict() for cost in found]
        for name, found in rounds(_working(contestants), times).items()
    }
    base = taken[contestants[0].name]
    return {name: {"mine": mine, "base": base} for name, mine in taken.items()}


def _working(contestants: Sequence[Contestant]) -> list[Contestant]:
    """Return those whose command works at all here, and say which does not: some of the others were written for an older Kedro."""
    working = []
    for contestant in contestants:
        try:
            once(contestant)
        except RuntimeError as error:
            print(f"  {contestant.name} does not work: {str(error).splitlines()[-1]}")
        else:
            working.append(contestant)
    return working


def costs(raw: Sequence[Mapping[str, float]]) -> list[Cost]:
    """Return the costs that were kept as JSON."""
    return [Cost(**one) for one in raw]
