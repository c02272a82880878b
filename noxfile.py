"""The tests on every Python, Kedro and OpenTelemetry that are supported; what is oldest is read from pyproject.toml.

``nox`` runs all combinations, ``nox -s oldest`` and ``nox -s newest`` the two corners that CI runs; words after ``--`` go to pytest.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import nox

nox.needs_version = ">=2024.10"
nox.options.sessions = ["tests"]
nox.options.error_on_missing_interpreters = True
nox.options.reuse_venv = "yes"

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT, max_version="3.13")
OPENTELEMETRY = ("opentelemetry-api", "opentelemetry-sdk", "opentelemetry-exporter-otlp")


def oldest_versions(*names: str) -> list[str]:
    """Return a constraint ``name==version`` for the lower bound of each of our dependencies, or of ``names`` only."""
    bounds = [
        re.fullmatch(r"([\w-]+)>=([\w.]+)(;.*)?", dependency)
        for dependency in PYPROJECT["project"]["dependencies"]
    ]
    return [
        f"{bound[1]}=={bound[2]}{bound[3] or ''}"
        for bound in bounds
        if bound and (not names or bound[1] in names)
    ]


def run_tests(session: nox.Session, constraints: list[str], *options: str) -> None:
    """Install the package under ``constraints`` as the Makefile does, and run pytest with ``options`` or the words after ``--``."""
    environment = Path(session.virtualenv.location)
    file = environment / "constraints.txt"
    file.write_text("\n".join(constraints), encoding="utf-8")
    session.install("--quiet", "--editable", ".[demo,test]", "--constraint", str(file))
    session.run(
        "python", "-m", "pip", "uninstall", "--quiet", "--yes", "kedro-telemetry", silent=True
    )
    session.install(
        "--quiet",
        "--no-deps",
        "--upgrade",
        "--target",
        str(environment / "kedro-telemetry"),
        "kedro-telemetry",
    )
    session.run("python", "-m", "pip", "list", "--quiet", "--format=freeze")
    session.run(
        "python",
        "-m",
        "pytest",
        "-n",
        os.environ.get("WORKERS", "2"),
        "--dist",
        "worksteal",
        *options,
        *session.posargs,
    )


@nox.session(python=PYTHONS)
@nox.parametrize("opentelemetry", ["oldest", "newest"])
@nox.parametrize("kedro", ["oldest", "newest"])
def tests(session: nox.Session, kedro: str, opentelemetry: str) -> None:
    """Run the tests on one combination."""
    constraints = oldest_versions("kedro") if kedro == "oldest" else []
    constraints += oldest_versions(*OPENTELEMETRY) if opentelemetry == "oldest" else []
    run_tests(session, constraints)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """Run the tests on the oldest Python and the oldest version of every dependency."""
    run_tests(session, oldest_versions())


@nox.session(python=PYTHONS[-1])
def newest(session: nox.Session) -> None:
    """Run the tests on the newest Python and the newest version of every dependency."""
    run_tests(session, [])
