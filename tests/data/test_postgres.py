from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from freqd.config import ColumnConfig, DataConfig
from freqd.data import Places, ingest, source_digest
from freqd.errors import InputError

VARIABLE = "FREQD_SOURCE_DATABASE_URL"
QUERY = "SELECT buyer, product, bought_at, amount FROM sales WHERE product NOT LIKE '%%x';"
COLUMNS = ColumnConfig(user="buyer", item="product", time="bought_at", weight="amount")
CONFIG = DataConfig(sql=QUERY.replace("%%", "%"), columns=COLUMNS)


@pytest.fixture(scope="module")
def sales(postgres: str) -> str:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE TABLE sales (buyer uuid, product text, bought_at timestamptz, amount numeric)")
        connection.execute(
            "INSERT INTO sales SELECT md5(u::text)::uuid, 'p,\"' || i, "
            "timestamptz '2024-03-01 10:00:00.5+05:30' + (u * 13 + i * 7) * interval '1 hour', 1.5 "
            "FROM generate_series(1, 20) u, generate_series(1, 15) i"
        )
        connection.execute("INSERT INTO sales VALUES (NULL, 'p', now(), 1), (md5('1')::uuid, 'boxx', now(), 1)")
        connection.execute("CREATE TABLE bad (user_id int, item_id int, rating text)")
        connection.execute(
            "INSERT INTO bad SELECT i, i % 3, CASE WHEN i = 4 THEN 'many' ELSE '1' END FROM generate_series(1, 9) i"
        )
    return postgres


@pytest.fixture
def database(sales: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, sales)
    return sales


def test_a_query_becomes_a_split(database: str, tmp_path: Path) -> None:
    split = ingest(CONFIG, seed=0, places=Places(None, tmp_path))
    assert split.info.rows_read == 301  # the row that ends in x is not selected
    assert split.info.dropped[0].rows == 1
    assert split.info.split == "time"
    assert split.n_users == 20
    assert 'p,"1' in split.item_ids.to_list()
    first = int(split.train.time.min())  # type: ignore[union-attr]
    assert first == 1_709_267_400 + 20 * 3600  # 2024-03-01 04:30 UTC, and the first row is 20 hours later
    assert not any((tmp_path / "sql").iterdir()), "the user's rows stay nowhere"


def test_the_digest_follows_the_rows_and_ingest_reads_what_was_digested(database: str, tmp_path: Path) -> None:
    first = source_digest(CONFIG, places=Places(None, tmp_path))
    assert source_digest(CONFIG, places=Places(None, tmp_path)) == first
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO sales SELECT buyer, 'p', bought_at, 1 FROM sales WHERE buyer IS NOT NULL LIMIT 1"
        )
        try:
            assert ingest(CONFIG, seed=0, places=Places(None, tmp_path)).info.rows_read == 301
            assert source_digest(CONFIG, places=Places(None, tmp_path)) != first
            assert ingest(CONFIG, seed=0, places=Places(None, tmp_path)).info.rows_read == 302
        finally:
            connection.execute("DELETE FROM sales WHERE product = 'p' AND buyer IS NOT NULL")


def test_a_query_cannot_write(database: str, tmp_path: Path) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "CREATE OR REPLACE FUNCTION spoil() RETURNS int LANGUAGE sql AS 'DELETE FROM sales; SELECT 1'"
        )
        with pytest.raises(InputError, match="read-only transaction"):
            ingest(DataConfig(sql="SELECT spoil() AS user_id, 1 AS item_id"), seed=0, places=Places(None, tmp_path))
        count = connection.execute("SELECT count(*) FROM sales").fetchone()
    assert count is not None
    assert count[0] > 300


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELEC 1", "syntax"),
        ("SELECT 1 AS user_id, 2 AS item_id WHERE false", "no rows"),
        ("SELECT amount, bought_at FROM sales", "no column looks like the user"),
        ("SELECT * FROM bad ORDER BY user_id", r"row 4 .*'many' in column 'rating'"),
    ],
)
def test_bad_queries(database: str, tmp_path: Path, query: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        ingest(DataConfig(sql=query), seed=0, places=Places(None, tmp_path))
    assert not any((tmp_path / "sql").iterdir())


def test_an_unreachable_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "postgresql://freqd:geheim@127.0.0.1:1/none")
    with pytest.raises(InputError, match="cannot be reached") as caught:
        ingest(CONFIG, seed=0, places=Places(None, tmp_path))
    assert "geheim" not in str(caught.value)


def test_a_missing_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(InputError, match=VARIABLE):
        ingest(CONFIG, seed=0, places=Places(None, tmp_path))
