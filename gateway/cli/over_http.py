"""The desk of a running gateway: its own admin API, spoken to directly and never through a proxy."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.desk import answer
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

ANSWER_S_MAX: Final = 60
ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, repr=False)
class HttpDesk:
    host: str
    port: int
    admin_key: str

    def close(self) -> None:
        """Nothing stays open between two questions."""

    def ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None, *, if_match: str | None = None
    ) -> Any:
        where = f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        connection = http.client.HTTPConnection(self.host, self.port, timeout=ANSWER_S_MAX)
        headers = {"authorization": f"Bearer {self.admin_key}", "accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/json"
        if if_match is not None:
            headers["if-match"] = if_match
        try:
            connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
            response = connection.getresponse()
            said = response.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise Refused(f"the gateway at {where} broke off: {reason}; look at its log, then try again") from None
        finally:
            connection.close()
        if len(said) > ANSWER_BYTES_MAX:
            raise Refused(f"{where} answered more than {ANSWER_BYTES_MAX} bytes; ask for less")
        return answer(response.status, said, where)
