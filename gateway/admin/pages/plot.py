"""Plots as SVG text, made here: no script, no style of its own, so that the page's policy needs no exception. Pure.

Sizes are attributes and colours are classes of the stylesheet, which also know the dark.
"""

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from billing.money import NANO_PER_USD
from gateway.admin.pages.figures import usd

WIDE: Final = 1000
NARROW: Final = 340
HEIGHT: Final = 250
SERIES_MAX: Final = 6  # distinct colours; what is beyond goes together as the rest
_LEFT: Final = 16
_LETTER: Final = 7  # the width of one, at most: labels of the axis stand left of it
_RIGHT: Final = 10
_TOP: Final = 12
_BOTTOM: Final = 26
_TICKS: Final = 4
_LABEL_WIDTH: Final = 74
_BAR_WIDTH_MAX: Final = 46


class Box(NamedTuple):
    """Where the data lies in a picture `width` wide, and how it is scaled. Tenths are fine enough for a screen."""

    width: int
    left: int
    span: int
    top: int

    def x(self, at: int) -> float:
        return round(self.left + (self.width - self.left - _RIGHT) * at / max(self.span, 1), 1)

    def y(self, amount: int) -> float:
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * amount / max(self.top, 1), 1)


class Period(NamedTuple):
    name: str  # 2025-11-25
    label: str  # Nov 25


class Series(NamedTuple):
    name: str
    amounts: tuple[int, ...]  # one a period


class BurnDown(NamedTuple):
    """What is left of one budget in one window: known `points` of (instant, left), from its start until now."""

    start_us: int
    end_us: int
    now_us: int
    limit_nano_usd: int
    soft_left_nano_usd: int | None
    points: tuple[tuple[int, int], ...]
    marks: tuple[tuple[int, str], ...]  # where the axis is labelled
    paced: bool  # a window without an end has no pace


def step_of(highest: int) -> int:
    """The distance of lines that people can count in: 1, 2 or 5 times a power of ten."""
    wanted = max(highest // _TICKS, 1)
    magnitude = int("1".ljust(len(str(wanted)), "0"))
    return next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= wanted)


def stacked_bars(periods: Sequence[Period], series: Sequence[Series], width: int, title: str) -> str:
    """A bar a period, a colour a series, the first at the bottom."""
    sums = [sum(one.amounts[place] for one in series) for place in range(len(periods))]
    top, grid = _grid(max(sums, default=0))
    box = Box(width, _left_of(grid), len(periods), top)
    slot = box.x(1) - box.x(0)
    bar = round(min(slot * 0.78, _BAR_WIDTH_MAX), 1)
    parts = [_opening(width, title), *(_grid_line(box, amount) for amount in grid)]
    for place, period in enumerate(periods):
        left, below = round(box.x(place) + (slot - bar) / 2, 1), 0
        for number, one in enumerate(series):
            amount = one.amounts[place]
            if amount <= 0:
                continue
            high, low = box.y(below + amount), box.y(below)
            tip = escape(f"{period.name} · {one.name}: {usd(amount, 4)}")
            place_and_size = f'x="{left}" y="{high}" width="{bar}" height="{round(max(low - high, 0.5), 1)}"'
            parts.append(f'<rect class="s{number}" {place_and_size}><title>{tip}</title></rect>')
            below += amount
    parts += _period_labels(box, periods, slot)
    return _closed(parts)


