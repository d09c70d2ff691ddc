"""A certificate for `localhost` that nobody but the test trusts, made on the spot by OpenSSL."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    # It signs itself, so it is also what a client has to trust.
    file: Path
    key_file: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key_file)
        return context


def make_certificate(directory: Path, name: str = "localhost") -> Certificate:
    made = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    words += ["-addext", f"subjectAltName=DNS:{name}", "-keyout", str(made.key_file), "-out", str(made.file)]
    subprocess.run(words, check=True, capture_output=True)
    return made
