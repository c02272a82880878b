"""Beside other plugins, and beside a user's hooks that raise, attach context, or name this package's hooks once more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bare import LOGGING
from trace_text import below, operations, tree

HOOKS = """
import inspect
from kedro.framework.hooks import hook_impl
from opentelemetry import context, trace
{}
HOOKS = ({})
"""
RAISES = """
class Raises:
    @hook_impl
    def {}(self): raise RuntimeError("from a hook")
"""
GREET, SHOUT = (
    "node greet\n  load params:name\n  save greeting",
    "node shout\n  load greeting\n  save shouted",
)
RUN = below(
    "run __default__", GREET, SHOUT, "node tell\n  load params:fail\n  load shouted\n  save told"
)
WHOLE = below("kedro run", RUN)


@pytest.fixture
def where(project: Callable[..., Path], environment: dict[str, str]) -> Callable[..., Path]:
    """Return ``where(hooks, *classes)``, which makes a project with these hooks of its own."""

    def where(hooks: str = "", instances: str = "") -> Path:
        path = project(settings=HOOKS.format(hooks, instances), files={"logging.yml": LOGGING})
        environment.update(
            {"KEDRO_LOGGING_CONFIG": str(path / "logging.yml"), "PYTHONWARNINGS": "ignore"}
        )
        return path

    return where


RED = "!RuntimeError"
TREES = {
    "after_context_created": below(f"kedro run {RED}"),
    "after_catalog_created": below(f"kedro run {RED}"),
    "before_pipeline_run": below(f"kedro run {RED}"),
    "after_pipeline_run": below(
        f"kedro run {RED}", RUN.replace("run __default__", f"run __default__ {RED}")
    ),
    "before_dataset_loaded": below(
        f"kedro run {RED}",
        below(f"run __default__ {RED}", f"node greet {RED}\n  load params:name {RED}"),
    ),
    "after_dataset_loaded": below(
        f"kedro run {RED}",
        below(f"run __default__ {RED}", f"node greet {RED}\n  load params:name"),
    ),
    "before_node_run": below(
        f"kedro run {RED}", below(f"run __default__ {RED}", f"node greet {RED}\n  load params:name")
    ),
    "after_node_run": below(
        f"kedro run {RED}", below(f"run __default__ {RED}", f"node greet {RED}\n  load params:name")
    ),
    "before_dataset_saved": below(
        f"kedro run {RED}", below(f"run __default__ {RED}", f"node greet {RED}\n  load params:name")
    ),
    "after_dataset_saved": below(
        f"kedro run {RED}",
        below(f"run __default__ {RED}", f"node greet {RED}\n  load params:name\n  save greeting"),
    ),
}
"""What another plugin's hook does is the node's: the load or save next to it has not failed."""


@pytest.mark.parametrize("hook", list(TREES))
def test_a_hook_that_raises(
    hook: str, where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """A user's hook that raises ends the run as it would without us; what was open is closed as failed, by that error, where it was."""
    unchanged("kedro", "run", cwd=where(RAISES.format(hook), "Raises(),"), code=1)
    assert tree(operations(home)) == TREES[hook]
    assert {operation.state for operation in operations(home)} == {"ended"}


