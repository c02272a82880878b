"""Sends what was recorded: a journal of what has gone, the fold into counters, and a detached process that speaks OTLP."""
