"""Mail archives: threads that hold together, only what surely went out is public, whatever bytes a mail is made of."""

from __future__ import annotations

import base64
import shutil
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.clean import clean
from data_prep.records import Message, Person, Record, SourceError, Tally
from data_prep.sources import mbox
from data_prep.sources._files import Peek

GOLDEN = Path(__file__).parents[1] / "golden" / "mbox"
MARA, TOBIAS, HELP, ODILE = (
    "Mara Lindqvist <mara@mail.example>",
    "tobias@rehn.example",
    "help@hearth.example",
    "odile@hearth.example",
)
BEGINNING = datetime(2026, 1, 12, 9, tzinfo=UTC)


def mail(
    id: str | None = "q",
    sender: str = MARA,
    to: str = HELP,
    text: str | bytes = "Frost alarm",
    *,
    hours: float = 0,
    **headers: str | None,
) -> bytes:
    """A mail in plain text. Headers by name with `_` for `-`; None leaves one out."""
    given = {
        "From": sender, "To": to, "Subject": "Frost", "Date": format_datetime(BEGINNING + timedelta(hours=hours)),
        "Message_ID": f"<{id}@mail.example>" if id else None, "Content_Type": "text/plain; charset=utf-8",
        "Content_Transfer_Encoding": "8bit", **headers,
    }  # fmt: skip
    head = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in given.items() if value is not None)
    return (
        head.encode("utf-8", "surrogateescape") + b"\n" + (text if isinstance(text, bytes) else text.encode()) + b"\n"
    )


def reply(id: str = "a", *refs: str, sender: str = ODILE, to: str = MARA, hours: float = 1, **more: Any) -> bytes:
    known = {"References": " ".join(f"<{r}@mail.example>" for r in refs)} if refs else {}
    return mail(
        id,
        sender,
        to,
        more.pop("text", "Set it to 5 degrees"),
        hours=hours,
        **{"Subject": "Re: Frost", **known, **more},
    )


def multipart(kind: str, *parts: tuple[str, str | bytes]) -> dict[str, Any]:
    """The headers and the text of a mail of parts, each its headers and its content."""
    cut = [
        b"--b1\n" + head.encode() + b"\n\n" + (c if isinstance(c, bytes) else c.encode()) + b"\n" for head, c in parts
    ]
    return {
        "text": b"".join(cut) + b"--b1--", "Content_Type": f'multipart/{kind}; boundary="b1"', "Content_Transfer_Encoding": None,
    }  # fmt: skip


PLAIN, HTML = "Content-Type: text/plain; charset=utf-8", "Content-Type: text/html; charset=utf-8"
JPEG = 'Content-Type: image/jpeg; name="a.jpg"\nContent-Disposition: attachment; filename="a.jpg"\nContent-Transfer-Encoding: base64'


def archive(folder: Path, *mails: bytes, name: str = "a.mbox") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    separator = b"From someone@mail.example Mon Jan 12 09:00:00 2026\n"
    (folder / name).write_bytes(b"".join(separator + m + b"\n" for m in mails))
    return folder


def read(path: Path, tally: Tally | None = None, **options: Any) -> list[Record]:
    return list(mbox.read(path, tally or Tally(), **{"support_domains": ("hearth.example",), **options}))


def one(folder: Path, *mails: bytes, **options: Any) -> Record:
    (record,) = read(archive(folder, *mails), **options)
    return record


def only(folder: Path, mail: bytes, **options: Any) -> Message:
    (message,) = one(folder, mail, **options).messages
    return message


def threads(folder: Path, *mails: bytes) -> list[list[str]]:
    return [
        [m.text.strip() for m in r.messages]
        for r in sorted(read(archive(folder, *mails)), key=lambda r: r.created or BEGINNING)
    ]


def golden(title: str) -> Record:
    return {r.title: r for r in read(GOLDEN)}[title]


def test_the_golden_archive_is_read_as_it_was_meant() -> None:
    tally = Tally()
    records = read(GOLDEN, tally)
    assert sorted((r.title, r.group, r.solved, len(r.messages)) for r in records) == [
        ("Charged twice in January", "mara.lindqvist@mail.example", True, 5),
        ("Invoice", "tobias@rehn.example", True, 2),
        ("Ventil läßt sich nicht koppeln / valve does not pair", "tobias@rehn.example", True, 2),
        ("Where is my parcel?", "mara.lindqvist@mail.example", True, 3),
        ("Winter tips", "unknown-news-31@hearth.example", False, 1),
    ]
    assert (tally.taken, tally.dropped) == ({"tickets": 5, "messages": 13}, {})


