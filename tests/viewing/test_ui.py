"""``kedro otel ui`` in a real Chromium, and asked by those whom it must not answer."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import browser
import pytest
from fabricate import Tape, a_run
from selenium.webdriver.common.keys import Keys
from ui import Ui, serving

from kedro_otel.config import paths

NODES = [("load_cars", 0.9, 0.05, 0.1), ("train", 0.2, 1.5, 0.2)]
HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=document.title='owned'>",
    "\x1b[31mred\u202egnihsif",
    "'\"`${1}&lt;",
    "../..//%2e%2e?a=b#c",
    "__proto__",
    "n" * 5000,
]
AXE = Path("~/.cache/kedro-otel/axe/package/axe.min.js").expanduser()
"""axe-core as npm packs it, and `make readers` puts it there."""

AGO = 3600 * 10**9
PAGE_BYTES = 100_000
PATIENCE = 15.0


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    """Return a running browser, the same for all tests here."""
    lacking = browser.missing()
    if lacking:
        pytest.skip(f"{lacking} not installed: apt-get install chromium chromium-driver")
    with browser.browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def ui(home: Path, tmp_path: Path) -> Iterator[Ui]:
    """Return the running server of this test's recordings."""
    (home / "recordings").mkdir(parents=True, mode=0o700)
    with serving(tmp_path) as running:
        yield running


@pytest.fixture
def page(chromium: browser.Browser, ui: Ui) -> Iterator[browser.Browser]:
    """Return the browser with its cookie; at the end no page may have complained, or asked anybody but this server."""
    chromium.open_address(ui.address)
    yield chromium
    assert chromium.complaints() == []
    assert {one.split("/")[2] for one in chromium.requests() if not one.startswith("data:")} <= {
        f"127.0.0.1:{ui.port}"
    }


def runs_of(number: int, **how: Any) -> list[str]:
    """Record runs an hour apart, the newest last; return their traces."""
    now = time.time_ns()
    return [
        a_run(paths.recordings(), NODES, at=now - (number - place) * AGO, **how).trace
        for place in range(number)
    ]


def until(page: browser.Browser, script: str, *args: Any) -> Any:
    """Wait until a script returns something true; return that."""
    end = time.monotonic() + PATIENCE
    while not (found := page.js(script, *args)):
        assert time.monotonic() < end, (script, page.js("return document.body.innerText"))
        time.sleep(0.02)
    return found


def rows(page: browser.Browser) -> list[str]:
    """Return the text of a table's lines."""
    found: list[str] = page.js(
        "return [...document.querySelectorAll('tbody tr')].map(one => one.innerText.replace(/\\s+/g, ' ').trim())"
    )
    return found


