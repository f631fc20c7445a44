"""A database of MySQL or MariaDB as an application of some years has it: any number of tables of a dozen shapes (every
character set in turn, enums, sets, JSON, generated and invisible columns, keys of several columns and of text, partitions,
foreign keys, triggers that write to another table, tables without a key), some with names that need their quotes; and
traffic to all of them, with ALTER TABLE and TRUNCATE between the rows."""

from harness.application import ODD, AppTraffic
from harness.mysql import quoted

LOG = "audit log"
NAMES = [name.replace('"', "`") for name in ODD if not name.endswith(" ") and max(name) < "\U00010000"]  # more is no name there
KEYLESS, CHILD, PARENT = 11, 5, 0
_WORD = "concat('word ', {i}, case {i} % 4 when 0 then ' ünï ☃' when 1 then repeat(' long', 40) else '' end)"
# columns, what follows the parenthesis, names and values of row {i}, what an update sets; {c} is a character set
_SHAPES = [
    ("id bigint unsigned auto_increment primary key, mail varchar(120) character set {c} not null, state enum('new','open','on hold','done'),"
     " flags set('a','b','c d'), profile json, balance decimal(12,2), created timestamp(3) not null default current_timestamp(3),"
     " low varchar(120) generated always as (concat('is ', state)) stored, twice bigint generated always as (balance * 2) virtual", "",
     "(id, mail, state, flags, profile, balance) values ({i}, concat('M', {i}, '@example.com'), 1 + {i} % 4, {i} % 8,"
     " json_object('n', {i}, 'deep', json_array({i}, null, 'ü')), {i} / 4.0)",
     "balance = coalesce(balance, 0) + 0.25, state = 'done', flags = 'a,c d', profile = json_set(profile, '$.seen', true)"),
    ("id bigint, day date not null, total decimal(12,2), note text character set {c}, primary key (id, day)",
     " partition by range columns (day) (partition a values less than ('2025-01-01'), partition b values less than ('2026-01-01'),"
     " partition c values less than maxvalue)",
     "(id, day, total, note) values ({i}, date('2024-06-01') + interval {i} % 900 day, {i} / 8.0, " + _WORD + ")",
     "total = coalesce(total, 0) + 1, day = day + interval 200 day"),
    ("id int, region varchar(8) not null, payload json, primary key (id, region)",
     " partition by list columns (region) (partition eu values in ('eu', 'ch'), partition rest values in ('us', 'jp'))",
     "(id, region, payload) values ({i}, elt(1 + {i} % 4, 'eu', 'ch', 'us', 'jp'), json_array('k', {i}))", "payload = null, region = 'us'"),
    ("id bigint primary key, v double, f float, at datetime(6)", " partition by hash (id) partitions 4",
     "(id, v, f, at) values ({i}, {i} / 3.0, {i} / 7.0, timestamp('2026-01-01') + interval {i} minute)", "v = v * 2, f = null"),
    ("code varchar(30) character set {c}, part smallint, title varchar(300), price decimal(20,4), photo varbinary(100), primary key (code, part)", "",
     "(code, part, title, price, photo) values (concat('c', {i}), {i} % 3, " + _WORD + ", {i} / 16.0, unhex(left(sha2({i}, 256), 32)))",
     "price = price + 1, part = part + 3, code = if(binary code = binary upper(code), lower(code), upper(code))"),
    ("id bigint unsigned primary key, parent bigint unsigned, line int, sku varchar(40) character set {c}, options json, taken time(3),"
     " foreign key (parent) references {parent} (id) {rules}", "",
     "(id, parent, line, sku, options, taken) values ({i}, (select id from {parent} as p where id = {i}), {i} % 5, concat('sku-', {i}),"
     " json_object('i', {i}), sec_to_time({i}))", "line = line + 1, parent = null"),
    ("id bigint primary key, `Mixed Case` text character set {c}, `select` int, `ünï` boolean, `with ``quote``` date, `per%cent` year", "",
     "(id, `Mixed Case`, `select`, `ünï`, `with ``quote```, `per%cent`) values ({i}, " + _WORD + ", {i}, {i} % 2 = 0, date('2020-01-01') + interval {i} day, 2000 + {i} % 100)",
     "`select` = `select` + 1, `ünï` = null"),
    ("id binary(16) primary key, owner varbinary(16), big mediumtext character set {c}, raw longblob", "",
     "(id, owner, big, raw) values (unhex(left(sha2({i}, 256), 32)), inet6_aton('10.0.0.1'), repeat('much ', 1 + {i} % 5 * 600), repeat(x'00ff', {i} % 7 * 90))",
     "raw = x'', owner = null"),
    ("a varchar(200) character set {c}, b int not null unique, hidden int invisible, bits bit(10), one bit(1), id mediumint primary key", "",
     "(a, b, hidden, bits, one, id) values (" + _WORD + ", {i} + 1000000, {i}, {i} % 1024, {i} % 2, {i})", "a = null, b = b + 1000000, hidden = -1"),
    ("id bigint, at datetime(6), kind char(20) character set {c} not null, v real, primary key (at, id)", "",
     "(id, at, kind, v) values ({i}, timestamp('2026-01-01') + interval {i} * 1001 microsecond, concat('u', {i}), {i} / 7.0)",
     "v = -1, kind = concat('x', id), at = at + interval 1 year"),
    ("id smallint unsigned primary key, t1 tinytext character set {c}, t2 varchar(40) character set utf8mb3, t3 varchar(40) character set latin1,"
     " t4 varchar(40) character set binary, t5 enum('a','b') character set {c}, t6 char(9) character set utf16, d decimal(40,10)", "",
     "(id, t1, t2, t3, t4, t5, t6, d) values ({i}, 'plain', 'ünï €', 'ünï €', 'ünï €', 'b', 'ünï', {i} / 3)", "d = d * 1000, t5 = 'a', t3 = 'ÿ', t1 = upper(t1)"),
    ("id bigint, at timestamp(6) default current_timestamp(6), said text character set {c}", "", "(id, said) values ({i}, " + _WORD + ")", None),
]  # fmt: skip
_KEYS = {4: "code = concat('c', {i})", 7: "id = unhex(left(sha2({i}, 256), 32))"}


