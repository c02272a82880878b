"""The detached process: one at a time, there while something runs, gone when nobody wants it, and killable anywhere."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import pytest
from differential import shippers
from loopback import Loopback, hang, loopback
from shipping_harness import Post, log_line, post

from kedro_otel.config import paths
from kedro_otel.semconv import names
from kedro_otel.shipping import failpoints
from kedro_otel.shipping.failpoints import VARIABLE
from kedro_otel.shipping.process import flush, interpreter, launch, lock

__all__ = ["loopback", "post"]


def test_a_command_starts_it_and_it_ends_when_everything_is_delivered(
    post: Post, loopback: Loopback
):
    """Started and forgotten: what was recorded arrives, and no process stays."""
    post.command()
    post.launch()
    post.until(lambda: loopback.total("kedro.commands") == 1 and loopback.span_names())
    post.until(post.idle, 5)
    assert not flush.lacking(
        post.settings, flush.recorded(post.target, post.settings), post.journal
    )


def test_starting_it_takes_the_command_a_few_milliseconds(post: Post):
    """The best of several starts: what a command pays, whatever else this machine does."""
    post.command()
    post.launch()
    took = []
    for _ in range(5):
        began = time.perf_counter()
        launch.spawn("end")
        took.append(time.perf_counter() - began)
    assert min(took) < 0.02
    assert min(took) > 0


def test_it_is_detached(post: Post, loopback: Loopback):
    """Own session, our own folder, no terminal, no inherited file, and a mark against starting another."""
    loopback.always["traces"] = hang
    post.command()
    read, write = os.pipe()
    os.set_inheritable(write, True)
    post.launch()
    os.close(write)
    post.until(lambda: not post.idle())
    (pid,) = shippers(post.home)
    proc = Path(f"/proc/{pid}")
    assert os.getsid(pid) == pid
    assert (proc / "stat").read_text().rpartition(")")[2].split()[1] != str(os.getpid())
    assert Path(f"/proc/self/task/{os.getpid()}/children").read_text().split() == []
    assert (proc / "cwd").resolve() == paths.home()
    assert {str((proc / "fd" / number).readlink()) for number in "012"} == {"/dev/null"}
    assert os.read(read, 1) == b""  # nobody holds the other end
    (marked,) = (
        word
        for word in (proc / "environ").read_bytes().split(b"\0")
        if word.startswith(f"{launch.GUARD}=".encode())
    )
    assert 0 < time.time_ns() - int(marked.partition(b"=")[2]) < 60e9
    assert b"canary" not in (proc / "cmdline").read_bytes()
    assert "Umask:\t0077\n" in (proc / "status").read_text()
    os.close(read)


def test_it_goes_on_for_a_while_after_sigterm(post: Post, loopback: Loopback):
    """A batch system that ends a job sends SIGTERM to each of its processes: what they left is still delivered, for a bounded time."""
    loopback.always["traces"] = 503
    post.command()
    post.launch()
    (pid,) = post.until(lambda: shippers(post.home))
    post.until(post.log)
    os.kill(pid, signal.SIGTERM)
    loopback.always["traces"] = 200
    post.until(loopback.span_names)
    post.until(post.idle, 5)


def test_it_does_not_go_on_for_ever_after_sigterm(post: Post, loopback: Loopback):
    """After its time it ends, whatever is still to be sent, which stays recorded."""
    loopback.always["traces"] = hang
    post.command()
    code = "from kedro_otel.shipping.process import daemon; daemon.GRACE = 0.3; daemon.main()"
    process = subprocess.Popen([sys.executable, "-c", code], env=post.environment)
    try:
        post.until(lambda: not post.idle())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
    assert flush.lacking(
        post.settings, flush.recorded(post.target, post.settings), post.journal
    ).spans


def test_it_starts_no_other_and_none_without_consent_or_endpoint(post: Post, monkeypatch):
    """Inside itself, with telemetry off, or without an endpoint nothing is started."""
    for variables in (
        {launch.GUARD: "1"},
        {"KEDRO_OTEL_ENABLED": "false"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ):
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            assert not launch.start("end")
    assert post.ship(KEDRO_OTEL_ENABLED="false") == 0
    assert not (post.home / "destinations").exists()


def test_where_no_process_can_be_started_nothing_is_raised(post: Post, monkeypatch):
    """A full process table or a missing interpreter is no reason to fail a command."""
    post.command()
    monkeypatch.setattr(interpreter, "_candidates", lambda: iter(["/nowhere/python"]))
    assert not launch.start("end")
    monkeypatch.setattr(interpreter, "_candidates", lambda: iter([sys.executable]))
    monkeypatch.setattr(os, "posix_spawn", lambda *_, **__: os.open("/nowhere/python", os.O_RDONLY))
    assert not launch.start("end")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_nothing_of_the_project_is_imported(post: Post, loopback: Loopback, tmp_path, monkeypatch):
    """Modules of the working folder and of PYTHONPATH that have the names of ours, sitecustomize too, are never run."""
    evil = tmp_path / "project"
    for name in (
        "sitecustomize",
        "usercustomize",
        "requests",
        "opentelemetry",
        "kedro_otel",
        "grpc",
        "yaml",
        "json",
        "urllib3",
    ):
        (evil / "src" / name).mkdir(parents=True)
        for place in (evil / "src" / name / "__init__.py", evil / f"{name}.py"):
            place.write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(evil)
    monkeypatch.setenv("PYTHONPATH", str(evil))
    monkeypatch.setenv("PYTHONSTARTUP", str(evil / "json.py"))
    monkeypatch.syspath_prepend(str(evil))
    monkeypatch.syspath_prepend(str(evil / "src"))
    post.command()
    post.launch()
    post.until(lambda: loopback.total("kedro.commands") == 1 and post.idle())
    assert not (tmp_path / "ran").exists()


def test_a_long_run_is_seen_while_it_runs(post: Post, loopback: Loopback):
    """Node by node, each within about a second of its end; the shipper stays as long as the run does."""
    post.set(KEDRO_OTEL_DETAIL="run")
    tape = post.tape(time.time_ns())
    tape.live()
    run = tape.start("run", "run p", 0)
    post.launch()
    for number in range(3):
        tape.end(tape.start("node", f"node n{number}", 0, run), 1)
        began = time.monotonic()
        post.until(lambda number=number: f"node n{number}" in loopback.span_names())
        assert time.monotonic() - began < (8 if number == 0 else 2)
    time.sleep(1)
    assert not post.idle()
    tape.end(run, 2)
    tape.dead()
    post.until(lambda: "run p" in loopback.span_names())
    post.until(post.idle, 5)
    assert len(loopback.spans()) == 4


def test_the_latest_word_on_detail_counts(post: Post, loopback: Loopback):
    """A shipper of a command at usage sends what began before it at usage, and a later run, at run, with its nodes."""
    before = post.run(nodes=1, at=time.time_ns(), detail="run")
    alive = post.tape(time.time_ns())
    alive.live()  # so the shipper stays
    post.launch()
    post.until(lambda: loopback.total("kedro.pipeline.runs") == 1)
    post.set(KEDRO_OTEL_DETAIL="run")
    after = post.run(nodes=2, at=time.time_ns(), detailFrom="environment")
    post.launch()  # finds the first at work
    post.until(lambda: loopback.total("kedro.pipeline.runs") == 2)
    alive.dead()
    post.until(post.idle)
    seen = Counter(span.trace_id.hex() for span in loopback.spans())
    assert seen == {before.trace: 2, after.trace: 2 + 2 * 3}


def test_a_killed_run_is_reported_within_seconds(post: Post, loopback: Loopback):
    """The process is gone, its lock with it: red, naming the node, without another command."""
    post.set(KEDRO_OTEL_DETAIL="run")
    tape = post.tape(time.time_ns())
    tape.live()
    run = tape.start("run", "run p", 0)
    tape.start("node", "node fatal", 1, run)
    post.launch()
    post.until(lambda: not post.idle())
    time.sleep(1)
    assert loopback.spans() == []
    tape.dead()
    began = time.monotonic()
    post.until(lambda: len(loopback.span_names()) == 2)
    assert time.monotonic() - began < 4
    assert {span.status.code for span in loopback.spans()} == {2}
    post.until(lambda: loopback.total("kedro.node.runs"))
    ((attributes, value),) = loopback.totals("kedro.node.runs").items()
    assert (dict(attributes)[names.ERROR_TYPE], value) == (names.PROCESS_DIED, 1)


@pytest.mark.parametrize("point", failpoints.NAMES)
def test_killed_at_any_step_it_loses_nothing_and_counts_nothing_twice(
    post: Post, loopback: Loopback, point
):
    """Every failpoint is reached; after it, and again at its second time, shipping on gives exact numbers and the same ids."""
    post.set(KEDRO_OTEL_DETAIL="run", KEDRO_OTEL_MAX_SEGMENTS="2")
    if point == "letter written":
        loopback.always["traces"] = 400
    recorded: Counter[str] = Counter()
    logs = point.startswith("logs ")
    if logs:
        post.set(KEDRO_OTEL_DETAIL="full", KEDRO_OTEL_LOGS="on")
    for _ in range(4):
        tape = post.run(nodes=1, detail="full" if logs else "run", logs=logs)
        recorded[tape.trace] += 5
        if logs:
            log_line(tape, tape.trace)
    for time_ in (1, 2):
        code = post.ship(code=None, **{VARIABLE: f"{point}:{time_}"})
        assert code == (-signal.SIGKILL if time_ == 1 else code)
    loopback.always.clear()
    assert post.ship() == 0
    for metric, value in (
        ("kedro.commands", 4),
        ("kedro.pipeline.runs", 4),
        ("kedro.node.runs", 4),
        ("kedro.dataset.operations", 8),
    ):
        assert loopback.total(metric) == value
    spans = {(span.trace_id.hex(), span.span_id.hex()) for span in loopback.spans()}
    sent = Counter(trace for trace, _ in spans)
    refused = post.journal.counts["spans refused"]
    assert sum(sent.values()) + refused >= sum(recorded.values())
    assert sent == recorded or refused
    assert post.journal.note == ""


def test_of_many_shippers_one_ships(post: Post, loopback: Loopback, full):
    """Thirty-two at once, and again while they work: every number is right, no span comes twice."""
    number = 32 if full else 8
    for round_ in range(2):
        for _ in range(5):
            post.command()
        processes = [post.shipper() for _ in range(number)]
        assert {process.wait(60) for process in processes} == {0}
        assert loopback.total("kedro.commands") == 5 * (round_ + 1)
    assert len(loopback.spans()) == len({span.span_id for span in loopback.spans()}) == 10


def test_no_command_is_missed_while_a_shipper_ends(post: Post, loopback: Loopback, full):
    """Commands that end while the shipper is about to leave are its business or start the next one: none waits for a third."""
    number = 60 if full else 15
    for count in range(number):
        post.command()
        post.launch()
        time.sleep(0.003 * (count % 40))
    post.until(lambda: loopback.total("kedro.commands") == number, 60)
    post.until(post.idle, 10)
    assert len(loopback.spans()) == number


def test_switching_off_ends_it_within_a_second(post: Post, loopback: Loopback):
    """`kedro otel off` while a receiver keeps it waiting: gone, nothing more sent, nothing more written."""
    loopback.always.update(traces=hang, metrics=hang)
    post.command()
    process = post.shipper()
    post.until(lambda: loopback.of("traces", accepted=False))
    paths.user_config().parent.mkdir(parents=True, exist_ok=True)
    paths.user_config().write_text("enabled = false\n")
    began = time.monotonic()
    assert process.wait(10) == 0
    assert time.monotonic() - began < 1.5
    assert len(loopback.requests) == 1


def test_a_purge_ends_it_and_nothing_comes_back(post: Post, loopback: Loopback):
    """Recordings and journals erased under it: it goes within a second and writes nothing again."""
    loopback.always.update(traces=hang, metrics=hang)
    post.command()
    process = post.shipper()
    post.until(lambda: loopback.of("traces", accepted=False))
    shutil.rmtree(paths.recordings())
    shutil.rmtree(paths.destinations())
    began = time.monotonic()
    assert process.wait(10) == 0
    assert time.monotonic() - began < 1.5
    assert list(post.home.iterdir()) == []


def test_a_receiver_that_is_away_for_a_moment_is_waited_for(post: Post):
    """Nobody listens at first; when somebody does, everything comes, from the same process."""
    port = post.loopback.server_address[1]
    post.loopback.close()
    post.command()
    process = post.shipper()
    post.until(lambda: post.journal.signals["traces"].failures)
    server = Loopback(port)
    try:
        post.until(lambda: server.total("kedro.commands") == 1 and server.span_names(), 30)
        assert process.wait(20) == 0
    finally:
        server.close()


def test_a_poke_ends_its_waiting(post: Post, loopback: Loopback):
    """`kedro otel ship` beside a shipper that backs off makes that one try at once, and waits for it."""
    tape = post.tape(time.time_ns())
    tape.live()
    loopback.always["traces"] = 401
    post.command()
    post.shipper()
    post.until(lambda: post.journal.signals["traces"].state == "hold")
    loopback.always.clear()
    assert not post.deliver().left
    assert loopback.span_names() == Counter({"kedro run": 1})
    assert not post.idle()
    tape.dead()
    post.until(post.idle)


def test_the_wait_ends_when_everything_is_delivered(post: Post, loopback: Loopback):
    """Where the machine vanishes a command waits for the delivery and not longer."""
    post.command()
    post.launch()
    began = time.monotonic()
    assert launch.wait(20) is None
    assert time.monotonic() - began < 15
    assert (loopback.total("kedro.commands"), loopback.span_names().total()) == (1, 1)


@pytest.mark.parametrize(("status", "least"), [(503, 0.0), (401, 0.0)])
def test_the_wait_is_not_for_what_will_not_come(post: Post, loopback: Loopback, status, least):
    """Refused for now: the command goes on and says in one line what was left, why, where it is, and what to type."""
    loopback.always.update(traces=status, metrics=status)
    post.command()
    post.launch()
    began = time.monotonic()
    said = launch.wait(20)
    assert least <= time.monotonic() - began < 10
    assert said is not None
    assert "\n" not in said
    for word in (
        "spans of 1 recording and counters",
        str(status),
        loopback.url,
        str(post.home),
        "kedro otel ship",
    ):
        assert word in said


def test_the_wait_is_bounded(post: Post, loopback: Loopback):
    """A receiver that hangs costs at most the deadline."""
    loopback.always.update(traces=hang, metrics=hang)
    post.command()
    post.launch()
    began = time.monotonic()
    assert launch.wait(2.0) is not None
    assert time.monotonic() - began < 2.7


def test_nothing_is_said_where_there_is_no_endpoint(post: Post, monkeypatch):
    """Without an endpoint there is nothing to wait for."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    assert launch.wait(5) is None


