"""Traces and lists drawn in a terminal."""
