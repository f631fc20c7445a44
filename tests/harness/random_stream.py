"""What happens in a seed, step by step: statements of two sessions, the agent's starts, stops and kills, and moments at
which everything has to be in the lake. Made whole before anything runs, from the seed alone."""

import random
from copy import deepcopy
from dataclasses import dataclass, field, replace

from harness.random_match import is_clear
from harness.random_schema import DEFAULTS, OWN, WIDER, Column, RandomSchema, RandomTable, is_light, quoted

ROWS = 120  # numbers of rows that statements choose from
MANY = 2500  # rows of a statement that is large for the server's memory


@dataclass
class Step:
    what: str  # sql, start, stop, kill, sync, refused, named, resnapshot
    session: int = 0
    text: str = ""  # the statement; the reason of a refusal; the table's name
    table: int = -1

    def __str__(self):
        return f"/* {'AB'[self.session]} */ {self.text};" if self.what == "sql" else f"-- {self.what} {self.text}"


@dataclass
class Model:
    """What the tables look like to the session that may change them, and what the agent may still have to learn."""

    tables: list[RandomTable]
    shapes: list[list] = field(default_factory=list)  # per table, since the agent last had everything
    lasts: list[int] = field(default_factory=list)  # per table, the last attnum that the agent knows of
    rewritten: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)  # tables whose columns changed since


def _renamed(column: Column, name: str) -> Column:
    return replace(column, name=name, former=(*column.former, column.name))


