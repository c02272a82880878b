"""What one writes by following Kedro's and OpenTelemetry's documentation: a span for each command, run, node, load and save.

The comparison, not an example: nothing is masked, a killed run leaves nothing, and the command waits for the exporter at its end.
"""

from kedro.framework.cli.hooks import cli_hook_impl
from kedro.framework.hooks import hook_impl
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("plain")
spans = {}


def begin(key, name):
    """Open a span under the innermost open one."""
    parent = trace.set_span_in_context(next(reversed(spans.values()))) if spans else None
    spans[key] = tracer.start_span(name, parent)


def end(key):
    """Close a span."""
    if key in spans:
        spans.pop(key).end()


class RunHooks:
    """The run's spans."""

    @hook_impl
    def before_pipeline_run(self, run_params):
        begin("run", "run")

    @hook_impl
    def after_pipeline_run(self, run_params):
        end("run")

    @hook_impl
    def before_node_run(self, node):
        begin(node.name, node.name)

    @hook_impl
    def after_node_run(self, node):
        end(node.name)

    @hook_impl
    def before_dataset_loaded(self, dataset_name):
        begin(("load", dataset_name), dataset_name)

    @hook_impl
    def after_dataset_loaded(self, dataset_name):
        end(("load", dataset_name))

    @hook_impl
    def before_dataset_saved(self, dataset_name):
        begin(("save", dataset_name), dataset_name)

    @hook_impl
    def after_dataset_saved(self, dataset_name):
        end(("save", dataset_name))


class CliHooks:
    """The command's span."""

    @cli_hook_impl
    def before_command_run(self, command_args):
        begin("command", "kedro")

    @cli_hook_impl
    def after_command_run(self):
        end("command")


run_hooks, cli_hooks = RunHooks(), CliHooks()
