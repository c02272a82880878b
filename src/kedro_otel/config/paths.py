"""Where things are: the folders and files of this package, as platformdirs names them.

Every function reads the environment when it is called. On Linux the answers are computed here, because importing
platformdirs costs more than all the rest of this package's start; ``tests/config/test_paths.py`` holds the two equal.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from kedro_otel import guard

APP: Final = "kedro-otel"
KEDRO: Final = "kedro"
CONFIG_FILE: Final = "otel.toml"
TELEMETRY_FILE: Final = "telemetry.toml"
PYPROJECT: Final = "pyproject.toml"
HOME_VARIABLE: Final = "KEDRO_OTEL_HOME"


def home() -> Path:
    """Return the folder of recordings and journals: ``KEDRO_OTEL_HOME``, else ``user_state_path("kedro-otel")``."""
    named = os.environ.get(HOME_VARIABLE, "").strip()
    return Path(named).expanduser().absolute() if named else Path(_folder("state", APP))


def recordings() -> Path:
    """Return the folder of segments."""
    return home() / "recordings"


def destinations() -> Path:
    """Return the folder of journals: one folder in it per destination id."""
    return home() / "destinations"


def destination_key() -> Path:
    """Return the file of the random key of this home: in ids of destinations with credentials, and in those of schemas."""
    return home() / "destination.key"


def reports() -> Path:
    """Return the folder of the pages that ``kedro otel report`` writes where no file is named."""
    return home() / "reports"


def index() -> Path:
    """Return the file of the index, which is made from the recordings and may be removed at any time."""
    return home() / "index.sqlite3"


def notified() -> Path:
    """Return the file in which the notifier notes what it has posted; its lock is beside it, with the suffix ``.lock``."""
    return home() / "notified.json"


def user_config() -> Path:
    """Return this user's settings file."""
    return Path(_folder("config", KEDRO), CONFIG_FILE)


def site_config() -> Path:
    """Return the settings file that an administrator may place for all users of the machine."""
    return Path(_folder("site", KEDRO), CONFIG_FILE)


def telemetry_toml() -> list[Path]:
    """Return the files in which the user UUID may be, the first of them the one to write.

    kedro-telemetry finds its file with appdirs. Releases of appdirs differ on macOS only, where some say
    ``~/Library/Preferences``.
    """
    places = [Path(_folder("config", KEDRO), TELEMETRY_FILE)]
    if sys.platform == "darwin":
        places.append(Path("~/Library/Preferences").expanduser() / KEDRO / TELEMETRY_FILE)
        places.append(Path("~/Library/Application Support").expanduser() / KEDRO / TELEMETRY_FILE)
    return list(dict.fromkeys(places))


_XDG: Final = {
    "state": ("XDG_STATE_HOME", ".local/state"),
    "config": ("XDG_CONFIG_HOME", ".config"),
}


def _folder(kind: str, name: str) -> str:
    """Return platformdirs' user state, user config or site config folder for the application ``name``."""
    if sys.platform != "linux" or "ANDROID_ROOT" in os.environ:
        return _asked(kind, name)
    if kind == "site":
        return _asked(kind, name) if "XDG_CONFIG_DIRS" in os.environ else f"/etc/xdg/{name}"
    variable, default = _XDG[kind]
    base = os.environ.get(variable, "")
    if not base.startswith("/"):  # a relative one does not count, says the XDG specification
        base = f"{os.environ.get('HOME', '')}/{default}"
        if not os.environ.get("HOME", "").startswith("/"):
            return _asked(kind, name)
    return f"{base}/{name}"


def _asked(kind: str, name: str) -> str:
    """Ask platformdirs. Where there is no home folder at all, answer with a place in which nothing can be or be made."""
    import platformdirs

    try:
        if kind == "state":
            found = platformdirs.user_state_dir(name)
        elif kind == "config":
            found = platformdirs.user_config_dir(name)
        else:
            found = platformdirs.site_config_dir(name)
    except RuntimeError as error:
        guard.let_through(error)
        found = ""
    return found if os.path.isabs(found) else f"{os.path.abspath(os.devnull)}/{name}"  # noqa: PTH100, PTH117 (as above)
