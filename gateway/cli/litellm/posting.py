"""Opening balances into the ledger, and what an earlier run has posted: it says of whom in its reason, and is found."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from billing.money import parse_usd, usd_text
from gateway.cli.desk import Desk, address, rows
from gateway.cli.litellm.openings import Charge, Opening
from gateway.cli.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

REASON: Final = "spent before it moved in from LiteLLM, by "
ID: Final = "litellm-"
CONFLICT: Final = 409


def posted(desk: Desk) -> Iterator[Opening]:
    """What earlier runs have charged, to whom."""
    for row in rows(desk, "ledger", "transfers"):
        if row["of"].startswith(ID) and row["reason"].startswith(REASON):
            named = json.loads(row["reason"].removeprefix(REASON))
            tag = named.pop("tag", None)
            yield Opening(Charge(**named, tag=None if tag is None else tuple(tag)), parse_usd(row["amount_usd"]))


def post(desk: Desk, openings: Sequence[Opening], before: Iterable[Opening]) -> int:
    """Answers how many were. One that another run has posted meanwhile has the same id, and is left at that."""
    earlier = list(before)
    count = 0
    for charge, amount in openings:
        told = _told(charge)
        so_far = sum(one.amount_nano_usd for one in earlier if one.charge == charge)
        body: dict[str, Any] = {name: value for name, value in charge._asdict().items() if value is not None}
        if (tag := body.pop("tag", None)) is not None:
            body["tags"] = dict([tag])
        body |= {
            "id": f"{ID}{sha256(f'{told} {so_far}'.encode()).hexdigest()[:32]}",
            "kind": "opening",
            "amount_usd": usd_text(amount),
            "reason": f"{REASON}{told}",
        }
        try:
            desk.ask("POST", address("ledger", "transfers"), body)
        except Refused as refused:
            if refused.status != CONFLICT:
                raise
            continue
        count += 1
    return count


def _told(charge: Charge) -> str:
    named = {name: value for name, value in charge._asdict().items() if value is not None}
    return json.dumps(named, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
