"""Who and where every operation comes from: the attributes of the OpenTelemetry resource.

Never the host's or user's name, never a path. What a user puts into ``OTEL_RESOURCE_ATTRIBUTES`` is their own choice
and kept, but it cannot replace what this package states.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from kedro_otel import __version__
from kedro_otel.config.settings import ENVIRONMENT, Settings, is_agent
from kedro_otel.semconv import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kedro_otel.facts.project import Project

CI_VARIABLES: Final = frozenset(
    {
        "APPVEYOR",
        "BITBUCKET_BUILD_NUMBER",
        "BITBUCKET_COMMIT",
        "BITRISE_IO",
        "BUDDY_WORKSPACE_ID",
        "BUILDKITE",
        "CF_BUILD_ID",
        "CIRCLECI",
        "CIRRUS_CI",
        "CI_NAME",
        "CI_PIPELINE_ID",
        "CI_SYSTEM_NAME",
        "CM_BUILD_ID",
        "CODEBUILD_BUILD_ARN",
        "CODEBUILD_BUILD_ID",
        "DRONE",
        "EARTHLY_CI",
        "GERRIT_PROJECT",
        "GITEA_ACTIONS",
        "GITHUB_ACTION",
        "GITHUB_ACTIONS",
        "GITLAB_CI",
        "GO_PIPELINE_LABEL",
        "HARNESS_BUILD_ID",
        "HUDSON_URL",
        "JENKINS_URL",
        "PROW_JOB_ID",
        "SAILCI",
        "SCREWDRIVER",
        "SEMAPHORE",
        "TEAMCITY_VERSION",
        "TF_BUILD",
        "TRAVIS",
        "VELA",
        "bamboo_buildKey",
        "bamboo_planKey",
    }
)
"""One of these is set in each service: kedro-telemetry's list, and those of npm's ci-info 4 that run builds.

``CI_NAME`` stands for Codeship and sourcehut, ``CI_SYSTEM_NAME`` for Woodpecker.
"""

_NO: Final = frozenset({"", "0", "false", "no", "off"})

USER_ATTRIBUTES: Final = "OTEL_RESOURCE_ATTRIBUTES"
_OS: Final = {"win32": "windows", "cygwin": "windows", "sunos5": "solaris"}


def attributes(
    environ: Mapping[str, str],
    settings: Settings,
    project: Project | None,
    *,
    installation: str | None,
    project_id: str | None,
) -> dict[str, Any]:
    """Return the resource of this process; what is not known is left out."""
    from kedro import __version__ as kedro_version

    said = user_attributes(environ)
    service = settings.value("service_name")
    if settings.rank("service_name") != ENVIRONMENT and not is_agent(environ):
        service = said.get(names.SERVICE_NAME, service)
    version = sys.implementation.version
    facts = {
        names.SERVICE_NAME: service,
        names.DISTRO_NAME: "kedro-otel",
        names.DISTRO_VERSION: __version__,
        names.INSTALLATION_ID: installation,
        names.PROJECT_ID: project_id,
        names.PROJECT_NAME: project.package if project else None,
        names.PROJECT_TOOLS: list(project.tools) if project and project.tools else None,
        names.EXAMPLE_PIPELINE: project.example_pipeline if project else None,
        names.KEDRO_VERSION: kedro_version,
        names.KEDRO_PYTHON: f"{sys.version_info.major}.{sys.version_info.minor}",
        names.KEDRO_PLATFORM: sys.platform,
        names.CI: is_ci(environ),
        names.RUNTIME_NAME: sys.implementation.name,
        names.RUNTIME_VERSION: ".".join(map(str, version[:3]))
        if version.releaselevel == "final"
        else sys.version.split()[0],
        names.RUNTIME_DESCRIPTION: sys.version,
        names.OS_TYPE: _OS.get(sys.platform, sys.platform.rstrip("0123456789")),
    }
    return said | {key: value for key, value in facts.items() if value is not None}


def is_ci(environ: Mapping[str, str]) -> bool:
    """Return whether this is continuous integration: ``CI`` is set to anything but a no, or a service's own variable."""
    if environ.get("CI", "").strip().lower() not in _NO:
        return True
    return any(environ.get(name) for name in CI_VARIABLES)


def user_attributes(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what ``OTEL_RESOURCE_ATTRIBUTES`` says (``name=value,name=value``, percent-encoded); what it may not say is left out."""
    raw = environ.get(USER_ATTRIBUTES, "")
    if not raw.strip():
        return {}
    from urllib.parse import unquote

    from kedro_otel.semconv.fields import FIELDS

    ours = {field.key for field in FIELDS if "resource" in field.on} - {
        names.SERVICE_NAME,
        names.SERVICE_INSTANCE_ID,
        names.ENVIRONMENT,
    }
    pairs = (
        (name.strip(), unquote(value.strip()))
        for name, sign, value in (item.partition("=") for item in raw.split(","))
        if sign
    )
    return {
        name: value
        for name, value in pairs
        if name and name not in ours and not name.startswith("kedro.")
    }
