"""Where things are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from kedro_otel.config import consent, paths
from kedro_otel.facts import identity

ENVIRONMENTS = [
    {},
    {"XDG_STATE_HOME": "/xdg/state", "XDG_CONFIG_HOME": "/xdg/config"},
    {"XDG_STATE_HOME": "/xdg/state/", "XDG_CONFIG_HOME": ""},
    {"XDG_STATE_HOME": "relative", "XDG_CONFIG_HOME": "also/relative"},
    {"XDG_CONFIG_DIRS": "/one:/two"},
    {"XDG_CONFIG_DIRS": ""},
    {"HOME": "/with space/ünd umlaut"},
    {"HOME": "/trailing/"},
    {"HOME": "relative"},
    {"HOME": ""},
]


@pytest.mark.parametrize("changes", ENVIRONMENTS, ids=str)
def test_folders_are_platformdirs_own(
    changes: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment says, the folders are those that platformdirs names."""
    monkeypatch.delenv("KEDRO_OTEL_HOME")
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    pairs = [
        (paths.home(), platformdirs.user_state_path("kedro-otel")),
        (paths.user_config(), platformdirs.user_config_path("kedro") / "otel.toml"),
        (paths.site_config(), platformdirs.site_config_path("kedro") / "otel.toml"),
        (paths.telemetry_toml()[0], platformdirs.user_config_path("kedro") / "telemetry.toml"),
    ]
    for ours, theirs in pairs:
        assert ours.is_absolute()
        assert (
            ours == theirs or not theirs.is_absolute()
        )  # as older releases say where newer ones go by the XDG specification


def test_home_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """KEDRO_OTEL_HOME moves recordings and journals, whenever it is set; a relative one and ~ become absolute."""
    monkeypatch.chdir(tmp_path)
    for said, meant in (
        ("/elsewhere", Path("/elsewhere")),
        ("here", tmp_path / "here"),
        ("~/there", Path.home() / "there"),
    ):
        monkeypatch.setenv("KEDRO_OTEL_HOME", said)
        assert (paths.recordings(), paths.destinations()) == (
            meant / "recordings",
            meant / "destinations",
        )


def test_on_a_mac_the_places_of_older_releases_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS the user UUID is also looked for where releases of appdirs put it."""
    monkeypatch.setattr(sys, "platform", "darwin")
    home = Path.home()
    found = paths.telemetry_toml()
    assert found[0] == platformdirs.user_config_path("kedro") / "telemetry.toml"
    assert {
        home / "Library/Preferences/kedro/telemetry.toml",
        home / "Library/Application Support/kedro/telemetry.toml",
    } <= set(found)


def test_without_any_home_nothing_is_found_and_nothing_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process without HOME whose user the system does not know has no places; asking for them does not raise."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEDRO_OTEL_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    for path in (paths.home(), paths.user_config(), paths.telemetry_toml()[0]):
        assert path.is_absolute()
        assert not path.exists()
        with pytest.raises(NotADirectoryError):
            path.mkdir(parents=True)
    assert identity.installation_id() is None
    assert consent.decide({}, None) == (True, "default")
    assert not [other for other in tmp_path.iterdir() if other.name != "home"]


def test_platformdirs_is_not_loaded_for_it() -> None:
    """On Linux the usual places are found without importing platformdirs."""
    if sys.platform != "linux":
        pytest.skip("elsewhere it is asked")
    code = "import sys; from kedro_otel.config import paths; paths.home(), paths.user_config(), paths.site_config(); print('platformdirs' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "False\n"
    )
