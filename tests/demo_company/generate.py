"""Generate the demo company's ticket exports (Hearthline, an invented seller of smart heating).

``python tests/demo_company/generate.py --out recipes/demo`` writes ``exports/`` below the folder, byte for byte
the committed files. Texts come from the hand-written ``content/*.txt`` (openings paired with their answers) and
``demo_fragments.py``. Everything depends only on the seed: no clock, no set order.
"""

from __future__ import annotations

import argparse
import random
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import demo_fragments as fr
from demo_compose import Topic, fill, jaccard, load_topics, shingles
from demo_export import dump, full_text, write_legacy, write_zendesk
from demo_people import AGENTS, Customer, make_customers
from demo_threads import DEVICE_INTENTS, ThreadBuilder, Ticket, first_message, make_slots

SEED = "hearthline-1"
COUNTS = {
    "setup_pairing": 75,
    "faulty_device": 73,
    "heating_schedule": 64,
    "billing": 56,
    "delivery": 54,
    "app_account": 50,
    "returns": 43,
    "installation_wiring": 35,
}
# tickets opened per month; August to October 2026 is the evaluation window, so it stays busy
MONTHS = [
    ((2025, 11), 46),
    ((2025, 12), 46),
    ((2026, 1), 46),
    ((2026, 2), 42),
    ((2026, 3), 36),
    ((2026, 4), 31),
    ((2026, 5), 27),
    ((2026, 6), 25),
    ((2026, 7), 27),
    ((2026, 8), 38),
    ((2026, 9), 42),
    ((2026, 10), 44),
]
COLD_MONTHS = (9, 10, 11, 12, 1, 2, 3, 4, 5)
DST_WINDOWS = [
    (datetime(2025, 11, 1, tzinfo=UTC), datetime(2025, 11, 9, tzinfo=UTC)),
    (datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 4, 9, tzinfo=UTC)),
    (datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)),
]
WINDOW = datetime(2026, 8, 15, tzinfo=UTC)  # the evaluation window runs from here to the end of October
# tickets of a customer, without the mails sent twice: contacts of organisations write most, of the others some write
# twice, the rest once; the spare ones only repeat what a neighbour wrote
CONTACT_SIZES = [6] * 13 + [5] * 8 + [4] * 8 + [3] * 5
TWO_TICKETS = 51
SPARE = {"uk": 4, "ie": 1, "de": 2}
CLOSE = timedelta(days=28)  # the later tickets of a customer follow the first one in this time ...
LATE_SHARE = 0.08  # ... except for this share,
LATE_LIMIT = timedelta(days=150)  # which comes up to this time after it
STRADDLERS = 5  # customers with several topics that write before the evaluation window and in it
ORG_TWINS = 6
NEAR_PAIRS = 25
EXACT_PAIRS = 6
PLANTED_TICKETS = 98
PATTERNS_PLAIN = [
    "QA",
    "QA",
    "QA",
    "QA",
    "QBA",
    "QBA",
    "QAT",
    "QAT",
    "QATY",
    "QNA",
    "QNAT",
    "QHA",
    "QHAT",
    "QBHUA",
    "QWA",
    "QAO",
    "QBNAT",
    "QAVS",
    "QAXZ",
    "QAC",
]
PATTERNS_FOLLOW = [
    "QAFR",
    "QAFR",
    "QAFR",
    "QAFRT",
    "QBAFR",
    "QBAFRT",
    "QNAFR",
    "QAFRTY",
    "QBNAFRTY",
    "QHAFR",
    "QWBNAFRT",
    "QAFNR",
]
PATTERNS_INFO = ["QMIA", "QMIAT", "QBMIA", "QBMINA", "QMIAV"]
PATTERNS_OPEN = ["QB", "QBH", "QBHU", "QH"]
PATTERNS_GERMAN = ["QA", "QA", "QBA", "QAT", "QATY", "QBHA", "QNA", "QAO", "QB"]
PATTERNS_WAIT = ["QM", "QBM", "QMC"]
Dated = tuple[Topic, int, datetime]  # a question, which of its openings, and when it is asked
CSAT_COMMENTS = {
    "good": ["Fast and friendly.", "", "Solved in one mail, thanks!", "", "Very clear steps."],
    "bad": ["Took too long.", "", "Not solved.", "Had to explain it twice."],
}


