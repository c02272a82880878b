"""The words of what is recorded: attribute names, their meaning, and the instruments."""
