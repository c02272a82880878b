"""One process: what it has decided, its recorder, and what its commands and sessions tell that recorder.

Nothing here waits on a network, and nothing of OpenTelemetry is imported outside a pipeline run.
"""