def random_time(year: int, month: int, rng: random.Random) -> datetime:
    last = 30 if month in (4, 6, 9, 11) else 28 if month == 2 else 31
    return datetime(
        year,
        month,
        rng.randint(1, last),
        rng.choice([7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22]),
        rng.randint(0, 59),
        rng.randint(0, 59),
        tzinfo=UTC,
    )


def allowed(topic: Topic, at: datetime) -> bool:
    """Whether a question can be asked at this time (season, clock change, firmware)."""
    if "months" in topic.flags:
        return any(a <= at < b for a, b in DST_WINDOWS)
    if "from" in topic.flags:
        return at >= datetime.fromisoformat(topic.flags["from"]).replace(tzinfo=UTC)
    return "cold" not in topic.flags or at.month in COLD_MONTHS


def choose_openings(intent: str, count: int, topics: list[Topic], rng: random.Random) -> list[tuple[Topic, int]]:
    """Openings in rounds, so that each is used about equally; few ambiguous and German ones."""
    mine = [t for t in topics if t.intent == intent]
    out: list[tuple[Topic, int]] = []
    for flag, number in (("amb", 3), ("de", 2)):
        special = [(t, i) for t in mine if flag in t.flags for i in range(2)]
        out += [special[k % len(special)] for k in range(number)]
    normal = [(t, i) for t in mine if "amb" not in t.flags and "de" not in t.flags for i in range(len(t.lines["Q"]))]
    while len(out) < count:
        rng.shuffle(normal)
        out += normal[: count - len(out)]
    return out


def assign_dates(pairs: list[tuple[Topic, int]], rng: random.Random) -> list[Dated]:
    """Give every opening a date; the most restricted topics choose first."""
    dates = [random_time(y, m, rng) for (y, m), n in MONTHS for _ in range(n)]
    for start, _ in DST_WINDOWS:  # make sure that the short windows hold some dates
        for k in range(2):
            dates[rng.randrange(len(dates))] = start + timedelta(days=k * 3 + 1, hours=9 + k)
    rng.shuffle(dates)
    rank = {"months": 0, "from": 1, "cold": 2}
    order = sorted(range(len(pairs)), key=lambda i: min([rank[f] for f in pairs[i][0].flags if f in rank], default=3))
    out = []
    for i in order:
        topic, opening = pairs[i]
        at = next((d for d in dates if allowed(topic, d)), dates[0])
        dates.remove(at)
        out.append((topic, opening, at))
    return out


def fits(topic: Topic, customer: Customer) -> bool:
    """Whether this customer can ask this: language, country, business questions."""
    if ("de" in topic.flags and customer.country != "de") or ("uk" in topic.flags and customer.country != "uk"):
        return False
    return bool(customer.org) or not for_org(topic)


def for_org(topic: Topic) -> bool:
    return any(word in topic.slug for word in ("company", "load"))


def later_tickets(
    customer: Customer, first: Dated, size: int, free: list[Dated], may_straddle: bool, rng: random.Random
) -> list[Dated]:
    """Tickets of other topics that follow the first one, or nothing where there are too few."""
    chosen = [first]
    pool = [d for d in free if first[2] < d[2] <= first[2] + LATE_LIMIT and fits(d[0], customer)]
    if first[2] < WINDOW and not may_straddle:
        pool = [d for d in pool if d[2] < WINDOW]
    while len(chosen) < size:
        late = rng.random() < LATE_SHARE
        mine = [d for d in pool if d[0].slug not in {c[0].slug for c in chosen}]
        close = [d for d in mine if d[2] <= first[2] + CLOSE]
        far = [d for d in mine if d[2] > first[2] + CLOSE]
        if not close and not (late and far):
            return []
        chosen.append(rng.choice(far if late and far else close))
    return chosen


