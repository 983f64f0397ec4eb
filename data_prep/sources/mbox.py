"""Mail archives: `.mbox` files and folders of `.eml` files as threads.

A thread is what References and In-Reply-To join, through mails that are missing in the archive too; a mail that refers to
nothing here joins by subject with a mail of the same customer at most 30 days older. A mass mailing and a missing mail
join only mails of the same customer: else everybody who answers a newsletter would stand in one thread.

Roles come from addresses: what `support_domains` names is an agent, everybody else a customer, a mailer daemon a bot; a
sender that the receiving server found forged is system. A contact form that writes in a customer's name is the customer.
Fails closed: an agent's mail is public only if somebody outside gets it, a customer's only if support does.

Mail has no state, so "solved" is a guess and an option can turn it off: `last_reply` takes a thread for solved when its
last public mail that a person wrote is an agent's, or a short thank-you after one. A customer who gave up looks solved;
who needs better labels uses a help desk's export. `mailbox.mbox` is not used: it cuts a mail wherever a line begins with
"From ", which ordinary sentences do, and opens the archive for writing.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message as Part
from email.parser import BytesParser
from email.policy import Compat32
from email.utils import getaddresses
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

from data_prep.clean import clean
from data_prep.records import Dropped, Message, Origin, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import Peek, files, moment, relative
from data_prep.sources._threads import Stored, ThreadStore

KIND: Literal["ticket"] = "ticket"
SUFFIXES = (".mbox", ".eml")
# A "From " line that begins a mail has a time and a year in every variant; sentences that begin so have not.
SEPARATOR = re.compile(rb"From (?=[^\r\n]{0,200}\d{1,2}:\d\d)(?=[^\r\n]{0,200}\b\d{4}\b)")
HEADER = re.compile(rb"[!-9;-~]{1,80}:")
MAIL = re.compile(rb"(?im)^(?:from|sender|to|date|subject|message-id|received|return-path|delivered-to):")
ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]]{1,64}@[\w-]+(?:\.[\w-]+)*")
MESSAGE_ID = re.compile(r"<([^<>\s]{1,500})>")
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
PGP = "-----BEGIN PGP MESSAGE-----"
AUTOMATIC = ("Auto-Submitted", "X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Failed-Recipients")
SIGNATURES = ("application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature")
SEALED = (
    "multipart/encrypted",
    "application/pkcs7-mime",
    "application/x-pkcs7-mime",
    "application/x-microsoft-rpmsg-message",
)
# Charsets that mails name while meaning another. What is valid UTF-8 is never Latin; the rest of Latin is Windows'.
WIDER = {
    "us-ascii": "utf-8", "ascii": "utf-8", "iso-8859-1": "utf-8", "latin-1": "utf-8", "windows-1252": "utf-8", "gb2312": "gb18030",
    "gbk": "gb18030", "shift_jis": "cp932", "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "iso-8859-8-i": "iso-8859-8",
}  # fmt: skip
FREE_MAIL = (
    "gmail.com googlemail.com outlook.com hotmail.com live.com msn.com yahoo.com icloud.com me.com aol.com gmx.de gmx.net"
    " web.de t-online.de proton.me protonmail.com mail.com zoho.com yandex.ru mail.ru qq.com 163.com"
).split()
MAILBOXES = frozenset(
    "help support service services info contact kontakt hello hilfe team office sales billing care customer customers desk helpdesk"
    " kundenservice kundendienst noreply no reply".split()
)
LONGEST_HEADER = 100_000  # characters; twelve hundred recipients
LONGEST_STRUCTURE = 5_000  # of Content-… headers: the standard library takes quadratic time to read them
DEEPEST = 40  # parts in parts
MANY = 10  # recipients outside; an agent's mail to more is a mass mailing
WINDOW_S = 30 * 86400
LONGEST_THANKS = 200  # characters


def recognise(peek: Peek) -> dict[str, Any] | None:
    """Mail by its first line. Proposes as support the domain (of free mail: the address) that most mails are to or from."""
    first = peek.head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    is_mail = SEPARATOR.match(first) or (peek.suffix in SUFFIXES and HEADER.match(first))
    if not is_mail or not MAIL.search(_head(first)):
        return None
    proposed = _usual(data for _, data in _split(BytesIO(first), cut=peek.suffix == ".mbox"))
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
        for (where, data), thread in zip(_mails(path, tally), _threads(links), strict=True):
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
        headers = _parse(_head(data))
        for weight, names in ((2, ("To", "Delivered-To")), (1, ("From", "Cc"))):
            domains = {(a.rpartition("@")[2], a) for a, _ in _addresses(headers, *names)}
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
    for file in files(path, *SUFFIXES):
        with file.open("rb") as f:
            for line, data in _split(f, cut=file.suffix.lower() == ".mbox"):
                where = Pointer(relative(file, path), f"line {line}")
                if MAIL.search(_head(data)):
                    yield where, data
                elif line == 1 and file.suffix.lower() == ".mbox":
                    raise SourceError(
                        f"{file}: starts with {data[:40]!r}, so it is no mail archive. Is it another export?"
                    )
                else:
                    tally.broken(where, f"has no mail header; it starts with {data[:40]!r}")


def _split(file: BinaryIO, *, cut: bool) -> Iterator[tuple[int, bytes]]:
    """The mails of a file, each with the number of its first line. cut: at "From " lines even if the first is none."""
    start, lines, held, after_blank, is_mbox = 1, list[bytes](), b"", True, False
    for number, line in enumerate(file, start=1):
        blank = not line.strip()
        if held and (HEADER.match(line) or (blank and after_blank)):
            yield from _whole(start, lines, is_mbox)
            start, lines, held, is_mbox = number - 1, [], b"", True
        elif held:
            lines.append(held)
            held, after_blank = b"", False
        if SEPARATOR.match(line) and (cut or is_mbox or not any(map(bytes.strip, lines))):
            held = line
        else:
            lines.append(line)
            after_blank = blank
    yield from _whole(start, [*lines, held], is_mbox)


def _whole(start: int, lines: list[bytes], is_mbox: bool) -> Iterator[tuple[int, bytes]]:
    data = b"".join(lines).removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    if data.strip():
        yield start, re.sub(rb"(?m)^>(>*From )", rb"\1", data) if is_mbox else data


def _head(data: bytes) -> bytes:
    end = re.search(rb"\r?\n\r?\n", data)
    return data[: end.start()] if end else data


def _longest(header: str) -> int:
    return LONGEST_STRUCTURE if header.casefold().startswith("content-") else LONGEST_HEADER


class _Lenient(Compat32):
    """Headers as text whatever their bytes are, cut where only an attack is longer."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[: _longest(name)]

    def header_fetch_parse(self, name: str, value: str) -> str:  # noqa: ARG002
        unfolded = re.sub(r"\r?\n", "", value) if "\n" in value else value
        return unfolded if unfolded.isascii() else _decode(unfolded.encode("utf-8", "surrogateescape"), None)


