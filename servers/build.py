"""Build the real servers that the tests talk to: collector, Jaeger, Prometheus (with promtool) and a compose-file checker.

``python3 servers/build.py`` builds what is missing, once, from the Go module proxy; a later call only prints the paths. Every version is pinned
here: the collector by ``collector/builder.yaml``, the others by the ``go.mod`` and ``go.sum`` of their own folder (Jaeger's and Prometheus's
dependencies do not agree, so they cannot share one). Binaries live outside the tree, in ``${XDG_CACHE_HOME:-~/.cache}/kedro-otel/servers`` under
a hash of their pins, so a changed pin is another binary and a checkout stays clean. ``OTELCOL_BIN``, ``JAEGER_BIN``, ``PROMETHEUS_BIN``,
``PROMTOOL_BIN`` and ``COMPOSE_BIN`` name existing binaries instead. Needs Go on the PATH and nothing but Python's standard library; exit code 1
says that a build failed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
BUILDER = "go.opentelemetry.io/collector/cmd/builder@v0.155.0"
"""The collector's own build tool; its version goes with the manifest's."""


class Server(NamedTuple):
    """One binary: its file name, the variable that names an existing one, its pins' folder, its Go package (None: the collector's builder)."""

    binary: str
    variable: str
    folder: str
    package: str | None


SERVERS: dict[str, Server] = {
    "otelcol": Server("otelcol", "OTELCOL_BIN", "collector", None),
    "jaeger": Server(
        "jaeger", "JAEGER_BIN", "jaeger", "github.com/jaegertracing/jaeger/cmd/jaeger"
    ),
    "prometheus": Server(
        "prometheus",
        "PROMETHEUS_BIN",
        "prometheus",
        "github.com/prometheus/prometheus/cmd/prometheus",
    ),
    "promtool": Server(
        "promtool", "PROMTOOL_BIN", "prometheus", "github.com/prometheus/prometheus/cmd/promtool"
    ),
    "compose": Server("compose-spec", "COMPOSE_BIN", "compose", "."),
}


def cached(name: str) -> Path:
    """Where this checkout's build of one server lives, whether or not it is there yet."""
    server = SERVERS[name]
    digest = hashlib.sha256(
        f"{platform.system()} {platform.machine()} {BUILDER if server.package is None else ''}".encode()
    )
    for pin in sorted(
        (HERE / server.folder).glob("[bgm]*[!~]")
    ):  # builder.yaml, go.mod, go.sum, main.go
        digest.update(pin.name.encode() + b"\0" + pin.read_bytes())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    suffix = ".exe" if os.name == "nt" else ""
    return cache / "kedro-otel" / "servers" / digest.hexdigest()[:16] / (server.binary + suffix)


def find(name: str) -> Path | None:
    """The binary to run: the one that the environment names, else the cached build, else None."""
    named = os.environ.get(SERVERS[name].variable)
    path = Path(named) if named else cached(name)
    return path if path.is_file() else None


def build(name: str) -> Path:
    """Build one server into the cache and return its path; raises CalledProcessError when Go fails."""
    target = cached(name)
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    server = SERVERS[name]
    # Beside the target, so that the last step is a rename: a binary is whole or absent, also with two builds at once.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as scratch:
        made = Path(scratch) / target.name
        flags = ["-trimpath", "-ldflags=-s -w"]
        if server.package is None:
            manifest = HERE / server.folder / "builder.yaml"
            _go(
                "run",
                BUILDER,
                "--config",
                str(manifest),
                "--output-path",
                scratch,
                "--skip-strict-versioning=false",
                cwd=HERE,
            )
        else:
            _go("build", *flags, "-o", str(made), server.package, cwd=HERE / server.folder)
        made.replace(target)
    return target


def _go(*arguments: str, cwd: Path) -> None:
    environment = {**os.environ, "CGO_ENABLED": "0"}
    subprocess.run(["go", *arguments], cwd=cwd, env=environment, check=True, stdout=sys.stderr)


def main() -> int:
    """Build what was asked for and print one ``VARIABLE=path`` line each on stdout, for ``eval`` or ``$GITHUB_ENV``."""
    parser = argparse.ArgumentParser(description="Build the real servers that the tests talk to.")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(SERVERS)}; all of them if none is given",
    )
    parser.add_argument(
        "--check", action="store_true", help="build nothing; exit with 1 if one is missing"
    )
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in SERVERS]
    if unknown:
        parser.error(f"no server is called {unknown[0]}; there are {', '.join(SERVERS)}")
    missing = 0
    if hasattr(os, "nice"):
        os.nice(10)  # minutes of compiling must not take the machine from its user
    for name in options.names or SERVERS:
        path = find(name)
        if path is None and not options.check:
            if shutil.which("go") is None:
                print(
                    f"servers: Go is not on the PATH; install it, or name an existing binary in {SERVERS[name].variable}",
                    file=sys.stderr,
                )
                return 1
            print(f"servers: building {name} …", file=sys.stderr)
            began = time.monotonic()
            try:
                path = build(name)
            except subprocess.CalledProcessError as failure:
                print(
                    f"servers: {name} was not built, Go ended with {failure.returncode}; its messages are above",
                    file=sys.stderr,
                )
                return 1
            print(f"servers: {name} took {time.monotonic() - began:.0f} s", file=sys.stderr)
        if path is None:
            missing += 1
            print(
                f"servers: {name} is not built; run python3 servers/build.py {name}",
                file=sys.stderr,
            )
        else:
            print(f"{SERVERS[name].variable}={path}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
