"""Which deployment answers: pools, fallbacks, health. Pure decisions, small shells."""
