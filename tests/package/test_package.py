"""What is released: the wheel and the sdist, built, read, installed and used."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from bare import linked
from conftest import Result

import kedro_otel

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "kedro_otel"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the built "wheel" and "sdist"."""
    folder = tmp_path_factory.mktemp("built")
    for kind in ("wheel", "sdist"):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder],
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=120,
        )
    return {"wheel": next(folder.glob("*.whl")), "sdist": next(folder.glob("*.tar.gz"))}


def test_the_wheel_holds_the_package_and_nothing_else(built: dict[str, Path]) -> None:
    """A wheel has every file of the package, the demo's and the stack's among them, its licence, and no test, cache or recording."""
    with zipfile.ZipFile(built["wheel"]) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    source = {
        f"kedro_otel/{path.relative_to(SOURCE).as_posix()}"
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    rest = {name for name in names - source if not name.startswith("kedro_otel/_stack/")}
    info = f"kedro_otel-{kedro_otel.__version__}.dist-info"
    assert source <= names
    assert rest == {
        f"{info}/{name}"
        for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    assert {"kedro_otel/py.typed", "kedro_otel/cli/demo_project/conf/base/catalog.yml"} <= names


def test_the_sdist_can_be_tested(built: dict[str, Path]) -> None:
    """An sdist has what a distributor needs to build and test the package, and nothing that only this machine has."""
    with tarfile.open(built["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "pyproject.toml",
        "LICENSE",
        "README.md",
        "Makefile",
        "noxfile.py",
        "tests/conftest.py",
        "src/kedro_otel/hooks.py",
    } <= names
    assert not [
        name
        for name in names
        if name.startswith((".venv", ".git/", "site/", "dist/"))
        or "__pycache__" in name
        or name.endswith(".log")
    ]


def test_the_wheel_works_where_it_is_installed(
    built: dict[str, Path], run: Callable[..., Result], project: Callable[..., Path], tmp_path: Path
) -> None:
    """Installed from the wheel beside Kedro, the package records a run in a project that knows nothing of it."""
    python = linked(tmp_path / "env", without_us=True)
    where = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").out.strip()
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        where,
        built["wheel"],
    )
    kedro = python.parent / "kedro"
    path = project()
    run(kedro, "run", cwd=path)
    shown = run(kedro, "otel", "show", cwd=path).out
    assert all(name in shown for name in ("greet", "shout", "tell"))
    assert Path(
        run(python, "-c", "import kedro_otel; print(kedro_otel.__file__)").out.strip()
    ).is_relative_to(tmp_path)


def test_the_version_stands_in_one_place(
    built: dict[str, Path], kedro: Callable[..., Result], project: Callable[..., Path]
) -> None:
    """The wheel's name, the package's attribute and what is recorded are one version, written in one file."""
    assert built["wheel"].name.startswith(f"kedro_otel-{kedro_otel.__version__}-")
    path = project()
    kedro("run", cwd=path)
    assert (
        f'"telemetry.distro.version","value":{{"stringValue":"{kedro_otel.__version__}"'
        in kedro("otel", "export", cwd=path).out.replace(" ", "")
    )


def test_the_metadata_is_valid(built: dict[str, Path]) -> None:
    """Twine finds nothing to complain of: names, classifiers, and a README that a package index can show."""
    pytest.importorskip("twine", reason="part of the extra `dev` only")
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *built.values()],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert checked.returncode == 0, checked.stdout


def test_an_index_can_show_readme(built: dict[str, Path]) -> None:
    """On a package index README has no image and no link that only a repository resolves, and renders without a complaint."""
    markdown = pytest.importorskip(
        "readme_renderer.markdown", reason="part of the extra `dev` only"
    )
    with zipfile.ZipFile(built["wheel"]) as archive:
        info = f"kedro_otel-{kedro_otel.__version__}.dist-info"
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
    rendered = markdown.render(metadata.get_payload(decode=True).decode())
    assert rendered
    assert "<img" not in rendered
    links = re.findall(r'href="([^"]+)"', rendered)
    assert f"/blob/v{kedro_otel.__version__}/docs/" in rendered
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