def test_nobody_else_is_answered(ui: Ui) -> None:
    """No token, another token, another Host or Origin, another site: 403, for every address; what is not GET is no method here."""
    runs_of(1)
    span = json.loads(ui.ask("/api/runs").body)["runs"][0]["id"]
    paths_ = [
        "/",
        "/app.js",
        "/api/runs",
        "/api/names",
        f"/run/{span}",
        f"/api/live?run={span}",
        "/none",
    ]
    strangers: list[dict[str, str]] = [
        {"Host": "evil.example"},
        {"Host": f"127.0.0.1.evil.example:{ui.port}"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"https://127.0.0.1:{ui.port}"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Cookie": ""},
        {"Cookie": ui.cookie[:-1] + "x"},
        {"Cookie": "a=b; ;;;=" + "\x7f"},
    ]
    for path in paths_:
        assert ui.ask(path, cookie=False).status == 403, path
        for headers in strangers:
            refused = ui.ask(path, headers)
            assert refused.status == 403, (path, headers)
            assert span not in refused.body
    token = ui.address.rpartition("=")[2]
    assert len(token) > 40
    for wrong in (token[:-1], token + "x", "", "é"):
        refused = ui.ask(f"/?token={quote(wrong)}", cookie=False)
        assert refused.status == 403
        assert "set-cookie" not in refused.headers
    assert ui.ask(f"/?token={token}", {"Host": "evil.example"}, cookie=False).status == 403
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ui.ask("/api/runs", method=method).status == 501
    assert ui.ask("/api/runs", method="HEAD").body == ""
    for host in (f"localhost:{ui.port}", "localhost:9999", "[::1]:80", f"127.0.0.1:{ui.port}"):
        assert ui.ask("/", {"Host": host, "Origin": f"http://{host}"}).status == 200
    for odd in ("/run/../../etc/passwd", "/run/zz", "/api/runs?limit=x", "/api/compare?a=1&b=2"):
        assert ui.ask(odd).status in (400, 404)
    assert ui.ask("/run/" + "0" * 16).status == 404
    first = ui.ask(f"/?token={token}", cookie=False)
    assert (first.status, first.headers["location"]) == (303, "/")
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "SameSite" in first.headers["set-cookie"]
    headers = ui.ask("/").headers
    policy = headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_it_writes_nothing_but_the_index_and_ends_with_ctrl_c(ui: Ui, home: Path) -> None:
    """All files are as they were; Ctrl-C ends it at once, without a stack trace, also while a run is watched."""
    runs_of(2)
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    for question in ("/", "/api/runs", "/api/names", "/api/history?kind=node&name=train"):
        assert ui.ask(question).status == 200
    for one in json.loads(ui.ask("/api/runs").body)["runs"]:
        assert "train" in ui.ask(f"/run/{one['id']}").body
    after = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert {path.name for path in after.keys() - before.keys()} == {"index.sqlite3"}
    assert all(after[path] == data for path, data in before.items())
    began = time.monotonic()
    assert ui.stop() == 0
    assert time.monotonic() - began < 5
    assert ui.process.stderr is not None
    assert "Traceback" not in ui.process.stderr.read()


def test_from_the_list_to_a_comparison(page: browser.Browser, ui: Ui) -> None:
    """The list is filtered and searched, a run opens as its report, two runs are put side by side, a node is followed over time."""
    runs_of(6)
    a_run(paths.recordings(), NODES, error=("train", "shop.StockError"), pipeline="other")
    page.open_address(ui.base)
    assert len(rows(page)) == 7
    assert "failed" in rows(page)[0]
    assert "StockError" in rows(page)[0]
    page.type_into("search", "stock")
    assert len(rows(page)) == 1
    page.type_into("search", "")
    page.js(
        "const one = document.getElementById('outcome'); one.value = 'ok'; one.dispatchEvent(new Event('change'))"
    )
    assert len(rows(page)) == 6
    assert page.js("return document.getElementById('count').textContent") == "6 of 7 runs"
    page.driver.find_element("css selector", "[data-sort=took]").click()
    assert page.js("return document.querySelector('th[aria-sort]').innerText").startswith("Time")
    boxes = page.driver.find_elements("css selector", "tbody input")
    boxes[0].click()
    assert not page.driver.find_element("id", "compare").is_enabled()
    boxes[1].click()
    page.driver.find_element("id", "compare").click()
    until(page, "return document.querySelector('.sides')")
    assert any(one.startswith("train node 1.90 s 1.90 s") for one in rows(page)), rows(page)
    assert "%" in page.js("return document.querySelector('.sides').innerText")
    failed, good = (one["id"] for one in json.loads(ui.ask("/api/runs?limit=2").body)["runs"])
    page.open_address(f"{ui.base}#/compare/{good}/{failed}")
    told = page.js("return document.querySelector('.sides').innerText")
    assert "Only nodes that completed are compared" in told
    assert "%" not in told
    page.driver.find_element("link text", "load_cars").click()
    until(page, "return document.querySelector('.chart')")
    assert len(rows(page)) == 7
    assert page.js("return document.getElementById('title').textContent") == "Trends"
    page.driver.find_element("css selector", "tbody th a").click()
    until(
        page, "return document.getElementById('timeline') && document.documentElement.dataset.ready"
    )
    assert "StockError" in page.js("return document.querySelector('.failures').innerText")
    page.driver.find_element("link text", "All runs").click()
    until(page, "return document.querySelectorAll('tbody tr').length === 7")


def test_with_the_keyboard_alone(page: browser.Browser, ui: Ui) -> None:
    """Tab reaches the search, the filters, two boxes and the button; Enter and Space do what a click does; the focus is seen."""
    runs_of(3)
    page.open_address(ui.base)
    seen: list[str] = []
    picked = 0
    for _ in range(60):
        page.keys(Keys.TAB)
        one = page.js(
            "const one = document.activeElement; return [one.id || one.type || one.tagName, getComputedStyle(one).outlineStyle]"
        )
        seen.append(one[0])
        if one[0] == "BODY":
            break
        assert one[1] != "none", one
        if one[0] == "checkbox" and picked < 2:
            page.keys(" ")
            picked += 1
        if picked == 2:
            break
    assert {"search", "outcome", "pipeline", "checkbox", "project"} <= set(seen)
    page.driver.find_element("id", "compare").send_keys(Keys.ENTER)
    until(page, "return document.querySelector('.sides')")
    assert page.js("return document.activeElement.id") == "title", "a reader hears the new page"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (400, True)])
