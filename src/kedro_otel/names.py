"""Every word that is recorded: attributes and spans, each declared once.

``docs/telemetry.md`` is generated from :data:`FIELDS`, and what may leave at each detail level is decided by it: a key
that has no row here never leaves the machine. Names come from the OpenTelemetry semantic conventions where they have
one; the rest are ``kedro.*``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

USAGE: Final = "usage"
RUN: Final = "run"
FULL: Final = "full"
DETAILS: Final = (USAGE, RUN, FULL)
"""What may leave the machine, narrowest first."""

COMMAND: Final = "command"
NODE: Final = "node"
DATASET: Final = "dataset"
FOREIGN: Final = "foreign"
OPERATIONS: Final = (COMMAND, RUN, NODE, DATASET, FOREIGN)
"""The kinds of operation. A pipeline run's kind is the same word as the detail level: ``run``."""

PROCESS_DIED: Final = "kedro_otel.process_died"
"""``error.type`` of what was open in a process that ended without a word (SIGKILL, out of memory, power)."""

OTHER: Final = "_OTHER"
"""``error.type`` where the class may not be named or is not known (semantic conventions)."""

CUSTOM: Final = "custom"
"""Stands for a dataset type or runner that is not Kedro's own."""

MASK: Final = "*****"
"""Stands for a word of the command line that is not Kedro's own vocabulary."""

SCOPE: Final = "kedro_otel"
"""Name of the instrumentation scope of our spans and metrics."""

# --- resource -------------------------------------------------------------------------------------------------------
SERVICE_NAME: Final = "service.name"
SERVICE_INSTANCE_ID: Final = "service.instance.id"
DISTRO_NAME: Final = "telemetry.distro.name"
DISTRO_VERSION: Final = "telemetry.distro.version"
SDK_NAME: Final = "telemetry.sdk.name"
SDK_LANGUAGE: Final = "telemetry.sdk.language"
SDK_VERSION: Final = "telemetry.sdk.version"
INSTALLATION_ID: Final = "app.installation.id"
PROJECT_ID: Final = "kedro.project.id"
PROJECT_NAME: Final = "kedro.project.name"
PROJECT_TOOLS: Final = "kedro.project.tools"
EXAMPLE_PIPELINE: Final = "kedro.project.example_pipeline"
KEDRO_VERSION: Final = "kedro.version"
KEDRO_PYTHON: Final = "kedro.python"
KEDRO_PLATFORM: Final = "kedro.platform"
CI: Final = "kedro.ci"
RUNTIME_NAME: Final = "process.runtime.name"
RUNTIME_VERSION: Final = "process.runtime.version"
RUNTIME_DESCRIPTION: Final = "process.runtime.description"
OS_TYPE: Final = "os.type"
ENVIRONMENT: Final = "deployment.environment.name"

# --- command --------------------------------------------------------------------------------------------------------
EXECUTABLE_NAME: Final = "process.executable.name"
PID: Final = "process.pid"
EXIT_CODE: Final = "process.exit.code"
COMMAND_ARGS: Final = "process.command_args"
COMMAND_LINE: Final = "kedro.command.line"
COMMAND_NAME: Final = "kedro.command.name"
ERROR_TYPE: Final = "error.type"

# --- run ------------------------------------------------------------------------------------------------------------
PIPELINE_NAME: Final = "kedro.pipeline.name"
RUN_ID: Final = "kedro.run.id"
RUNNER_NAME: Final = "kedro.runner.name"
ENVIRONMENT_NAME: Final = "kedro.environment.name"
REVISION: Final = "vcs.ref.head.revision"
RUN_NODES: Final = "kedro.run.node.count"
RUN_DATASETS: Final = "kedro.run.dataset.count"
RUN_FILTERED: Final = "kedro.run.filtered"
DATASET_COUNT: Final = "kedro.project.dataset.count"
NODE_COUNT: Final = "kedro.project.node.count"
PIPELINE_COUNT: Final = "kedro.project.pipeline.count"
DATASET_TYPE_COUNT: Final = "kedro.project.dataset.type.counts"
VALIDATED_COUNT: Final = "kedro.project.dataset.validated.count"
VALIDATOR_TYPE_COUNT: Final = "kedro.project.validator.type.counts"

