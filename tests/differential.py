"""What a user can see of a run, taken down in the run and around it, so that two runs can be compared.

``observe.py`` is copied into a project and called by its nodes: children, descriptors, environment,
signals, threads and the rest of the process. :func:`files` tells every file of a folder as its owner
sees it. :class:`Differential` runs one program under a Python without this package and under one
with it, and returns every difference that is not in the state folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bare import normal

OBSERVE = Path(__file__).with_name("observe.py")
CARRIED = ("TRACEPARENT", "TRACESTATE", "BAGGAGE")
"""Variables that this package sets while a run is open, as its documents promise."""


class Seen(NamedTuple):
    """What one run showed: its end, its output, what its nodes observed, and what it did to files."""

    code: int | str
    out: str
    err: str
    observed: list[dict[str, Any]]
    changed: dict[str, Any]


def files(folder: Path, ignore: Sequence[Path] = ()) -> dict[str, tuple[Any, ...]]:
    """Return every entry below ``folder`` with what its owner can see of it; ``ignore`` is left out."""
    return dict(_entries(folder, folder, frozenset(map(str, ignore))))


def _entries(
    folder: Path, root: Path, ignore: frozenset[str]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for entry in os.scandir(folder):
        if entry.path in ignore or entry.name == "__pycache__":
            continue
        found = entry.stat(follow_symlinks=False)
        content = ""
        if stat.S_ISREG(found.st_mode):
            content = hashlib.sha256(Path(entry.path).read_bytes()).hexdigest()
        elif stat.S_ISLNK(found.st_mode):
            content = str(Path(entry.path).readlink())
        attributes = {}
        if hasattr(os, "listxattr"):
            attributes = {
                name: os.getxattr(entry.path, name, follow_symlinks=False)
                for name in os.listxattr(entry.path, follow_symlinks=False)
            }
        yield (
            str(Path(entry.path).relative_to(root)),
            (
                stat.filemode(found.st_mode),
                found.st_uid,
                found.st_gid,
                found.st_nlink if not stat.S_ISDIR(found.st_mode) else None,
                found.st_ino,
                content,
                attributes,
            ),
        )
        if stat.S_ISDIR(found.st_mode):
            yield from _entries(Path(entry.path), root, ignore)


def changes(
    before: Mapping[str, tuple[Any, ...]], after: Mapping[str, tuple[Any, ...]]
) -> dict[str, Any]:
    """Return what became of files between two calls of :func:`files`.

    A file that is new or gone is told with its mode and owner, one that was there with each of its
    properties that is another now. Contents that only one side wrote are compared by the caller.
    """
    found: dict[str, Any] = {}
    for path in before.keys() | after.keys():
        old, new = before.get(path), after.get(path)
        if old == new:
            continue
        if old is None or new is None:
            known = old or new
            assert known is not None
            found[path] = ("gone" if new is None else "new", *known[:4])
        else:
            words = ("mode", "owner", "group", "links", "inode", "content", "attributes")
            found[path] = [
                word for word, one, other in zip(words, old, new, strict=True) if one != other
            ]
    return found


class Differential:
    """Runs a program twice, without and with this package, each in a project and a home of its own.

    Args:
        pythons: The interpreter without this package, and the one with it, at one path in turn.
        make: Makes a project in a folder and returns its path.
        environment: What both runs get.
        folder: Where project and home are made; emptied before each run.
    """

    def __init__(
        self,
        pythons: Callable[[str], Path],
        make: Callable[[Path], Path],
        environment: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.pythons, self.make, self.environment, self.folder = pythons, make, environment, folder
        self.state = folder / "state"

    def run(
        self,
        which: str,
        words: Sequence[str],
        env: Mapping[str, str] = {},
        wrap: Sequence[str] = (),
        timeout: float = 60,
    ) -> Seen:
        """Run ``kedro`` with ``words`` and return what was seen; ``wrap`` is a program to run it by."""
        shutil.rmtree(self.folder, ignore_errors=True)
        home, seen = self.folder / "home", self.folder / "seen"
        home.mkdir(parents=True)
        (home / "notes.txt").write_text("the user's own\n")
        project = self.make(self.folder)
        shutil.copy(OBSERVE, project / "src" / project.name / "observe.py")
        ignore = (
            self.state,
            home / ".config" / "kedro" / "telemetry.toml",
            home / ".config" / "kedro",
            home / ".config",
        )
        before = [files(place, ignore) for place in (project, home)]
        environment = {
            **self.environment,
            "HOME": str(home),
            "KEDRO_OTEL_HOME": str(self.state),
            "OBSERVED": str(seen),
            **env,
        }
        kedro = self.pythons(which)
        process = subprocess.Popen(
            [*wrap, str(kedro.parent / "python"), str(kedro), *words],
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        code: int | str
        try:
            out, err = process.communicate(timeout=timeout)
            code = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate(timeout=timeout)
            code = "hangs"
        observed = (
            [json.loads(line) for line in seen.read_text().splitlines()] if seen.exists() else []
        )
        folders = (project, home, self.folder)
        after = [files(place, ignore) if place.exists() else {} for place in (project, home)]
        changed = {
            name: changes(*pair)
            for name, pair in zip(("project", "home"), zip(before, after, strict=True), strict=True)
        }
        return Seen(code, normal(out, *folders), _plain(err, folders), observed, changed)

    def differences(self, *words: str, **options: Any) -> tuple[list[str], Seen]:
        """Return what differs between the two runs, and what was seen with this package."""
        bare, ours = (self.run(which, words, **options) for which in ("bare", "ours"))
        found = [
            f"{name}: {getattr(bare, name)!r} without, {getattr(ours, name)!r} with"
            for name in ("code", "out", "err", "changed")
            if getattr(bare, name) != getattr(ours, name)
        ]
        if len(bare.observed) != len(ours.observed):
            found.append(f"observed {len(bare.observed)} times without, {len(ours.observed)} with")
        for one, other in zip(bare.observed, ours.observed, strict=False):
            found += [
                f"{other['where']}: {key}: {left!r} without, {right!r} with"
                for key in one.keys() | other.keys()
                if (left := one.get(key))
                != (right := self._without_ours(key, other.get(key), one.get(key)))
            ]
        return found, ours

    def _without_ours(self, key: str, value: Any, bare: Any) -> Any:
        """Return an observation without what this package is documented to add."""
        if key == "descriptors":
            return {
                number: target
                for number, target in value.items()
                if not (target.startswith(str(self.state)) and int(number) >= HIGH)
            }
        if key == "environment":
            return {
                name: word for name, word in value.items() if name not in CARRIED or name in bare
            }
        return value


HIGH = 64
"""No descriptor of this package's that lasts may have a lower number, where the limit allows it."""


def _plain(text: str, folders: Sequence[Path]) -> str:
    """Return stderr without the one documented line on what could not be recorded."""
    lines = normal(text, *folders).splitlines()
    return "\n".join(line for line in lines if not line.startswith("kedro-otel "))


def stop(processes: Sequence[int]) -> None:
    """Kill the processes with these ids, which the caller has started."""
    for number in processes:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue


def shippers(state: Path) -> list[int]:
    """Return the ids of the shippers that work for the state folder ``state`` (Linux)."""
    mark = f"KEDRO_OTEL_HOME={state}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line, environment = (
                (process / "cmdline").read_bytes(),
                (process / "environ").read_bytes(),
            )
        except OSError:
            continue
        if b"kedro-otel-shipper" in line and mark in environment:
            found.append(int(process.name))
    return found


PIPES = re.compile(r"^(pipe|socket|anon_inode):.*")
