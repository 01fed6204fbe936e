"""Turns an NDJSON file of events into typed Parquet with DuckDB: one file of events, one of attribution rows.

convert.py EVENTS.ndjson OUT_DIR    prints one JSON object
"""
import json
import sys
import time

import duckdb

source, out = sys.argv[1:3]
DATA = """STRUCT(
    inference_id VARCHAR, model_id VARCHAR, node VARCHAR, requester VARCHAR, agent_id VARCHAR, parents VARCHAR[],
    input_hash VARCHAR, output_hash VARCHAR, input_tokens BIGINT, output_tokens BIGINT, latency_us BIGINT, fee DECIMAL(38,0),
    "method" VARCHAR, entries STRUCT(contribution_id VARCHAR, weight BIGINT)[],
    actor VARCHAR, score DOUBLE, label VARCHAR, "action" VARCHAR, inferences VARCHAR[], chain_id BIGINT, tx_hash VARCHAR,
    counterparty VARCHAR, "value" DECIMAL(38,0), datanet_id VARCHAR, "owner" VARCHAR, "name" VARCHAR, license VARCHAR,
    contribution_id VARCHAR, contributor VARCHAR, content_hash VARCHAR, bytes BIGINT, tokens BIGINT, validator VARCHAR,
    verdict VARCHAR, kind VARCHAR, datanets VARCHAR[], weights_hash VARCHAR, scope VARCHAR, upstream_bps INTEGER)"""
COLUMNS = f"""{{id: 'VARCHAR', source: 'VARCHAR', type: 'VARCHAR', time: 'TIMESTAMPTZ', subject: 'VARCHAR', data: '{DATA}'}}"""

db = duckdb.connect()
db.execute("SET threads = 2")
started = time.monotonic()
db.execute(f"""CREATE TABLE e AS SELECT * FROM read_json('{source}', format = 'newline_delimited', columns = {COLUMNS})""")
db.execute(f"""COPY (SELECT id, source, type, time, subject, unnest(data) FROM e)
               TO '{out}/events.parquet' (FORMAT parquet, COMPRESSION zstd)""")
db.execute(f"""COPY (SELECT id, source, time, data.inference_id, data."method", unnest(data.entries, recursive := true) FROM e
               WHERE type = 'tributary.attribution.traced.v1')
               TO '{out}/attributions.parquet' (FORMAT parquet, COMPRESSION zstd)""")
seconds = time.monotonic() - started
events = db.execute("SELECT count(*) FROM e").fetchone()[0]
rows = db.execute(f"SELECT count(*) FROM '{out}/attributions.parquet'").fetchone()[0]
print(json.dumps(dict(version=duckdb.__version__, events=events, attribution_rows=rows, seconds=seconds)))
