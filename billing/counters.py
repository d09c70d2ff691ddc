"""Where the counts of limits are kept: in this process for a worker alone; `billing.shared_counters` for several."""

from collections import OrderedDict
from typing import Final, Protocol

from billing.rates import Count, Decision, Subject, decide, finish

SUBJECTS_MAX: Final = 65_536


class Counters(Protocol):
    """Whatever keeps them: one request is counted under all its limits or under none, though others ask meanwhile."""

    def admit(
        self, subjects: tuple[Subject, ...], tokens: int, prompt: int, now_us: int
    ) -> Decision: ...  # pragma: no cover

    def end(
        self, subjects: tuple[Subject, ...], estimate: int, used: int, begun_us: int, now_us: int
    ) -> None: ...  # pragma: no cover

    def tracked(self) -> int:
        """How many subjects have a count."""
        ...  # pragma: no cover

    def close(self) -> None: ...  # pragma: no cover


class OwnCounters:
    """In this process; gone with it."""

    def __init__(self, subjects_max: int = SUBJECTS_MAX) -> None:
        self._subjects_max = subjects_max
        # Whoever asked last stands last.
        self._counts: OrderedDict[str, Count] = OrderedDict()

    def admit(self, subjects: tuple[Subject, ...], tokens: int, prompt: int, now_us: int) -> Decision:
        known = self._counts
        counts: list[Count] = []
        for subject in subjects:
            name = subject.id
            count = known.get(name)
            if count is None:
                count = known[name] = Count(0, 0, 0, now_us)
            else:
                known.move_to_end(name)
            counts.append(count)
        decision = decide(subjects, counts, tokens, prompt, now_us)
        if len(known) > self._subjects_max:
            self._forget()
        return decision

    def end(self, subjects: tuple[Subject, ...], estimate: int, used: int, begun_us: int, now_us: int) -> None:
        for subject in subjects:
            # There it is: what has requests under way is never forgotten.
            finish(subject, self._counts[subject.id], estimate, used, begun_us, now_us)

    def tracked(self) -> int:
        return len(self._counts)

    def close(self) -> None:
        """Nothing is left to close."""

    def _forget(self) -> None:
        """Those that have not asked for longest, of whom no request is under way; where all have one, nobody."""
        over = len(self._counts) - self._subjects_max
        longest: list[str] = []
        for name, count in self._counts.items():
            if len(longest) >= over:
                break
            if count.running == 0:
                longest.append(name)
        for name in longest:
            del self._counts[name]
