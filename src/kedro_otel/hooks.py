"""Kedro's run hooks."""
entry = object()