def test_the_golden_thread_is_whole_and_its_canaries_are_marked() -> None:
    r = golden("Charged twice in January")
    assert r.created == datetime(2026, 1, 12, 8, tzinfo=UTC)
    assert [(m.author.partition("@")[0], m.role, m.public, m.origin) for m in r.messages] == [
        ("mara.lindqvist", "customer", True, "person"),
        ("help", "agent", True, "automatic"),
        ("odile", "agent", False, "person"),
        ("odile", "agent", True, "person"),
        ("odile", "system", False, "person"),
    ]
    assert "From the app I see 49 € on both days." in r.messages[0].text
    marks = ("GOOD-QUESTION", "CANARY-AUTO", "CANARY-INTERNAL", "GOOD-REPLY", "CANARY-UNKNOWN")
    assert [mark in m.text for m, mark in zip(r.messages, marks, strict=True)] == [True] * 5
    assert str(r.messages[1].pointer) == "Pointer(file='archive.mbox', at='line 33')"
    assert r.fields == {"mailbox": "help@hearth.example", "tags": "Billing,Inbox"}
    assert Person("odile@hearth.example", ("Odile Marchand",), ("odile@hearth.example",)) in r.people
    assert [(m.role, m.origin) for m in golden("Where is my parcel?").messages if "CANARY-BOT" in m.text] == [
        ("bot", "automatic")
    ]
    assert golden("Ventil läßt sich nicht koppeln / valve does not pair").messages[0].attachments == ("display.jpg",)


def test_references_join_a_thread_in_time_order_whatever_the_order_of_the_archive(tmp_path: Path) -> None:
    late, early = reply("a2", "q", "a1", hours=3, text="third"), reply("a1", "q", hours=1, text="second")
    assert threads(tmp_path, late, mail(text="first"), early) == [["first", "second", "third"]]


def test_an_archive_without_a_suffix_is_read_beside_the_others_and_other_files_are_not(tmp_path: Path) -> None:
    archive(tmp_path, mail(id="a"))
    archive(tmp_path / "Mail", mail(id="b", Subject="Other", sender="Ida <ida@elsewhere.example>"), name="Inbox")
    (tmp_path / "README").write_text("From here on: nothing\n")
    assert sorted(r.pointer.file for r in read(tmp_path)) == ["Mail/Inbox", "a.mbox"]
    assert [r.pointer.file for r in read(tmp_path / "Mail")] == ["Inbox"]


def test_in_reply_to_alone_joins(tmp_path: Path) -> None:
    assert len(threads(tmp_path, mail(), reply("a", In_Reply_To="<q@mail.example>", Subject="Something else"))) == 1
    assert len(threads(tmp_path, mail(), reply("a", In_Reply_To=" q@mail.example ", Subject="Something else"))) == 1


def test_a_missing_mail_joins_those_that_refer_to_it(tmp_path: Path) -> None:
    one_, other = (
        reply("a", "gone", Subject="x", text="one"),
        reply("b", "gone", "lost", Subject="y", hours=2, text="other"),
    )
    assert threads(tmp_path, one_, other) == [["one", "other"]]


def test_answers_of_two_customers_to_a_missing_or_mass_mail_are_two_threads(tmp_path: Path) -> None:
    from_mara = mail("m", Subject="Re: News", References="<news@mail.example>", text="mara")
    from_tobias = mail("t", TOBIAS, Subject="Re: News", References="<news@mail.example>", text="tobias", hours=1)
    assert threads(tmp_path / "missing", from_mara, from_tobias) == [["mara"], ["tobias"]]
    everybody = ", ".join(f"c{n}@mail.example" for n in range(11)) + f", {MARA}, {TOBIAS}"
    news = mail("news", HELP, everybody, "news", hours=-1, Subject="News")
    assert threads(tmp_path / "mass", news, from_mara, from_tobias)[1:] == [["mara"], ["tobias"]]


@pytest.mark.parametrize(
    ("subject", "days", "sender", "count"),
    [
        ("Re: Frost", 1, MARA, 1), ("RE: AW: [EXT] Fwd: frost", 29, MARA, 1), ("Antw: Frost", 1, MARA, 1), ("Re[2]: Frost", 1, MARA, 1),
        ("回复：Frost", 1, MARA, 1), ("Re: Frost", 31, MARA, 2), ("Re: Frost", 1, TOBIAS, 2), ("Re: Frosty", 1, MARA, 2), ("", 1, MARA, 2),
    ],
)  # fmt: skip
def test_a_mail_that_refers_to_nothing_joins_by_subject_and_customer_within_a_month(
    tmp_path: Path, subject: str, days: int, sender: str, count: int
) -> None:
    assert len(threads(tmp_path, mail(), mail("n", sender, Subject=subject, hours=24 * days, text="next"))) == count


