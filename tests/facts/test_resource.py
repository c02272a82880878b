"""What the resource says of the environment."""

from __future__ import annotations

import pytest

from kedro_otel.facts import resource

SERVICES = {
    "Azure Pipelines": {"TF_BUILD": "True"},
    "TeamCity": {"TEAMCITY_VERSION": "2025.11"},
    "Bamboo": {"bamboo_planKey": "ABC-DEF"},
    "Woodpecker": {"CI": "woodpecker", "CI_SYSTEM_NAME": "woodpecker"},
    "Woodpecker without CI": {"CI_SYSTEM_NAME": "woodpecker"},
    "Drone": {"DRONE": "true"},
    "Jenkins": {"JENKINS_URL": "https://jenkins.example.org"},
    "Buildkite": {"BUILDKITE": "true"},
    "AWS CodeBuild": {"CODEBUILD_BUILD_ID": "x:1"},
    "GitLab": {"GITLAB_CI": "true"},
    "GitHub Actions": {"GITHUB_ACTIONS": "true"},
    "Gitea Actions": {"GITEA_ACTIONS": "true"},
    "Bitbucket": {"BITBUCKET_COMMIT": "abc"},
    "AppVeyor": {"APPVEYOR": "True"},
    "Semaphore": {"SEMAPHORE": "true"},
    "Cirrus": {"CIRRUS_CI": "true"},
    "Codeship": {"CI_NAME": "codeship"},
    "CI=true": {"CI": "true"},
    "CI=True": {"CI": "True"},
    "CI=1": {"CI": "1"},
    "CI=yes": {"CI": "yes"},
}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_known(service: str) -> None:
    """Every service that runs builds is continuous integration, by its own variable or by ``CI``."""
    assert resource.is_ci(SERVICES[service])


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"CI": ""},
        {"CI": "false"},
        {"CI": "0"},
        {"CI": "False"},
        {"TF_BUILD": ""},
        {"CIVIL": "1"},
    ],
)
def test_a_person_at_a_terminal_is_no_service(environ: dict[str, str]) -> None:
    """No variable, an empty one, and ``CI`` that says no are no continuous integration."""
    assert not resource.is_ci(environ)
