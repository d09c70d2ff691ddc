"""Why a gateway, or one of its workers, does not start."""


class CannotServe(Exception):
    """The gateway cannot start; the message says what to do."""


def cannot_listen(host: str, port: int, error: OSError) -> CannotServe:
    return CannotServe(f"cannot listen on {host}:{port}: {error.strerror}; stop what listens there, or set server.port")
