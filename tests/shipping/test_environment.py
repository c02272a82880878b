"""Does this machine vanish with the command? When to wait, and when few series are sent."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest

from kedro_otel.config import settings
from kedro_otel.shipping.process import environment, launch
from kedro_otel.shipping.state import destination_paths

SIGNS = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return ``machine(files, cgroup, namespace)``, which makes this machine look so; it is a lasting one with nothing of it."""

    def machine(
        *files: str,
        cgroup: str = "0::/user.slice/user-1000.slice/session-1.scope",
        namespace: int = 0xEFFFFFFC,
    ) -> None:
        real = os.stat
        monkeypatch.setattr(
            environment,
            "_text",
            lambda path: f"{cgroup}\n" if path == "/proc/self/cgroup" else "6.1.0-generic",
        )

        def stat(path, *args, **options):
            if path in SIGNS and path not in files:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            made_up = path == "/proc/self/ns/pid" or path in SIGNS
            found = real("/" if made_up else path, *args, **options)
            return (
                type("Stat", (), {"st_ino": namespace, "st_dev": found.st_dev})
                if path == "/proc/self/ns/pid"
                else found
            )

        monkeypatch.setattr(environment.os, "stat", stat)

    machine()
    return machine


def mode(**environ: str) -> str:
    """Return when to ship in this environment."""
    return launch.mode(settings.load(environ), environ)


def ephemeral(**environ: str) -> bool:
    """Tell whether this environment is ephemeral."""
    return launch.ephemeral(settings.load(environ), environ)


def test_on_a_lasting_machine_shipping_is_left_to_the_background(machine):
    """A laptop: no wait, all series."""
    assert (mode(), ephemeral()) == ("background", False)


@pytest.mark.parametrize(
    "environ",
    [
        {"CI": "true"},
        {"GITHUB_ACTION": "run"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
        {"container": "podman"},
    ],
)
def test_in_ci_and_in_containers_a_command_waits_and_sends_few_series(machine, environ):
    """Each job begins on a fresh disk."""
    assert (mode(**environ), ephemeral(**environ)) == ("wait", True)


@pytest.mark.parametrize(
    "environ", [{"SLURM_JOB_ID": "1"}, {"PBS_JOBID": "1"}, {"AWS_LAMBDA_FUNCTION_NAME": "f"}]
)
def test_in_a_batch_job_a_command_waits_and_sends_all_series(machine, environ):
    """The job's processes are killed at its end, its home stays."""
    assert (mode(**environ), ephemeral(**environ)) == ("wait", False)


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE, errno.ESTALE])
def test_an_error_that_passes_is_no_answer(machine, monkeypatch, error):
    """A container is one although the first look at its file, or at its cgroup, fails."""
    machine("/.dockerenv")
    real, failed = environment.os.stat, []

    def stat(path, *args, **options):
        if path == "/.dockerenv" and not failed:
            failed.append(path)
            raise OSError(error, os.strerror(error))
        return real(path, *args, **options)

    monkeypatch.setattr(environment.os, "stat", stat)
    assert environment.in_container({})
    assert failed


@pytest.mark.parametrize("file", ["/.dockerenv", "/run/.containerenv", "/run/systemd/container"])
def test_a_container_shows_in_its_files(machine, file):
    """Docker, Podman, nspawn."""
    machine(file)
    assert (mode(), ephemeral()) == ("wait", True)


@pytest.mark.parametrize(
    ("cgroup", "waits", "few"),
    [
        ("0::/system.slice/etl.service", "wait", False),
        ("0::/user.slice/user@1000.service/app.slice/vte-spawn-1.scope", "background", False),
        ("12:memory:/docker/0123", "wait", True),
        ("0::/kubepods.slice/pod1", "wait", True),
    ],
)
def test_a_unit_of_systemd_and_a_container_show_in_the_cgroup(machine, cgroup, waits, few):
    """What runs in a service is killed with it; a terminal's scope is not."""
    machine(cgroup=cgroup)
    assert (mode(), ephemeral()) == (waits, few)


def test_a_pid_namespace_of_its_own_dies_with_its_first_process(machine):
    """`unshare --pid`, or a container without any other sign: wait."""
    machine(namespace=4026532281)
    assert (mode(), ephemeral()) == ("wait", False)


def test_a_container_with_a_volume_of_ours_is_not_ephemeral(machine, monkeypatch, tmp_path):
    """KEDRO_OTEL_HOME on another file system: one state for all containers, so all series, and one journal for all of them."""
    machine("/.dockerenv")
    environ = {"KEDRO_OTEL_HOME": str(tmp_path / "not yet there")}
    assert ephemeral(**environ)
    other = type("Stat", (), {"st_dev": -1})
    real = environment.os.stat
    monkeypatch.setattr(
        environment.os,
        "stat",
        lambda path, *args, **options: (
            other if str(path) == str(tmp_path) else real(path, *args, **options)
        ),
    )
    assert not ephemeral(**environ)
    monkeypatch.setenv("KEDRO_OTEL_HOME", str(tmp_path / "not yet there"))
    assert destination_paths.sender() == destination_paths.SHARED
    assert destination_paths.mine("whichever")


@pytest.mark.parametrize("word", ["background", "wait", "manual"])
def test_the_user_decides(machine, word):
    """KEDRO_OTEL_SHIP and KEDRO_OTEL_EPHEMERAL say it, whatever the machine looks like."""
    machine("/.dockerenv")
    assert mode(KEDRO_OTEL_SHIP=word, CI="true") == word
    assert not ephemeral(KEDRO_OTEL_EPHEMERAL="false", CI="true")
    assert ephemeral(KEDRO_OTEL_EPHEMERAL="true")


def test_looking_costs_little_and_loads_nothing(environment):
    """What a command's start and end import of shipping: no OpenTelemetry, no requests, no subprocess machinery of ours."""
    code = (
        "import sys; from kedro_otel.shipping.process import launch; from kedro_otel.config import settings; import os;"
        "launch.mode(settings.load(os.environ), os.environ);"
        "heavy = ('opentelemetry', 'requests', 'grpc', 'google', 'tempfile', 'asyncio', 'platformdirs');"
        "print([name for name in sys.modules if name.split('.')[0] in heavy])"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
