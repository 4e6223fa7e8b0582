"""The record of a drift check: the file has the time first, and one without the list of files elsewhere is read."""

from __future__ import annotations

import json
from pathlib import Path

from freqd.drift.findings import Energy, Frequency, Measure, NewInteractions, Nodes, OwnInteractions, SideShift
from tasks.drift_record import NOTHING, DriftRecord, markdown, records, table

RECORD = DriftRecord(
    time="2026-03-02T04:00:00.000000+00:00", model="shop", version="7", source=["new.csv"], rows_read=9, dropped=[], limits={},
    found=False, judged=True, headline="no drift", reasons=[], edges=[0.0, 1.0, 2.0], outcome=NOTHING, flow_run="",
    measures=(Measure("volume", 1.25, 2.0, False, "5 a day"), Measure("unknown users", None, 0.5, False, "too few")),
    new=NewInteractions(
        pairs=9, between_known=8, unknown_users=1, unknown_items=0, passed_over=0, first=86_400, last=172_800
    ),
    compared_with=OwnInteractions(pairs=8, first=None, last=None), cooling_down_until=None,
    spectrum={
        "user": SideShift(
            nodes=Nodes(before=3, new=4), energy=Energy(before=[0.75, 0.25], new=[0.5, 0.5]), moved=0.25,
            frequency=Frequency(before=0.5, new=0.75, by_lot=1.0, spread=0.1),
        )
    },
)  # fmt: skip


def test_what_is_written_is_read_the_latest_first(tmp_path: Path) -> None:
    older = RECORD.as_json() | {"time": "2026-03-01", "headline": "older"}
    del older["elsewhere"]
    (tmp_path / "1.json").write_text(json.dumps(older))
    (tmp_path / "2.json").write_text(json.dumps(RECORD.as_json()))
    (tmp_path / "3.json").write_text("[]")
    found = list(records(tmp_path))
    assert found[0] == RECORD
    assert (found[1].headline, found[1].elsewhere) == ("older", [])
    assert next(iter(RECORD.as_json())) == "time"


def test_the_page_has_every_measure_and_every_band() -> None:
    assert [row["value"] for row in table(RECORD)] == ["1.250", "not measured"]
    assert [row["verdict"] for row in table(RECORD)] == ["ok", ""]
    page = markdown(RECORD)
    assert "against 9 new interactions, 1970-01-02 to 1970-01-03, 8 of them" in page
    assert "| 0.000 to 1.000 | 75.0% | 50.0% |" in page