# --- node and dataset -----------------------------------------------------------------------------------------------
NODE_NAME: Final = "kedro.node.name"
NODE_TAGS: Final = "kedro.node.tags"
NODE_NAMESPACE: Final = "kedro.node.namespace"
NODE_INPUTS: Final = "kedro.node.inputs"
NODE_OUTPUTS: Final = "kedro.node.outputs"
NODE_LOAD: Final = "kedro.node.load.duration"
NODE_COMPUTE: Final = "kedro.node.compute.duration"
NODE_SAVE: Final = "kedro.node.save.duration"
NODE_PHASE: Final = "kedro.node.phase"
FUNCTION_NAME: Final = "code.function.name"
FILE_PATH: Final = "code.file.path"
ERROR_FILE: Final = "kedro.error.file.path"
ERROR_LINE: Final = "kedro.error.line.number"
DATASET_NAME: Final = "kedro.dataset.name"
DATASET_TYPE: Final = "kedro.dataset.type"
DATASET_OPERATION: Final = "kedro.dataset.operation"

# --- metrics alone --------------------------------------------------------------------------------------------------
OVERFLOW: Final = "otel.metric.overflow"

# --- events at full detail ------------------------------------------------------------------------------------------
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"


class Field(NamedTuple):
    """One recorded key: what it is, on what it is, and the narrowest detail level at which it leaves."""

    key: str
    on: tuple[str, ...]
    type: str
    detail: str
    meaning: str
    example: str
    source: str
    unit: str = ""


_RESOURCE = ("resource",)
_ERRORS = (COMMAND, RUN, NODE, DATASET)

