"""Holds a gateway's books against the mock's bill: a figure counts only if they agree, to the nano-dollar."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bench.targets import ADMIN_KEY, PRICE_NANO_USD, ask

COUNTED = ("requests", "input_tokens", "cached_input_tokens", "output_tokens")
USAGE_PATH = "/admin/v1/usage?group_by=model"


def billed(counts: Mapping[str, int]) -> dict[str, Decimal]:
    """What the books must say when the mock has counted this."""
    cached = counts["cached_input_tokens"]
    cost_nano_usd = (
        (counts["input_tokens"] - cached) * PRICE_NANO_USD["input"]
        + cached * PRICE_NANO_USD["cached_input"]
        + counts["output_tokens"] * PRICE_NANO_USD["output"]
    )
    return {name: Decimal(counts[name]) for name in COUNTED} | {"cost_usd": Decimal(cost_nano_usd).scaleb(-9)}


def booked(rows: list[dict[str, Any]]) -> dict[str, Decimal]:
    return {name: sum((Decimal(str(row[name])) for row in rows), Decimal()) for name in (*COUNTED, "cost_usd")}


def differences(counts: Mapping[str, int], rows: list[dict[str, Any]]) -> list[str]:
    books, bill = booked(rows), billed(counts)
    found = [f"usage says {name} {books[name]}, the mock {bill[name]}" for name in bill if books[name] != bill[name]]
    for name in ("pending_usd", "estimated_usd"):
        left = sum((Decimal(str(row.get(name, 0))) for row in rows), Decimal())
        if left:
            found.append(f"usage still says {name} {left}")
    return found


def compare(port: int, counts: Mapping[str, int]) -> list[str]:
    status, answer = ask(port, USAGE_PATH, ADMIN_KEY)
    if status != 200:
        return [f"GET {USAGE_PATH} answered {status}: {answer[:200].decode(errors='replace')}"]
    listed = json.loads(answer)
    if listed.get("has_more"):
        return ["usage by model does not fit one page"]
    return differences(counts, listed["data"])
