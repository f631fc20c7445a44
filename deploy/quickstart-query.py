"""A small query over the quickstart's tables, found as any reader finds them: by their folders."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "compare"))

from lake import duckdb_connection

QUERY = """
select p.category, count(distinct l.order_id) as orders, sum(l.quantity) as pieces,
       sum(l.quantity * l.price) as revenue
from order_lines l join products p using (sku) join orders o on o.id = l.order_id
where o.status <> 'cancelled'
group by all order by revenue desc limit 5"""

connection = duckdb_connection()
for table in ("orders", "order_lines", "products"):
    path = f"{sys.argv[1]}/{table}".replace("'", "''")
    connection.execute(f"create view {table} as select * from iceberg_scan('{path}')")
print(connection.sql(QUERY))
