"""Facts about the user, the project and the run, and what of them may be recorded or sent."""
