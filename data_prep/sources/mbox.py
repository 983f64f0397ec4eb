"""Mail archives: `.mbox` files and folders of `.eml` files as threads.

Roles come from addresses: what `support_domains` names is an agent, everybody else a customer, a mailer daemon a bot; a
sender that the receiving server found forged is system. A contact form that writes in a customer's name is the customer.
Fails closed: an agent's mail is public only if somebody outside gets it, a customer's only if support does.

Mail has no state, so "solved" is a guess and an option can turn it off: `last_reply` takes a thread for solved when its
last public mail that a person wrote is an agent's, or a short thank-you after one. A customer who gave up looks solved;
who needs better labels uses a help desk's export.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.message import Message as Part
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from data_prep.clean import clean
from data_prep.records import Dropped, Message, Origin, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import Peek, files, moment, relative
from data_prep.sources._mail import (
    ADDRESS,
    HEADER,
    SEPARATOR,
    addresses,
    head_of,
    ids,
    is_cut,
    parse,
    split_mails,
    time_of,
    value_of,
    words,
)
from data_prep.sources._mail_parts import content_of
from data_prep.sources._mail_threads import Link, threads_of
from data_prep.sources._threads import Stored, ThreadStore

KIND: Literal["ticket"] = "ticket"
SUFFIXES = (".mbox", ".eml")
MAIL = re.compile(rb"(?im)^(?:from|sender|to|date|subject|message-id|received|return-path|delivered-to):")
ROBOT = re.compile(r"(?:(?:no|do[._-]?not)[._-]?reply|mailer-daemon|postmaster|bounces?)(?:[\d+._-][^@]*)?@.*")
FORM = re.compile(
    r"(?:(?:no|do[._-]?not)[._-]?reply|wordpress|www(?:-data)?|web(?:site|-?form)?|form(?:s|ular)?|contact|kontakt)@.*"
)
REPLY = re.compile(
    r"(?i)^(?:\s*(?:re|aw|antw|sv|vs|ref|rif|odp|fwd?|wg|tr|rv|enc|回复|答复|转发)\s*(?:\[\d{1,3}\])?\s*[:：]|\s*\[ext(?:ern(?:al)?)?\])+"
)
THANKS = re.compile(
    r"(?i)\b(?:thank(?:s| you)|thx|cheers|danke|merci|gracias|grazie|obrigad[oa]|bedankt|dank je|tack)\b"
)
STILL = re.compile(
    r"(?i)\?|\b(?:but|however|still|unfortunately|not|aber|leider|noch|nicht|mais|encore|pas|pero|todavía|ma|però|non|no)\b"
)
AUTOMATIC = ("Auto-Submitted", "X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Failed-Recipients")
FREE_MAIL = (
    "gmail.com googlemail.com outlook.com hotmail.com live.com msn.com yahoo.com icloud.com me.com aol.com gmx.de gmx.net"
    " web.de t-online.de proton.me protonmail.com mail.com zoho.com yandex.ru mail.ru qq.com 163.com"
).split()
MANY = 10  # recipients outside; an agent's mail to more is a mass mailing
LONGEST_THANKS = 200  # characters


def recognise(peek: Peek) -> dict[str, Any] | None:
    """Mail by its first line. Proposes as support the domain (of free mail: the address) that most mails are to or from."""
    first = peek.head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    is_mail = SEPARATOR.match(first) or (peek.suffix in SUFFIXES and HEADER.match(first))
    if not is_mail or not MAIL.search(head_of(first)):
        return None
    proposed = _usual(data for _, data in split_mails(BytesIO(first), cut=peek.suffix == ".mbox"))
    return {"support_domains": [proposed]} if proposed else {}


def merged(options: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """One set of options for several files: the support domain that most of them propose."""
    proposed = Counter(str(domain) for _, given in options for domain in given.get("support_domains", ()))
    return {"support_domains": [max(sorted(proposed), key=proposed.__getitem__)]} if proposed else {}


def read(
    path: Path,
    tally: Tally,
    *,
    support_domains: tuple[str, ...] = (),
    solved: Literal["last_reply", "never"] = "last_reply",
) -> Iterator[Record]:
    """Threads of the mails under `path`.

    support_domains: whose mails are agents' mails, as domains (their subdomains too) or whole addresses; needed. solved:
    "last_reply" guesses it from who wrote last, "never" takes no thread for solved.
    """
    support = _support(path, support_domains)
    links = [_link(_envelope(data, support)) for _, data in _mails(path, Tally(max_bad_records=tally.max_bad_records))]
    with ThreadStore(tally) as store:
        for (where, data), thread in zip(_mails(path, tally), threads_of(links), strict=True):
            _store(data, thread, where, support, store, tally)
        if store.is_empty():
            raise SourceError(
                f"{path}: holds no mail. Point the source at the .mbox files or the folder of .eml files."
            )
        for id, _, mails in store.threads():
            record = _record(id, mails, solved == "last_reply", tally)
            if record is not None:
                yield record


def _support(path: Path, given: tuple[str, ...]) -> frozenset[str]:
    support = frozenset(s.strip().casefold().removeprefix("@") for s in given) - {""}
    if not support:
        usual = _usual(data for _, data in islice(_mails(path, Tally()), 1000))
        raise SourceError(
            f"{path}: whose mails are the agents' is not in a mail archive. Set `support_domains` in this source's options"
            f" to your domains or addresses" + (f", for instance [{usual}]." if usual else ".")
        )
    everybody = sorted(support & set(FREE_MAIL))
    if everybody:
        raise SourceError(
            f"{path}: `support_domains` names {everybody[0]}, so every customer with an address there would be an agent."
            f" Name your own addresses instead, for instance [support@{everybody[0]}]."
        )
    return support


def _usual(mails: Iterable[bytes]) -> str | None:
    """The domain, or the address at a free mail service, that most mails are to, or else from."""
    met: Counter[str] = Counter()
    for data in mails:
        headers = parse(head_of(data))
        for weight, names in ((2, ("To", "Delivered-To")), (1, ("From", "Cc"))):
            domains = {(a.rpartition("@")[2], a) for a, _ in addresses(headers, *names)}
            met.update({a if d in FREE_MAIL else d: weight for d, a in domains})
    return max(sorted(met), key=met.__getitem__) if met else None


def _ours(address: str, support: frozenset[str]) -> bool:
    local, _, domain = address.rpartition("@")
    parents = domain.split(".")
    return (
        address in support
        or f"{local.partition('+')[0]}@{domain}" in support
        or any(".".join(parents[n:]) in support for n in range(len(parents)))
    )


def _mails(path: Path, tally: Tally) -> Iterator[tuple[Pointer, bytes]]:
    """Every mail with its place. What has no mail's header is counted as broken; a file that is no mail at all is an error."""
    for file in _files(path):
        is_archive = file.suffix.lower() in (".mbox", "")
        with file.open("rb") as f:
            for line, data in split_mails(f, cut=is_archive):
                where = Pointer(relative(file, path), f"line {line}")
                if MAIL.search(head_of(data)):
                    yield where, data
                elif line == 1 and is_archive:
                    raise SourceError(
                        f"{file}: starts with {data[:40]!r}, so it is no mail archive. Is it another export?"
                    )
                else:
                    tally.broken(where, f"has no mail header; it starts with {data[:40]!r}")


