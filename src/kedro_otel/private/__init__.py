"""What stays on this machine: the private file beside each segment. No module of shipping imports this package."""
