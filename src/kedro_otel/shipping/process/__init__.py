"""The processes that ship: how they start, run, are awaited, and end."""
