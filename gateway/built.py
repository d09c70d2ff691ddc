"""Whether this is the compiled build: `make setup` compiles what requests run through, where a C compiler is there."""

from importlib.machinery import EXTENSION_SUFFIXES

from gateway.wire import http1


def compiled() -> bool:
    """One module stands for all: they are compiled together or not at all."""
    return http1.__file__.endswith(tuple(EXTENSION_SUFFIXES))
