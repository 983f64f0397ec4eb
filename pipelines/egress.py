"""The recipe's way out: its guard with the run folder's ledger, and the plan that is told before anything leaves.

Nothing goes to another machine before somebody agreed to the plan: `--yes`, or `egress.confirmed` in the recipe. Calls to
loopback need no word; what a gateway there does with them is its own.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from functools import partial
from operator import mul
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from data_prep.records import ChatMessage, UserError
from evaluation import offline
from evaluation.egress import Guard, Policy, kinds_in
from evaluation.providers.openai_compatible import LABEL_TOKENS, is_lost
from evaluation.results import Answer, Item
from pipelines import stages
from pipelines.recipe import Paid, Recipe
from pipelines.stages import How

if TYPE_CHECKING:
    from evaluation.prices import Book

CHARACTERS_A_TOKEN = 4  # where no tokenizer is at hand; the plan says so
LEDGER = "egress.jsonl"
OFFLINE = "offline.jsonl"

Asked = Sequence[tuple[Item, tuple[ChatMessage, ...]]]


def policy(recipe: Recipe, *, inside: bool = False) -> Policy:
    """What may leave. inside: what is asked stays on this machine, which no setting about leaving concerns."""
    e = recipe.egress
    return (
        Policy(e.destinations, blocked_kinds=()) if inside else Policy(e.destinations, e.sensitivity, e.blocked_kinds)
    )


@contextmanager
def guard(recipe: Recipe, how: How, *, inside: bool = False) -> Iterator[Guard]:
    """The run folder's guard. The budget is over everything that its ledger holds. inside: what is asked stays here."""
    made = Guard(
        policy(recipe, inside=inside),
        ledger=recipe.run_folder / LEDGER,
        budget_usd=how.budget_usd or recipe.egress.budget_usd,
    )
    try:
        yield made
    finally:
        made.close()


def is_here(url: str) -> bool:
    """Does this address stay on this machine?"""
    return offline.is_loopback(urlsplit(url).hostname or "")


def prices_of(paid: Paid, section: str = "evaluation.api", *, batch: bool = False) -> Book:
    """A server's own prices, or the list's that its `price_as` names; without either nothing is priced.

    section: where it stands in the recipe, for what errors say.
    """
    from evaluation.prices import OwnPrices, Rates, price_list

    if (own := paid.price) is not None:
        longer = Rates(**own.long.model_dump()) if own.long is not None else None
        return OwnPrices(
            Rates(**own.rates.model_dump()), own.source, own.date, own.batch_factor, longer, own.long_above, batch
        )
    listed = paid.price_as
    try:
        return price_list(listed.provider if listed else None, listed.model if listed else None, batch=batch)
    except UserError as e:
        raise type(e)(str(e).replace("evaluation.api.", f"{section}.")) from e


def check_prices(recipe: Recipe) -> None:
    """Raises UserError where a recipe names a list price that the list does not have: before hours of work, not after."""
    for section, paid in _paid(recipe):
        prices_of(paid, section)


def _paid(part: BaseModel, where: str = "") -> Iterator[tuple[str, Paid]]:
    """Every server that a recipe may pay, and the section that says so."""
    if isinstance(part, Paid):
        yield where, part
        return
    for name in type(part).model_fields:
        value, at = getattr(part, name), f"{where}.{name}".lstrip(".")
        of_list = [(at, v) for v in value] if isinstance(value, list | tuple) else [(at, value)]
        for at, one in [(f"{at}.{k}", v) for k, v in value.items()] if isinstance(value, dict) else of_list:
            if isinstance(one, BaseModel):
                yield from _paid(one, at)


def key_of(key_env: str | None, section: str, *, needed: bool = True) -> str:
    """The key in the variable that a section names; "none" without one. Raises UserError where it is needed and not set."""
    key = os.environ.get(key_env, "").strip() if key_env is not None else "none"  # mounted secrets end with a line feed
    if needed and not (key.isascii() and key.isprintable()):
        raise UserError(f"{key_env}: the key in it has characters that no key has, such as a line feed. Set it anew.")
    if needed and not key:
        raise UserError(f"{key_env} is not set; {section}.api_key_env names it as the variable with the key.")
    return key or "none"


