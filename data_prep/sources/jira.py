"""Jira and Jira Service Management: issues of the REST API, or the issue navigator's CSV.

JSON comes as pages `{"issues": […]}`, arrays, one issue a file or one a line; comments stand in the issues or are a stream
of their own. An issue that holds all its comments is passed on at once; one that holds none or a part of them waits until
every file is read. Texts are ADF or wiki markup and become Markdown. A CSV row is read as the issue it stands for.

Fails closed. A comment is internal if any of `jsdPublic`, the property `sd.public.comment` or `visibility` says so or says
something unknown, and in a service desk's issue also if none of them says anything; a plain software project has no
internal comments but restricted ones. The reporter and portal customers are customers, apps are bots, every other account
that exists is an agent. The CSV knows no such flag: a service desk's CSV is refused unless `assume_public` is set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from data_prep.records import Dropped, Message, Person, Pointer, Record, Role, SourceError, Tally
from data_prep.sources._files import JSON_SUFFIXES, Peek, files, json_objects, moment, relative
from data_prep.sources._jira_csv import rows
from data_prep.sources._jira_text import Names, to_markdown
from data_prep.sources._tables import Encoding
from data_prep.sources._threads import Stored, ThreadStore

KIND: Literal["ticket"] = "ticket"
LISTS = ("issues", "comments", "values", "worklogs", "histories", "projects", "users")
CATEGORIES = ("new", "indeterminate", "done")
DONE = ("done", "closed", "resolved", "completed", "complete", "fixed", "finished", "verified", "cancelled", "canceled")
UNSOLVED = (
    "Won't Do", "Won't Fix", "Duplicate", "Cannot Reproduce", "Incomplete", "Invalid", "Declined", "Cancelled", "Canceled",
    "Rejected", "Abandoned", "Obsolete", "Not a Bug", "Not Our Bug", "Needs more info", "Hold",
)  # fmt: skip
# The id is the app's on every Atlassian site; the CSV knows apps by nothing else.
BOTS = ("Automation for Jira", "557058:f58131cb-b67d-43c7-b30d-6b58d40bd077")
PUBLIC_PROPERTY = "sd.public.comment"
TOO_LONG = 200  # characters; a longer value is a text and no label
EPOCH = datetime.min.replace(tzinfo=UTC)


def recognise(peek: Peek) -> dict[str, Any] | None:
    """Issues have a key and fields with an issuetype; comments jsdPublic or an updateAuthor; the CSV an `Issue key`."""
    if peek.suffix == ".csv":
        return {} if {"Issue key", "Summary"} <= set(peek.header) else None
    if peek.suffix not in JSON_SUFFIXES:
        return None
    for o in peek.objects:
        fields = o.get("fields")
        if isinstance(fields, dict) and "key" in o and {"issuetype", "summary", "status"} & set(fields):
            return {}
        if (
            {"issuetype", "project"} <= set(o)
            or {"body", "updateAuthor"} <= set(o)
            or {"jsdPublic", "author"} <= set(o)
        ):
            return {}
    return None


def read(
    path: Path,
    tally: Tally,
    *,
    custom_fields: dict[str, str] = {},  # noqa: B006  (read only; the schema shows it as the default)
    satisfaction_field: str | None = None,
    same_group_links: tuple[str, ...] = ("Duplicate", "Duplicates", "Cloners", "Cloned"),
    unsolved_resolutions: tuple[str, ...] = UNSOLVED,
    bots: tuple[str, ...] = BOTS,
    assume_public: bool = False,
    encoding: Encoding = "utf-8",
    date_format: str | None = None,
) -> Iterator[Record]:
    """Threads of a Jira export under `path`.

    custom_fields: name for Freehold → `customfield_NNNNN`, or the CSV's header. satisfaction_field: the one with the
    customer's rating; 4 and more is good, 2 and less is bad. same_group_links: names of link types that join issues into
    one group. unsolved_resolutions: a done issue with one of them is not solved. bots: display names, logins or account
    ids of users that answer automatically, besides apps.
    For CSV alone: assume_public reads a service desk's comments as public; date_format is Python's (`%d/%m/%Y %H:%M`) where
    the site changed Jira's; times count as UTC.
    """
    lower = (frozenset(map(_folded, names)) for names in (same_group_links, unsolved_resolutions, bots))
    commented: list[Path] = []
    with ThreadStore(tally) as store:
        reader = _Reader(store, tally, {}, set(), custom_fields, satisfaction_field, *lower)
        for file in files(path, *JSON_SUFFIXES, ".csv"):
            name = relative(file, path)
            if file.suffix.lower() == ".csv":
                objects = rows(file, name, tally, assume_public, encoding, date_format)
            else:
                objects = json_objects(file, name, tally, keys=LISTS)
            for where, item in objects:
                if not _is_comment(item):
                    yield from reader.taken(item, where)
                elif file not in commented[-1:]:
                    commented.append(file)
        if not reader.known:
            raise SourceError(f"{path}: holds no issue (an object with `key` and `fields`). {_holds(tally, commented)}")
        for file in commented:  # again: only now it is known which issue an id is of, and which is complete
            counted = Tally(max_bad_records=tally.max_bad_records)  # what is broken here was counted the first time
            for where, item in json_objects(file, relative(file, path), counted, keys=LISTS):
                if _is_comment(item):
                    reader.add_comment(item, where)
        for key, issue, comments in store.threads():
            yield from reader.records(key, issue, comments)


def _holds(tally: Tally, commented: list[Path]) -> str:
    found = f"{len(commented)} files of comments, " if commented else ""
    return f"It holds {found}{tally.taken['other objects']} other objects. Export the issues with all their fields."


def _is_comment(item: dict[str, Any]) -> bool:
    """Unlike issues and worklogs, which have a `comment`, not a `body`."""
    return "fields" not in item and ("body" in item or "jsdPublic" in item or "/comment/" in str(item.get("self")))


@dataclass(frozen=True, slots=True)
class _Reader:
    """known: every issue's id and key → its key. finished: keys of the issues that are passed on already."""

    threads: ThreadStore
    tally: Tally
    known: dict[str, str]
    finished: set[str]
    custom_fields: dict[str, str]
    satisfaction_field: str | None
    same_group_links: frozenset[str]
    unsolved_resolutions: frozenset[str]
    bots: frozenset[str]

    def taken(self, item: dict[str, Any], where: Pointer) -> Iterator[Record]:
        """An issue that is complete as a record; any other is stored, what is no issue counted."""
        fields = item.get("fields")
        key = _string(item.get("key")) or _string(item.get("id"))
        if "fields" not in item:
            self.tally.seen("other objects")
            self.tally.drop(Dropped("other_object", where, ", ".join(sorted(item)[:6])))
        elif not isinstance(fields, dict) or not key:
            self.tally.broken(where, f"issue {key!r} has fields of type {type(fields).__name__}")
        else:
            self.tally.seen("tickets")
            found, complete = _embedded(fields)
            comments = list(self.objects(found, where))
            waits = key in self.known and key not in self.finished
            self.known.update({key: key, _string(item.get("id")) or key: key})
            if key in self.finished:
                self.tally.seen("messages", len(comments))
                self.tally.drop(Dropped("duplicate_ticket_id", where, key), messages=len(comments))
            elif complete and not waits:
                self.finished.add(key)
                self.tally.seen("messages", len(comments))
                yield from self.records(key, (item, where), self.distinct(comments))
            else:
                self.store(key, item, where, comments)

    def objects(self, comments: list[Any], where: Pointer) -> Iterator[Stored]:
        for n, comment in enumerate(comments):
            place = Pointer(where.file, f"{where.at}/fields/comment/comments/{n}")
            if isinstance(comment, dict):
                yield comment, place
            else:
                self.tally.broken(place, f"comment is {type(comment).__name__}, not an object")

    def distinct(self, comments: list[Stored]) -> list[Stored]:
        """The later of two comments with one id stands for both."""
        found: dict[str, Stored] = {}
        for comment, at in comments:
            id = _string(comment.get("id")) or at.at
            if id in found:
                self.tally.drop(Dropped("duplicate_message_id", at, id))
            found[id] = (comment, at)
        return list(found.values())

    def store(self, key: str, item: dict[str, Any], where: Pointer, comments: list[Stored]) -> None:
        total = item["fields"]["comment"].get("total") if isinstance(item["fields"].get("comment"), dict) else None
        try:
            self.threads.add_ticket(key, {**item, "fields": {**item["fields"], "comment": {"total": total}}}, where)
        except RecursionError:
            self.tally.broken(where, "nested too deeply")
        for comment, at in comments:
            self.add(key, comment, at)

    def add(self, key: str | None, comment: dict[str, Any], at: Pointer) -> None:
        try:
            sent = _moment(comment.get("created"))
        except ValueError:
            sent = None
        try:
            id = _string(comment.get("id")) or f"{at.file} {at.at}"
            self.threads.add_message(key, id, sent and sent.isoformat(), comment, at)
        except RecursionError as e:
            self.tally.broken(at, f"comment cannot be kept: {e}")

    def add_comment(self, comment: dict[str, Any], where: Pointer) -> None:
        """A comment that stands alone. Where its issue came complete, it says the same again."""
        issue = _issue_of(comment)
        key = self.known.get(issue, issue)
        if key in self.finished:
            self.tally.seen("messages")
            self.tally.drop(Dropped("comment_of_complete_issue", where, key))
        else:
            self.add(key, comment, where)

    def records(self, key: str, stored: Stored, comments: list[Stored]) -> Iterator[Record]:
        """The record of an issue; none where it cannot be one, which is counted."""
        item, where = stored
        fields = item["fields"]
        total = fields["comment"].get("total") if isinstance(fields.get("comment"), dict) else None
        if isinstance(total, int) and total > len(comments):
            self.tally.seen("issues with truncated comments")
        users = _users(fields, comments)
        names = _mentioned(users)
        description = to_markdown(fields.get("description"), names)
        if not comments and not description.strip():
            self.tally.drop(Dropped("ticket_without_messages", where))
            return
        self.tally.seen("messages", int(bool(description.strip())))
        try:
            created = _moment(fields.get("created"))
        except ValueError as e:
            lost = len(comments) + bool(description.strip())
            self.tally.drop(Dropped("unreadable_time", where, str(e)), messages=lost)
            return
        reporter = fields.get("reporter") or fields.get("creator")
        service_desk = _is_service_desk(item, users, [c for c, _ in comments])
        messages = self.messages(comments, names, _who(reporter), service_desk)
        if description.strip():
            place = Pointer(where.file, f"{where.at}/fields/description")
            role = self.role(reporter, _who(reporter))
            messages.insert(0, Message(_who(reporter), role, True, created, description, pointer=place))
        status = _dict(fields.get("status"))
        resolution = _folded(_label(fields.get("resolution")))
        yield Record(
            id=key,
            kind="ticket",
            group=(_string(_dict(reporter).get("emailAddress")) or _who(reporter) or f"unknown-{key}").casefold(),
            created=created,
            title=_string(fields.get("summary")),
            messages=_attached(messages, fields.get("attachment")),
            pointer=where,
            fields=self.fields(fields),
            solved=_is_done(_string(status.get("name")), status) and resolution not in self.unsolved_resolutions,
            people=tuple(_person(id, found) for id, found in users.items()),
            reopened=_folded(status.get("name")) == "reopened" or _was_reopened(item, status),
            satisfaction=_satisfaction(fields.get(self.satisfaction_field) if self.satisfaction_field else None),
            links=tuple(dict.fromkeys(self.links(fields))),
        )

    def messages(self, comments: list[Stored], names: Names, reporter: str, service_desk: bool) -> list[Message]:
        """The comments in time order; one without a readable time stays behind the one it stood behind."""
        found: list[tuple[datetime, Message]] = []
        for comment, at in comments:
            try:
                created = _moment(comment.get("created"))
            except ValueError:
                self.tally.seen("messages without a readable time")
                created = None
            author = comment.get("author")
            message = Message(
                author=_who(author),
                role=self.role(author, reporter),
                public=_is_public(comment, service_desk=service_desk),
                created=created,
                text=to_markdown(comment.get("body"), names),
                pointer=at,
            )
            found.append((created or (found[-1][0] if found else EPOCH), message))
        return [m for _, m in sorted(found, key=lambda f: f[0])]

    def role(self, user: Any, reporter: str) -> Role:
        """Accounts of an unknown type, deleted ones and nobody are never agents."""
        id = _who(user)
        if not id:
            return "system"
        kind = user.get("accountType")
        if kind == "app" or not self.bots.isdisjoint(
            _folded(user.get(k)) for k in ("displayName", "name", "accountId")
        ):
            return "bot"
        if id == reporter or kind == "customer":
            return "customer"
        return "agent" if kind in (None, "atlassian") and user.get("displayName") != "Former user" else "system"

    def fields(self, fields: dict[str, Any]) -> dict[str, str]:
        found = {
            "status": fields.get("status"), "priority": fields.get("priority"), "type": fields.get("issuetype"),
            "resolution": fields.get("resolution"), "labels": fields.get("labels"), "components": fields.get("components"),
            "project": _dict(fields.get("project")).get("key") or fields.get("project"), "fix_versions": fields.get("fixVersions"),
            **{name.lower(): fields.get(id) for name, id in self.custom_fields.items()},
        }  # fmt: skip
        labels = ((name, _label(value)) for name, value in found.items())
        return {name: label for name, label in labels if label and len(label) <= TOO_LONG}

    def links(self, fields: dict[str, Any]) -> Iterator[str]:
        for link in _objects(fields.get("issuelinks")):
            if _folded(_label(link.get("type"))) in self.same_group_links:
                others = (_string(_dict(link.get(end)).get("key")) for end in ("inwardIssue", "outwardIssue"))
                yield from (key for key in others if key)


