"""Grounding without a judge: what a text says is accepted, what it does not say is refused, number by number."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.grounding import names, numbers, occurs, particulars, ungrounded, urls

TEXT = (
    "## Reset the *RX-200*\n\nHold the **red** button for 10 seconds, see [the guide](https://docs.firm.example/reset). It costs"
    " 1,500.50 EUR a year.\n\n- Firmware v2.1 or later\n- at -5 °C wait twenty minutes\n\nWrite to desk@help.example, says Nadia Ferrow."
)


@pytest.mark.parametrize(
    "quote",
    [
        "Hold the red button for 10 seconds",
        "hold the red   button\nfor 10 seconds,",
        "“Hold the **red** button for 10 seconds, see the guide.”",
        "Reset the RX-200",
        "Firmware v2.1 or later at −5 °C",
        "ＨＯＬＤ the red button",
    ],
)
def test_a_quote_is_found_up_to_case_markdown_and_white_space(quote: str) -> None:
    assert occurs(quote, TEXT)


@pytest.mark.parametrize(
    "quote",
    ["", "  ", "...", "**", "Hold the blue button", "old the red button", "Hold the red butto", "10 seconds wait"],
)
def test_what_does_not_stand_there_word_for_word_is_no_quote(quote: str) -> None:
    assert not occurs(quote, TEXT)


@pytest.mark.parametrize(
    "answer",
    [
        "Hold the button for 10 seconds.",
        "Hold it ten seconds long; a year costs €1500.50.",
        "1. Get firmware v2.1\n2. Wait 20 minutes at -5 °C",
        "Step 3: the RX-200 is ready. Ask Nadia at desk@help.example.",
        "See www.docs.firm.example/reset for one more.",
        "1 500,50 EUR",
    ],
)
def test_what_the_text_says_in_other_spellings_is_grounded(answer: str) -> None:
    assert ungrounded(answer, TEXT) is None


@pytest.mark.parametrize(
    ("answer", "reason", "found"),
    [
        ("Hold it for 15 seconds", "number_not_in_text", "15 s"),
        ("Hold it for 10 minutes", "number_not_in_text", "10 min"),
        ("Hold it for thirty seconds", "number_not_in_text", "30 s"),
        ("Wait fünfundzwanzig Minuten", "number_not_in_text", "25 min"),
        ("It is 4x faster", "number_not_in_text", "4"),
        ("Get firmware v2.7", "number_not_in_text", "v2.7"),
        ("Get the RX-300", "number_not_in_text", "rx-300"),
        ("Fine at 5 °C", "number_not_in_text", "5 °c"),
        ("It costs 2,500.50 EUR", "number_not_in_text", "2500.5 €"),
        ("Sends 3.5mbit", "number_not_in_text", "3.5"),
        ("It came on 2026-03-01", "number_not_in_text", "2026-03-01"),
        ("See https://docs.firm.example/repair", "url_not_in_text", "docs.firm.example/repair"),
        ("See http://evil.example", "url_not_in_text", "evil.example"),
        ("Write to boss@help.example", "url_not_in_text", "boss@help.example"),
        ("Ask the friendly Oskar Quist", "name_not_in_text", "Oskar Quist"),
        ("It works with a MacBook", "name_not_in_text", "MacBook"),
    ],
)
def test_an_invented_number_address_or_name_is_refused_by_its_reason(answer: str, reason: str, found: str) -> None:
    lacking = ungrounded(answer, TEXT)
    assert lacking is not None
    assert lacking.reason == reason
    assert found in lacking.found


def test_german_nouns_are_no_names_but_people_and_products_are() -> None:
    assert names("Drücken Sie die Taste am Gerät von Nadia Ferrow mit dem MacBook", language="de") == {
        "Nadia Ferrow",
        "MacBook",
    }
    assert "Taste" in names("then press Taste", language="en")


def test_addresses_are_compared_without_scheme_and_punctuation_but_with_their_path() -> None:
    assert urls("See https://www.Firm.example/A/, or (http://firm.example/b).") == {"firm.example/A", "firm.example/b"}
    assert urls("no.address here, 3.5 and e.g. this") == frozenset()


def test_particulars_are_one_customers_and_not_what_everybody_may_know() -> None:
    of_a_case = "Order HL-204815 of 3 March 2026 over 49,90 € and parcel 00340434161094042557"
    assert set(particulars(of_a_case)) == {"hl204815", "3march", "49.9", "00340434161094042557"}
    assert (
        particulars("Error 0x80070057, KB5034441, bug 1482233, port 8080, since 2026, see https://x.example/123456")
        == {}
    )


# Any text made of such sentences: each holds a number in one of the ways people write them.
NUMBER = st.one_of(
    st.integers(0, 99_999).map(str),
    st.integers(1_000, 999_999).map(lambda n: f"{n:,}"),
    st.decimals(0, 999, places=2).map(str),
    st.integers(1, 12).map(lambda n: f"v{n}.{n + 3}"),
    st.integers(10, 99).map(lambda n: f"{n}x"),
    st.integers(1, 99).map(lambda n: f"-{n}"),
    st.integers(100, 999).map(lambda n: f"RX-{n}"),
    st.integers(100, 999).map(lambda n: f"E{n}"),
    st.integers(1, 28).map(lambda n: f"2026-03-{n:02}"),
    st.integers(10, 23).map(lambda n: f"{n}:45"),
    st.sampled_from("two twelve thirteen twenty ninety hundred zwanzig vierunddreißig treinta quinze".split()),
)
UNIT = st.sampled_from(["", " seconds", " minutes", "%", " EUR", " GB", " people", " a day", " °C", " mAh"])
SENTENCES = st.lists(
    st.tuples(
        st.sampled_from(["Wait", "Nadia Ferrow says that it takes", "The iPhone needs", "See https://firm.example/a?b=1 for", "- Use"]),
        NUMBER,
        UNIT,
        st.sampled_from([".", "!", ", see [the guide](https://firm.example/guide).", " (or **more**)."]),
    ).map(lambda parts: (f"{parts[0]} {parts[1]}{parts[2]}{parts[3]}", parts[1])),
    min_size=1, max_size=8,
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(SENTENCES, st.data())
def test_an_answer_made_of_the_texts_own_sentences_is_always_accepted(
    sentences: list[tuple[str, str]], data: st.DataObject
) -> None:
    text = data.draw(st.sampled_from([" ", "\n", "\n\n"])).join(s for s, _ in sentences)
    chosen = data.draw(st.lists(st.sampled_from([s for s, _ in sentences]), min_size=1, max_size=4))
    answer = data.draw(st.sampled_from([" ", "\n"])).join(chosen)
    assert ungrounded(answer, text) is None
    assert all(occurs(s, text) for s in chosen)


OTHER_WORDS = {"two": "three", "twelve": "eleven", "thirteen": "forty", "twenty": "sixty", "ninety": "eighty", "hundred": "fifty",
               "zwanzig": "fünfzig", "vierunddreißig": "sechsundvierzig", "treinta": "cuarenta", "quinze": "treize"}  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(SENTENCES, st.data())
def test_an_answer_with_a_changed_number_never_is(sentences: list[tuple[str, str]], data: st.DataObject) -> None:
    text = " ".join(s for s, _ in sentences)
    sentence, number = data.draw(st.sampled_from(sentences))
    digits = [i for i, c in enumerate(number) if c.isdigit()]
    if digits:
        at = data.draw(st.sampled_from(digits))
        digit = data.draw(st.sampled_from([d for d in "123456789" if d != number[at]]))
        changed = number[:at] + digit + number[at + 1 :]
    else:
        changed = OTHER_WORDS[number]
    answer = sentence.replace(number, changed, 1)
    if {q.value for q in numbers(changed)} <= {q.value for q in numbers(text)}:
        return  # the text says this number too
    lacking = ungrounded(answer, text)
    assert lacking is not None
    assert lacking.reason == "number_not_in_text"


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200))
def test_any_text_is_grounded_in_itself_and_in_its_lines(text: str) -> None:
    assert ungrounded(text, text) is None
    for line in text.split("\n"):
        assert ungrounded(line, text) is None
