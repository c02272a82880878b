"""Every word that is recorded, once. What each means, and when it leaves, :mod:`kedro_otel.semconv.fields` tells.

Names come from the OpenTelemetry semantic conventions where they have one; the rest are ``kedro.*``.
"""

from __future__ import annotations

from typing import Final

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

TERMINATED: Final = "SIGTERM"
"""``error.type`` of what SIGTERM ended, where code of ours runs then."""

UNKNOWN: Final = "unknown"
"""Value of :data:`OUTCOME`, which what is known to have ended well or failed does not have."""

OTHER: Final = "_OTHER"
"""``error.type`` where the class may not be named or is not known (semantic conventions)."""

CUSTOM: Final = "custom"
"""Stands for a dataset type or runner that is not Kedro's own."""

MASK: Final = "*****"
"""Stands for a word of the command line that is not Kedro's own vocabulary."""

RUN_INSTANCE: Final = "kedro-run-"
"""Begins the ``service.instance.id`` that follows from a run key: whoever counts that run counts it there, as 1."""

SCOPE: Final = "kedro_otel"
"""Name of the instrumentation scope of our spans and metrics."""

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.38.0"
"""The version of the semantic conventions that the names below without ``kedro.`` are of."""

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
CI_RUN_URL: Final = "cicd.pipeline.run.url.full"
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
OUTCOME: Final = "kedro.outcome"

# --- run ------------------------------------------------------------------------------------------------------------
PIPELINE_NAME: Final = "kedro.pipeline.name"
RUN_ID: Final = "kedro.run.id"
RUNNER_NAME: Final = "kedro.runner.name"
ENVIRONMENT_NAME: Final = "kedro.environment.name"
REVISION: Final = "vcs.ref.head.revision"
MLFLOW_RUN_ID: Final = "kedro.mlflow.run.id"
RUN_NODES: Final = "kedro.run.node.count"
RUN_DATASETS: Final = "kedro.run.dataset.count"
RUN_FILTERED: Final = "kedro.run.filtered"
RUN_PART: Final = "kedro.run.part"
RUN_KEY_SOURCE: Final = "kedro.run.key.source"
TASK_NAME: Final = "kedro.task.name"
TASK_ATTEMPT: Final = "kedro.task.attempt"
TASK_URL: Final = "kedro.task.url"
RUN_CPU: Final = "kedro.run.cpu.time"
RUN_PEAK: Final = "kedro.run.memory.peak"
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
NODE_HOOKS: Final = "kedro.node.hooks.duration"
NODE_PHASE: Final = "kedro.node.phase"
NODE_CPU: Final = "kedro.node.cpu.time"
NODE_PEAK: Final = "kedro.node.memory.peak"
NODE_PEAK_METHOD: Final = "kedro.node.memory.method"
NODE_GROWTH: Final = "kedro.node.memory.growth"
NODE_READ: Final = "kedro.node.io.read"
NODE_WRITE: Final = "kedro.node.io.write"
PEAK_EXACT: Final = "exact"
PEAK_SAMPLED: Final = "sampled"
PEAK_AT_MOST: Final = "at_most"
FUNCTION_NAME: Final = "code.function.name"
FILE_PATH: Final = "code.file.path"
ERROR_FILE: Final = "kedro.error.file.path"
ERROR_CAUSE: Final = "kedro.error.cause.type"
ERROR_LINE: Final = "kedro.error.line.number"
DATASET_NAME: Final = "kedro.dataset.name"
DATASET_TYPE: Final = "kedro.dataset.type"
DATASET_OPERATION: Final = "kedro.dataset.operation"
DATASET_LAZY: Final = "kedro.dataset.lazy"
DATASET_ROWS: Final = "kedro.dataset.row.count"
DATASET_COLUMNS: Final = "kedro.dataset.column.count"
DATASET_SIZE: Final = "kedro.dataset.size"
DATASET_MODIFIED: Final = "kedro.dataset.modified"
DATASET_SCHEMA: Final = "kedro.dataset.schema.id"

# --- metrics alone --------------------------------------------------------------------------------------------------
IO_DIRECTION: Final = "disk.io.direction"
OVERFLOW: Final = "otel.metric.overflow"

# --- events at full detail ------------------------------------------------------------------------------------------
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"
LOG_RECORD_UID: Final = "log.record.uid"
