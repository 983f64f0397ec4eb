"""Surrogate names by locale, and which locale a name looks like it comes from.

Family names are put together from two parts, rare ones on purpose: the fewer people bear a surrogate, the fewer can be mistaken
for it. Scripts other than Latin have whole names. A locale is inferred from the value alone, never from the text around it:
the same name must have the same surrogate in an English ticket and a German document.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

FIRST = {
    "en": "Alban Aldith Ansel Ardis Averil Barnaby Beryl Blythe Bram Briony Calder Clover Corin Cressida Dorcas Edlyn Elowen Ferris"
    " Garrick Hadley Harriet Isolde Jethro Kester Lettice Linnet Lorcan Maribel Merrick Nerys Orrin Osric Perpetua Quill Rafferty"
    " Rosalind Sorrel Tamsin Thaddeus Ursula Wilfred Winifred Yorick Zelda",
    "de": "Adelheid Alwin Annegret Balduin Benno Burghild Clothilde Detlef Edelgard Ehrhard Elfriede Emmerich Friedlinde Gernot Gerlinde"
    " Gottlieb Hadwig Heimo Hildrun Irmtraud Isfried Kunibert Leopoldine Lioba Ludger Meinhard Notburga Ottokar Reinhild Roswitha"
    " Sieglinde Sigmar Tassilo Theresia Traude Ulfried Volkmar Waltraud Wendelin Wolfhard",
    "fr": "Aliénor Amandin Anselme Apolline Barnabé Blandine Candide Clothaire Domitille Edmée Eloi Ernestine Fulbert Gatien Ghislaine"
    " Gontran Hermine Hippolyte Isaure Josselin Léonce Léopoldine Ludivine Maïlys Mélisande Norbert Octavie Ombeline Perrine Philibert"
    " Prosper Quentine Raymonde Roseline Sidonie Tancrède Théophane Ulrique Victoire Ysaline",
    "es": "Amapola Anselmo Azucena Baltasar Belarmino Benigna Calixto Candelaria Celedonio Clotilde Dulcinea Eleuterio Eloísa Emeterio"
    " Fabiola Froilán Genoveva Gumersindo Herminia Hipólito Iluminada Isidro Jacinta Leocadia Leandro Macario Melchora Nicanor Nieves"
    " Obdulia Olegario Plácida Primitivo Quintina Remedios Saturnino Teófila Urbano Valeriana Zacarías",
    "it": "Adelmo Allegra Amerigo Annunziata Baldassarre Benedetta Calogero Cosima Delfina Donatello Eleonora Ermenegilda Evaristo Fiammetta"
    " Fulgenzio Ginevra Gualtiero Iacopo Immacolata Isidora Lazzaro Leandra Ludovica Malvina Nazario Nunzia Ombretta Oreste Perpetua"
    " Petronio Quirino Rosaura Savino Serafina Tebaldo Teodolinda Ubaldo Vespasiano Violante Zaira",
    "nl": "Aagje Aldert Barend Berendina Coenraad Dieuwke Dirkje Egbert Evertje Fokke Foske Gerbrand Geesje Hendrikje Hidde Ietje Jorrit"
    " Karsten Klaasje Lambertus Lijsbet Maaike Meindert Neeltje Okke Pietronella Reinou Rinske Siebren Sjoukje Tjeerd Trijntje Ubbo"
    " Wiebe Willemijn Wouter Ymke Zwaantje",
    "sv": "Agda Alfhild Ansgar Asbjörn Botvid Brynhild Dagny Eilert Embla Eskil Folke Frej Gerda Gudrun Gunnvald Halvar Hedvig Hjalmar"
    " Ingegerd Inger Jorunn Ketil Knut Liv Magnhild Njord Oddny Orvar Ragnfrid Ragnvald Signe Sigurd Solveig Sverre Tjelvar Torborg"
    " Torsten Ulrika Valborg Ylva",
    "pl": "Adelajda Arkadiusz Bogna Bogumił Bronisław Celestyna Czesław Dobrawa Eustachy Felicja Gniewko Halszka Hieronim Iwona Jagna"
    " Jaromir Kalina Kazimiera Leszek Ludmiła Miłosz Mirosława Nadzieja Olgierd Pelagia Przybysława Radosława Roch Sławomir Świętopełk"
    " Tomira Urszula Wacława Wiesław Włodzimierz Zbigniewa Zdzisław Żaneta",
    "in": "Abhiram Achala Anirudh Aparajita Bhavesh Bhuvana Chaitanya Charulata Devdutt Dhanya Eshwar Gajendra Gayatri Hariharan Hemlata"
    " Indrajit Ishwari Jaideep Janaki Kamakshi Kedarnath Lalita Madhavan Malavika Narayani Omkar Padmaja Parthiv Raghunath Ranjana"
    " Sharada Somesh Tarini Udayan Urmila Vasanthi Venkatesh Yamini Yudhishthir",
    "tr": "Alpagu Aybike Bahtiyar Begüm Cihangir Çağla Dilruba Doğukan Ebrar Erdoğan Feride Gülnihal Gökberk Hasret İlbilge İlteriş Kamuran"
    " Leman Melikşah Müjgan Nalan Orhun Perihan Rüknettin Saadet Şahinde Tunahan Ülkü Yağmur Zülküf",
    "ru": "Агния Аристарх Варвара Велимир Всеволод Глафира Демьян Евлампий Ефросинья Зинаида Игнатий Капитолина Лукерья Мирослав Нонна"
    " Остап Прасковья Радмила Савелий Таисия Устинья Федот",
    "el": "Αγλαΐα Ανδρόνικος Βερενίκη Ευθαλία Ζήνων Θεοδότη Ιάσονας Κλεάνθης Λητώ Μελπομένη Ξενοφώντας Πολύκαρπος Ροδόπη Σωσάννα",
    "zh": "云舒 若溪 景行 知远 清扬 怀瑾 望舒 子衿 静姝 思齐 嘉树 明昭",
    "ja": "朔太郎 千登世 茜音 蒼士 紬希 凪咲 颯介 琴葉 汐里 遼河 雫月 樹生",
    "ko": "가온 나래 다온 라온 마루 보담 새론 아라 예솔 차온 한결 희나",
    "ar": "أريج بهاء تيماء ثامر جمانة حنين دانية رائد زهير سجى شذى ضحى طارق عبير غيث",
}
LAST = {
    "en": ("Alder Ash Birk Bramble Cawd Copper Dunn Ever Fen Gors Haw Holm Kerr Larch Mal Ned Osmo Pen Quar Rother Sedge Thorn Under Wether",
           "acre burn by combe cote croft den field garth hurst leigh low mere more ridge stead ton wick"),
    "de": ("Ahren Birken Brüg Dolden Elster Farn Geest Hallen Isen Kiefern Lerchen Moos Nessel Oster Quellen Rieden Schilf Tannen Ulmen Wachol",
           "bach beck brink büttel feldner hauser hagen hövel kamp klinger kötter lage moorer rath reuther siek thaler walder wiesner"),
    "fr": ("Aubé Beau Chante Clair Dor Fontre Gran Haute Lav Mont Noir Ormes Peyre Quer Roche Sauve Tour Val Vieille",
           "bois breuil champs court douce fleur garde lande lieu maison merle mouchet pierre rive seigne vigne villard"),
    "es": ("Alba Buena Casa Encina Fuen Gavi Huerta Lagu Mira Naval Oliva Peña Quinta Robla Sierra Torre Valde Villa",
           "berrocal carriles cerezo donaire espinel ganzo huelmo lozano marañón nuño olmeda pozuelo quiroga redondo salinero vaquerizo"),
    "it": ("Acqua Bella Campo Castel Fonte Gira Lava Monte Ombra Pietra Querce Rocca Selva Terra Valle Vigna",
           "bruna calda dolfi fiorita gelsi lunga marengo nardi ombrosi perini quadri rinaldi serena tondi vecchi zoppi"),
    "nl": ("Achter Berken Dijk Elzen Graan Heide Iepen Kruis Linden Molen Noorder Over Poel Riet Schap Tuin Veen Wilgen",
           "beekstra brugge donk enaar gaarde horst huizer kamper laar meer oord rade stein terp velde waard zicht"),
    "sv": ("Alm Björk Ek Fors Gran Hägg Järn Korn Löv Myr Norr Ormb Pil Rönn Sten Tall Ulv Vass Åker Öster",
           "blad brink dahl eberg fjord gårdh holt krona lund mark nes rud skog torp vall vik ås"),
    "pl": ("Brzoz Czerem Dąb Głog Jarz Kalin Lipn Modrz Olsz Piast Rzep Sosn Topol Wierzb Zawil Źródł",
           "anecki arski awiński ecki elski inecki iwski niewicz ogórski olewicz owiak owicz oński yłowicz"),
    "in": ("Achar Bhadra Chandra Dhara Ganga Hari Indra Jala Kamala Loka Megha Naga Padma Ratna Sagara Tara Vana",
           "bhushan darshi gopal kanthan mangalam murthi nandan palli prakash ranjan shekhar varadan vasan veti"),
    "tr": ("Ak Bozkır Çam Dağ Er Gök Ilgaz Kara Orman Pınar Selvi Toprak Uzun Yaz", "atlı başaran çelen dere ekinci gezer kaya pınarlı soylu taşan yurtsever"),
    "ru": ("Берез Ветлуг Горноста Дубрав Журавел Ивняк Калин Ладожн Малахов Осинн Полын Рябин Снегир Тополев Черемш", "ин ский цев ников ычев"),
    "el": ("Αμπελ Βουν Δασκαλ Ελαιών Καλαμ Λιβαδ Μελισσ Νερατζ Πευκ Ροδ Σταφυλ", "άκης ίδης όπουλος ιάδης άτος"),
    "zh": ("欧阳 上官 司徒 夏侯 诸葛 闻人 东方 尉迟 公孙 令狐 宇文 慕容", ""),
    "ja": ("朝比奈 五百蔵 海野原 榎並 小鳥遊 霧ヶ峰 篠突 千早川 月見里 七五三木 八十島 龍造寺", ""),
    "ko": ("남궁 제갈 선우 독고 황보 사공 서문 동방", ""),
    "ar": ("البستاني التلاوي الجرادات الحقيل الدرعاوي الرمثاوي الزبيدات السدراوي الغزاوين القرعان", ""),
}  # fmt: skip
PLACES = {
    "en": "Aldercombe Bramblewick Coldmere Dunstead Everleigh Fenhurst Gorsley Hawridge Larchden Malcote Otterlow Rothergarth Sedgeton",
    "de": "Ahrensiek Birkenlage Doldenhagen Farnbrink Geesthövel Isenkamp Lerchenrath Moosbeck Osterklinge Riedenthal Schilfbüttel",
    "fr": "Beaulande Chantemerle Clairvigne Fontrepierre Hautegarde Montbreuil Noirlieu Rochecourt Sauverive Tourvillard",
    "es": "Albaredondo Casaolmeda Encinares Fuenpozuelo Huertavieja Miraquiroga Navalcerezo Robladillo Valdesalinas",
    "it": "Bellombra Campogelsi Castelbruno Fontevecchia Montelunga Pietraserena Roccafiorita Selvaquadra Vallecalda",
    "nl": "Achterdonk Berkenoord Elzenrade Graanhuizen Heideterp Kruislaar Molenzicht Rietwaard Veenhorst",
}  # fmt: skip

_SCRIPTS = {
    "CYRILLIC": "ru",
    "GREEK": "el",
    "CJK": "zh",
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "ARABIC": "ar",
}
_LETTERS = (("ß", "de"), ("łąęśźżńćčřěšžůť", "pl"), ("ığş", "tr"), ("åøæ", "sv"), ("ñ", "es"), ("ëèêçàùœîôû", "fr"), ("öü", "de"), ("ä", "de"),
            ("é", "fr"), ("íóúá", "es"), ("ìò", "it"))  # fmt: skip
_ENDINGS = (
    ("sv", r"(?:sson|qvist|kvist|gren|ström|strom|sen|gaard|dahl|lund)"),
    ("nl", r"(?:stra|sma|huis|dijk|veld|inga|boer|mans)"),
    ("de", r"(?:mann|bauer|berger|m[ea][iy]er|hardt|schmidt|stein|hausen|hofer|huber|wald|feld|baum|bach|rich|heim|brecht|lein)"),
    ("pl", r"(?:sk[iay]|wicz|czyk|czak|ovi[ćc]|enko|ova|ov|ek|ák)"),
    ("it", r"(?:ini|elli|ella|etti|etto|ucci|acci|ello|isi|azzo|iani|ano)"),
    ("es", r"(?:[aeo]z|illo|ares|ado|eros?|uela|anza)"),
    ("fr", r"(?:eau|ault|oux|ouet|ard|aud|ier|ois|in|elle|ette)"),
    ("in", r"(?:kumar|singh|patel|rao|reddy|nathan|rajan|swamy|gupta|sharma|jee|iyer|nair|das|pillai|krishnan|murthy|prasad)"),
    ("tr", r"(?:oglu|oğlu|demir|yilmaz|kaya|celik)"),
)  # fmt: skip
_ENDING = [(locale, re.compile(rf"{ending}\Z")) for locale, ending in _ENDINGS]
_KNOWN = {
    "de": "hans jürgen klaus wolfgang uwe dieter günter gunter heinz horst karl heinrich ulrich jörg jorg matthias andreas stefan sabine"
    " ingrid ursula gisela petra monika renate heike katrin anke birgit jens kai sven torsten thorsten dirk holger lukas felix",
    "fr": "pierre jean jacques michel luc yves claude andre françois francois philippe thierry olivier guillaume mathieu benoit"
    " marie sylvie nathalie isabelle chantal brigitte celine aurelie chloe manon camille",
    "es": "carlos jose juan luis miguel javier pablo pedro manuel francisco antonio jorge diego alejandro maria carmen pilar dolores"
    " lucia sofia ana isabel",
    "it": "giuseppe giovanni luigi marco paolo luca matteo francesco andrea antonio roberto stefano giulia chiara francesca alessandro"
    " alessandra valentina elena simona",
    "nl": "jan piet kees henk joost sander maarten jeroen bas wim gerrit cornelis johannes anneke marijke joke ineke femke sanne daan",
    "sv": "lars anders erik gustav olof mats nils bengt per göran goran bjorn björn ingrid astrid karin birgitta kerstin maja freja mette"
    " søren soren",
    "pl": "piotr krzysztof andrzej tomasz marek jacek pawel paweł michal michał agnieszka katarzyna malgorzata ewa jiri petr tomas",
    "in": "raj ravi arun anil sunil vijay sanjay suresh ramesh amit rahul priya anita deepa lakshmi kavitha sandeep manoj rajesh",
    "tr": "mehmet mustafa ahmet emre murat ayse ayşe fatma zeynep elif",
}  # fmt: skip
_FIRST_NAMES = {name: locale for locale, names in _KNOWN.items() for name in names.split()}
_DOMAINS = {"de": "de", "at": "de", "ch": "de", "fr": "fr", "es": "es", "mx": "es", "ar": "es", "it": "it", "nl": "nl", "be": "nl", "se": "sv",
            "no": "sv", "dk": "sv", "pl": "pl", "cz": "pl", "in": "in", "tr": "tr", "ru": "ru", "ua": "ru", "gr": "el"}  # fmt: skip

_STREETS = (
    ("de", re.compile(r"(?i)stra(?:ß|ss)e\b|str\.|(?<=\w)(?:weg|platz|gasse|allee)\b|postfach")),
    ("fr", re.compile(r"(?i)\b(?:rue|boulevard|chemin|impasse|quai)\b")),
    ("es", re.compile(r"(?i)\b(?:calle|avda|avenida|paseo|apartado)\b")),
    ("it", re.compile(r"(?i)\b(?:via|viale|piazza|corso)\b")),
    ("nl", re.compile(r"(?i)(?:straat|laan|plein|gracht|kade)\b")),
)
_ADDRESS = {"en": "{house} {place} Street", "de": "{place}er Weg {house}", "fr": "{house} rue de {place}", "es": "Calle {place} {house}",
            "it": "Via {place} {house}", "nl": "{place}laan {house}"}  # fmt: skip


@lru_cache(maxsize=1 << 12)
def locale_of(value: str) -> str:
    """The locale of a name or an e-mail: by script, first name, letters, ending, the address's country. `en` where nothing tells."""
    name, _, domain = value.partition("@")
    lower = unicodedata.normalize("NFC", name).lower()
    script = _of_script(lower)
    if script is not None:
        return script
    words = re.findall(r"[^\W\d_]+", lower)
    if words and words[0] in _FIRST_NAMES:
        return _FIRST_NAMES[words[0]]
    if re.search(r"\bvan (?:de[nr]? )?\w", lower):
        return "nl"
    for locale, ending in _ENDING:
        if len(words) > 1 and ending.search(words[-1]):
            return locale
    for letters, locale in _LETTERS:
        if any(c in lower for c in letters):
            return locale
    found = _DOMAINS.get(domain.rpartition(".")[2], "en")
    return found if found not in _SCRIPTS.values() else "en"