def test_googles_thread_number_joins(tmp_path: Path) -> None:
    number = {"X_GM_THRID": "1853900000000000001"}
    assert len(threads(tmp_path, mail(Subject="a", **number), reply(Subject="b", **number))) == 1


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"Auto_Submitted": "auto-replied"}, "automatic"),
        ({"Auto_Submitted": "auto-generated; owner=x"}, "automatic"),
        ({"Auto_Submitted": "no"}, "person"),
        ({"X_Autoreply": "yes"}, "automatic"),
        ({"X_Autorespond": "Frost"}, "automatic"),
        ({"X_Autoresponder": "1"}, "automatic"),
        ({"X_Failed_Recipients": "c@mail.example"}, "automatic"),
        ({"Precedence": "auto_reply"}, "automatic"),
        ({"Precedence": "Bulk"}, "automatic"),
        ({"Precedence": "junk"}, "automatic"),
        ({"Precedence": "list"}, "automatic"),
        ({"Precedence": "first-class"}, "person"),
        ({"List_Unsubscribe": "<https://hearth.example/u>"}, "automatic"),
        ({"Return_Path": "<>"}, "automatic"),
        ({"Return_Path": f"<{ODILE}>"}, "person"),
        ({"X_Auto_Response_Suppress": "All"}, "person"),  # Exchange sets it on people's mails
        ({"From": "no-reply@hearth.example"}, "automatic"),
        ({"From": "DoNotReply+7@hearth.example"}, "automatic"),
        ({"From": "noreplying@hearth.example"}, "person"),
        ({}, "person"),
    ],
)
def test_automatic_mails_are_known_by_each_of_their_headers(
    tmp_path: Path, headers: dict[str, str], origin: str
) -> None:
    (question, answer) = one(tmp_path, mail(), reply("a", "q", **headers)).messages
    assert (question.origin, answer.origin) == ("person", origin)


def test_a_delivery_report_is_a_bots_and_only_its_part_for_people_is_text(tmp_path: Path) -> None:
    status = "Content-Type: message/delivery-status"
    parts = multipart("report; report-type=delivery-status", (PLAIN, "It came back."), (status, "Action: failed"))
    report = reply("r", "q", sender="Mail Delivery <MAILER-DAEMON@hearth.example>", **parts)
    message = one(tmp_path, mail(), report).messages[1]
    assert (message.role, message.origin, message.public, message.text) == ("bot", "automatic", False, "It came back.")


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"List_Id": "Help <help.hearth.example>"}, "person"),
        ({"List_Post": "<mailto:help@hearth.example>"}, "person"),
        ({"List_Id": "Gardeners <garden.lists.example>"}, "automatic"),
    ],
)
def test_what_customers_write_to_a_support_address_that_is_a_list_is_no_newsletter(
    tmp_path: Path, headers: dict[str, str], origin: str
) -> None:
    posted = mail(Precedence="list", List_Unsubscribe="<https://hearth.example/u>", **headers)
    assert only(tmp_path, posted).origin == origin


@pytest.mark.parametrize(
    ("fields", "role", "public"),
    [
        ({}, "customer", True),
        ({"to": "friend@mail.example"}, "customer", False),
        ({"to": "friend@mail.example", "Delivered_To": HELP}, "customer", True),
        ({"to": "friend@mail.example", "Cc": f"Help <{HELP}>"}, "customer", True),
        ({"sender": ODILE, "to": MARA}, "agent", True),
        ({"sender": ODILE, "to": "petr@hearth.example"}, "agent", False),
        ({"sender": ODILE, "to": "petr@hearth.example", "Cc": MARA}, "agent", True),
        ({"sender": "odile@de.hearth.example", "to": MARA}, "agent", True),
        ({"sender": "odile@nothearth.example", "to": HELP}, "customer", True),
        ({"sender": "odile@hearth.example.evil.example", "to": HELP}, "customer", True),
        ({"sender": "hearth.example", "to": HELP}, "system", False),
        ({"sender": "", "to": HELP}, "system", False),
        ({"sender": '"odile@hearth.example" <evil@mail.example>'}, "customer", True),
        ({"sender": "evil@mail.example (odile@hearth.example)"}, "customer", True),
    ],
)
def test_roles_come_from_addresses_and_only_what_reaches_the_other_side_is_public(
    tmp_path: Path, fields: dict[str, str], role: str, public: bool
) -> None:
    message = only(tmp_path, mail(**fields))
    assert (message.role, message.public) == (role, public)


