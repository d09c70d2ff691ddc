"""Header lines of answers: status lines, and values that cannot break out of their line."""

from typing import Final

REASONS: Final = {
    200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 303: "See Other", 304: "Not Modified",
    307: "Temporary Redirect", 400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 412: "Precondition Failed",
    413: "Content Too Large", 414: "URI Too Long", 417: "Expectation Failed", 422: "Unprocessable Content",
    429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
    501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
}  # fmt: skip


def status_line(status: int) -> bytes:
    """`HTTP/1.1 200 OK` with its line end."""
    return f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n".encode()


def named_lines(model: str, provider: str) -> bytes:
    """The header lines that say who answered."""
    return b"x-turnpike-model: %b\r\nx-turnpike-provider: %b\r\n" % (header_text(model), header_text(provider))


def header_text(text: str) -> bytes:
    """A value that cannot break out of its header line."""
    if text.isascii() and text.isprintable():
        return text.encode()
    return "".join(char if char.isprintable() else "?" for char in text).encode("ascii", "backslashreplace")