class Table:
    """Its DDL, and statements with {i} for the number of a row."""

    def __init__(self, name: str, shape: int, charset: str, parent: str | None, rules: str):
        self.name, self.shape, self.charset = name, shape, charset
        self.sql = quoted(name)
        self.keyless = shape == KEYLESS
        columns, more, insert, self.update = _SHAPES[shape]
        fill = {"{c}": charset, "{parent}": parent or "", "{rules}": rules}
        for mark, text in fill.items():
            columns, insert = columns.replace(mark, text), insert.replace(mark, text)
        self.ddl = [f"create table {self.sql} ({columns}){more}"]
        if shape == PARENT:
            self.ddl += [
                f"create trigger {quoted(f'{what} {name}'[:64])} after {what} on {self.sql} for each row insert into {quoted(LOG)} "
                f"(about, row_key, what) values ({_text(name)}, {row}.id, '{what}')"
                for what, row in (("insert", "new"), ("update", "new"), ("delete", "old"))]  # fmt: skip
        self.insert = insert
        self.where = _KEYS.get(shape, "id = {i}")
        self.added: list[str] = []  # columns that came while it was followed


def _text(name: str) -> str:
    return "'" + name.replace("\\", "\\\\").replace("'", "''") + "'"


class Application:
    """The same tables for the same number of them. charsets: as the server has them; rules: of foreign keys."""

    def __init__(self, tables: int, charsets: list[str], rules: str, keyless: int = 4):
        charsets = [name for name in charsets if name != "binary"]
        self.tables: list[Table] = []
        parent = None
        for number in range(tables - 1):  # and the log
            shape = KEYLESS if number >= tables - 1 - keyless else number % KEYLESS
            odd = NAMES[number // 17 % len(NAMES)] if number % 17 == 3 else ""
            name = odd if odd and number < 17 * len(NAMES) else f"{odd[:40]}table_{number:04d}"
            table = Table(name, shape, charsets[number % len(charsets)], parent, rules)
            if shape == PARENT:
                parent = table.sql
            self.tables.append(table)

    def make(self, cursor, rows: int):
        cursor.execute(f"create table {quoted(LOG)} (id bigint auto_increment primary key, about varchar(64) not null, row_key bigint unsigned,"
                       " what varchar(6), at timestamp(6) not null default current_timestamp(6))")  # fmt: skip
        cursor.execute("set sql_mode = ''")  # what a character set lacks becomes a question mark
        for table in self.tables:
            for statement in table.ddl:
                cursor.execute(statement)
            names, row = table.insert.split(" values ", 1)
            cursor.execute(f"insert into {table.sql} {names} values {', '.join(row.replace('{i}', str(at)) for at in range(1, rows + 1))}")


class MysqlTraffic(AppTraffic):
    """ddl: one transaction in so many is a change of some table's columns instead, or takes all of its rows."""

    def __init__(self, application: Application, connection, rows: int, ddl: int):
        super().__init__(application, connection, rows)
        self.ddl, self.altered, self.names = ddl, 0, 0

    def step(self):
        if self.dice.randrange(self.ddl):
            super().step()
        else:
            self.run([self.alter()])
            self.altered += 1

    def alter(self) -> str:
        table, what = self.dice.choice(self.application.tables), self.dice.random()
        if what < 0.1 and table.shape not in (PARENT, KEYLESS):  # what is referenced can't be emptied
            return f"truncate table {table.sql}"
        head = f"alter table {table.sql}"
        self.names += 1
        if what < 0.5 or not table.added:
            table.added.append(f"more {self.names}")
            kind = self.dice.choice(("int", "varchar(20) character set " + table.charset, "json", "decimal(9,3)", "set('x','y')"))
            return f"{head} add column {quoted(table.added[-1])} {kind} null {self.dice.choice(('', 'first'))}"
        at = self.dice.randrange(len(table.added))
        name = table.added.pop(at)
        if what < 0.75:
            return f"{head} drop column {quoted(name)}"
        table.added.insert(at, f"called {self.names}")
        return f"{head} rename column {quoted(name)} to {quoted(table.added[at])}"

    def insert(self, table, row: str) -> str:
        return f"insert ignore into {table.sql} {row}"

    def update(self, table, where: str) -> str:
        return f"update ignore {table.sql} set {table.update} where {where}"

    def delete(self, table, where: str) -> str:
        return f"delete ignore from {table.sql} where {where}"

    def run(self, statements: list[str]):
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