FIELDS: Final[tuple[Field, ...]] = (
    Field(SERVICE_NAME, _RESOURCE, "string", USAGE, "Logical name of the service.", "kedro", "`OTEL_SERVICE_NAME`, else `kedro`"),
    Field(
        SERVICE_INSTANCE_ID,
        _RESOURCE,
        "string",
        USAGE,
        "Random id of one sender of metrics; added when sent.",
        "0b1c…",
        "random, kept in the journal of a destination",
    ),
    Field(DISTRO_NAME, _RESOURCE, "string", USAGE, "This package.", "kedro-otel", "constant"),
    Field(DISTRO_VERSION, _RESOURCE, "string", USAGE, "Version of this package.", "0.1.0", "`kedro_otel.__version__`"),
    Field(SDK_NAME, _RESOURCE, "string", USAGE, "The SDK whose data model is sent.", "opentelemetry", "constant"),
    Field(SDK_LANGUAGE, _RESOURCE, "string", USAGE, "The SDK's language.", "python", "constant"),
    Field(SDK_VERSION, _RESOURCE, "string", USAGE, "The SDK's version; added when sent.", "1.36.0", "package metadata"),
    Field(
        INSTALLATION_ID,
        _RESOURCE,
        "string",
        USAGE,
        "Random UUID of this user's Kedro; a pseudonym.",
        "7f3c…",
        "`telemetry.toml` in Kedro's configuration folder",
    ),
    Field(
        PROJECT_ID,
        _RESOURCE,
        "string",
        USAGE,
        "SHA-512 of the project UUID and the package name.",
        "c0ff…",
        "`[tool.kedro_telemetry] project_id` in pyproject.toml",
    ),
    Field(PROJECT_NAME, _RESOURCE, "string", RUN, "The project's package name.", "spaceflights", "`[tool.kedro] package_name`"),
    Field(PROJECT_TOOLS, _RESOURCE, "string[]", USAGE, "Tools chosen at `kedro new`.", '["Linting", "Testing"]', "`[tool.kedro] tools`"),
    Field(EXAMPLE_PIPELINE, _RESOURCE, "string", USAGE, "Whether `kedro new` made an example pipeline.", "False", "`[tool.kedro] example_pipeline`"),
    Field(KEDRO_VERSION, _RESOURCE, "string", USAGE, "Version of Kedro.", "1.7.0", "`kedro.__version__`"),
    Field(KEDRO_PYTHON, _RESOURCE, "string", USAGE, "Python's major and minor version.", "3.12", "`sys.version_info`"),
    Field(KEDRO_PLATFORM, _RESOURCE, "string", USAGE, "Platform as Python names it.", "linux", "`sys.platform`"),
    Field(
        CI, _RESOURCE, "boolean", USAGE, "Whether the command ran in continuous integration.", "false", "`CI` and the variables of eight CI services"
    ),
    Field(RUNTIME_NAME, _RESOURCE, "string", USAGE, "Python implementation.", "cpython", "`sys.implementation.name`"),
    Field(RUNTIME_VERSION, _RESOURCE, "string", USAGE, "Python's version.", "3.12.1", "`sys.implementation.version`"),
    Field(
        RUNTIME_DESCRIPTION,
        _RESOURCE,
        "string",
        USAGE,
        "Python's full version, with its build.",
        "3.12.1 (main, Jan 1 2026) [GCC 12.2.0]",
        "`sys.version`",
    ),
    Field(OS_TYPE, _RESOURCE, "string", USAGE, "Operating system.", "linux", "`sys.platform`"),
    Field(
        ENVIRONMENT,
        _RESOURCE,
        "string",
        USAGE,
        "Where this runs, in your words.",
        "production",
        "`OTEL_RESOURCE_ATTRIBUTES`, like any other attribute you put there",
    ),
    Field(EXECUTABLE_NAME, (COMMAND,), "string", USAGE, "Always `kedro`.", "kedro", "constant"),
    Field(PID, (COMMAND,), "int", USAGE, "Process id.", "4711", "`os.getpid()`"),
    Field(EXIT_CODE, (COMMAND,), "int", USAGE, "Exit code of the command.", "0", "Kedro's `after_command_run`"),
    Field(
        COMMAND_ARGS,
        (COMMAND,),
        "string[]",
        USAGE,
        "The command line's words; what is not Kedro's vocabulary is masked.",
        '["kedro", "run", "--env", "*****"]',
        "Kedro's `before_command_run`, masked",
    ),
    Field(COMMAND_LINE, (COMMAND,), "string", USAGE, "The same as one line.", "kedro run --env *****", "as above"),
    Field(COMMAND_NAME, (COMMAND,), "string", USAGE, "The known words alone.", "registry list", "as above"),
    Field(
        ERROR_TYPE,
        _ERRORS,
        "string",
        USAGE,
        "Class of the error; at `usage` only a built-in's name, `kedro_otel.process_died` or `_OTHER`.",
        "ValueError",
        "the exception",
    ),
    Field(PIPELINE_NAME, (RUN,), "string", RUN, "Name of the pipeline.", "__default__", "Kedro's `before_pipeline_run`"),
    Field(RUN_ID, (RUN,), "string", RUN, "Kedro's id of the run.", "2026-01-01T12.00.00.000Z", "`run_params`"),
    Field(
        RUNNER_NAME,
        (RUN,),
        "string",
        USAGE,
        "The runner's class; at `usage` one that is not Kedro's is `custom`.",
        "SequentialRunner",
        "`run_params`",
    ),
    Field(ENVIRONMENT_NAME, (RUN,), "string", RUN, "Kedro's configuration environment.", "local", "`run_params`"),
    Field(REVISION, (RUN,), "string", RUN, "Commit checked out in the project.", "9fceb02…", "read from `.git`, without running git"),
    Field(RUN_NODES, (RUN,), "int", USAGE, "Nodes in this run.", "9", "the run's pipeline", "{node}"),
    Field(RUN_DATASETS, (RUN,), "int", USAGE, "Datasets in this run, parameters excluded.", "12", "the run's pipeline", "{dataset}"),
    Field(RUN_FILTERED, (RUN,), "boolean", USAGE, "Whether the run was of a part of the project.", "false", "`run_params`"),
    Field(
        DATASET_COUNT,
        (RUN,),
        "int",
        USAGE,
        "Datasets in the project's catalog, parameters excluded.",
        "12",
        "Kedro's `after_catalog_created`",
        "{dataset}",
    ),
    Field(NODE_COUNT, (RUN,), "int", USAGE, "Nodes in the `__default__` pipeline.", "9", "the pipeline registry", "{node}"),
    Field(PIPELINE_COUNT, (RUN,), "int", USAGE, "Registered pipelines.", "2", "the pipeline registry", "{pipeline}"),
    Field(
        DATASET_TYPE_COUNT,
        (RUN,),
        "string[]",
        USAGE,
        "Datasets by public type, others as `custom`.",
        '["kedro_datasets.pandas.csv_dataset.CSVDataset=3", "custom=1"]',
        "Kedro's `after_catalog_created`",
    ),
    Field(VALIDATED_COUNT, (RUN,), "int", USAGE, "Datasets that declare a validator.", "1", "the catalog's `validator_specs`", "{dataset}"),
    Field(
        VALIDATOR_TYPE_COUNT,
        (RUN,),
        "string[]",
        USAGE,
        "Validators by public library, others as `custom`.",
        '["pandera=1"]',
        "the catalog's `validator_specs`",
    ),
    Field(NODE_NAME, (NODE,), "string", RUN, "Name of the node.", "train_model", "the node"),
    Field(NODE_TAGS, (NODE,), "string[]", RUN, "Tags of the node.", '["ml"]', "the node"),
    Field(NODE_NAMESPACE, (NODE,), "string", RUN, "Namespace of the node.", "reporting", "the node"),
    Field(NODE_INPUTS, (NODE,), "string[]", RUN, "Names of the node's inputs.", '["features", "params:model"]', "the node"),
    Field(NODE_OUTPUTS, (NODE,), "string[]", RUN, "Names of the node's outputs.", '["model"]', "the node"),
    Field(NODE_LOAD, (NODE,), "double", RUN, "Time spent in loads.", "0.12", "Kedro's dataset hooks", "s"),
    Field(NODE_COMPUTE, (NODE,), "double", RUN, "Time spent in the function.", "1.7", "Kedro's node hooks", "s"),
    Field(NODE_SAVE, (NODE,), "double", RUN, "Time spent in saves.", "0.3", "Kedro's dataset hooks", "s"),
    Field(FUNCTION_NAME, (NODE,), "string", RUN, "Qualified name of the node's function.", "spaceflights.nodes.train_model", "the node"),
    Field(FILE_PATH, (NODE,), "string", RUN, "File of the node's function, relative to the project.", "src/spaceflights/nodes.py", "the node"),
    Field(
        ERROR_FILE,
        (COMMAND, RUN, NODE, DATASET),
        "string",
        RUN,
        "File in which the error arose: relative inside the project, else the file's name.",
        "src/spaceflights/nodes.py",
        "the traceback",
    ),
    Field(ERROR_LINE, (COMMAND, RUN, NODE, DATASET), "int", RUN, "Line in that file.", "42", "the traceback"),
    Field(DATASET_NAME, (DATASET,), "string", RUN, "Name of the dataset.", "companies", "Kedro's dataset hooks"),
    Field(
        DATASET_TYPE,
        (DATASET,),
        "string",
        USAGE,
        "Class of the dataset where it is Kedro's own, else `custom`.",
        "kedro_datasets.pandas.csv_dataset.CSVDataset",
        "the catalog",
    ),
    Field(DATASET_OPERATION, (DATASET,), "string", USAGE, "`load` or `save`.", "load", "Kedro's dataset hooks"),
    Field(EXCEPTION_TYPE, ("event",), "string", FULL, "Class of the exception.", "ValueError", "the exception"),
    Field(EXCEPTION_MESSAGE, ("event",), "string", FULL, "Its message.", "no such column", "the exception"),
    Field(EXCEPTION_STACKTRACE, ("event",), "string", FULL, "Its stack trace.", "Traceback …", "the exception"),
)
"""All keys, in the order in which docs/telemetry.md shows them."""