def _parse(data: bytes) -> Part:
    return BytesParser(policy=_Lenient()).parsebytes(data)


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
    headers = _parse(_head(data))
    people = _addresses(headers, "From", "Sender", "To", "Cc", "Bcc", "Reply-To", "X-Original-From")
    reached = [a for a, _ in _addresses(headers, "To", "Cc", "Bcc")]
    via = [a for a, _ in _addresses(headers, "Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To")]
    author = _author(headers, reached, support)
    role = _role(author, headers, support)
    gone_out = [a for a in reached if not _ours(a, support)]
    mailboxes = [a for a in (*reached, *via) if _ours(a, support)]
    is_list = _is_list(headers, role, support)
    labels = _words(_one(headers, "X-Gmail-Labels")).split(",")
    return _Envelope(
        id=next(iter(_ids(headers, "Message-ID")), "") or f"sha256-{hashlib.sha256(data).hexdigest()[:32]}",
        refs=tuple(
            dict.fromkeys([*_ids(headers, "References"), *_ids(headers, "In-Reply-To"), *_gmail_thread(headers)])
        ),
        sent=_when(headers),
        subject=" ".join(_words(_one(headers, "Subject")).split()),
        author=author,
        role=role,
        public={"agent": bool(gone_out), "customer": bool(mailboxes)}.get(role, False),
        origin="automatic" if is_list or _is_automatic(headers, author) else "person",
        people=tuple(dict.fromkeys(people)),
        outsiders=tuple(dict.fromkeys(a for a, _ in people if not _ours(a, support) and not ROBOT.fullmatch(a))),
        is_mass=is_list or (role == "agent" and (not reached or len(gone_out) > MANY)),
        mailbox=mailboxes[0] if mailboxes and role == "customer" else "",
        labels=tuple(x.strip() for x in labels if x.strip()),
        is_cut=any(len(written) == _longest(name) for name, written in headers.raw_items()),
    )


