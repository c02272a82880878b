"""May anything be recorded? A specific no beats a specific yes beats a generic no beats the default yes.

Specific means: said to this package. Generic means: said to every tool, or to Kedro's telemetry. A word that was meant
for this package and cannot be understood is taken for a no, and so is a file that exists and
cannot be read: nobody can know that it does not say no.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from kedro_otel import guard
from kedro_otel.config import files, paths, toml_file
from kedro_otel.config.paths import PYPROJECT
from kedro_otel.config.toml_file import parse_bool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

ENABLED: Final = "KEDRO_OTEL_ENABLED"
SDK_DISABLED: Final = "OTEL_SDK_DISABLED"
GENERIC: Final = ("DO_NOT_TRACK", "KEDRO_DISABLE_TELEMETRY")
OWNER: Final = "GITHUB_REPOSITORY_OWNER"
OWN_CI: Final = "kedro-org"
"""kedro-telemetry is silent in the CI of Kedro's own repositories. A generic no here, for the same reason."""
_REFUSED: Final = "is not followed"


class Consent(NamedTuple):
    """Whether to record, and the word that decided."""

    enabled: bool
    reason: str

    @property
    def refused(self) -> bool:
        """Whether a settings file decided that somebody else could have written."""
        return not self.enabled and _REFUSED in self.reason


def decide(settings_environ: Mapping[str, str], project: Path | None) -> Consent:
    """Return whether to record in this environment and project (None: outside one).

    Reads at most the user's and the site's settings file, the project's pyproject.toml and its ``.telemetry``.
    """
    user = toml_file.read_settings(paths.user_config())
    said = settings_environ.get(ENABLED, "").strip()
    no = _specific_no(settings_environ, said, user, project)
    if no:
        return Consent(enabled=False, reason=no)
    if said:
        return Consent(enabled=True, reason=f"{ENABLED}={said}")
    if user and user.get("enabled") is True:
        return Consent(enabled=True, reason="kedro otel on")
    no = generic_no(settings_environ, project)
    return Consent(enabled=not no, reason=no or "default")


def objections(settings_environ: Mapping[str, str], project: Path | None) -> list[str]:
    """Return everything that says no to this package in particular, the strongest first."""
    said = settings_environ.get(ENABLED, "").strip()
    user = toml_file.read_settings(paths.user_config())
    return list(_specific_noes(settings_environ, said, user, project))


def watch(settings_environ: Mapping[str, str], project: Path | None) -> Callable[[], bool]:
    """Return a function that tells whether the answer is still yes: it looks at the time of the user's file, and asks again when that changed."""
    known = _changed(paths.user_config())

    def still() -> bool:
        nonlocal known
        now = _changed(paths.user_config())
        if now == known:
            return True
        known = now
        return decide(settings_environ, project).enabled

    return still


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        guard.let_through(error)
    try:
        return ~path.lstat().st_mtime_ns  # a link that leads nowhere is not an absent file
    except OSError as error:
        guard.let_through(error)
        return 0


def _specific_no(
    environ: Mapping[str, str], said: str, user: dict[str, Any] | None, project: Path | None
) -> str:
    return next(_specific_noes(environ, said, user, project), "")


def _specific_noes(
    environ: Mapping[str, str], said: str, user: dict[str, Any] | None, project: Path | None
) -> Iterator[str]:
    if said and parse_bool(said) is not True:
        yield (
            f"{ENABLED}={said}"
            if parse_bool(said) is False
            else f"{ENABLED} is neither true nor false"
        )
    if environ.get(SDK_DISABLED, "").strip().lower() == "true":
        yield f"{SDK_DISABLED}=true"
    if _no(user):
        yield (
            "kedro otel off"
            if user is not None and user["enabled"] is False
            else _unclear(paths.user_config())
        )
    site = toml_file.read_settings(paths.site_config())
    if _no(site):
        yield (
            f"enabled = false in {paths.site_config()}"
            if site is not None and site["enabled"] is False
            else _unclear(paths.site_config())
        )
    if project is not None:
        yield from _project_noes(project / PYPROJECT)


def _project_noes(path: Path) -> Iterator[str]:
    tool = toml_file.table(toml_file.read(path), "tool")
    settings = tool.get("kedro_otel", {})
    if not isinstance(settings, dict):
        yield f"[tool.kedro_otel] in {path} cannot be read"
    elif settings.get("enabled", True) is False:
        yield "[tool.kedro_otel] enabled = false"
    elif _no(settings):
        yield f"[tool.kedro_otel] enabled in {path} cannot be read"


def _no(content: dict[str, Any] | None) -> bool:
    """Return whether a settings file says no: it cannot be read, or ``enabled`` is there and not ``true``."""
    return content is None or content.get("enabled", True) is not True


def _unclear(path: Path) -> str:
    why = toml_file.refusal(path)
    if not why:
        return f"{path} cannot be read"
    return f"{path} {_REFUSED}, since {why}; to repair: {_repair(path)}"


def _repair(path: Path) -> str:
    """Return the commands that make a settings file one that is followed."""
    return f"chown $(id -u) {path.parent} {path} && chmod go-w {path.parent} {path}"


def generic_no(environ: Mapping[str, str], project: Path | None) -> str:
    """Return what says no to every tool or to Kedro's telemetry, as that one understands it; empty if nothing does."""
    for name in GENERIC:
        if environ.get(name):
            return f"{name} is set"
    if environ.get(OWNER) == OWN_CI:
        return f"{OWNER}={OWN_CI}"
    return _telemetry_no(project / ".telemetry") if project is not None else ""


def _telemetry_no(path: Path) -> str:
    """Return the no of kedro-telemetry's file, empty if it says yes or nothing.

    Of a file that is there and cannot be read nobody can know that it does not say no.
    """
    try:
        text = files.read(path, toml_file.MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        guard.let_through(error)
        return (
            ""
            if not isinstance(error, ValueError) and files.absent(path, error)
            else _unclear(path)
        )
    import yaml

    try:
        content = yaml.safe_load(text)
    except Exception as error:  # noqa: BLE001 -- YAML's own errors, and those of the values that it builds
        guard.let_through(error)
        return _unclear(path)
    if content is None:
        return ""
    if not isinstance(content, dict):
        return _unclear(path)
    consent = content.get("consent", content.get("Consent", True))
    if consent is False:
        return ".telemetry consent: false"
    return "" if consent is True else _unclear(path)