def test_no_serious_fault_of_access(page: browser.Browser, ui: Ui, width: int, dark: bool) -> None:
    """axe-core finds no serious fault on any page, light and wide, dark and narrow; no page scrolls sideways."""
    runs_of(6)
    a_run(paths.recordings(), NODES, error=("train", "shop.StockError"))
    a_run(paths.recordings(), NODES, dies=True)
    ids = [one["id"] for one in json.loads(ui.ask("/api/runs").body)["runs"]]
    for place in (
        "",
        "#/history",
        "#/history/node/train",
        "#/history/dataset/d0",
        f"#/compare/{ids[3]}/{ids[2]}",
        f"#/live/{ids[0]}",
    ):
        page.open_address(ui.base + place, width=width, dark=dark)
        assert page.js("return document.documentElement.scrollWidth") <= width, place
        if not AXE.exists():
            continue
        page.js(AXE.read_text(encoding="utf-8"))
        found = page.driver.execute_async_script(
            "axe.run(document, {resultTypes: ['violations']}).then(arguments[0])"
        )
        serious = [
            (one["id"], one["impact"], [node["html"] for node in one["nodes"]][:3])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == [], place
    if not AXE.exists():
        pytest.skip("axe-core is not at hand: type `make readers`")


def test_hostile_names_are_inert(page: browser.Browser, ui: Ui) -> None:
    """Whatever a project, pipeline, node, error or command is called, it is shown as text, and found by its name."""
    for name in HOSTILE:
        tape = Tape(paths.recordings(), resource={"kedro.project.name": name})
        top = tape.start("command", "kedro run", 0, kedro_command_line=f"kedro run {name}")
        run = tape.start("run", "run", 0, top, kedro_pipeline_name=name)
        tape.node(name, run, 0, 0.1, 0.1, 0.1, name, inputs=[name])
        tape.end(run, 1, name)
        tape.end(top, 1, name)
    page.open_address(ui.base)
    assert len(rows(page)) == len(HOSTILE)
    for name in HOSTILE:
        for kind in ("node", "dataset"):
            page.open_address(f"{ui.base}#/history/{kind}/{quote(name, safe='')}")
            assert len(rows(page)) == 1, (kind, name)
            assert page.js("return document.title") == "Trends · kedro-otel"
            assert page.js("return document.querySelectorAll('main script, main img').length") == 0
    shown = page.js("return document.body.innerText")
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_a_run_grows_on_the_screen(page: browser.Browser, ui: Ui, full: bool) -> None:
    """With 10,000 nodes (fewer without FULL=1) the first paint takes less than a second, and a node is on the screen within 250 ms of its line."""
    number = 10_000 if full else 2_000
    tape = Tape(paths.recordings(), time.time_ns() - number * 10**6)
    lines: list[bytes] = []
    raw, tape.raw = tape.raw, lines.append  # type: ignore[method-assign]
    run = tape.start("run", "run", 0, kedro_run_node_count=number + 20)
    for index in range(number):
        tape.node(f"step_{index}", run, index / 1000, 0.0001, 0.0005, 0.0001)
    tape.raw = raw  # type: ignore[method-assign]
    tape.raw(b"".join(lines))
    tape.live()
    page.open_address(ui.base)
    assert "running" in rows(page)[0]
    page.driver.find_element("css selector", "tbody th a").click()
    until(page, "return document.querySelector('.line')")
    page.open_address(f"{ui.base}#/live/{run}")
    first = until(
        page,
        "const facts = document.getElementById('facts'); return facts && facts.textContent.includes(arguments[0]) && performance.now()",
        f"{number:,} of {number + 20:,} nodes",
    )
    assert first < (1000 if full else 3000), first
    page.js(
        "window.seen = {}; new MutationObserver(() => {"
        "for (const one of document.querySelectorAll('.line bdi')) window.seen[one.textContent] ??= Date.now(); })"
        ".observe(document.querySelector('.live'), {childList: true, subtree: true})"
    )
    written: dict[str, float] = {}
    for index in range(10):
        name = f"late_{index}"
        begin = (time.time_ns() - tape.at) / 1e9
        written[name] = time.time() * 1000
        node = tape.start("node", f"node {name}", begin, run, kedro_node_name=name)
        time.sleep(0.13)
        tape.end(node, begin + 0.1)
    until(page, "return window.seen[arguments[0]]", name)
    seen = page.js("return window.seen")
    late = sorted(seen[name] - when for name, when in written.items())
    assert late[len(late) // 2] < 250, late
    tape.end(run, begin + 0.2, "ValueError")
    tape.dead()
    until(page, "return document.getElementById('facts').textContent.includes('failed')")
    assert page.driver.find_element("link text", "Open the report")


def streamed(ui: Ui, run: str) -> list[dict[str, Any]]:
    """Return all that is sent of a run while it is watched, until it is over."""
    body = ui.ask(f"/api/live?run={run}").body
    return [json.loads(line.removeprefix("data: ")) for line in body.split("\n\n") if line]


@pytest.mark.parametrize("end", ["ok", "killed", "removed"])
def test_how_a_watched_run_ends(ui: Ui, end: str) -> None:
    """Nodes of all its processes are there; a run that is killed, or whose recording is removed, is watched no longer."""
    tape = Tape(paths.recordings(), time.time_ns())
    tape.live()
    run = tape.start("run", "run", 0, kedro_run_node_count=2)
    tape.node("here", run, 0.1, 0, 0.2, 0)
    worker = Tape(paths.recordings(), tape.at + 1, trace=tape.trace, pid=4712)
    worker.node("in a worker", run, 0.1, 0, 0.3, 0)
    other = Tape(paths.recordings(), tape.at + 2)
    other.node("of another run", other.start("run", "run", 0), 0.1, 0, 0.3, 0)
    node = tape.start("node", "node last", 0.5, run, kedro_node_name="last")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(streamed, ui, run)
        time.sleep(0.5)
        assert not asked.done()
        if end == "ok":
            tape.end(node, 1)
            tape.end(run, 1)
        elif end == "removed":
            tape.path.unlink()
        tape.dead()
        found = asked.result(10)
    names = {name: word for one in found for _, name, _, _, word in one["nodes"]}
    last = {"ok": "ok", "killed": "killed", "removed": "running"}[end]
    assert names == {"here": "ok", "in a worker": "ok", "last": last}
    assert found[-1]["outcome"] == {"removed": "unknown"}.get(end, end)


def test_older_runs_are_read_when_asked_for(page: browser.Browser, ui: Ui) -> None:
    """The list begins with the last hundred runs; a button shows the others, and reads older ones."""
    now = time.time_ns()
    for place in range(230):
        tape = Tape(paths.recordings(), now - place * 10**9)
        tape.end(tape.start("run", "run", 0), 0.5)
    page.open_address(ui.base)
    for count in (100, 200, 230):
        assert len(rows(page)) == count
        if count < 230:
            page.driver.find_element("id", "more").click()
            until(page, "return document.querySelectorAll('tbody tr').length > arguments[0]", count)
    assert not page.driver.find_element("id", "more").is_displayed()


def test_whose_runs_and_how_large(page: browser.Browser, ui: Ui) -> None:
    """New runs join the list; one project is chosen among all; everything that the pages load is below 100 kB."""
    runs_of(2)
    other = Tape(paths.recordings(), resource={"kedro.project.name": "elsewhere"})
    other.end(other.start("run", "run", 0), 1)
    page.open_address(ui.base)
    assert len(rows(page)) == 3
    runs_of(1)
    until(page, "return document.querySelectorAll('tbody tr').length === 4")
    page.js(
        "const one = document.getElementById('project'); one.value = 'elsewhere'; one.dispatchEvent(new Event('change'))"
    )
    until(page, "return document.querySelectorAll('tbody tr').length === 1")
    assert sum(len(ui.ask(path).body) for path in ("/", "/app.js", "/app.css")) < PAGE_BYTES


def test_a_browser_is_opened_where_there_is_a_screen(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What other users can read among a program's arguments opens once; without a screen nothing is started."""
    opener = tmp_path / "bin/xdg-open"
    opener.parent.mkdir()
    opener.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/opened\n')
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", f"{opener.parent}:{os.environ['PATH']}")
    opened = tmp_path / "opened"
    for screen in ("", ":0"):
        monkeypatch.setenv("DISPLAY", screen)
        with serving(tmp_path, opens=True) as ui:
            end = time.monotonic() + (PATIENCE if screen else 0.5)
            while not opened.exists() and time.monotonic() < end:
                time.sleep(0.02)
            assert opened.exists() is bool(screen)
            if screen:
                path = opened.read_text().strip().removeprefix(ui.base.rstrip("/"))
                assert path != ui.address.removeprefix(ui.base.rstrip("/"))
                asked = [ui.ask(path, cookie=False).status for _ in range(2)]
                assert asked == [303, 403]


def test_it_speaks_of_the_project_one_stands_in(
    project: Callable[..., Path], kedro: Callable[..., Any], home: Path
) -> None:
    """As the other views do; what was typed, and why it failed, is there for its owner to read."""
    path = project("ours")
    runs_of(1)
    kedro("run", "--params", "fail=true", cwd=path, code=1)
    with serving(path) as ui:
        found = json.loads(ui.ask("/api/runs").body)
        assert [one["project"] for one in found["runs"]] == ["ours"]
        assert found["runs"][0]["message"] == "told to fail"
        assert found["runs"][0]["command"] == "kedro run --params fail=true"
        assert len(json.loads(ui.ask("/api/runs?project=*").body)["runs"]) == 2
    assert b"told to fail" not in (home / "index.sqlite3").read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = kedro("otel", "ui", "--no-open", "--port", port, cwd=path, code=1, timeout=20)
    assert f"port {port} cannot be used" in refused.err
