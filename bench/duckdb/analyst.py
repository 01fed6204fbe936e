"""Runs queries over the Parquet files of Delta tables: analyst.py LAKE QUERIES RUNS; prints one JSON line.

The files of a table are those that its log adds and does not remove again. Each query runs RUNS times; the least time counts.
"""

import json
import pathlib
import sys
import time

import duckdb

TABLES = ["events", "inferences", "attributions", "contributions", "feedback"]


def files(table):
    live = {}
    for commit in sorted((table / "_delta_log").glob("*.json")):
        for line in commit.read_text().splitlines():
            action = json.loads(line)
            if "add" in action:
                live[action["add"]["path"]] = True
            if "remove" in action:
                live.pop(action["remove"]["path"], None)
    return [str(table / path) for path in live]


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
