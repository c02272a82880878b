"""May anything be recorded? Asked of the real command, and answered from outside."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import stat
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import BIN, Result

import kedro_otel
from kedro_otel.config import consent, paths
from kedro_otel.recording import reader
from kedro_otel.semconv import names

SPECIFIC_NO = {
    "kedro otel off": {"user": "enabled = false"},
    "KEDRO_OTEL_ENABLED=false": {"env": {"KEDRO_OTEL_ENABLED": "false"}},
    "KEDRO_OTEL_ENABLED=0": {"env": {"KEDRO_OTEL_ENABLED": "0"}},
    "OTEL_SDK_DISABLED=true": {"env": {"OTEL_SDK_DISABLED": "TRUE"}},
    "[tool.kedro_otel] enabled = false": {"project": "[tool.kedro_otel]\nenabled = false\n"},
    "KEDRO_OTEL_ENABLED is neither true nor false": {"env": {"KEDRO_OTEL_ENABLED": "flase"}},
}
SPECIFIC_YES = {
    "kedro otel on": {"user": "enabled = true"},
    "KEDRO_OTEL_ENABLED=true": {"env": {"KEDRO_OTEL_ENABLED": "true"}},
}
GENERIC_NO = {
    "DO_NOT_TRACK is set": {"env": {"DO_NOT_TRACK": "1"}},
    "DO_NOT_TRACK is set ": {"env": {"DO_NOT_TRACK": "0"}},
    "KEDRO_DISABLE_TELEMETRY is set": {"env": {"KEDRO_DISABLE_TELEMETRY": "anything"}},
    ".telemetry consent: false": {"telemetry": "consent: false\n"},
    "GITHUB_REPOSITORY_OWNER=kedro-org": {"env": {"GITHUB_REPOSITORY_OWNER": "kedro-org"}},
}
NOTHING = {
    "nothing": {},
    "empty variables": {
        "env": {
            "DO_NOT_TRACK": "",
            "KEDRO_DISABLE_TELEMETRY": "",
            "KEDRO_OTEL_ENABLED": "",
            "OTEL_SDK_DISABLED": "",
        }
    },
    "a project's yes": {"project": "[tool.kedro_otel]\nenabled = true\n"},
    "kedro-telemetry's yes": {"telemetry": "consent: true\n"},
    "OTEL_SDK_DISABLED=1": {"env": {"OTEL_SDK_DISABLED": "1"}},
    "another owner": {"env": {"GITHUB_REPOSITORY_OWNER": "somebody"}},
}


@pytest.fixture
def says(project: Callable[..., Path]) -> Callable[..., tuple[Path, dict[str, str]]]:
    """Return ``says(*words)``, which puts words of the tables above in their places; it returns the project and the variables."""

    def says(*words: dict[str, Any]) -> tuple[Path, dict[str, str]]:
        variables: dict[str, str] = {}
        pyproject = telemetry = user = ""
        for word in words:
            variables |= word.get("env", {})
            pyproject += word.get("project", "")
            telemetry += word.get("telemetry", "")
            user += word.get("user", "")
        path = project(pyproject=pyproject, files={".telemetry": telemetry} if telemetry else None)
        if user:
            paths.user_config().parent.mkdir(parents=True, exist_ok=True)
            paths.user_config().write_text(user)
        return path, variables

    return says


def pairs(stronger: dict[str, Any], weaker: dict[str, Any]) -> list[Any]:
    """Return every pair that can be said at once: a variable or file says one thing only."""
    return [
        pytest.param(one, other, reason.strip(), id=f"{reason} / {beside}")
        for (reason, one), (beside, other) in itertools.product(stronger.items(), weaker.items())
        if not (one.get("env", {}).keys() & other.get("env", {}).keys())
        and not {"user", "telemetry"} & one.keys() & other.keys()
    ]


@pytest.mark.parametrize(
    ("one", "other", "reason"), pairs(SPECIFIC_NO, {**SPECIFIC_YES, **GENERIC_NO, "": {}})
)
def test_a_specific_no_beats_everything(
    one: dict[str, Any],
    other: dict[str, Any],
    reason: str,
    says: Callable[..., tuple[Path, dict[str, str]]],
) -> None:
    """A no that was said to this package holds, whatever else is said."""
    path, variables = says(one, other)
    assert consent.decide(variables, path) == (False, reason)


@pytest.mark.parametrize(("one", "other", "reason"), pairs(SPECIFIC_YES, {**GENERIC_NO, **NOTHING}))
def test_a_specific_yes_beats_a_generic_no(
    one: dict[str, Any],
    other: dict[str, Any],
    reason: str,
    says: Callable[..., tuple[Path, dict[str, str]]],
) -> None:
    """A yes that was said to this package beats what was said to every tool."""
    path, variables = says(one, other)
    assert consent.decide(
        {**variables, "KEDRO_OTEL_ENABLED": variables.get("KEDRO_OTEL_ENABLED", "")}, path
    ) == (True, reason)


@pytest.mark.parametrize(("one", "other", "reason"), pairs(GENERIC_NO, NOTHING))
def test_a_generic_no_beats_the_default(
    one: dict[str, Any],
    other: dict[str, Any],
    reason: str,
    says: Callable[..., tuple[Path, dict[str, str]]],
) -> None:
    """A no that was said to every tool holds where nothing was said to this one, not even if a project says yes."""
    path, variables = says(one, other)
    assert consent.decide(variables, path) == (False, reason)


@pytest.mark.parametrize("word", NOTHING)
def test_the_default_is_yes(word: str, says: Callable[..., tuple[Path, dict[str, str]]]) -> None:
    """Where nobody said anything that counts, commands are recorded."""
    path, variables = says(NOTHING[word])
    assert consent.decide(variables, path) == (True, "default")


def test_a_settings_file_that_cannot_be_understood_is_a_no(
    says: Callable[..., tuple[Path, dict[str, str]]],
) -> None:
    """Somebody who wrote such a file may have meant no."""
    for text in ("enabled = nope", "enabled = 'true'", "= broken"):
        path, variables = says({"user": text})
        assert consent.decide(variables, path) == (
            False,
            f"{paths.user_config()} cannot be read",
        )


def test_an_administrator_can_say_no_but_not_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The site's file can forbid; consent is a person's, so it cannot allow what that person's generic no forbids."""
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "site"))
    paths.site_config().parent.mkdir(parents=True)
    paths.site_config().write_text("enabled = false")
    assert consent.decide({"KEDRO_OTEL_ENABLED": "true"}, None) == (
        False,
        f"enabled = false in {paths.site_config()}",
    )
    paths.site_config().write_text("enabled =  true")
    assert consent.decide({"DO_NOT_TRACK": "1"}, None) == (False, "DO_NOT_TRACK is set")


