"""The detached process that posts a notification when a pipeline run fails, dies, or takes much longer than before.

It runs where the setting ``notify`` names a webhook, with or without an OTLP endpoint, from the first run until no run is
open. It reads the recordings as the shipper does, so a run that was killed is noticed too. One notification a trace: what
was posted is noted in ``notified.json``, after the webhook took it.
"""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from kedro_otel.config import consent, files, paths, project_folders, settings
from kedro_otel.facts import redaction
from kedro_otel.recording import reader
from kedro_otel.recording.model import DIED, ENDED, SegmentError
from kedro_otel.semconv import names
from kedro_otel.shipping.process.launch import notifier_lock, settings_taken_ns
from kedro_otel.shipping.process.lock import Lock
from kedro_otel.shipping.state import destination_paths
from kedro_otel.shipping.state.journal import OK
from kedro_otel.shipping.transport import webhook

if TYPE_CHECKING:
    from pathlib import Path

    from kedro_otel.config.settings import Settings
    from kedro_otel.recording.model import Header, Operation
    from kedro_otel.recording.reader import Follower

FAILED, KILLED, SLOWER = "failed", "killed", "slower"
"""What is posted as ``event``."""

POLL: Final = 0.5
"""Seconds between two looks at what is running."""

PATIENCE: Final = 60.0
"""Seconds for which an unreachable webhook is tried again when nothing runs any more; the next run tries again."""

FORGOTTEN: Final = 24 * 3600
"""Seconds after which nobody wants to hear of a run any more."""

_MARGIN_NS: Final = 5 * 10**9
_MAX_STATE: Final = 1 << 20
_SECOND: Final = 10**9


def main() -> int:
    """Post until no run is open and nothing is left to post; return the exit code 0."""
    while _work():
        pass
    return 0


def _work() -> bool:
    """Work as the one notifier, if there is no other; return whether a run began that nobody looks after."""
    lock = Lock(notifier_lock())
    if not lock.take():
        return False
    try:
        notifier = Notifier(settings.load(os.environ))
        notifier.follow(lock)
    finally:
        lock.release()
    return notifier.look() and not notifier.gave_up


