"""The egress guard: the only way out of the machine.

Before anything is sent, the policy says whether this row may go to this destination. Then the call is written to
`egress.jsonl` with what it may cost at most, and only then it leaves; a second line says how it ended. So the file holds
receipts and budget at once, and `kill -9` loses neither: a call without its second line counts at its worst case.

Question: what does a request cost that brought no answer? The provider may have billed a time-out, a cut connection or an
unreadable body, and never says. Choice: such calls count at their worst case (`presumed_usd`), refusals (429, 4xx, 5xx, no
connection) at nothing. Price: the budget stops early on a bad network. Revisit when providers report usage by request id.

Question: how does a load test, whose requests must leave when they are due, keep this without waiting for the ledger? Choice:
a Batch: one line reserves so many requests of these rows before the first, and the two lines of every call are written after
the last. Price: of a batch that a kill left unrecorded nobody knows what was sent, so all of it counts as sent and paid.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fnmatch import fnmatch
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from data_prep.pii import core
from data_prep.pii._numbers import luhn
from data_prep.records import ChatMessage, Sensitivity, UserError
from evaluation.offline import is_loopback
from evaluation.results import open_locked, read_lines, replaced

# Kinds whose surrogates redaction makes so that they are told from somebody's: these can block.
TELLABLE_KINDS = ("secret", "card", "iban", "ssn", "email", "phone", "ip", "mac")
BLOCKED_KINDS = ("secret", "card", "iban", "ssn")
NOBODYS_NETWORKS = tuple(map(ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")))
FREE = Decimal(0)
TAG_PREFIX = "freehold-"
UNSETTLED = "no_end"  # killed while it was under way
STOPPED = "stopped"  # given up by us while it was under way
FIRST_CALLS = 8  # without a price from the first of them, more than one may be under way


class EgressError(UserError):
    """The policy forbids this destination."""


class BudgetError(UserError):
    """The next request might cost more than is left."""

    def __init__(self, budget_usd: Decimal, requests: int, *, whole_run: bool) -> None:
        super().__init__(f"the budget of {budget_usd} USD is spent after {requests} requests")
        self.whole_run = whole_run


@dataclass(frozen=True, slots=True)
class Policy:
    """What may leave, and where to.

    destinations: hosts, `*` as in file names; None: wherever the recipe's sections point. Loopback is always allowed.
    sensitivity: classes of rows that may leave; local_only never does.
    blocked_kinds: personal data that keeps a row back where it is found in what would be sent; surrogates do not count.
    """

    destinations: tuple[str, ...] | None = None
    sensitivity: tuple[Sensitivity, ...] = ("shareable",)
    blocked_kinds: tuple[str, ...] = BLOCKED_KINDS

    def check(self, url: str) -> None:
        """Raises EgressError where this address may not be spoken to."""
        host = urlsplit(url).hostname or ""
        allowed = self.destinations
        if is_loopback(host) or allowed is None or any(fnmatch(host, pattern.casefold()) for pattern in allowed):
            return
        raise EgressError(
            f"{url}: {host or 'no host'} is not among egress.destinations ({', '.join(allowed) or 'none'});"
            " nothing was sent. Add the host, or correct the address."
        )

    def lets_out(self, sensitivity: str) -> bool:
        """May what is of this class leave: a row, a worked example, a passage? Unknown classes stay."""
        return sensitivity != "local_only" and sensitivity in self.sensitivity

    def reason_to_keep_back(self, sensitivity: str, kinds: Mapping[str, int]) -> str | None:
        """Why this row must not leave, as the error of its answer; None where it may."""
        if not self.lets_out(sensitivity):
            return f"{sensitivity}_not_sent"
        found = sorted(k for k in kinds if k in self.blocked_kinds)
        return f"pii_not_sent: {', '.join(found)}" if found else None


def kinds_in(prompt: Sequence[ChatMessage]) -> dict[str, int]:
    """Personal data in what would be sent, by kind; surrogates that can be told are not counted."""
    found: Counter[str] = Counter()
    for message in prompt:
        found.update(_kinds_of(message["content"]))
    return dict(sorted(found.items()))


@lru_cache(maxsize=256)  # worked examples are the same in every prompt
def _kinds_of(text: str) -> tuple[str, ...]:
    return tuple(f.kind for f in core.find(text) if not _is_nobodys(f.kind, text[f.start : f.end]))


def _is_nobodys(kind: str, value: str) -> bool:
    """Is this a surrogate that data_prep.redact makes, or an address reserved for examples?"""
    digits = "".join(c for c in value if c.isdigit())
    match kind:
        case "email":
            return value.casefold().endswith(".example")
        case "phone":
            return digits[-7:].startswith(("55501", "000"))
        case "card":
            return not luhn(digits)
        case "ip":
            return any(ip_address(value) in network for network in NOBODYS_NETWORKS)
        case "mac":
            return value.casefold().startswith("02:00:") and value.endswith("00:00:01")
        case _:
            return False


@dataclass(slots=True)
class Egress:
    """What left the machine for one purpose: the sum of its receipts, earlier runs and retries included."""

    purpose: str = ""
    destination: str = ""
    requests: int = 0
    rows: set[str] = field(default_factory=set)
    bytes: int = 0
    spent_usd: Decimal = FREE  # what is presumed included
    presumed_usd: Decimal = FREE
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    models: set[str] = field(default_factory=set)
    kept_back: dict[str, str] = field(default_factory=dict)  # item → reason

    @property
    def kept_back_local_only(self) -> list[str]:
        return [item for item, reason in self.kept_back.items() if reason == "local_only_not_sent"]

    def receipt(self) -> dict[str, Any]:
        return {
            "purpose": self.purpose,
            "destination": self.destination,
            "requests": self.requests,
            "rows": len(self.rows),
            "bytes": self.bytes,
            "local_only_rows_kept_back": len(self.kept_back_local_only),
            "kept_back": dict(sorted(Counter(r.partition(":")[0] for r in self.kept_back.values()).items())),
            "kept_back_rows": sorted(self.kept_back),
            "usd": str(self.spent_usd),
            "presumed_usd": str(self.presumed_usd),
            "kinds": dict(sorted(self.kinds.items())),
            "statuses": dict(sorted(self.statuses.items())),
            "models": sorted(self.models),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
        }


@dataclass(slots=True)
class Call:
    """One request that may leave: reserved, perhaps sent, and ended."""

    number: int
    purpose: str
    item: str
    model: str
    kinds: dict[str, int]
    reserved_usd: Decimal
    destination: str = ""
    sent: bool = False
    bytes: int = 0
    at: str = ""  # when it left

    def cost(self, usd: Decimal | None, *, may_be_billed: bool) -> tuple[Decimal, bool]:
        """What it is taken to have cost, and whether that is presumed: the whole reserve, where the server does not say."""
        presumed = usd is None and may_be_billed
        return (self.reserved_usd if presumed else FREE) if usd is None else usd, presumed

    @property
    def tag(self) -> str:
        """The request's X-Request-ID: servers that echo it prove whose answer it is."""
        return f"{TAG_PREFIX}{self.number}"


