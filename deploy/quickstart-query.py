"""A small query over the quickstart's tables, found as any reader finds them: by their folders, or in the
catalog.

    quickstart-query.py FOLDER
    quickstart-query.py shop CATALOG_URI S3_ENDPOINT S3_REGION      (keys from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "compare"))

from lake import LOCAL, Access, duckdb_connection, newest_metadata

QUERY = """
select p.category, count(distinct l.order_id) as orders, sum(l.quantity) as pieces,
       sum(l.quantity * l.price) as revenue
from order_lines l join products p using (sku) join orders o on o.id = l.order_id
where o.status <> 'cancelled'
group by all order by revenue desc limit 5"""

place = sys.argv[1]
access = LOCAL
if len(sys.argv) > 2:
    uri, endpoint, region = sys.argv[2:]
    access = Access(catalog_uri=uri, s3_endpoint=endpoint, s3_region=region)
connection = duckdb_connection(access)
for table in ("orders", "order_lines", "products"):
    path = f"{place}/{table}" if access is LOCAL else newest_metadata(f"{place}/{table}", access)
    path = str(path).replace("'", "''")
    connection.execute(f"create view {table} as select * from iceberg_scan('{path}')")
print(connection.sql(QUERY))