def _author(headers: Part, reached: list[str], support: frozenset[str]) -> str:
    """The sender's address; where our own contact form or list writes in somebody's name, that somebody's."""
    sender = next((a for a, _ in _addresses(headers, "From", "Sender")), "")
    if not sender or not _ours(sender, support) or not reached or not all(_ours(a, support) for a in reached):
        return sender
    original = next((a for a, _ in _addresses(headers, "X-Original-From") if not _ours(a, support)), "")
    reply = next((a for a, _ in _addresses(headers, "Reply-To") if not _ours(a, support)), "")
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
    said = [_one(headers, name).split(";")[0].strip().casefold() for name in AUTOMATIC]
    return (
        any(value not in ("", "no", "false", "0") for value in said)
        or _one(headers, "Precedence").strip().casefold() == "auto_reply"
        or headers.get_content_type() == "multipart/report"
        or _one(headers, "Return-Path").strip() == "<>"
        or ROBOT.fullmatch(author) is not None
    )


def _is_list(headers: Part, role: Role, support: frozenset[str]) -> bool:
    """A newsletter or mass mailing. What people write to a support address that is itself a list is none, nor a reply there."""
    bulk = _one(headers, "Precedence").strip().casefold() in ("bulk", "junk", "list") or "List-Unsubscribe" in headers
    spoken = role == "customer" or bool(_ids(headers, "In-Reply-To"))
    return bulk and not (spoken and _is_own_list(headers, support))


def _is_own_list(headers: Part, support: frozenset[str]) -> bool:
    named = re.findall(r"<([\w.-]{1,200})>", _one(headers, "List-Id"))
    posted = ADDRESS.findall(_one(headers, "List-Post").replace("mailto:", " "))
    return any(_ours(a, support) for a in (*posted, *(n.replace(".", "@", 1) for n in named)))


def _one(headers: Part, name: str) -> str:
    return str(headers.get(name, ""))


def _ids(headers: Part, name: str) -> list[str]:
    values = [str(v) for v in headers.get_all(name, [])]
    found = [i for v in values for i in MESSAGE_ID.findall(v)]
    bare = [v.strip() for v in values if re.fullmatch(r"\s*[^<>\s]{1,500}\s*", v)]
    return found or bare


def _gmail_thread(headers: Part) -> list[str]:
    thread = _one(headers, "X-GM-THRID").strip()
    return [f"X-GM-THRID:{thread}"] if thread.isdigit() else []


def _when(headers: Part) -> datetime | None:
    """When it was sent, by its Date, or else by the last server that handed it on."""
    for value in (_one(headers, "Date"), _one(headers, "Received").rpartition(";")[2]):
        try:
            when = moment(value.strip())
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        if when is not None:
            return when
    return None