def _files(path: Path) -> list[Path]:
    """Archives and mails, and files without a suffix that begin like an archive: mail programs call theirs `Inbox`."""
    if path.is_dir() and any(p.suffix == "" and _is_archive(p) for p in path.rglob("*")):
        return [p for p in files(path, *SUFFIXES, "") if p.suffix or _is_archive(p)]
    return files(path, *SUFFIXES)


def _is_archive(file: Path) -> bool:
    if not file.is_file():
        return False
    first = Peek.of(file).head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    return SEPARATOR.match(first) is not None and MAIL.search(head_of(first)) is not None


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What a mail's header says."""

    id: str
    refs: tuple[str, ...]
    sent: datetime | None
    subject: str
    author: str
    role: Role
    public: bool
    origin: Origin
    people: tuple[tuple[str, str], ...]  # address, name
    outsiders: tuple[str, ...]  # addresses that are neither support's nor robots'
    is_mass: bool
    mailbox: str
    labels: tuple[str, ...]
    is_cut: bool  # a header is longer than what is read of it


def _envelope(data: bytes, support: frozenset[str]) -> _Envelope:
    headers = parse(head_of(data))
    people = addresses(headers, "From", "Sender", "To", "Cc", "Bcc", "Reply-To", "X-Original-From")
    reached = [a for a, _ in addresses(headers, "To", "Cc", "Bcc")]
    via = [a for a, _ in addresses(headers, "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To")]
    author = _author(headers, reached, support)
    role = _role(author, headers, support)
    gone_out = [a for a in reached if not _ours(a, support)]
    mailboxes = [a for a in (*reached, *via) if _ours(a, support)]
    is_list = _is_list(headers, role, support)
    labels = words(value_of(headers, "X-Gmail-Labels")).split(",")
    return _Envelope(
        id=next(iter(ids(headers, "Message-ID")), "") or f"sha256-{hashlib.sha256(data).hexdigest()[:32]}",
        refs=tuple(dict.fromkeys([*ids(headers, "References"), *ids(headers, "In-Reply-To"), *_gmail_thread(headers)])),
        sent=time_of(headers),
        subject=" ".join(words(value_of(headers, "Subject")).split()),
        author=author,
        role=role,
        public={"agent": bool(gone_out), "customer": bool(mailboxes)}.get(role, False),
        origin="automatic" if is_list or _is_automatic(headers, author) else "person",
        people=tuple(dict.fromkeys(people)),
        outsiders=tuple(dict.fromkeys(a for a, _ in people if not _ours(a, support) and not ROBOT.fullmatch(a))),
        is_mass=is_list or (role == "agent" and (not reached or len(gone_out) > MANY)),
        mailbox=mailboxes[0] if mailboxes and role == "customer" else "",
        labels=tuple(x.strip() for x in labels if x.strip()),
        is_cut=is_cut(headers),
    )


