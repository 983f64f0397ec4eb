"""Writing tickets in the two export formats."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from demo_people import AGENTS, BOT_NAME, ORGS, Customer
from demo_threads import Message, Ticket

INTENT_FIELD = 360011
PRODUCT_FIELD = 360012
BOT_ID = 9100
PAGE_SIZE = 100
COLUMNS_2025 = [
    "ticket_id",
    "subject",
    "topic",
    "opened_at",
    "sent_at",
    "author",
    "author_email",
    "author_role",
    "visibility",
    "body",
    "status",
]
COLUMNS_2026 = [
    "ticket_id",
    "status",
    "topic",
    "subject",
    "language",
    "product",
    "opened_at",
    "solved_at",
    "csat",
    "sent_at",
    "author_role",
    "author",
    "author_email",
    "body",
    "visibility",
]


def agent_id(name: str) -> int:
    return 9001 + [a for a, _ in AGENTS].index(name)


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def full_text(m: Message) -> str:
    return f"{m.text}\n\n{m.quote}" if m.quote else m.text


def to_html(m: Message) -> str:
    """Paragraphs, line breaks and a blockquote for the quoted part."""

    def paragraphs(text: str) -> str:
        return "".join(f"<p>{html.escape(p, quote=False).replace(chr(10), '<br>')}</p>" for p in text.split("\n\n"))

    quote = f'<blockquote class="gmail_quote">{paragraphs(m.quote)}</blockquote>' if m.quote else ""
    return paragraphs(m.text) + quote


def product_of(t: Ticket) -> str:
    """A rough product value, taken from the article the topic cites."""
    article = t.topic.article if t.topic else ""
    words = {
        "valve": "valve",
        "hub": "hub",
        "plus": "plus",
        "t2": "t2",
        "thermostat": "t2",
        "receiver": "t2",
        "boiler": "t2",
        "sense": "sense",
        "router": "hub",
        "wifi": "hub",
        "firmware": "hub",
        "sign": "app",
        "account": "app",
        "login": "app",
        "member": "app",
    }
    return next((p for word, p in words.items() if word in article), "")


def zendesk_author(m: Message, t: Ticket) -> int:
    if m.author == "customer":
        return 1000 + t.customer.number
    return BOT_ID if m.author in ("bot", "system") else agent_id(m.author)


def assignee(t: Ticket) -> str | None:
    names = [a for a, _ in AGENTS]
    return next((m.author for m in reversed(t.messages) if m.author in names), None)


def rating(t: Ticket) -> dict[str, Any]:
    if t.csat in ("good", "bad"):
        return {"id": 70000 + int(t.id) % 20000, "score": t.csat, "comment": t.csat_comment or None, "reason": None}
    return {"score": "offered" if t.status in ("solved", "closed") and "spam" not in t.tags else "unoffered"}


def zendesk_ticket(t: Ticket) -> dict[str, Any]:
    """One ticket object; the description equals the first comment."""
    name = assignee(t)
    tags = sorted(tag for tag in t.tags if ":" not in tag and tag not in ("side", "forwarded"))
    return {
        "url": f"https://hearthline.example/api/v2/tickets/{t.id}.json",
        "id": int(t.id),
        "external_id": None,
        "via": {"channel": "email" if int(t.id) % 3 else "web"},
        "created_at": stamp(t.opened),
        "updated_at": stamp(t.messages[-1].at + timedelta(hours=1)),
        "type": "question" if t.intent else None,
        "subject": t.subject,
        "raw_subject": t.subject,
        "description": full_text(t.messages[0]),
        "priority": "high" if t.customer.style == "angry" else "normal",
        "status": t.status,
        "recipient": "support@hearthline.example",
        "requester_id": 1000 + t.customer.number,
        "submitter_id": 1000 + t.customer.number,
        "assignee_id": agent_id(name) if name else None,
        "organization_id": 500 + t.customer.org if t.customer.org else None,
        "group_id": 71,
        "brand_id": 11,
        "problem_id": None,
        "is_public": True,
        "from_messaging_channel": False,
        "tags": [*tags, t.customer.country],
        "custom_fields": [
            {"id": INTENT_FIELD, "value": t.intent or None},
            {"id": PRODUCT_FIELD, "value": product_of(t) or None},
        ],
        "satisfaction_rating": rating(t),
    }


def zendesk_comment(m: Message, t: Ticket, number: int) -> dict[str, Any]:
    """One line of comments.ndjson."""
    text = full_text(m)
    channel = "email" if m.author == "customer" else ("rule" if m.author in ("bot", "system") else "web")
    photo = "hoto" in m.text and m.author == "customer" and "attached" in m.text
    comment: dict[str, Any] = {
        "id": number,
        "type": "Comment",
        "ticket_id": int(t.id),
        "author_id": zendesk_author(m, t),
        "public": m.public,
        "plain_body": text,
        "html_body": f'<div class="zd-comment" dir="auto">{to_html(m)}</div>',
        "created_at": stamp(m.at),
        "via": {"channel": channel},
        "attachments": [{"id": number + 5, "file_name": "IMG_2041.jpg", "content_type": "image/jpeg", "size": 184320}]
        if photo
        else [],
        "audit_id": number + 100000,
        "metadata": {"system": {}, "custom": {}},
    }
    if m.public is None and not m.keep_flag:
        del comment["public"]
    return comment


def users_json(customers: Sequence[Customer]) -> dict[str, Any]:
    """The users stream: end users, agents, an admin and the bot."""
    users: list[dict[str, Any]] = []
    for c in customers:
        users.append(
            {
                "id": 1000 + c.number,
                "name": c.name,
                "email": c.email,
                "phone": c.phone,
                "role": "end-user",
                "user_type": "human",
                "organization_id": 500 + c.org if c.org else None,
                "locale": "de" if c.country == "de" else "en-GB",
                "suspended": c.number == 33,
                "active": True,
                "notes": "",
            }
        )
    for name, role in AGENTS:
        users.append(
            {
                "id": agent_id(name),
                "name": name,
                "email": name.lower().replace(" ", ".") + "@hearthline.example",
                "phone": None,
                "role": role,
                "user_type": "human",
                "organization_id": None,
                "locale": "en-GB",
                "suspended": False,
                "active": True,
                "notes": "",
            }
        )
    users.append(
        {
            "id": BOT_ID,
            "name": BOT_NAME,
            "email": "assistant@hearthline.example",
            "phone": None,
            "role": "agent",
            "user_type": "bot",
            "organization_id": None,
            "locale": "en-GB",
            "suspended": False,
            "active": True,
            "notes": "",
        }
    )
    return {"users": users, "count": len(users), "next_page": None}


def dump(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write_zendesk(folder: Path, tickets: list[Ticket], customers: Sequence[Customer]) -> None:
    """Write ticket pages, the comment stream, users and organisations."""
    folder.mkdir(parents=True, exist_ok=True)
    pages = [tickets[i : i + PAGE_SIZE] for i in range(0, len(tickets), PAGE_SIZE)]
    for number, page in enumerate(pages, start=1):
        last = number == len(pages)
        cursor = f"MTc2{number:04d}LjB8fA=="
        dump(
            folder / f"tickets-{number:04d}.json",
            {
                "tickets": [zendesk_ticket(t) for t in page],
                "after_cursor": cursor,
                "after_url": None
                if last
                else f"https://hearthline.example/api/v2/incremental/tickets/cursor.json?cursor={cursor}",
                "before_cursor": None,
                "end_of_stream": last,
            },
        )
    rows = sorted(((m.at, t.id, i, m, t) for t in tickets for i, m in enumerate(t.messages)), key=lambda r: r[:3])
    lines = [json.dumps(zendesk_comment(r[3], r[4], 880000 + n * 3), ensure_ascii=False) for n, r in enumerate(rows)]
    (folder / "comments.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")
    dump(folder / "users.json", users_json(customers))
    orgs = [{"id": 501 + i, "name": name, "domain_names": [f"org{i + 1:02d}.example"]} for i, name in enumerate(ORGS)]
    dump(folder / "organizations.json", {"organizations": orgs})


def csv_row(t: Ticket, m: Message, new: bool) -> dict[str, str]:
    """One message row with every column of both files."""
    fmt = "%Y-%m-%dT%H:%M:%SZ" if new else "%Y-%m-%d %H:%M:%S"
    role = m.author if m.author in ("customer", "bot", "system") else "agent"
    author = {"customer": t.customer.name, "bot": BOT_NAME, "system": "System"}.get(role, m.author)
    mail = {"customer": t.customer.email, "bot": "assistant@hearthline.example", "system": ""}.get(
        role, m.author.lower().replace(" ", ".") + "@hearthline.example"
    )
    done = t.status in ("solved", "closed")
    return {
        "ticket_id": t.id,
        "subject": t.subject,
        "topic": t.intent,
        "opened_at": t.opened.strftime(fmt),
        "sent_at": m.at.strftime(fmt),
        "author": author,
        "author_email": mail,
        "author_role": role,
        "visibility": "" if m.public is None else ("public" if m.public else "internal"),
        "body": to_html(m),
        "status": t.status,
        "solved_at": t.messages[-1].at.strftime(fmt) if done else "",
        "csat": t.csat,
        "language": t.language,
        "product": product_of(t),
    }


def write_legacy(folder: Path, tickets: list[Ticket]) -> None:
    """Write the two CSV files; the second has other columns in another order."""
    folder.mkdir(parents=True, exist_ok=True)
    for year, columns in ((2025, COLUMNS_2025), (2026, COLUMNS_2026)):
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\r\n")
        writer.writeheader()
        for t in tickets:
            if t.opened.year == year:
                writer.writerows(csv_row(t, m, year == 2026) for m in t.messages)
        (folder / f"messages-{year}.csv").write_text(buffer.getvalue(), encoding="utf-8", newline="")