def test_support_may_be_single_addresses_with_their_plus_forms(tmp_path: Path) -> None:
    support = {"support_domains": ("Help@Mail.Example",)}
    record = one(tmp_path, mail(to="help+frost@mail.example"), reply("a", "q", sender="help@mail.example"), **support)
    assert [m.role for m in record.messages] == ["customer", "agent"]


def test_a_sender_that_the_receiving_server_found_forged_is_no_agent(tmp_path: Path) -> None:
    results = "mx.hearth.example; spf=fail; DMARC=fail header.from=hearth.example"
    forged = reply("f", "q", Authentication_Results=results)
    honest = reply("h", "q", hours=2, Authentication_Results="mx.hearth.example; dmarc=pass")
    assert [(m.role, m.public) for m in one(tmp_path, mail(), forged, honest).messages[1:]] == [
        ("system", False),
        ("agent", True),
    ]


def test_a_contact_form_and_a_list_write_in_the_customers_name(tmp_path: Path) -> None:
    form = mail("f", "website@hearth.example", HELP, Reply_To=MARA)
    via = mail("v", f"'Mara Lindqvist' via Help <{HELP}>", HELP, X_Original_From=MARA)
    colleague = mail("c", ODILE, "petr@hearth.example", Reply_To=MARA)
    for n, (written, who) in enumerate([(form, "mara@mail.example"), (via, "mara@mail.example"), (colleague, ODILE)]):
        message = only(tmp_path / str(n), written)
        assert (message.author, message.role) == (who, "agent" if who == ODILE else "customer")


def test_people_are_everybody_in_the_headers_by_the_names_they_write(tmp_path: Path) -> None:
    record = one(
        tmp_path,
        mail(sender='"Lindqvist, Mara" <Mara@mail.example>', to="=?utf-8?q?Hilfe_f=C3=BCr_alle?= <help@hearth.example>",
             Cc="Havel, Petr <petr@firm.example>, undisclosed-recipients:;, =?utf-8?b?w5Zya2Fu?= <o@firm.example>"),
        reply("a", "q", sender="Hearth Help <help@hearth.example>", to="mara@mail.example"),
    )  # fmt: skip
    assert {p.id: p.names for p in record.people} == {
        "mara@mail.example": ("Lindqvist, Mara",),
        "help@hearth.example": ("Hilfe für alle",),  # "Hearth Help" is a purpose and no person
        "petr@firm.example": ("Petr Havel",),
        "o@firm.example": ("Örkan",),
    }


def test_a_quoted_reply_is_kept_by_the_reader_and_goes_with_cleaning(tmp_path: Path) -> None:
    quoted = "Set it to 5 degrees.\n\nOn Mon, 12 Jan 2026 at 09:00, Mara Lindqvist <mara@mail.example> wrote:\n> Frost alarm\n> again"
    message = one(tmp_path, mail(), reply("a", "q", text=quoted)).messages[1]
    assert "> Frost alarm" in message.text
    assert clean(message.text, html=message.html) == "Set it to 5 degrees."


@pytest.mark.parametrize(
    ("charset", "data", "text"),
    [
        ("iso-8859-1", "größer €".encode("cp1252"), "größer €"),
        ("iso-8859-1", "größer €".encode(), "größer €"),  # it says Latin and is UTF-8
        ("us-ascii", "größer".encode(), "größer"),
        ("utf-8", "größer".encode("cp1252"), "größer"),
        ("gb2312", "镕基".encode("gb18030"), "镕基"),
        ("x-unknown", "größer".encode(), "größer"),
        ("idna", b"gr.example", "gr.example"),
        ("utf-8\x00", b"plain", "plain"),
        ("utf-8", b"torn \xf0\x9f\x98", "torn ðŸ˜"),
        ("utf-8", b"\x81\x8d", "\x81\x8d"),
    ],
)
def test_a_wrong_or_unknown_charset_still_gives_text(tmp_path: Path, charset: str, data: bytes, text: str) -> None:
    assert only(tmp_path, mail(text=data, Content_Type=f'text/plain; charset="{charset}"')).text.strip() == text


