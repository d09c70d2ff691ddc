"""One file per provider, data only; `registry` gathers them."""
