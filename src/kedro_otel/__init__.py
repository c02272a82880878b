"""OpenTelemetry for Kedro: every command a trace, every byte yours."""