def test_transfer_encodings_are_undone_and_broken_ones_lose_no_mail(tmp_path: Path) -> None:
    cases = {
        "base64": (base64.b64encode("größer".encode()), "größer"), "quoted-printable": (b"gr=C3=B6=C3=9Fer =\nja", "größer ja"),
        "x-unknown": (b"as it is", "as it is"),
    }  # fmt: skip
    for encoding, (data, text) in cases.items():
        assert only(tmp_path / encoding, mail(text=data, Content_Transfer_Encoding=encoding)).text.strip() == text
    tally = Tally()
    archive(tmp_path / "broken", mail(text=b"!!not base64", Content_Transfer_Encoding="base64"))
    assert len(read(tmp_path / "broken", tally)) == 1
    assert tally.taken["messages"] == 1


@pytest.mark.parametrize(
    ("subject", "title"),
    [
        ("=?utf-8?q?R=C3=BCckfrage?=", "Rückfrage"),
        ("=?utf-8?b?UsO8?=\n =?utf-8?b?Y2tmcmFnZQ==?=", "Rückfrage"),
        ("Rückfrage", "Rückfrage"),
        ("R\udcfcckfrage", "Rückfrage"),  # a byte of Windows' Latin
        ("=?utf-8?b?a?=", "=?utf-8?b?a?="),  # no base64 has one character
        ("=?x-none?q?plain?= too", "plain too"),
        ("Re: AW: Rückfrage", "Rückfrage"),
        (" Long\n folded", "Long folded"),
    ],
)
def test_subjects_are_read_in_every_spelling(tmp_path: Path, subject: str, title: str) -> None:
    assert one(tmp_path, mail(Subject=subject)).title == title


def test_of_alternatives_the_plain_one_is_read_and_html_where_there_is_no_other(tmp_path: Path) -> None:
    both = mail("1", **multipart("alternative", (PLAIN, "plain"), (HTML, "<p>html</p>")))
    empty = mail("2", **multipart("alternative", (PLAIN, " "), (HTML, "<p>html</p>")))
    mixed = mail("3", **multipart("mixed", (PLAIN, "a < b"), (HTML, "<b>html</b>")))
    found = [only(tmp_path / str(n), m) for n, m in enumerate((both, empty, mixed))]
    assert [(m.text.strip(), m.html) for m in found] == [
        ("plain", False), ("<p>html</p>", True), ("a &lt; b\n\n<b>html</b>", True),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["multipart/mixed", 'multipart/mixed; boundary="never"', "", "text"])
def test_a_body_without_the_parts_it_announces_is_text(tmp_path: Path, kind: str) -> None:
    assert only(tmp_path, mail(Content_Type=kind)).text.strip() == "Frost alarm"


def test_scripts_in_a_mail_never_reach_cleaned_text(tmp_path: Path) -> None:
    message = only(
        tmp_path,
        mail(text="<p>Frost</p><script>alert(1)</script><img src=x onerror=alert(1)>", Content_Type="text/html"),
    )
    assert message.html
    cleaned = clean(message.text, html=True)
    assert cleaned.startswith("Frost")
    assert "alert" not in cleaned


def test_attachments_are_known_by_safe_names_and_never_by_content(tmp_path: Path) -> None:
    def file(disposition: str, kind: str = "application/pdf") -> tuple[str, str]:
        return f"Content-Type: {kind}\nContent-Disposition: {disposition}", "SECRET-CONTENT"

    parts = multipart(
        "mixed", (PLAIN, "see"), (JPEG, base64.b64encode(b"x")), file('attachment; filename="../../etc/passwd"'),
        file('attachment; filename="C:\\\\Users\\\\mara\\\\plan.pdf"'), file("attachment; filename*=utf-8''gr%C3%B6%C3%9Fe.pdf"),
        file('attachment; filename="=?utf-8?q?r=C3=BCck.pdf?="'), file('attachment; filename="a\x07\u202eb.pdf"'), file("attachment"),
        file('attachment; filename="notes.txt"', "text/plain"), file('inline; filename="page.html"', "text/html"),
        ("Content-Type: message/rfc822", "Subject: inner\n\nSECRET-CONTENT"), file("attachment; filename=smime.p7s", "application/pkcs7-signature"),
    )  # fmt: skip
    tally = Tally()
    (record,) = read(archive(tmp_path, mail(**parts)), tally)
    assert record.messages[0].attachments == (
        "a.jpg", "passwd", "plan.pdf", "größe.pdf", "rück.pdf", "ab.pdf", "notes.txt", "page.html", "message.eml",
    )  # fmt: skip
    assert record.messages[0].text.strip() == "see"
    assert tally.taken["attachments without a name"] == 1


