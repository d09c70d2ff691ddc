"""The `turnpike` command: serves, and administers a gateway that runs or the books of one that does not."""