def allot_customers(dated: list[Dated], customers: list[Customer], rng: random.Random) -> dict[Dated, Customer]:
    """Give every ticket a customer; those with several tickets choose first."""
    contacts = rng.sample([c for c in customers if c.org], len(CONTACT_SIZES))
    people = [c for c in customers if not c.org]
    rng.shuffle(people)
    for country, count in SPARE.items():
        for c in [c for c in people if c.country == country][:count]:
            people.remove(c)
    plan = [*zip(contacts, CONTACT_SIZES, strict=True), *((c, 2) for c in people[:TWO_TICKETS])]
    free = list(dated)
    out: dict[Dated, Customer] = {}
    straddlers = 0
    for customer, size in plan:
        tries = [d for d in rng.sample(free, len(free)) if fits(d[0], customer)]
        tries.sort(key=lambda d: not for_org(d[0]))
        may = straddlers < STRADDLERS
        mine = next(m for m in (later_tickets(customer, d, size, free, may, rng) for d in tries) if m)
        straddlers += min(d[2] for d in mine) < WINDOW <= max(d[2] for d in mine)
        for d in mine:
            free.remove(d)
            out[d] = customer
    singles = people[TWO_TICKETS:]
    assert len(singles) == len(free), (len(singles), len(free))
    for d in sorted(free, key=lambda d: not {"de", "uk"} & set(d[0].flags)):
        out[d] = next(c for c in singles if fits(d[0], c))
        singles.remove(out[d])
    return out


def keep_exports(tickets: list[Ticket]) -> None:
    """A customer is in both exports only with tickets that are close in time."""
    by_customer: dict[int, list[Ticket]] = {}
    for t in tickets:
        by_customer.setdefault(t.customer.number, []).append(t)
    for mine in by_customer.values():
        mine.sort(key=lambda t: t.opened)
        if mine[-1].opened - mine[0].opened > CLOSE:
            for t in mine:
                t.export = mine[0].export


def base_tickets(topics: list[Topic], customers: list[Customer], rng: random.Random) -> list[Ticket]:
    """All tickets that are no copies, without their messages."""
    pairs = [p for intent, n in COUNTS.items() for p in choose_openings(intent, n, topics, rng)]
    rng.shuffle(pairs)
    tickets = []
    dated = assign_dates(pairs, rng)
    allotted = allot_customers(dated, customers, rng)
    for n, d in enumerate(dated):
        topic, opening, at = d
        t = Ticket(topic.intent, topic, opening, allotted[d], at, f"base{n}")
        t.language = "de" if "de" in topic.flags else "en"
        t.export = "legacy" if rng.random() < (0.5 if at.year == 2025 else 0.29) else "zendesk"
        if rng.random() < 0.06:
            t.tags.append("side")
        if rng.random() < 0.15 and topic.intent in ("delivery", "returns"):
            t.tags.append("forwarded")
        tickets.append(t)
    keep_exports(tickets)
    mark_planted(tickets, rng)
    return tickets


def mark_planted(tickets: list[Ticket], rng: random.Random) -> None:
    """Choose the tickets that carry personal data or secrets, and of which kind."""
    for t in [x for x in rng.sample(tickets, PLANTED_TICKETS) if x.language == "en"]:
        kinds = rng.sample(fr.PLANTS_BY_INTENT[t.intent], 2 if rng.random() < 0.2 else 1)
        t.tags += [f"plant:{k}" for k in dict.fromkeys(kinds)]
    for t in [x for x in tickets if x.language == "de"]:
        kind = (
            "password"
            if t.intent == "app_account"
            else {"billing": "iban", "delivery": "address", "setup_pairing": "person"}.get(t.intent)
        )
        if kind:
            t.tags.append(f"plant:{kind}")


def write_first_messages(tickets: list[Ticket]) -> None:
    """Compose the openings; redraw a text that comes too close to an earlier one."""
    seen: list[set[tuple[str, ...]]] = []
    for t in tickets:
        best: tuple[float, str] = (2.0, "")
        for attempt in range(40):
            rng = random.Random(f"{SEED}:{t.key}:{attempt}")
            t.slots = make_slots(t.customer, t.opened, rng)
            text = first_message(t, rng)
            worst = max((jaccard(shingles(text), s) for s in seen), default=0.0)
            best = min(best, (worst, text))
            if worst < 0.5:
                break
        t.first = text if worst < 0.5 else best[1]
        assert worst < 0.6, t.topic
        seen.append(shingles(t.first))
        assert t.topic is not None
        t.subject = fill(rng.choice(t.topic.lines["S"][0].split(" / ")), t.slots, rng)


def edit_slightly(text: str, rng: random.Random) -> str:
    """A small edit, as people make when they send a mail again."""
    extra = rng.choice(["Please answer.", "Second try.", "Sent again.", "Did you get this?", "Thanks again!"])
    for old, new in rng.sample(
        [
            ("Please", "Kindly"),
            ("cannot", "can not"),
            (" really ", " "),
            ("Thanks", "Thank you"),
            ("I have", "I've"),
            ("does not", "doesn't"),
        ],
        6,
    ):
        if old in text and rng.random() < 0.5:
            return text.replace(old, new, 1)
    head, sep, tail = text.partition("\n\n")
    return f"{text}\n\n{extra}" if rng.random() < 0.6 or not sep else f"{head} {extra}\n\n{tail}"


