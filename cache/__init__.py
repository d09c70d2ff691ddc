"""What was answered before and may be answered again."""
