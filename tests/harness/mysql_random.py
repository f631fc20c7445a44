"""Random tables of MySQL and MariaDB under random statements, from a seed: every type, keys of one or two columns, changes
in transactions that commit, roll back and roll back in part, columns that come, go, move, widen and change their names,
TRUNCATE, other tables' noise; and between them an agent that is started, stopped and killed. The same seed gives the same
statements; what is left to chance is how far the agent has come at each of them.

A row is known by a number {i}: its key's columns are expressions of it."""

import random
from dataclasses import dataclass, field

from harness.mysql import quoted
from harness.mysql_types import MORE, TYPES

ROWS = 60  # numbers of rows that statements choose from
KEYS = {
    "int unsigned": "{i}", "bigint": "{i} - 30", "smallint": "{i}", "varchar(40)": "concat('ключ ', {i})", "decimal(20,2)": "{i} * 1.25",
    "varchar(40) character set latin1 collate latin1_bin": "concat('ä', {i})", "binary(16)": "unhex(left(sha2({i}, 256), 32))", "char(12)": "concat('c', {i})",
    "varbinary(20)": "concat('b', {i})", "datetime(6)": "timestamp('2020-01-01') + interval {i} second", "date": "date('2000-01-01') + interval {i} day",
    "time(3)": "sec_to_time({i})", "bigint unsigned": "18446744073709551000 + {i}",
}  # fmt: skip
MORE_KEYS = {"tinyint": "{i} % 100", "enum('a','b','c')": "1 + {i} % 3", "year": "2000 + {i} % 100", "set('x','y')": "{i} % 4"}
WIDER = {
    "tinyint": "smallint", "smallint": "int", "mediumint": "int", "int": "bigint", "float": "double", "decimal(10,2)": "decimal(14,2)",
    "varchar(20)": "varchar(60)", "tinytext": "text", "text": "mediumtext", "tinyblob": "blob", "varbinary(20)": "varbinary(40)",
    "datetime": "datetime(3)", "datetime(1)": "datetime(6)", "time": "time(6)", "char(10)": "varchar(20)",
}  # fmt: skip
ODD_NAMES = ("With Space", "Upper", "ünïcode", "select", "x" * 60, "semi;colon", "$dollar", "a'b", "percent%s")


@dataclass
class Column:
    name: str
    kind: str
    values: list[str]


@dataclass
class Table:
    name: str
    key: list[tuple[str, str, str]]  # name, type, expression
    columns: list[Column] = field(default_factory=list)

    def ddl(self) -> str:
        parts = [f"{quoted(name)} {kind} not null" for name, kind, _ in self.key]
        parts += [f"{quoted(each.name)} {each.kind} null" for each in self.columns]
        key = ", ".join(quoted(name) for name, *_ in self.key)
        return f"create table {quoted(self.name)} ({', '.join(parts)}, primary key ({key}))"

    def where(self, number: int) -> str:
        return " and ".join(f"{quoted(name)} = {expression.replace('{i}', str(number))}" for name, _, expression in self.key)


