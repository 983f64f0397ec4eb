"""Which records must stay in the house: the rules of the recipe, and how a field's value is compared with a rule's.

A field may hold several labels with commas between them ("legal, vip"): a rule fits where any of them is one of its values, in
whatever case. Readers join tags so, and a comparison of the whole would let such a record out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from data_prep.records import Sensitivity


@dataclass(frozen=True, slots=True)
class Rule:
    """A record is `sensitivity` where everything named here holds. fields: name → values; kinds: masked kinds, any of them."""

    sensitivity: Sensitivity
    source: str | None = None
    fields: dict[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """What it asks for, without the values: a report must not tell what may be somebody's name."""
        said = [f"source {self.source}"] if self.source else []
        said += [f"fields {', '.join(self.fields)}"] if self.fields else []
        said += [f"kinds {', '.join(self.kinds)}"] if self.kinds else []
        return f"{self.sensitivity}: {'; '.join(said) or 'every record'}"


def holds(value: str | None, wanted: Iterable[str]) -> bool:
    """Whether a field's value, or a part of it between commas, is one of those wanted."""
    if value is None:
        return False
    has = {part.strip().casefold() for part in (value, *value.split(","))}
    return any(w.strip().casefold() in has for w in wanted)


def fitting(
    rules: Iterable[Rule], source: str, masked: Mapping[str, int], *fields: Mapping[str, str]
) -> list[tuple[int, Rule]]:
    """The rules that fit a record, with their numbers. fields: what it holds, as read and as redacted; either may fit."""
    known = [{name.casefold(): value for name, value in f.items()} for f in fields]
    return [
        (n, rule)
        for n, rule in enumerate(rules)
        if rule.source in (None, source)
        and all(any(holds(f.get(name.casefold()), values) for f in known) for name, values in rule.fields.items())
        and (not rule.kinds or any(masked.get(kind) for kind in rule.kinds))
    ]