@dataclass(slots=True)
class _Reserved:
    """What a batch may still send, unknown to the ledger so far."""

    purpose: str
    destination: str
    rows: tuple[str, ...]
    requests: int = 0
    bytes: int = 0
    usd: Decimal = FREE


class Batch:
    """Requests that leave on time: reserved together before the first, recorded one by one after the last. For one thread."""

    def __init__(
        self, guard: Guard, number: int, purpose: str, model: str, url: str, price: Callable[[Any], Decimal | None]
    ) -> None:
        self.number, self.purpose, self.model, self.destination = number, purpose, model, _origin(url)
        self.left = self.requests = 0  # of those reserved
        self.reserved = FREE
        self._guard, self._price = guard, price
        self._calls: dict[str, Call] = {}
        self._ends: dict[int, tuple[str, Any, bool]] = {}

    def reserve(self, requests: int, *, most_bytes: int, worst_usd: Decimal) -> None:
        """Let so many requests leave. Raises BudgetError where they might cost more than is left."""
        self._guard._reserve_batch(self, requests, most_bytes, worst_usd)

    def call(self, item: str, kinds: dict[str, int], worst_usd: Decimal) -> Call:
        """One of them, about to leave. Raises EgressError where none is left."""
        if not self.left:
            raise EgressError(f"{self.destination}: all {self.requests} requests reserved have left; nothing was sent")
        self.left -= 1
        made = Call(self._guard._number(), self.purpose, item, self.model, kinds, worst_usd)
        self._calls[made.tag] = made
        return made

    def leaving(self, tag: str, url: str, size: int) -> Call:
        """As Guard.leaving, in memory."""
        call = self._calls.get(tag)
        if call is None or call.sent:
            raise EgressError(f"{url}: a request without a receipt was refused; nothing was sent")
        self._guard.policy.check(url)
        call.sent, call.destination, call.bytes, call.at = True, _origin(url), size, _now()
        return call

    def ended(self, call: Call, status: str, usage: Any, *, may_be_billed: bool) -> None:
        """How a call ended. usage: what its price is told from; None where the server reported nothing usable."""
        self._ends[call.number] = (status, usage, may_be_billed)

    def _outcomes(self) -> Iterator[tuple[Call, str, Decimal | None, bool]]:
        for call in self._calls.values():
            if call.sent:
                status, usage, billed = self._ends.get(call.number, (STOPPED, None, True))
                yield call, status, self._price(usage) if usage is not None else None, billed


