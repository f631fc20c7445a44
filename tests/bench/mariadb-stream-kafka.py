"""MariaDB's binlog into a topic: mysql_stream_kafka.py."""

import sys

from mysql_stream_kafka import measure

if __name__ == "__main__":
    sys.exit(measure("MariaDB"))
