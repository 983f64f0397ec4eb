"""Which agent reply may be learned, and why not.

A reply is a target when it solved something, for somebody who had asked, by itself, with what the model will be shown. Each
rule refuses for one reason with a name, so that a run's report says what a help desk's replies are made of. Rules read
English, German, French and Spanish; a reply in another language meets those that need no words.

Question: how sure must a rule be? Choice: a refused good reply costs one row, a learned bad one teaches the model to stall or
to invent orders, so doubt refuses. Revisit where `no_acceptable_reply` takes more than half of the solved tickets.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime

from data_prep.grounding import URL, numbers, particulars
from data_prep.library import Leaned
from data_prep.records import Redacted, Turn

SENTENCE = re.compile(r"(?<=[.!?…])[\s*_\"')\]]+|\n+")
COURTESY = re.compile(
    r"(?i)^[\W_]*(?:hi|hey|hello|dear|greetings|good (?:morning|afternoon|evening|day)|thanks?|many thanks|(?:you(?:'re| are)|most) "
    r"(?:very |most )?welcome|no (?:problem|worries)|my pleasure|glad|(?:i am|i'm|we are|we're) (?:so |very |really )?(?:glad|happy|pleased"
    r"|sorry)|great to hear|good to hear|happy to|sorry|apologies|(?:i|we) (?:do |sincerely )?apologi[sz]e|(?:kind|best|warm|many)?"
    r" ?regards|best(?: wishes)?,?$|cheers|sincerely|yours|have a|enjoy|(?:please )?let (?:me|us) know if|if you (?:have|need) (?:any"
    r"|more|further|additional|other)|is there anything else|anything else|(?:please )?(?:don't hesitate|do not hesitate|feel free) to"
    r"|hallo|guten (?:tag|morgen|abend)|moin|servus|sehr geehrte|liebe[rs]?\b|vielen dank|besten dank|danke|gern(?:e|\b)|mit freundlichen"
    r"|freundliche|viele grüße|beste grüße|liebe grüße|schöne[ns]? |entschuldig|wir entschuldigen|(?:es )?tut (?:mir|uns) leid|freut"
    r"|bei (?:weiteren )?(?:fragen|rückfragen)|ihr \w+[- ]team|bonjour|bonsoir|salut|merci|cordialement|bien (?:à vous|cordialement)"
    r"|bonne (?:journée|soirée)|je vous en prie|de rien|désolé|(?:nous|je) (?:sommes|suis) (?:désolé|ravi)|nous nous excusons"
    r"|n'hésitez pas|hola|buen(?:os|as) |estimad|gracias|muchas gracias|de nada|saludos|un saludo|atentamente|lo (?:siento|sentimos)"
    r"|(?:nos )?alegr|no dude)"
)
GREETING = re.compile(
    r"(?i)^[\W_]*(?:hi|hey|hello|dear|good (?:morning|afternoon|evening|day)|hallo|guten (?:tag|morgen|abend)|moin|servus|sehr geehrte\w*|liebe[rs]?"
    r"|bonjour|bonsoir|salut|hola|buen[oa]s (?:d[ií]as|tardes|noches)|estimad[oa]s?)\b[^,!.:;?\n]{0,40}[,!:]\s+(?=\w)"
)
RESERVATION = re.compile(
    r"(?i)\b(?:but|however|although|except|unfortunately|aber|jedoch|leider|mais|malheureusement|pero|sin embargo)\b"
)
SIGNED = re.compile(
    r"[\W_]*(?:[A-ZÀ-ÖØ-Þ][\w'’.-]*|the|von|de|van|and|&)(?: (?:[A-ZÀ-ÖØ-Þ][\w'’.-]*|the|von|de|van|and|&)){0,4}[\W_]*"
)
HOLDING = re.compile(
    r"(?i)\b(?:(?:i|we|they|team|colleagues?|department)(?:'ll|'re|'m|'ve| will| are| am| have| has| is)?(?: now| still| currently"
    r"| going to| be)* (?:look(?:ing|ed)? in(?:to)?|investigat\w+|check(?:ing)? (?:this|that|it|with|internally|on)|review(?:ing)? (?:this"
    r"|your|it)|get(?:ting)? back to you|come back to you|be in touch|keep you (?:posted|updated|informed)|update you|work(?:ing)? on (?:this|it|your)"
    r"|forward(?:ed|ing)|escalat(?:ed|ing)|pass(?:ed|ing) (?:this|it|your)|raised (?:this|it|a ticket)|let you know (?:as soon|once|when))"
    r"|(?:has|have) been (?:forwarded|escalated|passed|received|logged)|as soon as (?:possible|we (?:can|have|know))|bear with (?:us|me)"
    r"|for your patience|be patient|(?:received|thank you for) your (?:message|request|e-?mail|inquiry|enquiry)|will be (?:reviewed|answered)"
    r"|(?:melden|melde) (?:uns|mich)|(?:prüfen|prüfe|klären|kläre|untersuchen|schauen|schaue) (?:das|dies|es|ihr\w*|wir|ich|uns|mir|den|die)"
    r"|(?:wir|ich) (?:prüfe|kläre|kümmer)\w*|weitergeleitet|leiten? .{1,40} weiter|wird (?:derzeit |gerade )?(?:geprüft|bearbeitet)"
    r"|in kürze|so bald wie möglich|so schnell wie möglich|schnellstmöglich|um (?:etwas |ein wenig )?geduld|für ihre geduld|auf dem laufenden"
    r"|(?:ihre|deine) (?:nachricht|anfrage|e-?mail) (?:erhalten|eingegangen)"
    r"|(?:nous|je) (?:reviendrons|revenons|reviens|reviendrai) vers|(?:nous|je) (?:étudi|examin|vérifi|regard|analys)\w+|transmis"
    r"|transférée?|nous transmettons|(?:plus brefs|meilleurs) délais|dès que possible|votre patience|de patienter|tenons (?:au courant|informé)"
    r"|bien reçu votre (?:message|demande|mail)"
    r"|estamos (?:revisando|investigando|comprobando|verificando|trabajando)|(?:le|te|les|nos) (?:responderemos|contactaremos|avisaremos"
    r"|informaremos|pondremos)|mantendremos (?:informad|al tanto)|hemos (?:enviado|remitido|trasladado|escalado|recibido|reenviado)"
    r"|lo antes posible|en breve|por su paciencia|tu paciencia)\b"
)
INSTRUCTION = re.compile(
    r"(?im)^\s*(?:\d{1,2}\\?[.)]|[-*•+])\s+\S|\S\s*(?:>|→|->|»)\s*\S|`[^`\n]+`"
    r"|(?:^|[.:!?,;]\s+|\b(?:please|then|and|or|to|can|could|should|must|just|bitte|dann|und|puis|et|por favor|y)\s+)(?:try|click|tap|open|go to|press"
    r"|hold|select|choose|check (?:the|your|that|whether|if|for|under)|uncheck|tick|untick|enter|type|restart|reboot|reset|re-?install|uninstall"
    r"|install|download|disable|enable|turn (?:on|off)|switch|remove|delete|unplug|plug|connect|disconnect|update|upgrade|change|set|use|sign (?:in"
    r"|out)|log (?:in|out)|follow|run|scroll|replace|insert|move|copy|create|rename|clear|contact"
    r"|klicken|tippen|öffnen|gehen|drücken|halten|wählen|starten|prüfen sie|geben sie|trennen|installieren|deinstallieren|aktivieren|deaktivieren"
    r"|entfernen|löschen|setzen|verbinden|cliquez|appuyez|ouvrez|allez|sélectionnez|choisissez|saisissez|redémarrez|désinstallez|installez"
    r"|débranchez|branchez|activez|désactivez|vérifiez (?:que|si|votre|le|la|les)|suivez|haga clic|pulse|abra|vaya|seleccione|elija|reinicie"
    r"|desinstale|instale|desactive|active|compruebe|introduzca|siga)\b"
)
REQUEST = re.compile(
    r"(?i)^[\W_]*(?:(?:so|and|also|then|first|but|ok(?:ay)?|well)[, ]+)*(?:(?:please|kindly|could you|can you|would you|will you|may i|may we|can i)\b.{0,30}?\b)?"
    r"(?:provide|send|share|tell|give|post|let (?:me|us) know (?:what|which|whether|if|how|when|where|your|the)|specify|confirm|describe|explain"
    r"|clarify|upload|attach|reply with|i(?:'d| would)? need (?:to know|more|some|the|your)|we(?:'d| would)? need (?:to know|more|some|the|your))\b"
    r"|^[\W_]*(?:bitte|können sie|könnten sie|kannst du)\b.{0,60}\b(?:teilen|senden|schicken|nennen|geben|beschreiben|mitteilen|angeben|zusenden|bestätigen)"
    r"|^[\W_]*(?:pourriez-vous|pouvez-vous|merci de|veuillez)\b.{0,30}\b(?:préciser|indiquer|envoyer|fournir|communiquer|confirmer|décrire|joindre)"
    r"|^[\W_]*(?:por favor,? ?|podría |puede |le ruego )(?:nos |me )?\w*(?:indi|env|proporcion|diga|confirm|describ|facilit)"
)
ATTACHED = re.compile(
    r"(?i)\b(?:(?:please )?(?:see|find|open|check|view|use|print|refer to|look at|review)(?: in)? (?:the |my |our |your )?(?:attached|enclosed|attachment below)"
    r"|(?:please )?find (?:attached|enclosed|\w+ \w+ attached)|(?:i|we)(?:'ve|'m|'ll| have| am| will)? (?:also |just |now )?(?:attach(?:ed|ing)?|enclos(?:ed|ing)?"
    r"|added an? (?:image|screenshot|picture)|posted an? (?:image|screenshot))|(?:is|are) attached(?: (?:here|below|to this)|[.,;:!)])|attached (?:is|are|you(?:'ll| will)|to this"
    r"|herewith|below|(?:image|picture|screenshot|screen shot|photo|pdf|label|form|guide|document|file) (?:shows?|below|for|as|with|to))"
    r"|(?:see|in|at|from|per) (?:the |my |your |this |that )?(?:screen ?-?shots?|image|picture|photo)\b"
    r"|(?:your|the) (?:screen ?-?shots?|image|picture|photo)s? (?:you (?:sent|posted|attached|uploaded|provided|added)|shows?|below|above|suggests?|indicates?)"
    r"|(?:from|in|by) (?:your|the) (?:screen ?-?shots?|images?|pictures?|photos?)"
    r"|anbei|im anhang|beigefügt\w*|angehängt\w*|(?:ihr|dein|der|den|dem) (?:screenshot|bildschirmfoto|foto)"
    r"|ci-joint\w*|en pi[èe]ce jointe|(?:votre|la) capture d'écran|je (?:vous )?joins|nous (?:vous )?joignons"
    r"|adjunt[oa]s?|(?:su|la|tu) captura de pantalla)"
    r"|^!\[[^\]]*\]\([^)]*\)\s*$"
)
JUST_ATTACHED = re.compile(
    r"(?i)^[\W_]*(?:(?:hi|hello|hallo|bonjour|hola|please|bitte|here(?: it)? is|here(?: they)? are|hier|voici|aquí)\W*)*(?:see |find |siehe |voir |ver )?(?:the |my |die |der |la |le )?"
    r"(?:attach(?:ed|ment)s?|screenshots?|screen shots?|image|photo|picture|file|anhang|anbei|bild|pièce jointe|ci-joint|adjunto|captura)?(?: (?:file|image|photo|screenshot|attached|below|as requested))*[\W_]*$"
)
OWN_CASE = re.compile(
    r"(?i)\b(?:your|ihr(?:e[rnm]?)?|deine?[rnm]?|votre|su|tu)\s+(?:\w+\s+){0,2}?(?:orders?|invoices?|refunds?|tickets?|cases?|returns?|bookings?|payments?|bestellung|rechnung"
    r"|erstattung|rückerstattung|rücksendung|sendung|zahlung|anfrage|commande|facture|remboursement|pedido|factura|reembolso)\b[^.!?\n\d]{0,25}(?P<number>[A-Z]{0,4}-?\d[\w-]*)"
    r"(?!\s*(?:%|-?\s*\d*\s*(?:business|working|calendar|werk|arbeits|jours?|días?|days?|hours?|weeks?|months?|minutes?|tage?|stunden?|wochen?|heures?|horas?|semanas?|to|bis|à|-)))"
)
UNHELPED = re.compile(
    r"(?i)\b(?:(?:did|does|do|has|have|is|are|was)(?:n't| not)(?: seem to| really| actually)? (?:work|help|fix|solve|resolve|chang|made|make)\w*"
    r"|(?:still|same) (?:(?:the )?(?:same|problem|issue|error)|not|no |can(?:'t|not)|does|get|have|having|fail|broken|happen)|no (?:change|luck|difference|joy|effect|success)"
    r"|to no avail|nothing (?:changed|works|helped)|not (?:working|fixed|solved|resolved)|problem (?:persists|remains)|back again|happen(?:ed|s)? again"
    r"|hilft nicht|hat nicht (?:geholfen|funktioniert)|(?:funktioniert|geht) (?:immer noch |leider |weiterhin )*nicht|immer noch|besteht weiterhin|ne (?:fonctionne|marche) (?:toujours )?pas|toujours (?:pas|le même)"
    r"|(?:sigue|continúa) (?:sin|igual|fallando)|no (?:funciona|ha funcionado|funcionó))\b"
)
FUNCTION_WORDS = {
    "en": "the and you your is are with that this have not for can will was",
    "de": "der die das und sie ihr ist sind mit nicht ein eine für auf wenn wir ich",
    "fr": "le les des et vous votre est sont avec pas une pour dans nous je sur",
    "es": "el los las y usted su es son con una para por que en si no",
    "it": "il gli che di e non per una con è sono del della mi hai",
    "nl": "de het een en je niet van is met voor op dat zijn ik uw",
    "pt": "o os as e não uma para com você que do da em está são",
}
LANGUAGES = {code: frozenset(words.split()) for code, words in FUNCTION_WORDS.items()}
SHORT_REST = 10  # words of a holding reply that are neither stalling nor courtesy
ATTACHMENT_WORDS = 6  # a customer's message with a file and fewer words than this says nothing by itself


def conversation(record: Redacted) -> tuple[Turn, ...]:
    """The public turns of customers and agents: what positions count."""
    return tuple(t for t in record.turns if t.public and t.role in ("customer", "agent"))


def reason_not_to_learn(
    record: Redacted,
    position: int,
    *,
    min_words: int,
    max_chars: int,
    require_solved: bool,
    facts: Collection[str] = frozenset(),
) -> str | None:
    """Why the agent's turn at this position of the conversation must not be a target; None where it may.

    facts: identifiers, amounts and dates that the documents name (`Library.facts`): no secrets of one account.
    """
    turns = conversation(record)
    return (
        reason_of_thread(record, require_solved=require_solved)
        or _reason_of_place(record, turns, position)
        or _reason_of_text(turns[position].text, min_words, max_chars)
        or _reason_of_context(record, turns, position, facts)
    )


def reason_of_thread(record: Redacted, *, require_solved: bool) -> str | None:
    """Why nothing of this thread is learned: it was not solved, or its customer was not satisfied."""
    if require_solved and not record.solved:
        return "not_solved"
    return "bad_satisfaction" if record.satisfaction == "bad" else None


def last_acceptable(
    record: Redacted,
    *,
    min_words: int,
    max_chars: int,
    require_solved: bool,
    facts: Collection[str] = frozenset(),
) -> tuple[int | None, list[str]]:
    """Position of the last reply that may be learned, and why the replies after it may not."""
    turns, reasons = conversation(record), list[str]()
    for position in range(len(turns) - 1, -1, -1):
        if turns[position].role != "agent":
            continue
        reason = reason_not_to_learn(
            record, position, min_words=min_words, max_chars=max_chars, require_solved=require_solved, facts=facts
        )
        if reason is None:
            return position, reasons
        reasons.append(reason)
    return None, reasons


def stale(replied: datetime | None, leaned: Iterable[Leaned]) -> tuple[str, ...]:
    """The documents that were changed after the reply leaned on them: the reply may tell what is no longer so.

    An undated reply or document is not judged.
    """
    if replied is None:
        return ()
    return tuple(dict.fromkeys(d.document for d in leaned if d.updated is not None and d.updated > replied))


def _reason_of_place(record: Redacted, turns: tuple[Turn, ...], position: int) -> str | None:
    turn, after = turns[position], [t.text for t in turns[position + 1 :] if t.role == "customer"]
    if turn.origin != "person":
        return "macro" if turn.origin == "macro" else "automatic"
    if position == 0 or turns[position - 1].role != "customer":
        return "answers_no_customer"
    first = not any(t.role == "agent" for t in turns[:position])
    if record.reopened and ((first and not after) or any(not _is_courtesy(t) for t in after)):
        return "reopened_after"  # without a word: then after the only reply there was
    return "did_not_help" if after and UNHELPED.search(after[0][:400]) else None


def _reason_of_text(text: str, min_words: int, max_chars: int) -> str | None:
    if len(text) > max_chars:
        return "too_long"
    words = len(text.split())
    if words < 8 * SHORT_REST:
        sentences = [s for s in SENTENCE.split(text) if s.strip()]
        said = [
            s for s in map(_ungreeted, sentences) if not COURTESY.match(s) and not (len(s) < 40 and SIGNED.fullmatch(s))
        ]
        if not said:
            return "holding_reply" if HOLDING.search(text) else "greeting_only"
        if _is_holding(text, said):
            return "holding_reply"
        if _asks_back(said):
            return "asks_back"
    if ATTACHED.search(text):
        return "needs_attachment"
    return "too_short" if words < min_words else None


def _ungreeted(sentence: str) -> str:
    """What a sentence says after its greeting: `Hi Ann, press the button` does not only greet."""
    return GREETING.sub("", sentence, count=1)


def _is_courtesy(text: str) -> bool:
    """Nothing but thanks and greetings; `Thanks, but it still clicks` is more."""
    if RESERVATION.search(text) or UNHELPED.search(text):
        return False
    return all(COURTESY.match(s) or SIGNED.fullmatch(s) for s in SENTENCE.split(text) if s.strip())


def _is_holding(text: str, said: list[str]) -> bool:
    """It promises or reports work on the case, says hardly anything besides, and tells the customer to do nothing."""
    if not HOLDING.search(text) or URL.search(text):
        return False
    rest = [s for s in said if not HOLDING.search(s)]
    return sum(len(s.split()) for s in rest) < SHORT_REST and not any(INSTRUCTION.search(s) for s in rest)


def _asks_back(said: list[str]) -> bool:
    asking = [s for s in said if s.rstrip(" *_\"')").endswith("?") or REQUEST.match(s)]
    rest = sum(len(s.split()) for s in said if s not in asking)
    return bool(asking) and rest <= 3


def _reason_of_context(record: Redacted, turns: tuple[Turn, ...], position: int, facts: Collection[str]) -> str | None:
    asked, text = turns[position - 1], turns[position].text
    if asked.attachments and (len(asked.text.split()) < ATTACHMENT_WORDS or JUST_ATTACHED.match(asked.text)):
        return "needs_attachment"
    if _unknown_state(record, turns[:position], text, facts):
        return "needs_account_state"
    theirs, ours = _language(asked.text), _language(text)
    return "language_mismatch" if theirs and ours and theirs != ours else None


def _unknown_state(record: Redacted, before: tuple[Turn, ...], text: str, facts: Collection[str]) -> bool:
    """Does the reply state identifiers, amounts or dates that neither the conversation nor a document has?"""
    stated = set(particulars(text)) - set(facts)
    own = {m["number"] for m in OWN_CASE.finditer(text)}
    if not stated and not own:
        return False
    known = "\n".join([record.title, *record.fields.values(), *(t.text for t in before)])
    values = {q.value for q in numbers(known)}
    there = set(particulars(known)) | values
    compact = re.sub(r"[\W_]", "", known).casefold()
    return any(s not in there and not (len(s) > 4 and s in compact) for s in stated) or any(
        re.sub(r"[\W_]", "", n).casefold() not in compact for n in own
    )


def _language(text: str) -> str | None:
    """The language that the function words of a text are of; None where they are few or of two."""
    words = set(_words(text))
    votes = sorted(((len(words & known), code) for code, known in LANGUAGES.items()), reverse=True)
    (first, code), (second, _) = votes[:2]
    return code if first >= 4 and first >= 2 * second else None


def _words(text: str) -> Iterator[str]:
    return (w.strip(".,;:!?()\"'") for w in text[:1000].casefold().split())
