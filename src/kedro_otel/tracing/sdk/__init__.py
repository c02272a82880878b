"""Everything that touches OpenTelemetry's API and SDK in the user's process."""