def _addresses(headers: Part, *names: str) -> list[tuple[str, str]]:
    """Address and display name of everybody in these headers, in order."""
    found: list[tuple[str, str]] = []
    for value in (str(v) for name in names for v in headers.get_all(name, [])):
        try:
            pairs = getaddresses([value])
        except (RecursionError, IndexError, ValueError, TypeError):
            pairs = []
        surname = ""
        mine: list[tuple[str, str]] = []
        for name, address in pairs:
            if ADDRESS.fullmatch(address):
                mine.append((address.casefold(), _display_name(f"{name} {surname}", address)))
            # Outlook writes `Lindqvist, Mara <mara@…>` without quotes: what has no address is a name's beginning
            surname = "" if "@" in address else f"{name} {address}"
        found += mine or [(a.casefold(), "") for a in ADDRESS.findall(value)]
    return found


def _display_name(written: str, address: str) -> str:
    """A person's name. Lists write `'Mara Lindqvist' via Help`; the name of a shared mailbox is its address or its purpose."""
    name = re.sub(r"^'(.+)' via .*$", r"\1", " ".join(_words(written).split())).strip(" '\"")
    local, _, domain = address.casefold().rpartition("@")
    purposes = MAILBOXES | set(domain.split("."))
    shared = set(re.split(r"[._+-]", local)) <= MAILBOXES and set(re.findall(r"\w+", name.casefold())) <= purposes
    return "" if shared or name.casefold() == address.casefold() else name


def _words(value: str) -> str:
    """RFC 2047 words as text; a word that cannot be read stays as it is written."""
    if "=?" not in value or len(value) > LONGEST_STRUCTURE:
        return value
    try:
        chunks = decode_header(value)
    except (HeaderParseError, ValueError, TypeError, IndexError):
        return value
    # what stands between the words comes back in this escape, so that it fits into bytes
    plain = (
        c.decode("raw-unicode-escape", "replace") if isinstance(c, bytes) and cs is None else c for c, cs in chunks
    )
    return "".join(p if isinstance(p, str) else _decode(p, cs) for p, (_, cs) in zip(plain, chunks, strict=True))


def _decode(data: bytes, charset: str | None) -> str:
    """Bytes in the charset they name, else UTF-8, else Windows' Latin: always a text, never half a character."""
    charset = (charset or "utf-8").strip().casefold()
    for name in (WIDER.get(charset, charset), "utf-8", "cp1252"):
        if name not in ("idna", "punycode"):  # their time is quadratic in the length
            try:
                return data.decode(name).encode("utf-8", "replace").decode("utf-8")
            except (LookupError, ValueError):
                continue
    return data.decode("latin-1")


@dataclass(frozen=True, slots=True)
class _Link:
    """What joins a mail with others: the part of every mail that stays in memory."""

    id: str
    refs: tuple[str, ...]
    sent_s: float | None
    subject: str
    outsiders: tuple[str, ...]
    is_mass: bool


def _link(e: _Envelope) -> _Link:
    subject = REPLY.sub("", e.subject).strip().casefold()[:200]
    return _Link(e.id, e.refs, e.sent.timestamp() if e.sent else None, subject, e.outsiders, e.is_mass)


def _threads(links: list[_Link]) -> list[str]:
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


def _by_reference(links: list[_Link]) -> Iterator[tuple[str, str]]:
    """What to join because one refers to the other, or both to the same mail that is missing or was sent to many."""
    single = {link.id for link in links if not link.is_mass}
    shared: dict[str, list[_Link]] = {}
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


def _by_subject(links: list[_Link]) -> Iterator[tuple[str, str]]:
    """What to join because it refers to no mail here and a mail with its subject and a customer of its was sent lately."""
    known = {link.id for link in links}
    last: dict[tuple[str, str], _Link] = {}
    for link in sorted((x for x in links if x.sent_s is not None and x.subject), key=lambda x: x.sent_s or 0):
        if link.is_mass and len(link.outsiders) != 1:
            continue
        alone = not any(ref in known for ref in link.refs)
        for address in link.outsiders:
            before = last.get((link.subject, address))
            if alone and before and (link.sent_s or 0) - (before.sent_s or 0) <= WINDOW_S:
                yield link.id, before.id
            last[link.subject, address] = link


