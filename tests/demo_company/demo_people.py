"""The invented people of the demo company: agents, organisations, customers."""

from __future__ import annotations

import random
from dataclasses import dataclass

ORGS = [
    "Alder Row Housing",
    "Brackwell Lettings",
    "Castle Quay Flats",
    "Dunmore Heating",
    "Eschenhof Hausverwaltung",
    "Fenwick and Daughters Plumbing",
    "Glenarra Guest House",
    "Harbour Street Dental",
    "Kiefernweg Ferienwohnungen",
    "Lowmoor Primary School",
    "Northgate Parish Office",
    "Tobin Electrical",
]

AGENTS = [
    ("Priya Nair", "agent"),
    ("Tom Whitfield", "agent"),
    ("Katrin Vogel", "agent"),
    ("Declan Roche", "agent"),
    ("Sophie Marsh", "agent"),
    ("Owen Pryce", "admin"),
]
BOT_NAME = "Hearthline Assistant"

# how many contacts an organisation has, and its country (in the order of ORGS)
_CONTACTS = [
    (4, "uk"),
    (4, "uk"),
    (3, "uk"),
    (3, "ie"),
    (3, "de"),
    (2, "uk"),
    (2, "ie"),
    (3, "uk"),
    (3, "de"),
    (3, "uk"),
    (2, "uk"),
    (2, "ie"),
]
# people with a fixed name: words that are also verbs, coins and flowers, and owners of their firm
# name | country | organisation number (1-12) or nothing
_FIXED = """
Mark Field|uk|
Will Grant|uk|
Rose Atherton|uk|
Will Marsden|uk|1
Rose Delaney|ie|
Beth Fenwick|uk|6
Conor Tobin|ie|12
"""
# country | people | first names | last names
_NAMES = [
    (
        "uk",
        110,
        "Margaret Lucy Gareth Fiona Mark Will Rose Hannah Stuart Patricia Nigel Beth Colin Judith Pete Chloe Derek "
        "Robert Grace Joan Alistair Tamsin Leon Shirley Kieran Victor Eleanor Graham Lesley Simon Helen Barry Wendy "
        "Duncan Isla Callum Morag Rhys Megan Bronwen Huw Ellen Trevor Maureen Keith Pauline Jack Holly Adam Jess "
        "Martin Sheila Oliver Naomi Ruth Ian Carol Roy",
        "Holloway Pemberton Bowen McAllister Atherton Birch Kilner Doyle Fordham Raine Wakeley Langstaff Ramsbottom "
        "Osgood Trevelyan Whitlock Sparrow Munro Carew Hargreaves Botham Platt Lund Finch Ashworth Barraclough "
        "Cartledge Dunning Entwistle Fernyhough Garside Hebden Ibbotson Jessop Kershaw Lockwood Mellor Naylor Oakes "
        "Postlethwaite Rigby Sugden Thwaite Unsworth Varley Wainwright Yardley Prosser Meredith Gethin Llewellyn "
        "Drummond Geddes Kinnaird Lennox Strachan Tulloch Pascoe Penrose Tregenza Cobbold Thurlow Larter Bagshaw",
    ),
    ("uk", 10, "Dev Meera Anjali Rohan Sunita Kiran Harpreet", "Patel Joshi Desai Bhatt Sandhu Menon Kulkarni"),
    ("uk", 10, "Imran Yasmin Samir Faisal Nadia Shazia Tariq", "Sadiq Khalil Haddad Chaudhry Mirza Rahman Qureshi"),
    ("uk", 8, "Olu Amara Kwame Ngozi Femi Abena Chidi", "Adeyemi Osei Boateng Okonjo Mensah Eze Asante Bello"),
    ("uk", 4, "Marlon Yvonne Delroy Sonia", "Campbell Francis Blackwood Grange"),
    ("uk", 8, "Ewa Tomasz Agnieszka Pawel Marek Zofia Dorota", "Kowalczyk Nowak Wozniak Szymczak Wrona Dudek Pawlak"),
    ("uk", 4, "Ioana Andrei Vlad Mihaela", "Ionescu Popa Marin Dobre"),
    (
        "ie",
        49,
        "Aoife Cormac Niamh Padraig Siobhan Eoin Roisin Conor Maeve Brendan Orla Ciara Fergal Grainne Diarmuid Sinead "
        "Oisin Bernadette Liam Deirdre Ruairi Noreen Tadhg Clodagh Donal Una Seamus Kathleen",
        "Brennan Tully Gallagher Keane Whelan Mulcahy Daly Costello Fahey Hennessy Lanigan O'Dowd Hanrahan Tuohy "
        "Breslin Kilbride Mulready Geraghty O'Shea Scanlon Mulvihill Devane Hegarty Quilligan McGrath Lohan Tierney "
        "Considine Shanahan Carmody",
    ),
    (
        "de",
        59,
        "Sabine Jens Ute Markus Birgit Florian Anke Thomas Heike Stefan Claudia Rainer Nadine Holger Jürgen Monika "
        "Björn Karin Matthias Silke Uwe Katja Dieter Petra Lukas Annette Sven Gisela Tobias Dagmar Ralf Lena Henning "
        "Martina Wolfgang Kerstin",
        "Krause Petersen Lindner Thielemann Hollmann Seidel Rosenthal Brandl Sommerfeld Wiegand Mohr Kolb Fuchs Drews "
        "Köhler Behrens Dietzel Engelke Förster Gerlach Hartwig Jahnke Kessel Lohmann Möbius Neubert Oswald Pfeiffer "
        "Rademacher Schilling Trautmann Ullmann Vollmer Wendt Zimmer Barth Hinrichs Krüger Steinbach",
    ),
    ("de", 4, "Aylin Emre Elif Murat", "Demir Yildiz Aksoy Kaya"),
    ("de", 2, "Milena Goran", "Petrovic Jovanovic"),
]
_ASCII = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "'": ""})

