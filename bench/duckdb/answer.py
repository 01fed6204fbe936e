"""Answers queries over the Parquet files of a lake at a cut, with DuckDB: answer.py LAKE; questions on standard input.

A question is {"cut": "0:12,1:7", "sql": "..."}; all come as one JSON array, and so do the answers: the rows of each, every
value as text. What counts is defined here again, from the specification of events and not from the server's views.
"""

import json
import pathlib
import sys

import duckdb

from lake import files

TABLES = ["datanets", "contributions", "models", "inferences", "attributions", "feedback"]
FIRST = {
    "current_datanets": ("datanets", "datanet_id"),
    "current_contributions": ("contributions", "contribution_id"),
    "current_models": ("models", "model_id"),
    "effective_inferences": ("inferences", "inference_id"),
}
PLACE = "_partition, _seq, _ordinal"


def define(con, lake, cut):
    parts = [part.split(":") for part in cut.split(",") if part]
    inside = " OR ".join(f"(_partition = {p} AND _seq <= {s})" for p, s in parts) or "false"
    for name in TABLES:
        con.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM read_parquet({files(lake / name)}) WHERE {inside}")
    for view, (table, key) in FIRST.items():
        con.execute(
            f"CREATE OR REPLACE VIEW {view} AS SELECT * FROM {table} "
            f"QUALIFY rank() OVER (PARTITION BY {key} ORDER BY {PLACE}) = 1"
        )
    # One producer sends everything here, so the first attribution of an inference that is recorded counts.
    con.execute(
        "CREATE OR REPLACE VIEW effective_attributions AS SELECT * FROM attributions "
        "WHERE inference_id IN (SELECT inference_id FROM inferences) "
        f"QUALIFY rank() OVER (PARTITION BY inference_id ORDER BY {PLACE}) = 1"
    )


def main():
    lake = pathlib.Path(sys.argv[1])
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    answers, defined = [], None
    for question in json.load(sys.stdin):
        if question["cut"] != defined:
            defined = question["cut"]
            define(con, lake, defined)
        rows = con.execute(question["sql"]).fetchall()
        answers.append([["null" if value is None else str(value) for value in row] for row in rows])
    json.dump(answers, sys.stdout)


main()
