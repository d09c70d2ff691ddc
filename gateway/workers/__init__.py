"""Several worker processes of one gateway: one supervises them, and they talk to one another."""