def _embedded(fields: dict[str, Any]) -> tuple[list[Any], bool]:
    """The comments in an issue, and whether they are all it has."""
    found = fields.get("comment")
    inside = found.get("comments") if isinstance(found, dict) else found
    if not isinstance(inside, list):
        return [], False
    total = found.get("total") if isinstance(found, dict) else None
    return inside, not isinstance(total, int) or total <= len(inside)


def _issue_of(comment: dict[str, Any]) -> str:
    named = (_string(comment.get(k)) for k in ("issueId", "issueKey", "issue_id", "issue_key"))
    address = re.search(r"/issue/([^/?#]+)/comment", _string(comment.get("self"))[:2000])
    return next((n for n in named if n), address[1] if address else "")


def _is_public(comment: dict[str, Any], *, service_desk: bool) -> bool:
    """Whether everything that speaks of it says public, and in a service desk something does."""
    flags = [_dict(p.get("value")).get("internal") for p in _objects(comment.get("properties")) if _is_flag(p)]
    if comment.get("visibility") is not None or any(flag is not False for flag in flags):
        return False
    if "jsdPublic" in comment:
        return comment["jsdPublic"] is True
    return bool(flags) or not service_desk


def _is_flag(property: dict[str, Any]) -> bool:
    return property.get("key") == PUBLIC_PROPERTY