@pytest.mark.parametrize("hook", ["on_node_error", "on_pipeline_error"])
def test_a_hook_that_raises_about_an_error(
    hook: str, where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """A hook that raises while a node's failure is told about leaves nothing open, and the node that failed red."""
    unchanged(
        "kedro", "run", "--params=fail=true", cwd=where(RAISES.format(hook), "Raises(),"), code=1
    )
    node = "!RuntimeError" if hook == "on_node_error" else "!ValueError"
    expected = below(
        f"run __default__ {RED}",
        GREET,
        SHOUT,
        f"node tell {node}\n  load params:fail\n  load shouted",
    )
    assert tree(operations(home)) == below(f"kedro run {RED}", expected)


CLI_HOOKS = """
from kedro.framework.cli.hooks import cli_hook_impl

class Raises:
    @cli_hook_impl
    def {}(self): raise RuntimeError("from a plugin")

hooks = Raises()
"""


@pytest.mark.parametrize(
    ("hook", "recorded"),
    [
        ("before_command_run", []),
        ("after_command_run", [WHOLE.replace("kedro run", f"kedro run {RED}", 1)]),
    ],
)
def test_a_command_hook_that_raises(
    hook: str,
    recorded: list[str],
    where: Callable[..., Path],
    tmp_path: Path,
    home: Path,
    unchanged: Callable[..., Any],
) -> None:
    """A plugin that raises before a command keeps it from running, so there is none; one that raises after it makes it fail."""
    metadata = tmp_path / "plugin" / "raising-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: raising\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[kedro.cli_hooks]\nraising = raising:hooks\n")
    (tmp_path / "plugin" / "raising.py").write_text(CLI_HOOKS.format(hook))
    unchanged("kedro", "run", cwd=where(), env={"PYTHONPATH": str(tmp_path / "plugin")}, code=1)
    found = operations(home)
    assert [tree(found)] == recorded if found else not recorded


ATTACHES = """
class Attaches:
    def __init__(self): self.tokens = {{}}
    def enter(self, key, name):
        span = trace.get_tracer("plugin").start_span(name)
        self.tokens[key] = (span, context.attach(trace.set_span_in_context(span)))
    def leave(self, key):
        span, token = self.tokens.pop(key)
        {}
        span.end()
    @hook_impl
    def before_pipeline_run(self): self.enter("run", "their run")
    @hook_impl
    def after_pipeline_run(self): self.leave("run")
    @hook_impl
    def before_node_run(self, node): self.enter(node.name, "their " + node.name)
    @hook_impl
    def after_node_run(self, node): self.leave(node.name)
"""


