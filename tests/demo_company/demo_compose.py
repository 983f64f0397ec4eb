"""Reading the content files and turning their templates into text."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

_CHOICE = re.compile(r"\{([^{}]*\|[^{}]*)\}")
_SLOT = re.compile(r"<([a-z_0-9]+)>")


@dataclass(eq=False)
class Topic:
    """One question with its openings and the answers that fit them."""

    slug: str
    intent: str
    article: str
    flags: dict[str, str] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)

    def pick(self, key: str, opening: int, rng: random.Random) -> str | None:
        """Return a line for this opening (``F2`` beats ``F``), or nothing."""
        pool = self.lines.get(f"{key}{opening + 1}") or self.lines.get(key)
        return rng.choice(pool) if pool else None


def load_topics(folder: Path) -> list[Topic]:
    """Read every content file, in name order."""
    topics: list[Topic] = []
    for path in sorted(folder.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("@ "):
                parts = [p.strip() for p in line[2:].split("|")]
                flags = dict([*f.split("="), ""][:2] for f in " ".join(parts[2:]).split())
                topics.append(Topic(parts[0], path.stem, parts[1], flags))
            elif line:
                key, text = line.split(": ", 1)
                topics[-1].lines.setdefault(key, []).append(text)
    return topics


def spin(text: str, rng: random.Random) -> str:
    """Choose one of each ``{a|b}`` group, innermost first."""
    while match := _CHOICE.search(text):
        text = text[: match.start()] + rng.choice(match.group(1).split("|")) + text[match.end() :]
    return text


def fill(text: str, slots: dict[str, str], rng: random.Random) -> str:
    """Spin the text and put the slot values in."""
    return _SLOT.sub(lambda m: slots[m.group(1)], spin(text, rng)).replace("  ", " ").strip()


def add_typos(text: str, rng: random.Random, count: int) -> str:
    """Swap letters in a few plain words, drop an apostrophe."""
    words = text.split(" ")
    plain = [i for i, w in enumerate(words) if re.fullmatch(r"[a-z]{6,}", w)]
    for i in rng.sample(plain, min(count, len(plain))):
        at = rng.randint(1, len(words[i]) - 3)
        w = words[i]
        words[i] = w[:at] + w[at + 1] + w[at] + w[at + 2 :]
    return " ".join(words).replace("n't", "nt", 1)


def shingles(text: str) -> set[tuple[str, ...]]:
    """Word 5-grams of the text."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / (len(a | b) or 1)