def add_twins(tickets: list[Ticket], customers: list[Customer], rng: random.Random) -> list[Ticket]:
    """Near and exact duplicates of earlier tickets."""
    plain = [
        t
        for t in tickets
        if len(t.first.split()) >= 24
        and not any(tag.startswith("plant:") for tag in t.tags)
        and "forwarded" not in t.tags
        and t.opened < datetime(2026, 10, 26, tzinfo=UTC)
        and t.language == "en"
        and t.topic
        and "months" not in t.topic.flags
    ]
    count = Counter(t.customer.number for t in tickets)
    single = [t for t in plain if count[t.customer.number] == 1]
    several = {t.customer.number: t for t in rng.sample(plain, len(plain)) if 2 < count[t.customer.number] < 6}
    nameless = [
        t
        for t in plain
        if not t.customer.org
        and t.customer.first not in t.first
        and not any(
            t.slots[s] in t.first for s in ("order", "serial", "track", "rt", "plus_m", "plus_y", "p_valve", "p_hub")
        )
    ]
    copied: list[tuple[Ticket, Customer]] = []  # a ticket, and who sends it again
    for c in [c for c in customers if not count[c.number]]:
        t = rng.choice([t for t in nameless if t.customer.country == c.country])
        nameless.remove(t)
        single = [x for x in single if x is not t]
        copied.append((t, c))
    own = rng.sample(single, NEAR_PAIRS + EXACT_PAIRS - ORG_TWINS - len(copied))
    own += rng.sample(list(several.values()), ORG_TWINS)
    rng.shuffle(own)
    twins = []
    for n, (t, customer) in enumerate([*((t, t.customer) for t in own), *copied]):
        exact = n < EXACT_PAIRS
        wait = (
            timedelta(minutes=rng.randint(4, 55))
            if exact
            else timedelta(days=rng.randint(1, 3), minutes=rng.randint(3, 300))
        )
        twin = Ticket(
            t.intent,
            t.topic,
            t.opening,
            customer,
            t.opened + wait,
            f"twin{n}",
            t.export,
            subject=t.subject,
            language=t.language,
            slots=t.slots,
            tags=[tag for tag in t.tags if tag == "side"],
            twin_of=t,
            exact=exact,
        )
        twin.first = t.first if exact else edit_slightly(t.first, rng)
        while not exact and jaccard(shingles(twin.first), shingles(t.first)) < 0.72:
            twin.first = edit_slightly(t.first, rng)
        twins.append(twin)
    return twins


def spam_tickets(rng: random.Random) -> list[Ticket]:
    """Ten spam tickets from senders that are no customers."""
    out = []
    for n, (subject, body) in enumerate(fr.SPAM):
        (year, month), _ = MONTHS[(n * 5) % 12]
        sender = Customer(900 + n, f"Sales Desk {n + 1}", "uk", None, f"offer{n + 1}@example.net", "", "", "formal")
        t = Ticket(
            "",
            None,
            0,
            sender,
            random_time(year, month, rng),
            f"spam{n}",
            "zendesk" if n < 7 else "legacy",
            subject=subject,
            tags=["spam"],
        )
        t.first = body
        out.append(t)
    return out


def give_ids(tickets: list[Ticket]) -> None:
    """Ticket numbers rise with the time of opening, in each export of its own."""
    tickets.sort(key=lambda t: (t.opened, t.key))
    zen, old = 48211, 20417
    for t in tickets:
        if t.export == "zendesk":
            t.id, zen = str(zen), zen + 1 + int(t.opened.minute % 3)
        else:
            t.id, old = f"L-{old}", old + 1 + int(t.opened.minute % 2)


def choose_pattern(t: Ticket, rng: random.Random) -> str:
    """A thread pattern that fits the topic."""
    assert t.topic is not None
    if t.language == "de":
        return rng.choice(PATTERNS_GERMAN)
    if rng.random() < 0.055:
        return rng.choice(PATTERNS_OPEN + (PATTERNS_WAIT if t.intent in DEVICE_INTENTS and t.language == "en" else []))
    if t.topic.pick("F", t.opening, rng) and rng.random() < 0.42:
        return rng.choice(PATTERNS_FOLLOW)
    has_numbers = any(t.slots[s] in t.first for s in ("order", "serial"))
    if t.intent in DEVICE_INTENTS and t.language == "en" and not has_numbers and rng.random() < 0.17:
        return rng.choice(PATTERNS_INFO)
    return rng.choice(PATTERNS_PLAIN)


