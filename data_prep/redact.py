"""Personal data and secrets out, consistent surrogates in.

Question: placeholders or surrogates? Choice: surrogates of the same shape, from an HMAC of the value under a key that is
kept apart from the data, so that the same person is the same person in every ticket, document and prompt and the model
still learns what a name or an order looks like. Secrets get a placeholder: nobody should learn their shape. Price: whoever
holds the key can test a guess. Revisit if a regulator asks for irreversible data; then throw the key away.

Order matters: secrets first (they contain digits and @), then structured kinds with their checksums, then the people that
the export itself names, which removes more names than a language model does and masks no product names.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from data_prep.records import Person

FIRST_NAMES = (
    "Alba Amin Ana Arlo Asha Astrid Bela Bram Carla Cato Dalia Dario Edda Elio Elsa Emre Esme Fabio Fenna Gita Greta Hana Hugo"
    " Ida Ilya Imre Inga Ines Ivo Jana Jonas Juno Kaia Karim Keiko Lars Leda Liv Luca Magda Malik Mara Milo Mina Nadia Nero Nils"
    " Noor Olga Omar Otto Pia Quinn Rafa Rhea Rosa Sami Selma Sven Tala Theo Una Viktor Wanda Yara Zeno"
).split()
LAST_NAMES = (
    "Abel Adler Almeida Arnesen Bakker Barros Becker Berg Blom Bruno Castell Cohen Costa Dahl Demir Dietz Duarte Eklund Engel"
    " Faber Falk Ferro Fink Gallo Gruber Haas Hahn Holm Iversen Jansen Keller Klein Kovac Kraus Lang Lindt Lorenz Maier Marek"
    " Moreau Nagy Nilsen Novak Olsen Orsini Pavel Peters Prado Quist Ramos Reiter Ricci Roth Sala Santos Seidel Silva Solberg"
    " Sommer Stein Toth Varga Vidal Vogel Weber Winter Zanetti"
).split()

# A secret's pattern must anchor on what only a secret has: entropy alone flags "restart the server".
SECRETS = re.compile(
    r"(?P<private_key>-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[\s\S]{0,6000}?(?:-----END (?:[A-Z]+ )?PRIVATE KEY-----|\Z))"
    r"|(?P<api_key>\b(?:sk|pk|rk)[-_](?:proj-|live_|test_|ant-)?[A-Za-z0-9_-]{16,}"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bAIza[A-Za-z0-9_-]{30,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bhf_[A-Za-z0-9]{20,}"
    r"|\bnpm_[A-Za-z0-9]{30,}|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|\bdop_v1_[a-f0-9]{40,})"
    r"|(?P<vendor_key>\b[a-z]{2,12}_(?:live|test|prod|secret|key)_[A-Za-z0-9]{12,})"
    r"|(?P<jwt>\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,})"
    r"|(?P<bearer>\b[Bb]earer [A-Za-z0-9._~+/-]{16,}=*)"
    r"|(?P<url_password>(?<=://)[^\s/:@]{1,80}:[^\s/@]{1,80}(?=@))"
)
SPOKEN_PASSWORD = re.compile(
    r"(?i)\b((?:pass ?word|passwort|kennwort|passwd|pwd|passphrase|mot de passe|contraseña|wi-?fi key|wlan-?schlüssel|pin(?: code)?)"
    r"(?: (?:for|to|of|von|für) [\w' .-]{1,30}?)?\s*(?:is|was|lautet|ist|war|=|:|est|es)\s*:?\s*[\"'`„“]?)"
    r"((?=[^\s\"'`“”]*[\d!@#$%&*_+=?-])[^\s\"'`“”]{4,64}[^\s\"'`“”.,;:!?)])"
)
# Said without a verb ("network HomeNet, password blue-Kettle-77"): then the word must hold a letter and a digit.
BARE_PASSWORD = re.compile(
    r"(?i)\b((?:pass ?word|passwort|kennwort|passwd|pwd|passphrase|wi-?fi key|wlan-?schlüssel)\s*[(\"'„“]?\s*)"
    r"((?=[^\s]*\d)(?=[^\s\d]*[a-z])[^\s\"'()“”]{5,64}[^\s\"'()“”.,;:!?])"
)
EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
IPV4 = re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?!\d|\.\d)")
MAC = re.compile(r"\b(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}\b")
SSN = re.compile(r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])")
PHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(0\)[ .-]?)?(?:\(?\d{1,5}\)?[ .-]?){2,5}\d{2,4}"
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}[.-]\d{3}[.-]\d{4}|0\d{2,4}[ /-]\d{3,4}[ -]?\d{2,6})(?![\w-])"
)
NOT_A_NAME = frozenset(
    "admin agent and anonymous april august bot customer dear desk docs email fire firefox guest hello help hi june mail may"
    " me mozilla mr mrs ms no none null office owner robot root sales service staff support system team test thanks the thunderbird"
    " unknown user web windows www you".split()
)


# Names that are words too: masked only where a person is addressed or signs, never inside a sentence.
ALSO_A_WORD = frozenset(
    "art bill black brown chase cook dawn dean drew faith frank grace green guy hope iris jack joy king lily long mark miles page"
    " pat penny price ray rich rob rose ruby sandy skip sue summer victor violet white will young wolf klein lang stein winter".split()
)


def luhn(digits: str) -> bool:
    """ISO/IEC 7812 check digit."""
    total = 0
    for i, c in enumerate(reversed(digits)):
        n = int(c) * (2 if i % 2 else 1)
        total += n - 9 if n > 9 else n
    return total % 10 == 0


def iban_valid(value: str) -> bool:
    """ISO 13616: mod 97 of the rearranged number is 1."""
    compact = value.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


@dataclass(frozen=True, slots=True)
class Surrogates:
    """Surrogates under one key. `key` is 32 random bytes; the same value always gets the same surrogate."""

    key: bytes = field(repr=False)

    def number(self, kind: str, value: str) -> int:
        digest = hmac.new(self.key, f"{kind}\0{value.strip().casefold()}".encode(), hashlib.sha256).digest()
        return int.from_bytes(digest[:16], "big")

    def id(self, kind: str, value: str) -> str:
        return f"{kind}-{self.number(kind, value):032x}"[: len(kind) + 13]

    def name(self, value: str) -> tuple[str, str]:
        n = self.number("person", value)
        return FIRST_NAMES[n % len(FIRST_NAMES)], LAST_NAMES[n // 97 % len(LAST_NAMES)]

    def email(self, value: str) -> str:
        first, last = self.name(value)
        return f"{first}.{last}{self.number('email', value) % 90 + 10}@mail.example".lower()

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


class Redactor:
    """Masks one thread's texts. `people` are the participants the export names; `keep` are words never masked."""

    def __init__(
        self, surrogates: Surrogates, people: Iterable[Person] = (), keep: frozenset[str] = frozenset()
    ) -> None:
        self.surrogates = surrogates
        self.masked: Counter[str] = Counter()
        self._people = self._replacements(people, keep)
        ordered = sorted(self._people, key=lambda v: (-len(v), v))
        self._pattern = re.compile("|".join(_mention(v) for v in ordered)) if ordered else None

    def _replacements(self, people: Iterable[Person], keep: frozenset[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for person in people:
            identity = person.emails[0] if person.emails else (person.names[0] if person.names else person.id)
            first, last = self.surrogates.name(identity)
            for name in person.names:
                parts = name.split()
                forms = {name: f"{first} {last}" if len(parts) > 1 else first}
                if len(parts) > 1:
                    forms |= {parts[0]: first, parts[-1]: last, f"{parts[-1]}, {parts[0]}": f"{last}, {first}"}
                for raw, surrogate in forms.items():
                    if len(raw) > 2 and raw.casefold() not in NOT_A_NAME and raw not in keep and not raw.isdigit():
                        found.setdefault(raw, surrogate)
                        found.setdefault(raw.upper(), surrogate.upper())
                        if " " in raw:
                            found.setdefault(raw.lower(), surrogate.lower())
        return found

    def __call__(self, text: str) -> str:
        """The text with everything masked. Idempotent on its own surrogates' shapes only by luck: call once."""
        if not text:
            return text
        text = SECRETS.sub(self._placeholder("secret"), text)
        text = SPOKEN_PASSWORD.sub(self._password, text)
        text = BARE_PASSWORD.sub(self._password, text)
        if "@" in text:
            text = EMAIL.sub(self._sub("email", self.surrogates.email), text)
        if any(c.isdigit() for c in text):
            text = self._numbers(text)
        if self._pattern is not None:
            text = self._pattern.sub(self._person, text)
        return text

    def _numbers(self, text: str) -> str:
        s = self.surrogates
        text = IBAN.sub(self._sub("iban", lambda v: s.digits("iban", v, keep=2), iban_valid), text)
        text = CARD.sub(self._sub("card", lambda v: s.digits("card", v), lambda v: luhn(re.sub(r"\D", "", v))), text)
        text = MAC.sub(self._sub("mac", lambda v: "02:00:" + f"{s.number('mac', v):032x}"[:2] + ":00:00:01"), text)
        text = IPV4.sub(self._sub("ip", lambda v: f"192.0.2.{s.number('ip', v) % 254 + 1}", _is_address), text)
        text = SSN.sub(self._sub("ssn", lambda v: s.digits("ssn", v)), text)
        return PHONE.sub(
            self._sub("phone", lambda v: s.digits("phone", v, keep=3 if v[0] == "+" else 0), _is_phone), text
        )

    def _sub(
        self, kind: str, surrogate: Callable[[str], str], valid: Callable[[str], bool] = lambda _: True
    ) -> Callable[[re.Match[str]], str]:
        def replace(match: re.Match[str]) -> str:
            if not valid(match[0]):
                return match[0]
            self.masked[kind] += 1
            return surrogate(match[0])

        return replace

    def _placeholder(self, kind: str) -> Callable[[re.Match[str]], str]:
        def replace(_: re.Match[str]) -> str:
            self.masked[kind] += 1
            return "[SECRET]"

        return replace

    def _password(self, match: re.Match[str]) -> str:
        self.masked["secret"] += 1
        return match[1] + "[SECRET]"

    def _person(self, match: re.Match[str]) -> str:
        self.masked["person"] += 1
        return self._people[re.sub(r"\s+", " ", match[0])]


def _mention(name: str) -> str:
    """The pattern of one name where it stands for a person."""
    pattern = re.escape(name).replace(r"\ ", r"\s+")
    if name.casefold() in ALSO_A_WORD:
        return (
            rf"(?:(?<=Hi )|(?<=Dear )|(?<=Hello )|(?<=Thanks )|(?<=Regards, )|(?<=\n)){pattern}(?=\s*[,!.]?\s*(?:\n|$))"
        )
    return rf"(?<![\w@]){pattern}(?!\w)"


def _is_address(value: str) -> bool:
    """Version numbers look like addresses; these start low (`1.2.3.4`, `0.0.0.0`)."""
    return int(value.split(".")[0]) > 9 or value.startswith(("1.1.1.", "8.8."))


def _is_phone(value: str) -> bool:
    return 8 <= sum(c.isdigit() for c in value) <= 15
