"""What a whole command takes: ``kedro --version``, ``kedro registry list`` the demo's ``kedro run``; beside the others, with every endpoint."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.endpoints import endpoint
from benchmarks.environments import ENVIRONMENTS, build, libraries
from benchmarks.processes import Contestant, Cost, once, rounds

ENDPOINTS = ("up", "refused", "hung", "slow")
OTHERS = ("vendor", "plain", "instrument", "psutil", "profile", "mlflow")


class Place:
    """A folder in which contestants run: for each a HOME of its own and, where asked for, a copy of the demo project."""

    def __init__(self, folder: Path) -> None:
        """Make the demo project once, to be copied."""
        self.folder = folder
        self.bins = {name: found for name, environment in ENVIRONMENTS.items() if (found := build(environment)) is not None}
        self.libraries = libraries()
        self.template = folder / "template"

    def demo(self) -> Path:
        """Return the demo project as ``kedro otel demo`` writes it, before any run."""
        if not self.template.exists():
            code = "from pathlib import Path; from kedro_otel.cli.demo import _write; _write(Path('template'))"
            environment = {**self._base(self.folder / "home" / "template"), "PYTHONPATH": str(self.libraries)}
            subprocess.run([str(self.bins["ours"] / "python"), "-c", code], cwd=self.folder, env=environment, check=True)
        return self.template

    def contestant(self, name: str, environment: str, words: Sequence[str], *, project: bool, more: Mapping[str, str] | None = None) -> Contestant:
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
        # OpenMP's threads would wait for each other on a busy machine: one each, and the run is the same everywhere.
        return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "KEDRO_OTEL_EPHEMERAL": "false"}


@contextlib.contextmanager
def measured(place: Place, words: Sequence[str], *, project: bool, others: bool, kinds: Sequence[str] = ENDPOINTS) -> Iterator[list[Contestant]]:
    """Yield the contestants of one command: Kedro alone first, then ours in every state, then the others."""
    with contextlib.ExitStack() as stack:
        urls = {kind: stack.enter_context(endpoint(kind)) for kind in dict.fromkeys([*kinds, "up", "refused"])}
        listed = [
            place.contestant("bare", "bare", words, project=project),
            place.contestant("ours", "ours", words, project=project),
            place.contestant("ours off", "ours", words, project=project, more={"KEDRO_OTEL_ENABLED": "false"}),
        ]
        listed += [
            place.contestant(f"ours {kind}", "ours", words, project=project, more={"OTEL_EXPORTER_OTLP_ENDPOINT": urls[kind]}) for kind in kinds
        ]
        if others:
            for name in OTHERS:
                if name not in place.bins:
                    continue
                more = (
                    {"OTEL_EXPORTER_OTLP_ENDPOINT": urls["up"], "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
                    if name in {"plain", "instrument"}
                    else {}
                )
                listed.append(place.contestant(name, name, words, project=project, more=more))
                if more:
                    refused = {**more, "OTEL_EXPORTER_OTLP_ENDPOINT": urls["refused"]}
                    listed.append(place.contestant(f"{name} refused", name, words, project=project, more=refused))
        yield listed


def measure(folder: Path, count: int) -> dict[str, Any]:
    """Return the raw costs of every command and contestant, ``count`` rounds each (the seven-second run: a third)."""
    found: dict[str, Any] = {}
    works = {
        "version": (("--version",), False, True, count),
        "registry list": (("registry", "list"), True, True, max(count // 2, 3)),
        "run": (("run",), True, True, max(count // 4, 3)),
    }
    for name, (words, project, others, times) in works.items():
        print(f"kedro {' '.join(words)}, {times} rounds")
        place = Place(folder / name.replace(" ", "-"))
        place.folder.mkdir(parents=True)
        with measured(place, words, project=project, others=others) as contestants:
            found[name] = {key: [cost._asdict() for cost in costs] for key, costs in rounds(_working(contestants), times).items()}
        shutil.rmtree(place.folder, ignore_errors=True)
    return found


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
