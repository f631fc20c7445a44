"""One table with a column of every type that PostgreSQL has and Firn maps, with its edge values."""

from dataclasses import dataclass

import psycopg

SCHEMA = """
create type mood as enum ('glad', 'sad', 'it''s "odd"', '');
create domain positive as int check (value > 0);
create domain small_positive as positive check (value < 100);
create domain price as numeric(12,2);
create domain words as text[];
create type pair as (a int, b text);
create type inner_one as (n numeric(10,2), at timestamptz, tags text[], "Odd Name" bytea);
create type outer_one as (id bigint, one inner_one, ones inner_one[], kind mood, p positive);
create type float_range as range (subtype = float8)"""


@dataclass
class Kind:
    name: str  # the type, in SQL
    values: list[str]  # as SQL literals, cast to the type
    extension: str = ""
    since: int = 0
    null: str = "null"  # pyiceberg 0.12 shows a null list of structs as an empty one: see null_lists


def _quoted(*texts: str) -> list[str]:
    return ["'" + text.replace("'", "''") + "'" for text in texts]


_LONG = "repeat('x', 20000)"
_DIGITS = "('1' || repeat('0', 131070) || '7')"

KINDS = [
    Kind("smallint", ["-32768", "32767", "0"]),
    Kind("integer", ["-2147483648", "2147483647", "0"]),
    Kind("bigint", ["-9223372036854775808", "9223372036854775807", "0"]),
    Kind("real", _quoted("NaN", "Infinity", "-Infinity", "-0", "1.17549435e-38", "3.4028235e38", "1e-45", "0.1")),
    Kind("double precision", _quoted("NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308", "0.1")),
    Kind("numeric(38,10)", ["9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999", "1e-10", "0"]),
    Kind("numeric(38,0)", ["99999999999999999999999999999999999999", "-1"]),
    Kind("numeric(38,38)", ["0.99999999999999999999999999999999999999", "-1e-38"]),
    Kind("numeric(1,0)", ["9", "-9"]),
    Kind("numeric(18,18)", ["0.999999999999999999", "0"]),
    Kind("numeric(39,3)", ["999999999999999999999999999999999999.999", "0", "-0.001"]),
    Kind("numeric", _quoted("NaN", "Infinity", "-Infinity", "0", "0.000", "-1e-16383", "1e131071", "12345.678900")
         + [_DIGITS, f"(2 * {_DIGITS}::numeric)"]),
    Kind("numeric(5,-2)", ["12300", "-9999900"], since=15),
    Kind("numeric(2,4)", ["0.0099", "-0.0001"], since=15),
    Kind("money", ["0", "'-92233720368547758.08'", "'92233720368547758.07'"]),
    Kind("boolean", ["true", "false"]),
    Kind("date", _quoted("0001-01-01", "9999-12-31", "0044-03-15 BC", "4713-01-01 BC", "5874897-12-31", "1969-12-31")),
    Kind("time", _quoted("00:00", "23:59:59.999999", "12:34:56.000001")),
    Kind("timetz", _quoted("00:00+15:59", "24:00:00-15:59", "12:34:56.1+05:30", "01:02:03.000004-00:00:01")),
    Kind("timestamp", _quoted("0001-01-01", "4713-01-01 BC", "294246-12-31 23:59:59.999999", "1969-12-31 23:59:59.999999")),
    Kind("timestamptz", _quoted("0001-01-02+00", "4712-01-01 BC", "294246-12-31 23:59:59.999999+00", "2024-02-29 12:00:00.5+05:30")),
    Kind("interval", _quoted("0", "1 year 2 mons 3 days 04:05:06.000007", "-1 year +2 days -00:00:00.1", "1 mon -1 day", "-1 mon +1 day",
                             "-13 months 1 microsecond", "178000000 years", "100000 hours", "-2147483648 days", "1 day", "-1 sec", "2 years",
                             "1 day -01:02:03.5", "-1 day +00:00:01")),
    Kind("interval", _quoted("infinity", "-infinity"), since=17),
    Kind("text", ["''", "'ünï ☃ 雪 🏔'", "E'a\\tb\\nc\\\\d\"e'", "'null'", "E'\\u0001\\u007f'", _LONG]),
    Kind("varchar(20)", _quoted("", "x", "雪だるま")),
    Kind("char(5)", _quoted("abc", "", "ab cd")),
    Kind('"char"', _quoted("", "x", "\\")),
    Kind('"char"', _quoted("\\200", "\\377"), since=16),  # 15 shows these bytes as they are, which is no text
    Kind("name", _quoted("", "a" * 63)),
    Kind("bytea", ["''", "'\\x00'", "'\\x0001ff00'", "decode(repeat('ab', 20000), 'hex')"]),
    Kind("bit(5)", ["B'10110'", "B'00000'"]),
    Kind("varbit", ["B''", "B'1'", "B'101010101'", "repeat('01', 700)::varbit"]),
    Kind("uuid", _quoted("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff")),
    Kind("json", _quoted("null", '{"b": 1,  "a": [1.50, "ü"]}', '""')),
    Kind("jsonb", _quoted("null", '{"b": 1,  "a": [1.50, "ü"]}', "[]", "1e10")),
    Kind("jsonpath", _quoted('$."a"[*] ? (@ > 2)', "lax $")),
    Kind("xml", _quoted('<a b="c">ü</a>', "plain", '<?xml version="1.0"?><r/>', '<?xml version="1.1" encoding="UTF-8" standalone="yes"?><r/>')),
    Kind("mood", _quoted("glad", 'it\'s "odd"', "")),
    Kind("positive", ["1", "2147483647"]),
    Kind("small_positive", ["1", "99"]),
    Kind("price", ["0.01", "-9999999999.99"]),
    Kind("words", ["'{a,NULL,\"b c\"}'", "'{}'"]),
    Kind("positive[]", ["'{1,2}'", "'{NULL}'", "'{}'"]),
    Kind("price[]", ["'{1.10,NULL}'"]),
    Kind("pair", ["row(1, 'x')", "row(null, null)", "row(null, '')", "row(-1, '(a,\"b\\c)')"]),
    Kind("pair[]", ["array[row(1, 'x'), null, row(null, 'y,z')]::pair[]", "'{}'"], null="'{}'"),
    Kind("outer_one", ["row(1, row(1.50, '2024-01-01 00:00+00', '{a,null,\"q\\\"\"}', '\\x00ff'), array[row(2, null, '{}', null)::inner_one, null],"
                       " 'sad', 5)", "row(null, null, '{}', null, null)", "row(2, row(null, null, null, null), '{}', 'glad', null)"]),
    Kind("smallint[]", ["'{1,NULL,-32768}'", "'{}'"]),
    Kind("bigint[]", ["'{9223372036854775807}'", "'{}'", "'{NULL,NULL}'"]),
    Kind("real[]", ["'{NaN,-0,1e-45,Infinity}'"]),
    Kind("numeric(10,3)[]", ["'{9999999.999,NULL,-0.001}'"]),
    Kind("numeric[]", ["'{NaN,0.00,-Infinity}'"]),
    Kind("text[]", ["'{NULL,\"null\",\"\",\"a,b\",\"{}\"}'", "array['ü🏔', E'\\\\', '\"']", "'{}'"]),
    Kind("char(5)[]", ["array['ab', '']::char(5)[]"]),
    Kind("bytea[]", ["array['\\x00'::bytea, null, '']"]),
    Kind("boolean[]", ["'{t,f,NULL}'"]),
    Kind("date[]", ["'{0044-03-15 BC,1999-01-08}'"]),
    Kind("timestamptz[]", ["'{2024-01-01 00:00:00.000001+00,NULL}'"]),
    Kind("uuid[]", ["'{00000000-0000-0000-0000-000000000001}'"]),
    Kind("jsonb[]", ["array['{\"a\": \"b,c\"}', 'null']::jsonb[]"]),
    Kind("mood[]", ["array['', 'it''s \"odd\"']::mood[]"]),
    Kind("interval[]", ["'{1 day,-1 sec}'"]),
    Kind("inet[]", ["'{10.0.0.1,::1/64}'"]),
    Kind("box[]", ["'{(1,2),(0,0);(3,4),(-1,-2)}'"]),
    Kind("int4range[]", ["array['[1,3)', 'empty', '(,)']::int4range[]"]),
    Kind("int2vector", ["'1 2 3'", "'-5'"]),
    Kind("oidvector", ["'1 4294967295'"]),
    Kind("int4range", _quoted("[1,5)", "empty", "(,)", "[-2147483648,2147483647)", "(,3]")),
    Kind("int8range", _quoted("[1,5)", "[9,)")),
    Kind("numrange", _quoted("[1.10,2.000)", "(0,1e-5]", "(,Infinity)")),
    Kind("daterange", _quoted("[2024-01-01,infinity)", "[0044-03-15 BC,2024-01-01)")),
    Kind("tsrange", _quoted("[2024-01-01 01:02:03.5,infinity]", "[-infinity,2024-01-01)")),
    Kind("tstzrange", _quoted("[2024-01-01 00:00+02,2024-06-01 00:00+02)", "empty")),
    Kind("float_range", _quoted("[0.1,1e300)", "(-0,5e-324]", "[1e15,123456789012345.6e1)")),
    Kind("int4multirange", _quoted("{}", "{[1,2),[5,9)}", "{(,)}")),
    Kind("tsmultirange", _quoted("{[2024-01-01,2024-01-02),[2024-02-01,infinity]}")),
    Kind("inet", _quoted("0.0.0.0", "10.1.2.3/8", "255.255.255.255", "::", "::1", "fe80::1/10", "::ffff:1.2.3.4", "::1.2.3.4/96",
                         "1:0:0:2:0:0:0:3", "1:2:3:4:5:6:7:8", "1::", "::1:2", "1:0:2:0:3:0:4:0", "::ffff:0:1.2.3.4", "2001:db8:0:0:1::")),
    Kind("cidr", _quoted("10.0.0.0/8", "0.0.0.0/0", "1.2.3.4", "2001:db8::/32", "::/0")),
    Kind("macaddr", _quoted("08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff")),
    Kind("macaddr8", _quoted("08:00:2b:01:02:03:04:05")),
    Kind("oid", ["0", "4294967295"]),
    Kind("regclass", _quoted("pg_class", "-")),
    Kind("regtype", _quoted("integer")),
    Kind("regtype[]", _quoted("{integer,text}")),
    Kind("regproc", _quoted("now")),
    Kind("xid", _quoted("0", "4294967295")),
    Kind("cid", _quoted("7")),
    Kind("xid8", _quoted("0", "18446744073709551615")),
    Kind("tid", _quoted("(0,1)", "(4294967295,65535)")),
    Kind("tsvector", _quoted("", "'a':1A,2B,3C,4 'it''s':5 '\\\\ b'", "fat:2,4 cat:3 rat", "x:16383")),
    Kind("tsquery", _quoted("", "a & b | !c", "a <-> (b <3> c)", "(a <-> b) <-> c", "!(a & b) & c:*AB", "'it''s' & d:D", "a | b & c <-> !d",
                            "!!a", "(a|b)&(c|d)")),
    Kind("point", _quoted("(1,2)", "(-0,1e300)", "(0.1,NaN)", "(1e15,100000000000000)", "(Infinity,-1e-5)")),
    Kind("lseg", _quoted("[(0,0),(1.5,-2)]")),
    Kind("path", _quoted("[(0,0),(1,1)]", "((0,0),(1,1),(2,0.1))")),
    Kind("box", _quoted("(3,4),(1,2)")),
    Kind("polygon", _quoted("((0,0),(1,1),(2,0))")),
    Kind("line", _quoted("{1,-1,0.3}")),
    Kind("circle", _quoted("<(1,2),3.3>")),
    Kind("pg_lsn", _quoted("0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF")),
    Kind("pg_snapshot", _quoted("10:20:10,14,15", "1:1:")),
    Kind("txid_snapshot", _quoted("10:20:10,14,15")),
    Kind("refcursor", _quoted("a cursor")),
    Kind("aclitem", _quoted("=r/postgres", "postgres=arwd/postgres")),
    Kind("citext", _quoted("ÄbC", ""), "citext"),
    Kind("hstore", _quoted("", "a=>1, b=>NULL, \"ü \\\"q\\\"\"=>\"\"", "x=>\"NULL\""), "hstore"),
    Kind("ltree", _quoted("", "Top.Science.Astronomy"), "ltree"),
    Kind("ltree[]", _quoted("{a.b,c}"), "ltree"),
    Kind("lquery", _quoted("Top.*{0,2}.sport*@"), "ltree"),
    Kind("ltxtquery", _quoted("Europe & Russia*@ & !Transportation"), "ltree"),
    Kind("vector(3)", _quoted("[1,2.5,-3]", "[0,1e-10,3e30]"), "vector"),
    Kind("geometry", ["'SRID=4326;POINT(1 2)'", "'LINESTRING Z (0 0 1,1 1 2)'", "'POLYGON EMPTY'", "'POINT EMPTY'", "'SRID=3857;POINT ZM (1 2 3 4)'",
         "'SRID=25832;GEOMETRYCOLLECTION M (POINT M (1 2 3),GEOMETRYCOLLECTION M (LINESTRING M (0 0 1,1 1 2),MULTIPOINT M (1 1 1,2 2 2)))'",
         "'POLYGON((0 0,9 0,9 9,0 0),(1 1,2 1,2 2,1 1))'", "'MULTIPOLYGON(((0 0,1 0,1 1,0 0)),EMPTY)'",
         "'CURVEPOLYGON(COMPOUNDCURVE(CIRCULARSTRING(0 0,2 0,2 1,2 3,4 3),(4 3,4 5,1 4,0 0)))'", "'MULTICURVE((0 0,5 5),CIRCULARSTRING(4 0,4 4,8 4))'",
         "'MULTISURFACE(((0 0,1 0,1 1,0 0)))'", "'TRIANGLE((0 0,0 1,1 1,0 0))'", "'TIN Z (((0 0 0,0 0 1,0 1 0,0 0 0)))'",
         "'POLYHEDRALSURFACE Z (((0 0 0,0 0 1,0 1 1,0 1 0,0 0 0)))'"], "postgis"),
    Kind("geometry(PointZ,4326)", ["'SRID=4326;POINT Z (1 2 3)'"], "postgis"),
    Kind("geography", ["'POINT(-71.06 42.36)'", "'SRID=4267;MULTILINESTRING((1 2,3 4),(5 6,7 8))'"], "postgis"),
    Kind("geography(Point,4326)", ["'POINT(-71.06 42.36)'"], "postgis"),
]  # fmt: skip


