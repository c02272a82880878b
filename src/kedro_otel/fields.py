"""What each recorded key means, and from which detail on it leaves.

``docs/telemetry.md`` is generated from :data:`FIELDS`, and what may leave at each detail level is decided by it: a key
that has no row here never leaves the machine.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from kedro_otel import names


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
_ERRORS = (names.COMMAND, names.RUN, names.NODE, names.DATASET)

FIELDS: Final[tuple[Field, ...]] = (
    Field(names.SERVICE_NAME, _RESOURCE, "string", names.USAGE, "Logical name of the service.", "kedro", "`OTEL_SERVICE_NAME`, else `kedro`"),
    Field(
        names.SERVICE_INSTANCE_ID,
        _RESOURCE,
        "string",
        names.USAGE,
        "Random id of one sender of metrics; added when sent.",
        "0b1c…",
        "random, kept in the journal of a destination",
    ),
    Field(names.DISTRO_NAME, _RESOURCE, "string", names.USAGE, "This package.", "kedro-otel", "constant"),
    Field(names.DISTRO_VERSION, _RESOURCE, "string", names.USAGE, "Version of this package.", "0.1.0", "`kedro_otel.__version__`"),
    Field(names.SDK_NAME, _RESOURCE, "string", names.USAGE, "The SDK whose data model is sent.", "opentelemetry", "constant"),
    Field(names.SDK_LANGUAGE, _RESOURCE, "string", names.USAGE, "The SDK's language.", "python", "constant"),
    Field(names.SDK_VERSION, _RESOURCE, "string", names.USAGE, "The SDK's version; added when sent.", "1.36.0", "package metadata"),
    Field(
        names.INSTALLATION_ID,
        _RESOURCE,
        "string",
        names.USAGE,
        "Random UUID of this user's Kedro; a pseudonym.",
        "7f3c…",
        "`telemetry.toml` in Kedro's configuration folder",
    ),
    Field(
        names.PROJECT_ID,
        _RESOURCE,
        "string",
        names.USAGE,
        "SHA-512 of the project UUID and the package name.",
        "c0ff…",
        "`[tool.kedro_telemetry] project_id` in pyproject.toml",
    ),
    Field(names.PROJECT_NAME, _RESOURCE, "string", names.RUN, "The project's package name.", "spaceflights", "`[tool.kedro] package_name`"),
    Field(names.PROJECT_TOOLS, _RESOURCE, "string[]", names.USAGE, "Tools chosen at `kedro new`.", '["Linting", "Testing"]', "`[tool.kedro] tools`"),
    Field(
        names.EXAMPLE_PIPELINE,
        _RESOURCE,
        "string",
        names.USAGE,
        "Whether `kedro new` made an example pipeline.",
        "False",
        "`[tool.kedro] example_pipeline`",
    ),
    Field(names.KEDRO_VERSION, _RESOURCE, "string", names.USAGE, "Version of Kedro.", "1.7.0", "`kedro.__version__`"),
    Field(names.KEDRO_PYTHON, _RESOURCE, "string", names.USAGE, "Python's major and minor version.", "3.12", "`sys.version_info`"),
    Field(names.KEDRO_PLATFORM, _RESOURCE, "string", names.USAGE, "Platform as Python names it.", "linux", "`sys.platform`"),
    Field(
        names.CI,
        _RESOURCE,
        "boolean",
        names.USAGE,
        "Whether the command ran in continuous integration.",
        "false",
        "`CI` and the variables of eight CI services",
    ),
    Field(names.RUNTIME_NAME, _RESOURCE, "string", names.USAGE, "Python implementation.", "cpython", "`sys.implementation.name`"),
    Field(names.RUNTIME_VERSION, _RESOURCE, "string", names.USAGE, "Python's version.", "3.12.1", "`sys.implementation.version`"),
    Field(
        names.RUNTIME_DESCRIPTION,
        _RESOURCE,
        "string",
        names.USAGE,
        "Python's full version, with its build.",
        "3.12.1 (main, Jan 1 2026) [GCC 12.2.0]",
        "`sys.version`",
    ),
    Field(names.OS_TYPE, _RESOURCE, "string", names.USAGE, "Operating system.", "linux", "`sys.platform`"),
    Field(
        names.ENVIRONMENT,
        _RESOURCE,
        "string",
        names.USAGE,
        "Where this runs, in your words.",
        "production",
        "`OTEL_RESOURCE_ATTRIBUTES`, like any other attribute you put there",
    ),
    Field(names.EXECUTABLE_NAME, (names.COMMAND,), "string", names.USAGE, "Always `kedro`.", "kedro", "constant"),
    Field(names.PID, (names.COMMAND,), "int", names.USAGE, "Process id.", "4711", "`os.getpid()`"),
    Field(names.EXIT_CODE, (names.COMMAND,), "int", names.USAGE, "Exit code of the command.", "0", "Kedro's `after_command_run`"),
    Field(
        names.COMMAND_ARGS,
        (names.COMMAND,),
        "string[]",
        names.USAGE,
        "The command line's words; what is not Kedro's vocabulary is masked.",
        '["kedro", "run", "--env", "*****"]',
        "Kedro's `before_command_run`, masked",
    ),
    Field(names.COMMAND_LINE, (names.COMMAND,), "string", names.USAGE, "The same as one line.", "kedro run --env *****", "as above"),
    Field(names.COMMAND_NAME, (names.COMMAND,), "string", names.USAGE, "The known words alone.", "registry list", "as above"),
    Field(
        names.ERROR_TYPE,
        _ERRORS,
        "string",
        names.USAGE,
        "Class of the error; at `usage` only a built-in's name, `kedro_otel.process_died` or `_OTHER`.",
        "ValueError",
        "the exception",
    ),
    Field(names.PIPELINE_NAME, (names.RUN,), "string", names.RUN, "Name of the pipeline.", "__default__", "Kedro's `before_pipeline_run`"),
    Field(names.RUN_ID, (names.RUN,), "string", names.RUN, "Kedro's id of the run.", "2026-01-01T12.00.00.000Z", "`run_params`"),
    Field(
        names.RUNNER_NAME,
        (names.RUN,),
        "string",
        names.USAGE,
        "The runner's class; at `usage` one that is not Kedro's is `custom`.",
        "SequentialRunner",
        "`run_params`",
    ),
    Field(names.ENVIRONMENT_NAME, (names.RUN,), "string", names.RUN, "Kedro's configuration environment.", "local", "`run_params`"),
    Field(
        names.REVISION, (names.RUN,), "string", names.RUN, "Commit checked out in the project.", "9fceb02…", "read from `.git`, without running git"
    ),
    Field(names.RUN_NODES, (names.RUN,), "int", names.USAGE, "Nodes in this run.", "9", "the run's pipeline", "{node}"),
    Field(
        names.RUN_DATASETS, (names.RUN,), "int", names.USAGE, "Datasets in this run, parameters excluded.", "12", "the run's pipeline", "{dataset}"
    ),
    Field(names.RUN_FILTERED, (names.RUN,), "boolean", names.USAGE, "Whether the run was of a part of the project.", "false", "`run_params`"),
    Field(
        names.DATASET_COUNT,
        (names.RUN,),
        "int",
        names.USAGE,
        "Datasets in the project's catalog, parameters excluded.",
        "12",
        "Kedro's `after_catalog_created`",
        "{dataset}",
    ),
    Field(names.NODE_COUNT, (names.RUN,), "int", names.USAGE, "Nodes in the `__default__` pipeline.", "9", "the pipeline registry", "{node}"),
    Field(names.PIPELINE_COUNT, (names.RUN,), "int", names.USAGE, "Registered pipelines.", "2", "the pipeline registry", "{pipeline}"),
    Field(
        names.DATASET_TYPE_COUNT,
        (names.RUN,),
        "string[]",
        names.USAGE,
        "Datasets by public type, others as `custom`.",
        '["kedro_datasets.pandas.csv_dataset.CSVDataset=3", "custom=1"]',
        "Kedro's `after_catalog_created`",
    ),
    Field(
        names.VALIDATED_COUNT,
        (names.RUN,),
        "int",
        names.USAGE,
        "Datasets that declare a validator.",
        "1",
        "the catalog's `validator_specs`",
        "{dataset}",
    ),
    Field(
        names.VALIDATOR_TYPE_COUNT,
        (names.RUN,),
        "string[]",
        names.USAGE,
        "Validators by public library, others as `custom`.",
        '["pandera=1"]',
        "the catalog's `validator_specs`",
    ),
    Field(names.NODE_NAME, (names.NODE,), "string", names.RUN, "Name of the node.", "train_model", "the node"),
    Field(names.NODE_TAGS, (names.NODE,), "string[]", names.RUN, "Tags of the node.", '["ml"]', "the node"),
    Field(names.NODE_NAMESPACE, (names.NODE,), "string", names.RUN, "Namespace of the node.", "reporting", "the node"),
    Field(names.NODE_INPUTS, (names.NODE,), "string[]", names.RUN, "Names of the node's inputs.", '["features", "params:model"]', "the node"),
    Field(names.NODE_OUTPUTS, (names.NODE,), "string[]", names.RUN, "Names of the node's outputs.", '["model"]', "the node"),
    Field(names.NODE_LOAD, (names.NODE,), "double", names.RUN, "Time spent in loads.", "0.12", "Kedro's dataset hooks", "s"),
    Field(names.NODE_COMPUTE, (names.NODE,), "double", names.RUN, "Time spent in the function.", "1.7", "Kedro's node hooks", "s"),
    Field(names.NODE_SAVE, (names.NODE,), "double", names.RUN, "Time spent in saves.", "0.3", "Kedro's dataset hooks", "s"),
    Field(
        names.FUNCTION_NAME,
        (names.NODE,),
        "string",
        names.RUN,
        "Qualified name of the node's function.",
        "spaceflights.nodes.train_model",
        "the node",
    ),
    Field(
        names.FILE_PATH,
        (names.NODE,),
        "string",
        names.RUN,
        "File of the node's function, relative to the project.",
        "src/spaceflights/nodes.py",
        "the node",
    ),
    Field(
        names.ERROR_FILE,
        (names.COMMAND, names.RUN, names.NODE, names.DATASET),
        "string",
        names.RUN,
        "File in which the error arose: relative inside the project, else the file's name.",
        "src/spaceflights/nodes.py",
        "the traceback",
    ),
    Field(names.ERROR_LINE, (names.COMMAND, names.RUN, names.NODE, names.DATASET), "int", names.RUN, "Line in that file.", "42", "the traceback"),
    Field(names.DATASET_NAME, (names.DATASET,), "string", names.RUN, "Name of the dataset.", "companies", "Kedro's dataset hooks"),
    Field(
        names.DATASET_TYPE,
        (names.DATASET,),
        "string",
        names.USAGE,
        "Class of the dataset where it is Kedro's own, else `custom`.",
        "kedro_datasets.pandas.csv_dataset.CSVDataset",
        "the catalog",
    ),
    Field(names.DATASET_OPERATION, (names.DATASET,), "string", names.USAGE, "`load` or `save`.", "load", "Kedro's dataset hooks"),
    Field(names.EXCEPTION_TYPE, ("event",), "string", names.FULL, "Class of the exception.", "ValueError", "the exception"),
    Field(names.EXCEPTION_MESSAGE, ("event",), "string", names.FULL, "Its message.", "no such column", "the exception"),
    Field(names.EXCEPTION_STACKTRACE, ("event",), "string", names.FULL, "Its stack trace.", "Traceback …", "the exception"),
)
"""All keys, in the order in which docs/telemetry.md shows them."""