def test_encrypted_mails_are_dropped_by_name_and_leave_a_thread_unsolved(tmp_path: Path) -> None:
    sealed = mail(
        "e", **multipart("encrypted", ("Content-Type: application/pgp-encrypted", "Version: 1"), (PLAIN, "x"))
    )
    inline = reply("i", "q", text="-----BEGIN PGP MESSAGE-----\nhQEMA")
    tally = Tally()
    records = read(archive(tmp_path, sealed, mail("q", Subject="Other"), inline, reply("a", "q", hours=2)), tally)
    assert [(r.solved, len(r.messages)) for r in records] == [(False, 2)]
    assert tally.dropped == {"encrypted_message": 2, "ticket_without_messages": 1}


@pytest.mark.parametrize(
    ("last", "solved"),
    [
        (reply("a", "q"), True),
        (mail("t", References="<a@mail.example>", hours=2, text="Thank you, that helped!"), True),
        (mail("t", References="<a@mail.example>", hours=2, text="Thanks, but it still freezes"), False),
        (mail("t", References="<a@mail.example>", hours=2, text="And the other valve?"), False),
        (reply("b", "q", hours=2, Auto_Submitted="auto-replied"), True),
        (reply("b", "q", to="petr@hearth.example", hours=2), True),
    ],
)
def test_solved_is_a_guess_from_who_wrote_last_and_can_be_turned_off(tmp_path: Path, last: bytes, solved: bool) -> None:
    mails = (mail(), reply("a", "q"), last)
    assert one(tmp_path, *mails).solved == solved
    assert not one(tmp_path, *mails, solved="never").solved


def test_only_automatic_answers_solve_nothing(tmp_path: Path) -> None:
    assert not one(tmp_path, mail(), reply("a", "q", Auto_Submitted="auto-replied")).solved


def test_a_line_that_begins_with_from_cuts_no_mail(tmp_path: Path) -> None:
    text = "Hello\n\nFrom today on it freezes at 10:30.\n>From the manual in 2024 I took 5 degrees.\nFrom mara at 9:30 in 2026 we know\n"
    record = one(tmp_path, mail(text=text), b"", reply("a", "q"))  # between them a separator without a mail
    assert [m.text.strip() for m in record.messages[1:]] == ["Set it to 5 degrees"]
    assert record.messages[0].text.strip() == text.replace(">From", "From").strip()


def test_eml_files_of_windows_with_and_without_a_separator_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "1.eml").write_bytes(mail(text="one\nFrom a 10:00 2026\n\ntwo").replace(b"\n", b"\r\n"))
    (tmp_path / "deep" / "2.EML").write_bytes(b"\xef\xbb\xbf" + reply("a", "q"))
    (tmp_path / "deep" / "3.eml").write_bytes(b"From x Mon Jan 12 09:00:00 2026\n" + reply("b", "q", hours=2))
    (tmp_path / "notes.txt").write_text("no mail")
    (record,) = read(tmp_path)
    assert [m.text.strip() for m in record.messages] == ["one\nFrom a 10:00 2026\n\ntwo"] + ["Set it to 5 degrees"] * 2
    assert [m.pointer.file for m in record.messages if m.pointer] == ["1.eml", "deep/2.EML", "deep/3.eml"]


@pytest.mark.parametrize(
    "date",
    [
        "soon",
        "",
        "Thu, 01 Jan 1970 00:00:00 +0000",
        "Thu, 01 Jan 2020 00:00:00 +99999999999999",
        "0001-01-01T00:00:00+05:00",
        None,
    ],
)
def test_clock_nonsense_falls_back_to_the_last_server_or_is_counted(tmp_path: Path, date: str | None) -> None:
    received = "from a by b with SMTP id 7;\n\tMon, 12 Jan 2026 12:00:00 +0100"
    assert only(tmp_path / "a", mail(Date=date, Received=received)).created == datetime(2026, 1, 12, 11, tzinfo=UTC)
    tally = Tally()
    (record,) = read(archive(tmp_path / "b", mail(Date=date)), tally)
    assert (record.created, tally.taken["messages without a readable time"]) == (None, 1)