def _of_script(text: str) -> str | None:
    found = next((s for c in text if ord(c) > 0x36F and (s := _script(c))), None)
    return "ja" if found == "zh" and any(_script(c) == "ja" for c in text) else found


def _script(c: str) -> str | None:
    return _SCRIPTS.get(unicodedata.name(c, "").partition(" ")[0])


@lru_cache(maxsize=64)
def first_names(locale: str) -> tuple[str, ...]:
    return tuple(FIRST[locale].split())


@lru_cache(maxsize=64)
def last_names(locale: str) -> tuple[str, ...]:
    begins, ends = LAST[locale]
    return tuple(b + e for b in begins.split() for e in ends.split()) if ends else tuple(begins.split())


def in_script(name: str) -> str | None:
    """The locale of a name that is written in another script than Latin; None for Latin."""
    return None if name.isascii() or all(ord(c) <= 0x36F for c in name) else _of_script(name)


def street(number: int, written: str) -> str:
    """An address that is nobody's, in the manner of the country that the written one looks like."""
    language = next((language for language, sign in _STREETS if sign.search(written)), "en")
    places = PLACES[language].split()
    place, house = places[number // 180 % len(places)], number % 180 + 1
    return _ADDRESS[language].format(place=place, house=house)


@lru_cache(maxsize=1)
def every_name() -> frozenset[str]:
    """Every first and last name that a surrogate may have."""
    return frozenset(name for locale in FIRST for name in (*first_names(locale), *last_names(locale)))
