"""Starts, watches, feeds and stops vLLM in a process and an environment of its own."""