CASES = [
    ([], True),
    (["kedro otel off"], False),
    (["KEDRO_OTEL_ENABLED=false"], False),
    (["OTEL_SDK_DISABLED=true"], False),
    (["[tool.kedro_otel] enabled = false"], False),
    (["DO_NOT_TRACK is set"], False),
    (["KEDRO_DISABLE_TELEMETRY is set"], False),
    ([".telemetry consent: false"], False),
    (["kedro otel on", "DO_NOT_TRACK is set", ".telemetry consent: false"], True),
    (["KEDRO_OTEL_ENABLED=true", "KEDRO_DISABLE_TELEMETRY is set"], True),
    (["KEDRO_OTEL_ENABLED=true", "kedro otel off"], False),
    (["kedro otel on", "[tool.kedro_otel] enabled = false"], False),
    (["kedro otel on", "OTEL_SDK_DISABLED=true"], False),
    (["kedro otel on", "KEDRO_OTEL_ENABLED=false"], False),
    (["KEDRO_OTEL_ENABLED=true", "OTEL_SDK_DISABLED=true"], False),
    (["KEDRO_OTEL_ENABLED=true", "[tool.kedro_otel] enabled = false"], False),
    (["KEDRO_OTEL_ENABLED is neither true nor false", "kedro otel on"], False),
    (["KEDRO_OTEL_ENABLED=true", "DO_NOT_TRACK is set"], True),
    (["KEDRO_OTEL_ENABLED=true", ".telemetry consent: false"], True),
    (["kedro otel on", "KEDRO_DISABLE_TELEMETRY is set"], True),
    (["kedro otel on", "GITHUB_REPOSITORY_OWNER=kedro-org"], True),
    (["GITHUB_REPOSITORY_OWNER=kedro-org"], False),
]


