"""Words fit for a screen: figures a person can read, and names that cannot do harm."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kedro_otel.viewing.text import LONGEST, clean, count, duration, moment, timestamp

NOON = 1_795_348_800 * 10**9  # Sunday 22 November 2026, 12:00:00 UTC


@pytest.mark.parametrize(
    ("nanoseconds", "said"),
    [
        (0, "0 µs"),
        (999_999, "999 µs"),
        (1_000_000, "1.0 ms"),
        (9_960_000, "10 ms"),
        (999_900_000, "999 ms"),
        (1_000_000_000, "1.00 s"),
        (9_996_000_000, "10.0 s"),
        (59_990_000_000, "59.9 s"),
        (60_000_000_000, "1 m 00 s"),
        (3_599_000_000_000, "59 m 59 s"),
        (3_720_000_000_000, "1 h 02 m"),
        (90_000_000_000_000, "1 d 01 h"),
        (10**18, "11574 d 01 h"),
    ],
)
def test_durations_are_short_and_exact_enough(nanoseconds: int, said: str) -> None:
    """A duration has two or three digits that matter, and never more than the column has room for."""
    assert duration(nanoseconds) == said


def test_moments_are_told_from_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time is told by the clock and the day: today, yesterday, else the date, in the local zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    day = 86400 * 10**9
    told = [moment(NOON - days * day, NOON) for days in (0, 1, 2, 400)]
    assert told == [
        "today 12:00:00",
        "yesterday 12:00:00",
        "Fri 20 Nov 12:00:00",
        "18 Oct 2025 12:00:00",
    ]
    assert moment(2**200, NOON) == "01 Jan 1970 00:00:00"
    assert timestamp(NOON + 1234) == "2026-11-22T12:00:00.000001Z"


def test_counts_agree_with_their_noun() -> None:
    """One node, two nodes."""
    assert (count(1, "node"), count(2000, "node")) == ("1 node", "2,000 nodes")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("plain", "plain"),
        ("schön 漢字 😀", "schön 漢字 😀"),
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("nul\0tab\tnew\nline\r", "nul␀tab␉new␊line␍"),
        ("\x7f\x9b31m", "␡\N{REPLACEMENT CHARACTER}31m"),
        ("\u202egnp.exe", "\N{REPLACEMENT CHARACTER}gnp.exe"),
        (
            "a\u2028b\ud800c\ufeff",
            "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c\N{REPLACEMENT CHARACTER}",
        ),
        ("e" + "\u0301" * 50, "e\u0301\u0301"),
        ("a\u00a0b", "a b"),
        ("x" * 10_000, "x" * 200 + "…" + "x" * 199),
    ],
)
def test_hostile_names_are_shown_and_harmless(name: str, shown: str) -> None:
    """Escapes, line ends, direction overrides, half characters and towers of accents become symbols; what is too long is cut in the middle."""
    assert clean(name) == shown


@given(st.text(max_size=2000))
def test_no_text_gets_out_of_its_line(name: str) -> None:
    """Whatever a name is made of, what is shown is printable, on one line, of bounded length, and can be encoded."""
    shown = clean(name)
    assert shown.isprintable()
    assert len(shown) <= LONGEST
    assert not any(
        unicodedata.bidirectional(character)
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        for character in shown
    )
    shown.encode()