def _author(headers: Part, reached: list[str], support: frozenset[str]) -> str:
    """The sender's address; where our own contact form or list writes in somebody's name, that somebody's."""
    sender = next((a for a, _ in addresses(headers, "From", "Sender")), "")
    if not sender or not _ours(sender, support) or not reached or not all(_ours(a, support) for a in reached):
        return sender
    original = next((a for a, _ in addresses(headers, "X-Original-From") if not _ours(a, support)), "")
    reply = next((a for a, _ in addresses(headers, "Reply-To") if not _ours(a, support)), "")
    is_form = sender in reached or FORM.fullmatch(sender) is not None
    return original or (reply if is_form else "") or sender


def _role(author: str, headers: Part, support: frozenset[str]) -> Role:
    if not author:
        return "system"
    if author.partition("@")[0] in ("mailer-daemon", "postmaster"):
        return "bot"
    if not _ours(author, support):
        return "customer"
    forged = any("dmarc=fail" in v.casefold() for v in headers.get_all("Authentication-Results", []))
    return "system" if forged else "agent"


def _is_automatic(headers: Part, author: str) -> bool:
    """X-Auto-Response-Suppress says nothing: Exchange sets it on people's mails."""
    said = [value_of(headers, name).split(";")[0].strip().casefold() for name in AUTOMATIC]
    return (
        any(value not in ("", "no", "false", "0") for value in said)
        or value_of(headers, "Precedence").strip().casefold() == "auto_reply"
        or headers.get_content_type() == "multipart/report"
        or value_of(headers, "Return-Path").strip() == "<>"
        or ROBOT.fullmatch(author) is not None
    )


def _is_list(headers: Part, role: Role, support: frozenset[str]) -> bool:
    """A newsletter or mass mailing. What people write to a support address that is itself a list is none, nor a reply there."""
    bulk = (
        value_of(headers, "Precedence").strip().casefold() in ("bulk", "junk", "list") or "List-Unsubscribe" in headers
    )
    spoken = role == "customer" or bool(ids(headers, "In-Reply-To"))
    return bulk and not (spoken and _is_own_list(headers, support))


def _is_own_list(headers: Part, support: frozenset[str]) -> bool:
    named = re.findall(r"<([\w.-]{1,200})>", value_of(headers, "List-Id"))
    posted = ADDRESS.findall(value_of(headers, "List-Post").replace("mailto:", " "))
    return any(_ours(a, support) for a in (*posted, *(n.replace(".", "@", 1) for n in named)))