class Notifier:
    """Follows the recordings of this machine and posts what is worth a notification.

    Args:
        known: The settings of the user: ``notify`` is the webhook.
    """

    def __init__(self, known: Settings) -> None:
        self._address: str | None = known.value("notify")
        self._since_ns, self._done = _load()
        self._followers: dict[Path, Follower] = {}
        self._looked: dict[Path, tuple[int, int]] = {}
        self._failed: dict[str, tuple[Operation, Header]] = {}
        self._due: dict[str, tuple[Operation, Header]] = {}
        self._try_at, self._failures = 0.0, 0
        self.gave_up = False

    def follow(self, lock: Lock) -> None:
        """Look and post until nothing is open and due, as long as the lock is held and consent is given."""
        left_at: float | None = None
        while lock.mine and self._address and consent.decide(os.environ, None).enabled:
            is_open = self.look()
            if self._due and time.monotonic() >= self._try_at:
                self._post()
            if is_open:
                left_at = None
            elif not self._due:
                return
            else:
                left_at = left_at or time.monotonic()
                if time.monotonic() - left_at > PATIENCE:
                    self.gave_up = True
                    return
            time.sleep(POLL)
        self.gave_up = True

    def look(self) -> bool:
        """Read what is new; return whether a run is open."""
        is_open = False
        for path, found in reader.listing():
            seen = found.st_mtime_ns, found.st_size
            follower = self._followers.get(path)
            if follower is None:
                if found.st_mtime_ns < self._since_ns or self._looked.get(path) == seen:
                    continue
                follower = reader.Follower(path)
            self._looked[path] = seen
            try:
                lives = self._read(follower)
            except SegmentError:
                continue
            if lives:
                self._followers[path] = follower
                is_open |= any(one.operation == names.RUN for one in follower.open_operations())
            else:
                self._followers.pop(path, None)
        return is_open

    def _read(self, follower: Follower) -> bool:
        """Take what ended in a recording, or died in it; return whether its process may still write to it."""
        operations = follower.poll()
        segment = follower.known()
        if not destination_paths.mine(segment.header.machine_id):
            return False
        if not segment.alive:
            began = {one.span_id for one in follower.open_operations()}
            operations += [one for one in follower.close().operations if one.span_id in began]
        for operation in operations:
            self._take(operation, segment.header)
        return bool(segment.alive)

    def _take(self, operation: Operation, header: Header) -> None:
        """Note a run that ended or died, and what says most about its failure: a node or dataset."""
        trace_id = operation.trace_id
        if operation.operation in (names.NODE, names.DATASET) and operation.error:
            self._failed.setdefault(trace_id, (operation, header))
        if operation.operation != names.RUN or operation.state not in (ENDED, DIED):
            return
        interrupted = operation.attributes.get(names.ERROR_TYPE) == "KeyboardInterrupt"
        is_new = (operation.end_ns or 0) >= self._since_ns and trace_id not in self._done
        if is_new and not interrupted:
            self._due.setdefault(trace_id, (operation, header))

    def _post(self) -> None:
        for trace_id, (run, header) in list(self._due.items()):
            notification = self._notification(run, header)
            if notification is not None and self._address:
                answer = webhook.post(self._address, notification)
                if answer.outcome != OK:
                    self._failures += 1
                    self._try_at = time.monotonic() + min(2.0**self._failures, PATIENCE / 2)
                    _save(self._since_ns, self._done, answer.why)
                    return
            self._failures = 0
            del self._due[trace_id]
            self._failed.pop(trace_id, None)
            self._done[trace_id] = run.end_ns or time.time_ns()
            _save(self._since_ns, self._done, "")

    def _notification(self, run: Operation, header: Header) -> dict[str, Any] | None:
        """Return what is posted of a run at the detail in force, None where nothing is."""
        detail = self._detail(header)
        left = redaction.at(run, header, detail) if detail else None
        if detail is None or left is None:
            return None
        failed = run.error or run.state == DIED
        longer = None if failed or run.attributes.get(names.RUN_PART) else _longer(run)
        if not failed and longer is None:
            return None
        event = SLOWER if longer else KILLED if run.state == DIED else FAILED
        resource = redaction.resource_at(
            header.resource, redaction.narrowest(header.detail, detail)
        )
        what = _what(left, resource)
        took = _seconds(run)
        if longer:
            text = f"{what} took {took:,.1f} s, usually {longer:,.1f} s."
        else:
            verb = "was killed" if event == KILLED else "failed"
            text = f"{what} {verb} after {took:,.1f} s{self._why(left, detail)}."
        return {
            "event": event,
            "text": text,
            "trace_id": run.trace_id,
            "start_time": _time(run.start_ns),
            "end_time": _time(run.end_ns or run.start_ns),
            "attributes": left.attributes,
            "resource": resource,
        }

    def _why(self, run: Operation, detail: str) -> str:
        """Return where and why a run failed, as far as that may leave."""
        inner = self._failed.get(run.trace_id)
        found = redaction.at(inner[0], inner[1], detail) if inner else None
        known = (found or run).attributes
        place = f" in {found.name}" if found is not None else ""
        error = known.get(names.ERROR_TYPE)
        error = "" if error == names.PROCESS_DIED else str(error or "")
        file, line = known.get(names.ERROR_FILE), known.get(names.ERROR_LINE)
        where = f" at {file}:{line}" if file and line else ""
        return f"{place}{f': {error}{where}' if error else ''}"

    def _detail(self, header: Header) -> str | None:
        """Return the detail that the user and the project allow now, None where one says no or cannot be asked."""
        try:
            root = project_folders.folder(header.project) if header.project else None
        except OSError:
            return None
        if not consent.decide(os.environ, root).enabled:
            return None
        return str(settings.load(os.environ, root).value("detail"))


def _what(run: Operation, resource: dict[str, Any]) -> str:
    """Return what ran: with the names of project and pipeline where they may leave."""
    project, pipeline = resource.get(names.PROJECT_NAME), run.attributes.get(names.PIPELINE_NAME)
    what = f"Pipeline {pipeline}" if pipeline else "A pipeline run"
    return f"{what} of {project}" if project else what


def _longer(run: Operation) -> float | None:
    """Return the seconds that the run usually takes, if it took longer than chance explains."""
    from kedro_otel.viewing.model import baseline, comparison, find, trace

    try:
        found = trace.load(find.find(run.trace_id).entry)
    except find.NotFoundError:
        return None
    history = [comparison.profile(one) for one in baseline.peers(found)]
    if len(history) < comparison.FEW:
        return None
    change = comparison.compare(comparison.profile(found), None, history).run
    return change.before_ns / _SECOND if change.verdict == comparison.SLOWER else None


def _seconds(run: Operation) -> float:
    return ((run.end_ns or run.start_ns) - run.start_ns) / _SECOND


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / _SECOND, timezone.utc).isoformat(timespec="milliseconds")


def _load() -> tuple[int, dict[str, int]]:
    """Return from when on runs are of interest, and which traces are done with, each with its end."""
    first_ns = settings_taken_ns() - _MARGIN_NS
    try:
        state = json.loads(files.read(paths.notified(), _MAX_STATE))
        since_ns, done = int(state["since_ns"]), dict(state["done"])
    except (OSError, ValueError, TypeError, KeyError):
        return first_ns, {}
    return max(since_ns, time.time_ns() - FORGOTTEN * _SECOND), done


def _save(since_ns: int, done: dict[str, int], error: str) -> None:
    oldest_ns = time.time_ns() - FORGOTTEN * _SECOND
    kept = {trace_id: end_ns for trace_id, end_ns in done.items() if end_ns > oldest_ns}
    state = {"since_ns": since_ns, "done": kept, "error": error}
    if paths.home().is_dir():
        files.replace(paths.notified(), json.dumps(state).encode(), ours=True)
