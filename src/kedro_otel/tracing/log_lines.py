"""Log lines of a run: each record is given its trace and span, and is kept in the private file.

Nothing of the user's logging is configured: no handler, level, factory or filter is added or changed.
While a run is open, ``Logger.callHandlers`` is wrapped, which every record reaches that a logger lets
through. What is kept is the text that the user's handlers made of the record. Where none made one,
it is put together only from plain values, of which formatting can call no code of the user's.
Where logs are to be sent, a record is also written to the segment.
"""

from __future__ import annotations

import logging
import sys
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import guard
from kedro_otel.recording.encoder import attributes, text
from kedro_otel.semconv.names import EXCEPTION_STACKTRACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from kedro_otel.private.writer import PrivateWriter
    from kedro_otel.recording.writer import Writer

_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_MOST: Final = 1000
"""Loggers and levels whose spelling is remembered."""

_OURS: Final = "kedro_otel"
_FILE: Final = logging.Logger.callHandlers.__code__.co_filename


class LogLines:
    """What is done with the log records of this process while a run is open.

    Args:
        private: The private file; None where nothing is kept.
        segment: The segment, where log records are to be sent; None elsewhere.
        where: Returns trace id and span id of what is current in this thread, and the span id of the
            node or run that its lines belong to; None where no run is open.
    """

    def __init__(
        self,
        private: PrivateWriter | None,
        where: Callable[[], tuple[str, str, str] | None],
        segment: Writer | None = None,
    ) -> None:
        self._private = private
        self._segment = segment
        self._sends = False
        self._where = where
        self._lock = RLock()
        self._original: Any = None
        self._wrapper: Any = None
        self._on = False
        self._heads: dict[tuple[str, str], str] = {}

    def begin(self) -> None:
        """A run begins: see the records from here on."""
        with self._lock:
            self._on = True
            self._sends = self._segment is not None and not _provider_of_user()
            if self._wrapper is None:
                self._original = logging.Logger.callHandlers
                self._wrapper = _wrapped(self._original, self)
                logging.Logger.callHandlers = self._wrapper  # type: ignore[method-assign]

    def end(self) -> None:
        """No run is open: leave logging as it was found. What somebody else has wrapped since stays, and does nothing."""
        with self._lock:
            self._on = False
            if self._private is not None:
                self._private.settle()
            if self._wrapper is not None and logging.Logger.callHandlers is self._wrapper:
                logging.Logger.callHandlers = self._original  # type: ignore[method-assign]
                self._wrapper = self._original = None

    def abandon(self) -> None:
        """Do nothing any more, in a fork child: what is open is the parent's."""
        self._lock = RLock()
        self._on = False
        if self._wrapper is not None and logging.Logger.callHandlers is self._wrapper:
            logging.Logger.callHandlers = self._original  # type: ignore[method-assign]

    def before(self, record: logging.LogRecord) -> tuple[str, str, str] | None:
        """Give a record its trace and span, before the user's handlers; return them, and whose line it is."""
        if not self._on:
            return None
        try:
            found = self._where()
            if found is None:
                return None
            known = record.__dict__
            known.setdefault("trace_id", found[0])
            known.setdefault("span_id", found[1])
        except Exception as error:  # noqa: BLE001 -- as guard.guarded, without its call
            guard.swallow("LogLines.before", error)
            return None
        return found

    def after(self, record: logging.LogRecord, where: tuple[str, str, str]) -> None:
        """Keep a record, after the user's handlers."""
        try:
            known = record.__dict__
            name, level = known.get("name"), known.get("levelname")
            if type(name) is not str or type(level) is not str:
                return
            line = self._heads.get((name, level)) or self._head(name, level)
            if not line:
                return
            created = known.get("created")
            stack = known.get("exc_text")
            found = known.get("message")  # what a formatter of the user's made of it
            if type(found) is not str:
                found = _message(known)
            body = text(found)
            if self._sends and self._segment is not None:
                self._segment.log(_spelled(known, where, name, level, body))
            if self._private is None:
                return
            if type(created) is float:
                line = f'{line},"t":{created:.6f}'
            if stack and type(stack) is str:
                line += f',"stacktrace":{text(stack)}'
            self._private.log(where[2], line, body)
        except Exception as error:  # noqa: BLE001 -- as guard.guarded, without its call
            guard.swallow("LogLines.after", error)

    def _head(self, name: str, level: str) -> str:
        """Return logger and level as they are written; nothing where the line is ours, and not kept."""
        if name.startswith(_OURS):
            return ""
        line = f',"logger":{text(name)},"level":{text(level)}'
        if len(self._heads) < _MOST:
            self._heads[name, level] = line
        return line


def _spelled(
    known: dict[str, Any], where: tuple[str, str, str], name: str, level: str, body: str
) -> bytes:
    """Return a record as a line of the segment."""
    number, created, stack = known.get("levelno"), known.get("created"), known.get("exc_text")
    severity = min(max(number // 10 * 4 + 1, 1), 24) if type(number) is int else 0
    when = int(created * 1e6) * 1000 if type(created) is float else 0
    values = {EXCEPTION_STACKTRACE: stack} if stack and type(stack) is str else {}
    return (
        f'{{"log":{text(level)},"traceId":"{where[0]}","spanId":"{where[1]}","timeUnixNano":"{when}",'
        f'"severityNumber":{severity},"logger":{text(name)},"body":{body},"attributes":{attributes(values)}}}\n'
    ).encode()


def _provider_of_user() -> bool:
    """Return whether somebody set a LoggerProvider: then its own handlers send what the user wants sent."""
    module = sys.modules.get("opentelemetry._logs._internal")
    return getattr(module, "_LOGGER_PROVIDER", None) is not None


def _message(known: dict[str, Any]) -> str:
    """Return the text of a record that nobody formatted, without calling code of the user's."""
    template, args = known.get("msg"), known.get("args")
    if type(template) is not str:
        return _plain(template)
    if not args:
        return template
    values = args.values() if type(args) is dict else args if type(args) is tuple else (object(),)
    if all(type(value) in _PLAIN for value in values):
        try:
            return str(template % args)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            guard.let_through(error)
    return template


def _plain(value: Any) -> str:
    """Return plain values as text; of anything else its class."""
    kind = type(value)
    if kind in _PLAIN:
        return str(value)
    if kind is dict:  # of structlog
        return " ".join(f"{_plain(key)}={_plain(item)}" for key, item in value.items())
    return f"<{kind.__module__}.{kind.__qualname__}>"


def _wrapped(original: Any, lines: LogLines) -> Any:
    """Return what is called in place of ``Logger.callHandlers``.

    The function counts as one of logging's own file: what walks up the stack to the user's call (logging
    itself for its "Call stack", loguru's recipe) passes over it. An exception of a handler loses our frame.
    """
    before, after = lines.before, lines.after

    def callHandlers(self: logging.Logger, record: logging.LogRecord) -> Any:  # noqa: N802 -- the name it has in tracebacks
        where = before(record)
        try:
            found = original(self, record)
        except BaseException as error:
            trace = error.__traceback__
            error.__traceback__ = trace.tb_next if trace is not None else None
            raise
        if where is not None:
            after(record, where)
        return found

    callHandlers.__code__ = callHandlers.__code__.replace(co_filename=_FILE)
    callHandlers.__module__ = original.__module__
    return callHandlers
