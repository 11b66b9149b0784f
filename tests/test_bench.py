"""The benchmarks run, in a small size; what they measure is asserted nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
PEERS = """
import json, sys
from pathlib import Path
import attrs
from bench.peers import comparison, environment

small = [attrs.evolve(work, count=20) for work in comparison.WORKS]
rows = [
    row
    for work in small
    for row in comparison.compare(work, environment.Environment(Path(sys.argv[1])), rounds=1)
]
print(json.dumps([attrs.asdict(row) for row in rows]))
"""
STORE = """
import json
import attrs
from bench import bench_store
print(json.dumps([attrs.asdict(row) for row in bench_store.rows(30)]))
"""
SNAPSHOT = """
import json
import attrs
from bench import bench_snapshot
print(json.dumps([attrs.asdict(row) for row in bench_snapshot.rows(60, 0.0)]))
"""
BARE = """
import json, os, sys
from bench.files import load_node, make_node
from bench.bench_plan import bare, fill, ours

store = sys.argv[1]
fill(store, "layered", 300)
for plan in (ours, bare):
    plan("layered", 300, store, True, True)
os.mkdir(f"{store}/bare")
make_node(f"{store}/bare", {"index": 1}, 1)
print(json.dumps(load_node(f"{store}/bare", {"index": 1})))
"""


def test_a_peer_that_cannot_be_installed_has_a_row_that_says_so(tmp_path: Path) -> None:
    nothing = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}
    rows = run(PEERS, tmp_path / "peers", nothing)
    assert all(row["measured"] > 0 for row in rows)
    measured = [row["name"] for row in rows if row["reference"] is not None]
    assert measured == [
        "1,000 nodes wide: concurrent.futures",
        "1,000 nodes in 100 layers: concurrent.futures",
    ]
    others = [row for row in rows if row["name"] not in measured]
    assert {row["name"].partition(": ")[2] for row in others} == {
        "joblib",
        "executorlib",
        "parsl",
        "diskcache",
    }
    for row in others:
        assert row["note"].startswith("not installed: "), row


def test_the_store_of_many_results_has_its_rows_in_a_small_size(tmp_path: Path) -> None:
    rows = run(STORE, tmp_path)
    assert [row["name"].partition(": ")[2] for row in rows][2:] == [
        "furu ls --count",
        "furu table, cold",
        "furu table, warm",
        "furu table --where",
        "furu ls -l",
        "furu status",
        "furu runs",
        "furu verify",
        "furu verify --deep",
        "furu why, without an index",
        "furu why",
        "furu diff",
        "furu du",
        "furu gc, all kept",
        "furu gc, all go",
        "furu rm",
        "furu rm --undo",
    ]
    assert rows[0]["measured"] * 30 == 60 + 3  # two for each, and three folders that all share


def test_snapshots_have_their_rows_in_a_small_size(tmp_path: Path) -> None:
    rows = run(SNAPSHOT, tmp_path)
    kinds = [row["name"].rpartition(", ")[2] for row in rows]
    assert kinds == ["the first", "unchanged", "one edited"]


def test_bare_references_write_what_furu_and_they_themselves_can_read(tmp_path: Path) -> None:
    assert run(BARE, tmp_path / "store") == 1


def run(program: str, folder: Path, changes: dict[str, str] | None = None) -> Any:
    env = os.environ | {"PYTHONPATH": str(TESTS), **(changes or {})}
    done = subprocess.run(
        [sys.executable, "-c", program, folder],
        env=env,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