def _is_service_desk(
    item: dict[str, Any], users: dict[str, list[dict[str, Any]]], comments: list[dict[str, Any]]
) -> bool:
    fields = item["fields"]
    return (
        _dict(fields.get("project")).get("projectTypeKey") == "service_desk"
        or any(isinstance(v, dict) and "requestType" in v for v in fields.values())
        or bool({"requestType", "requestTypeId", "serviceDeskId"} & (set(fields) | set(item)))
        or any(u.get("accountType") == "customer" for found in users.values() for u in found)
        or any("jsdPublic" in c or any(map(_is_flag, _objects(c.get("properties")))) for c in comments)
    )


def _users(fields: dict[str, Any], comments: list[Stored]) -> dict[str, list[dict[str, Any]]]:
    """Everybody an issue names, by id: in its fields (reporter, assignee, request participants), comments and files."""
    values = [u for v in fields.values() for u in (v if isinstance(v, list) else (v,)) if isinstance(u, dict)]
    found = [fields.get(k) for k in ("reporter", "creator", "assignee")]
    found += [v for v in values if "displayName" in v or "accountId" in v]
    found += [v["author"] for v in values if "author" in v]
    found += [c.get(k) for c, _ in comments for k in ("author", "updateAuthor")]
    users: dict[str, list[dict[str, Any]]] = {}
    for user in found:
        if isinstance(user, dict) and (id := _who(user)) and user not in (known := users.setdefault(id, [])):
            known.append(user)
    return users


