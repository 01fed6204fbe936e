"""Runs queries over the Parquet files of Delta tables: analyst.py LAKE QUERIES RUNS; prints one JSON line.

Each query runs RUNS times; the least time counts.
"""

import json
import pathlib
import sys
import time

import duckdb

from lake import files

TABLES = ["events", "inferences", "attributions", "contributions", "feedback"]


def main():
    lake, queries, runs = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
    con = duckdb.connect()
    con.execute("SET enable_object_cache = true")
    for name in TABLES:
        con.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({files(lake / name)})")
    results = []
    for text in queries.read_text().split(";"):
        text = "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()
        if not text:
            continue
        seconds = []
        for _ in range(runs):
            started = time.perf_counter()
            rows = con.execute(text).fetchall()
            seconds.append(time.perf_counter() - started)
        results.append({"seconds": min(seconds), "rows": len(rows)})
    print(json.dumps({"version": duckdb.__version__, "queries": results}))


main()