@dataclass(frozen=True, slots=True)
class _Content:
    text: str
    is_html: bool
    attachments: tuple[str, ...]
    unnamed: int  # attachments
    is_sealed: bool
    is_damaged: bool


def _content(data: bytes) -> _Content:
    mail = _parse(data)
    leaves = list(_leaves(mail))
    texts = [
        (leaf.get_content_type() == "text/html", text)
        for leaf in leaves
        if _is_text(leaf) and (text := _text(leaf)).strip()
    ]
    is_html = any(h for h, _ in texts)
    if is_html:
        texts = [(True, t if h else html.escape(t, quote=False).replace("\n", "<br>\n")) for h, t in texts]
    names = [_file_name(leaf) for leaf in leaves if not _is_text(leaf) and leaf.get_content_type() not in SIGNATURES]
    sealed = any(p.get_content_type() in SEALED for p in (mail, *leaves)) or any(
        t.lstrip().startswith(PGP) for _, t in texts
    )
    return _Content(
        text="\n\n".join(t for _, t in texts),
        is_html=is_html,
        attachments=tuple(n for n in names if n),
        unnamed=names.count(""),
        is_sealed=sealed and (not texts or mail.get_content_type() in SEALED or texts[0][1].lstrip().startswith(PGP)),
        is_damaged=any(p.defects for p in mail.walk()),
    )


def _leaves(part: Part, depth: int = 0) -> Iterator[Part]:
    """The parts that are not made of parts: of alternatives the plain one, of a report what is meant for people."""
    kind = part.get_content_type()
    if not part.is_multipart() or kind.startswith("message/") or depth == DEEPEST:
        yield part
        return
    children = [p for p in part.get_payload() if isinstance(p, Part)]
    groups = [list(_leaves(p, depth + 1)) for p in (children[:1] if kind == "multipart/report" else children)]
    chosen = _chosen(groups) if kind == "multipart/alternative" else None
    for group in groups:
        yield from (leaf for leaf in group if chosen is None or group is chosen or not _is_text(leaf))


def _chosen(alternatives: list[list[Part]]) -> list[Part] | None:
    says = [g for g in alternatives if any(_is_text(leaf) and _text(leaf).strip() for leaf in g)]
    plain = [g for g in says if not any(_is_text(leaf) and leaf.get_content_type() == "text/html" for leaf in g)]
    return plain[0] if plain else says[-1] if says else None


def _is_text(leaf: Part) -> bool:
    """What people read: also a body that calls itself a multipart but holds no part."""
    kind = leaf.get_content_type()
    is_file = leaf.get_content_disposition() == "attachment" or bool(leaf.get_filename())
    is_bare = kind.startswith("multipart/") and not leaf.is_multipart()
    return (kind in ("text/plain", "text/html") or is_bare) and not is_file


def _text(leaf: Part) -> str:
    payload = leaf.get_payload(decode=True)
    text = _decode(payload, leaf.get_content_charset()) if isinstance(payload, bytes) else ""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _file_name(leaf: Part) -> str:
    """The name without a path and without control characters; of an attached mail without a name `message.eml`."""
    name = re.split(r"[/\\]", _words(leaf.get_filename() or ""))[-1]
    name = "".join(c for c in name if c.isprintable()).strip()[:200]
    return name or ("message.eml" if leaf.get_content_type() == "message/rfc822" else "")


def _store(data: bytes, thread: str, where: Pointer, support: frozenset[str], store: ThreadStore, tally: Tally) -> None:
    e = _envelope(data, support)
    try:
        content = _content(data)
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