@pytest.mark.parametrize("leaves", ["context.detach(token)", "pass"])
def test_a_hook_that_attaches_context(
    leaves: str, where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """A plugin's spans are below the nodes they belong to, whether it detaches what it attached or forgets to; our nodes stay where they were."""
    path = where(ATTACHES.format(leaves), "Attaches(),")
    unchanged("kedro", "run", cwd=path)
    found = {
        operation.name: operation
        for operation in operations(home)
        if operation.operation != "dataset"
    }
    above = {
        name: next(
            (other for other, each in found.items() if each.span_id == operation.parent_id), ""
        )
        for name, operation in found.items()
    }
    words = ("greet", "shout", "tell")
    nodes = {f"node {name}": "run __default__" for name in words} | {
        f"their {name}": f"node {name}" for name in words
    }
    assert above == {
        "kedro run": "",
        "run __default__": "kedro run",
        **nodes,
        **{f"their {name}": f"node {name}" for name in ("greet", "shout", "tell")},
    }


def test_a_span_that_was_left_behind_is_nobody_s_parent(
    where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """A span that a plugin attached, ended and never detached is not the parent of the next session's run in the same process."""
    hooks = (
        ATTACHES.format("pass")
        + (
            "from opentelemetry.sdk.trace import TracerProvider\ntrace.set_tracer_provider(TracerProvider())\n"  # spans that know that they ended
            "Attaches.before_pipeline_run = Attaches.after_pipeline_run = None\n"  # nodes only: nobody begins a span below the one left behind
        )
    )
    path = where(hooks, "Attaches(),")
    (path / "script.py").write_text(
        "from pathlib import Path\nfrom kedro.framework.session import KedroSession\nfrom kedro.framework.startup import bootstrap_project\n"
        "bootstrap_project(Path.cwd())\n"
        "for number in range(2):\n    with KedroSession.create(project_path=Path.cwd()) as session: session.run()\n"
    )
    unchanged("script.py", cwd=path)
    runs = [operation for operation in operations(home) if operation.operation == "run"]
    assert len({run.trace_id for run in runs}) == 2


def test_hooks_named_once_more_record_once(
    where: Callable[..., Path], home: Path, unchanged: Callable[..., Any], kedro: Callable[..., Any]
) -> None:
    """The public hook object in settings.HOOKS, beside the entry point that Kedro loads by itself, changes nothing."""
    path = where("from kedro_otel.hooks import hooks", "hooks,")
    kedro("run", cwd=path)
    assert tree(operations(home)) == WHOLE


def test_disabled_hooks(
    where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """DISABLE_HOOKS_FOR_PLUGINS keeps runs from being recorded; it does not reach a command's hooks, which `kedro otel off` does."""
    path = where('DISABLE_HOOKS_FOR_PLUGINS = ("kedro-otel",)', "")
    unchanged("kedro", "run", cwd=path)
    assert tree(operations(home)) == "kedro run\n"


def test_disabled_hooks_in_workers(
    where: Callable[..., Path], home: Path, unchanged: Callable[..., Any]
) -> None:
    """Workers that never see the settings record nothing either."""
    path = where('DISABLE_HOOKS_FOR_PLUGINS = ("kedro-otel",)', "")
    unchanged(
        "kedro",
        "run",
        "--runner=ParallelRunner",
        cwd=path,
        env={"KEDRO_MP_CONTEXT": "spawn"},
        order=False,
    )
    assert tree(operations(home)) == "kedro run\n"


def test_named_hooks_alone(
    where: Callable[..., Path], home: Path, kedro: Callable[..., Any]
) -> None:
    """With the entry point disabled, the public hook object in settings.HOOKS still records."""
    path = where(
        'from kedro_otel.hooks import hooks\nDISABLE_HOOKS_FOR_PLUGINS = ("kedro-otel",)', "hooks,"
    )
    kedro("run", cwd=path)
    assert tree(operations(home)) == WHOLE


def test_beside_kedro_telemetry(
    where: Callable[..., Path],
    home: Path,
    unchanged: Callable[..., Any],
    kedro_telemetry: dict[str, str],
) -> None:
    """With kedro-telemetry installed both do their work, and the command's output is that of kedro-telemetry alone."""
    path = where()
    unchanged("kedro", "run", cwd=path, env={**kedro_telemetry, "DO_NOT_TRACK": None})
    assert tree(operations(home)) == WHOLE


def test_beside_kedro_viz(
    where: Callable[..., Path],
    home: Path,
    unchanged: Callable[..., Any],
    overlay: Callable[[str], Path],
) -> None:
    """kedro-viz, which has hooks of its own, and its command are recorded beside: a run is whole, `kedro viz` is a command by its known words."""
    path = where()
    env = {"PYTHONPATH": str(overlay("kedro-viz"))}
    unchanged("kedro", "run", cwd=path, env=env)
    assert tree(operations(home)) == WHOLE
    unchanged("kedro", "viz", "build", "--help", cwd=path, env=env)
    assert "kedro viz build" in {operation.name for operation in operations(home)}


def test_beside_kedro_mlflow(
    where: Callable[..., Path], home: Path, run: Callable[..., Any], overlay: Callable[[str], Path]
) -> None:
    """kedro-mlflow, which brings OpenTelemetry along and traces to its own store, goes on working, and the run is whole."""
    path = where()
    (path / "conf/local/mlflow.yml").write_text("server: {mlflow_tracking_uri: data/mlruns}\n")
    kedro = Path(sys.executable).parent / "kedro"
    run(
        kedro,
        "run",
        cwd=path,
        env={"PYTHONPATH": str(overlay("kedro-mlflow")), "MLFLOW_ALLOW_FILE_STORE": "true"},
    )
    assert tree(operations(home)) == WHOLE
    (meta,) = (path / "data/mlruns").glob("*/*/meta.yaml")
    (mlflow_run,) = (
        one.attributes["kedro.mlflow.run.id"] for one in operations(home) if one.operation == "run"
    )
    assert meta.parent.name == mlflow_run, "kedro-mlflow has recorded its run, and we name it"