def test_mails_of_mixed_zones_are_in_time_order(tmp_path: Path) -> None:
    first = reply("a", "q", Date="Mon, 12 Jan 2026 15:00:00 +0500", text="first")
    second = reply("b", "q", Date="12 Jan 2026 06:30:00 EST", text="second")
    assert [m.text.strip() for m in one(tmp_path, second, first, mail()).messages] == ["Frost alarm", "first", "second"]


def test_one_mail_in_two_folders_counts_once_and_mails_without_an_id_are_told_apart(tmp_path: Path) -> None:
    archive(tmp_path, mail(), reply("a", "q"), name="inbox.mbox")
    archive(
        tmp_path, reply("a", "q"), mail(None, text="no id"), mail(None, text="none either", hours=1), name="sent.mbox"
    )
    tally = Tally()
    (record,) = read(tmp_path, tally)
    assert sorted(m.text.strip() for m in record.messages) == [
        "Frost alarm",
        "Set it to 5 degrees",
        "no id",
        "none either",
    ]
    assert (tally.taken["messages"], tally.dropped) == (5, {"duplicate_message_id": 1})


def test_one_broken_mail_among_thousands_is_counted_with_its_place_and_too_many_stop(tmp_path: Path) -> None:
    mails = [mail(f"m{n}", sender=f"c{n}@mail.example", Subject=f"S{n}") for n in range(1500)]
    mails[700] = b"Lorem: ipsum\n\nno header that mails have\n"
    mails[1200] = b"\x00\x01Torn: mail\n"
    tally = Tally(max_bad_records=2)
    archive(tmp_path, *mails)
    records = read(tmp_path, tally)
    assert (len(records), tally.dropped) == (1498, {"broken_record": 1})
    assert tally.examples["broken_record"][0].startswith("a.mbox line 7701 (has no mail header; it starts with b'Lorem")
    (before,) = [r.messages[0] for r in records if r.title == "S1199"]
    assert "Torn: mail" in before.text  # what does not begin like a mail belongs to the one before it
    with pytest.raises(SourceError, match=r"a\.mbox: line 7701: has no mail header.*more than 0 records"):
        read(tmp_path, Tally(max_bad_records=0))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"holds no mail"),
        (b'{"tickets": []}', r"a\.mbox: starts with .* so it is no mail archive"),
        (b"\x00" * 500, r"a\.mbox: starts with .* so it is no mail archive"),
        ("From: Mara".encode("utf-16"), r"a\.mbox: starts with .* so it is no mail archive"),
    ],
)
def test_an_unusable_archive_is_one_clear_error(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "a.mbox").write_bytes(content)
    with pytest.raises(SourceError, match=told):
        read(tmp_path)


def test_a_truncated_archive_keeps_what_stands_of_its_last_mail(tmp_path: Path) -> None:
    parts = multipart("mixed", (PLAIN, "see the picture"), (JPEG, base64.b64encode(b"x" * 900)))
    whole = archive(tmp_path, mail(), reply("a", "q", **parts)) / "a.mbox"
    whole.write_bytes(whole.read_bytes()[:-600])
    tally = Tally()
    (record,) = read(tmp_path, tally)
    assert (record.messages[1].text.strip(), record.messages[1].attachments) == ("see the picture", ("a.jpg",))
    assert tally.taken["mails with broken MIME"] == 1


def test_parts_nested_deeper_than_anybody_writes_do_not_stop_the_read(tmp_path: Path) -> None:
    nested = (
        b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(300)) + b"\ndeep\n"
    )
    tally = Tally()
    archive(tmp_path, mail("d", text=nested, Content_Type='multipart/mixed; boundary="b0"'), mail("q", Subject="Other"))
    records = read(tmp_path, tally)
    assert len(records) + tally.dropped["broken_record"] == 2
    assert "Other" in [r.title for r in records]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X_Long", "x" * 150_000),
        ("References", "\n ".join(f"<{n}@mail.example>" for n in range(9000))),
        ("Cc", ",\n ".join(f"c{n}@mail.example" for n in range(8000))),
        ("Content_Type", "text/plain; " + "; ".join(f"a{n}=b" for n in range(2000))),
    ],
)
def test_an_endless_header_is_cut_counted_and_read_in_time(tmp_path: Path, header: str, value: str) -> None:
    tally, began = Tally(), time.perf_counter()
    archive(tmp_path, mail(**{header: value}))
    assert len(read(tmp_path, tally)) == 1
    assert tally.taken["mails with a header cut short"] == 1
    assert time.perf_counter() - began < 5