class Types:
    """The table `types`: row n has of each type the value n, n + step, …; a null now and then."""

    def __init__(self, connection: psycopg.Connection, version: int):
        self.connection = connection
        self.version = version
        available = {name for (name,) in connection.execute("select name from pg_available_extensions").fetchall()}
        wanted = {kind.extension for kind in KINDS if kind.extension}
        self.skipped = wanted - available
        for extension in sorted(wanted & available):
            connection.execute(f"create extension {extension}")
        self.kinds = [kind for kind in KINDS if kind.extension not in self.skipped and kind.since <= version]
        self.longest = max(len(kind.values) for kind in self.kinds) + 1

    def make(self):
        for statement in SCHEMA.split(";\n"):
            self.connection.execute(statement)
        columns = ", ".join(f"c{at} {kind.name}" for at, kind in enumerate(self.kinds))
        virtual = "tripled int generated always as (touched * 3) virtual, " if self.version >= 18 else ""
        self.connection.execute(
            "create table types (id bigint generated always as identity primary key, touched int default 0,"
            f" doubled int generated always as (touched * 2) stored, {virtual}{columns})")  # fmt: skip
        for at, kind in enumerate(self.kinds):
            if kind.name in ("text", "bytea", "numeric"):  # an update sends such a value only when it changes it
                self.connection.execute(f"alter table types alter c{at} set storage external")
        self.connection.execute(
            "create table keyed (a inet, b timetz, c citext_or_text, v int, primary key (a, b, c))".replace(
                "citext_or_text", "text" if "citext" in self.skipped else "citext"))  # fmt: skip
        self.connection.execute("create table null_lists (id int primary key, ones pair[], one outer_one)")
        # The whole old row is in the log: every type is decoded there too.
        run = self.connection.execute
        run("create table whole as select * from types with no data")
        run("alter table whole drop doubled" + (", drop tripled" if virtual else ""))
        if self.version >= 18:  # before, the log has no generated column, not even in a whole old row
            run("alter table whole add doubled text generated always as (repeat(touched::text, 10000)) stored")
        run("alter table whole replica identity full")
        self.connection.execute("alter table whole add primary key (id)")

    def _value(self, kind: Kind, turn: int) -> str:
        values = [*kind.values, kind.null]
        return f"({values[turn % len(values)]})::{kind.name}"

    def row(self, turn: int) -> list[str]:
        return [self._value(kind, turn) for kind in self.kinds]

    def insert(self):
        names = ", ".join(f"c{at}" for at in range(len(self.kinds)))
        for turn in range(self.longest):
            self.connection.execute(f"insert into types ({names}) values ({', '.join(self.row(turn))})")
            self.connection.execute(
                "insert into keyed values (%s, %s, %s, %s) on conflict do nothing",
                [f"10.0.{turn}.1/16", f"{turn % 24}:00:00.5+0{turn % 3}", f"Key {turn}", turn])  # fmt: skip

    def insert_null_lists(self):
        self.connection.execute("insert into null_lists values (1, null, null), (2, '{}', row(1, null, null, null, null)),"
                                " (3, array[null]::pair[], row(null, null, '{}', null, null))")  # fmt: skip

    def change(self):
        """Every value of every row changes; then some rows, without touching their large values."""
        run = self.connection.execute
        for turn, (row,) in enumerate(run("select id from types order by id").fetchall()):
            values = self.row(turn + 1)
            sets = ", ".join(f"c{at} = {value}" for at, value in enumerate(values))
            run(f"update types set {sets} where id = {row}")
        run("update types set touched = touched + 1")
        names = ", ".join(["id", "touched", *(f"c{at}" for at in range(len(self.kinds)))])
        run(f"insert into whole ({names}) select {names} from types on conflict do nothing")
        run("update whole set touched = 7 where id % 2 = 0")
        run("update whole set id = id + 100000 where id % 3 = 0 and id < 100000")
        run("delete from whole where id % 5 = 0")
        run("delete from types where id % 7 = 3")
        run("update null_lists set ones = case id when 1 then '{}'::pair[] end, one = case when id < 3 then one end")
        run("insert into null_lists values (4, null, null)")
        run("update keyed set v = v + 1 where v % 2 = 0")
        run("update keyed set a = a + 1000 where v % 3 = 0")
        run("delete from keyed where v % 5 = 0")