def test_recordings_within_bounds_once_they_are_counted(post: Post, loopback: Loopback):
    """The receiver of the traces is away: old recordings go, are counted before, and the loss is told."""
    post.set(KEDRO_OTEL_MAX_SEGMENTS="3", KEDRO_OTEL_DETAIL="run")
    loopback.always["traces"] = 401
    for _ in range(10):
        post.run(nodes=1)
    old = post.run(nodes=1, destination="0123456789abcdef")
    assert post.ship() == 0
    assert len(list(post.recordings.glob("0*.jsonl"))) == 3
    assert loopback.total("kedro.commands") == 10
    assert post.journal.counts["recordings dropped unsent"] >= 7
    assert old.path.exists() or list(
        (post.home / "destinations/0123456789abcdef").glob("journal-*.json")
    )


def test_an_idle_shipper_costs_little(post: Post, loopback: Loopback):
    """CPU seconds of shipping one command, and of finding nothing to do."""
    post.command()
    code = (
        "import resource, sys; from kedro_otel.shipping.process.daemon import main; main(); u = resource.getrusage(resource.RUSAGE_SELF);"
        "print(u.ru_utime + u.ru_stime)"
    )
    costs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-I", "-c", code],
            env=post.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        costs.append(float(done.stdout))
    assert loopback.total("kedro.commands") == 1
    assert costs[0] < 1.5  # 0.4 on a machine that does nothing else
    assert costs[1] < costs[0]


