"""What one receiver has been sent: a small file per destination, replaced in one step, never half written.

Two independent cursors per segment: ``spans`` is the offset up to which a receiver has acknowledged the spans, ``folded``
the offset up to which its operations are in the totals. Offset and totals are committed together, so each operation is
counted once, whenever this process dies. Spans that were acknowledged but not committed are sent again, with the same
ids. The commit before the last is kept: if the journal is damaged, that one is just as consistent, only older.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.config import files
from kedro_otel.shipping.failpoints import reached
from kedro_otel.shipping.state import aggregation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT: Final = 1
SIGNALS: Final = ("traces", "metrics")
OK, RETRY, HOLD, REJECT = "ok", "retry", "hold", "reject"
"""How the last answer for a signal was: accepted; to be tried again; to be tried again when something changed; refused for good."""

_READ: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)

MAX_RESOURCES: Final = 256
"""Totals kept at a time; beyond, those fully sent and longest unchanged are forgotten. What comes back begins a new stream at 0."""


UNDONE, NOT_OURS = -1, -2
"""In place of a cursor's size: something is left to do; the segment is not shipped with this journal."""


class Cursor:
    """How far one segment has been read, folded and shipped, in bytes.

    ``dead`` are the span ids that were judged dead, folded and shipped as such: whatever the segment says of them later
    is ignored. ``size`` is the size at which nothing was left to do, or UNDONE, or NOT_OURS.
    """

    __slots__ = ("dead", "dead_shipped", "folded", "size", "spans")

    def __init__(self) -> None:
        """Begin at the beginning."""
        self.spans = 0
        self.folded = 0
        self.size = UNDONE
        self.dead: list[str] = []
        self.dead_shipped: list[str] = []


class Signal:
    """Answers for one signal: the last one, in how many attempts it was not an acceptance, and when to try again (ns since 1970)."""

    __slots__ = ("failures", "next_ns", "since_ns", "state", "why")

    def __init__(self) -> None:
        """Begin without a complaint."""
        self.state = OK
        self.why = ""
        self.failures = 0
        self.next_ns = 0
        self.since_ns = 0

    def ready(self, now_ns: int) -> bool:
        """Tell whether sending may be tried. A clock set back by more than any back-off does not make it wait for ever."""
        return now_ns >= self.next_ns or self.next_ns - now_ns > 2 * 3600 * aggregation.SECOND


class Journal:
    """State of one destination on this machine.

    ``address`` is the receiver's, without credentials; ``counts`` are what was sent and lost, by word; ``note`` says what was
    wrong with the file.
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
        self._written = b""

    def cursor(self, stem: str) -> Cursor:
        """Return the cursor of the segment ``stem``, a new one if it has none."""
        return self.segments.setdefault(stem, Cursor())

    def resource(self, attributes: Mapping[str, Any], now_ns: int) -> aggregation.Totals:
        """Return the totals of the resource that has ``attributes``, new ones if it has none."""
        key = aggregation.resource_key(attributes)
        found = self.totals.get(key)
        if found is None:
            self._make_room()
            found = self.totals[key] = aggregation.Totals(attributes, instance_id(), now_ns)
        return found

    def forget(self, stems: set[str]) -> None:
        """Forget the segments that are not among ``stems``, the ones that exist."""
        for stem in self.segments.keys() - stems:
            del self.segments[stem]

    def commit(self) -> None:
        """Put the state on disk in one step, unless it is there. Raises OSError, with the old state untouched, or FileNotFoundError after a purge."""
        body = json.dumps(_dump(self), separators=(",", ":")).encode()
        if body == self._written:
            return
        head = json.dumps(
            {"kedro-otel-journal": FORMAT, "sha256": hashlib.sha256(body).hexdigest()}
        ).encode()
        temporary = self.path.with_suffix(".new")
        descriptor = os.open(temporary, _WRITE, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(head + b"\n" + body + b"\n")
            file.flush()
            os.fsync(file.fileno())
        reached("journal written")
        _keep(self.path)
        reached("journal kept")
        os.replace(temporary, self.path)
        reached("journal replaced")
        _sync_folder(self.path.parent)
        self._written = body

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


def load(path: Path) -> Journal:
    """Read the journal at ``path``, the commit before if it is damaged, an empty one if there is none.

    With neither readable nobody knows what was counted: what the segments say up to the last commit is then taken for
    counted (``folded_before_ns``), since a number that is too small can be explained and one too large cannot.
    """
    journal = Journal(path)
    damaged_ns = 0
    for candidate in (path, _kept(path)):
        try:
            found = _read(candidate, path)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            with contextlib.suppress(OSError):
                damaged_ns = max(damaged_ns, candidate.lstat().st_mtime_ns)
            continue
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


def _read(candidate: Path, path: Path) -> Journal:
    """Return what ``candidate`` says of the journal at ``path``."""
    with os.fdopen(os.open(candidate, _READ), "rb") as file:
        head, body = file.readline(), file.readline().removesuffix(b"\n")
    facts = json.loads(head)
    if facts["kedro-otel-journal"] != FORMAT or facts["sha256"] != hashlib.sha256(body).hexdigest():
        raise ValueError
    return _load(path, json.loads(body))


def _dump(journal: Journal) -> dict[str, Any]:
    return {
        "segments": {stem: _row(cursor) for stem, cursor in journal.segments.items()},
        "totals": [aggregation.dump(totals) for totals in journal.totals.values()],
        "signals": {
            name: [one.state, one.why, one.failures, one.next_ns, one.since_ns]
            for name, one in journal.signals.items()
        },
        "counts": journal.counts,
        "address": journal.address,
        "foldedBefore": journal.folded_before_ns,
    }


def _row(cursor: Cursor) -> int | list[Any]:
    """Return a cursor as short as can be: there are as many as recordings, and nearly all are done."""
    if cursor.size == NOT_OURS or (
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
    journal.counts = Counter(fields["counts"])
    journal.address = str(fields["address"])
    journal.folded_before_ns = int(fields["foldedBefore"])
    return journal


def _kept(path: Path) -> Path:
    return path.with_suffix(".before.json")


def _keep(path: Path) -> None:
    """Keep the commit that is about to be replaced; a folder in its place, which is not ours, goes aside with all that is in it."""
    if path.is_dir():
        path.rename(f"{path}.{time.time_ns()}.aside")
    if not path.exists():
        return
    temporary = path.with_suffix(".kept")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        os.link(path, temporary)
    except OSError:
        # no hard links here: a copy does as well
        files.replace(_kept(path), path.read_bytes())
    else:
        os.replace(temporary, _kept(path))


def _sync_folder(folder: Path) -> None:
    """Make the renaming last through a power cut, where folders can be synced (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
