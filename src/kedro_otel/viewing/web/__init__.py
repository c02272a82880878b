"""``kedro otel ui``: all runs in a browser, from a server on this machine's loopback that only answers its owner."""