def test_support_domains_are_needed_and_proposed_and_never_a_free_mail_service(tmp_path: Path) -> None:
    archive(tmp_path, mail(), reply("a", "q"))
    with pytest.raises(SourceError, match=r"Set `support_domains` .* for instance \[hearth\.example\]"):
        read(tmp_path, support_domains=())
    with pytest.raises(SourceError, match=r"names gmail\.com, so every customer .*\[support@gmail\.com\]"):
        read(tmp_path, support_domains=("@Gmail.com",))


def test_recognise_proposes_the_support_domain_and_knows_no_other_file(tmp_path: Path) -> None:
    own = sorted(p for p in GOLDEN.rglob("*") if p.suffix in (".mbox", ".eml"))
    assert len(own) >= 3
    proposed = [mbox.recognise(Peek.of(p)) for p in own]
    assert proposed[:2] == [{"support_domains": ["hearth.example"]}] * 2
    assert mbox.merged([(p.name, o) for p, o in zip(own, proposed, strict=True) if o]) == {
        "support_domains": ["hearth.example"]
    }
    assert mbox.merged([("a.eml", {})]) == {}
    shop = archive(tmp_path, mail(to="shop@gmail.com"), mail("b", TOBIAS, "shop@gmail.com")) / "a.mbox"
    assert mbox.recognise(Peek.of(shop)) == {"support_domains": ["shop@gmail.com"]}
    foreign = [p for d in sorted(GOLDEN.parent.iterdir()) if d != GOLDEN for p in sorted(d.rglob("*")) if p.is_file()]
    assert foreign
    assert [p for p in foreign if mbox.recognise(Peek.of(p)) is not None] == []


ADDRESSES = st.sampled_from(
    [MARA, TOBIAS, HELP, ODILE, "noreply@hearth.example", "MAILER-DAEMON@x.example", "no address", "", "a@b, c@d"]
)
NAMED = st.sampled_from(["a", "b", "c", "d", "gone"])
SPOKEN = st.sampled_from(["Frost", "Re: Frost", "", "=?utf-8?b?!!?=", "Grüße", "x" * 300])
ODD_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Subject": SPOKEN, "Date": st.sampled_from(["", "soon", "Thu, 01 Jan 1970 00:00:00 +0000", "12 Jan 2026 10:00 +0100"]),
        "References": st.lists(NAMED, max_size=3).map(lambda ids: " ".join(f"<{i}@mail.example>" for i in ids)),
        "Content_Type": st.sampled_from(
            ["text/html", "multipart/mixed", 'multipart/mixed; boundary="b1"', "message/rfc822", "x", "text/plain; charset=x"]
        ),
        "Content_Transfer_Encoding": st.sampled_from(["base64", "quoted-printable", "7bit", "x"]), "Cc": ADDRESSES,
        "Precedence": st.sampled_from(["bulk", "list"]), "X_GM_THRID": st.sampled_from(["1", "2", "x"]),
    },
)  # fmt: skip
BODIES = st.sampled_from(
    [b"text", b"", b"--b1\n\npart\n--b1--", b"-----BEGIN PGP MESSAGE-----", b"\xff\x00", b"a\n\nFrom b"]
) | st.binary(max_size=40)
MAILS = st.lists(
    st.builds(lambda id, sender, to, text, odd: mail(id, sender, to, text, **odd), st.none() | NAMED, ADDRESSES, ADDRESSES, BODIES, ODD_HEADERS),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(MAILS, MAILS)
def test_what_goes_in_comes_out_or_is_counted(
    tmp_path_factory: pytest.TempPathFactory, mails: list[bytes], single: list[bytes]
) -> None:
    folder = archive(tmp_path_factory.mktemp("any"), *mails)
    for n, data in enumerate(single):
        (folder / f"{n}.eml").write_bytes(data)
    tally = Tally(max_bad_records=100)
    records = read(folder, tally)
    shutil.rmtree(folder)
    lost = tally.dropped
    of_messages = lost["duplicate_message_id"] + lost["encrypted_message"]
    assert tally.taken["messages"] + lost["broken_record"] == len(mails) + len(single)
    assert tally.taken["messages"] == sum(len(r.messages) for r in records) + of_messages
    assert tally.taken["tickets"] == len(records) + lost["ticket_without_messages"]
    assert set(lost) <= {"duplicate_message_id", "encrypted_message", "ticket_without_messages", "broken_record"}
    assert len({r.id for r in records}) == len(records)
    assert all(m.author for r in records for m in r.messages if m.role in ("agent", "customer"))
