"""What an answer means, and when to try again: pure functions, one table for both protocols."""

from __future__ import annotations

import base64
import random
import re
import sys
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from kedro_otel.shipping.state.journal import DOUBT, HOLD, OK, REJECT, RETRY, Signal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SECOND: Final = 1_000_000_000
FIRST_RETRY: Final = 1.0
"""Seconds up to which the first retry waits; doubled each time, the actual wait drawn evenly from 0 to that (full jitter)."""

LAST_RETRY: Final = 900.0
MAX_RETRY_AFTER: Final = 3600.0
"""Seconds for which a receiver's wish to be left alone is honoured."""

MAX_SAID: Final = 200
"""Characters of what a receiver said that are kept."""

HELD: Final = 3600.0
"""Seconds after which even a receiver that said "unauthorized" is asked again: tokens get renewed."""

DOUBTED: Final = 6 * 3600.0
"""Seconds for which a refusal that is not the receiver's own verdict on the content is tried again."""

_RETRIED: Final = frozenset({408, 421, 423, 425, 429})
_TOO_LARGE: Final = 413
_HELD: Final = frozenset({401, 403, 407})

_DELTAS: Final = re.compile(r"temporality|cumulative|\bdeltas?\b", re.IGNORECASE)
TAKES_DELTAS: Final = (
    "This receiver takes no cumulative totals, and nothing else is sent, because a resent delta"
    " would count twice: put a collector with its cumulativetodelta processor before it."
)

_ENOUGH: Final = 8
"""Characters at the beginning of a secret by which it is recognised, even cut."""

_TAIL: Final = 3
_SCHEMES: Final = frozenset({"basic", "bearer", "digest", "apikey", "api-key", "token"})
_REDACTED: Final = "[redacted]"

NO_ANSWER: Final = "no answer"
NOT_ENCODED: Final = "not encoded"
NOT_STARTED: Final = "not started"
UNREACHABLE: Final = "unreachable"
WRONG_PROTOCOL: Final = "wrong protocol"


class Answer(NamedTuple):
    """What became of one request.

    ``outcome`` is "ok", "retry", "doubt", "hold" or "reject"; ``why`` a short text without credentials; ``status`` the HTTP status
    or gRPC code as text, or one of NO_ANSWER, NOT_STARTED, UNREACHABLE, WRONG_PROTOCOL; ``retry_after`` seconds, if the receiver said
    so; ``rejected`` how many items of an accepted request it dropped.
    """

    outcome: str
    why: str = ""
    status: str = ""
    retry_after: float | None = None
    rejected: int = 0


def of_http(
    status: int,
    *,
    text: str = "",
    content_type: str = "",
    retry_after: str | None = None,
    verdict: bool = False,
) -> Answer:
    """Return what an HTTP answer means.

    Args:
        status: The HTTP status.
        text: What the receiver said, already cut.
        content_type: The answer's type, in lower case.
        retry_after: The header of that name.
        verdict: Whether the body is a ``Status`` of OTLP: the receiver's own judgement of the content.
    """
    word = str(status)
    said = f"{status}{f': {text}' if text else ''}"
    if 200 <= status < 300:
        if content_type.startswith("text/html"):
            # a web page, say of a captive portal: nobody has taken our data
            return Answer(HOLD, f"{status}, but a web page: not an OTLP receiver", WRONG_PROTOCOL)
        return Answer(OK, "", word)
    if status in _RETRIED or status >= 500:
        return Answer(RETRY, said, word, seconds(retry_after))
    if status in _HELD:
        return Answer(HOLD, said, word)
    if status == _TOO_LARGE or (verdict and 400 <= status < 500):
        return Answer(REJECT, said, word)
    # a captive portal, a proxy, or an ingress that is being deployed answers so in passing
    return Answer(DOUBT, said, word, seconds(retry_after))


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
    "INVALID_ARGUMENT": REJECT,
}


def of_grpc(code: str, text: str = "") -> Answer:
    """Return what a gRPC status means, by its name; one that is not in the table may be a proxy's."""
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
    return Answer(_GRPC.get(code, DOUBT), said if code != "OK" else "", code)


def partial_success(signal: str, message: Any) -> dict[str, Any]:
    """Return ``rejected`` and ``why`` of a partial success as OTLP spells it, {} of a whole one.

    Args:
        signal: "traces", "metrics" or "logs".
        message: ``partial_success`` of the answer.
    """
    rejected = {
        "traces": "rejected_spans",
        "metrics": "rejected_data_points",
        "logs": "rejected_log_records",
    }
    return said_partially(getattr(message, rejected[signal]), message.error_message)


def said_partially(rejected: int, message: str) -> dict[str, Any]:
    """Return what an Answer says of ``rejected`` items and a ``message``."""
    found = {"rejected": max(rejected, 0), "why": one_line(message)}
    return found if rejected or message else {}


def one_line(text: str) -> str:
    """Return ``text`` as one short line without control characters: it goes to a terminal and a log."""
    return " ".join(
        "".join(letter if letter.isprintable() else " " for letter in text[: 2 * MAX_SAID]).split()
    )[:MAX_SAID]


def wants_deltas(why: str) -> bool:
    """Return whether a refusal of metrics is that of a backend that takes deltas only."""
    return _DELTAS.search(why) is not None


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
    local = answer.outcome == HOLD and answer.status == NO_ANSWER
    signal.environment = sys.prefix if local else ""
    signal.state = answer.outcome
    signal.why = f"{answer.rejected} refused: {answer.why}" if answer.rejected else answer.why


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` without any of ``secrets``, whole or begun: a receiver may repeat the token that it was sent."""
    for secret in sorted(set(secrets), key=len, reverse=True):
        begun = secret[:_ENOUGH]
        text = re.sub(
            re.escape(begun) + (r"\S*" if len(secret) >= _ENOUGH else ""), _REDACTED, text
        )
        for length in range(min(len(begun), len(text)), _TAIL, -1):  # cut at the text's end
            if text.endswith(begun[:length]):
                text = text[:-length] + _REDACTED
                break
    return text


def secrets_of(headers: Mapping[str, str], url: str) -> list[str]:
    """Return what a receiver may not be quoted with: header values and their words, and what the URL holds beside its path."""
    parts = urlsplit(url if "://" in url else f"//{url}")
    values = [*headers.values(), *(value for _, value in parse_qsl(parts.query))]
    if parts.username or parts.password:
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        values += [user, password, parts.username or "", parts.password or "", pair]
    words = [*values, *(word for value in values for word in value.split())]
    return [word for word in words if len(word) > _TAIL and word.lower() not in _SCHEMES]


def wait(answer: Answer, failures: int) -> float:
    """Return how many seconds to wait after the ``failures``-th failure in a row."""
    if answer.retry_after is not None:
        return answer.retry_after
    if answer.outcome == HOLD:
        return HELD
    return random.uniform(0, min(FIRST_RETRY * 2 ** min(failures - 1, 12), LAST_RETRY))  # noqa: S311 (spreads load, keeps no secret)
