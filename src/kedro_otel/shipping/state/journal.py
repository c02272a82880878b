"""What one receiver has been sent: a small file per destination, replaced in one step, never half written.

Two independent cursors per segment: ``spans`` is the offset up to which a receiver has acknowledged the spans, ``folded``
the offset up to which its operations are in the totals. Offset and totals are committed together, so each operation is
counted once, whenever this process dies. Spans that were acknowledged but not committed are sent again, with the same
ids. The commit before the last is kept: if the journal is damaged, that one is just as consistent, only older.

A segment is known by its id, and remembered after its file is gone (:mod:`.tombstones`). A journal is good for one line of
commits, its *generation*: one that turns out to be a copy (:mod:`.birth`) begins another, whose streams have ids of their
own and start at 0, so that sums stay true whatever the original has sent, or still sends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.config import files
from kedro_otel.facts import redaction
from kedro_otel.recording import decoder, encoder
from kedro_otel.semconv import names
from kedro_otel.shipping.failpoints import reached
from kedro_otel.shipping.state import aggregation, birth
from kedro_otel.shipping.state.destination_paths import COPY
from kedro_otel.shipping.state.tombstones import Tombstones

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kedro_otel.recording.model import Header

FORMAT: Final = 1
SIGNALS: Final = ("traces", "metrics", "logs")
OK, RETRY, HOLD, REJECT, WITHDRAWN = "ok", "retry", "hold", "reject", "withdrawn"
"""How the last answer for a signal was: accepted; to be tried again; to be tried again when something changed; refused for good; not asked,
since nothing may leave any more, or less than this (no answer, and never written)."""
DOUBT: Final = "doubt"
"""A refusal that a proxy may have given in passing: tried again for hours before it counts as final."""

_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)

MAX_RESOURCES: Final = 256
"""Totals kept at a time; beyond, those fully sent and longest unchanged are forgotten. What comes back begins a new stream at 0."""


MAX_MISSING: Final = 2000
"""Segments remembered that are not finished and whose files are not there."""

MAX_CLOSING: Final = 64
"""Streams that came to an end and still have something to send."""

MAX_COPIES: Final = 8
"""Times in a row that a journal seems to be a copy, after which it is the file system that does not keep its inodes."""

_WAITS: Final = (0.01, 0.05, 0.2, 0.5)
"""Seconds to wait after each reading that failed."""

BEFORE: Final = "before"
"""Stands among former generations for what was recorded before there was a journal."""

UNDONE, NOT_OURS, TAKEN = -1, -2, -3
"""In place of a cursor's size: something is left to do; the segment is not shipped with this journal; something is left to
send, and what the segment holds when it is next read is taken for counted."""


class Cursor:
    """How far one segment has been read, folded and shipped, in bytes.

    ``dead`` are the span ids that were judged dead, folded and shipped as such: whatever the segment says of them later
    is ignored. ``size`` is the size at which nothing was left to do, or UNDONE, or NOT_OURS; with nothing folded, the size
    at which the file was no segment.
    """

    __slots__ = ("dead", "dead_shipped", "folded", "size", "spans")

    def __init__(self) -> None:
        """Begin at the beginning."""
        self.spans = 0
        self.folded = 0
        self.size = UNDONE
        self.dead: list[str] = []
        self.dead_shipped: list[str] = []

    @property
    def done(self) -> bool:
        """Whether nothing is left to do, and something was done."""
        return self.size >= 0 and self.folded > 0

    def learn(self, other: Cursor) -> None:
        """Know what ``other``, a cursor of the same segment, knows."""
        self.spans = max(self.spans, other.spans)
        self.folded = max(self.folded, other.folded)
        self.dead += [one for one in other.dead if one not in self.dead]
        self.dead_shipped += [one for one in other.dead_shipped if one not in self.dead_shipped]
        if other.done:
            self.size = max(self.size, other.size)


class Signal:
    """Answers for one signal: the last one, in how many attempts it was not an acceptance, and when to try again (ns since 1970).

    ``environment`` is the Python environment that could not send at all, "" where a receiver answered, or did not.
    """

    __slots__ = ("environment", "failures", "next_ns", "since_ns", "state", "why")

    def __init__(self) -> None:
        """Begin without a complaint."""
        self.state = OK
        self.why = ""
        self.failures = 0
        self.next_ns = 0
        self.since_ns = 0
        self.environment = ""

    def ready(self, now_ns: int) -> bool:
        """Return whether sending may be tried. A clock set back by more than any back-off does not make it wait for ever.

        What one environment cannot send, another may.
        """
        if self.environment not in ("", sys.prefix):
            return True
        return now_ns >= self.next_ns or self.next_ns - now_ns > 2 * 3600 * aggregation.SECOND


class Journal:
    """State of one destination on this machine.

    ``address`` is the receiver's, without credentials; ``counts`` are what was sent and lost, by word; ``note`` says what was
    wrong with the file. ``closing`` are streams that came to an end and still have something to send. ``generation`` and
    ``sequence`` tell which line of commits this is, and how long it is; ``left`` are former generations, each with the number
    of commits beyond which its recordings are taken for counted, ``marks`` copies that this one went on from.
    ``elsewhere`` is what other machines' journals say of segments; it is not written.
    ``adopted`` are segments that were recorded for another destination and go here, ``details`` says at which detail each
    stream was counted. ``logs`` is the offset up to which the log records of a segment have gone, or were passed over.
    """

    def __init__(self, path: Path) -> None:
        """Begin empty; :func:`load` reads what is there."""
        self.path = path
        self.segments: dict[str, Cursor] = {}
        self.totals: dict[str, aggregation.Totals] = {}
        self.signals = {name: Signal() for name in SIGNALS}
        self.counts: Counter[str] = Counter()
        self.address = ""
        self.folded_before_ns = 0
        self.note = ""
        self.closing: list[aggregation.Totals] = []
        self.gone = Tombstones()
        self.generation = os.urandom(8).hex()
        self.sequence = 0
        self.left: dict[str, int] = {}
        self.marks: list[str] = []
        self.elsewhere: dict[str, Cursor] = {}
        self._left_elsewhere: dict[str, int] = {}
        self._marks_elsewhere: list[str] = []
        self.readable = True
        self.newer = False
        self.copies = 0
        self.adopted: set[str] = set()
        self.details: dict[str, str] = {}
        self.projects: dict[str, str] = {}
        self.logs: dict[str, int] = {}
        self.is_copy = False
        self.inode = 0
        self._certificate = ""
        self._folder = ""
        self._kept_only = False
        self._written = self._before = b""

    def cursor(self, segment: str) -> Cursor:
        """Return the cursor of ``segment``, a new one if it has none."""
        found = self.segments.get(segment)
        if found is None:
            found = self.segments[segment] = Cursor()
            if segment in self.elsewhere:
                found.learn(self.elsewhere[segment])
        return found

    def resource(self, attributes: Mapping[str, Any], now_ns: int) -> aggregation.Totals:
        """Return the totals of the resource that has ``attributes``, new ones if it has none."""
        key = aggregation.resource_key(attributes)
        found = self.totals.get(key)
        if found is None:
            self._make_room()
            given = str(attributes.get(names.SERVICE_INSTANCE_ID, ""))
            instance = given if given.startswith(names.RUN_INSTANCE) else instance_id()
            found = self.totals[key] = aggregation.Totals(attributes, instance, now_ns)
        return found

    def streams(self) -> list[aggregation.Totals]:
        """Return all streams: those that came to an end first."""
        return [*self.closing, *self.totals.values()]

    def missing(self, present: set[str]) -> None:
        """Remember in short what is done of the segments that are not among ``present``, the ones that are there."""
        self.logs = {segment: at for segment, at in self.logs.items() if segment in present}
        absent = [segment for segment in self.segments if segment not in present]
        unfinished = []
        for segment in absent:
            cursor = self.segments[segment]
            if cursor.done:
                self.gone.add(segment)
            elif cursor.folded or cursor.spans:
                unfinished.append(segment)
                continue
            del self.segments[segment]
        for segment in sorted(unfinished)[: max(len(unfinished) - MAX_MISSING, 0)]:
            self.gone.add(segment)
            del self.segments[segment]

    def deleted(self, segment: str) -> None:
        """Remember in short a segment whose file was removed on purpose: nothing more of it is to be counted or sent."""
        if self.segments.pop(segment, None) is not None:
            self.gone.add(segment)

    def counted_before(self, generation: str) -> bool:
        """Return whether what was recorded in a generation is taken for counted, where this journal does not know it.

        Args:
            generation: As a recording carries it, ``id:number``.
        """
        left = {**self._left_elsewhere, **self.left}
        if generation.startswith(COPY):
            marks = (*self.marks, *self._marks_elsewhere)
            return COPY in left and generation not in marks
        name, _, sequence = generation.partition(":")
        if not name:  # before there was a journal
            return BEFORE in self.left
        return name in left and sequence.isdecimal() and int(sequence) > left[name]

    def learn(self, other: Journal) -> None:
        """Know what another machine's journal of this destination says of segments, for as long as this object lives."""
        for segment, cursor in other.segments.items():
            if not cursor.folded and not cursor.spans:
                continue
            self.elsewhere.setdefault(segment, Cursor()).learn(cursor)
            if segment in self.segments:
                self.segments[segment].learn(cursor)
        self.gone.update(other.gone)
        self._left_elsewhere.update(other.left)
        self._marks_elsewhere += other.marks
        if other.is_copy:
            self._marks_elsewhere.append(other.mark)
            self._left_elsewhere[other.generation] = (
                -1 if other.counted_elsewhere else other.sequence
            )

    @property
    def mark(self) -> str:
        """What recordings carry that are made beside this journal while it is a copy that nobody went on with."""
        return f"{COPY}{self.inode}"

    @property
    def counted_elsewhere(self) -> bool:
        """Whether somebody else counts what this journal, a copy, does not know: not where a folder was moved."""
        moved = self._folder != str(self.path.parent)
        return not moved or _original(self, self.path.name)

    def detail_of(self, totals: aggregation.Totals) -> str:
        """Return the widest detail at which a stream was counted; what an older version counted is known by its resource."""
        plain = redaction.resource_at(totals.attributes, names.USAGE) == totals.attributes
        return self.details.get(totals.instance, names.USAGE if plain else names.FULL)

    def counted(self, totals: aggregation.Totals, detail: str, project: str = "") -> None:
        """Remember that something of a project was counted in a stream at ``detail``; what several count is nobody's."""
        self.projects[totals.instance] = (
            project if self.projects.get(totals.instance, project) == project else ""
        )
        before = self.details.get(totals.instance, names.USAGE)
        self.details[totals.instance] = max(before, detail, key=names.DETAILS.index)

    def wants(self, header: Header, destination: str) -> bool:
        """Return whether a segment is of the destination with this id, or was given to it."""
        return header.destination == destination or header.segment in self.adopted

    def adopt(self, segments: Iterable[str], other: Journal) -> None:
        """Take ``segments`` and what the receiver lacks of counters from ``other``, which sends them no more."""
        for segment in segments:
            self.cursor(segment)
            if self.segments[segment].size == NOT_OURS:
                self.segments[segment].size = UNDONE
            if segment in other.segments and other.segments[segment].size != NOT_OURS:
                self.segments[segment].learn(other.segments[segment])
            if segment in other.logs:
                self.logs[segment] = max(self.logs.get(segment, 0), other.logs[segment])
            self.adopted.add(segment)
        self.details = {**other.details, **self.details}
        self.projects = {**other.projects, **self.projects}
        known = {totals.instance for totals in self.streams()}
        self.closing += [
            totals for totals in other.streams() if totals.pending and totals.instance not in known
        ]

    def give(self, segments: Iterable[str]) -> None:
        """Send ``segments`` and what is counted so far no more: another journal took them."""
        for segment in segments:
            self.segments[segment] = Cursor()
            self.segments[segment].size = NOT_OURS
            self.adopted.discard(segment)
        self.closing = []
        for key in [key for key, totals in self.totals.items() if totals.pending]:
            del self.totals[key]

    def retire(self, key: str, now_ns: int, *, counted: bool = False) -> None:
        """End the stream of a resource; what is counted from now on goes to a new one, which starts at 0.

        What the receiver lacks of the old one is sent as of the time of its last points: harmless where somebody else has
        sent more since.

        Args:
            key: Of the resource.
            now_ns: When the new stream begins, in nanoseconds since 1970.
            counted: Whether somebody else goes on with the old stream, or has: then a series that was never sent from
                here is taken for sent, since its first point, of 0, would come after theirs.
        """
        old = self.totals.pop(key)
        fresh = aggregation.Totals(old.attributes, instance_id(), now_ns)
        fresh.sizes_from(old)
        self.totals[key] = fresh
        if counted:
            self.counts["counters taken for sent"] += old.forget_unsent()
        if old.pending:
            old.end(1000 if counted else aggregation.STEP)
            self.closing.append(old)
            if len(self.closing) > MAX_CLOSING:
                self.closing.pop(0)
                self.counts["resources forgotten"] += 1

    def commit(self, *, twice: bool = False) -> None:
        """Put the state on disk in one step, unless it is there.

        Args:
            twice: Whether the commit before the last is to be the same: before something goes of which both speak.

        Raises:
            OSError: It cannot be written, and the old state is as it was; FileNotFoundError after a purge.
        """
        body = json.dumps(_dump(self), separators=(",", ":")).encode()
        if body != self._written:
            self._write(body)
        if twice and body != self._before:
            self._write(body)

    def _write(self, body: bytes) -> None:
        temporary = self.path.with_suffix(".new")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)  # a file of its own each time: that is what a copy is told by
        descriptor = os.open(temporary, _WRITE, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            self._certificate = birth.certificate(descriptor)
            self._folder = str(self.path.parent)
            head = json.dumps(
                {
                    "kedro-otel-journal": FORMAT,
                    "sha256": hashlib.sha256(body).hexdigest(),
                    "generation": self.generation,
                    "sequence": self.sequence + 1,
                    "file": self._certificate,
                    "folder": self._folder,
                },
            )
            file.write(encoder.sealed(head.encode() + b"\n") + body + b"\n")
            file.flush()
            os.fsync(file.fileno())
        reached("journal written")
        _put_aside(self.path)
        if not self._kept_only:
            _keep(self.path)
        reached("journal kept")
        os.replace(temporary, self.path)
        self.sequence += 1
        self._kept_only = False
        reached("journal replaced")
        _sync_folder(self.path.parent)
        self._before, self._written = self._written, body

    def _make_room(self) -> None:
        if len(self.totals) < MAX_RESOURCES:
            return
        sent = sorted(
            (totals.time_ns, key) for key, totals in self.totals.items() if not totals.pending
        )
        for _, key in sent[: MAX_RESOURCES // 4]:
            del self.totals[key]
            self.counts["resources forgotten"] += 1


def instance_id() -> str:
    """Return a random ``service.instance.id``: derived from nothing, so that no copy of anything can have the same."""
    import uuid

    return str(uuid.uuid4())


class JournalError(OSError):
    """A journal cannot be used now; the message says why, and ends without a full stop. It is left as it is."""


def load(path: Path) -> Journal:
    """Read the journal at ``path``, the commit before if it is damaged, an empty one if there is none.

    With neither readable nobody knows what was counted: what the segments say up to the last commit is then taken for
    counted (``folded_before_ns``), since a number that is too small can be explained and one too large cannot. An error
    of the system says nothing about the file: then ``readable`` is false, and ``note`` says so.
    """
    journal = Journal(path)
    damaged_ns = 0
    for candidate in (path, _kept(path)):
        try:
            found = _patiently(candidate, path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except _NewerError as error:
            journal.newer = True
            journal.note = f"written by a newer kedro-otel in format {error}; it is left as it is: upgrade kedro-otel"
            return journal
        except OSError as error:
            guard.let_through(error)
            if not _is_file(candidate):
                damaged_ns = max(damaged_ns, _changed_ns(candidate))
                continue
            journal.readable = False
            journal.note = f"the journal cannot be read now ({error.strerror or error})"
            return journal
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            guard.let_through(error)
            damaged_ns = max(damaged_ns, _changed_ns(candidate))
            continue
        if candidate != path:
            # The last commit is lost: it has the same streams, and all that it counted is still here to be counted.
            found._kept_only, found.is_copy = True, False  # noqa: SLF001
            found.sequence += 1
        if damaged_ns:
            found.note = (
                "the journal was damaged; the one before was taken, nothing is counted twice"
            )
            found.counts["journals damaged"] += 1
        return found
    if damaged_ns:
        journal.folded_before_ns = damaged_ns
        journal.note = "the journal was damaged beyond use; counting begins anew"
        journal.counts["journals damaged"] = 1
    return journal


def take(path: Path) -> Journal:
    """Read the journal at ``path`` to go on with it: the caller has its lock.

    A copy begins a new generation. What other machines' journals beside it say of segments is known, too.

    Raises:
        JournalError: It cannot be read now, or was written by a newer version.
    """
    journal = load(path)
    if journal.newer or not journal.readable:
        raise JournalError(f"{path.name}: {journal.note}")
    for other in sorted(path.parent.glob("journal-*.json")):
        if other != path and not other.name.endswith(".before.json"):
            found = load(other)
            if not found.readable:
                raise JournalError(f"{other.name}: {found.note}")
            journal.learn(found)
    if not journal.is_copy:
        journal.copies = 0
        return journal
    journal.copies += 1
    journal.marks = [*journal.marks[-31:], journal.mark]
    if journal.copies <= MAX_COPIES:
        renew(journal, counted=journal.counted_elsewhere)
        journal.note = (
            "the journal is a copy; counting goes on in new streams, nothing is counted twice"
        )
    return journal


def _original(journal: Journal, name: str) -> bool:
    """Return whether the journal that ``journal`` is a copy of is still where it was."""
    path = Path(journal._folder, name)  # noqa: SLF001
    if not path.exists():
        return False
    found = load(path)
    return found.readable and not found.is_copy and found.generation == journal.generation


def renew(journal: Journal, *, counted: bool) -> None:
    """Begin a new generation: every stream ends, and what is counted from now on goes to new ones.

    Args:
        journal: A copy, or one that is older than the recordings.
        counted: Whether what was recorded in the old generation and is not counted here is taken for counted: by the
            original of a copy, or by what came after a backup.
    """
    left = {**journal.left, journal.generation: -1 if counted else journal.sequence}
    journal.left = dict(list(left.items())[-32:])
    for key in list(journal.totals):
        journal.retire(key, time.time_ns(), counted=counted)
    if counted:
        for old in journal.closing:
            journal.counts["counters taken for sent"] += old.forget_unsent()
        journal.left[COPY] = journal.left[BEFORE] = -1
        for cursor in journal.segments.values():
            if cursor.size == UNDONE:
                cursor.size = TAKEN
    journal.generation = os.urandom(8).hex()
    journal.counts["journals copied"] += 1


def _patiently(candidate: Path, path: Path) -> Journal:
    """Read ``candidate``; an error of the system, and that it is not there, are believed when they were so for a while."""
    for wait_s in _WAITS:
        try:
            return _read(candidate, path)
        except (FileNotFoundError, NotADirectoryError):
            if not _listed(candidate):
                raise
        except OSError as error:
            guard.let_through(error)
            if not _is_file(candidate):
                raise
        time.sleep(wait_s)
    return _read(candidate, path)


def _listed(path: Path) -> bool:
    """Return whether the folder of ``path`` has its name in it, or may have."""
    try:
        return path.name in os.listdir(path.parent)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        guard.let_through(error)
        return True


def _is_file(path: Path) -> bool:
    """Return whether a plain file is at ``path``, or may be."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError as error:
        guard.let_through(error)
        return True


def _changed_ns(path: Path) -> int:
    try:
        return os.lstat(path).st_mtime_ns
    except OSError as error:
        guard.let_through(error)
        return time.time_ns()


class _NewerError(Exception):
    """A journal of a format that only a newer version knows."""


def _read(candidate: Path, path: Path) -> Journal:
    """Return what ``candidate`` says of the journal at ``path``."""
    with os.fdopen(os.open(candidate, _READ), "rb") as file:
        head, body = file.readline(), file.readline().removesuffix(b"\n")
        certificate = birth.certificate(file.fileno())
        inode = os.fstat(file.fileno()).st_ino
    facts = decoder.parse(head.removesuffix(b"\n"))
    version = facts["kedro-otel-journal"]
    if type(version) is int and version > FORMAT:
        raise _NewerError(version)
    if version != FORMAT or facts["sha256"] != hashlib.sha256(body).hexdigest():
        raise ValueError
    journal = _load(path, json.loads(body))
    journal.generation = str(facts.get("generation") or journal.generation)
    journal.sequence = int(facts.get("sequence", 0))
    journal._certificate = str(facts.get("file", ""))  # noqa: SLF001
    journal._folder = str(facts.get("folder", ""))  # noqa: SLF001
    journal.inode = inode
    journal.is_copy = bool(journal._certificate) and journal._certificate != certificate  # noqa: SLF001
    return journal


def _dump(journal: Journal) -> dict[str, Any]:
    return {
        "segments": {stem: _row(cursor) for stem, cursor in journal.segments.items()},
        "totals": [aggregation.dump(totals) for totals in journal.totals.values()],
        "signals": {
            name: [one.state, one.why, one.failures, one.next_ns, one.since_ns]
            for name, one in journal.signals.items()
        },
        "environments": {
            name: one.environment for name, one in journal.signals.items() if one.environment
        },
        "counts": journal.counts,
        "address": journal.address,
        "foldedBefore": journal.folded_before_ns,
        "gone": journal.gone.dump(),
        "closing": [aggregation.dump(totals) for totals in journal.closing],
        "left": journal.left,
        "marks": journal.marks,
        "copies": journal.copies,
        "logs": journal.logs,
        "details": {
            totals.instance: journal.detail_of(totals)
            for totals in journal.streams()
            if totals.instance in journal.details
        },
        "projects": {
            totals.instance: journal.projects[totals.instance]
            for totals in journal.streams()
            if totals.instance in journal.projects
        },
        "adopted": sorted(
            one
            for one in journal.adopted
            if one in journal.segments and not journal.segments[one].done
        ),
    }


def _row(cursor: Cursor) -> int | list[Any]:
    """Return a cursor as short as can be: there are as many as recordings, and nearly all are done."""
    if (cursor.size == NOT_OURS and not cursor.folded) or (
        cursor.size == cursor.spans == cursor.folded and not cursor.dead
    ):
        return cursor.size
    return [cursor.spans, cursor.folded, cursor.size, cursor.dead, cursor.dead_shipped]


def _load(path: Path, fields: dict[str, Any]) -> Journal:
    journal = Journal(path)
    for stem, row in fields["segments"].items():
        cursor = journal.cursor(stem)
        if row == NOT_OURS:
            cursor.size = NOT_OURS
        elif isinstance(row, int):
            cursor.spans = cursor.folded = cursor.size = row
        else:
            cursor.spans, cursor.folded, cursor.size, cursor.dead, cursor.dead_shipped = row
    for row in fields["totals"]:
        totals = aggregation.load(row)
        journal.totals[aggregation.resource_key(totals.attributes)] = totals
    for name, row in fields["signals"].items():
        one = journal.signals.setdefault(name, Signal())
        one.state, one.why, one.failures, one.next_ns, one.since_ns = row
    for name, environment in fields.get("environments", {}).items():
        journal.signals[name].environment = str(environment)
    journal.counts = Counter(fields["counts"])
    journal.address = str(fields["address"])
    journal.folded_before_ns = int(fields["foldedBefore"])
    if "gone" in fields:
        journal.gone.load(fields["gone"])
    journal.closing = [aggregation.load(row) for row in fields.get("closing", [])]
    left = dict(fields.get("left", {}))
    journal.left = {str(one): int(number) for one, number in left.items()}
    journal.marks = [str(one) for one in fields.get("marks", [])]
    journal.details = {str(one): str(word) for one, word in fields.get("details", {}).items()}
    journal.projects = {str(one): str(word) for one, word in fields.get("projects", {}).items()}
    journal.logs = {str(one): int(at) for one, at in fields.get("logs", {}).items()}
    journal.copies = int(fields.get("copies", 0))
    journal.adopted = {str(one) for one in fields.get("adopted", [])}
    return journal


def _kept(path: Path) -> Path:
    return path.with_suffix(".before.json")


def _put_aside(path: Path) -> None:
    """Rename a folder in the journal's place, which is not ours, with all that is in it."""
    if path.is_dir():
        path.rename(f"{path}.{time.time_ns()}.aside")


def _keep(path: Path) -> None:
    """Keep the commit that is about to be replaced."""
    if not path.exists():
        return
    temporary = path.with_suffix(".kept")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        os.link(path, temporary)
    except OSError as error:
        guard.let_through(error)
        # no hard links here: a copy does as well
        files.replace(_kept(path), path.read_bytes(), ours=True)
    else:
        os.replace(temporary, _kept(path))


def _sync_folder(folder: Path) -> None:
    """Make the renaming last through a power cut, where folders can be synced (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with guard.suppress(OSError):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