def kept_back(answers: Iterable[Answer]) -> dict[str, str]:
    """Item → why it was not sent, of those that were not."""
    return {a.item: a.error for a in answers if a.error and a.error.partition(":")[0].endswith("_not_sent")}


def known(
    recipe: Recipe, answers: Mapping[str, Answer], asked: Asked, *, replay: bool, inside: bool = False
) -> set[str]:
    """Items that are not asked again: a lost answer is, one that was refused or unreadable is an answer.

    What the policy kept back is asked where it now may leave.
    """
    rules, kept, found = policy(recipe, inside=inside), kept_back(answers.values()), set()
    for item, prompt in asked:
        answer = answers.get(item.id)
        if answer is None or is_lost(answer.error):
            continue
        if item.id not in kept or replay or rules.reason_to_keep_back(item.sensitivity, kinds_in(prompt)) is not None:
            found.add(item.id)
    return found


@dataclass(frozen=True, slots=True)
class Plan:
    """What asking would send and cost. usd None: nothing here has a price; a number that is None is not known yet.

    at_most: the numbers are bounds. requests None: without a bound, and the other numbers are of one round over the items.
    """

    who: str
    destination: str
    model: str
    items: int | None
    answered_before: int = 0
    kept_back: dict[str, int] = field(default_factory=dict)
    prompt_tokens: int | None = None
    counted_by: str = ""
    most_answer_tokens: int = 0
    usd: Decimal | None = None
    bytes: int | None = None
    kinds: dict[str, int] = field(default_factory=dict)
    requests: int | None = None
    at_most: bool = False
    note: str = ""
    section: str = ""  # of the recipe, and the variable with the key that it names
    key_env: str | None = None

    def __str__(self) -> str:
        """One line for a person."""
        note, most = f"; {self.note}" if self.note else "", "at most " if self.at_most else ""
        where = f"to {self.model} at {self.destination}"
        if self.items is None:
            return f"{self.who}: {where}{note}"
        if self.bytes is None or self.prompt_tokens is None:
            told = f"{self.most_answer_tokens:,} answer tokens at most, {self._money()}"
            return f"{self.who}: {most}{self.items} items {where}, {told}{note}"
        kept = ", ".join(f"{n} {reason}" for reason, n in self.kept_back.items()) or "none kept back"
        kinds = ", ".join(f"{n} {kind}" for kind, n in self.kinds.items()) or "no personal data found"
        again = f"{most}{self.requests:,} requests, " if self.requests not in (None, self.items) else ""
        return (
            f"{self.who}: {most}{self.items} items {where}, {again}{most}{self.bytes:,} bytes,"
            f" {most}{self.prompt_tokens:,} prompt tokens ({self.counted_by}) and {self.most_answer_tokens:,} answer tokens at most,"
            f" {self._money()}; {kinds} in them; {self.answered_before} answered before, {kept}{note}"
        )

    def _money(self) -> str:
        if self.usd is None:
            return "no price"
        if self.requests is None:
            return f"{self.usd:.4f} USD a round, and only --budget-usd bounds the rounds"
        return f"at most {self.usd:.4f} USD without retries"

    @property
    def leaves(self) -> bool:
        """Would anything go to another machine, or is that not known yet?"""
        return self.items != 0 and not is_here(self.destination)

    @property
    def is_exact(self) -> bool:
        """Would just this be sent, if nothing fails?"""
        return not self.at_most and self.requests is not None

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "usd": str(self.usd) if self.usd is not None else None}