class Seed:
    """`make`: statements before the agent's first start; `steps`: (what, text), what being sql, start, stop, kill or sync."""

    def __init__(self, number: int, server: str):
        self.dice = random.Random(f"{server} {number}")
        known = TYPES | MORE[server]
        self.kinds = [(kind, list(values)) for kind, *values in known.values() if values and "invisible" not in kind]
        self.format = self.dice.choice((2, 3))
        self.names = 0
        self.running = False
        self.new = ROWS
        self.tables = [self._table(at) for at in range(self.dice.choice((1, 2, 2, 3)))]
        self.make = [table.ddl() for table in self.tables] + ["create table noise (n int)"]
        self.steps: list[tuple[str, str]] = []
        for _ in range(self.dice.randint(0, 15)):
            self._change()
        self.make += [text for _, text in self.steps]
        self.steps = [("start", "")]
        self.running = True
        for _ in range(self.dice.randint(20, 60)):
            self._step()
        self._end()
        if not self.running:
            self._add("start")
        self._add("sync")

    # --- tables

    def _name(self) -> str:
        self.names += 1
        return f"{self.dice.choice(ODD_NAMES)} {self.names}"[-64:] if self.dice.random() < 0.1 else f"c{self.names}"

    def _column(self) -> Column:
        kind, values = self.dice.choice(self.kinds)
        return Column(self._name(), kind, values)

    def _table(self, at: int) -> Table:
        kinds = [self.dice.choice(list(KEYS.items()))]
        if self.dice.random() < 0.3:
            kinds.append(self.dice.choice(list(MORE_KEYS.items())))
        key = [(f"k{number}", kind, expression) for number, (kind, expression) in enumerate(kinds)]
        return Table(f"t{at}", key, [self._column() for _ in range(self.dice.randint(1, 8))])

    # --- statements

    def _add(self, what: str, text: str = ""):
        self.steps.append((what, text))

    def _value(self, column: Column) -> str:
        return self.dice.choice([*column.values, "null"])

    def _insert(self, table: Table, numbers: list[int]):
        rows = []
        for number in numbers:
            key = [expression.replace("{i}", str(number)) for *_, expression in table.key]
            rows.append(f"({', '.join(key + [self._value(each) for each in table.columns])})")
        names = ", ".join(quoted(name) for name in [name for name, *_ in table.key] + [each.name for each in table.columns])
        verb = self.dice.choice(("replace", "insert ignore", "insert ignore"))
        self._add("sql", f"{verb} into {quoted(table.name)} ({names}) values {', '.join(rows)}")

    def _change(self):
        table, what = self.dice.choice(self.tables), self.dice.random()
        number = self.dice.randint(1, ROWS)
        if what < 0.4 or not table.columns:
            self._insert(table, [self.dice.randint(1, ROWS) for _ in range(self.dice.choice((1, 1, 3, 20)))])
        elif what < 0.7:
            some = self.dice.sample(table.columns, min(len(table.columns), self.dice.choice((1, 1, 2))))
            sets = ", ".join(f"{quoted(each.name)} = {self._value(each)}" for each in some)
            where = table.where(number) if self.dice.random() < 0.8 else "true"
            self._add("sql", f"update {quoted(table.name)} set {sets} where {where}")
        elif what < 0.8:
            self.new += 1
            to = self.dice.choice((self.new, self.dice.randint(1, ROWS)))
            sets = ", ".join(f"{quoted(name)} = {expression.replace('{i}', str(to))}" for name, _, expression in table.key)
            self._add("sql", f"update ignore {quoted(table.name)} set {sets} where {table.where(number)}")
        elif what < 0.95:
            self._add("sql", f"delete from {quoted(table.name)} where {table.where(number)}")
        else:
            self._add("sql", "insert into noise values (1), (2)")

    def _transaction(self):
        self._add("sql", "begin")
        for _ in range(self.dice.randint(1, 8)):
            self._change()
            if self.dice.random() < 0.15:
                self._add("sql", "savepoint s")
                self._change()
                self._add("sql", "rollback to savepoint s")
        self._add("sql", self.dice.choice(("commit", "commit", "commit", "rollback")))

    def _ddl(self):
        table, what = self.dice.choice(self.tables), self.dice.random()
        alter = f"alter table {quoted(table.name)}"
        if what < 0.35 or not table.columns:
            column = self._column()
            where = self.dice.choice(("", " first", f" after {quoted(table.key[0][0])}"))
            table.columns.append(column)
            self._add("sql", f"{alter} add column {quoted(column.name)} {column.kind} null{where}")
        elif what < 0.55 and len(table.columns) > 1:
            column = self.dice.choice(table.columns)
            table.columns.remove(column)
            self._add("sql", f"{alter} drop column {quoted(column.name)}")
            if self.dice.random() < 0.3:  # another one of its name
                table.columns.append(Column(column.name, *self.dice.choice(self.kinds)))
                self._add("sql", f"{alter} add column {quoted(column.name)} {table.columns[-1].kind} null")
        elif what < 0.75:
            column, name = self.dice.choice(table.columns), self._name()
            self._add("sql", f"{alter} rename column {quoted(column.name)} to {quoted(name)}")
            column.name = name
        elif what < 0.9:
            some = [each for each in table.columns if each.kind in WIDER]
            if some:
                column = self.dice.choice(some)
                column.kind = WIDER[column.kind]
                self._add("sql", f"{alter} modify column {quoted(column.name)} {column.kind} null")
        else:
            self._add("sql", f"truncate table {quoted(table.name)}")

    def _step(self):
        what = self.dice.random()
        if what < 0.5:
            self._change()
        elif what < 0.7:
            self._transaction()
        elif what < 0.84:
            self._ddl()
        elif not self.running:
            self._add("start")
            self.running = True
        elif what < 0.92:
            self._add("sync")
        else:
            self._add(self.dice.choice(("stop", "kill")))
            self.running = False

    def _end(self):
        """Each table has rows of its latest columns."""
        for table in self.tables:
            self._insert(table, [1, 2, 3])
