"""Building whole tickets: first message, replies, notes, automatic mail, planted data."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import demo_fragments as fr
from demo_compose import Topic, add_typos, fill, spin
from demo_people import AGENTS, BOT_NAME, ORGS, Customer, mailbox

POLICY_CHANGE = datetime(2026, 10, 1, tzinfo=UTC)
FIRMWARE_342 = datetime(2026, 8, 24, tzinfo=UTC)
ROOMS = [
    "living room",
    "kitchen",
    "bathroom",
    "bedroom",
    "nursery",
    "study",
    "guest room",
    "hall",
    "dining room",
    "loft room",
]
BOILERS = [
    "Vellmann Eco 24",
    "Brightwater Combi 30",
    "Kessler GB-12",
    "Norvent System 18",
    "old Tarn oil boiler",
    "Ostrava 28c",
]
PHONES = ["an older iPhone", "Android 13 phone", "Android 12, cheap tablet", "iPhone, iOS 17", "a two-year-old Android"]
ROUTERS = ["Fritz-style", "Netcove", "Lumalink mesh", "provider's standard", "Orbita X3"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
DEVICE_INTENTS = ("setup_pairing", "faulty_device", "installation_wiring", "heating_schedule")


@dataclass
class Message:
    """One message; ``author`` is customer, bot, system or an agent's name."""

    author: str
    text: str
    at: datetime
    public: bool | None = True
    quote: str = ""
    keep_flag: bool = True


@dataclass
class Ticket:
    """One ticket before it is written in an export format."""

    intent: str
    topic: Topic | None
    opening: int
    customer: Customer
    opened: datetime
    key: str
    export: str = "zendesk"
    id: str = ""
    subject: str = ""
    status: str = "closed"
    csat: str = ""
    csat_comment: str = ""
    language: str = "en"
    first: str = ""
    tags: list[str] = field(default_factory=list)
    slots: dict[str, str] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    planted: list[tuple[str, str]] = field(default_factory=list)
    planted_texts: list[str] = field(default_factory=list)
    twin_of: Ticket | None = None
    exact: bool = False


def make_slots(customer: Customer, opened: datetime, rng: random.Random) -> dict[str, str]:
    """Values for the slots of one ticket."""
    uk = customer.country == "uk"
    rooms = rng.sample(ROOMS, 2)
    slots = {
        "order": f"HL-{rng.randint(180000, 289999)}",
        "room": rooms[0],
        "room2": rooms[1],
        "serial": f"HS{rng.randint(10000000, 99999999)}",
        "track": f"PW{rng.randint(10**9, 10**10 - 1)}",
        "rt": f"RT-{rng.randint(30000, 69999)}",
        "days": str(rng.randint(3, 9)),
        "weekday": rng.choice(DAYS),
        "hour": rng.choice(["6:00", "6:30", "half past six", "7:00", "7:15", "5:45"]),
        "temp": rng.choice(["19", "20", "20.5", "21", "22"]),
        "phonem": rng.choice(PHONES),
        "router": rng.choice(ROUTERS),
        "boiler": rng.choice(BOILERS),
        "appver": rng.choice(["4.9", "5.0", "5.1"]),
        "fw_old": "3.4.1" if opened >= FIRMWARE_342 - timedelta(days=40) else rng.choice(["3.2.0", "3.3.1", "3.4.0"]),
        "last_month": MONTHS[(opened.month - 2) % 12],
        "p_hub": "£79" if uk else "€89",
        "p_valve": "£49" if uk else "€55",
        "plus_m": "£3.99" if uk else "€4.49",
        "plus_y": "£39" if uk else "€44",
        "label": "£4.80" if uk else "€5.90",
        "ship_days": "3 to 5 working days" if uk else "5 to 7 working days",
        "ship_cost": "£3.95, free from £60" if uk else "€5.95, free from €75",
        "express": "For new orders there is express at £7.95: it comes on the next working day if you order before 14:00."
        if uk
        else "I am sorry, express is only available in the United Kingdom. To you it takes 5 to 7 working days.",
    }
    if customer.country == "de":
        slots["hour"] = rng.choice(["6:00", "6:30", "7:00"])
    return slots


