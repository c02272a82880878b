"""What leaves of what was recorded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kedro_otel.facts import redaction
from kedro_otel.recording.model import Operation
from kedro_otel.semconv import names
from kedro_otel.semconv.fields import FIELDS

FULL_HEADER = SimpleNamespace(detail=names.FULL)
EVERYTHING: dict[str, Any] = {field.key: "secret" for field in FIELDS} | {
    "unheard.of": "secret",
    "kedro.unheard.of": "secret",
}


def operation(kind: str, **more: Any) -> Operation:
    """Return an operation of ``kind`` that has every key there is, and some that are not."""
    whole: dict[str, Any] = {
        "end_ns": 2,
        "error": True,
        "attributes": dict(EVERYTHING),
        "events": [{"name": "exception"}],
        "links": [{"traceId": "t", "spanId": "s", "attributes": [{"key": "secret"}]}],
        "status_message": "secret",
        "trace_state": "a=secret",
    }
    return Operation(
        kind, "t" * 32, "s" * 16, "", more.pop("name", f"{kind} secret"), 1, **{**whole, **more}
    )


@pytest.mark.parametrize("kind", names.OPERATIONS)
@pytest.mark.parametrize("level", names.DETAILS)
def test_only_what_has_a_row_leaves(kind: str, level: str) -> None:
    """At each level exactly the keys leave that have a row for that kind of operation at that level or below."""
    left = redaction.at(operation(kind), FULL_HEADER, level)
    if level == names.USAGE and kind not in {names.COMMAND, names.RUN}:
        assert left is None
        return
    assert left is not None
    expected = {
        field.key
        for field in FIELDS
        if kind in field.on and names.DETAILS.index(field.detail) <= names.DETAILS.index(level)
    }
    if kind == names.FOREIGN:
        expected = set(EVERYTHING) if level == names.FULL else set()
    assert set(left.attributes) == expected
    assert bool(left.events) == bool(left.status_message) == (level == names.FULL)


@pytest.mark.parametrize("kind", names.OPERATIONS)
def test_what_is_recorded_stays(kind: str) -> None:
    """Projecting an operation changes nothing of the operation itself."""
    one, same = operation(kind, project_command=True), operation(kind, project_command=True)
    for level in names.DETAILS:
        redaction.at(one, FULL_HEADER, level)
    assert [getattr(one, slot) for slot in Operation.__slots__] == [
        getattr(same, slot) for slot in Operation.__slots__
    ]


def test_a_recording_tells_no_more_than_when_it_was_made() -> None:
    """What was recorded when less was to leave is not widened by a later setting; nonsense is the least."""
    for recorded, now in (
        ("usage", "full"),
        ("full", "usage"),
        ("gibberish", "full"),
        ("full", "gibberish"),
    ):
        assert redaction.at(operation(names.NODE), SimpleNamespace(detail=recorded), now) is None
    left = redaction.at(operation(names.NODE), SimpleNamespace(detail="run"), "full")
    assert left is not None
    assert not left.events


def test_no_word_of_the_project_leaves_at_usage() -> None:
    """A run leaves without its pipeline's name, with Kedro's runner or `custom`, and with a built-in error or `_OTHER`."""
    runners = {
        "SequentialRunner": "SequentialRunner",
        "kedro.runner.ThreadRunner": "ThreadRunner",
        "secret.Runner": "custom",
        "secret.ThreadRunner": "custom",
    }
    errors = {
        "ValueError": "ValueError",
        "secret.Error": "_OTHER",
        names.PROCESS_DIED: names.PROCESS_DIED,
        "print": "_OTHER",
        "_OTHER": "_OTHER",
    }
    for runner, shown in runners.items():
        for error, told in errors.items():
            run = operation(
                names.RUN,
                attributes={
                    names.RUNNER_NAME: runner,
                    names.ERROR_TYPE: error,
                    names.ERROR_CAUSE: error,
                    names.PIPELINE_NAME: "secret",
                },
            )
            left = redaction.at(run, FULL_HEADER, names.USAGE)
            assert left is not None
            assert (left.name, left.attributes, left.links, left.trace_state) == (
                "run",
                {names.RUNNER_NAME: shown, names.ERROR_TYPE: told, names.ERROR_CAUSE: told},
                [],
                "",
            )


@pytest.mark.parametrize(
    ("words", "line", "name"),
    [
        (["kedro", "secret", "--secret", "*****"], "kedro *****", ""),
        (["kedro", "secret"], "kedro *****", ""),
        (["kedro", "run"], "kedro run", "run"),
        (["kedro", "run", "--secret", "*****"], "kedro run *****", "run"),
        (["kedro", "catalog", "secret"], "kedro catalog *****", "catalog"),
    ],
)
def test_a_projects_own_command_leaves_masked(words: list[str], line: str, name: str) -> None:
    """Of a command in the project's own cli.py only the name leaves, and only if Kedro has one of that name."""
    commands = " ".join(word for word in words[1:] if word[0] not in "-*")
    attributes = {
        names.COMMAND_ARGS: words,
        names.COMMAND_LINE: " ".join(words),
        names.COMMAND_NAME: commands,
    }
    command = operation(
        names.COMMAND, attributes=attributes, project_command=True, name=" ".join(words)
    )
    left = redaction.at(command, FULL_HEADER, names.USAGE)
    assert left is not None
    assert left.attributes == {
        names.COMMAND_ARGS: line.split(),
        names.COMMAND_LINE: line,
        names.COMMAND_NAME: name,
    }
    assert left.name == f"kedro {name}".strip()
    wider = redaction.at(command, FULL_HEADER, names.RUN)
    assert wider is not None
    assert wider.attributes == attributes


def test_the_resource_by_level() -> None:
    """The package's name needs `run`; tools that Kedro does not offer are custom at `usage`; what the user added is theirs."""
    here = {
        names.PROJECT_NAME: "secret",
        names.PROJECT_TOOLS: ["Linting", "secret"],
        names.EXAMPLE_PIPELINE: "secret",
        names.KEDRO_VERSION: "1",
        "team": "mine",
        "kedro.unheard.of": "secret",
    }
    assert redaction.resource_at(here, names.USAGE) == {
        names.PROJECT_TOOLS: ["Linting", "custom"],
        names.EXAMPLE_PIPELINE: "custom",
        names.KEDRO_VERSION: "1",
        "team": "mine",
    }
    assert redaction.resource_at(here, names.RUN) == {
        key: value for key, value in here.items() if key != "kedro.unheard.of"
    }
