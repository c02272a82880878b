"""The flight recorder's files: written by one process, read by anyone; the format is known only in here."""
