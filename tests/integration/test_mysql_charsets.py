"""Every character of every character set that the server has, copied and streamed: what it stores for Unicode's characters,
block by block, has to be in the lake what the server itself says of it."""

import unittest

from test_mysql import Base

BLOCK = 256  # characters in a row
SURROGATES = range(0xD800, 0xE000)
# Of all characters the first plane, and of the others those that are in use.
BLOCKS = [*range(1, 0x10000, BLOCK), 0x10300, 0x1D400, 0x1F300, 0x1F600, 0x20000, 0x2A600, 0xE0100]


def block(first: int) -> str:
    return "".join(chr(code) for code in range(first, first + BLOCK) if code not in SURROGATES)


class Charsets(Base):
    def charsets(self) -> list[str]:
        return [name for (name,) in self.execute("select character_set_name from information_schema.character_sets order by 1")]

    def fill(self, names: list[str], base: int):
        """What a character set lacks becomes a question mark, at the server."""
        rows = [(base + at, block(first)) for at, first in enumerate(BLOCKS)]
        with self.connection.cursor() as cursor:
            for name in names:
                cursor.executemany(f"insert ignore into `of_{name}` values (%s, %s)", rows)

    def test_every_character(self):
        self.execute("set sql_mode = ''")
        names = self.charsets()
        self.assertGreater(len(names), 38)
        for name in names:
            kind = "blob" if name == "binary" else f"text character set {name}"
            self.execute(f"create table `of_{name}` (id int primary key, text {kind})")
        self.fill(names, 0)
        for name in names:  # what is compared are characters, not question marks alone
            known = f"select count(*) from `of_{name}` where replace(convert(text using utf8mb4), '?', '') <> ''"
            self.assertGreater(self.execute(known)[0][0], 0, name)
        agent = self.start(parallelism=4)
        self.wait_equal(agent, *(f"of_{name}" for name in names))
        self.fill(names, 100_000)
        self.wait_equal(agent, *(f"of_{name}" for name in names))
        self.assert_stopped(agent)


class MariadbCharsets(Charsets, unittest.TestCase):
    kind = "MariaDB"


class MysqlCharsets(Charsets, unittest.TestCase):
    kind = "MySQL"


if __name__ == "__main__":
    unittest.main()