@pytest.mark.parametrize(("words", "recorded"), CASES, ids=str)
def test_the_real_command_obeys(
    words: list[str],
    recorded: bool,
    says: Callable[..., tuple[Path, dict[str, str]]],
    kedro: Callable[..., Result],
    home: Path,
) -> None:
    """`kedro` records exactly where consent says so, makes no id where not, and status names the word that decided."""
    path, variables = says(*({**SPECIFIC_NO, **SPECIFIC_YES, **GENERIC_NO}[word] for word in words))
    before = (path / "pyproject.toml").read_bytes()
    kedro("registry", "list", cwd=path, env=variables)
    assert bool(reader.segments()) == recorded
    assert (
        home.exists()
        == paths.telemetry_toml()[0].exists()
        == ((path / "pyproject.toml").read_bytes() != before)
        == recorded
    )
    status = json.loads(
        kedro("otel", "status", "--json", cwd=path, env=variables)
        .out.partition("\n{")[2]
        .join("{ ")
    )
    assert status["consent"]["enabled"] == recorded
    assert status["consent"]["reason"] == consent.decide(variables, path).reason


def test_on_and_off(kedro: Callable[..., Result], home: Path) -> None:
    """`off` and `on` write the user's own file, private and with everything else in it kept."""
    paths.user_config().parent.mkdir(parents=True)
    paths.user_config().write_text("# mine\ndetail = 'run'\n")
    kedro("otel", "off")
    assert paths.user_config().read_text() == "# mine\ndetail = 'run'\nenabled = false\n"
    assert stat.S_IMODE(paths.user_config().stat().st_mode) == 0o600
    kedro("info")
    assert not home.exists()
    kedro("otel", "on")
    assert paths.user_config().read_text() == "# mine\ndetail = 'run'\nenabled = true\n"
    kedro("info", env={"DO_NOT_TRACK": "1"})
    assert len(reader.segments()) == 1
    assert (
        "stays off: KEDRO_OTEL_ENABLED=no"
        in kedro("otel", "on", env={"KEDRO_OTEL_ENABLED": "no"}).err
    )


def test_off_says_so_when_it_cannot_be_written(kedro: Callable[..., Result]) -> None:
    """Where the file cannot be changed, the answer is 1 and what to type instead; a file like that is a no by itself."""
    paths.user_config().parent.mkdir(parents=True)
    paths.user_config().write_text("= broken")
    assert "export KEDRO_OTEL_ENABLED=false" in kedro("otel", "off", code=1).err
    assert paths.user_config().read_text() == "= broken"
    kedro("info")
    assert not reader.segments()


def test_status_tells_everything_and_makes_nothing(
    project: Callable[..., Path], kedro: Callable[..., Result], home: Path
) -> None:
    """Status names ids, settings with their origin, and problems; it prints no secret and creates nothing."""
    path = project(pyproject="[tool.kedro_otel]\nendpoint = 'http://evil'\n")
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://me:CANARY@host:4318",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-key=CANARY",
        "KEDRO_OTEL_DETAIL": "run",
    }
    before = sorted(path.rglob("*.toml")), (path / "pyproject.toml").read_bytes()
    for words in (["--json"], ["--verbose"], []):
        done = kedro("otel", "status", *words, cwd=path, env=variables)
        assert "CANARY" not in done.out + done.err
    assert (sorted(path.rglob("*.toml")), (path / "pyproject.toml").read_bytes()) == before
    assert not home.exists()
    assert not paths.telemetry_toml()[0].exists()
    found = json.loads(
        kedro("otel", "status", "--json", cwd=path, env=variables)
        .out.partition("\n{")[2]
        .join("{ ")
    )
    assert found["ids"] == {names.INSTALLATION_ID: None, names.PROJECT_ID: None}
    assert found["settings"]["detail"] == {
        "value": "run",
        "origin": "environment KEDRO_OTEL_DETAIL",
    }
    assert found["settings"]["headers"] == {
        "value": {"x-key": names.MASK},
        "origin": "environment OTEL_EXPORTER_OTLP_HEADERS",
    }
    assert found["destination"]["traces"] == "http://host:4318/v1/traces"
    assert found["problems"] == [
        "A project cannot set 'endpoint'; [tool.kedro_otel] of pyproject.toml is ignored there."
    ]
    told = kedro("otel", "status", "--verbose", cwd=path, env={"DO_NOT_TRACK": "1"}).out
    assert "Recording   off (DO_NOT_TRACK is set). To change that: kedro otel on\n" in told
    assert re.search(r"^  enabled +no  \(DO_NOT_TRACK is set\)$", told, re.MULTILINE)
    assert "x-key *****  (environment" in kedro("otel", "status", "-v", cwd=path, env=variables).out
    assert "Recording   on (default)\n" in kedro("otel", "status", cwd=path).out
    rows = re.findall(r"^  (app\.\S+ +|kedro\.project\S+ +)", told, re.MULTILINE)
    assert len({len(row) for row in rows}) == 1, "columns stand below each other"
    kedro("info", cwd=path)
    ids = json.loads(
        kedro("otel", "status", "--json", cwd=path).out.partition("\n{")[2].join("{ ")
    )["ids"]
    here = reader.read(reader.segments()[-1]).header.resource
    assert ids == {
        names.INSTALLATION_ID: here[names.INSTALLATION_ID],
        names.PROJECT_ID: here[names.PROJECT_ID],
    }


