"""What one worker has in hand of each budget: slices leased from the database, spent in memory without a round trip.

All of it runs on the event loop's thread. Where a slice does not suffice, the wish is carried to the database, and only
there is it refused. What settles goes back into the slice at once; what is posted leaves it with its batch.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from billing.admission import Short
from billing.budget_refusals import BudgetBackendUnavailable, refusal
from billing.scopes import Account, Dimensions, Rule, Rulebook
from billing.visits import CONTENDED_US, Call, Found, Told, Visit, Want

IDLE_TURNS_MAX: Final = 4  # a turn is half a second
RECALL_US_MAX: Final = 250_000  # what a wish waits for slices that others have
ASK_US_MAX: Final = 5_000_000  # what a wish waits for a database that answers slowly
BOUND_MAX: Final = 50_000  # distinct charges remembered
SOON_MS: Final = 10  # in which what goes back is gathered
RECALL_MS: Final = 20  # between two looks while others return their slices
AWAY_MS: Final = 250  # between two tries while the database is away
FOREVER: Final = 2**62

NOTHING: Final[tuple["Wallet", ...]] = ()


class Wallet:
    """One account's slice. In the database it is `free + owed + open + settled - posted`, what is on its way aside."""

    __slots__ = (
        *("account", "id", "limit", "posted_total", "rule"),
        *("free", "holds", "low", "open", "owed", "posted", "settled"),
        *("contended_until_us", "idle_turns", "overdrawn", "stale", "told_holds", "told_open", "visiting"),
    )

    def __init__(self, rule: Rule, account: Account) -> None:
        self.rule = rule
        self.account = account
        self.id = 0  # the database's, from the first visit on
        self.limit = rule.limit_nano_usd or 0
        self.free = 0
        self.open = 0
        self.holds = 0
        self.settled = 0  # ever, in this process; only the loop's thread adds to it
        self.posted = 0  # of that; only the flusher's thread adds to it
        self.posted_total = 0  # of the whole account when last seen in the database, what is settled here included
        self.low = 0  # below it more is fetched in advance
        self.contended_until_us = 0
        self.idle_turns = 0
        self.told_open = self.told_holds = 0
        self.visiting = False
        self.stale = False  # its budget has changed or gone: what is free goes back at once
        # More is taken of the account than its limit allows, which was lowered: what holds leave over is owed to the
        # database, and no other hold's.
        self.overdrawn = False
        self.owed = 0


class Ask:
    """A wish that the slices at hand did not cover."""

    __slots__ = ("cancelled", "deadline_us", "done", "least", "most", "wallets")

    def __init__(
        self,
        wallets: tuple[Wallet, ...],
        most: int,
        least: int,
        deadline_us: int,
        done: Callable[[int | Exception], None],
    ) -> None:
        self.wallets = wallets
        self.most = most
        self.least = least
        self.deadline_us = deadline_us
        self.done = done
        self.cancelled = False

    def cancel(self) -> None:
        """Nobody waits for it any more: what it is granted goes back."""
        self.cancelled = True


