"""``kedro otel report``, opened in a real Chromium: what a person sees and does, and what no page may do."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser
import pytest
from click.testing import CliRunner, Result
from fabricate import Tape, a_run

from kedro_otel.cli import otel

NODES = [
    ("load_cars", 0.9, 0.05, 0.1),
    ("split", 0.1, 0.3, 0.12),
    ("train", 0.2, 1.5, 0.2),
    ("publish", 0.1, 0.1, 0.1),
]
HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "</script x><svg/onload=document.title='owned'>",
    "<img src=x onerror=document.title='owned'>",
    "--><!--<script>",
    "\x1b[31mred\x1b[0m\x07",
    "\u202egnihsif",
    "العربية",
    "n" * 10_000,
    "<![CDATA[x]]>&lt;b&gt;",
    "\"'`${1}\\u003c\u2028",
    "nul\0and\nnewline",
    "__proto__",
]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    """Return a running browser, the same for all tests here."""
    lacking = browser.missing()
    if lacking:
        pytest.skip(f"{lacking} not installed: apt-get install chromium chromium-driver")
    with browser.browser(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def report(home: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return ``report(*words)``, which types ``kedro otel report -o …`` and returns the file."""

    def report(*words: str) -> Path:
        path = tmp_path / "run.html"
        result = CliRunner().invoke(otel, ["report", *words, "-o", str(path)])
        assert result.exit_code == 0, f"{result.output} {result.exception!r}"
        assert result.stdout == f"{path}\n"
        return path

    return report


@pytest.fixture
def shown(
    chromium: browser.Browser, report: Callable[..., Path]
) -> Iterator[Callable[..., browser.Browser]]:
    """Return ``shown(*words, width=, dark=)``, which opens the report; at the end the page must have asked for and complained of nothing."""

    def shown(*words: str, **how: Any) -> browser.Browser:
        chromium.open(report(*words), **how)
        return chromium

    yield shown
    assert chromium.complaints() == []
    assert chromium.requests() == []


def rows(page: browser.Browser) -> list[str]:
    """Return the names in the timeline."""
    found: list[str] = page.js(
        "return [...document.querySelectorAll('#sheet .name')].map(one => one.getAttribute('aria-label') || one.querySelector('bdi').textContent)"
    )
    return found


def typed(page: browser.Browser, field: str, text: str) -> None:
    """Type into a field."""
    found = page.driver.find_element("id", field)
    found.clear()
    found.send_keys(text)
    page.js("document.getElementById(arguments[0]).dispatchEvent(new Event('input'))", field)


def big(home: Path, number: int) -> None:
    """Record a run of so many nodes, in namespaces, two of each waiting for one before."""
    tape = Tape(home / "recordings")
    lines: list[bytes] = []
    tape.raw = lines.append  # type: ignore[method-assign]
    top = tape.start("command", "kedro run", 0, kedro_command_line="kedro run")
    run = tape.start(
        "run",
        "run __default__",
        1,
        top,
        kedro_pipeline_name="__default__",
        kedro_run_node_count=number,
    )
    for index in range(number):
        tape.node(
            f"space_{index * 20 // number}.step_with_a_name_{index}",
            run,
            1 + index / 100,
            0.002,
            0.004 + index % 7 / 1000,
            0.001,
            inputs=[f"table_number_{max(index // 2, 1)}"],
            outputs=[f"table_number_{index + 1}"],
            kedro_node_namespace=f"space_{index * 20 // number}",
        )
    tape.end(run, 2 + number / 100)
    tape.end(top, 3 + number / 100, process_exit_code=0)
    with tape.path.open("ab") as file:
        file.write(b"".join(lines))