def test_purge_erases_what_was_written_and_nothing_else(
    kedro: Callable[..., Result], home: Path
) -> None:
    """Recordings and journals go, the ids on demand; files of others in a folder named by mistake stay."""
    kedro("info")
    journal = home / "destinations" / "0123456789abcdef"
    journal.mkdir(parents=True)
    (journal / "journal.json").write_text("{}")
    mine = [home / "recordings" / "notes.txt", home / "thesis.tex"]
    for path in mine:
        path.write_text("keep")
    telemetry = paths.telemetry_toml()[0]
    telemetry.write_text(f"# shared\n[other]\nx = 1\n{telemetry.read_text()}")
    assert "Erased 4 files" in kedro("otel", "purge").out
    assert "nothing to erase" in kedro("otel", "purge").out
    assert not reader.segments()
    assert not journal.exists()
    assert all(path.read_text() == "keep" for path in mine)
    assert "uuid" in telemetry.read_text()
    kedro("otel", "purge", "--ids")
    assert telemetry.read_text() == "# shared\n[other]\nx = 1\n[telemetry]\n"
    telemetry.write_text("[telemetry]\nuuid = 'x'\n")
    kedro("otel", "purge", "--ids")
    assert not telemetry.exists()


# --- off, seen from outside -----------------------------------------------------------------------------------------

OPENED = re.compile(
    r"(openat|open|creat|execve|connect|mkdir|mkdirat|rename|renameat2?|unlink|unlinkat|symlink|link|linkat)\((.*)"
)
SOURCE = Path(kedro_otel.__file__).parents[1]
ALLOWED = re.compile(
    rf"kedro_otel(/|-[\d.]+\.dist-info)|_kedro_otel\.pth|{re.escape(str(SOURCE))}|/email/|/importlib_metadata/|/tomli(b|\b)|"
    r"otel\.toml|pyproject\.toml|\.telemetry"
)
"""This package's own code, what Kedro needs to read any plugin's metadata, TOML, and the files that say whether it may record."""


def farm(folder: Path, *, without: str) -> Path:
    """Make an environment of links to this one's distributions, but for those whose name contains ``without``; return its folder of packages."""
    for entry in Path(next(path for path in sys.path if path.endswith("site-packages"))).iterdir():
        if not without or without not in entry.name:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / entry.name).symlink_to(entry)
    return folder


