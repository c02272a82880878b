"""Random histories of what happens to recordings, journals, hosts and clocks, and the check that nothing was miscounted.

A :class:`World` runs the real writer, the real journal and the real delivery in this process, on real files. What it
replaces is what no test can wait for or change: the clock, the machine's name, the receiver, and the moment of a kill.
The receiver accepts everything and remembers it. One history is one seed; the same seed is the same history::

    World(folder, seed).play(60)

Every segment holds one command with one run and some nodes, so that a segment is a command.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from kedro_otel.config import destination, paths, settings
from kedro_otel.recording import encoder, machine
from kedro_otel.recording.writer import Writer
from kedro_otel.shipping import shipper as shipper_module
from kedro_otel.shipping.process import environment, foreground
from kedro_otel.shipping.state import (
    dead_letters,
    destination_paths,
    journal,
    pruning,
    segment_feed,
)
from kedro_otel.shipping.transport.responses import Answer

SECOND = 10**9
ENDPOINT = "http://127.0.0.1:9"
AHEAD = 660 * SECOND
"""What a point may be ahead of the clock that its sender sees."""


class Killed(BaseException):
    """The process is gone, here and now."""


class Host:
    """A machine: what its system calls it, its present name, its present boot, and how wrong its clock is."""

    def __init__(self, number: int) -> None:
        self.system = f"system-{number}"
        self.name = f"host-{number}"
        self.boot = f"boot-{number}-0"
        self.boots = 0
        self.skew_ns = 0


class Home:
    """A state folder, and the hosts that use it."""

    def __init__(self, path: Path, hosts: list[Host]) -> None:
        self.path = path
        self.hosts = hosts

    def sends(self) -> bool:
        """Tell whether every host has gone on with a journal here: before, a copy cannot be told from its original."""
        found = [
            journal.load(path)
            for path in self.path.glob("destinations/*/journal-*.json")
            if not path.name.endswith(".before.json")
        ]
        return len(found) >= len(self.hosts) and not any(one.is_copy for one in found)


class Live:
    """A process that records: its writer, and what is open in it."""

    def __init__(self, home: Home, host: Host, writer: Writer, command: Command) -> None:
        self.home, self.host, self.writer, self.command = home, host, writer, command
        self.run = ""


class Command:
    """What was really run: a command, its run and its nodes, by their span ids."""

    def __init__(self, trace: str, span: str) -> None:
        self.trace, self.span = trace, span
        self.spans = {span}
        self.nodes = 0


class Point(NamedTuple):
    """One point that was accepted.

    ``ahead_ns`` is how far it was ahead of the sender's clock, ``latest_ns`` the latest time that any clock has told.
    """

    series: tuple[Any, ...]
    time_ns: int
    start_ns: int
    value: float
    ahead_ns: int
    latest_ns: int


class World:
    """Everything that a history can change.

    Args:
        folder: Empty, for all homes and backups.
        seed: Which history.
        kinds: Names of the events to draw from; all unless given.
    """

    def __init__(
        self, folder: Path, seed: int, patch: pytest.MonkeyPatch, kinds: tuple[str, ...] = ()
    ) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.patch = patch
        # never later than the files that it writes, whose times are the real clock's
        self.true_ns = 1_700_000_000 * SECOND + (seed % 1000) * 86400 * SECOND
        self.mono_ns = 10**12
        self.hosts = [Host(0)]
        self.homes = [Home(folder / "home-0", [self.hosts[0]])]
        self.host = self.hosts[0]
        self.commands: list[Command] = []
        self.live: list[Live] = []
        self.spans: Counter[str] = Counter()
        self.points: list[Point] = []
        self.latest_ns = 0
        self.mode = "ok"
        self.kill_in = -1
        self.fault_in = -1
        self.fault = errno.EIO
        self.stash: list[tuple[Path, Path]] = []
        self.backups: list[tuple[Path, Home]] = []
        self.links: list[Path] = []
        self.maybe_lost: set[str] = set()
        self.noticed = 0
        self.unsent = 0
        self.serial = 0
        self.noted = 0
        self.copied = False
        """Whether a state was copied or put back: once in a history, for of a copy of a copy nobody can tell whose it is."""
        self.log: list[str] = []
        self.kinds = kinds or tuple(WEIGHTS)
        self._patch()
        self.enter(self.homes[0], self.host)

    # --- what is replaced ---------------------------------------------------------------------------------------

    def _patch(self) -> None:
        set_ = self.patch.setattr
        set_(time, "time_ns", self.now)
        set_(time, "time", lambda: (self.true_ns + self.host.skew_ns) / SECOND)
        set_(time, "monotonic", lambda: self.mono_ns / SECOND)
        set_(time, "sleep", self.sleep)
        set_(machine, "since_boot_ns", lambda: self.mono_ns)
        set_(machine, "boot_id", lambda: self.host.boot)
        set_(machine, "system_id", lambda: self.host.system)
        set_(machine, "_linux_id", lambda: self.host.system)
        set_(machine, "_host_name", lambda: self.host.name)
        set_(machine, "certain", lambda: True)
        set_(environment, "in_container", lambda _: False)
        set_(os, "fsync", lambda _: None)
        set_(os, "getpid", lambda: 4711)
        set_(os, "urandom", random.Random(self.random.random()).randbytes)
        set_(shipper_module, "Sender", lambda name, *_: Sender(self, name))
        for module in (shipper_module, segment_feed, journal, dead_letters):
            set_(module, "reached", self.reached)
        for name in (
            "open",
            "read",
            "lstat",
            "stat",
            "fstat",
            "scandir",
            "rename",
            "replace",
            "link",
            "unlink",
            "write",
            "listdir",
        ):
            set_(os, name, self._faulty(name, getattr(os, name)))

    def _faulty(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self.fault_in >= 0:
                self.fault_in -= 1
                if self.fault_in < 0:
                    self.log.append(f"    {name}{args[:1]} -> {errno.errorcode[self.fault]}")
                    raise OSError(self.fault, os.strerror(self.fault))
            return real(*args, **options)

        return call

    def now(self) -> int:
        """Return what the clock of this host says."""
        now = self.true_ns + self.host.skew_ns
        self.latest_ns = max(self.latest_ns, now)
        return now

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.true_ns += int(seconds * SECOND)
        self.mono_ns += int(seconds * SECOND)

    def reached(self, name: str) -> None:
        """Die at a step of the shipper, if it is time."""
        if self.kill_in >= 0:
            self.kill_in -= 1
            if self.kill_in < 0:
                self.log.append(f"    killed at {name}")
                raise Killed

    def enter(self, home: Home, host: Host) -> None:
        """Be a process of ``host`` that uses ``home``."""
        self.host = host
        machine._known.clear()
        os.environ["KEDRO_OTEL_HOME"] = str(home.path)

    # --- what a user, a program and fate do ---------------------------------------------------------------------

    def play(self, steps: int) -> None:
        """Let ``steps`` random things happen, bring all to rest, and check."""
        weights = [WEIGHTS[kind] for kind in self.kinds]
        for _ in range(steps):
            (kind,) = self.random.choices(self.kinds, weights)
            if kind in COPIES and self.copied:
                continue
            self.log.append(kind)
            before = len(self.log), len(self.homes), self.serial, self.noted
            getattr(self, kind)()
            if kind in COPIES:
                self.copied = (len(self.log), len(self.homes), self.serial, self.noted) != before
            self.sleep(self.random.choice((0.003, 0.5, 5, 600)))
        self.rest()
        self.check()

    def place(self) -> tuple[Home, Host]:
        """Choose a home, and one of its hosts, and be there."""
        home = self.random.choice(self.homes)
        host = self.random.choice(home.hosts)
        self.enter(home, host)
        return home, host

    @property
    def known(self) -> settings.Settings:
        """Return the settings in force."""
        return settings.load(os.environ)

    @property
    def target(self) -> destination.Destination:
        """Return the destination in force."""
        found = destination.current(self.known, make_key=True)
        assert found is not None
        return found

    def begin(self) -> None:
        """Begin to record a command."""
        home, host = self.place()
        if len(self.live) < 4:
            self.live.append(self._begun(home, host))

    def _begun(self, home: Home, host: Host) -> Live:
        span, trace = os.urandom(8).hex(), os.urandom(16).hex()
        facts = {
            "detail": "run",
            "destination": self.target.id,
            "ephemeral": False,
            "generation": destination_paths.generation(self.target.id),
        }
        resource = {"service.name": "kedro", "kedro.version": self.random.choice(("1.0", "1.1"))}
        writer = Writer(paths.recordings(), resource, facts, lambda _: None)
        command = Command(trace, span)
        self.commands.append(command)
        self.log.append(f"    {span} in {writer.stem} {facts['generation']}")
        now = time.time_ns()
        writer.start(
            span,
            encoder.start(
                "command", trace, span, "", "kedro run", now, {"kedro.command.name": "run"}
            ),
        )
        live = Live(home, host, writer, command)
        live.run = os.urandom(8).hex()
        command.spans.add(live.run)
        writer.start(
            live.run,
            encoder.start("run", trace, live.run, span, "run p", now, {"kedro.pipeline.name": "p"}),
        )
        return live

    def _node(self, live: Live) -> None:
        span, now = os.urandom(8).hex(), time.time_ns()
        live.writer.start(
            span,
            encoder.start(
                "node", live.command.trace, span, live.run, "node n", now, {"kedro.node.name": "n"}
            ),
        )
        live.writer.end(span, encoder.end("node", live.command.trace, span, now, "[]", error=False))
        live.command.spans.add(span)
        live.command.nodes += 1

    def _end(self, live: Live) -> None:
        now = time.time_ns()
        for operation, span in (("run", live.run), ("command", live.command.span)):
            live.writer.end(
                span, encoder.end(operation, live.command.trace, span, now, "[]", error=False)
            )
        live.writer.close()

    def command(self) -> None:
        """Record a whole command."""
        home, host = self.place()
        live = self._begun(home, host)
        for _ in range(self.random.randrange(3)):
            self._node(live)
        self._end(live)

    def go_on(self) -> None:
        """Let a process that records run a node."""
        if self.live:
            live = self.random.choice(self.live)
            self.enter(live.home, live.host)
            self._node(live)

    def end(self) -> None:
        """End a process that records, or kill it."""
        if self.live:
            live = self.live.pop(self.random.randrange(len(self.live)))
            self.enter(live.home, live.host)
            if self.random.random() < 0.5:
                self._end(live)
            else:
                live.writer.abandon()

    def ship(self, *, everything: bool = False) -> None:
        """Deliver, as ``kedro otel ship`` and the detached process do."""
        self.place()
        self._deliver(everything=everything)

    def _deliver(self, *, everything: bool = False) -> None:
        with contextlib.suppress(OSError):
            foreground.deliver(self.known, self.target, everything=everything)

    def ship_everything(self) -> None:
        """Deliver from one of several hosts what all of them recorded."""
        home, _ = self.place()
        if len(home.hosts) > 1:
            self._deliver(everything=True)

    def ship_and_die(self) -> None:
        """Deliver, and be killed at some step."""
        self.place()
        self.kill_in = self.random.randrange(40)
        with contextlib.suppress(Killed):
            self._deliver()
        self.kill_in = -1

    def ship_with_a_fault(self) -> None:
        """Deliver while one system call fails."""
        self.place()
        self.fault = self.random.choice(
            (errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENOENT, errno.ENOSPC)
        )
        self.fault_in = self.random.randrange(120)
        self._deliver()
        self.fault_in = -1

    def prune(self) -> None:
        """Apply bounds that bite."""
        self.place()
        os.environ["KEDRO_OTEL_MAX_SEGMENTS"] = "3"
        with contextlib.suppress(OSError):
            pruning.prune(self.known)
        del os.environ["KEDRO_OTEL_MAX_SEGMENTS"]

    def answer(self) -> None:
        """Change how the receiver answers."""
        self.mode = self.random.choice(("ok", "ok", "away", "lost answer", "refuses"))

    def move_away(self) -> None:
        """Move some recordings elsewhere."""
        home = self.random.choice(self.homes)
        for path in sorted((home.path / "recordings").glob("0*.jsonl")):
            if self.random.random() < 0.5:
                self.serial += 1
                aside = self.folder / f"aside-{self.serial}"
                path.rename(aside)
                self.stash.append((aside, path))

    def move_back(self) -> None:
        """Move back what was moved away; sometimes to another name."""
        stash, self.stash = self.stash, []
        for aside, path in stash:
            if path.parent.is_dir():
                if self.random.random() < 0.2 and aside.stat().st_nlink == 1:
                    aside.rename(self._other_name(path))
                else:
                    aside.rename(path)
            else:
                self.stash.append((aside, path))

    def copy_a_recording(self) -> None:
        """Leave a copy of a recording beside it, under a name of its own."""
        home = self.random.choice(self.homes)
        found = sorted((home.path / "recordings").glob("0*.jsonl"))
        if found:
            path = self.random.choice(found)
            shutil.copy2(path, self._other_name(path))

    def _other_name(self, path: Path) -> Path:
        """Return another name that a segment could have."""
        return path.with_name(f"{path.stem[:-8]}{self.random.getrandbits(32):08x}.jsonl")

    def link(self) -> None:
        """Make a backup of hard links."""
        home = self.random.choice(self.homes)
        if home.path.exists():
            self.serial += 1
            copy = self.folder / f"links-{self.serial}"
            shutil.copytree(home.path, copy, copy_function=os.link)
            self.links.append(copy)

    def unlink(self) -> None:
        """Remove a backup of hard links."""
        if self.links:
            shutil.rmtree(self.links.pop())

    def back_up(self) -> None:
        """Copy a home."""
        home = self.random.choice(self.homes)
        if home.sends():
            self.serial += 1
            copy = self.folder / f"backup-{self.serial}"
            _copied(home.path, copy)
            self.backups.append((copy, home))

    def restore(self) -> None:
        """Put a whole home back as it was."""
        if not self.backups:
            return
        copy, home = self.random.choice(self.backups)
        self._note(home)
        kept = {path.name for path in (copy / "recordings").glob("0*.jsonl")}
        for live in [one for one in self.live if one.home is home]:
            live.writer.abandon()
            self.live.remove(live)
        for path in (home.path / "recordings").glob("0*.jsonl"):
            # what is gone may or may not have arrived; so may what the copy has only the beginning of
            old = copy / "recordings" / path.name
            if path.name not in kept or old.stat().st_size < path.stat().st_size:
                self.maybe_lost.update(
                    one.span for one in self.commands if one.span in path.read_text()
                )
        shutil.rmtree(home.path)
        _copied(copy, home.path)

    def restore_journals(self) -> None:
        """Put the journals of a home back as they were, and leave its recordings."""
        found = [(copy, home) for copy, home in self.backups if (copy / "destinations").exists()]
        if found:
            copy, home = self.random.choice(found)
            self._note(home)
            shutil.rmtree(home.path / "destinations", ignore_errors=True)
            _copied(copy / "destinations", home.path / "destinations")

    def restore_recordings(self) -> None:
        """Put back recordings that are not there any more, as a backup has them."""
        found = [(copy, home) for copy, home in self.backups if (copy / "recordings").exists()]
        if found:
            copy, home = self.random.choice(found)
            (home.path / "recordings").mkdir(exist_ok=True, parents=True)
            for path in (copy / "recordings").glob("0*.jsonl"):
                if not (home.path / "recordings" / path.name).exists():
                    shutil.copy2(path, home.path / "recordings" / path.name)

    def clone(self) -> None:
        """Copy a home to another place on the same machine, and use both."""
        if len(self.homes) < 3:
            home = self.random.choice(self.homes)
            if home.sends():
                fresh = Home(self.folder / f"home-{len(self.homes)}", list(home.hosts))
                _copied(home.path, fresh.path)
                self.homes.append(fresh)

    def clone_to_a_host(self) -> None:
        """Copy a home to another machine, and use both."""
        if len(self.homes) < 3:
            home = self.random.choice(self.homes)
            if home.sends():
                host = Host(len(self.hosts))
                self.hosts.append(host)
                fresh = Home(self.folder / f"home-{len(self.homes)}", [host])
                _copied(home.path, fresh.path)
                self.homes.append(fresh)

    def move_home(self) -> None:
        """Move a home to another disk."""
        home = self.random.choice(self.homes)
        if home.sends() and not any(live.home is home for live in self.live):
            self.serial += 1
            path = self.folder / f"moved-{self.serial}"
            _copied(home.path, path)
            shutil.rmtree(home.path)
            home.path = path
            self.backups = [found for found in self.backups if found[1] is not home]
            self.stash = [(aside, path / "recordings" / place.name) for aside, place in self.stash]

    def share(self) -> None:
        """Let another machine use a home too (NFS)."""
        home = self.random.choice(self.homes)
        if len(home.hosts) < 2:
            host = Host(len(self.hosts))
            self.hosts.append(host)
            home.hosts.append(host)

    def rename_host(self) -> None:
        """Give a machine another name."""
        self.serial += 1
        self.random.choice(self.hosts).name = f"renamed-{self.serial}"

    def reboot(self) -> None:
        """Crash a machine: all that runs on it is gone."""
        host = self.random.choice(self.hosts)
        host.boots += 1
        host.boot = f"{host.system}-{host.boots}"
        for live in [one for one in self.live if one.host is host]:
            live.writer.abandon()
            self.live.remove(live)

    def set_clock(self) -> None:
        """Set the clock of a machine."""
        days = self.random.choice((0, 0, 1, -1, 30, 0.1, -0.1, 1 / 1440, -1 / 1440))
        self.random.choice(self.hosts).skew_ns = int(days * 86400 * SECOND)

    def give_away(self) -> None:
        """Give some recordings to another user, and later all back."""
        home = self.random.choice(self.homes)
        for path in (home.path / "recordings").glob("0*.jsonl"):
            os.chown(path, self.random.choice((0, 0, 4711)), -1)

    # --- the end ------------------------------------------------------------------------------------------------

    def _note(self, home: Home) -> None:
        """Remember what a journal says it left out, before it is overwritten."""
        self.noted += 1
        for path in home.path.glob("destinations/*/journal-*.json"):
            if "before" not in path.name:
                found = journal.load(path)
                counts = found.counts
                if any(one.pending for one in found.streams()):
                    self.noticed += 1000  # what it counted and had not sent goes with it
                self.noticed += sum(counts[word] for word in NOTICED)
                self.unsent += counts["recordings dropped unsent"]
                self.noticed += 1000 * counts["counters taken for sent"]

    def rest(self) -> None:
        """Bring everything back, end what runs, and deliver all."""
        self.mode, self.kill_in, self.fault_in = "ok", -1, -1
        for live in self.live:
            self.enter(live.home, live.host)
            self._end(live)
        self.live = []
        for host in self.hosts:
            host.skew_ns = 0
        self.true_ns += 40 * 86400 * SECOND
        self.mono_ns += 40 * 86400 * SECOND
        while self.stash:
            self.move_back()
        for home in self.homes:
            for path in (home.path / "recordings").glob("0*.jsonl"):
                os.chown(path, 0, -1)
        for _ in range(2):
            for home in self.homes:
                for host in home.hosts:
                    self.enter(home, host)
                    done = foreground.deliver(self.known, self.target)
                    self.log.append(f"rest: {home.path.name} {host.name} {done}")
        for home in self.homes:
            self._note(home)

    def check(self) -> None:
        """Compare what the receiver has with what was run. Raises AssertionError with the history."""
        found = self.problems()
        assert not found, "\n".join([*found, *self.log])

    def problems(self) -> list[str]:
        """Return what is wrong, one sentence each."""
        known = {span for one in self.commands for span in one.spans}
        foreign = set(self.spans) - known
        wrong = [f"{len(foreign)} spans of nobody"] if foreign else []
        missing = [
            one.span
            for one in self.commands
            if one.span not in self.spans and one.span not in self.maybe_lost
        ]
        if len(missing) > self.unsent:
            wrong.append(f"spans are missing, {self.unsent} were dropped: {missing}")
        series: dict[tuple[Any, ...], list[Point]] = defaultdict(list)
        for point in self.points:
            series[point.series].append(point)
            # only the rest of a stream that may have been there already, from when the clock was wrong
            if point.ahead_ns > AHEAD and point.time_ns > point.latest_ns + SECOND:
                seconds = point.ahead_ns / SECOND
                wrong.append(f"{point.series} was sent {seconds} s ahead of the clock")
        increase: Counter[str] = Counter()
        last: Counter[str] = Counter()
        for (metric, *_), points in series.items():
            points.sort(key=lambda point: point.time_ns)
            wrong += _falls(points)
            increase[metric] += sum(
                max(later.value - earlier.value, 0) for earlier, later in pairwise(points)
            )
            last[metric] += points[-1].value
        return wrong + self._miscounted("increase", increase) + self._miscounted("last value", last)

    def _miscounted(self, what: str, counted: Counter[str]) -> list[str]:
        truth, lost = len(self.commands), len(self.maybe_lost)
        commands, nodes = counted["kedro.commands"], counted["kedro.node.runs"]
        wrong = []
        if not truth - lost - self.noticed <= commands <= truth:
            wrong.append(
                f"{what}: {commands} commands of {truth}, {lost} lost, {self.noticed} noticed"
            )
        ran = sum(one.nodes for one in self.commands)
        if not lost and not self.noticed and nodes != ran:
            wrong.append(f"{what}: {nodes} nodes of {ran}")
        return wrong


def _falls(points: list[Point]) -> list[str]:
    """Return what is wrong with the points of one series, in the order of their times."""
    first = points[0]
    wrong = [f"{first.series} does not begin at 0"] if first.value else []
    wrong += [
        f"{one.series} begins after its point" for one in points if one.start_ns > one.time_ns
    ]
    for earlier, later in pairwise(points):
        if later.value < earlier.value:
            wrong.append(f"{first.series} fell from {earlier.value} to {later.value}")
        if later.time_ns == earlier.time_ns and later.value != earlier.value:
            wrong.append(f"{first.series} has two values at one time")
    return wrong


NOTICED = (
    "recordings taken for counted",
    "recordings too old to be told from counted ones",
    "lines damaged",
)

COPIES = ("restore", "restore_journals", "clone", "clone_to_a_host", "move_home")
"""Events after which two states have one past."""

WEIGHTS = {
    "command": 20,
    "begin": 6,
    "go_on": 6,
    "end": 6,
    "ship": 14,
    "ship_everything": 2,
    "ship_and_die": 6,
    "ship_with_a_fault": 8,
    "prune": 3,
    "answer": 5,
    "move_away": 2,
    "move_back": 3,
    "copy_a_recording": 2,
    "link": 2,
    "unlink": 2,
    "back_up": 3,
    "restore": 2,
    "restore_journals": 2,
    "restore_recordings": 2,
    "clone": 1,
    "clone_to_a_host": 1,
    "move_home": 1,
    "share": 1,
    "rename_host": 2,
    "reboot": 2,
    "set_clock": 3,
    "give_away": 1,
}


class Sender:
    """Stands for the way to a receiver that accepts everything that reaches it."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name

    def spans(self, spans: Any) -> Answer:
        """Take spans."""
        return self._answered(lambda: self.world.spans.update(_ids(spans)))

    def metrics(self, data: Any) -> Answer:
        """Take points."""
        points = list(_points(data, self.world.latest_ns))
        return self._answered(lambda: self.world.points.extend(points))

    def close(self) -> None:
        """Nothing is open."""

    def _answered(self, accept: Callable[[], None]) -> Answer:
        mode = self.world.mode
        if mode in ("ok", "lost answer"):
            accept()
        if mode == "ok":
            return Answer(journal.OK)
        if mode == "refuses":
            return Answer(journal.HOLD, "403", 403)
        return Answer(journal.RETRY, "no answer", None)


def _ids(spans: Any) -> Iterator[str]:
    for span in spans:
        yield f"{span.context.span_id:016x}"


def _points(data: Any, latest_ns: int) -> Iterator[Point]:
    for resource in data.resource_metrics:
        instance = resource.resource.attributes["service.instance.id"]
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    value = getattr(point, "count", None)
                    yield Point(
                        (metric.name, instance, tuple(sorted(point.attributes.items()))),
                        point.time_unix_nano,
                        point.start_time_unix_nano,
                        point.value if value is None else value,
                        point.time_unix_nano - time.time_ns(),
                        latest_ns,
                    )


def _copied(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)
