"""Settings from a file, the environment and secrets' files, checked whole before anything starts; secrets stay hidden."""
