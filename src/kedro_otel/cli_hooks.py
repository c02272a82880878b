"""Kedro's command hooks."""
entry = object()