_STREETS = {
    "uk": [
        ("Millrace Lane", "Aldersby ZA9 4QP"),
        ("Tanner's Row", "Wexcombe ZB2 7LD"),
        ("Chapel Rise", "Northgate ZC1 3HT"),
        ("Orchard Bank", "Fenwick Bridge ZD6 8RN"),
    ],
    "ie": [("Harbour Road", "Ballycarra, Co. Galway"), ("Strand View", "Kilmoran, Co. Cork")],
    "de": [("Lindenallee", "99999 Musterhausen"), ("Am Kirchberg", "98999 Altenfeld"), ("Eichenstr.", "97999 Neudorf")],
}

_STYLES = ["plain", "plain", "curt", "typo", "typo", "chatty", "angry", "angry", "formal"]
_STYLES_ORG = ["formal"] * 6 + ["plain", "plain", "curt", "angry"]


@dataclass(frozen=True)
class Customer:
    """One customer with contact data from reserved ranges."""

    number: int
    name: str
    country: str
    org: int | None
    email: str
    phone: str
    address: str
    style: str

    @property
    def first(self) -> str:
        return self.name.split()[0]


def mailbox(name: str) -> str:
    """The name as it stands in an e-mail address."""
    return name.lower().translate(_ASCII)


def make_names(rng: random.Random) -> list[tuple[str, str]]:
    """Different full names with their country; each first and last name is used about equally often."""
    taken = {line.split("|")[0] for line in _FIXED.split("\n")} | {name for name, _ in AGENTS}
    out = []
    for country, count, first_names, last_names in _NAMES:
        pools: list[list[str]] = [[], []]
        for _ in range(count):
            pools = [
                pool or rng.sample(names.split(), len(names.split()))
                for pool, names in zip(pools, (first_names, last_names), strict=True)
            ]
            first = pools[0].pop()
            last = next(name for name in pools[1] if f"{first} {name}" not in taken)
            pools[1].remove(last)
            taken.add(f"{first} {last}")
            out.append((f"{first} {last}", country))
    return out


def make_people(rng: random.Random) -> list[tuple[str, str, int | None]]:
    """Name, country and organisation of all customers, in mixed order."""
    people: list[tuple[str, str, int | None]] = []
    for line in _FIXED.strip().splitlines():
        name, country, org = line.split("|")
        people.append((name, country, int(org) if org else None))
    names = make_names(rng)
    rng.shuffle(names)
    for org_number, (contacts, country) in enumerate(_CONTACTS, start=1):
        missing = contacts - sum(org == org_number for _, _, org in people)
        for name in [n for n, c in names if c == country][:missing]:
            names.remove((name, country))
            people.append((name, country, org_number))
    people += [(name, country, None) for name, country in names]
    rng.shuffle(people)
    return people


def make_customers(seed: str) -> list[Customer]:
    """Return the customers in a fixed order."""
    rng = random.Random(f"{seed}:people")
    out = []
    for number, (name, country, org) in enumerate(make_people(rng), start=1):
        local = mailbox(name).replace(" ", rng.choice([".", "_", ""]))
        domain = f"org{org:02d}.example" if org else rng.choice(["example.com", "example.net", "example.org"])
        street, town = rng.choice(_STREETS[country])
        house = rng.randint(2, 88)
        address = f"{street} {house}, {town}" if country == "de" else f"{house} {street}, {town}"
        style = rng.choice(_STYLES_ORG if org else _STYLES)
        phone = f"+44 1632 960{100 + number * 7 % 800:03d}"
        out.append(Customer(number, name, country, org, f"{local}@{domain}", phone, address, style))
    return out
