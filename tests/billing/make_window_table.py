"""Makes `window_table.json`: where windows begin, by another road than `billing.windows` goes.

The offsets are those that the system's `zdump` prints. Every quarter hour of three years is walked through, and a
window begins at the first whose local day, week or month was not seen before. Python's own calendar is not used.

    python tests/billing/make_window_table.py > tests/billing/window_table.json
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from bisect import bisect_right
from typing import Final

ZONES: Final = (
    *("Africa/Cairo", "Africa/Casablanca", "Africa/Johannesburg", "Africa/Lagos", "America/Anchorage"),
    *("America/Argentina/Buenos_Aires", "America/Bogota", "America/Chicago", "America/Havana", "America/Los_Angeles"),
    *("America/Mexico_City", "America/New_York", "America/Nuuk", "America/Phoenix", "America/Santiago"),
    *("America/Sao_Paulo", "America/Scoresbysund", "America/St_Johns", "Antarctica/Troll", "Asia/Almaty"),
    *("Asia/Beirut", "Asia/Jerusalem", "Asia/Kathmandu", "Asia/Kolkata", "Asia/Shanghai", "Asia/Tehran", "Asia/Tokyo"),
    *("Asia/Yangon", "Atlantic/Azores", "Australia/Adelaide", "Australia/Eucla", "Australia/Lord_Howe"),
    *("Australia/Sydney", "Europe/Berlin", "Europe/Dublin", "Europe/Lisbon", "Europe/London", "Europe/Moscow"),
    *("Pacific/Apia", "Pacific/Auckland", "Pacific/Chatham", "Pacific/Kiritimati", "Pacific/Marquesas", "UTC"),
)
QUARTER_S: Final = 900
DAY_S: Final = 86_400
FROM_YEAR: Final = 2024
TO_YEAR: Final = 2027
NAMES: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MONTHS: Final = {name: at + 1 for at, name in enumerate(NAMES)}
LINE: Final = re.compile(r"\S+\s+\w{3} (\w{3})\s+(\d+) (\d\d):(\d\d):(\d\d) (\d+) UTC? = .* gmtoff=(-?\d+)")
EMPTY: Final = re.compile(r"= NULL|gmtoff=.*\bNULL")


def leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def month_days(year: int, month: int) -> int:
    return 29 if month == 2 and leap(year) else (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def day_number(year: int, month: int, day: int) -> int:
    """Days since 1970 began, counted one year and one month at a time."""
    days = sum(366 if leap(one) else 365 for one in range(1970, year))
    return days + sum(month_days(year, one) for one in range(1, month)) + day - 1


def month_starts() -> frozenset[int]:
    years = range(FROM_YEAR - 1, TO_YEAR + 2)
    return frozenset(day_number(year, month, 1) for year in years for month in range(1, 13))


def offsets(zone: str) -> tuple[list[int], list[int]]:
    """When an offset begins, and which; the first holds before all others."""
    said = subprocess.run(
        ["zdump", "-v", "-c", f"1990,{TO_YEAR + 2}", zone], capture_output=True, text=True, check=True
    ).stdout
    times, values = [], []
    for line in said.splitlines():
        if EMPTY.search(line):
            continue
        found = LINE.match(line)
        if found is None:
            raise SystemExit(f"zdump says {line!r}, which is not understood")
        month, day, hour, minute, second, year, offset = found.groups()
        at_s = day_number(int(year), MONTHS[month], int(day)) * DAY_S
        at_s += int(hour) * 3600 + int(minute) * 60 + int(second)
        times.append(at_s)
        values.append(int(offset))
    return (times, values) if values else ([0], [now_offset(zone)])


def now_offset(zone: str) -> int:
    """Of a zone that never changed within reach."""
    said = subprocess.run(["date", "+%z"], env={"TZ": zone}, capture_output=True, text=True, check=True).stdout.strip()
    return (1 if said[0] == "+" else -1) * (int(said[1:3]) * 3600 + int(said[3:5]) * 60)


def table(zone: str, firsts: frozenset[int]) -> dict[str, list[list[int]]]:
    times, values = offsets(zone)
    begin = day_number(FROM_YEAR, 1, 1) * DAY_S // QUARTER_S - 96 * 10
    end = day_number(TO_YEAR, 1, 1) * DAY_S // QUARTER_S + 96 * 10
    days, weeks, months, hours, shifts = [], [], [], [], []
    latest = None
    before = None
    for quarter in range(begin, end):
        at_s = quarter * QUARTER_S
        place = bisect_right(times, at_s) - 1
        offset = values[max(place, 0)]
        if before is not None and offset != before:
            shifts.append(quarter)
        local_s = at_s + offset
        if local_s % 3600 == 0 or (before is not None and (offset - before) % 3600):
            hours.append(quarter)
        day = local_s // DAY_S
        if latest is None or day > latest:
            days.append(quarter)
            if (day + 3) % 7 == 0:  # 1970 began on a Thursday
                weeks.append(quarter)
            if day in firsts:
                months.append(quarter)
            latest = day
        before = offset
    leap_day = day_number(2024, 2, 29) * DAY_S // QUARTER_S
    places = [leap_day, *shifts]
    return {
        "month": [months],
        "week": [near(weeks, place, 2) for place in places],
        "day": [near(days, place, 3) for place in places],
        "hour": [near(hours, place, 4) for place in places],
    }


def near(starts: list[int], place: int, so_many: int) -> list[int]:
    """Those before and after."""
    at = bisect_right(starts, place)
    return starts[max(at - so_many, 1) : at + so_many]


def main() -> None:
    firsts = month_starts()
    lines = [f"{json.dumps(zone)}: {json.dumps(table(zone, firsts), separators=(',', ':'))}" for zone in ZONES]
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
