"""The measurement of `freqd serve`: what load generators print is read right, and an index is compared with no index."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import serving
from benchmarks.serving import Load, read_hey, read_wrk

HEY = """
Summary:
  Requests/sec:	457.5907

Latency distribution:
  50% in 0.0021 secs
  99% in 0.0320 secs

Status code distribution:
  [200]	916 responses
"""
WRK = """
  Latency Distribution
     50%  {p50}
     75%   16.80ms
     99%   22.47ms
  989 requests in 2.00s, 1.00MB read
Requests/sec:    494.16
"""


def test_what_hey_prints() -> None:
    assert read_hey(HEY) == Load(457.5907, pytest.approx(2.1), 32.0)
    with pytest.raises(SystemExit, match="not every question"):
        read_hey(HEY + "  [404]	1 responses\n")


@pytest.mark.parametrize(("text", "ms"), [("950.00us", 0.95), ("15.52ms", 15.52), ("1.20s", 1200.0)])
def test_what_wrk_prints(text: str, ms: float) -> None:
    assert read_wrk(WRK.format(p50=text)) == Load(494.16, pytest.approx(ms), 22.47)
    with pytest.raises(SystemExit, match="not every question"):
        read_wrk(WRK.format(p50=text) + "  Non-2xx or 3xx responses: 1\n")


def test_the_index_is_held_against_no_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("faiss")
    file = tmp_path / "found.json"
    serving.main(
        ["index", "--items", "20000", "--dim", "8", "--questions", "20", "--recalls", "0.9", "--json", str(file)]
    )
    exact, by_cells = json.loads(file.read_text())["rows"]
    assert exact["how"] == "exact"
    assert by_cells["recall"] > 0.8
    assert 0 < by_cells["p50_ms"] <= by_cells["p99_ms"]
    assert by_cells["build_seconds"] > 0
    assert "| exact | 1.000 |" in capsys.readouterr().out