class RandomStream:
    def __init__(self, seed: int, schema: RandomSchema):
        self.dice = random.Random(f"stream {seed}")
        self.kinds = schema.kinds
        self.steps: list[Step] = []
        self.model = Model(schema.tables)
        self.number = ROWS  # the last number given to a row that is new for sure
        self.names = 0
        self.partitions = 0
        self.in_transaction = False
        self.depth = 0  # of savepoints
        self.other_open = False  # session B's transaction
        self.running = False
        self.synced = False  # at least once: the initial copy is over
        self.model.lasts = [table.attnums for table in schema.tables]
        self._fresh_shapes()
        self._make(stops=self.dice.random() < 0.25)

    # --- steps

    def _add(self, what: str, text: str = "", session: int = 0, table: int = -1):
        self.steps.append(Step(what, session, text, table))

    def _sql(self, text: str, session: int = 0):
        self._add("sql", text, session)

    def _fresh_shapes(self):
        self.model.shapes = [[table.shape()] for table in self.model.tables]
        for number, table in enumerate(self.model.tables):
            self.model.lasts[number] = max(self.model.lasts[number], *(each.number for each in table.columns))
        self.model.rewritten = set()
        self.model.touched = set()
        for table in self.model.tables:
            table.columns = [replace(each, fresh=False) for each in table.columns]

    def _sync(self):
        """The agent has everything, columns too: those it learns with a row."""
        for number in sorted(self.model.touched):
            self._insert(self.model.tables[number], self._new_rows(1, 0), 0, telling=True)
        if not self.running:
            self._add("start")
            self.running = True
        self._add("sync")
        self.synced = True
        self._fresh_shapes()

    def _keyed(self) -> list[RandomTable]:
        return [each for each in self.model.tables if not each.keyless]

    # --- rows

    def _new_rows(self, count: int, session: int) -> tuple[int, int, int]:
        first = self.number + 1 + (self.number + 1 + session) % 2
        self.number = first + 2 * count
        return first, first + 2 * (count - 1), 2

    def _rows(self, session: int) -> tuple[int, int, int]:
        """Numbers first, last, step. Each session has its own half, so that neither waits for the other."""
        first = self.dice.randint(1, ROWS)
        first += (first + session) % 2
        return first, first + 2 * self.dice.choice((0, 0, 0, 1, 3, 8)), 2

    def _value(self, column: Column, light: bool) -> str:
        values = [value for value in column.kind.values if not light or is_light(value)]
        null = [] if column.required else [column.kind.null]
        if len(values) > 1 and self.dice.random() < 0.5 and light:
            some = self.dice.sample(values, min(len(values), 4)) + null
            return f"(case i % {len(some)} " + " ".join(f"when {at} then ({value})::{column.kind.name}" for at, value in enumerate(some)) + " end)"
        return f"({self.dice.choice(values + null)})::{column.kind.name}"

    def _insert(self, table: RandomTable, rows: tuple, session: int, light: bool = True, telling: bool = False):
        """telling: composites of the table's own have values, by which alone the log says what attributes they have."""
        columns = [each for each in table.columns if not each.made]
        values = [each.key.replace("{i}", "i") if each.key else
                  f"({each.kind.values[0]})::{each.kind.name}" if telling and each.kind.name.startswith("own") else
                  self._value(each, light) for each in columns]  # fmt: skip
        if not telling and self.dice.random() < 0.2:  # what has a default may be left out
            kept = [at for at, each in enumerate(columns)
                    if each.key or each.required or each.kind.null != "null" or self.dice.random() < 0.5]  # fmt: skip
            columns, values = [columns[at] for at in kept], [values[at] for at in kept]
        conflict = " on conflict do nothing"
        changeable = [each for each in columns if not each.key]
        if table.key and changeable and table.identity != "index" and self.dice.random() < 0.2:
            one = self.dice.choice(changeable)
            conflict = f" on conflict ({', '.join(map(quoted, table.key))}) do update set {one.sql} = excluded.{one.sql}"
        first, last, step = rows
        names = ", ".join(each.sql for each in columns)
        if not columns:
            self._sql(f"insert into {table.sql} select from generate_series({first}, {last}, {step}) i", session)
            return
        self._sql(f"insert into {table.sql} ({names}) select {', '.join(values)} from generate_series({first}, {last}, {step}) i{conflict}", session)

    def _where(self, table: RandomTable, rows: tuple) -> str:
        keys = [each for each in table.keys if not each.key.startswith("/*u*/")]
        first, last, step = rows
        expressions = ", ".join(each.key.replace("{i}", "i") for each in keys)
        return f"({', '.join(each.sql for each in keys)}) in (select {expressions} from generate_series({first}, {last}, {step}) i)"

    def _update(self, table: RandomTable, rows: tuple, session: int, light: bool = False):
        some = self.dice.sample(table.plain, min(len(table.plain), self.dice.choice((1, 1, 2, 4))))
        sets = ", ".join(f"{each.sql} = {self._one(each, light)}" for each in some)
        self._sql(f"update {table.sql} set {sets} where {self._where(table, rows)}", session)

    def _one(self, column: Column, light: bool) -> str:
        values = [value for value in column.kind.values if not light or is_light(value)]
        return f"({self.dice.choice(values + ([] if column.required else [column.kind.null]))})::{column.kind.name}"

    def _move(self, table: RandomTable, session: int):
        """A row gets another key: a new one, one that a row had, or that of the index rows are known by."""
        keys = [each for each in table.keys if not each.key.startswith("/*u*/")]
        unique = [each for each in table.keys if each.key.startswith("/*u*/")]
        moved = unique if unique and self.dice.random() < 0.5 else keys
        old = self._rows(session)[0]
        new = self._rows(session)[0] if self.dice.random() < 0.5 else self._new_rows(1, session)[0]
        sets = ", ".join(f"{each.sql} = {each.key.replace('{i}', str(new))}" for each in moved)
        there = " and ".join(f"{each.sql} = {each.key.replace('{i}', str(new))}" for each in moved)
        self._sql(f"update {table.sql} set {sets} where {self._where(table, (old, old, 2))}"
                  f" and not exists (select from {table.sql} where {there})", session)  # fmt: skip

    def _ring(self, table: RandomTable, session: int):
        """Two rows change places by way of a third key, within one transaction."""
        keys = [each for each in table.keys if not each.key.startswith("/*u*/")]
        (a, _, _), (b, _, _), (c, _, _) = self._rows(session), self._rows(session), self._new_rows(1, session)
        for old, new in ((a, c), (b, a), (c, b)):
            sets = ", ".join(f"{each.sql} = {each.key.replace('{i}', str(new))}" for each in keys)
            there = " and ".join(f"{each.sql} = {each.key.replace('{i}', str(new))}" for each in keys)
            self._sql(f"update {table.sql} set {sets} where {self._where(table, (old, old, 2))}"
                      f" and not exists (select from {table.sql} where {there})", session)  # fmt: skip

    def _change(self, session: int = 0):
        """One statement, or a few that belong together."""
        table = self.dice.choice(self.model.tables)
        if table.keyless:
            self._insert(table, self._rows(session), session, light=False)
            if session == 0 and not self.other_open and self.dice.random() < 0.1:
                self._sql(f"truncate {table.sql}")
            return
        what = self.dice.random()
        if what < 0.3:
            self._insert(table, self._rows(session), session, light=self.dice.random() < 0.5)
        elif what < 0.6 and table.plain:
            self._update(table, self._rows(session), session)
        elif what < 0.72:
            self._move(table, session)
        elif what < 0.92:
            self._sql(f"delete from {table.sql} where {self._where(table, self._rows(session))}", session)
        elif what < 0.96:
            self._sql("insert into noise select generate_series(1, 3)", session)
        elif session == 0 and not self.other_open:
            more = self.dice.choice(self.model.tables)
            both = f", {more.sql}" if more is not table else ""
            self._sql(f"truncate {table.sql}{both}{self.dice.choice(('', ' restart identity'))}")
        else:
            self._insert(table, self._new_rows(self.dice.randint(1, 9), session), session)

    def _many(self):
        """More than the server keeps in memory: it is streamed before it is over."""
        table = self.dice.choice(self._keyed() or self.model.tables)
        rows = self._new_rows(self.dice.randint(MANY // 5, MANY), 0)
        self._insert(table, rows, 0)
        if not table.keyless and table.plain and self.dice.random() < 0.6:
            self._update(table, (rows[0], rows[0] + (rows[1] - rows[0]) // 4 * 2, 4), 0, light=True)
        if not table.keyless:
            self._sql(f"delete from {table.sql} where {self._where(table, (rows[0] + 20, rows[1], 2))}")

    # --- DDL

    def _change_columns(self):
        """A followed change; the agent is let catch up first where it could not tell otherwise."""
        number = self.dice.randrange(len(self.model.tables))
        ways = [self._add_columns] * 4 + [self._drop] * 3 + [self._rename] * 3 + [self._widen] * 3
        ways += [self._relax, self._comment, self._set_default, self._add_partition, self._swap, self._identity, self._add_again]
        ways += [self._retype] * 3
        way = self.dice.choice(ways)
        if not self._try(number, way) and not self.in_transaction and not self.other_open:
            self._sync()
            self._try(number, way)

    def _try(self, number: int, way) -> bool:
        """False: not so; nothing was said then."""
        saved, steps = deepcopy(self.model), len(self.steps)
        names, partitions = self.names, self.partitions
        table = self.model.tables[number]
        fine = way(table) is not False
        if fine and table.shape() != self.model.shapes[number][-1]:
            self.model.shapes[number].append(table.shape())
        if fine and table.shape() != saved.tables[number].shape():
            self.model.touched.add(number)
        if fine and is_clear(self.model.shapes[number], self.model.lasts[number]):
            return True
        self.model, self.names, self.partitions = saved, names, partitions
        del self.steps[steps:]
        return False

    def _name(self) -> str:
        self.names += 1
        return self.dice.choice((f"n{self.names}", f"n{self.names}", f"N {self.names}", f"ñ{self.names}"))

    def _alter(self, table: RandomTable, what: str):
        self._sql(f"alter table {table.sql} {what}")

    def _put(self, table: RandomTable, column: Column):
        at = next(at for at, each in enumerate(table.columns) if each.number == column.number)
        table.columns[at] = column

    def _free(self, table: RandomTable) -> list[Column]:
        """Columns that nothing hangs on."""
        return [each for each in table.plain if not each.fixed and each.name != table.by]

    def _add_columns(self, table: RandomTable, name: str = ""):
        if table.columns and len(table.columns) > 25:
            return
        if self.depth and len(self.model.shapes[table.number]) > 1:
            return False
        parts = []
        for _ in range(1 if name else self.dice.choice((1, 1, 2))):
            kind, more, required, default = self.dice.choice(list(self.kinds.values())), "", False, False
            if kind.null != "null" or (table.format == 3 and "positive" in kind.name):
                kind = self.kinds["text"]  # a domain with a CHECK makes the server rewrite the table, and with it the defaults
            if table.format == 3 and not table.partition and self.dice.random() < 0.5 and table.number not in self.model.rewritten:
                kind = self.kinds[self.dice.choice(list(DEFAULTS))]
                required, default = self.dice.random() < 0.5, True
                more = f"{' not null' if required else ''} default {DEFAULTS[kind.name]}"
            table.attnums += 1
            column = Column(table.attnums, name or self._name(), kind, required=required, fresh=True, default=default)
            table.columns.append(column)
            parts.append(f"add column {column.sql} {kind.name}{more}")
        self._alter(table, ", ".join(parts))

    def _add_again(self, table: RandomTable):
        """A name that a column had which is gone."""
        names = sorted(table.dropped - {each.name for each in table.columns})
        if names:
            self._add_columns(table, self.dice.choice(names))

    def _drop(self, table: RandomTable):
        if self.depth and any(each.fresh for each in table.columns):
            return False  # a subtransaction's number does not say that it is the row's own
        free = self._free(table)
        if not free or len(table.columns) < 3:
            return
        column = self.dice.choice(free)
        table.columns.remove(column)
        table.dropped |= {column.name, *column.former}
        self._alter(table, f"drop column {column.sql}")

    def _rename(self, table: RandomTable):
        """The key's columns too, but those that the resource names."""
        columns = [each for each in table.columns if each.name != table.by and not (each.key and table.id_columns)]
        columns = [each for each in columns if each.name not in table.lake_partitions and (each.sent or not each.made)]
        if not columns:
            return
        column = self.dice.choice(columns)
        name = self._name()
        self._put(table, _renamed(column, name))
        table.key = [name if each == column.name else each for each in table.key]
        self._alter(table, f"rename column {column.sql} to {quoted(name)}")

    def _swap(self, table: RandomTable):
        """Two columns change names."""
        free = self._free(table)
        if len(free) < 2:
            return
        a, b = self.dice.sample(free, 2)
        between = self._name()
        self._alter(table, f"rename column {a.sql} to {quoted(between)}")
        self._alter(table, f"rename column {b.sql} to {a.sql}")
        self._alter(table, f"rename column {quoted(between)} to {b.sql}")
        self._put(table, _renamed(a, b.name))
        self._put(table, _renamed(b, a.name))

    def _widen(self, table: RandomTable):
        if any(each.fresh and each.default for each in table.columns):
            return False  # the rewrite would take from the catalog what older rows have
        columns = [each for each in table.columns if each.kind.name in WIDER and not each.fixed and not each.made]
        columns = [each for each in columns if each.name != table.by]
        if not columns:
            return
        column = self.dice.choice(columns)
        kind = self.kinds.get(wide := self.dice.choice(WIDER[column.kind.name])) or replace(column.kind, name=wide)
        self._put(table, replace(column, kind=replace(kind, values=kind.values + column.kind.values)))
        self.model.rewritten.add(table.number)
        self.model.touched.add(table.number)
        self._alter(table, f"alter column {column.sql} type {wide}")

    def _relax(self, table: RandomTable):
        columns = [each for each in table.plain if each.required]
        if columns:
            column = self.dice.choice(columns)
            self._put(table, replace(column, required=False))
            self._alter(table, f"alter column {column.sql} drop not null")

    def _comment(self, table: RandomTable):
        self._sql(f"comment on column {table.sql}.{self.dice.choice(table.columns).sql} is 'it''s {self.number}'")

    def _retype(self, table: RandomTable):
        """The table's own composite, wherever it stands in its columns."""
        if not any(each.kind.name.startswith(f"own{table.number}") for each in table.columns):
            return
        what = self.dice.choice(("add attribute", "add attribute", "drop attribute", "rename attribute"))
        if what == "add attribute" and table.own_last < len(OWN):
            table.own_last += 1
            table.own.append(f"a{table.own_last}")
            what += f" a{table.own_last} {list(OWN)[table.own_last - 1]}"
        elif what == "drop attribute" and len(table.own) > 1:
            table.own.remove(name := self.dice.choice(table.own))
            table.own_lost = True
            what += f" {name}"
        else:
            at = self.dice.randrange(len(table.own))
            name = table.own[at]
            table.own[at] = ("b" if name[0] == "a" else "a") + name[1:]
            what = f"rename attribute {name} to {table.own[at]}"
        self.model.touched.add(table.number)
        self._sql(f"alter type own{table.number} {what}")

    def _set_default(self, table: RandomTable):
        columns = [each for each in self._free(table) if each.kind.name in DEFAULTS]
        if not columns:
            return
        column = self.dice.choice(columns)
        if column.fresh:
            return False
        self._alter(table, f"alter column {column.sql} " + self.dice.choice(("drop default", f"set default {DEFAULTS[column.kind.name]}")))

    def _identity(self, table: RandomTable):
        if table.identity == "default" and table.key and not any(each.made and not each.sent for each in table.columns) and not table.partition:
            self._alter(table, f"replica identity {self.dice.choice(('full', 'default'))}")

    def _add_partition(self, table: RandomTable):
        """Only where the default partition can't have its rows: a range that nothing has used."""
        if table.partition.startswith("range"):
            self.partitions += 1
            first = 10**6 + self.partitions * 100
            self._sql(f"create table {quoted(f'more{table.number}_{self.partitions}')} partition of {table.sql}"
                      f" for values from ({first}) to ({first + 100})")  # fmt: skip
            self._insert(table, (first, first + 9, 1), 0)

    # --- transactions

    def _transaction(self):
        self._sql("begin")
        self.in_transaction = True
        saved = deepcopy(self.model)
        for _ in range(self.dice.choice((1, 2, 3, 6))):
            what = self.dice.random()
            if what < 0.15:
                self._savepoint()
            elif what < 0.3 and self.synced and not self.other_open:
                self._change_columns()
            elif what < 0.42 and not self.other_open:
                self._many()
            elif what < 0.5 and self._keyed():
                self._ring(self.dice.choice(self._keyed()), 0)
            elif what < 0.57:
                self._agent()
            else:
                self._change()
        self.in_transaction = False
        if self.dice.random() < 0.12:
            self._sql("rollback")
            self.model = saved
        else:
            self._sql("commit")

    def _savepoint(self, depth: int = 1):
        saved = deepcopy(self.model)
        self.depth = depth
        self._sql(f"savepoint s{depth}")
        for _ in range(self.dice.randint(1, 4)):
            what = self.dice.random()
            if what < 0.15 and self.synced and not self.other_open:
                self._change_columns()
            elif what < 0.25 and depth < 4:
                self._savepoint(depth + 1)
            elif what < 0.35 and not self.other_open:
                self._many()
            else:
                self._change()
        self.depth = depth - 1
        if self.dice.random() < 0.5:
            self._sql(f"rollback to s{depth}")
            self.model = saved
        elif self.dice.random() < 0.5:
            self._sql(f"release s{depth}")

    def _two(self):
        """Both sessions by turns; what the log has is in the order of their ends."""
        self._sql("begin")
        self._sql("begin", 1)
        self.other_open = True
        for _ in range(self.dice.randint(3, 8)):
            self._change(self.dice.choice((0, 1)))
        for session in self.dice.sample((0, 1), 2):
            self._sql(self.dice.choice(("commit", "commit", "commit", "rollback")), session)
        self.other_open = False

    def _prepared(self):
        name = f"p{len(self.steps)}"
        self._sql("begin")
        self.other_open = True
        for _ in range(self.dice.randint(1, 4)):
            self._change()
        self._sql(f"prepare transaction '{name}'")
        for _ in range(self.dice.randint(0, 3)):
            self._change(1)
        self._sql(self.dice.choice(("commit", "commit", "rollback")) + f" prepared '{name}'")
        self.other_open = False

    # --- the agent

    def _agent(self):
        if not self.running:
            self._add("start")
            self.running = True
        else:
            self._add(self.dice.choice(("stop", "kill", "kill")))
            self.running = False

    def _stop_and_mend(self):
        """Something that can't be followed ends the agent; the way out that it names is taken."""
        ways = [self._stops_type, self._stops_default, self._stops_serial, self._stops_anew, self._stops_name]
        self.dice.shuffle(ways)
        for way in ways if self._keyed() else ():
            self._sync()
            if way(self.dice.choice(self._keyed())):
                break

    def _stopped(self, table: RandomTable, reason: str, again: bool = True):
        self._insert(table, self._new_rows(3, 0), 0)
        self._add("refused", reason)
        for _ in range(3):
            self._change()
        if again:
            self._add("resnapshot", table.name)
            self.model.lasts[table.number] = table.attnums
            if table.own_lost:
                # A struct that keeps an attribute is not the type that is loaded: it stays as a column of its own.
                table.own_lost = False
                for each in table.columns:
                    table.dropped |= {each.name, *each.former} if each.kind.name.startswith(f"own{table.number}") else set()
        else:
            self._add("named", table.name, table=table.number)
            self._add("start")
        self.model.shapes[table.number] = [table.shape()]
        self._sync()
        return True

    def _stops_type(self, table: RandomTable) -> bool:
        columns = [each for each in self._free(table) if each.kind.name in ("integer", "bigint", "date", "uuid", "boolean")]
        if not columns:
            return False
        column = self.dice.choice(columns)
        self._put(table, replace(column, kind=self.kinds["text"]))
        table.dropped |= {column.name, *column.former}
        self._alter(table, f"alter column {column.sql} type text")
        return self._stopped(table, "SchemaIncompatible")

    def _stops_default(self, table: RandomTable) -> bool:
        if table.format != 2:
            return False
        self._insert(table, self._new_rows(1, 0), 0)
        self._sync()
        table.attnums += 1
        column = Column(table.attnums, self._name(), self.kinds["integer"])
        table.columns.append(column)
        self._alter(table, f"add column {column.sql} integer default 5")
        return self._stopped(table, "SchemaIncompatible")

    def _stops_serial(self, table: RandomTable) -> bool:
        # Of a table that TRUNCATE emptied nothing is missing in the log, and it is followed.
        self._insert(table, self._new_rows(1, 0), 0)
        self._sync()
        table.attnums += 1
        column = Column(table.attnums, self._name(), self.kinds["integer"], required=True)
        table.columns.append(column)
        self._alter(table, f"add column {column.sql} serial")
        return self._stopped(table, "SchemaIncompatible")

    def _stops_anew(self, table: RandomTable) -> bool:
        if table.partition:
            return False
        self._sql(f"drop table {table.sql}")
        table.columns = [replace(each, number=at + 1) for at, each in enumerate(table.columns)]
        table.attnums = len(table.columns)
        for statement in table.ddl():
            self._sql(statement)
        self._sql(f"alter publication firn add table {table.sql}")
        return self._stopped(table, "SourceTableReplaced")

    def _stops_name(self, table: RandomTable) -> bool:
        if table.partition:
            return False  # the log goes on under the old name until the next start
        before, table.name = table.sql, f"renamed {table.number}"
        self._sql(f"alter table {before} rename to {table.sql}")
        return self._stopped(table, "TableRenamed", again=False)

    # --- the whole

    def _make(self, stops: bool):
        for table in self.model.tables:
            self._insert(table, (1, self.dice.choice((1, 20, 60, ROWS)), 1), 0)
        self._add("start")
        self.running = True
        end = self.dice.randint(25, 45)
        stop_at = end // 2 if stops else -1
        for at in range(end):
            what = self.dice.random()
            if what < 0.35:
                self._change()
            elif what < 0.6:
                self._transaction()
            elif what < 0.7:
                self._two()
            elif what < 0.75:
                self._prepared()
            elif what < 0.9:
                if not self.synced:
                    self._sync()
                self._change_columns()
            elif what < 0.93:
                self._many()
            else:
                self._agent()
            if at == stop_at:
                self._stop_and_mend()
        self._sync()