def finish(t: Ticket, pattern: str, rng: random.Random) -> None:
    """Status, tags and satisfaction of a ticket after its messages."""
    if pattern in PATTERNS_OPEN + PATTERNS_WAIT and not pattern.endswith("C"):
        t.status = "pending" if pattern.endswith("M") else "open"
    elif pattern.endswith(("V", "VS")):
        t.status = "open"
        t.tags.append("reopened")
    else:
        if "V" in pattern:
            t.tags.append("reopened")
        t.status = "solved" if t.opened >= datetime(2026, 10, 1, tzinfo=UTC) or t.export == "legacy" else "closed"
    if "M" in pattern:
        t.tags.append("macro_info_request")
    bad = pattern.endswith("Z") or ("V" in pattern and rng.random() < 0.4)
    if bad or (t.status in ("solved", "closed") and rng.random() < 0.38):
        t.csat = "bad" if bad or rng.random() < 0.07 else "good"
        t.csat_comment = rng.choice(CSAT_COMMENTS[t.csat])


def build_thread(t: Ticket) -> None:
    """Write the messages of one ticket."""
    rng = random.Random(f"{SEED}:thread:{t.key}")
    builder = ThreadBuilder(t, rng)
    if t.topic is None:
        for code in "QB":
            builder.step(code)
        t.status = "closed" if t.export == "zendesk" else "spam"
        return
    if t.exact and t.twin_of:
        builder.step("Q")
        builder.say(builder.agent, fr.MERGED.format(other=t.twin_of.id), 1)
        t.status = "closed"
        t.tags.append("closed_by_merge")
        return
    pattern = choose_pattern(t, rng)
    for code in pattern:
        builder.step(code)
    finish(t, pattern, rng)


def lose_flags(tickets: list[Ticket], rng: random.Random) -> None:
    """Remove or null the visibility flag of a few comments, notes among them."""
    for export, count in (("zendesk", 4), ("legacy", 2)):
        mine = [t for t in tickets if t.export == export]
        notes = [m for t in mine for m in t.messages if m.public is False and m.author not in ("bot", "system")]
        replies = [m for t in mine for m in t.messages[1:] if m.public and m.author in [a for a, _ in AGENTS]]
        for n, m in enumerate(rng.sample(notes, count) + rng.sample(replies, count)):
            m.public, m.keep_flag = None, n % 2 == 0


def stands(value: str, text: str) -> bool:
    """Whether the value is in the text and no part of a longer name, address or number."""
    return value in text and re.search(rf"(?<![\w.@+]){re.escape(value)}(?!\w)", text) is not None


def planted_rows(tickets: list[Ticket], customers: list[Customer]) -> list[dict[str, str]]:
    """Planted values, and every full name, address and number of a customer that stands in a text."""
    rows: list[dict[str, str]] = []
    for t in tickets:
        text = "\n".join(full_text(m) for m in t.messages)
        source = t.twin_of or t
        found = [(kind, value) for kind, value in source.planted if value in text]
        for c in customers:
            found += [
                (k, v) for k, v in (("person", c.name), ("email", c.email), ("phone", c.phone)) if stands(v, text)
            ]
        rows += [{"kind": k, "value": v, "ticket": t.id, "export": t.export} for k, v in dict.fromkeys(found)]
    return rows


def report_customers(real: list[Ticket]) -> None:
    """Print how the tickets spread over the customers and over time."""
    times: dict[int, list[datetime]] = {}
    exports: dict[int, set[str]] = {}
    for t in sorted(real, key=lambda t: t.opened):
        times.setdefault(t.customer.number, []).append(t.opened)
        exports.setdefault(t.customer.number, set()).add(t.export)
    print(
        "customers",
        len(times),
        dict(Counter(t.customer.country for t in {t.customer.number: t for t in real}.values())),
    )
    print("tickets of a customer", dict(sorted(Counter(len(at) for at in times.values()).items())))
    later = [at - mine[0] for mine in times.values() for at in mine[1:]]
    print(f"later tickets within {CLOSE.days} days of the first: {sum(d <= CLOSE for d in later)} of {len(later)}")
    late = [mine for mine in times.values() if mine[-1] >= WINDOW]
    both = sum(mine[0] < WINDOW for mine in late)
    print(f"customers in the window {len(late)}, of them also before {both} ({both / len(late):.1%})")
    mixed = [n for n, names in exports.items() if len(names) > 1]
    longest = max((times[n][-1] - times[n][0]).days for n in mixed)
    print(f"customers in both exports {len(mixed)}, at most {longest} days from first to last ticket")