class Wallets:
    def __init__(
        self,
        *,
        clock: Callable[[], int],
        visit: Callable[[Visit, Callable[[Found | Exception], None]], None],
        after_ms: Callable[[int, Callable[[], None]], object],
        recall: Callable[[Sequence[int]], None],
    ) -> None:
        """`visit` goes to the database on a thread of its own and calls back on the loop's; `after_ms`
        calls there later; `recall` asks the other workers to return their slices of these accounts.
        """
        self._clock = clock
        self.visit = visit
        self._after_ms = after_ms
        self.recall = recall
        self._rulebook = Rulebook()
        self.limited = False  # whether any budget has a hard limit
        self._by_account: dict[Account, Wallet] = {}
        self._bound: dict[Dimensions, tuple[int, tuple[Wallet, ...]]] = {}
        self._asks: deque[Ask] = deque()
        self._calls: dict[Wallet, int] = {}  # what a visit is wanted for beside the asks; the number is what is forced
        self._light: dict[Wallet, None] = {}  # those to be topped up, whose slices stay at work meanwhile
        self._telling: dict[Wallet, None] = {}  # those to be told of
        self._away = False
        self._awaited: list[Callable[[], None]] = []
        self._timed = False
        self._tells = True
        self.refuses: str | None = None  # why nothing under a hard budget is let in, although there is a slice

    # --- what binds ---

    def of(self, charge: Dimensions, at_us: int) -> tuple[Wallet, ...]:
        """The wallets that a hold at this instant must be taken from."""
        if not self.limited:
            return NOTHING
        bound = self._bound.get(charge)
        if bound is not None and at_us < bound[0]:
            return bound[1]
        return self._bind(charge, at_us)

    def _bind(self, charge: Dimensions, at_us: int) -> tuple[Wallet, ...]:
        until_us = FOREVER
        wallets = []
        for rule, account in self._rulebook.accounts(charge, at_us):
            if account.end_us is not None:
                until_us = min(until_us, account.end_us)
            if rule.limit_nano_usd is None:
                continue
            wallet = self._by_account.get(account)
            if wallet is None:
                wallet = self._by_account[account] = Wallet(rule, account)
            wallets.append(wallet)
        if len(self._bound) >= BOUND_MAX:
            self._bound.clear()
        bound = tuple(wallets)
        self._bound[charge] = until_us, bound
        return bound

    def replace(self, rules: Iterable[Rule]) -> None:
        """Other budgets from now on. Slices of those that changed go back; `adopt` follows for the holds in flight."""
        self._rulebook = Rulebook(tuple(rules))
        self.limited = any(rule.limit_nano_usd is not None for rule in self._rulebook.rules)
        self._bound.clear()
        known = {rule.id: rule for rule in self._rulebook.rules}
        for account, wallet in list(self._by_account.items()):
            rule = known.get(account.budget_id)
            if rule == wallet.rule:
                continue
            wallet.low = 0
            self._call(wallet)
            if rule is None or rule.window != wallet.rule.window or rule.timezone != wallet.rule.timezone:
                wallet.stale = True
                del self._by_account[account]
            else:
                wallet.rule = rule
                wallet.limit = rule.limit_nano_usd or 0
        self.pump()

    def adopt(self, wallets: tuple[Wallet, ...], charge: Dimensions, at_us: int, held: int) -> tuple[Wallet, ...]:
        """A hold that is older than some budgets counts against these as well, whether there is room or not."""
        missing = [wallet for wallet in self.of(charge, at_us) if wallet not in wallets]
        for wallet in missing:
            wallet.open += held
            wallet.holds += 1
            self._calls[wallet] = self._calls.get(wallet, 0) + held
        self.pump()
        return (*wallets, *missing)

    # --- holds ---

    def take(self, wallets: tuple[Wallet, ...], most: int, least: int) -> bool:
        """Takes the whole hold from the slices at hand, or nothing. No I/O."""
        for wallet in wallets:
            # The least is always let through.
            if most > wallet.free or (most > least and not _ample(wallet, most)):
                return False
        return self._taken(wallets, most)

    def take_amply(self, wallets: tuple[Wallet, ...], most: int) -> bool:
        """The same where there is so much at hand that it does not matter what the least is."""
        for wallet in wallets:
            if not _ample(wallet, most):
                return False
        return self._taken(wallets, most)

    def _taken(self, wallets: tuple[Wallet, ...], most: int) -> bool:
        if self.refuses is not None:
            return False
        for wallet in wallets:
            wallet.free -= most
            wallet.open += most
            wallet.holds += 1
            wallet.idle_turns = 0
            if wallet.free < wallet.low and not wallet.visiting:
                self._fetch(wallet)
        return True

    def ask(self, wallets: tuple[Wallet, ...], most: int, least: int, done: Callable[[int | Exception], None]) -> Ask:
        """Asks the database. `done` gets the amount of the hold, which is then taken, or what refuses it."""
        now_at_us = self._clock()
        ask = Ask(wallets, most, least, now_at_us + RECALL_US_MAX, done)
        for wallet in wallets:
            wallet.idle_turns = 0
        if self.refuses is not None:
            done(BudgetBackendUnavailable(self.refuses))
            return ask
        self._asks.append(ask)
        self.pump()
        return ask

    def settle(self, wallets: tuple[Wallet, ...], held: int, cost: int) -> None:
        """A hold ends: what it cost stays until it is posted, the rest is free again."""
        part = min(cost, held)
        for wallet in wallets:
            wallet.open -= held
            wallet.holds -= 1
            wallet.settled += part
            wallet.free += held - part
            if wallet.contended_until_us or wallet.stale or wallet.overdrawn:
                if wallet.overdrawn:
                    wallet.owed, wallet.free = wallet.owed + wallet.free, 0
                self._call(wallet)
                self._soon()

    # --- what goes back ---

    def recalled(self, ids: Iterable[int], then: Callable[[], None]) -> None:
        """Others need what is unused here: it goes back, and `then` is called once the database has it."""
        wanted = set(ids)
        until_us = self._clock() + CONTENDED_US
        for wallet in self._by_account.values():
            if wallet.id in wanted:
                wallet.contended_until_us = until_us
                wallet.low = 0
                if wallet.free or wallet.visiting:  # what a visit under way brings home goes back as well
                    self._call(wallet)
        self.after_visit(then)

    def after_visit(self, then: Callable[[], None]) -> None:
        """Calls `then` when everything that is waiting now has been to the database."""
        self.pump()
        if self._away or self._calls:
            self._awaited.append(then)
        else:
            then()

    def tend(self) -> None:
        """Twice a second: slices that nobody uses go back; every other time the database is told what is in flight."""
        now_at_us = self._clock()
        tells = self._tells
        self._tells = not tells
        for account, wallet in list(self._by_account.items()):
            if wallet.contended_until_us and wallet.contended_until_us <= now_at_us:
                wallet.contended_until_us = 0
            wallet.idle_turns += 1
            over = account.end_us is not None and account.end_us <= now_at_us
            if wallet.holds == 0 and (over or wallet.idle_turns > IDLE_TURNS_MAX):
                wallet.low = 0
                if wallet.free or wallet.owed:
                    self._call(wallet)
                elif over and wallet.settled == wallet.posted and wallet.told_holds == 0 and not wallet.visiting:
                    del self._by_account[account]
            if tells and (wallet.open != wallet.told_open or wallet.holds != wallet.told_holds):
                self._telling[wallet] = None
        self.pump()

    def drain(self, then: Callable[[], None]) -> None:
        """Everything that is free goes back."""
        for wallet in self._by_account.values():
            wallet.low = 0
            wallet.stale = True
            self._call(wallet)
        self.after_visit(then)

    def kept(self) -> tuple[Wallet, ...]:
        return tuple(self._by_account.values())

    # --- visits ---

    def _call(self, wallet: Wallet) -> None:
        self._calls.setdefault(wallet, 0)

    def _fetch(self, wallet: Wallet) -> None:
        wallet.visiting = True
        self._light[wallet] = None
        self._soon()

    def _soon(self) -> None:
        if not self._timed:
            self._timed = True
            self._after_ms(SOON_MS, self._on_time)

    def _on_time(self) -> None:
        self._timed = False
        self.pump()

    def pump(self) -> None:
        """Sends one visit with everything that waits, unless one is under way."""
        if self._away:
            return
        asks = [ask for ask in self._asks if not ask.cancelled]
        self._asks.clear()
        if not asks and not self._calls and not self._light and not self._telling:
            self._tell_awaiting()
            return
        places: dict[Wallet, int] = {}
        for ask in asks:
            for wallet in ask.wallets:
                places.setdefault(wallet, len(places))
        for wallet in self._calls:
            places.setdefault(wallet, len(places))
        whole = len(places)
        for wallet in self._light:
            places.setdefault(wallet, len(places))
        # One that the database has not met yet, or whose budget has changed, has nothing to tell but on a visit.
        telling = [wallet for wallet in self._telling if wallet not in places and wallet.id]
        calls = []
        for wallet, place in places.items():
            leaving = wallet.stale or wallet.contended_until_us != 0 or wallet.idle_turns > IDLE_TURNS_MAX
            carries = leaving or wallet.overdrawn or place < whole
            calls.append(self._call_of(wallet, carries=carries, leaving=leaving))
            if carries:
                wallet.free = wallet.owed = 0
            wallet.visiting = True
            wallet.told_open, wallet.told_holds = wallet.open, wallet.holds
        for wallet in telling:
            wallet.told_open, wallet.told_holds = wallet.open, wallet.holds
        self._calls, self._light, self._telling = {}, {}, {}
        wants = tuple(Want(tuple(places[wallet] for wallet in ask.wallets), ask.most, ask.least) for ask in asks)
        self._away = True
        awaited, self._awaited = self._awaited, []
        wallets = tuple(places)
        told = tuple(Told(wallet.id, wallet.open, wallet.holds) for wallet in telling)
        visit = Visit(tuple(calls), wants, told, self._clock())
        self.visit(visit, lambda found: self._home(wallets, calls, telling, asks, awaited, found))

    def _tell_awaiting(self) -> None:
        awaited, self._awaited = self._awaited, []
        for then in awaited:
            then()

    def _call_of(self, wallet: Wallet, *, carries: bool, leaving: bool) -> Call:
        return Call(
            wallet.rule,
            wallet.account,
            wallet.id,
            carried=wallet.free + wallet.owed if carries else 0,
            kept=0 if carries else wallet.free,
            forced=self._calls.get(wallet, 0),
            open=wallet.open,
            holds=wallet.holds,
            slice=not leaving,
        )

    def _home(
        self,
        wallets: tuple[Wallet, ...],
        calls: list[Call],
        telling: list[Wallet],
        asks: list[Ask],
        awaited: list[Callable[[], None]],
        found: Found | Exception,
    ) -> None:
        self._away = False
        for wallet in wallets:
            wallet.visiting = False
        if isinstance(found, Exception):
            for wallet in telling:
                wallet.told_holds = -1  # not told after all
            self._turned_away(wallets, calls, asks, found)
        else:
            # Those that came in the meantime need no visit of their own, if what was brought suffices for them.
            waited, self._asks = self._asks, deque()
            self._brought(wallets, calls, asks, found)
            self._asks.extend(ask for ask in waited if not self._granted(ask))
        for then in awaited:
            then()
        if not self._timed:
            self.pump()

    def _granted(self, ask: Ask) -> bool:
        # What must go back, because its budget has changed meanwhile, is nobody's.
        if ask.cancelled or any(wallet in self._calls for wallet in ask.wallets):
            return False
        if not self.take(ask.wallets, ask.most, ask.least):
            return False
        ask.done(ask.most)
        return True

    def _turned_away(self, wallets: tuple[Wallet, ...], calls: list[Call], asks: list[Ask], error: Exception) -> None:
        for wallet, call in zip(wallets, calls, strict=True):
            if wallet.overdrawn:
                wallet.owed += call.carried
            else:
                wallet.free += call.carried
            wallet.told_holds = -1  # not told after all
            if call.forced:
                self._calls[wallet] = self._calls.get(wallet, 0) + call.forced
        unavailable = BudgetBackendUnavailable(f"the database that knows the budgets does not answer: {error}")
        for ask in asks:
            if not ask.cancelled:
                ask.done(unavailable)
        if self._calls:
            self._timed = True
            self._after_ms(AWAY_MS, self._on_time)

    def _brought(self, wallets: tuple[Wallet, ...], calls: list[Call], asks: list[Ask], found: Found) -> None:
        now_at_us = self._clock()
        recall = _unpacked(wallets, calls, found)
        waiting: list[Ask] = []
        for ask, answer in zip(asks, found.answers, strict=True):
            if isinstance(answer, Short):
                wallet = ask.wallets[answer.place]
                if not answer.spent and now_at_us < ask.deadline_us and found.others[wallets.index(wallet)]:
                    waiting.append(ask)
                    recall.add(wallet.id)
                elif not ask.cancelled:
                    ask.done(
                        refusal(
                            wallet.rule,
                            wallet.account,
                            wallet.limit,
                            wallet.posted_total,
                            ask.least,
                            spent=answer.spent,
                        )
                    )
                continue
            for wallet in ask.wallets:
                if ask.cancelled:
                    wallet.free += answer
                else:
                    wallet.open += answer
                    wallet.holds += 1
                    wallet.idle_turns = 0
            if not ask.cancelled:
                ask.done(answer)
        if recall:
            self.recall(sorted(recall))
        if waiting:
            self._asks.extendleft(reversed(waiting))
            self._timed = True
            self._after_ms(RECALL_MS, self._on_time)


def _unpacked(wallets: tuple[Wallet, ...], calls: list[Call], found: Found) -> set[int]:
    """Puts into the wallets what was brought; answers of which accounts others must give back what they have leased."""
    recall: set[int] = set()
    for place, wallet in enumerate(wallets):
        wallet.id = found.ids[place]
        wallet.free += found.free[place]
        wallet.limit = found.limits[place]
        wallet.posted_total = found.posted[place]
        # A recall that came meanwhile has set it later than the database had it.
        wallet.contended_until_us = max(wallet.contended_until_us, found.contended_until_us[place])
        wallet.overdrawn = found.overdrawn[place]
        if wallet.overdrawn:
            wallet.owed, wallet.free = wallet.owed + wallet.free, 0
            # What was in flight here when the budget was made takes what others have leased of it meanwhile.
            if calls[place].forced and found.others[place]:
                recall.add(wallet.id)
        wallet.low = 0 if wallet.contended_until_us or wallet.stale else wallet.free // 4
    return recall


def _ample(wallet: Wallet, most: int) -> bool:
    # A share of what is left here is a share of what is left at all.
    return 2 * most * (wallet.holds + 1) <= wallet.free
