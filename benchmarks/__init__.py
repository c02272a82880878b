"""What kedro-otel costs, measured beside Kedro alone and beside what else one could install.

``python -m benchmarks`` (``make bench``) builds one environment for each, measures, keeps every raw number as JSON in ``benchmarks/results``
and writes ``docs/performance.md`` from that. Nothing leaves the machine: every endpoint is on 127.0.0.1.
"""
