"""Look at recordings: find a run, put its trace together, say what happened, and draw it."""
