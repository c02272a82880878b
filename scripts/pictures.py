"""Take the documentation's pictures from real runs of the demo: one that succeeds, one that fails, one that is killed.

``python scripts/pictures.py [FOLDER]`` writes docs/images: the report and ``kedro otel ui`` as Chromium shows them, wide and narrow, and
``kedro otel show`` as an SVG. Needs chromium, chromium-driver and the extras ``demo`` and ``test``; takes a minute, in a folder of its own.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import Browser, browser, missing  # noqa: E402
from ui import serving  # noqa: E402

KEDRO = (sys.executable, "-m", "kedro")
WIDTHS = (1280, 400)
COLOURS = 200


def main(*words: str) -> int:
    """Take all pictures; return the exit code."""
    lacking = missing()
    if lacking:
        print(f"{lacking} not installed: apt-get install chromium chromium-driver", file=sys.stderr)
        return 1
    folder = Path(words[0]) if words else ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        environment(place)
        with browser(place / "profile") as chromium:
            for name, trace in runs(place / "wine"):
                photograph(chromium, place / "wine", name, trace, folder)
                if name == "killed":
                    app(chromium, place / "wine", folder)
                else:
                    (folder / f"show-{name}.svg").write_text(drawing(trace), encoding="utf-8")
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size / 1024:6.0f} KiB  {path.name}")
    return 0


def environment(place: Path) -> None:
    """Keep to a home of our own, and let nothing of this machine's settings show."""
    for key in list(os.environ):
        if key.startswith(("OTEL_", "KEDRO_", "DO_NOT_TRACK", "GITHUB_", "CI", "XDG_")):
            del os.environ[key]
    (place / "home").mkdir()
    os.environ.update(
        HOME=str(place / "home"),
        KEDRO_OTEL_HOME=str(place / "home/kedro-otel"),
        TZ="UTC",
        PYTHONWARNINGS="ignore",
    )
    time.tzset()


def runs(project: Path) -> Iterator[tuple[str, str]]:
    """Run the demo in three ways; yield the name of each and its trace id."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([*KEDRO, "otel", "demo", str(project)], check=True, **quiet)
    subprocess.run(
        [*KEDRO, "run"], cwd=project, check=True, **quiet
    )  # the second finds compiled modules and files in memory
    yield "ok", last()
    subprocess.run([*KEDRO, "run", "--params", "folds=1"], cwd=project, check=False, **quiet)
    yield "failed", last()
    with subprocess.Popen([*KEDRO, "run"], cwd=project, **quiet) as process:
        wait_for("node train_forest")
        time.sleep(1.5)
        process.kill()
    yield "killed", last()


def wait_for(text: str) -> None:
    """Wait until the newest recording tells of ``text``."""
    deadline = time.monotonic() + 120
    known = set(recordings())
    while time.monotonic() < deadline:
        if any(text in path.read_text() for path in recordings() if path not in known):
            return
        time.sleep(0.05)
    raise TimeoutError(text)


def recordings() -> list[Path]:
    """Return the recordings' files."""
    return [
        path
        for path in Path(os.environ["KEDRO_OTEL_HOME"], "recordings").glob("*.jsonl")
        if not path.name.startswith(".")
    ]


def last() -> str:
    """Return the trace id of the newest run."""
    from kedro_otel.viewing.model.find import find

    return find().entry.operation.trace_id


def photograph(chromium: Browser, project: Path, name: str, trace: str, folder: Path) -> None:
    """Take the report of a run, wide and narrow; the successful one also in the dark."""
    page = project / f"{name}.html"
    written = subprocess.run(
        [*KEDRO, "otel", "report", trace, "-o", str(page), "--json"],
        cwd=project,
        check=True,
        capture_output=True,
        text=True,
    )
    print(json.loads(written.stdout[written.stdout.rindex("{") :])["bytes"], "bytes:", page.name)
    for width in WIDTHS:
        for dark in (False, True) if name == "ok" and width == WIDTHS[0] else (False,):
            chromium.open(page, width=width, dark=dark)
            assert not chromium.complaints()
            path = folder / f"report-{name}-{width}{'-dark' if dark else ''}.png"
            chromium.render_trace(path)
            smaller(path)


def app(chromium: Browser, project: Path, folder: Path) -> None:
    """Take the pages of ``kedro otel ui``: the list, two runs, a trend, and a run while it runs."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for _ in range(4):
        subprocess.run([*KEDRO, "run"], cwd=project, check=True, **quiet)
    with serving(project) as ui:

        def take(name: str, address: str, width: int = WIDTHS[0], *, dark: bool = False) -> None:
            chromium.open_address(address, width=width, height=720, dark=dark)
            assert not chromium.complaints()
            path = folder / f"ui-{name}-{width}{'-dark' if dark else ''}.png"
            chromium.render_trace(path)
            smaller(path)

        take("runs", ui.address)
        take("runs", ui.base, WIDTHS[1])
        found = json.loads(ui.ask("/api/runs").body)["runs"]
        good = [one["id"] for one in found if one["outcome"] == "ok"]
        take("compare", f"{ui.base}#/compare/{good[1]}/{good[0]}")
        take("history", f"{ui.base}#/history/node/train_forest", dark=True)
        with subprocess.Popen([*KEDRO, "run"], cwd=project, **quiet) as process:
            wait_for("node train_forest")
            time.sleep(1)
            running = json.loads(ui.ask("/api/runs?limit=1").body)["runs"][0]
            take("live", f"{ui.base}#/live/{running['id']}")
            process.wait()
        ui.stop()


def smaller(path: Path) -> None:
    """Keep as many colours as flat areas and smooth letters need: a third of the bytes, and no difference to be seen."""
    from PIL import Image

    out = io.BytesIO()
    Image.open(path).convert("RGB").quantize(
        COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    ).save(out, "PNG", optimize=True)
    path.write_bytes(out.getvalue())


def drawing(trace: str) -> str:
    """Return what ``kedro otel show`` draws, as an SVG that loads no font from anywhere."""
    from rich._export_format import CONSOLE_SVG_FORMAT
    from rich.console import Console

    from kedro_otel.viewing.model.find import find
    from kedro_otel.viewing.model.trace import load
    from kedro_otel.viewing.terminal import console
    from kedro_otel.viewing.terminal.bars import UNICODE
    from kedro_otel.viewing.terminal.trace_view import render_trace

    screen = Console(
        record=True,
        width=108,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    console.print_lines(screen, *render_trace(load(find(trace).entry), screen.width, UNICODE))
    template = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return screen.export_svg(title="kedro otel show", code_format=template, unique_id="show")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
