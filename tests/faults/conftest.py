"""Faults: marks the tests of every promise in docs/reliability.md, and prints the figures that they measured.

``make test-faults`` runs them at a size that fits into CI, ``make test-faults FULL=1`` at full size.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent

ELSEWHERE = (
    "test_scenarios.py::test_the_tree_is_exact_and_the_program_unchanged[dies-",
    "test_scenarios.py::test_the_tree_is_exact_and_the_program_unchanged[killed-",
    "test_unchanged.py::test_a_signal_leaves_a_trace_that_names_the_node",
    "test_reader.py::test_cut_at_every_byte_the_rest_is_read",
    "test_reader.py::test_flipped_at_every_byte_nothing_breaks",
    "test_reader.py::test_nothing_is_taken_for_dead_where_that_cannot_be_told",
    "test_journal.py::test_damage_at_any_byte_costs_at_most_the_last_commit",
    "test_journal.py::test_something_else_in_its_place_is_damage",
    "test_journal.py::test_a_kill_at_any_step_of_a_commit_leaves_a_whole_journal",
    "test_bounds.py::test_ten_times_the_limits_are_brought_back_to_them",
    "test_bounds.py::test_what_went_is_remembered",
    "test_bounds.py::test_a_clock_set_back_or_forward_a_day_expires_nothing",
    "test_bounds.py::test_many_pruners_at_once_remove_and_count_once",
    "test_send.py::test_a_bomb_of_gzip_and_an_answer_without_end_are_not_read_to_their_end",
    "test_send.py::test_a_redirect_is_not_followed",
    "test_send.py::test_netrc_is_not_read_and_no_cookie_is_returned",
    "test_ship_delivery.py::test_a_lost_answer_changes_nothing_in_the_end",
    "test_ship_delivery.py::test_requests_that_come_twice_and_in_any_order_count_the_same",
    "test_ship_delivery.py::test_a_segment_without_locks_is_not_taken_for_dead",
    "test_ship_delivery.py::test_a_copied_home_begins_streams_of_its_own",
    "test_ship_delivery.py::test_no_credential_is_on_disk",
    "test_ship_process.py::test_killed_at_any_step_it_loses_nothing_and_counts_nothing_twice",
    "test_ship_process.py::test_of_many_shippers_one_ships",
    "test_ship_process.py::test_switching_off_ends_it_within_a_second",
    "test_ship_process.py::test_a_purge_ends_it_and_nothing_comes_back",
    "test_ship_process.py::test_nothing_of_the_project_is_imported",
    "test_canaries.py::test_no_secret_is_recorded_or_leaves",
)
"""Tests of faults that stand beside what they test."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what tests a fault."""
    for item in items:
        if item.path.is_relative_to(HERE) or f"{item.path.name}::{item.name}".startswith(ELSEWHERE):
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def figure(record_property: Callable[[str, Any], None]) -> Callable[[str], None]:
    """Return ``figure(text)``, which reports a figure that was measured."""
    return lambda text: record_property("figure", text)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures."""
    rows = [
        (report.nodeid.rpartition("::")[2], text)
        for reports in terminalreporter.stats.values()
        for report in reports
        for key, text in getattr(report, "user_properties", ())
        if key == "figure" and getattr(report, "when", "") == "call"
    ]
    if rows:
        terminalreporter.section("figures")
        for name, text in rows:
            terminalreporter.write_line(f"{name}: {text}")
