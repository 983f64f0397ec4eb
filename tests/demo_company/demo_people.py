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

# name | country | organisation number (1-12) or nothing
_CUSTOMERS = """
Margaret Holloway|uk|
Imran Sadiq|uk|
Lucy Pemberton|uk|
Gareth Bowen|uk|
Fiona McAllister|uk|
Mark Field|uk|
Will Grant|uk|
Rose Atherton|uk|
Olu Adeyemi|uk|
Hannah Birch|uk|
Stuart Kilner|uk|1
Patricia Doyle|uk|2
Nigel Farthing|uk|3
Beth Fenwick|uk|6
Amara Osei|uk|8
Colin Raine|uk|10
Judith Wakeley|uk|11
Pete Langstaff|uk|
Chloe Ramsbottom|uk|
Derek Osgood|uk|
Yasmin Khalil|uk|
Robert Trevelyan|uk|
Grace Whitlock|uk|
Joan Sparrow|uk|
Alistair Munro|uk|
Tamsin Carew|uk|
Dev Patel|uk|
Ewa Kowalczyk|uk|
Leon Hargreaves|uk|
Shirley Botham|uk|
Kieran Platt|uk|1
Meera Joshi|uk|2
Victor Lund|uk|
Eleanor Finch|uk|
Samir Haddad|uk|
Aoife Brennan|ie|
Cormac Tully|ie|4
Niamh Gallagher|ie|
Padraig Keane|ie|
Siobhan Whelan|ie|7
Eoin Mulcahy|ie|
Roisin Daly|ie|
Conor Tobin|ie|12
Maeve Costello|ie|
Brendan Fahey|ie|
Orla Hennessy|ie|
Sabine Krause|de|
Jens Petersen|de|
Ute Lindner|de|5
Markus Thielemann|de|
Birgit Hollmann|de|
Florian Seidel|de|
Anke Rosenthal|de|9
Thomas Brandl|de|
Heike Sommerfeld|de|
Stefan Wiegand|de|
Claudia Marx|de|
Rainer Kolb|de|
Nadine Fuchs|de|
Holger Drews|de|
"""

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


def make_customers(seed: str) -> list[Customer]:
    """Return the 60 customers in a fixed order."""
    rng = random.Random(f"{seed}:people")
    out = []
    for number, line in enumerate(_CUSTOMERS.strip().splitlines(), start=1):
        name, country, org = line.split("|")
        local = name.lower().replace("'", "").replace(" ", rng.choice([".", "_", ""]))
        domain = f"org{int(org):02d}.example" if org else rng.choice(["example.com", "example.net", "example.org"])
        street, town = rng.choice(_STREETS[country])
        house = rng.randint(2, 88)
        address = f"{street} {house}, {town}" if country == "de" else f"{house} {street}, {town}"
        style = "formal" if org else rng.choice(["plain", "plain", "curt", "typo", "chatty", "angry", "formal"])
        out.append(
            Customer(
                number,
                name,
                country,
                int(org) if org else None,
                f"{local}@{domain}",
                f"+44 1632 960{100 + number * 7 % 800:03d}",
                address,
                style,
            )
        )
    return out