def _gmail_thread(headers: Part) -> list[str]:
    thread = value_of(headers, "X-GM-THRID").strip()
    return [f"X-GM-THRID:{thread}"] if thread.isdigit() else []


def _link(e: _Envelope) -> Link:
    subject = REPLY.sub("", e.subject).strip().casefold()[:200]
    return Link(e.id, e.refs, e.sent.timestamp() if e.sent else None, subject, e.outsiders, e.is_mass)


def _store(data: bytes, thread: str, where: Pointer, support: frozenset[str], store: ThreadStore, tally: Tally) -> None:
    e = _envelope(data, support)
    try:
        content = content_of(data)
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RecursionError,
    ) as error:  # the library's, on hostile mails
        tally.broken(where, f"cannot be taken apart: {type(error).__name__} {error}")
        return
    counted = {
        "attachments without a name": content.unnamed, "mails with broken MIME": int(content.is_damaged),
        "mails with a header cut short": int(e.is_cut),
        "customers' mails to none of the support addresses": int(e.role == "customer" and not e.public),
    }  # fmt: skip
    for what, number in counted.items():
        if number:
            tally.seen(what, number)
    sent = e.sent.isoformat() if e.sent else None
    store.add_opening(thread, {}, where)
    store.add_message(thread, e.id, sent, {
        "author": e.author, "role": e.role, "public": e.public, "origin": e.origin, "sent": sent, "subject": e.subject,
        "people": e.people, "outsiders": e.outsiders, "mailbox": e.mailbox, "labels": e.labels, "text": content.text,
        "html": content.is_html, "attachments": content.attachments, "sealed": content.is_sealed,
    }, where)  # fmt: skip


def _record(id: str, mails: list[Stored], guess_solved: bool, tally: Tally) -> Record | None:
    kept = []
    for told, where in mails:
        if told["sealed"]:
            tally.drop(Dropped("encrypted_message", where, id))
        else:
            kept.append((told, where))
    if not kept:
        tally.drop(Dropped("ticket_without_messages", mails[0][1], id))
        return None
    messages = tuple(_message(told, where, tally) for told, where in kept)
    customers = [m.author for m in messages if m.role == "customer"] + [
        o for told, _ in mails for o in told["outsiders"]
    ]
    labels = sorted({label for told, _ in mails for label in told["labels"]})
    fields = {"mailbox": next((t["mailbox"] for t, _ in mails if t["mailbox"]), ""), "tags": ",".join(labels)}
    return Record(
        id=id,
        kind="ticket",
        group=customers[0] if customers else f"unknown-{id}",
        created=min((m.created for m in messages if m.created), default=None),
        title=REPLY.sub("", mails[0][0]["subject"]).strip(),
        messages=messages,
        pointer=kept[0][1],
        fields={k: v for k, v in fields.items() if v},
        solved=guess_solved and len(kept) == len(mails) and _looks_solved(messages),
        people=tuple(_people(mails)),
    )


def _message(told: dict[str, Any], where: Pointer, tally: Tally) -> Message:
    if told["sent"] is None:
        tally.seen("messages without a readable time")
    return Message(
        author=told["author"],
        role=told["role"],
        public=told["public"],
        created=moment(told["sent"]),
        text=told["text"],
        html=told["html"],
        origin=told["origin"],
        attachments=tuple(told["attachments"]),
        pointer=where,
    )


def _looks_solved(messages: tuple[Message, ...]) -> bool:
    said = [m for m in messages if m.public and m.origin == "person"]
    if not said or {"customer", "agent"} - {m.role for m in said}:
        return False
    return said[-1].role == "agent" or _is_thanks(said[-1])


def _is_thanks(message: Message) -> bool:
    own = clean(message.text, html=message.html)
    return len(own) <= LONGEST_THANKS and THANKS.search(own) is not None and STILL.search(own) is None


def _people(mails: list[Stored]) -> Iterator[Person]:
    names: dict[str, list[str]] = {}
    for told, _ in mails:
        for address, name in told["people"]:
            names.setdefault(address, []).append(name)
    for address, given in sorted(names.items()):
        yield Person(address, tuple(dict.fromkeys(n for n in given if n)), (address,))