def _who(user: Any) -> str:
    """A user's id; empty for nobody, and for the account that all deleted ones share."""
    for key in ("accountId", "name", "key", "emailAddress") if isinstance(user, dict) else ():
        id = _string(user.get(key))
        if id and id != "unknown":
            return id
    return ""


def _mentioned(users: dict[str, list[dict[str, Any]]]) -> Names:
    """What people are called, by account id, login and key."""
    return {
        id: _string(user.get("displayName")) or "user"
        for found in users.values()
        for user in found
        for k in ("accountId", "name", "key")
        if (id := _string(user.get(k)))
    }


def _person(id: str, found: list[dict[str, Any]]) -> Person:
    said = [s for u in found for k in ("displayName", "name", "emailAddress") if (s := _string(u.get(k)))]
    names, emails = (tuple(dict.fromkeys(s for s in said if ("@" in s) is mail)) for mail in (False, True))
    return Person(id, names, emails)


def _attached(messages: list[Message], attachments: Any) -> tuple[Message, ...]:
    """The messages with their files: those they name, and the rest with the first. Jira keeps files by issue."""
    names = [n for a in _objects(attachments) if (n := _string(a.get("filename")))]
    if not names:
        return tuple(messages)
    named = [[n for n in names if n in m.text] for m in messages]
    named[0] += [n for n in names if not any(n in ns for ns in named)]
    return tuple(replace(m, attachments=tuple(ns)) if ns else m for m, ns in zip(messages, named, strict=True))