def trace(
    folder: Path,
    cwd: Path,
    variables: dict[str, str | None],
    run: Callable[..., Result],
    words: list[str],
) -> set[str]:
    """Run kedro on the packages in ``folder`` under strace; return what it opened, made, removed, started and called."""
    log = folder.with_suffix(".strace")
    code = f"import site, sys; sys.argv[0] = 'kedro'; site.addsitedir({str(folder)!r}); from kedro.framework.cli import main; main()"
    run(
        "strace",
        "-ff",
        "-qq",
        "-s",
        "300",
        "-e",
        "trace=file,network,process",
        "-o",
        log,
        sys.executable,
        "-S",
        "-c",
        code,
        *words,
        cwd=cwd,
        env=variables,
    )
    seen = set()
    for line in (
        line
        for file in log.parent.glob(f"{log.name}.*")
        for line in file.read_text(errors="replace").splitlines()
    ):
        call = OPENED.search(line)
        if call and " = -1 " not in line:
            seen.add(
                re.sub(
                    r"/proc/\d+|\d{6,}|0x[0-9a-f]+| = \d+$|\.pyc\.\d+",
                    "#",
                    call[0].replace(str(folder), "SITE"),
                )
            )
    return seen


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not at hand")
@pytest.mark.parametrize(
    "word",
    [
        "KEDRO_OTEL_ENABLED=false",
        "OTEL_SDK_DISABLED=true",
        "[tool.kedro_otel] enabled = false",
        "kedro otel off",
        "DO_NOT_TRACK is set",
        "KEDRO_DISABLE_TELEMETRY is set",
        ".telemetry consent: false",
    ],
)
def test_off_means_off(
    word: str,
    says: Callable[..., tuple[Path, dict[str, str]]],
    run: Callable[..., Result],
    tmp_path: Path,
) -> None:
    """Off: no file, socket or process that a run without the package does not also have, but for reading who said no."""
    path, variables = says({**SPECIFIC_NO, **GENERIC_NO}[word])
    variables |= {
        "PYTHONDONTWRITEBYTECODE": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }
    seen = []
    for name, without in (("without", "kedro_otel"), ("with", "")):
        packages = farm(tmp_path / name, without=without)
        (path / "data/told.json").unlink(missing_ok=True)
        seen.append(trace(packages, path, variables, run, ["run"]))
    # Kedro reads the metadata of whoever has a plugin, with Python's own library: who it is makes no difference.
    library = sysconfig.get_path("stdlib")
    more = sorted(
        line for line in seen[1] - seen[0] if not ALLOWED.search(line) and library not in line
    )
    assert more == [], "\n".join(more)
    written = [
        line
        for line in seen[1] - seen[0]
        if re.search(r"O_WRONLY|O_RDWR|O_CREAT|mkdir|rename|connect|execve", line)
    ]
    assert written == []
    assert not Path(os.environ["KEDRO_OTEL_HOME"]).exists()


def test_off_imports_no_opentelemetry(
    project: Callable[..., Path], run: Callable[..., Result]
) -> None:
    """Off: a whole run imports nothing of OpenTelemetry, and of this package only what asks for consent."""
    path = project()
    code = "import sys; sys.argv[:] = ['kedro', 'run']\nfrom kedro.framework.cli import main\ntry:\n    main()\nfinally:\n    print(sorted(sys.modules))"
    loaded = run(BIN / "python", "-c", code, cwd=path, env={"DO_NOT_TRACK": "1"}).out.splitlines()[
        -1
    ]
    assert "'opentelemetry" not in loaded
    assert set(re.findall(r"'kedro_otel\.(\w+)", loaded)) <= {
        "cli",
        "config",
        "facts",
        "guard",
        "hooks",
        "runtime",
    }, loaded


def test_a_settings_file_about_something_else_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's file without a word on recording is no yes: a generic no still counts."""
    path = paths.user_config()
    path.parent.mkdir(parents=True)
    path.write_text('detail = "run"\n')
    assert consent.decide({}, None) == (True, "default")
    assert consent.decide({"DO_NOT_TRACK": "1"}, None) == (False, "DO_NOT_TRACK is set")


def test_the_site_says_no_in_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason tells a site's no from a file that nobody understands."""
    site = tmp_path / "otel.toml"
    monkeypatch.setattr(paths, "site_config", lambda: site)
    site.write_text("enabled = false\n")
    assert consent.decide({}, None) == (False, f"enabled = false in {site}")
    site.write_text("enabled = 3\n")
    assert consent.decide({}, None) == (False, f"{site} cannot be read")
    site.write_text("enabled =\n")
    assert consent.decide({}, None) == (False, f"{site} cannot be read")


def test_a_watch_asks_again_when_the_file_changed(tmp_path: Path) -> None:
    """Consent that is taken back while something runs is heard of; a file that says something else changes nothing."""
    path = paths.user_config()
    still = consent.watch({}, None)
    assert still()
    path.parent.mkdir(parents=True)
    path.write_text('detail = "run"\n')
    assert still()
    os.utime(path, ns=(1, 1))
    path.write_text("enabled = false\n")
    assert not still()


def test_a_watch_asks_only_when_the_file_changed(tmp_path: Path) -> None:
    """An answer stands until the user's file changes; then all is asked again, the project too."""
    path = paths.user_config()
    path.parent.mkdir(parents=True)
    path.write_text('detail = "run"\n')
    variables: dict[str, str] = {}
    still = consent.watch(variables, tmp_path)
    variables["DO_NOT_TRACK"] = "1"
    assert still()
    os.utime(path, ns=(1, 1))
    assert not still()
    assert still()
    del variables["DO_NOT_TRACK"]
    (tmp_path / "pyproject.toml").write_text("[tool.kedro_otel]\nenabled = false\n")
    os.utime(path, ns=(2, 2))
    assert not still()