def burn_down(picture: BurnDown, width: int, title: str) -> str:
    """What is left, falling, beside the even pace that would last exactly until the reset."""
    highest = max([picture.limit_nano_usd, *(left for _, left in picture.points)])
    top, grid = _grid(highest)
    box = Box(width, _left_of(grid), picture.end_us - picture.start_us, top)
    at = [(box.x(min(when, picture.end_us) - picture.start_us), box.y(max(left, 0))) for when, left in picture.points]
    now_x = box.x(min(picture.now_us, picture.end_us) - picture.start_us)
    parts = [_opening(width, title), *(_grid_line(box, amount) for amount in grid)]
    if at:
        floor = box.y(0)
        # A budget falls in steps: it is as it was until something is posted.
        steps = " ".join(f"H{x} V{y}" for x, y in at[1:])
        line = f"M{at[0][0]} {at[0][1]} {steps} H{now_x}"
        parts.append(f'<path class="area" d="{line} V{floor} H{at[0][0]} Z"/>')
    if picture.soft_left_nano_usd is not None:
        y = box.y(max(picture.soft_left_nano_usd, 0))
        parts.append(f'<line class="soft-limit" x1="{box.left}" x2="{width - _RIGHT}" y1="{y}" y2="{y}"/>')
    if picture.paced:
        start, end = (box.x(0), box.y(picture.limit_nano_usd)), (box.x(box.span), box.y(0))
        parts.append(f'<line class="pace" x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}"/>')
    if at:
        parts.append(f'<path class="left" d="{line}"/>')
        parts.append(f'<circle class="here" cx="{now_x}" cy="{at[-1][1]}" r="3.5"/>')
    parts += _instant_labels(box, picture)
    return _closed(parts)


def share_bar(used_permille: int, held_permille: int, tone: str) -> str:
    """A budget's fill: used, then held by requests in flight. The figures stand beside it, so nothing is read out."""
    used = min(max(used_permille, 0), 1000)
    held = min(max(held_permille, 0), 1000 - used)
    return (
        '<svg class="share" viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<rect class="track" width="1000" height="10"/><rect class="used {tone}" width="{used}" height="10"/>'
        f'<rect class="held {tone}" x="{used}" width="{held}" height="10"/></svg>'
    )


def _opening(width: int, title: str) -> str:
    kind = "wide" if width == WIDE else "narrow"
    return (
        f'<svg class="plot {kind}" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" focusable="false">'
    )


def _closed(parts: Sequence[str]) -> str:
    return "".join([*parts, "</svg>"])


def _grid(highest: int) -> tuple[int, list[int]]:
    step = step_of(highest)
    top = -(-max(highest, 1) // step) * step
    return top, list(range(0, top + 1, step))


def _left_of(grid: Sequence[int]) -> int:
    return _LEFT + _LETTER * max(len(axis_usd(amount)) for amount in grid)


def _grid_line(box: Box, amount: int) -> str:
    y = box.y(amount)
    kind = "axis" if amount == 0 else "grid"
    return (
        f'<line class="{kind}" x1="{box.left}" x2="{box.width - _RIGHT}" y1="{y}" y2="{y}"/>'
        f'<text class="end" x="{box.left - 7}" y="{round(y + 4, 1)}">{axis_usd(amount)}</text>'
    )


def axis_usd(nano_usd: int) -> str:
    """As few decimals as the amount has, for an axis: $20, $0.5, $0.0002."""
    whole, part = divmod(nano_usd, NANO_PER_USD)
    fraction = f"{part:09d}".rstrip("0")
    if not fraction:
        return f"${whole:,}"
    return f"${whole:,}.{fraction.ljust(2, '0')}"


def _period_labels(box: Box, periods: Sequence[Period], slot: float) -> list[str]:
    every = max(1, -int(-_LABEL_WIDTH // max(slot, 0.1)))
    return [_label(box, box.x(place) + slot / 2, periods[place].label) for place in range(0, len(periods), every)]


def _instant_labels(box: Box, picture: BurnDown) -> list[str]:
    room = max(1, (box.width - box.left - _RIGHT) // _LABEL_WIDTH)
    every = max(1, -(-len(picture.marks) // room))
    return [_label(box, box.x(at_us - picture.start_us), text) for at_us, text in picture.marks[::every]]


def _label(box: Box, x: float, text: str) -> str:
    """Under the axis; near an edge it ends or begins there, so that none is cut off."""
    half = _LABEL_WIDTH / 2
    near = "end" if x + half > box.width else "start" if x < box.left + 4 else "middle"
    return f'<text class="{near}" x="{round(x, 1)}" y="{HEIGHT - 8}">{escape(text)}</text>'
