"""Run in the Python of the environment that is measured: ``noop.py FOLDER NODES REPEATS`` prints, as JSON, what runs of no-op nodes cost.

Each node has one input and one output in memory, so it is three operations: node, load, save. Logging is off. The same process runs the
pipeline ``REPEATS`` times through ``KedroSession``; the first run, which loads modules, is told apart.
"""

import json
import logging
import os
import resource
import sys
import time
from pathlib import Path

PYPROJECT = '[tool.kedro]\npackage_name = "noop"\nproject_name = "noop"\nkedro_init_version = "1.0.0"\nsource_dir = "src"\n'
REGISTRY = """
from kedro.pipeline import node, pipeline

def same(x):
    return x

def register_pipelines():
    return {{"__default__": pipeline([node(same, "params:x", f"d{{i}}", name=f"n{{i:05}}") for i in range({nodes})])}}
"""


def make(folder: Path, nodes: int) -> None:
    """Write the project: as many nodes as asked for, side by side, each with a parameter as input and an output nobody reads."""
    for file, text in {
        "pyproject.toml": PYPROJECT,
        "src/noop/__init__.py": "",
        "src/noop/settings.py": "",
        "src/noop/pipeline_registry.py": REGISTRY.format(nodes=nodes),
        "conf/base/catalog.yml": "{}\n",
        "conf/base/parameters.yml": "x: 1\n",
        "conf/local/.gitkeep": "",
    }.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)


def main() -> None:
    """Make the project, run it, print the costs."""
    folder, nodes, repeats = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    make(folder, nodes)
    quiet = folder / "logging.yml"
    quiet.write_text("version: 1\ndisable_existing_loggers: true\n")
    os.environ["KEDRO_LOGGING_CONFIG"] = str(quiet)
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(folder)
    logging.disable(logging.CRITICAL)
    cpu = []
    for _ in range(repeats):
        with KedroSession.create(project_path=folder) as session:
            began = time.process_time()
            session.run()
            cpu.append(time.process_time() - began)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 if sys.platform == "darwin" else 1024
    )
    print(
        json.dumps(
            {
                "nodes": nodes,
                "cpu": cpu,
                "memory_mib": memory / (1024 if sys.platform == "darwin" else 1),
            }
        )
    )


if __name__ == "__main__":
    main()