def _is_done(name: str, status: dict[str, Any]) -> bool:
    """Whether a status is final: by its category where it is the issue's own, else by its name."""
    category = _dict(status.get("statusCategory")).get("key")
    if name == _string(status.get("name")) and category in CATEGORIES:
        return bool(category == "done")
    return name.casefold() in DONE


def _was_reopened(item: dict[str, Any], status: dict[str, Any]) -> bool:
    changelog = _dict(item.get("changelog"))
    changes = (
        change
        for history in _objects(changelog.get("histories") or changelog.get("values"))
        for change in _objects(history.get("items"))
        if _folded(change.get("fieldId") or change.get("field")) == "status"
    )
    ends = ((_string(c.get("fromString")), _string(c.get("toString"))) for c in changes)
    return any(_is_done(before, status) and after and not _is_done(after, status) for before, after in ends)


def _satisfaction(value: Any) -> Literal["good", "bad"] | None:
    rating = value.get("rating") if isinstance(value, dict) else value
    try:
        number = float(rating) if isinstance(rating, int | float | str) and not isinstance(rating, bool) else 3.0
    except (ValueError, OverflowError):
        return None
    return "good" if number >= 4 else "bad" if number <= 2 else None


def _moment(value: Any) -> datetime | None:
    try:
        return moment(value)
    except (TypeError, OverflowError) as e:
        raise ValueError(f"{str(value)[:60]!r} is no time") from e


def _label(value: Any) -> str:
    """A field's value as a label. A person is none."""
    if isinstance(value, list):
        return ",".join(v for v in map(_label, value[:50]) if v)
    if isinstance(value, dict):
        return "" if "displayName" in value else _string(value.get("value")) or _string(value.get("name"))
    return str(value).lower() if isinstance(value, bool) else _string(value).strip()


def _folded(value: Any) -> str:
    return _string(value).replace("\u2019", "'").strip().casefold()


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []
