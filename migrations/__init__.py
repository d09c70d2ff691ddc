"""Alembic migrations of the books; reads the tables of billing."""