def test_what_was_recorded_in_memory_is_handed_over(post: Post, loopback: Loopback):
    """Where no place is writable a child takes the segment through a pipe, ships it, and leaves nothing behind."""
    tape = post.command()
    tape.span("foreign", "large", "", 0, 1, text="x" * 300_000)  # more than a pipe holds
    segment = tape.path.read_bytes()
    shutil.rmtree(post.recordings)
    assert launch.hand_over(segment) is None
    assert launch.wait_for_handed_over(20) is None
    assert loopback.total("kedro.commands") == 1
    assert list(post.home.iterdir()) == []
    assert loopback.span_names() == Counter({"kedro run": 1})


def test_the_wait_brings_the_last_counters_at_once(post: Post, loopback: Loopback):
    """While a run is followed counters go every few seconds; a command that waits for its end does not wait for that."""
    tape = post.tape(time.time_ns())
    tape.live()
    post.launch()
    for number in (1, 2):
        tape.end(tape.start("command", "kedro run", 0, kedro_command_name="run"), 1)
        began = time.monotonic()
        assert launch.wait(20) is None
        assert time.monotonic() - began < (15 if number == 1 else 3)
        assert loopback.total("kedro.commands") == number
    tape.dead()


def test_one_stumble_is_waited_for(post: Post, loopback: Loopback):
    """A receiver that is busy once is not given up at once."""
    loopback.script("traces", 503)
    loopback.script("metrics", 503)
    post.command()
    post.launch()
    assert launch.wait(20) is None
    assert (loopback.total("kedro.commands"), loopback.span_names().total()) == (1, 1)


def test_an_error_of_the_system_is_no_reason_for_another_lock(tmp_path, monkeypatch):
    """A lock that fails for once is tried again; only where a file system has no locks another place stands in."""
    failures = [errno.EIO] * 100
    real = lock._lock

    def flock(descriptor: int) -> None:
        if failures:
            number = failures.pop()
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(lock, "_lock", flock)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    path = tmp_path / "shipper.lock"
    first = lock.Lock(path)
    assert not first.take(0.0)
    failures[1:] = []
    assert first.take(0.0)
    assert not lock.Lock(path).take(0.0)
    first.release()
    assert list((tmp_path / "elsewhere").iterdir()) == []
    failures.append(errno.ENOLCK)
    assert first.take(0.0)
    assert list((tmp_path / "elsewhere").iterdir()) != []
    first.release()