def plan(
    recipe: Recipe,
    who: str,
    destination: str,
    model: str,
    asked: Asked,
    known: set[str],
    prices: Book,
    limit: int,
    *,
    unseen: Mapping[str, int] | None = None,
    rounds: Callable[[Item], int] = lambda _: 1,
    thinking: int = 0,
    inside: bool = False,
    section: str = "",
    key_env: str | None = None,
) -> Plan:
    """What putting these questions would mean. limit: the longest free answer, in tokens. section, key_env: see Plan.

    unseen: item → tokens of its prompt that are not written yet, at most. rounds: how often an item is asked, at most.
    thinking: tokens that may come before each answer.
    """
    count, counted_by = token_counter(recipe)
    kept_back: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    tokens, answers, times = [], [], []
    size = 0
    rules = policy(recipe, inside=inside)
    for item, prompt in asked:
        if item.id in known:
            continue
        found = kinds_in(prompt)
        reason = rules.reason_to_keep_back(item.sensitivity, found)
        if reason is not None:
            kept_back[reason.partition(":")[0]] += 1
            continue
        kinds.update(found)
        more = (unseen or {}).get(item.id, 0)
        times.append(rounds(item))
        size += times[-1] * (sum(len(m["content"].encode()) for m in prompt) + more * CHARACTERS_A_TOKEN)
        tokens.append(sum(count(m["content"]) for m in prompt) + more)
        answers.append((LABEL_TOKENS if item.choices else limit) + thinking)
    each = [
        prices.usd(SimpleNamespace(prompt_tokens=t, completion_tokens=a)) for t, a in zip(tokens, answers, strict=True)
    ]
    priced = [n * usd for n, usd in zip(times, each, strict=True) if usd is not None]
    usd = sum(priced, Decimal(0)) if prices.is_known else None
    prompt_tokens, answer_tokens = (sum(map(mul, times, of_each)) for of_each in (tokens, answers))
    return Plan(
        who, destination, model, len(tokens), sum(i.id in known for i, _ in asked), dict(sorted(kept_back.items())),
        prompt_tokens, counted_by, answer_tokens, usd, size, dict(sorted(kinds.items())), sum(times), section=section, key_env=key_env,
    )  # fmt: skip


def token_counter(recipe: Recipe) -> tuple[Callable[[str], int], str]:
    """How tokens are counted, and by what: the tuned model's tokenizer where it is on disk, else an estimate that says so."""
    for folder in (stages.folder(recipe, "train"), recipe.model.path):
        if folder is not None and (folder / "tokenizer.json").exists():
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            return partial(_tokens, tokenizer), "counted by the local tokenizer"
    return lambda text: -(-len(text) // CHARACTERS_A_TOKEN), "estimated at 4 characters a token"


def _tokens(tokenizer: Any, text: str) -> int:
    return len(tokenizer.encode(text).ids)


def agree(made: Plan, recipe: Recipe, how: How) -> None:
    """Tell the plan, and stop before anything is sent that nobody agreed to, or without the key. Raises UserError."""
    how.on_event(f"plan: {made}")
    if not made.items or is_here(made.destination):
        return
    policy(recipe).check(made.destination)
    budget = how.budget_usd or recipe.egress.budget_usd
    if budget is not None and made.usd is None:
        raise UserError(
            f"{made.who}: {made.model} at {made.destination} has no price, so nothing would keep it under the budget of"
            f" {budget} USD. Nothing was sent. Name its list price in `price_as` of its section or set your own in `price`, or leave the budget away."
        )
    if how.offline:
        raise UserError(
            f"{made.who}: --offline, and {made.items} items would go to {made.destination}. Nothing was sent."
        )
    key_of(made.key_env, made.section)
    if not (how.yes or recipe.egress.confirmed):
        raise UserError(
            f"{made}. Nothing was sent. Run the same command with --yes, or set egress.confirmed in the recipe, to go on."
        )


@contextmanager
def offline_proof(recipe: Recipe, how: How) -> Iterator[None]:
    """With --offline or --replay: no socket of this command or its workers reaches another machine, and what tried to is told."""
    if not (how.offline or how.replay):
        yield
        return
    from pipelines import tracking

    tracking.refuse_elsewhere(recipe, "--offline" if how.offline else "--replay")
    log = recipe.run_folder / OFFLINE
    log.unlink(missing_ok=True)
    offline.enforce(log)
    try:
        yield
    finally:
        found = offline.proof(log)
        how.on_event(
            f"offline: {found.processes} processes under the guard, {len(found.refused)} attempts to leave refused"
            + (f": {', '.join(sorted(set(found.refused))[:5])}" if found.refused else "")
        )
