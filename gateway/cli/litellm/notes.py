"""What does not come over, and why: a line each, said in the end and never left out."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Notes:
    lines: list[str] = field(default_factory=list)

    def add(self, subject: str, message: str) -> None:
        line = f"{subject}: {message}"
        if line not in self.lines:
            self.lines.append(line)
