"""Personal data and secrets out, consistent surrogates in.

Question: placeholders or surrogates? Choice: surrogates of the same shape, from an HMAC of the value under a key that is
kept apart from the data, so that the same person is the same person in every ticket, document and prompt and the model
still learns what a name or an order looks like. Secrets get a placeholder: nobody should learn their shape. Price: whoever
holds the key can test a guess. Revisit if a regulator asks for irreversible data; then throw the key away.

What an engine of data_prep.pii finds goes first; then the people whom the export itself names, which removes more names than
a language model does and masks no product names; then everybody else whom any source knows by full name.
"""

from __future__ import annotations

import hmac
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from data_prep.people import GAP, Directory, digits_of, identity, without_accents, words_of
from data_prep.pii import Found, core, without_overlap
from data_prep.pii._names import first_names, in_script, last_names, locale_of, street
from data_prep.pii._numbers import luhn
from data_prep.pii._view import views
from data_prep.pii._words import ALSO_A_WORD, COMMON, NOT_A_NAME, SHORT_NAMES
from data_prep.records import Person

ADDRESSED = re.compile(
    r"(?:\b(?:Hi|Hey|Dear|Hello|Thanks|Thank you|Hallo|Liebe[r]?|Bonjour|Hola|Regards,?|Cheers,?)\s|\n\s*|@)\Z"
)
INTRODUCED = re.compile(
    r"(?i)\b(?:name(?:'s| is|:)?|i am|i'm|im|this is|call me|mr\.?|mrs\.?|ms\.?|miss|dr\.?|herrn?|frau|ich bin|(?:mein )?name ist|ich heiße"
    r"|je suis|je m'appelle|m(?:\.|me)|soy|me llamo|sono|mi chiamo|ik ben)\s+\Z"
)
INSIDE_SENTENCE = re.compile(r"[a-zß-ÿ,]\s\Z")
DETERMINED = re.compile(
    r"(?i)\b(?:the|a|an|my|your|our|this|that|der|die|das|den|dem|ein|eine|einen|le|la|les|un|une|el|los|las)\s\Z"
)
AND_NUMBER = re.compile(
    r"[ ,]+(?:and |und |et |y )?\d[\d-]{2,}[ .]*(?:\n|\Z)"
)  # "robin 4152", asked for a name and a number
ENDS = re.compile(r"\s*[,!.:]?\s*(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Surrogates:
    """Surrogates under one key. `key` is 32 random bytes; the same value always gets the same surrogate.

    They are nobody's: addresses of documentation networks, names at mail.example, numbers that no check digit fits.
    """

    key: bytes = field(repr=False)

    def number(self, kind: str, value: str) -> int:
        digest = hmac.digest(self.key, f"{kind}\0{value.strip().casefold()}".encode(), "sha256")
        return int.from_bytes(digest[:16], "big")

    def id(self, kind: str, value: str) -> str:
        return f"{kind}-{self.number(kind, value):032x}"[: len(kind) + 13]

    def subject(self, value: str) -> str:
        """The keyed hash under which a person is filed: of an address, a telephone, a name or a source's id."""
        return self.id("subject", digits_of(value) if re.fullmatch(r"[+\d\s()/.-]{7,}", value) else value)

    def name(self, value: str, taken: Callable[[str], bool] = lambda _: False, *, written: str = "") -> tuple[str, str]:
        """First and last name of the person who is `value`, in the locale that it looks like.

        taken: full names that a surrogate must not be, since somebody has them. written: how the text writes the name; one in
        another script than Latin has a surrogate in that script.
        """
        n = self.number("person", value)
        locale = in_script(written) or locale_of(value)
        firsts, lasts = first_names(locale), last_names(locale)
        for turn in range(len(firsts)):
            first, last = firsts[(n + turn) % len(firsts)], lasts[n // 97 % len(lasts)]
            if not taken(f"{first} {last}"):
                break
        return first, last

    def email(self, value: str) -> str:
        local = ".".join(ascii_only(part) for part in self.name(value)) if in_script(value) is None else "user"
        return f"{local}{self.number('email', value) % 90 + 10}@mail.example".lower()

    def digits(self, kind: str, value: str, *, keep: int = 0) -> str:
        """The same shape with other digits and letters; the first `keep` characters stay (a country code)."""
        stream = self.number(kind, re.sub(r"\W", "", value))
        out = []
        for i, c in enumerate(value):
            if i >= keep and c.isdigit():
                stream, digit = divmod(stream, 10)
                out.append(str(digit))
                stream = stream or self.number(kind, f"{value}{i}")
            elif i >= keep and c.isalpha():
                stream, letter = divmod(stream, 26)
                out.append(chr((65 if c.isupper() else 97) + letter))
                stream = stream or self.number(kind, f"{value}{i}")
            else:
                out.append(c)
        return "".join(out)

    def phone(self, value: str, taken: Collection[str] = ()) -> str:
        """The same shape; one number with and without its country code has one surrogate. taken: last nine digits of numbers
        that somebody has."""
        tail = [i for i, c in enumerate(value) if c.isdigit()][-9:]
        found = value
        for turn in range(100):
            n = self.number("phone", f"{''.join(value[i] for i in tail)}#{turn}")
            out = list(value)
            for i in reversed(tail):
                n, digit = divmod(n, 10)
                out[i] = str(digit)
            found = nobodys_phone("".join(out))
            if digits_of(found) not in taken:
                break
        return found

    def of(self, kind: str, value: str, taken_phones: Collection[str] = ()) -> str:
        """The surrogate of a value of this kind."""
        match kind:
            case "secret":
                return "[SECRET]"
            case "email":
                return self.email(value)
            case "card":
                return _spoiled(self.digits(kind, value))
            case "iban":
                return self.digits(kind, value, keep=2)
            case "ssn":
                return "9" + self.digits(kind, value)[1:]
            case "phone":
                return self.phone(value, taken_phones)
            case "ip":
                n = self.number(kind, value)
                return f"192.0.2.{n % 254 + 1}" if ":" not in value else f"2001:db8::{n % 65535 + 1:x}"
            case "mac":
                return f"02:00:{self.number(kind, value) % 256:02x}:00:00:01"
            case "address" | "location":
                return street(self.number(kind, value), value)
            case "person":
                return " ".join(self.name(value)[: 2 if " " in value.strip() else 1])
            case _:
                return self.digits(kind, value)


def _spoiled(card: str) -> str:
    """A card number that no check digit fits."""
    last = card.rstrip()[-1]
    return card if not luhn(re.sub(r"\D", "", card)) else card[: card.rindex(last)] + str((int(last) + 1) % 10)


def ascii_only(name: str) -> str:
    return without_accents(name).encode("ascii", "ignore").decode()


def nobodys_phone(value: str) -> str:
    """The same shape as a number that no subscriber has: 555-01xx in North America, elsewhere the last seven digits begin
    with 000."""
    digits = [i for i, c in enumerate(value) if c.isdigit()]
    plain = "".join(value[i] for i in digits)
    is_american = (len(plain) == 10 and plain[0] != "0" and value[0] != "+") or (len(plain) == 11 and plain[0] == "1")
    out = list(value)
    for at, digit in zip(range(-7, 0), "55501" if is_american else "000", strict=False):
        if len(digits) >= -at:
            out[digits[at]] = digit
    return "".join(out)


class Redactor:
    """Masks one thread's texts. `people` are the participants the export names; `keep` are words never masked.

    directory: everybody whom any source knows. find: an engine of data_prep.pii. `masked` counts what was found, by kind;
    `subjects` holds keyed hashes of the people the texts tell of.
    """

    def __init__(
        self,
        surrogates: Surrogates,
        people: Iterable[Person] = (),
        keep: frozenset[str] = frozenset(),
        directory: Directory | None = None,
        find: Callable[[str], list[Found]] = core.find,
    ) -> None:
        self.surrogates, self.keep, self.find = surrogates, keep, find
        self.directory = directory if directory is not None else Directory()
        self.masked: Counter[str] = Counter()
        self.subjects: set[str] = set()
        self._forms: dict[str, list[Form]] = {}
        self._absent = [(_signs_of(p), p) for p in dict.fromkeys(people)]

    def __call__(self, text: str) -> str:
        """The text with everything masked. Not idempotent on its own surrogates: call once."""
        if not text:
            return text
        out, at = [], 0
        for place, surrogate in self._places(text):
            out += [text[at : place.start], surrogate]
            at = place.end
            self.masked[place.kind] += 1
        return "".join([*out, text[at:]]) if out else text

    def _places(self, text: str) -> list[tuple[Found, str]]:
        """Places and their surrogates; what an encoding hides is looked for in the decoded text too, and the longer place stays."""
        places = self._seen(text)
        whole = len(places)
        for decoded in views(text):
            places += [(Found(p.kind, *decoded.raw(p.start, p.end)), s) for p, s in self._seen(decoded.text)]
        if len(places) == whole:
            return places
        surrogates = {p: s for p, s in reversed(places)}
        by_length = sorted(surrogates, key=lambda p: (p.start - p.end, p))
        return [(p, surrogates[p]) for p in without_overlap(*([p] for p in by_length))]

    def _seen(self, text: str) -> list[tuple[Found, str]]:
        broken = [
            (Found("email", start, end), self.surrogates.email(e))
            for start, end, e in self.directory.broken_emails(text)
        ]
        found = [] if LABEL.fullmatch(text) else [p for p in self.find(text) if text[p.start : p.end] not in self.keep]
        named = [*self._participants(text), *self._others(text)]
        if not found and not named and not broken:
            return []
        phones = self.directory.phones
        surrogates = {p: self.surrogates.of(p.kind, text[p.start : p.end], phones) for p in found}
        surrogates |= dict(named) | dict(broken)
        for p in found:
            if p.kind in ("email", "phone"):
                self.subjects.add(self.surrogates.subject(text[p.start : p.end]))
        kept = without_overlap([p for p, _ in broken], found, [p for p, _ in named])
        return [(p, surrogates[p]) for p in kept]

    def _meet(self, text: str) -> None:
        """Learn the forms of everybody who may occur in the text. Most participants are never named."""
        lower = text.lower()
        if not lower.isascii():
            lower += without_accents(lower)
        present = [a for a in self._absent if any(sign in lower for sign in a[0])]
        if not present:
            return
        self._absent = [a for a in self._absent if a not in present]
        for _, person in present:
            for form in _forms_of(self.surrogates, self.directory, self.keep, person):
                self._forms.setdefault(form[0][0], []).append(form)
        for forms in self._forms.values():
            forms.sort(key=lambda f: (-len(f[0]), f))

    def _participants(self, text: str) -> Iterator[tuple[Found, str]]:
        self._meet(text)
        starts = sorted({at for word in self._forms if word in text for at in _words_at(text, word)})
        end = -1
        for start in starts:
            if start < end:
                continue
            tokens = [(m.start(), m.end(), _bare(m[0])) for m in islice(HANDLE.finditer(text, start), LONGEST_FORM)]
            for words, surrogate, who in self._forms.get(tokens[0][2], ()):
                stop = _matches(text, tokens, words)
                if stop and (len(words) > 1 or _is_name_here(text, start, stop, words[0])):
                    end = stop
                    self.subjects.add(self.surrogates.subject(who))
                    yield Found("person", start, stop), surrogate
                    break

    def _others(self, text: str) -> Iterator[tuple[Found, str]]:
        for start, end, who in self.directory.mentioned(text):
            self.subjects.add(self.surrogates.subject(who))
            yield Found("person", start, end), " ".join(_name(self.surrogates, self.directory, who, text[start:end]))


LABEL = re.compile(r"[^\W\d]{1,24}(?:[ /&-][^\W\d]{1,24}){0,2}")  # a field's value: too few words to hold anything
LONGEST_FORM = 8  # words of a name that are compared
HANDLE = re.compile(r"[^\W_](?:[\w'’]*\w)?")


@lru_cache(maxsize=20_000)
def _signs_of(person: Person) -> tuple[str, ...]:
    """Parts in lower case of which one is in every form of the person's names."""
    words = {
        w for name in person.names for w in (*words_of(name), *re.findall(r"[(\[]([\w.-]+)[)\]]", name), name.strip())
    }
    return tuple(sorted({variant for w in words if w for variant in (w.lower(), without_accents(w.lower()))}))


Form = tuple[tuple[str, ...], str, str]  # words of a name as written, their surrogate, whose name it is


@lru_cache(maxsize=2_000)
def _forms_of(surrogates: Surrogates, directory: Directory, keep: frozenset[str], person: Person) -> tuple[Form, ...]:
    """Every form in which a participant's name may be written. Kept: the same agents write in thousands of threads."""
    who = identity(person)
    found: list[tuple[tuple[str, ...], str]] = []
    for name in person.names:
        words = words_of(name)
        first, last = _name(surrogates, directory, who, name)
        found += [
            ((inside,), first.lower()) for inside in re.findall(r"[(\[]([\w.-]+)[)\]]", name)
        ]  # "(login) First Last"
        if len(words) > 1:
            variants = {words, tuple(without_accents(w) for w in words)}
            if name.islower() or name.isupper():  # a login such as first.last: its owner signs with capitals
                variants |= {tuple(w.capitalize() for w in v) for v in variants}
            found += [form for variant in sorted(variants) for form in _full(variant, first, last)]
        elif words and words[0] == name.strip():
            found.append((words, first))
        elif " " not in name.strip():  # a handle with digits or signs: masked as it is written
            found.append(((name.strip(),), first.lower()))
    cased = (form for words, surrogate in found for form in _cased(words, surrogate, keep))
    return tuple(dict.fromkeys((words, surrogate, who) for words, surrogate in cased))


def _full(words: tuple[str, ...], first: str, last: str) -> Iterator[tuple[tuple[str, ...], str]]:
    yield words, f"{first} {last}"
    yield words[::-1], f"{last} {first}"
    yield (words[0], words[-1]), f"{first} {last}"
    yield ("_".join(words),), f"{first}_{last}"
    yield from (((word,), first) for word in words[:-1])
    yield (words[-1],), last
    yield (f"{words[0][:1]}{words[-1]}".lower(),), f"{first[:1]}{last}".lower()


def _cased(words: tuple[str, ...], surrogate: str, keep: frozenset[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    one = len(words) == 1 and "_" not in words[0]
    if len("".join(words)) <= 2 or (one and (words[0].casefold() in NOT_A_NAME or words[0] in keep)):
        return
    for case in (str, str.upper, str.lower):
        yield tuple(case(w) for w in words), case(surrogate)


def _name(surrogates: Surrogates, directory: Directory, who: str, written: str) -> tuple[str, str]:
    return surrogates.name(who, lambda full: tuple(full.split()) in directory.names, written=written)


def _bare(word: str) -> str:
    word = word.rstrip("_")
    return word[:-2] if word[-2:] in ("'s", "’s") else word


def _words_at(text: str, word: str) -> Iterator[int]:
    """Where a word begins in the text: not inside another, `x_word` and `o'word` included."""
    at = text.find(word)
    while at >= 0:
        if not text[max(0, at - 8) : at].rstrip("_'’")[-1:].isalnum():
            yield at
        at = text.find(word, at + 1)


def _matches(text: str, tokens: list[tuple[int, int, str]], words: tuple[str, ...]) -> int:
    """Where the words end that begin with these tokens; 0 where others stand there."""
    mine = tokens[: len(words)]
    if tuple(w for _, _, w in mine) != words:
        return 0
    if not all(GAP.fullmatch(text, a[1], b[0]) for a, b in itertools.pairwise(mine)):
        return 0
    return mine[-1][0] + len(mine[-1][2])


def _is_name_here(text: str, start: int, end: int, word: str) -> bool:
    """A single word is a name unless it is a word of sentences too, or a short one without a capital: then only where
    somebody is addressed, signs, is introduced, answers with name and number, or is spoken of with a capital inside a sentence."""
    plain = word.casefold()
    is_common = plain in COMMON
    is_telling = len(word) > 3 or plain in SHORT_NAMES or "_" in word or any(c.isdigit() or c.isupper() for c in word)
    if is_telling and not is_common and plain not in ALSO_A_WORD:
        return True
    before = text[max(0, start - 24) : start]
    if (not before or ADDRESSED.search(before) is not None) and (before.endswith("@") or ENDS.match(text, end)):
        return True
    if INTRODUCED.search(before) is not None or (before.rpartition("\n")[2] == "" and AND_NUMBER.match(text, end)):
        return True
    if is_common or not word.istitle():
        return False
    return text[end : end + 2] in ("'s", "’s") or (
        INSIDE_SENTENCE.search(before) is not None and DETERMINED.search(before) is None
    )
