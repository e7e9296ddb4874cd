"""Run by the landing benchmark in the environment that has dlt: NDJSON file → DuckDB; prints what it took as JSON."""

import json
import sys
import time

import dlt
import duckdb
import orjson

path, folder = sys.argv[1:]


@dlt.resource(name="flights", write_disposition="append")
def rows():
    with open(path, "rb") as lines:
        for line in lines:
            yield orjson.loads(line)


database = f"{folder}/peer.duckdb"
pipeline = dlt.pipeline("peer", pipelines_dir=folder, destination=dlt.destinations.duckdb(database), dataset_name="d")
began = time.perf_counter()
pipeline.run(rows())
taken = time.perf_counter() - began
with duckdb.connect(database) as connection:
    [count] = connection.execute("SELECT COUNT(*) FROM d.flights").fetchone()
print(json.dumps({"seconds": taken, "rows": count, "version": dlt.__version__}))
