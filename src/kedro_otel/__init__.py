"""OpenTelemetry for Kedro: every command a trace, every byte yours."""

__version__ = "0.1.0"
"""The one place of this package's version; its metadata is built from it."""
