"""Settings from a file, the environment and files of secrets, checked whole before anything starts."""