def first_message(t: Ticket, rng: random.Random) -> str:
    """Compose the opening text, with typos for some people and planted values for the marked tickets."""
    assert t.topic is not None
    style = "de" if t.language == "de" else t.customer.style
    core = fill(t.topic.lines["Q"][t.opening], t.slots, rng)
    if t.customer.style == "typo" and style != "de":
        core = add_typos(core, rng, rng.randint(1, 3))
    lead = spin(rng.choice(fr.LEADS[style]), rng)
    tail = spin(rng.choice(fr.TAILS[style]), rng)
    if style in ("plain", "chatty") and t.topic and "amb" not in t.topic.flags and "side" in t.tags:
        tail = rng.choice(fr.SIDE_QUESTIONS)[0]
    greeting = rng.choice(fr.GREETINGS[style])
    if style == "de" and not lead.endswith(":") and not greeting:
        core = core[0].upper() + core[1:]
    closing = rng.choice(fr.CLOSINGS[style]).format(first=t.customer.first, name=t.customer.name)
    if t.customer.org and style != "de":
        closing = signature(t, rng)
    plant(t, rng)
    extra = " ".join(t.planted_texts)
    body = " ".join(p for p in (lead, core, extra, tail) if p)
    if "forwarded" in t.tags:
        closing += forwarded(t)
    return "\n\n".join(p for p in (greeting, body, closing) if p)


def signature(t: Ticket, rng: random.Random) -> str:
    """A business signature, sometimes with a disclaimer."""
    org = ORGS[(t.customer.org or 1) - 1]
    text = (
        f"Kind regards\n{t.customer.name}\n\n-- \n{t.customer.name}\n{org}\nTel. {t.customer.phone}\n{t.customer.email}"
    )
    return text + (f"\n\n{fr.DISCLAIMER}" if rng.random() < 0.3 else "")


def forwarded(t: Ticket) -> str:
    """A forwarded order confirmation below the text."""
    date = t.opened - timedelta(days=9)
    return (
        f"\n\n---------- Forwarded message ---------\nFrom: Hearthline Orders <orders@hearthline.example>\n"
        f"Date: {date:%a, %d %b %Y at %H:%M}\nSubject: Your order {t.slots['order']}\nTo: <{t.customer.email}>\n\n"
        f"Thank you for your order {t.slots['order']}. We tell you when it leaves our warehouse."
    )


def plant(t: Ticket, rng: random.Random) -> None:
    """Choose the planted values of a ticket and the sentences that carry them."""
    t.planted, t.planted_texts = [], []
    for kind in [tag.split(":")[1] for tag in t.tags if tag.startswith("plant:")]:
        value = planted_value(kind, t, rng)
        pool = fr.PLANTS.get(f"{kind}_{t.language}") or fr.PLANTS[kind]
        t.planted_texts.append(spin(rng.choice(pool), rng).format(v=value))
        t.planted.append((kind, value))


def planted_value(kind: str, t: Ticket, rng: random.Random) -> str:
    """A value of this kind that belongs to nobody."""

    def hexa(n: int) -> str:
        return "".join(rng.choice("0123456789abcdef") for _ in range(n))

    def alnum(n: int) -> str:
        return "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789") for _ in range(n))

    if kind == "phone":
        return rng.choice([t.customer.phone, f"+1 555 01{rng.randint(10, 99)}", f"01632 960{rng.randint(100, 999)}"])
    if kind == "email":
        return f"{mailbox(t.customer.first)}{rng.randint(60, 99)}@{rng.choice(['example.org', 'example.com'])}"
    if kind == "ip":
        return rng.choice(
            [f"203.0.113.{rng.randint(2, 250)}", f"198.51.100.{rng.randint(2, 250)}", f"192.0.2.{rng.randint(2, 250)}"]
        )
    if kind == "mac":
        return ":".join(["02"] + [hexa(2).upper() for _ in range(5)])
    if kind == "api_key":
        return rng.choice(
            [f"sk-demo-{alnum(32)}", f"ghp_{alnum(36)}", f"AKIA{hexa(9).upper()}EXAMPLE", f"hl_live_{hexa(24)}"]
        )
    fixed = {
        "address": [t.customer.address],
        "person": fr.THIRD_PARTIES,
        "card": fr.CARDS,
        "iban": fr.IBANS[t.customer.country],
        "wifi_password": fr.WIFI_PASSWORDS,
        "password": fr.PASSWORDS,
    }
    return rng.choice(fixed[kind])


