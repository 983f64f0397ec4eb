"""Which mails are one thread, from what their headers say alone.

References and In-Reply-To join, through mails that are missing too; a mail that refers to nothing here joins by subject
with a mail of the same customer at most 30 days older. A mass mailing and a missing mail join only mails of the same
customer: else everybody who answers a newsletter would stand in one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

WINDOW_S = 30 * 86400


@dataclass(frozen=True, slots=True)
class Link:
    """What joins a mail with others: the part of every mail that stays in memory."""

    id: str
    refs: tuple[str, ...]
    sent_s: float | None
    subject: str
    outsiders: tuple[str, ...]
    is_mass: bool


def threads_of(links: list[Link]) -> list[str]:
    """The thread of every mail: the Message-ID of the thread's oldest mail."""
    parent: dict[str, str] = {}

    def find(node: str) -> str:
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for one, other in chain(_by_reference(links), _by_subject(links)):
        parent[find(one)] = find(other)
    oldest: dict[str, str] = {}
    for link in sorted(links, key=lambda x: float("inf") if x.sent_s is None else x.sent_s):
        oldest.setdefault(find(link.id), link.id)
    return [oldest[find(link.id)] for link in links]


def _by_reference(links: list[Link]) -> Iterator[tuple[str, str]]:
    """What to join because one refers to the other, or both to the same mail that is missing or was sent to many."""
    single = {link.id for link in links if not link.is_mass}
    shared: dict[str, list[Link]] = {}
    for link in links:
        for ref in link.refs:
            if ref in single:
                yield link.id, ref
            else:
                shared.setdefault(ref, []).append(link)
        if link.is_mass and len(link.outsiders) == 1:  # an automatic receipt calls itself bulk and goes to one customer
            shared.setdefault(link.id, []).append(link)
    for ref, mails in shared.items():
        outside = [set(m.outsiders) for m in mails if m.outsiders]
        common = sorted(set.intersection(*outside)) if outside else [""]
        for mail in mails:
            for address in mail.outsiders or common[:1]:
                yield mail.id, f"{ref} {address}"


def _by_subject(links: list[Link]) -> Iterator[tuple[str, str]]:
    """What to join because it refers to no mail here and a mail with its subject and a customer of its was sent lately."""
    known = {link.id for link in links}
    last: dict[tuple[str, str], Link] = {}
    for link in sorted((x for x in links if x.sent_s is not None and x.subject), key=lambda x: x.sent_s or 0):
        if link.is_mass and len(link.outsiders) != 1:
            continue
        alone = not any(ref in known for ref in link.refs)
        for address in link.outsiders:
            before = last.get((link.subject, address))
            if alone and before and (link.sent_s or 0) - (before.sent_s or 0) <= WINDOW_S:
                yield link.id, before.id
            last[link.subject, address] = link
