"""What a shipper delivers, to whom, how often, and what it does about each refusal."""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter

import pytest
from loopback import (
    Loopback,
    accepted_but_lost,
    hang,
    loopback,
    lose,
    partial_points,
    partial_spans,
    reset,
)
from shipping_harness import Post, lines, post

from kedro_otel.cli.common import endpoint
from kedro_otel.recording import machine
from kedro_otel.semconv import names
from kedro_otel.shipping import status
from kedro_otel.shipping.process import foreground
from kedro_otel.shipping.state import journal

__all__ = ["loopback", "post"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Give up soon on a receiver that fails: these tests are about what happens then."""
    monkeypatch.setattr(foreground, "PATIENCE", 0.5)


def test_spans_and_counters_arrive_once(post: Post, loopback: Loopback):
    """A command, run, nodes and datasets arrive as spans and as numbers; shipping again sends nothing."""
    post.set(KEDRO_OTEL_DETAIL="run")
    post.run(nodes=2)
    done = post.deliver()
    assert not done.left
    assert done.counts["spans sent"] == 8
    assert loopback.span_names() == Counter(
        {
            "kedro run": 1,
            "run p": 1,
            "node n0": 1,
            "node n1": 1,
            "load n0_in": 1,
            "load n1_in": 1,
            "save n0_out": 1,
            "save n1_out": 1,
        }
    )
    assert loopback.totals("kedro.node.runs") == {
        ((names.NODE_NAME, "n0"),): 1,
        ((names.NODE_NAME, "n1"),): 1,
    }
    assert loopback.total("kedro.dataset.operations") == 4
    assert loopback.total("kedro.node.time") == pytest.approx(2 * 0.6)
    before = len(loopback.requests)
    assert not post.deliver().left
    assert len(loopback.requests) == before


def test_at_usage_nothing_of_the_project_leaves(post: Post, loopback: Loopback):
    """Commands and runs leave without names; nodes and datasets are numbers; the project's name is not in the resource."""
    post.run(nodes=1)
    post.deliver()
    assert loopback.span_names() == Counter({"kedro run": 1, "run": 1})
    assert loopback.total("kedro.node.runs") == 1
    assert "kedro.project.name" not in loopback.resources()[0]
    for request in loopback.requests:
        wire = request.message.SerializeToString()
        assert not [word for word in (b"node n0", b"n0_in", b"demo", b"run p") if word in wire]


def test_a_recording_made_at_usage_stays_at_usage(post: Post, loopback: Loopback):
    """Widening the detail later does not let out what was recorded under the narrower one."""
    post.run(nodes=1, detail="usage")
    post.set(KEDRO_OTEL_DETAIL="run")
    post.run(nodes=1, detail="run")
    post.deliver()
    assert loopback.span_names()["node n0"] == 1
    assert loopback.totals("kedro.node.runs") == {(): 1, ((names.NODE_NAME, "n0"),): 1}


@pytest.mark.parametrize(
    "header",
    [
        {"destination": None},
        {"destination": "0123456789abcdef"},
        {"machineId": "0123456789abcdef"},
        {"owner": "user"},
    ],
    ids=["no endpoint", "another endpoint", "another machine", "the user's own provider"],
)
def test_what_was_not_recorded_for_here_is_not_sent_from_here(
    post: Post, loopback: Loopback, header
):
    """An old backlog never goes to a new endpoint; each machine ships its own; the user's own provider sends its own."""
    post.command(**header)
    post.command("info")
    assert not post.deliver().left
    assert loopback.span_names() == Counter({"kedro info": 1})
    assert loopback.total("kedro.commands") == 1
    again = post.deliver(everything=True)
    assert loopback.total("kedro.commands") == (1 if "owner" in header else 2)
    assert not again.left


def test_a_segment_that_turns_out_to_be_the_users_is_left_alone(post: Post, loopback: Loopback):
    """Whose provider it is may show after the header was written; then all of the segment is the user's."""
    tape = post.command()
    tape.line(owner="user")
    post.deliver()
    assert loopback.requests == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_traces_does_not_hold_metrics(post: Post, loopback: Loopback, status):
    """Each signal has its own cursor and its own back-off; what is held goes when it may."""
    post.command()
    loopback.always["traces"] = status
    done = post.deliver()
    assert (done.left.spans, done.left.metrics, done.left.why) == (1, False, str(status))
    assert loopback.total("kedro.commands") == 1
    assert post.journal.signals["traces"].state == journal.HOLD
    assert len(loopback.of("traces", accepted=False)) == 1
    loopback.always.clear()
    assert not post.deliver().left
    assert loopback.span_names() == Counter({"kedro run": 1})
    assert post.journal.signals["traces"].state == journal.OK


def test_a_refusal_of_metrics_does_not_hold_traces(post: Post, loopback: Loopback):
    """The other way round, too; the totals that were held are whole when they go."""
    loopback.always["metrics"] = 403
    post.command()
    assert post.deliver().left == (0, True, False, "403")
    post.command()
    post.deliver()
    assert loopback.span_names() == Counter({"kedro run": 2})
    loopback.always.clear()
    assert not post.deliver().left
    assert loopback.total("kedro.commands") == 2


@pytest.mark.parametrize("act", [429, 502, 503, 504, 500, reset, lose])
def test_a_temporary_failure_is_tried_again_and_nothing_is_counted_twice(
    post: Post, loopback: Loopback, act, monkeypatch
):
    """Whatever the failure, each span arrives and each number is right in the end."""
    monkeypatch.setattr(foreground, "PATIENCE", 10)
    post.command()
    loopback.script("traces", act)
    loopback.script("metrics", act, act)
    assert not post.deliver().left
    assert loopback.span_names() == Counter({"kedro run": 1})
    assert loopback.total("kedro.commands") == 1
    assert len({span.span_id for span in loopback.spans()}) == 1


def test_a_lost_answer_changes_nothing_in_the_end(post: Post, loopback: Loopback, monkeypatch):
    """The receiver took it and its answer was lost: spans come again with the same ids, counters are what they are."""
    monkeypatch.setattr(foreground, "PATIENCE", 10)
    for _ in range(3):
        post.command()
        loopback.script("traces", accepted_but_lost)
        loopback.script("metrics", accepted_but_lost, accepted_but_lost)
        assert not post.deliver().left
    assert len(loopback.spans()) > len({span.span_id for span in loopback.spans()}) == 3
    assert loopback.total("kedro.commands") == 3


def test_requests_that_come_twice_and_in_any_order_count_the_same(post: Post, loopback: Loopback):
    """Totals are cumulative and every point has its own time: order and repetition are harmless."""
    for _ in range(10):
        post.command()
        post.deliver()
    loopback.requests[:] = loopback.requests * 2
    random.Random(1).shuffle(loopback.requests)
    assert loopback.total("kedro.commands") == 10
    assert len(loopback.span_names()) == 1


def test_each_series_begins_with_an_explicit_zero_and_its_times_grow(
    post: Post, loopback: Loopback
):
    """Start, then a point of 0, then the first real one, in requests of their own; one start and one instance for ever."""
    for name in ("run", "run", "info"):
        post.command(name)
        post.deliver()
    series: dict[tuple[object, ...], list[tuple[int, float]]] = {}
    for point in loopback.points():
        series.setdefault(point.series, []).append((point.time_ns, point.value))
        assert point.start_ns < point.time_ns
        if point.metric == "kedro.commands":
            assert (point.data.sum.aggregation_temporality, point.data.sum.is_monotonic) == (
                2,
                True,
            )
    assert (
        len({point.start_ns for point in loopback.points()})
        == len({point.instance for point in loopback.points()})
        == 1
    )
    for rows in series.values():
        assert rows[0][1] == 0 < rows[1][1]
        assert [time for time, _ in rows] == sorted({time for time, _ in rows})
    assert loopback.totals("kedro.commands") == {
        ((names.COMMAND_NAME, "run"),): 2,
        ((names.COMMAND_NAME, "info"),): 1,
    }


def test_resources_are_streams_of_their_own(post: Post, loopback: Loopback):
    """Another Kedro version, another instance id: two resources never share a series, and one keeps its id."""
    for version in ("1.6.0", "1.7.0", "1.6.0"):
        post.command(resource={"service.name": "kedro", "kedro.version": version})
        post.deliver()
    by_version = {
        row["kedro.version"]: row["service.instance.id"] for row in loopback.resources("metrics")
    }
    assert len(set(by_version.values())) == len(by_version) == 2
    assert {row["service.instance.id"] for row in loopback.resources("traces")} == set(
        by_version.values()
    )
    assert loopback.total("kedro.commands") == 3


def test_a_copied_home_begins_streams_of_its_own(post: Post, loopback: Loopback, monkeypatch):
    """The same files on another machine: new instance ids, nothing of the other machine's sent or counted again."""
    post.command()
    post.deliver()
    monkeypatch.setattr(machine, "machine_id", lambda: "f" * 16)
    post.command()
    post.deliver()
    assert len({row["service.instance.id"] for row in loopback.resources("metrics")}) == 2
    assert loopback.total("kedro.commands") == 2
    assert len(loopback.spans()) == 2


def test_one_bad_span_costs_itself(post: Post, loopback: Loopback):
    """A batch that is refused is halved until the one span is alone that the receiver does not take; that one is kept with the reason."""
    post.set(KEDRO_OTEL_DETAIL="run")
    post.run(nodes=20)

    def picky(handler) -> None:
        request = loopback.requests[-1]
        bad = any(
            span.name == "node n7"
            for rows in request.message.resource_spans
            for scope in rows.scope_spans
            for span in scope.spans
        )
        if not bad:
            loopback.requests[-1] = request._replace(accepted=True)
        handler.answer(
            400 if bad else 200,
            {"Content-Type": "application/json"},
            b'{"code":3,"message":"no such tenant"}' if bad else b"{}",
        )

    loopback.always["traces"] = picky
    done = post.deliver()
    assert done.counts["spans refused"] == 1
    assert done.counts["spans sent"] == 61
    assert "node n7" not in loopback.span_names()
    assert len(loopback.span_names()) == 61
    assert len(loopback.of("traces", accepted=False)) < 20
    assert [(row["why"], row["name"]) for row in lines(post.where.letters)] == [
        ("400: no such tenant", "node n7")
    ]
    assert loopback.total("kedro.node.runs") == 20


def test_what_was_refused_can_be_sent_again(post: Post, loopback: Loopback):
    """Refused spans go again when somebody asks: what is accepted then is no longer refused, and nothing is counted twice."""
    post.set(KEDRO_OTEL_DETAIL="run")
    post.run(nodes=3)
    loopback.always["traces"] = lambda handler: handler.answer(
        400, {"Content-Type": "application/json"}, b'{"code":3,"message":"no such tenant"}'
    )
    assert post.deliver().counts["spans refused"] == 11
    assert post.deliver(refused=True).counts["spans sent"] == 0
    assert status.summary()[0]["refused spans kept"] == 11
    loopback.always.clear()
    assert post.deliver().counts["spans sent"] == 0
    assert post.deliver(refused=True).counts["spans sent"] == 11
    assert len(loopback.spans()) == 11
    assert loopback.total("kedro.node.runs") == 3
    (row,) = status.summary()
    assert row["refused spans kept"] == 0
    assert row["lost"] == {}


def test_an_endpoint_that_refuses_everything_is_not_asked_a_thousand_times(
    post: Post, loopback: Loopback
):
    """A wrong path costs a few requests a batch; everything refused is counted and named."""
    post.set(KEDRO_OTEL_DETAIL="run")
    post.run(nodes=100)
    loopback.always["traces"] = 400
    done = post.deliver()
    assert done.counts["spans refused"] == 302
    assert len(lines(post.where.letters)) == 302
    assert len(loopback.of("traces", accepted=False)) < 30
    assert not done.left


def test_refused_metrics_are_said_and_the_next_change_brings_them_again(
    post: Post, loopback: Loopback
):
    """Totals are cumulative: a refusal costs time, not numbers; `status` counts the points and has the receiver's words."""
    post.command()
    loopback.always["metrics"] = 400
    done = post.deliver()
    (row,) = status.summary()
    assert done.counts["points refused"] == row["lost"]["points refused"] >= 1
    assert row["held"] == {"metrics": "400: no"}
    loopback.always.clear()
    post.command()
    post.deliver()
    assert loopback.total("kedro.commands") == 2


def test_a_partial_success_is_not_sent_again(post: Post, loopback: Loopback):
    """What the receiver dropped of an accepted request is counted as refused, with its reason."""
    post.command()
    loopback.script("traces", partial_spans(1, "quota"))
    loopback.script("metrics", 200, partial_points(1, "too old"))
    done = post.deliver()
    assert not done.left
    assert (done.counts["spans refused"], done.counts["points refused"]) == (1, 1)
    assert "quota" in post.journal.signals["traces"].why
    assert len(loopback.of("traces", accepted=False)) == 1


def test_requests_stay_under_four_mebibytes(post: Post, loopback: Loopback):
    """However long the attributes, no request is larger than receivers commonly take."""
    post.set(KEDRO_OTEL_DETAIL="run")
    tape = post.tape()
    run = tape.start("run", "run p", 0)
    for number in range(60):
        node = tape.start("node", f"node {number}", 0, run, kedro_node_inputs=["x" * 8000] * 25)
        tape.end(node, 1)
    tape.end(run, 2)
    assert not post.deliver().left
    assert loopback.span_names().total() == 61
    assert max(request.size for request in loopback.requests) < 4 << 20
    assert len(loopback.of("traces")) >= 3


def test_a_span_that_is_too_large_alone_is_set_aside(post: Post, loopback: Loopback):
    """It could never be sent, and must not stop the others."""
    post.set(KEDRO_OTEL_DETAIL="run")
    tape = post.tape()
    run = tape.start("run", "run p", 0)
    node = tape.start("node", "node large", 0, run, kedro_node_inputs=["x" * 8000] * 500)
    tape.end(node, 1)
    tape.end(run, 2)
    done = post.deliver()
    assert (done.counts["spans refused"], loopback.span_names()) == (1, Counter({"run p": 1}))
    assert "larger" in lines(post.where.letters)[0]["why"]


def test_what_the_sampler_left_out_is_counted_and_not_sent(post: Post, loopback: Loopback):
    """Sampling decides which spans are sent, never what is counted."""
    tape = post.tape()
    span = tape.start("command", "kedro run", 0, kedro_command_name="run")
    first, *_, last = tape.path.read_bytes().splitlines(keepends=True)
    tape.path.write_bytes(first + last.replace(b'"kind":1', b'"kind":1,"flags":0'))
    tape.end(span, 1)
    post.deliver()
    assert loopback.spans() == []
    assert loopback.total("kedro.commands") == 1
    (histogram,) = [
        point
        for point in loopback.points()
        if point.metric == "kedro.command.duration" and point.value
    ]
    assert not histogram.data.histogram.data_points[0].exemplars


def test_histograms_have_exemplars_that_name_the_trace(post: Post, loopback: Loopback):
    """From a slow bar in a dashboard to its trace."""
    tape = post.command()
    post.deliver()
    exemplars = [
        exemplar
        for point in loopback.points()
        if point.metric == "kedro.command.duration" and point.value
        for data in point.data.histogram.data_points
        for exemplar in data.exemplars
    ]
    assert [(exemplar.trace_id.hex(), exemplar.as_double) for exemplar in exemplars] == [
        (tape.trace, 1.0)
    ]
    assert exemplars[0].span_id in {span.span_id for span in loopback.spans()}


def test_a_signal_that_is_not_wanted_is_not_sent_and_does_not_wait(post: Post, loopback: Loopback):
    """OTEL_TRACES_EXPORTER=none: counters alone, and nothing is left behind."""
    post.set(OTEL_TRACES_EXPORTER="none")
    post.command()
    assert not post.deliver().left
    assert [request.signal for request in loopback.requests] == ["metrics", "metrics"]
    post.set(OTEL_TRACES_EXPORTER="otlp", OTEL_METRICS_EXPORTER="none")
    post.command("info")
    assert not post.deliver().left
    assert loopback.span_names() == Counter({"kedro info": 1})


def test_a_dead_run_is_delivered_once_as_dead(post: Post, loopback: Loopback):
    """A process that ended without a word: red, with its own ids, once; what its segment says later is ignored."""
    post.set(KEDRO_OTEL_DETAIL="run")
    tape = post.tape()
    command = tape.start("command", "kedro run", 0, kedro_command_name="run")
    run = tape.start("run", "run p", 1, command, kedro_pipeline_name="p")
    node = tape.start("node", "node n", 2, run, kedro_node_name="n")
    for _ in range(2):
        assert not post.deliver().left
    assert {span.span_id.hex() for span in loopback.spans()} == {command, run, node}
    assert {span.status.code for span in loopback.spans()} == {2}
    assert loopback.totals("kedro.pipeline.runs") == {
        (("error.type", names.PROCESS_DIED), ("kedro.pipeline.name", "p")): 1
    }
    tape.end(node, 3)
    tape.end(run, 4)
    tape.end(command, 5)
    tape.span("dataset", "load late", run, 4, 5)
    post.deliver()
    assert len(loopback.spans()) == 4
    assert (
        loopback.total("kedro.pipeline.runs")
        == loopback.total("kedro.commands")
        == loopback.total("kedro.node.runs")
        == 1
    )


def test_dead_spans_that_were_refused_for_now_come_later_and_once(post: Post, loopback: Loopback):
    """A dead run that could not be delivered is delivered as dead when it can be."""
    tape = post.tape()
    tape.start("command", "kedro run", 0, kedro_command_name="run")
    loopback.always["traces"] = 401
    assert post.deliver().left.spans == 1
    loopback.always.clear()
    assert not post.deliver().left
    post.deliver()
    assert [span.name for span in loopback.spans()] == ["kedro run"]
    assert loopback.total("kedro.commands") == 1


def test_what_runs_is_delivered_as_far_as_it_has_ended(post: Post, loopback: Loopback):
    """`kedro otel ship` beside a running pipeline sends what has ended and does not wait for the rest."""
    post.set(KEDRO_OTEL_DETAIL="run")
    tape = post.tape()
    run = tape.start("run", "run p", 0)
    tape.node("done", run, 1, 0.1, 0.1, 0.1)
    tape.live()
    done = post.deliver()
    assert not done.left
    assert "node done" in loopback.span_names()
    assert "run p" not in loopback.span_names()
    tape.end(run, 5)
    tape.dead()
    post.deliver()
    assert loopback.span_names()["run p"] == 1


def test_a_segment_without_locks_is_not_taken_for_dead(
    post: Post, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
):
    """Of another boot or host nobody knows who lives: what ended is sent, what is open is not judged."""
    monkeypatch.setattr(machine, "certain", lambda: False)
    tape = post.tape(bootId="another boot")
    run = tape.start("run", "run p", 0)
    tape.end(tape.start("command", "kedro run", 0, kedro_command_name="run"), 1)
    os.utime(tape.path, (1, 1))
    assert not post.deliver().left
    assert [span.name for span in loopback.spans()] == ["kedro run"]
    assert run not in {span.span_id.hex() for span in loopback.spans()}


def test_a_damaged_recording_does_not_stop_its_neighbours(post: Post, loopback: Loopback):
    """Nonsense, an empty file, a folder, a link: the others are delivered."""
    for number, plant in enumerate(
        (
            lambda path: path.write_bytes(b""),
            lambda path: path.write_bytes(b"nonsense\n"),
            lambda path: path.write_bytes(b'{"kedro-otel":99}\n'),
            lambda path: path.mkdir(),
            lambda path: path.symlink_to("/etc/passwd"),
            os.mkfifo,
        )
    ):
        post.recordings.mkdir(parents=True, exist_ok=True)
        plant(post.recordings / f"{number:020d}-1-0123abcd.jsonl")
    for path in post.recordings.glob("*-1-0123abcd.jsonl"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (1, 1))
    post.command()
    assert not post.deliver().left
    assert loopback.span_names() == Counter({"kedro run": 1})
    assert post.journal.counts["segments unreadable"] == 3
    post.deliver()
    assert post.journal.counts["segments unreadable"] == 3


def test_an_ephemeral_machine_sends_few_series(post: Post, loopback: Loopback):
    """In CI only commands, runs and sizes are counted; spans go as ever."""
    post.run(nodes=2, ephemeral=True)
    post.deliver()
    assert {point.metric for point in loopback.points()} == {
        "kedro.commands",
        "kedro.pipeline.runs",
        "kedro.project.node.count",
    }
    assert loopback.span_names().total() == 2


def test_no_credential_is_on_disk(post: Post, loopback: Loopback):
    """Neither the URL's password, query or path nor a header's token is in journal, log or letters."""
    post.set(
        OTEL_EXPORTER_OTLP_ENDPOINT=loopback.url.replace("http://", "http://me:canary-1@")
        + "/canary-4?key=canary-2",
        OTEL_EXPORTER_OTLP_HEADERS="x-token=canary-3",
    )
    loopback.always["traces"] = 400
    post.command()
    post.deliver()
    post.ship()
    assert loopback.requests[0].headers["x-token"] == "canary-3"
    assert b"canary" not in post.bytes_on_disk()


def test_the_wait_of_a_hung_receiver_is_bounded(post: Post, loopback: Loopback):
    """A receiver that never answers costs its timeout, and the rest waits."""
    post.set(OTEL_EXPORTER_OTLP_TIMEOUT="1")
    loopback.always.update(traces=hang, metrics=hang)
    post.command()
    left = post.deliver().left
    assert (left.spans, left.metrics) == (1, True)
    assert "no answer within" in left.why


def test_a_refusal_in_passing_is_tried_for_hours_and_then_final(post: Post, loopback: Loopback):
    """A captive portal loses nothing; what is still refused so after hours is a dead letter."""
    post.command()
    loopback.always.update(traces=302, metrics=302)
    done = post.deliver()
    assert (done.left.spans, done.counts["spans refused"]) == (1, 0)
    written = post.journal
    for one in (written.signals["traces"], written.signals["metrics"]):
        assert one.state == "doubt"
        one.since_ns -= 7 * 3600 * 10**9
        one.next_ns = 0
    written.commit()
    done = post.deliver()
    assert (done.left.spans, done.counts["spans refused"]) == (0, 1)
    assert [row["why"] for row in lines(post.where.letters)] == ["302"]
    loopback.always.clear()
    post.command()
    post.deliver()
    assert loopback.total("kedro.commands") == 2


def test_a_hold_ends_with_its_cure(post: Post, loopback: Loopback, monkeypatch):
    """A receiver that refused is asked at once when it has accepted a test; an environment that cannot send holds up no other."""

    def ready(name: str) -> bool:
        return post.journal.signals[name].ready(time.time_ns())

    post.command()
    loopback.always = {"traces": 401, "metrics": 401}
    post.deliver()
    assert not ready("traces")
    loopback.always.clear()
    found = endpoint.examined(os.environ, None)
    assert found["well"]
    assert ready("traces")
    assert ready("metrics")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    post.deliver()
    assert "missing" in post.journal.signals["traces"].why
    assert not ready("traces")
    monkeypatch.setattr(sys, "prefix", "/another/environment")
    assert ready("traces")
    assert ready("metrics")