class ThreadBuilder:
    """Builds the messages of one ticket step by step."""

    def __init__(self, ticket: Ticket, rng: random.Random) -> None:
        self.t = ticket
        self.rng = rng
        self.agent = rng.choice(AGENTS)[0]
        self.now = ticket.opened
        self.hello = rng.choice(["Hi {}", "Hello {}", "Dear {}"])

    def say(self, author: str, text: str, hours: float, public: bool | None = True, quote: bool = False) -> None:
        """Append a message ``hours`` later; people write in the daytime."""
        if self.t.messages:
            self.now += timedelta(
                minutes=max(1, int(hours * 60 * self.rng.uniform(0.5, 1.5))), seconds=self.rng.randint(0, 59)
            )
            if author in [a for a, _ in AGENTS] and not 8 <= self.now.hour < 18:
                day = self.now + timedelta(days=1 if self.now.hour >= 18 else 0)
                self.now = day.replace(hour=8 + self.rng.randint(0, 2), minute=self.rng.randint(0, 59))
        below = self.quote_last() if quote else ""
        self.t.messages.append(Message(author, text, self.now, public, below))

    def quote_last(self) -> str:
        """The previous public message as a quoted block in one of three styles."""
        last = [m for m in self.t.messages if m.public and m.author != "system"][-1]
        c = self.t.customer
        name = c.name if last.author == "customer" else (BOT_NAME if last.author == "bot" else last.author)
        mail = c.email if last.author == "customer" else "support@hearthline.example"
        style = self.rng.choice(["gmail", "outlook", "zendesk"])
        if style == "outlook":
            return f"From: {name} <{mail}>\nSent: {last.at:%d %B %Y %H:%M}\nTo: {c.email}\nSubject: RE: {self.t.subject}\n\n{last.text}"
        lines = "\n".join(f"> {line}" for line in last.text.split("\n"))
        if style == "zendesk":
            return f"##- Please type your reply above this line -##\n\nYour request ({self.t.id}) has been updated.\n\n{lines}"
        if self.t.language == "de":
            return f"Am {last.at:%d.%m.%Y} um {last.at:%H:%M} schrieb {name} <{mail}>:\n{lines}"
        return f"On {last.at:%a}, {last.at.day} {last.at:%b %Y} at {last.at:%H:%M}, {name} <{mail}> wrote:\n{lines}"

    def agent_text(self, body: str, opener: bool = True, link: bool = True) -> str:
        """Greeting, body, link and closing of a reply by the agent."""
        t, rng = self.t, self.rng
        close = rng.choice(fr.AGENT_CLOSINGS).format(first=self.agent.split()[0])
        url = f"https://help.hearthline.example/articles/{t.topic.article}" if t.topic else ""
        if t.language == "de":
            tail = rng.choice(fr.LINKS_DE).format(url=url) if link else ""
            parts = [
                f"Guten Tag {t.customer.name},",
                " ".join(p for p in (body, tail) if p),
                f"Freundliche Grüße\n{self.agent.split()[0]}",
            ]
            return "\n\n".join(parts)
        start = ""
        if opener:
            start = rng.choice(fr.AGENT_OPENERS_ANGRY if t.customer.style == "angry" else fr.AGENT_OPENERS)
            if any(w in body for w in ("sorry", "Sorry", "apologise", "annoying", "afraid not")):
                start = ""
        tail = rng.choice(fr.LINKS).format(url=url) if link else ""
        hello = self.hello.format(t.customer.name if t.customer.style == "formal" else t.customer.first)
        return "\n\n".join(p for p in (f"{hello},", " ".join(p for p in (start, body, tail) if p), close) if p)

    def answer_body(self) -> str:
        """The answer for this opening, under the policy of the day."""
        topic = self.t.topic
        assert topic is not None
        key = "A" if not topic.lines.get("AO") else ("AN" if self.now >= POLICY_CHANGE else "AO")
        line = topic.pick(key, self.t.opening, self.rng)
        assert line is not None
        body = fill(line, self.t.slots, self.rng)
        for question, answer in fr.SIDE_QUESTIONS:
            if question in self.t.first:
                body += " " + answer
        return body

    def step(self, code: str) -> None:
        """Carry out one letter of a thread pattern."""
        t, rng = self.t, self.rng
        de = t.language == "de"
        gap = rng.choice([2, 4, 7, 14, 20])
        if code == "Q":
            self.say("customer", t.first, 0)
        elif code == "B":
            pool = fr.BOT_GREETING_DE if de else fr.BOT_GREETING
            self.say("bot", rng.choice(pool).format(id=t.id, cust=t.customer.first), 0.03)
        elif code == "A":
            self.now += timedelta(hours=gap)
            self.say(self.agent, self.agent_text(self.answer_body()), 0.1)
        elif code == "H":
            self.say(
                self.agent,
                self.agent_text(spin(rng.choice(fr.HOLDING_DE if de else fr.HOLDING), rng), opener=False, link=False),
                gap / 3,
            )
        elif code == "M":
            self.say(self.agent, fr.MACRO_INFO, gap / 3)
        elif code == "I":
            self.say("customer", fill(rng.choice(fr.INFO_ANSWERS), t.slots, rng), gap, quote=rng.random() < 0.3)
        elif code == "N":
            pool_n = [text for intent, text in fr.NOTES if intent in ("", t.intent)]
            self.say(self.agent, rng.choice(pool_n), 1, public=False)
        elif code == "W":
            self.say("system", rng.choice(fr.WORKFLOW_NOTES), 0.05, public=False)
        elif code in "FR":
            line = t.topic.pick(code, t.opening, rng) if t.topic else None
            assert line is not None
            text = fill(line, t.slots, rng)
            if code == "F":
                self.say("customer", text, gap * 2, quote=rng.random() < 0.45)
            else:
                self.say(self.agent, self.agent_text(text, opener=False, link=False), gap / 2)
        else:
            self.rare_step(code, gap)

    def rare_step(self, code: str, gap: float) -> None:
        """Thanks, complaints, automatic replies and the like."""
        t, rng = self.t, self.rng
        de = t.language == "de"
        if code == "T":
            worked = (
                t.intent in DEVICE_INTENTS
                and len(t.messages) < 4
                and t.topic is not None
                and t.topic.slug not in fr.NO_CURE
            )
            pool = fr.THANKS_DE if de else (fr.THANKS if worked else fr.THANKS[1:])
            text = fill(rng.choice(pool), {"agent": self.agent.split()[0]}, rng)
            self.say("customer", text, gap, quote=rng.random() < 0.35)
        elif code == "Y":
            self.say(
                self.agent,
                rng.choice(fr.THANKS_REPLY_DE if de else fr.THANKS_REPLY).format(cust=t.customer.first),
                gap / 3,
            )
        elif code == "O":
            back = (self.now + timedelta(days=rng.randint(4, 12))).strftime("%d.%m.%Y" if de else "%d %B")
            self.say("customer", rng.choice(fr.OUT_OF_OFFICE_DE if de else fr.OUT_OF_OFFICE).format(day=back), 0.02)
        elif code == "U":
            self.say("customer", rng.choice(fr.NUDGE), 40)
        elif code == "V":
            self.say(
                "customer",
                spin(rng.choice(fr.NOT_HELPED if t.intent in DEVICE_INTENTS else fr.NOT_SOLVED), rng),
                30,
                quote=rng.random() < 0.4,
            )
        elif code == "S":
            self.say(self.agent, self.agent_text(rng.choice(fr.SECOND_LEVEL), opener=False, link=False), gap / 2)
        elif code == "X":
            self.say("customer", spin(rng.choice(fr.UNHAPPY), rng), gap)
        elif code == "Z":
            self.say(self.agent, self.agent_text(rng.choice(fr.UNHAPPY_REPLY), opener=False, link=False), gap / 2)
        elif code == "C":
            self.say(self.agent, fr.MACRO_CLOSE, 125)
