"""What an answer means, and when to try again: pure functions, one table for both protocols."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from kedro_otel.shipping.state.journal import HOLD, OK, REJECT, RETRY, Signal

SECOND: Final = 1_000_000_000
FIRST_RETRY: Final = 1.0
"""Seconds up to which the first retry waits; doubled each time, the actual wait drawn evenly from 0 to that (full jitter)."""

LAST_RETRY: Final = 900.0
MAX_RETRY_AFTER: Final = 3600.0
"""Seconds for which a receiver's wish to be left alone is honoured."""

HELD: Final = 3600.0
"""Seconds after which even a receiver that said "unauthorized" is asked again: tokens get renewed."""

_RETRIED: Final = frozenset({429, 502, 503, 504})
_HELD: Final = frozenset({401, 403, 407})

NO_ANSWER: Final = "no answer"
UNREACHABLE: Final = "unreachable"
WRONG_PROTOCOL: Final = "wrong protocol"


class Answer(NamedTuple):
    """What became of one request.

    ``outcome`` is "ok", "retry", "hold" or "reject"; ``why`` a short text without credentials; ``status`` the HTTP status
    or gRPC code as text, or one of NO_ANSWER, UNREACHABLE, WRONG_PROTOCOL; ``retry_after`` seconds, if the receiver said
    so; ``rejected`` how many items of an accepted request it dropped.
    """

    outcome: str
    why: str = ""
    status: str = ""
    retry_after: float | None = None
    rejected: int = 0


def of_http(
    status: int, *, text: str = "", content_type: str = "", retry_after: str | None = None
) -> Answer:
    """Return what an HTTP answer means. ``text`` is what the receiver said, already cut."""
    word = str(status)
    said = f"{status}{f': {text}' if text else ''}"
    if 200 <= status < 300:
        if content_type.startswith("text/html"):
            # a web page, say of a captive portal: nobody has taken our data
            return Answer(HOLD, f"{status}, but a web page: not an OTLP receiver", WRONG_PROTOCOL)
        return Answer(OK, "", word)
    if status in _RETRIED:
        return Answer(RETRY, said, word, seconds(retry_after))
    if status in _HELD:
        return Answer(HOLD, said, word)
    if status >= 500 or status == 408:  # not in OTLP's table: a server's trouble, hence temporary
        return Answer(RETRY, said, word, seconds(retry_after))
    return Answer(REJECT, said, word)


_GRPC: Final = {
    "OK": OK,
    "CANCELLED": RETRY,
    "DEADLINE_EXCEEDED": RETRY,
    "RESOURCE_EXHAUSTED": RETRY,
    "ABORTED": RETRY,
    "OUT_OF_RANGE": RETRY,
    "UNAVAILABLE": RETRY,
    "DATA_LOSS": RETRY,
    "INTERNAL": RETRY,
    "UNKNOWN": RETRY,
    "UNAUTHENTICATED": HOLD,
    "PERMISSION_DENIED": HOLD,
}


def of_grpc(code: str, text: str = "") -> Answer:
    """Return what a gRPC status means, by its name; one that is not in the table is a refusal."""
    said = f"{code}{f': {text}' if text else ''}"
    if code == "UNAVAILABLE":
        wrong = "http/1.x" in text.lower() or "trying to connect an http1.x server" in text.lower()
        return (
            Answer(HOLD, f"{said}; that port speaks HTTP, not gRPC", WRONG_PROTOCOL)
            if wrong
            else Answer(RETRY, said, UNREACHABLE)
        )
    if code == "RESOURCE_EXHAUSTED" and "larger than max" in text:
        return Answer(REJECT, said, code)
    if code == "DEADLINE_EXCEEDED":
        return Answer(RETRY, said, NO_ANSWER)
    return Answer(_GRPC.get(code, REJECT), said if code != "OK" else "", code)


def seconds(retry_after: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, at most an hour; None if it asks for nothing sensible."""
    if not retry_after:
        return None
    word = retry_after.strip()
    if word.isascii() and word.isdigit():
        return min(float(word), MAX_RETRY_AFTER)
    try:
        when = parsedate_to_datetime(word).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(when - time.time(), 0.0), MAX_RETRY_AFTER)


def note(signal: Signal, answer: Answer, now_ns: int) -> None:
    """Write ``answer`` into ``signal``: how it stands, and when to try again."""
    if answer.outcome in (OK, REJECT):
        signal.failures, signal.next_ns = 0, 0
    else:
        signal.failures += 1
        signal.next_ns = now_ns + int(wait(answer, signal.failures) * SECOND)
    if signal.state != answer.outcome:
        signal.since_ns = now_ns
    signal.state, signal.why = answer.outcome, answer.why


def wait(answer: Answer, failures: int) -> float:
    """Return how many seconds to wait after the ``failures``-th failure in a row."""
    if answer.retry_after is not None:
        return answer.retry_after
    if answer.outcome == HOLD:
        return HELD
    return random.uniform(0, min(FIRST_RETRY * 2 ** min(failures - 1, 12), LAST_RETRY))  # noqa: S311 (spreads load, keeps no secret)
