"""Encoding and sending: OTLP over HTTP and gRPC, and what responses mean."""