@pytest.mark.servers
def test_a_run_that_went_well(home: Path, shown: Callable[..., browser.Browser]) -> None:
    """The page tells what ran and how it ended; the timeline has a row and a bar for each node, the graph a box, the table a line."""
    a_run(home / "recordings", NODES)
    page = shown()
    assert page.driver.title == "Succeeded: kedro run · __default__ · demo"
    assert "Succeeded" in page.js("return document.querySelector('.badge').textContent")
    assert rows(page) == ["kedro run", "run __default__", "load_cars", "split", "train", "publish"]
    bars = page.js(
        "return [...document.querySelectorAll('#sheet .row.node')].map(row => [...row.querySelectorAll('.lane i')].map(i => i.className))"
    )
    assert all(
        [name for name in bar if name != "critical"] == ["compute", "load over", "save over"]
        for bar in bars
    )
    widths = page.js(
        """const wide = one => one.getBoundingClientRect().width;
        return [...document.querySelectorAll('#sheet .row.node .lane')].map(lane => wide(lane.querySelector('.compute')) / wide(lane))"""
    )
    assert widths == pytest.approx([1.05 / 3.78, 0.52 / 3.78, 1.9 / 3.78, 0.3 / 3.78], abs=0.01)
    assert page.js(
        "return [...document.querySelectorAll('#drawing .box .label')].map(one => one.textContent)"
    ) == [name for name, *_ in NODES]
    assert page.js("return document.querySelectorAll('#drawing .edge').length") == 3
    assert page.js("return document.querySelectorAll('#figures tbody tr').length") == 4


@pytest.mark.servers
def test_a_failure_is_told_first(home: Path, shown: Callable[..., browser.Browser]) -> None:
    """Of a failed run the page says first which node failed, of what and where; a button leads to it."""
    a_run(home / "recordings", NODES, error=("split", "ValueError"))
    page = shown()
    first = page.js("return document.querySelector('main > *').innerText")
    assert "Node split failed" in first
    assert "ValueError at src/demo/nodes.py:42" in first
    page.driver.find_element("css selector", "button.goto").click()
    assert page.js("return document.querySelector('.row.picked').classList.contains('failed')")
    assert "ValueError" in page.js("return document.getElementById('detail').innerText")
    a_run(home / "recordings", NODES, dies=True)
    assert "Node publish was killed" in shown().js(
        "return document.querySelector('main > *').innerText"
    )


@pytest.mark.servers
def test_the_log_is_searched(home: Path, shown: Callable[..., browser.Browser]) -> None:
    """Log lines stand under their node; a search and a node's button leave those meant; no line is more than text."""
    a_run(home / "recordings", NODES)
    (segment,) = (home / "recordings").glob("*.jsonl")
    started = [json.loads(line) for line in segment.read_text().splitlines()]
    spans = {one["name"]: one["spanId"] for one in started if one.get("start") == "node"}
    said = {"node split": ["plain", *HOSTILE], "node train": [f"epoch {n}" for n in range(600)]}
    lines: list[dict[str, Any]] = [{"kedro-otel-private": 1, "segment": segment.stem}]
    for node, texts in said.items():
        for number, text in enumerate(texts, 1 + (node == "node train")):
            head = {"log": spans[node], "n": number, "logger": "demo", "level": "INFO"}
            lines.append({**head, "t": 1700000000.5, "text": text})
    private = segment.with_suffix(".private")
    private.write_text("".join(json.dumps(line) + "\n" for line in lines))

    page = shown()
    heads = "return [...document.querySelectorAll('#log-lines h3')].map(one => one.textContent)"
    shown_lines = (
        "return [...document.querySelectorAll('#log-lines .said')].map(one => one.textContent)"
    )
    assert page.js(heads) == ["split", "train"]
    found = page.js(shown_lines)
    assert (len(found), found[0], found[1]) == (500, "plain", HOSTILE[0])
    assert page.js("return document.querySelector('#log-lines .gap').textContent") == (
        "… 1 line left out …"
    )
    assert page.driver.title.startswith("Succeeded")
    typed(page, "log-search", "EPOCH 59")
    assert page.js(heads) == ["train"]
    assert page.js(shown_lines) == ["epoch 59", *(f"epoch {n}" for n in range(590, 600))]
    typed(page, "log-search", "")
    page.driver.execute_script(
        "[...document.querySelectorAll('#figures th[scope=row] button')].find(one => one.textContent === 'split').click()"
    )
    page.driver.find_element("id", "rows").send_keys("\ue007")
    page.driver.find_element("css selector", ".to-log").click()
    assert page.js(heads) == ["split"]
    assert "epoch" not in page.js("return document.getElementById('log-lines').textContent")
    assert "epoch" not in shown("--masked").driver.page_source


