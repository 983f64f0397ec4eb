"""Secrets: what gives access. A pattern anchors on what only that secret has; entropy alone flags "restart the server".

The anchors are the vendors' own prefixes, as gitleaks and GitHub's secret scanning list them. Passwords are found where
somebody says that something is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.pii import Found

# (what must occur in the text, cheap to test; the pattern). A group named `secret` is the part to mask, else all of it.
_ANCHORED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("-----BEGIN",), r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----[\s\S]{0,6000}?"
     r"(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----|\Z)"),
    (("AGE-SECRET-KEY-1",), r"AGE-SECRET-KEY-1[0-9A-Z]{50,}"),
    (("AKIA", "ASIA", "ABIA", "ACCA"), r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}"),  # AWS
    (("aws_", "AWS_", "SecretAccessKey"), r"(?:aws_?secret_?access_?key|SecretAccessKey)[\"']?\s*[:=]\s*[\"']?(?P<secret>[A-Za-z0-9/+]{40})"),
    (("AIza",), r"\bAIza[A-Za-z0-9_-]{30,}"),  # Google
    (("GOCSPX-",), r"\bGOCSPX-[A-Za-z0-9_-]{20,}"),
    (("ya29.",), r"\bya29\.[A-Za-z0-9_-]{20,}"),
    (("AccountKey=", "SharedAccessKey="), r"(?:Account|SharedAccess)Key=(?P<secret>[A-Za-z0-9/+]{40,}={0,2})"),  # Azure
    (("8Q~", "7Q~"), r"(?<![\w~.-])[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}"),
    (("sig=",), r"[?&]sig=(?P<secret>[A-Za-z0-9%/+]{30,}={0,2})"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{20,}"),
    (("github_pat_",), r"\bgithub_pat_[A-Za-z0-9_]{20,}"),
    (("glpat-", "gldt-", "glrt-", "glptt-"), r"\bgl(?:pat|dt|rt|ptt)-[A-Za-z0-9_-]{16,}"),
    (("xox", "xapp-"), r"\b(?:xox[abeprs]|xapp)-[A-Za-z0-9-]{10,}"),  # Slack
    (("hooks.slack.com",), r"hooks\.slack\.com/(?:services|workflows)/(?P<secret>[A-Za-z0-9+/]{20,})"),
    (("discord",), r"discord(?:app)?\.com/api/webhooks/(?P<secret>\d{15,}/[\w-]{40,})"),
    ((".",), r"\.(?<=[A-Za-z0-9_-]{24}\.)[A-Za-z0-9_-]{6}\.(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{27,}"),  # Discord bot
    (("sk-", "sk_", "pk-", "pk_", "rk-", "rk_"), r"\b[spr]k[-_](?:proj-|live_|test_|ant-)?[A-Za-z0-9_-]{16,}"),  # OpenAI, Anthropic, Stripe
    (("whsec_",), r"\bwhsec_[A-Za-z0-9+/]{20,}"),
    (("hf_",), r"\bhf_[A-Za-z0-9]{20,}"),
    (("npm_",), r"\bnpm_[A-Za-z0-9]{30,}"),
    (("pypi-",), r"\bpypi-[A-Za-z0-9_-]{40,}"),
    (("SG.",), r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"),  # SendGrid
    (("SK", "AC"), r"\b(?:SK|AC)[0-9a-f]{32}\b"),  # Twilio
    (("key-",), r"\bkey-[0-9a-f]{32}\b"),  # Mailgun
    (("-us",), r"\b[0-9a-f]{32}-us\d{1,2}\b"),  # Mailchimp
    ((":AA",), r"(?<!\w)\d{8,10}:AA[\w-]{33}"),  # Telegram
    (("_v1_",), r"\bdo[opr]_v1_[a-f0-9]{40,}"),  # DigitalOcean
    (("shp",), r"\bshp(?:at|ss|ca|pa)_[A-Fa-f0-9]{32,}"),  # Shopify
    (("sq0", "EAAA"), r"\b(?:sq0(?:atp|csp|idp)-[\w-]{20,}|EAAA[\w-]{56,})"),  # Square
    (("dapi",), r"\bdapi[a-f0-9]{32}(?:-\d)?\b"),  # Databricks
    (("glc_", "glsa_"), r"\bgl(?:c|sa)_[A-Za-z0-9_+/=]{30,}"),  # Grafana
    (("ATATT", "ATCTT"), r"\bAT[AC]TT3[A-Za-z0-9_=-]{50,}"),  # Atlassian
    (("hvs.", "hvb."), r"\bhv[sb]\.[\w-]{24,}"),  # Vault
    (("NRAK-", "PMAK-"), r"\b(?:NRAK-[A-Z0-9]{20,}|PMAK-[a-f0-9-]{40,})"),  # New Relic, Postman
    (("lin_api_", "ntn_", "sntrys_"), r"\b(?:lin_api_|ntn_|sntrys_)[A-Za-z0-9_+/=]{30,}"),
    # vendors that follow Stripe's way
    (("_live_", "_test_", "_prod_", "_secret_", "_key_"), r"\b[a-z]{2,12}_(?:live|test|prod|secret|key)_[A-Za-z0-9]{12,}"),
    (("eyJ",), r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),  # JWT
    (("earer ",), r"\b[Bb]earer [A-Za-z0-9._~+/-]{16,}=*"),
    (("asic ",), r"\b[Bb]asic (?P<secret>(?=[A-Za-z+/]*[0-9A-Z][A-Za-z+/]*[0-9a-z])[A-Za-z0-9+/]{16,}={1,2})"),
    (("://",), r"(?<=://)[^\s/:@]{1,80}:[^\s/@]{1,80}(?=@)"),
)  # fmt: skip
SHORTEST = 14  # characters without a space that a secret with an anchor has at least
# Assignments: the anchors are looked for in lower case.
_ASSIGNED = (
    (("password=", "passwd=", "pwd=", "passphrase=", "token=", "key=", "secret=", "session_id=", "sessionid="),
     r"(?i)(?:[?&;\s\"']|^)(?:password|passwd|pwd|passphrase|(?:access|refresh|auth|private)?_?token"
     r"|api_?key|apikey|client_?secret|secret(?:_?key)?|session_?id)=[\"']?(?P<secret>[^\s\"'&;<>{}$%*]{6,200})"),
    (("key", "token", "secret"),
     r"(?i)\b(?:api|access|auth|client|secret|private|encryption|license|licence)[ _-]?(?:key|token|secret)[\"']?"
     r"\s{0,2}[:=]\s{0,2}[\"']?(?P<secret>(?=[^\s\"']*\d)(?=[^\s\"']*[A-Za-z])[\w+/.~-]{16,200}=*)"),
)  # fmt: skip
ANCHORED = [(anchor, re.compile(pattern)) for anchors, pattern in _ANCHORED for anchor in anchors]
ASSIGNED = [(anchor, re.compile(pattern)) for anchors, pattern in _ASSIGNED for anchor in anchors]

# Everything below is matched against the lower-case text: `re` skips to a first letter there, and cannot with (?i).
_WORD = (
    r"(?:pass ?words?|passwort|kennwort|passwd|pwd?|passphrase|passcode|mot de passe|mdp|contraseña|clave"
    r"|parola d'ordine|wachtwoord|wi-?fi key|wlan-?(?:schlüssel|key)|netzwerkschlüssel)"
)
_PIN = (
    r"(?:pin(?:[ -]?(?:code|nummer|number))?|puk|otp|tan|cvv2?|cvc2?|(?:security|verification|sicherheits|bestätigungs|one[- ]time)"
    r"[ -]?(?:code|pin|password)|code (?:pin|de vérification)|código(?: de verificación)?)"
)
_IS = r"(?:\s*(?:is|was|are|lautet|ist|war|est|es|è|era|=|:)\s*:?|\s*[:=])\s*"
_FOR = r"(?: (?:for|to|of|von|für|zu|pour|para|per|di|del|voor)(?: [\w'.@-]{1,24}){1,4}?)?"
_NOT_A_LENGTH = r"(?!\s*(?:digit|stellig|ziffern|zeichen|char|letters|chiffres|caract|caratteri|tekens))"
_BEGIN, _END = r"[\"'`„“«*]{0,3}", r"[^\s\"'`“”».,;:!?)](?=[\s\"'`“”».,;:!?)]|$)"
_SIGNED = rf"(?!https?:)(?=[^\s\"'`“”]*[\d!@#$%&*_+=?~^])[^\s\"'`“”]{{2,64}}{_END}"
WORD = re.compile(rf"\b{_WORD}\b")
# With a verb or colon: what follows must hold a digit or a sign, so that "is wrong" is no password.
SAID = re.compile(rf"{_FOR}{_IS}{_BEGIN}(?P<secret>{_SIGNED}){_NOT_A_LENGTH}")
CHANGED = re.compile(rf" (?:to|in|auf|zu):? {_BEGIN}(?P<secret>{_SIGNED}){_NOT_A_LENGTH}")
CHANGES = re.compile(r"\b(?:changed?|set|reset|geändert|ändern)(?: \w+){1,3}? $")
# Said without a verb ("network HomeNet, password blue-Kettle-77"): then the word must hold a letter and a digit.
BARE = re.compile(
    r"\s*[(\"'„“*]{0,3}\s*(?P<secret>(?=\S*\d)(?=[^\s\d]*[a-z])[^\s\"'()“”<>=/]{5,64}[^\s\"'()“”<>=/.,;:!?*](?![^\s\"'()“”<>=/.,;:!?*]))"
)
SPLIT = re.compile(rf"{_FOR}(?:{_IS}|\s+)(?P<secret>[a-z]{{3,20}} \d{{2,6}})\s*(?:$|[,;\n]|\.(?!\d))")
SPACED = re.compile(rf"{_FOR}{_IS}(?P<secret>(?:[a-z]{{1,4}} )?\d{{1,8}}(?: [a-z]{{1,4}}| \d{{1,8}}){{1,5}})\s*$")
DIGITS = re.compile(r" (?P<secret>\d{4,12})\s*(?:$|[.,;!\n])")
# A plain word only where its owner says it and nothing follows; then it must not be a word that describes passwords.
OWNED = re.compile(
    rf"{_FOR}{_IS}{_BEGIN}(?P<secret>[^\W_]{{4,32}}(?: \d{{2,6}})?)(?=[\"'`“”»*]{{0,3}}\s*(?:[.,;!)]|\n|$|\band\b|\bund\b))"
)
OWNER = re.compile(r"\b(?:my|our|your|the new|mein|unser|dein|das neue|mon|notre|mi|nuestra|la mia|mijn) (?:[\w-]+ )?$")
COLON = re.compile(rf"\s*[:=]\s*{_BEGIN}(?P<secret>[^\W\d_]{{4,32}})(?=[\"'`“”»*]{{0,3}}[ \t]*(?:\n|$|[,;]))")
PIN = re.compile(rf"\b{_PIN}\b{_FOR}(?:{_IS}|\s+){_BEGIN}(?P<secret>\d{{3,8}})(?![\w.-]*\w){_NOT_A_LENGTH}")
PASS_WORDS = (
    "pass", "kennwort", "pwd", "pw", "mdp", "contrase", "clave", "wachtwoord", "parola", "wifi key", "wi-fi key", "wlan", "schlüssel",
)  # fmt: skip
PIN_WORDS = ("pin", "otp", "code", "cvv", "cvc", "puk", "tan ", "código")
THREE_DIGITS = re.compile(r"\d{3}")
DESCRIBES = frozenset(
    "wrong incorrect correct right invalid valid expired accepted rejected refused required needed missing empty blank saved"
    " stored remembered same fine good okay strong weak gone unknown lost known different always never still only also used"
    " unchanged changed working broken there here being asked entered typed prompt prompts field fields login account"
    " falsch richtig korrekt ungültig gültig abgelaufen vergessen nicht leer gespeichert unbekannt gesperrt geändert bekannt sicher"
    " incorrecte correcte refusé erroné oublié valide invalide bonne bon faux fausse expiré demandé enregistré changé"
    " incorrecta correcta inválida válida olvidada errónea mala buena segura cambiada sbagliata errata corretta scaduta"
    " onjuist fout verkeerd correct juist verlopen vergeten your their this that what which from with mine hers changeme"
    " optional mandatory hidden visible encrypted secure safe case sensitive plain text normal important available unavailable"
    " none null true false yes string required-field password passwort kennwort".split()
)


def secrets(text: str, lower: str) -> Iterator[Found]:
    """Every secret; places may overlap. lower: the text in lower case, letter for letter."""
    patterns = []
    if max(map(len, text.split()), default=0) >= SHORTEST:
        patterns = [p for anchor, p in ANCHORED if anchor in text]
    if "=" in text or ":" in text:
        patterns += [p for anchor, p in ASSIGNED if anchor in lower]
    for pattern in dict.fromkeys(patterns):
        yield from map(_found, pattern.finditer(text))
    if [w for w in PASS_WORDS if w in lower]:
        for word in WORD.finditer(lower):
            yield from _password(lower, word.start(), word.end())
    if THREE_DIGITS.search(lower) and [w for w in PIN_WORDS if w in lower]:
        yield from map(_found, PIN.finditer(lower))


def _password(lower: str, word: int, at: int) -> Iterator[Found]:
    """What is said to be the password: `word` is where the word for it begins, `at` where it ends."""
    before = lower[max(0, word - 40) : word]
    signed = [SAID, BARE, SPLIT, SPACED, DIGITS] + ([CHANGED] if CHANGES.search(before) else [])
    plain = [COLON] + ([OWNED] if OWNER.search(before) else [])
    for pattern in signed + plain:
        m = pattern.match(lower, at)
        if m is None or m["secret"].strip("*_") in DESCRIBES:
            continue
        if pattern in signed or not m["secret"].endswith(("ed", "ing", "able", "ible", "less", "ly")):
            yield _found(m)


def _found(m: re.Match[str]) -> Found:
    return Found("secret", *m.span("secret" if "secret" in m.re.groupindex else 0))
