"""Speaks HTTP: the only package that knows the other four, the environment and the clock."""