def report(tickets: list[Ticket]) -> None:
    """Print the counts and the duplicate check."""
    real = [t for t in tickets if t.topic]
    print("tickets", len(tickets), dict(sorted(Counter(t.export for t in tickets).items())))
    print("intents", {k: f"{n} ({n / len(real):.1%})" for k, n in Counter(t.intent for t in real).most_common()})
    print("months", dict(sorted(Counter(f"{t.opened:%Y-%m}" for t in tickets).items())))
    for label, side in (
        ("before 2026-08-15", [t for t in real if t.opened < WINDOW]),
        ("2026-08-15..10-31", [t for t in real if t.opened >= WINDOW]),
    ):
        print(label, len(side), dict(Counter(t.intent for t in side).most_common()))
    report_customers(real)
    print("messages per thread", dict(sorted(Counter(len(t.messages) for t in tickets).items())))
    words = sorted(len(t.first.split()) for t in real)
    print(
        f"first message words: mean {sum(words) / len(words):.1f}, "
        f"25-90: {sum(25 <= w <= 90 for w in words) / len(words):.1%}, {words[0]}..{words[-1]}"
    )
    own = [t for t in real if t.twin_of is None]
    sets = [shingles(t.first) for t in own]
    near = sum(jaccard(sets[i], sets[j]) >= 0.7 for i in range(len(own)) for j in range(i))
    print("near duplicates outside planted pairs", near, "| same first text", len(own) - len({t.first for t in own}))
    pairs = [jaccard(shingles(t.first), shingles(t.twin_of.first)) for t in real if t.twin_of]
    print("planted pairs", len(pairs), "exact", sum(p == 1 for p in pairs), f"lowest {min(pairs):.2f}")
    print("status", dict(Counter(t.status for t in tickets)), "csat", dict(Counter(t.csat for t in tickets)))
    print(
        "macro",
        sum(m.text == fr.MACRO_INFO for t in tickets for m in t.messages),
        "notes",
        sum(m.public is False for t in tickets for m in t.messages),
        "flag lost",
        sum(m.public is None for t in tickets for m in t.messages),
        "planted tickets",
        sum(bool(t.planted) for t in tickets),
    )


def generate() -> tuple[list[Ticket], list[Customer]]:
    """All tickets with their messages, in order of opening."""
    rng = random.Random(SEED)
    customers = make_customers(SEED)
    topics = load_topics(Path(__file__).parent / "content")
    tickets = base_tickets(topics, customers, rng)
    write_first_messages(tickets)
    tickets += add_twins(tickets, customers, rng) + spam_tickets(rng)
    give_ids(tickets)
    for t in tickets:
        build_thread(t)
    lose_flags(tickets, rng)
    return tickets, customers


def write_all(out: Path, tickets: list[Ticket], customers: list[Customer]) -> None:
    """Write both exports and the lists of planted values and duplicates."""
    exports = out / "exports"
    write_zendesk(
        exports / "zendesk",
        [t for t in tickets if t.export == "zendesk"],
        customers + [t.customer for t in tickets if t.topic is None and t.export == "zendesk"],
    )
    write_legacy(exports / "legacy", [t for t in tickets if t.export == "legacy"])
    dump(exports / "planted.json", planted_rows(tickets, customers))
    twins = [(t.twin_of.id, t.id, t.exact) for t in tickets if t.twin_of]
    dump(
        exports / "duplicates.json",
        {"near": [[a, b] for a, b, exact in twins if not exact], "exact": [[a, b] for a, b, exact in twins if exact]},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate the demo company's ticket exports.")
    parser.add_argument("--out", type=Path, required=True, help="the folder that gets exports/, normally recipes/demo")
    args = parser.parse_args()
    tickets, customers = generate()
    write_all(args.out, tickets, customers)
    report(tickets)


if __name__ == "__main__":
    main()
