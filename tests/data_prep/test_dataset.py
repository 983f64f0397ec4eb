"""The whole preparation: the same dataset however it is run or interrupted, linked records together, every row traceable."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data_prep import dataset, leakage, select, shards
from data_prep.card import render
from data_prep.dedup import signature
from data_prep.parquet import SPLITS, files_of, read_rows
from data_prep.records import Split
from data_prep.sensitivity import Rule
from data_prep.steps import Made, Settings
from data_prep.work import Counts, Executor, Source
from tests.conftest import help_desk, write_export

TASKS: dict[str, dict[str, Any]] = {
    "triage": {"field": "topic", "labels": ["billing", "delivery", "pairing"]},
    "draft_reply": {"min_words": 5},
}


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "tasks": TASKS, "keep_words": (), "near_duplicate_threshold": 0.9, "test_from": datetime(2026, 2, 10, tzinfo=UTC),
        "test_until": None, "dev_share": 0.1, "min_label_examples": 1, "max_same_answer": 9, "max_rows": {}, "seed": 3,
    }  # fmt: skip
    return Settings(**{**values, **changes})


def build(
    path: Path, out: Path, *, executor: Executor | None = None, progress: Any = None, card: Any = None, **changes: Any
) -> Counts:
    source = Source("desk", "zendesk", path, {"custom_fields": {"topic": 7}})
    return dataset.build(
        [source], settings(**changes), key=b"k" * 32, out=out, progress=progress or (lambda *_: None),
        executor=executor or Executor("processes", {"processes": 1}), card=card,
    )  # fmt: skip


def hashes(out: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(out.iterdir()) if p.is_file()}


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "RECORDS", 7)


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize(
    "executor",
    [Executor("processes", {"processes": 2}), Executor("datatrove", {"tasks": 4, "workers": 2})],
    ids=["two processes", "datatrove with four tasks"],
)
def test_any_executor_gives_the_same_dataset(tmp_path: Path, executor: Executor) -> None:
    export = write_export(tmp_path / "export", help_desk(60))
    build(export, tmp_path / "one")
    build(export, tmp_path / "other", executor=executor)
    assert len(hashes(tmp_path / "one")) >= 5
    assert hashes(tmp_path / "one") == hashes(tmp_path / "other")


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("step", ["read desk", "redact", "rows"])
def test_an_interrupted_preparation_goes_on_and_ends_the_same(tmp_path: Path, step: str) -> None:
    export = write_export(tmp_path / "export", help_desk(60))
    build(export, tmp_path / "whole")

    def stop(now: str, done: int, of: int | None) -> None:
        if now == step and done >= 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(export, tmp_path / "cut", progress=stop)
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "cut" / "shards").rglob("*.done.json")}
    seen: list[str] = []
    build(export, tmp_path / "cut", progress=lambda now, *_: seen.append(now))
    assert hashes(tmp_path / "cut") == hashes(tmp_path / "whole")
    assert done or step == "read desk"
    assert not (tmp_path / "cut" / "shards").exists(), "raw texts stay nowhere"
    assert ("read desk" in seen) == (step == "read desk")


def test_every_row_leads_to_its_file_and_place(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    export = write_export(tmp_path / "export", help_desk(60))
    build(export, tmp_path / "out")
    lineage = [r for p in files_of(tmp_path / "out", "lineage") for r in pq.read_table(p).to_pylist()]
    ids = {r.id for s in SPLITS for r in read_rows(tmp_path / "out", s)}
    assert {r["row"] for r in lineage} == ids
    for row in lineage:
        data = (export / row["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]
        found = json.loads(data)
        for part in row["at"].strip("/").split("/"):
            found = found[int(part)] if isinstance(found, list) else found[part]
        assert str(found.get("ticket_id", found["id"])) == row["record"].partition(":")[2]


def test_a_reply_that_leans_on_documents_leads_to_their_passages_too(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    export = help_desk(60)
    for comment in export["comments"]:
        if comment["public"]:
            comment["plain_body"] += " See https://help.example/valves for how the valve is paired again with the hub."
    guide = "# Valves\n\nhttps://help.example/valves\n\n## Pairing\n\nThe valve is paired again by holding its button for ten seconds.\n"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "valves.md").write_text(f"---\nurl: https://help.example/valves\n---\n{guide}")
    sources = [
        Source("desk", "zendesk", write_export(tmp_path / "export", export), {"custom_fields": {"topic": 7}}),
        Source("docs", "markdown", tmp_path / "docs"),
    ]
    dataset.build(
        sources, settings(tasks={"doc_grounded_reply": {"min_words": 5}}), key=b"k" * 32, out=tmp_path / "out",
        progress=lambda *_: None, executor=Executor("processes", {"processes": 1}),
    )  # fmt: skip
    lineage = [r for p in files_of(tmp_path / "out", "lineage") for r in pq.read_table(p).to_pylist()]
    ids = {r.id for s in SPLITS for r in read_rows(tmp_path / "out", s)}
    passages = [r for r in lineage if r["record"] == "docs:valves.md"]
    assert {r["row"] for r in passages} == ids
    sha = hashlib.sha256((tmp_path / "docs" / "valves.md").read_bytes()).hexdigest()
    assert {(r["source"], r["file"], r["sha256"]) for r in passages} == {("docs", "valves.md", sha)}
    assert all(r["at"].startswith("chars ") for r in passages)


def merged(ticket: int, other: int) -> dict[str, Any]:
    via = {"channel": "web", "source": {"from": {"ticket_ids": [other]}, "to": {}, "rel": "merge"}}
    return {
        "id": 9000 + ticket, "ticket_id": ticket, "author_id": 1, "public": True, "plain_body": "merged",
        "created_at": "2026-03-01T00:00:00Z", "via": via,
    }  # fmt: skip


def test_linked_tickets_never_stand_on_both_sides_even_through_a_copy(tmp_path: Path) -> None:
    export = help_desk(60)
    export["comments"] += [merged(1, 60), merged(50, 3)]  # 1 and 3 are old, 50 and 60 are test tickets
    copy = {**export["tickets"][4], "id": 61}  # a copy of ticket 5, linked with test ticket 55: 5 goes with it
    export["tickets"].append(copy)
    export["comments"] += [
        {**c, "id": 8000 + c["id"], "ticket_id": 61} for c in export["comments"] if c["ticket_id"] == 5
    ] + [merged(61, 55)]
    counts = build(write_export(tmp_path / "export", export), tmp_path / "out")
    sides: dict[str, set[Split]] = {}
    for side in SPLITS:
        for row in read_rows(tmp_path / "out", side):
            sides.setdefault(row.record_ids[0], set()).add(side)
    assert "desk:60" in sides
    assert not {"desk:1", "desk:3", "desk:5", "desk:61"} & set(sides)
    assert counts.steps["split"]["dropped"]["group_straddles_test"] == 3
    assert counts.leakage["linked pairs on both sides"] == 0
    assert counts.leakage["groups on both sides"] == 0


def test_rules_mark_rows_that_must_stay_in_the_house(tmp_path: Path) -> None:
    export = help_desk(60)
    export["comments"][0]["plain_body"] += " my card is 4111 1111 1111 1111"
    rules = (Rule("local_only", kinds=("card",)), Rule("local_only", source="desk", fields={"topic": ("pairing",)}))
    build(write_export(tmp_path / "export", export), tmp_path / "out", rules=rules)
    rows = [r for s in SPLITS for r in read_rows(tmp_path / "out", s)]
    kept = {r.record_ids[0] for r in rows if r.sensitivity == "local_only"}
    pairing = {r.record_ids[0] for r in rows if r.label == "pairing"}
    assert pairing
    assert kept == pairing | {"desk:1"}


def test_a_rule_fits_any_of_several_labels_and_one_that_fits_nothing_is_told(tmp_path: Path) -> None:
    export = help_desk(60)
    export["tickets"][3]["tags"] = ["Legal", "vip"]
    export["tickets"][7]["tags"] = ["legalese"]
    rules = (
        Rule("local_only", fields={"Tags": ("legal",)}),
        Rule("local_only", source="desk", fields={"tag": ("vip",)}, kinds=("card",)),
    )
    counts = build(
        write_export(tmp_path / "export", export),
        tmp_path / "out",
        rules=rules,
        card=lambda counts: render("desk", counts, {}, tmp_path / "out", masked_by="By the core."),
    )
    rows = [r for s in SPLITS for r in read_rows(tmp_path / "out", s)]
    assert {r.record_ids[0] for r in rows if r.sensitivity == "local_only"} == {"desk:4"}
    told = "rule 2 of privacy.sensitivity (local_only: source desk; fields tag; kinds card) fits no record"
    assert [w.partition(",")[0] for w in counts.warnings] == [told]
    assert f"**Warning: {told}" in (tmp_path / "out" / "README.md").read_text()


def made(n: int, side: Split, *, by: str = "human", question: str, answer: str = "") -> Made:
    return Made(
        f"r{n}", "t", None, side, f"g{n}", (f"x{n}",), by, question, answer, signature(question), signature(answer)
    )


def test_what_would_give_the_test_away_is_found() -> None:
    long = "the hub does not find the valve in the hall although the light keeps blinking for a whole minute"
    rows = [
        made(0, "train", question=long),
        made(1, "train", by="teacher", question="how do I pair", answer=long + " today"),
        made(2, "train", question="something else entirely", answer="hold the button for ten seconds and start pairing again please"),
        made(3, "test", question=long.upper() + "!", answer=long),
        made(4, "test", question="a third thing", answer="Hold the button for ten seconds, and start pairing again please."),
        made(5, "dev", question="unrelated words about an invoice"),
    ]  # fmt: skip
    leaks = leakage.find(rows, lambda i: rows[i].question, lambda i: rows[i].answer, threshold=0.7)
    assert leaks.reasons == {"r0": "near_copy_of_test", "r1": "synthetic_near_test"}
    assert leaks.numbers["human answers that repeat a test answer (kept: macros and advice recur)"] == 1
    reasons = select.reasons_to_drop(
        rows, list(range(6)), leaks.reasons, min_label_examples=1, max_same_answer=1, max_rows={}, seed=1
    )
    assert reasons == leaks.reasons


def test_customers_may_be_on_both_sides_where_the_recipe_says_so_and_linked_threads_never(tmp_path: Path) -> None:
    export = help_desk(60)
    export["tickets"][59]["followup_source_id"] = export["tickets"][0]["id"]  # the first ticket is linked with the last
    for late, early in zip(export["tickets"][55:59], export["tickets"][5:9], strict=True):
        late["requester_id"] = early["requester_id"]
    path = write_export(tmp_path / "export", export)
    apart, together = build(path, tmp_path / "a", group_by="thread"), build(path, tmp_path / "b")
    lost = [c.steps["split"]["dropped"].get("group_straddles_test", 0) for c in (apart, together)]
    assert lost[0] < lost[1]
    assert apart.leakage["groups on both sides"] > 0
    assert apart.leakage["linked pairs on both sides"] == 0