@pytest.mark.servers
def test_a_run_that_still_runs(home: Path, shown: Callable[..., browser.Browser]) -> None:
    """Of a run that still runs the page says so, and shows what is there."""
    tape = Tape(home / "recordings")
    run = tape.start("run", "run p", 0, kedro_pipeline_name="p", kedro_run_node_count=3)
    tape.node("done", run, 0.1, 0.1, 0.2, 0.1)
    tape.start("node", "node busy", 0.6, run, kedro_node_name="busy")
    tape.live()
    page = shown()
    tape.dead()
    assert page.driver.title.startswith("Running: run p ·")
    assert "1 of 3" in page.js("return document.querySelector('.figures').textContent")
    assert rows(page) == ["run p", "done", "busy"]


@pytest.mark.servers
def test_search_fold_zoom_and_filter(home: Path, shown: Callable[..., browser.Browser]) -> None:
    """Search leaves what matches and what is above it; a click folds; buttons and keys zoom; the filter leaves the critical path."""
    big(home, 200)
    page = shown()
    opened = 20 + 10
    assert len(rows(page)) == 2 + opened
    page.driver.find_element("id", "fold").click()
    assert len(rows(page)) == 22
    typed(page, "search", "NAME_42")
    assert rows(page) == ["kedro run", "run __default__", "space_4", "step_with_a_name_42"]
    typed(page, "search", "nothing like it")
    assert rows(page) == []
    typed(page, "search", "")
    page.driver.find_element("css selector", ".row.namespace .twist").click()
    assert len(page.js("return [...document.querySelectorAll('.row.node')]")) == 10
    page.driver.find_element("id", "unfold").click()
    assert (
        int(page.js("return document.getElementById('rows').getAttribute('aria-rowcount')"))
        == 2 + 20 + 200 + 400
    )
    page.driver.find_element("id", "fold").click()
    assert len(rows(page)) == 22
    page.js("document.getElementById('rows').focus()")
    from selenium.webdriver.common.keys import Keys

    keys = page.driver.switch_to.active_element
    keys.send_keys(Keys.HOME, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    picked = page.js(
        "return document.getElementById(document.getElementById('rows').getAttribute('aria-activedescendant')).querySelector('bdi').textContent"
    )
    assert picked.startswith("step")
    before = page.js("return document.getElementById('ruler').textContent")
    keys.send_keys("++")
    assert page.js("return document.getElementById('ruler').textContent") != before
    keys.send_keys("0")
    assert page.js("return document.getElementById('ruler').textContent") == before
    from selenium.webdriver.common.action_chains import ActionChains

    lane = page.driver.find_element("css selector", ".row.run .lane")
    ActionChains(page.driver).move_to_element_with_offset(
        lane, -100, 0
    ).click_and_hold().move_by_offset(60, 0).release().perform()
    assert page.js("return document.getElementById('ruler').textContent") != before
    assert page.js(
        "return document.querySelector('.brush').getBoundingClientRect().width"
    ) == pytest.approx(60 * 3 / 5, rel=0.2)  # the run is 3 s of 5
    keys.send_keys("0")
    page.js(
        "const only = document.getElementById('only'); only.value = 'critical'; only.dispatchEvent(new Event('change'))"
    )
    nodes = page.js("return [...document.querySelectorAll('.row.node .mark')].length")
    assert nodes == page.js("return document.querySelectorAll('.row.node').length") > 1


@pytest.mark.servers
def test_what_is_picked_is_marked_everywhere(
    home: Path, shown: Callable[..., browser.Browser]
) -> None:
    """A click on a box of the graph marks it, the node's row and its line in the table, and says how its time was spent."""
    a_run(home / "recordings", NODES)
    page = shown()
    page.driver.find_elements("css selector", "#drawing .box")[1].click()
    picked = "return document.querySelector(arguments[0]).textContent"
    assert page.js(picked, ".box.picked .label") == "split"
    assert page.js(picked, ".row.picked .name bdi") == "split"
    assert page.js(picked, "#figures tr.picked th") == "split"
    assert "load 100 ms, compute 300 ms, save 120 ms" in page.js(picked, "#graph-picked")
    page.js("document.querySelectorAll('#sheet .row.node')[2].click()")
    assert page.js(picked, ".box.picked .label") == "train"
    bars = page.js(
        """return [...document.querySelectorAll('#drawing .box')].map(box =>
            ['load', 'compute', 'save'].map(kind => +box.querySelector(`.${kind}`).getAttribute('width')))"""
    )
    assert [[one / sum(bar) for one in bar] for bar in bars] == [
        pytest.approx([one / sum(times) for one in times], abs=0.01) for _, *times in NODES
    ]


@pytest.mark.servers
def test_nodes_that_never_ran_are_grey(home: Path, shown: Callable[..., browser.Browser]) -> None:
    """Of a failed run the graph and the table have the nodes that it never came to, the timeline has not."""
    tape = a_run(home / "recordings", NODES, error=("split", "ValueError"))
    run = next(span for span, kind in tape.kinds.items() if kind == "run")
    planned = [[name, None, [f"d{at}"], [f"d{at + 1}"]] for at, (name, *_) in enumerate(NODES)]
    lines = [
        {"kedro-otel-private": 1, "segment": tape.path.stem},
        {"pipeline": run, "nodes": planned},
    ]
    tape.path.with_suffix(".private").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    page = shown()
    labels = "return [...document.querySelectorAll(arguments[0])].map(one => one.textContent)"
    assert rows(page)[2:] == ["load_cars", "split"]
    assert page.js(labels, "#drawing .box .label") == ["load_cars", "split", "train", "publish"]
    assert page.js(labels, "#drawing .box.idle .label") == ["train", "publish"]
    assert page.js("return document.querySelectorAll('#drawing .edge').length") == 3
    assert page.js(labels, "#figures tr.idle td:last-child") == ["never ran", "never ran"]
    page.driver.find_elements("css selector", "#drawing .box")[3].click()
    assert "never ran" in page.js("return document.getElementById('graph-picked').textContent")


@pytest.mark.servers
def test_the_table_is_sorted_by_any_column(
    home: Path, shown: Callable[..., browser.Browser]
) -> None:
    """A click on a column sorts by it, another the other way round; the second tab has the datasets."""
    a_run(home / "recordings", NODES)
    page = shown()
    names = "return [...document.querySelectorAll('#figures tbody th')].map(one => one.textContent)"
    assert page.js(names) == ["train", "load_cars", "split", "publish"]
    page.driver.find_element("css selector", "[data-sort=label]").click()
    assert page.js(names) == ["load_cars", "publish", "split", "train"]
    page.driver.find_element("css selector", "[data-sort=label]").click()
    assert page.js(names) == ["train", "split", "publish", "load_cars"]
    assert (
        page.js("return document.querySelector('[aria-sort]').getAttribute('aria-sort')")
        == "descending"
    )
    page.driver.find_element("id", "tab-datasets").click()
    assert page.js(names)[0] == "d0"
    typed(page, "filter", "d3")
    assert page.js(names) == ["d3"]


@pytest.mark.servers
def test_hostile_names_are_inert(home: Path, shown: Callable[..., browser.Browser]) -> None:
    """Markup, escapes, direction overrides and endless names are shown as text, and change neither the page nor its width."""
    nodes = [(name, 0.1, 0.3, 0.1) for name in HOSTILE]
    namespaces = {
        name: {
            "kedro_node_namespace": name[:50],
            "kedro_node_tags": [name],
            "code_function_name": name,
        }
        for name in HOSTILE
    }
    a_run(
        home / "recordings",
        nodes,
        pipeline=HOSTILE[0],
        run_id=HOSTILE[6],
        attrs=namespaces,
        error=(HOSTILE[-1], HOSTILE[1]),
        command=f"kedro {HOSTILE[0]}",
    )
    page = shown()
    assert page.driver.title.startswith("Failed: kedro </script>")
    page.driver.find_element("id", "unfold").click()
    page.driver.find_element("css selector", ".row.node").click()
    assert "owned" not in page.driver.title.replace("'owned'", "")
    assert page.js("return document.querySelectorAll('img, script').length") == 3
    assert page.js("return document.documentElement.scrollWidth <= innerWidth")
    assert page.js(
        "return Object.prototype.polluted === undefined && document.querySelectorAll('#figures tbody tr').length"
    ) == len(HOSTILE)
    assert not re.search(
        "[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", page.js("return document.body.textContent")
    )


@pytest.mark.servers
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark_wide_and_narrow(
    home: Path, shown: Callable[..., browser.Browser], width: int, dark: bool
) -> None:
    """Colours follow the system's, text stands out from its ground by 4.5 to 1, and nothing runs over the edge of a narrow screen."""
    a_run(home / "recordings", NODES, error=("train", "ValueError"))
    page = shown(width=width, dark=dark)
    ground = page.js("return getComputedStyle(document.body).backgroundColor")
    assert (brightness(ground) < 0.1) == dark
    assert page.js("return document.documentElement.scrollWidth") <= width
    for text in (
        "h1",
        ".lede",
        ".figure small",
        ".facts dt",
        ".row.failed .time",
        ".ruler span",
        ".key li",
        "thead button",
        "footer",
        ".failures h2",
        ".badge",
    ):
        colour, behind = page.js(
            """let at = document.querySelector(arguments[0]); const colour = getComputedStyle(at).color;
            while (at && /(, 0\\)|transparent)$/.test(getComputedStyle(at).backgroundColor)) at = at.parentElement;
            return [colour, getComputedStyle(at || document.body).backgroundColor]""",
            text,
        )
        one, other = sorted((brightness(colour), brightness(behind)))
        assert (other + 0.05) / (one + 0.05) >= 4.5, f"{text}: {colour} on {behind}"


def brightness(colour: str) -> float:
    """Return the relative luminance of ``rgb(…)``, as WCAG defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.servers
def test_ten_thousand_nodes_are_usable(
    home: Path, report: Callable[..., Path], shown: Callable[..., browser.Browser]
) -> None:
    """The file of ten thousand nodes is below 5 MB, opens within seconds, answers a search at once, and holds few rows at a time."""
    big(home, 10_000)
    page = shown()
    assert Path(report()).stat().st_size < 5_000_000
    loaded = page.js(
        "const it = performance.getEntriesByType('navigation')[0]; return it.domComplete - it.responseEnd"
    )
    assert loaded < 8000
    page.driver.find_element("id", "unfold").click()
    assert (
        int(page.js("return document.getElementById('rows').getAttribute('aria-rowcount')"))
        == 30_022
    )
    assert page.js("return document.querySelectorAll('.row').length") < 100
    page.js("document.getElementById('rows').scrollTop = 500000")
    page.js("return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert (
        page.js("return Number(document.querySelector('.row').getAttribute('aria-rowindex'))")
        > 10_000
    )
    took = page.js(
        """const field = document.getElementById('search'); const began = performance.now(); field.value = 'name_9999';
        field.dispatchEvent(new Event('input')); return performance.now() - began"""
    )
    assert took < 1500
    assert rows(page)[-1] == "step_with_a_name_9999"


@pytest.mark.servers
def test_it_prints(home: Path, shown: Callable[..., browser.Browser]) -> None:
    """On paper the timeline has all its rows, and the tools are gone."""
    big(home, 30)
    page = shown()
    page.driver.find_element("id", "unfold").click()
    page.js("dispatchEvent(new Event('beforeprint'))")
    assert len(rows(page)) == 2 + 10 + 30 + 60  # a namespace of one node has no row
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert page.js("return getComputedStyle(document.querySelector('.tools')).display") == "none"
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    page.js("dispatchEvent(new Event('afterprint'))")


def test_nothing_but_our_own_script_may_run(home: Path, report: Callable[..., Path]) -> None:
    """The page's policy allows nothing but its one script and style, by their hashes, and it names no address at all."""
    a_run(home / "recordings", NODES)
    html = report().read_text()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert re.fullmatch(
        r"default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'sha256-[\w+/=]+'; base-uri 'none'; form-action 'none'",
        policy,
    )
    assert not re.search(r"""\b(?:src|href)\s*=\s*["']?[^"'#\s]""", html)
    assert set(re.findall(r"https?://[^\s'\"]+", html)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\s(?:style|on\w+)=", html)


def test_without_javascript(home: Path, report: Callable[..., Path]) -> None:
    """A reader without JavaScript, such as a mail program, still reads what ran, how it ended, and which nodes were slow."""
    a_run(home / "recordings", NODES, error=("train", "ValueError"))
    html = re.sub(
        r"<script.*?</script>|<style.*?</style>", "", report().read_text(), flags=re.DOTALL
    )
    for told in (
        "Node train failed",
        "ValueError",
        "src/demo/nodes.py:42",
        "kedro run",
        "SequentialRunner",
        "load_cars",
    ):
        assert told in html


def test_a_file_too_large_is_told_in_sums(
    home: Path, report: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where single loads, saves and spans would make the file too large, they are left out, and the page says so; sums stay."""
    monkeypatch.setattr("kedro_otel.viewing.html.page.LARGEST", 20_000)
    big(home, 200)
    data = data_of(report().read_text())
    assert data["left_out"] == 400
    assert sum(data["datasets"]["loads"]) == 200
    assert len(data["nodes"]["load"]) == 200
    assert max(map(len, data["strings"])) <= 60


def data_of(html: str) -> dict[str, Any]:
    """Return the data in a page."""
    (found,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', html, flags=re.DOTALL
    )
    data: dict[str, Any] = json.loads(found)
    return data


def typed_report(*words: str) -> Result:
    """Type ``kedro otel report …``."""
    return CliRunner().invoke(otel, ["report", *words])


def test_where_it_is_written(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without -o the file lies beside the recordings, for its owner alone; - is stdout; what cannot be written has one line; no run, no file."""
    monkeypatch.chdir(tmp_path)
    missing = typed_report("-o", "run.html")
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "nothing is recorded yet" in missing.stderr
    assert not (tmp_path / "run.html").exists()
    tape = a_run(home / "recordings", NODES)
    written = home / "reports" / f"run-{tape.trace[:8]}.html"
    assert typed_report().stdout == f"{written}\n"
    assert [stat.S_IMODE(one.stat().st_mode) for one in (written, written.parent)] == [0o600, 0o700]
    assert list(tmp_path.glob("*.html")) == []
    assert json.loads(typed_report("-1", "--json").stdout)["trace_id"] == tape.trace
    assert written.read_text() == typed_report("last", "-o", "-").stdout
    refused = typed_report("-o", "no/such/folder/run.html")
    assert refused.exit_code == 1
    assert refused.stderr.count("\n") == 1
    assert "name another file with -o" in refused.stderr


@pytest.mark.servers
def test_what_nodes_used_is_in_the_table(home: Path, shown: Callable[..., browser.Browser]) -> None:
    """The table has CPU and memory of nodes and rows of datasets where they were recorded, and an edge of the graph its rows."""
    used = {
        "kedro_node_cpu_time": 1.5,
        "kedro_node_memory_peak": 3 << 29,
        "saved": {"kedro_dataset_row_count": 7203},
    }
    a_run(home / "recordings", NODES, attrs={NODES[0][0]: used})
    page = shown()
    heads = "return [...document.querySelectorAll('#figures thead th')].map(one => one.textContent)"
    first = "return [...document.querySelectorAll('#figures tbody tr')].map(row => row.textContent)"
    assert {"CPU", "Memory"} <= set(page.js(heads))
    (row,) = [row for row in page.js(first) if row.startswith(NODES[0][0])]
    assert "1.50 s1.5 GiB" in row
    page.driver.find_element("id", "tab-datasets").click()
    assert "Rows" in page.js(heads)
    assert [row for row in page.js(first) if "7,203" in row]
    titles = "return [...document.querySelectorAll('.edge title')].map(one => one.textContent)"
    assert "d1 (7,203 rows)" in page.js(titles)