@dataclass(slots=True)
class _Purse:
    """Money of one purpose, or of the whole run."""

    budget_usd: Decimal | None = None
    spent: Decimal = FREE
    reserved: Decimal = FREE
    dearest: Decimal = FREE
    under_way: int = 0
    ended: int = 0

    def worst(self, estimate: Decimal) -> Decimal:
        """A request may cost what it is estimated to at most, or what one already did."""
        return max(estimate, self.dearest)

    def takes(self, usd: Decimal, *, together: bool = False) -> bool:
        if self.budget_usd is None or not usd:  # no limit, or nothing here has a price
            return True
        if self.under_way and not self.dearest and self.ended < FIRST_CALLS and not together:
            return False  # the first answer shows what requests here really cost
        fits = self.spent + self.reserved + usd <= self.budget_usd
        return fits or (not self.under_way and self.spent < self.budget_usd)


class Guard:
    """The policy, the receipts and the budget of one command. Safe for many threads; the ledger is locked to one process.

    budget_usd: over everything the ledger holds, earlier commands included.
    """

    def __init__(
        self, policy: Policy | None = None, *, ledger: Path | None = None, budget_usd: Decimal | None = None
    ) -> None:
        self.policy = policy or Policy()
        self.egress: dict[str, Egress] = {}
        self._whole = _Purse(budget_usd)
        self._purses: dict[str, _Purse] = {}
        self._calls: dict[int, Call] = {}
        self._unsettled: dict[int, Call] = {}  # of earlier commands, counted at their worst case
        self._responses: dict[str, dict[str, str]] = {}  # purpose → response id → item
        self._batches: dict[int, _Reserved] = {}  # while the ledger is read: those that are not recorded
        self._next = 1  # number of a call or a batch
        self._changed = threading.Condition()
        self._ledger: TextIO | None = None
        if ledger is not None:
            self._ledger = open_locked(ledger)
            try:
                self._replay(ledger)
            except BaseException:
                self._ledger.close()
                raise

    def _replay(self, path: Path) -> None:
        """Take up what earlier commands left; what a kill tore off was never sent, since a call is written first."""
        lines = list(read_lines(path))
        assert self._ledger is not None
        if path.read_bytes().rpartition(b"\n")[2]:
            self._ledger = replaced(self._ledger, path, "".join(json.dumps(r) + "\n" for r in lines))
        for line in lines:
            if "call" not in line:
                self._replay_batch(line)
            elif "purpose" in line:
                call = Call(
                    line["call"], line["purpose"], line["row"], line["model"], line["kinds"],
                    Decimal(line["reserved_usd"]), line["destination"], bytes=line["bytes"],
                )  # fmt: skip
                if (batch := self._batches.get(line.get("batch", 0))) is not None:
                    batch.requests -= 1
                    batch.bytes -= call.bytes
                    batch.usd -= call.reserved_usd
                self._purse(call.purpose).reserved += call.reserved_usd
                self._whole.reserved += call.reserved_usd
                self._begin(call)
            else:
                if line["call"] in self._unsettled:
                    self._forget_presumed(self._unsettled[line["call"]])
                call, usd = self._calls[line["call"]], Decimal(line["usd"])
                if line["status"] == UNSETTLED:
                    self._unsettled[call.number] = call
                self._learn(call, FREE if line["presumed"] else usd)
                self.is_repeated(call, line["response"])
                self._end(call, line["status"], usd, line["presumed"])
        for call in list(self._calls.values()):
            self._unsettled[call.number] = call
            self._end(call, UNSETTLED, call.reserved_usd, presumed=True)
            self._write(_ending(call, UNSETTLED, call.reserved_usd, presumed=True))
        for number, batch in list(self._batches.items()):
            lost = {"requests": batch.requests, "bytes": max(0, batch.bytes), "usd": str(max(FREE, batch.usd))}
            self._write({"batch": number, "lost": lost})
            self._lose(number, lost)

    def _replay_batch(self, line: dict[str, Any]) -> None:
        number = line["batch"]
        self._next = max(self._next, number + 1)
        if "purpose" in line:
            self._batches[number] = _Reserved(line["purpose"], line["destination"], tuple(line["rows"]))
        elif "requests" in line:
            batch = self._batches[number]
            batch.requests += line["requests"]
            batch.bytes += line["bytes"]
            batch.usd += Decimal(line["reserved_usd"])
        elif "lost" in line:
            self._lose(number, line["lost"])
        else:
            del self._batches[number]

    def _lose(self, number: int, lost: dict[str, Any]) -> None:
        """Count what a killed batch may have sent as sent and paid."""
        batch, usd = self._batches.pop(number), Decimal(lost["usd"])
        if not lost["requests"]:
            return
        egress = self.about(batch.purpose)
        egress.destination = batch.destination
        egress.requests += lost["requests"]
        egress.bytes += lost["bytes"]
        egress.rows.update(batch.rows)
        egress.statuses[UNSETTLED] += lost["requests"]
        egress.spent_usd += usd
        egress.presumed_usd += usd
        for purse in (self._purse(batch.purpose), self._whole):
            purse.spent += usd

    def about(self, purpose: str) -> Egress:
        """What left for this purpose so far."""
        return self.egress.setdefault(purpose, Egress(purpose))

    def spent(self, purpose: str) -> Decimal:
        return self.about(purpose).spent_usd

    def open_purse(self, purpose: str, budget_usd: Decimal, *, at_least: Decimal) -> None:
        """Set a purpose's budget. at_least: what is known from elsewhere (stored answers) to be spent."""
        purse = self._purse(purpose)
        purse.budget_usd = budget_usd
        unknown = max(FREE, at_least - purse.spent)
        purse.spent += unknown
        self._whole.spent += unknown
        self.about(purpose).spent_usd = purse.spent

    def _purse(self, purpose: str) -> _Purse:
        return self._purses.setdefault(purpose, _Purse())

    def reserve(
        self,
        purpose: str,
        item: str,
        *,
        model: str,
        kinds: dict[str, int],
        worst_usd: Decimal,
        stopped: threading.Event,
        together: bool = False,
    ) -> Call | None:
        """Wait until this request fits into the budget with all that are under way; None where the run was stopped.

        together: of requests that leave at once and end at once, so that waiting is useless: None where it does not fit.
        Raises BudgetError where nothing is under way any more and it still does not fit.
        """
        purse = self._purse(purpose)
        with self._changed:
            while not stopped.is_set():
                usd = purse.worst(worst_usd)
                if purse.takes(usd, together=together) and self._whole.takes(usd, together=together):
                    return self._reserved(purpose, item, model, kinds, usd)
                if not purse.under_way and not self._whole.under_way:
                    tight = self._whole if purse.takes(usd) else purse
                    assert tight.budget_usd is not None
                    requests = sum(e.requests for e in self.egress.values())
                    if tight is purse:
                        requests = self.about(purpose).requests
                    raise BudgetError(tight.budget_usd, requests, whole_run=tight is self._whole)
                if together:
                    break
                self._changed.wait(0.2)
        return None

    def errand(self, purpose: str, *, model: str) -> Call:
        """A request that carries no row and costs nothing, such as asking whether a batch is done; it leaves a receipt too."""
        with self._changed:
            return self._reserved(purpose, "", model, {}, FREE)

    def _number(self) -> int:
        self._next += 1
        return self._next - 1

    def _reserved(self, purpose: str, item: str, model: str, kinds: dict[str, int], usd: Decimal) -> Call:
        call = Call(self._number(), purpose, item, model, kinds, usd)
        self._calls[call.number] = call
        for purse in (self._purse(purpose), self._whole):
            purse.reserved += usd
            purse.under_way += 1
        return call

    def leaving(self, tag: str, url: str, size: int) -> Call:
        """The receipt, written before the first byte. Raises EgressError for what has none, or a forbidden destination."""
        with self._changed:
            number = tag.removeprefix(TAG_PREFIX)
            call = self._calls.get(int(number)) if number != tag and number.isdecimal() else None
            if call is None or call.sent:
                raise EgressError(f"{url}: a request without a receipt was refused; nothing was sent")
            self.policy.check(url)
            call.destination, call.bytes, call.at = _origin(url), size, _now()
            self._write(_receipt(call))
            self._begin(call)
        return call

    @contextmanager
    def batch(
        self,
        purpose: str,
        *,
        model: str,
        url: str,
        rows: Mapping[str, dict[str, int]],
        price: Callable[[Any], Decimal | None],
    ) -> Iterator[Batch]:
        """Requests to one address that leave without a word to the ledger each; it is recorded at the end how they ended.

        rows: which may be sent, with the personal data in them. price: of a call, from the usage that it ended with.
        """
        self.policy.check(url)
        with self._changed:
            made = Batch(self, self._number(), purpose, model, url, price)
            kinds = sum((Counter(k) for k in rows.values()), Counter[str]())
            self._write({
                "batch": made.number, "at": _now(), "purpose": purpose, "destination": made.destination, "model": model,
                "rows": sorted(rows), "kinds": dict(sorted(kinds.items())),
            })  # fmt: skip
        try:
            yield made
        finally:
            self._record(made)

    def _reserve_batch(self, batch: Batch, requests: int, most_bytes: int, worst_usd: Decimal) -> None:
        with self._changed:
            purses = (self._purse(batch.purpose), self._whole)
            usd = max(worst_usd, requests * purses[0].dearest)
            for purse in purses:
                if usd and purse.budget_usd is not None and purse.spent + purse.reserved + usd > purse.budget_usd:
                    sent = sum(e.requests for e in self.egress.values())
                    raise BudgetError(purse.budget_usd, sent, whole_run=purse is self._whole)
            self._write({"batch": batch.number, "requests": requests, "bytes": most_bytes, "reserved_usd": str(usd)})
            batch.left += requests
            batch.requests += requests
            batch.reserved += usd
            for purse in purses:
                purse.reserved += usd
                purse.under_way += requests

    def _record(self, batch: Batch) -> None:
        with self._changed:
            purses = (self._purse(batch.purpose), self._whole)
            lines = []
            for call, status, usd, may_be_billed in batch._outcomes():
                cost, presumed = call.cost(usd, may_be_billed=may_be_billed)
                lines += [_receipt(call, batch.number), _ending(call, status, cost, presumed=presumed)]
                for purse in purses:
                    purse.reserved += call.reserved_usd
                self._begin(call)
                self._learn(call, usd or FREE)
                self._end(call, status, cost, presumed)
            self._write(*lines, {"batch": batch.number, "recorded": len(lines) // 2})
            for purse in purses:
                purse.reserved -= batch.reserved
                purse.under_way -= batch.requests
            self._changed.notify_all()

    def _begin(self, call: Call) -> None:
        call.sent = True
        self._next = max(self._next, call.number + 1)
        self._calls[call.number] = call
        egress = self.about(call.purpose)
        egress.destination = call.destination
        egress.requests += 1
        if call.item:
            egress.rows.add(call.item)
        egress.bytes += call.bytes
        egress.kinds.update(call.kinds)

    def is_repeated(self, call: Call, response_id: str | None) -> bool:
        """Has another item had this response, in this command or an earlier one? Ids that never differ say nothing."""
        if not response_id:
            return False
        with self._changed:
            seen = self._responses.setdefault(call.purpose, {})
            return seen.setdefault(response_id, call.item) != call.item and len(seen) > 1

    def ended(
        self,
        call: Call,
        status: str,
        usd: Decimal | None,
        *,
        may_be_billed: bool,
        model: str | None = None,
        response_id: str | None = None,
    ) -> Decimal:
        """How a call ended, and what it is presumed to have cost where the server does not say.

        usd None: the server reported no usable count. Returns the presumed money, zero where the price is known.
        """
        with self._changed:
            for purse in (self._purse(call.purpose), self._whole):
                purse.under_way -= call.number not in self._unsettled
            if not call.sent:
                del self._calls[call.number]
                for purse in (self._purse(call.purpose), self._whole):
                    purse.reserved -= call.reserved_usd
                self._changed.notify_all()
                return FREE
            cost, presumed = call.cost(usd, may_be_billed=may_be_billed)
            if call.number in self._unsettled:
                self._forget_presumed(call)
            self._write(_ending(call, status, cost, presumed=presumed, response_id=response_id))
            self._learn(call, usd or FREE)
            if model is not None:
                self.about(call.purpose).models.add(model)
            self._end(call, status, cost, presumed)
            self._changed.notify_all()
            return cost if presumed else FREE

    def unsettled(self, purpose: str) -> dict[str, Call]:
        """Item → its request that an earlier command sent and did not see the end of: `ended` may still be told."""
        with self._changed:
            return {c.item: c for c in self._unsettled.values() if c.purpose == purpose}

    def _forget_presumed(self, call: Call) -> None:
        """Take back the worst case at which a request counted whose end is known at last; it is under way once more."""
        del self._unsettled[call.number]
        egress = self.about(call.purpose)
        egress.statuses[UNSETTLED] -= 1
        egress.spent_usd -= call.reserved_usd
        egress.presumed_usd -= call.reserved_usd
        for purse in (self._purse(call.purpose), self._whole):
            purse.spent -= call.reserved_usd
            purse.reserved += call.reserved_usd
            purse.ended -= 1
        self._calls[call.number] = call

    def _learn(self, call: Call, usd: Decimal) -> None:
        for purse in (self._purse(call.purpose), self._whole):
            purse.dearest = max(purse.dearest, usd)

    def _end(self, call: Call, status: str, usd: Decimal, presumed: bool) -> None:
        del self._calls[call.number]
        egress = self.about(call.purpose)
        egress.statuses[status] += 1
        egress.spent_usd += usd
        egress.presumed_usd += usd if presumed else FREE
        for purse in (self._purse(call.purpose), self._whole):
            purse.reserved -= call.reserved_usd
            purse.spent += usd
            purse.ended += 1

    def _write(self, *lines: dict[str, Any]) -> None:
        if self._ledger is not None:
            self._ledger.write("".join(json.dumps(line) + "\n" for line in lines))
            self._ledger.flush()

    def close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()


def _receipt(call: Call, batch: int | None = None) -> dict[str, Any]:
    of_batch = {} if batch is None else {"batch": batch}
    return {
        "call": call.number, **of_batch, "at": call.at, "purpose": call.purpose, "destination": call.destination,
        "model": call.model, "row": call.item, "bytes": call.bytes, "kinds": call.kinds,
        "reserved_usd": str(call.reserved_usd),
    }  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _ending(call: Call, status: str, usd: Decimal, *, presumed: bool, response_id: str | None = None) -> dict[str, Any]:
    return {"call": call.number, "status": status, "usd": str(usd), "presumed": presumed, "response": response_id}
