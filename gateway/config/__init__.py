"""Settings from a file, the environment and secrets' files, checked whole before anything starts; nothing is guessed and no secret is shown."""
