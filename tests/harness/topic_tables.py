"""Tables with a column of every type that Debezium's connector for PostgreSQL tells apart, and statements of every kind
that becomes a record. One row of each table and one of each value are enough."""

SETUP = r"""
create extension hstore; create extension citext; create extension ltree; create extension postgis;
create type mood as enum ('glad','sad','so, so');
create domain positive as int check (value>0);
create domain price as numeric(8,2);
create type pair as (a int, b text);
create table plain (id bigint primary key, a int not null, b text, n numeric(12,2) not null default 7.5, at timestamptz not null default '2020-01-01',
note varchar(40) default 'none', i2 smallint default 3,
f8 float8 not null default 1.5, ok bool not null default true, d date not null default '2020-02-03', u uuid not null default '00000000-0000-0000-0000-000000000001',
raw bytea not null default '\x0102', computed timestamptz default now());
comment on column plain.b is 'a comment';
create table types (id int primary key,
 i2 smallint, i4 int, i8 bigint, f4 real, f8 float8, n10 numeric(10,3), n0 numeric(38,0), nn numeric, n45 numeric(45,3), m money,
 b bool, d date, t time, t3 time(3), tz timetz, ts timestamp, ts3 timestamp(3), ts0 timestamp(0), tstz timestamptz, tstz3 timestamptz(3), iv interval,
 tx text, vc varchar(20), c5 char(5), ch "char",
nm name, by bytea, b1 bit(1), b5 bit(5), b12 bit(12), vb varbit, vb20 varbit(20), u uuid, j json, jb jsonb, jp jsonpath, x xml,
 e mood, pos positive, pr price, pa pair, r4 int4range, r8 int8range, rn numrange, rd daterange, rt tsrange, rtz tstzrange, mr int4multirange,
 ip inet, ci cidr, ma macaddr, ma8 macaddr8, o oid, xi xid, x8 xid8, ti tid, rc regclass, tv tsvector,
tq tsquery, pt point, ls lseg, pth path, bx box, pg polygon, ln line, cr circle, lsn pg_lsn,
 h hstore, cit citext, lt ltree, g geometry, gg geography,
 a2 smallint[], a4 int[], a8 bigint[], af4 real[], af8 float8[], an numeric(10,3)[], ann numeric[], ab bool[], ad date[], at_ time[], atz timetz[],
ats timestamp[], atstz timestamptz[], atx text[], avc varchar(9)[], ac5 char(5)[], aby bytea[], au uuid[], aj json[], ajb jsonb[], ae mood[],
aip inet[], ar4 int4range[], am money[], aiv interval[], ah hstore[], acit citext[], alt ltree[], ao oid[], ag geometry[],
apos positive[], v2 int2vector, anm name[], ax xml[], apt point[], abit bit(5)[]);
create table required (id int primary key,
 i2 smallint not null, i8 bigint not null, f4 real not null, f8 float8 not null, n10 numeric(10,3) not null, nn numeric not null, m money not null,
 b bool not null, d date not null, t time not null, tz timetz not null, ts timestamp not null, tstz timestamptz not null, iv interval not null,
 tx text not null, c5 char(5) not null, by bytea not null, b1 bit(1) not null, b5 bit(5) not null, u uuid not null, j json not null, x xml not null,
 e mood not null,
r4 int4range not null, ip inet not null, pt point not null, h hstore not null, g geometry not null, cit citext not null, lt ltree not null,
tv tsvector not null,
 a4 int[] not null, atx text[] not null, aby bytea[] not null, o oid not null, ah hstore[] not null);
create table whole (id int primary key, a int, b text, big text); alter table whole replica identity full;
create table keyless (a int, b text); alter table keyless replica identity full;
create table pair_key (b text, a int, x int, primary key (a, b));
create table toast (id int primary key, n int, tx text, vc varchar, by bytea, j json, jb jsonb, x xml, h hstore, atx text[], a4 int[], a8 bigint[],
aby bytea[], an numeric[], au uuid[], nn numeric, ad date[], ltx text not null, cit citext);
create table "Odd Name-1" ("the id" int primary key, "a.b" text, "ü" text);
create table emptied (id int primary key);
create table finish (id int primary key);
"""

# A row of `types` with usual values, and one with extremes and empty ones. The key stands before them.
_USUAL = r"""32767, 2147483647, 9223372036854775807, 1.5, 0.1, 12345.678, 99999999999999999999999999999999999999, 12345678901234567890.1234567890, 1.5, '12345.67',
true, '2024-02-29', '12:34:56.123456', '12:34:56.123', '12:34:56.5+05:30', '2024-02-29 12:34:56.123456', '2024-02-29 12:34:56.123',
'2024-02-29 12:34:56', '2024-02-29 12:34:56.123456+02', '2024-02-29 12:34:56.12+02', '1 year 2 mons 3 days 04:05:06.000007', 'ünï ☃ 🏔 "q" \ /', 'vc',
'ab', 'x', 'nm', '\x00ff01', B'1', B'10110', B'101100000001', B'101', B'10101010101', 'ffffffff-0000-4000-8000-000000000001',
'{"b": 1,  "a": [1.50]}', '{"b": 1,  "a": [1.50]}', '$.a', '<a>b</a>', 'so, so', 5, 1.25, row(1,'x'), '[1,5)', '[1,5)', '[1.5,2)',
'[2024-01-01,2024-02-01)', '[2024-01-01 01:02:03.5,)', '[2024-01-01 00:00+00,2024-01-02 00:00+00)', '{[1,2),[5,9)}', '10.0.0.1/8', '10.0.0.0/8',
'08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', 4294967295, '7', '77', '(1,2)', 'pg_class', '''a'':1A b:2', 'a & b', '(1.5,-2)', '[(0,0),(1,1)]',
'[(0,0),(1,1)]', '(3,4),(1,2)', '((0,0),(1,1),(2,0))', '{1,-1,0}', '<(1,2),3>', '16/B374D848', 'a=>1, "b c"=>NULL, "ü"=>"q\""', 'CiText', 'a.b.c',
'SRID=4326;POINT(1 2)', 'POINT(3 4)', '{1,NULL,-3}', '{1,2}', '{9223372036854775807,NULL}', '{1.5,NULL}', '{0.1}', '{1.5,NULL,-0.001}',
'{1.50,NULL,1e10}', '{t,f,NULL}', '{2024-02-29,NULL}', '{12:34:56.5}', '{12:34:56+02}', '{2024-02-29 12:34:56.5}', '{2024-02-29 12:34:56.5+02,NULL}',
'{a,NULL,"b,c","q\""}', '{vc}', '{ab}', array['\x00ff'::bytea,null], '{ffffffff-0000-4000-8000-000000000001}', array['{"a": 1}']::json[],
array['{"a": 1}']::jsonb[], '{glad,"so, so"}', '{10.0.0.1}', array['[1,3)']::int4range[], '{1.50}', '{1 day}', array['a=>1']::hstore[], '{Ci}',
'{a.b}', '{1}', array['POINT(1 2)'::geometry], '{1,2}', '1 2 3', '{nm}', array['<a/>'::xml], array['(1,2)']::point[], array[B'10110'])"""
_EDGES = r"""-32768, -2147483648, -9223372036854775808, 'NaN', 'NaN', -0.001, -1, 0, -1234567.125, '-0.01', false, '0044-03-15 BC', '00:00', '00:00',
'01:02:03.000004-00:30', '0001-01-01', '1969-12-31 23:59:59.999', '1969-12-31 23:59:59', '0044-03-15 00:00+00 BC', '1969-12-31 23:59:59.999+00',
'-1 year +2 days -00:00:00.1', E'\x01\t\n\x7f', '', '', '', '', '', B'0', B'00000', B'000000000000', B'', B'0',
'00000000-0000-0000-0000-000000000000', 'null', 'null', 'lax $', '', 'glad', 1, -0.01, row(null,null), 'empty', '[9,)', '(,)', 'empty',
'(,2024-01-01)', 'empty', '{}', '::1', '::/0', 'ff:ff:ff:ff:ff:ff', 'ff:ff:ff:ff:ff:ff:ff:ff', 0, '0', '18446744073709551615', '(0,1)', '-', '', '',
'(0,1e300)', '[(0,0),(1.5,-2)]', '((0,0),(1,1))', '(0,0),(0,0)', '((0,0))', '{1,-1,0.3}', '<(0,0),0>', '0/0', '', '', '', 'POINT EMPTY',
'POINT EMPTY', '{}', '{}', '{}', '{NaN,Infinity}', '{NaN,-Infinity}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}',
'{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '', '{}', '{}', '{}', '{}')"""
_REQUIRED = r"""1, 2, 1.5, 2.5, 1.25, 3.75, 1.5, true, '2024-01-01', '01:02:03', '01:02:03+00', '2024-01-01', '2024-01-01 00:00+00', '1 day', 'x', 'ab', '\x01', B'1',
B'10101', '00000000-0000-0000-0000-000000000001', '{}', '<a/>', 'sad', '[1,2)', '1.1.1.1', '(1,2)', 'a=>1', 'POINT(1 2)', 'C', 'a.b', 'a', '{1}',
'{a}', array['\x01'::bytea], 1, array['a=>1']::hstore[])"""

# Values that are too large for their row, and compress too little to fit.
_LARGE = """
insert into toast select 1, 1, s, s, decode(s, 'hex'), to_json(s), to_jsonb(s), ('<a>' || s || '</a>')::xml, hstore('k', s), array[s],
  (select array_agg((random() * 1e9)::int) from generate_series(1, 4000)),
  (select array_agg((random() * 1e9)::bigint * 1000) from generate_series(1, 4000)), array[decode(s, 'hex')],
  (select array_agg((random() * 1e9)::numeric) from generate_series(1, 4000)),
  (select array_agg(gen_random_uuid()) from generate_series(1, 1000)), repeat('123456789', 4000)::numeric,
  (select array_agg('2000-01-01'::date + (random() * 9999)::int) from generate_series(1, 3000)), s, s
from (select string_agg(md5(random()::text), '') s from generate_series(1, 400)) q"""

_PLAIN = "insert into plain (id, a, b, n, at) values"
_AT = "'2024-01-01 00:00+00'"

COPIED = [
    f"{_PLAIN} (1, 10, 'one', 1.25, {_AT}), (2, 20, null, 2.5, {_AT})",
    f"insert into types values (1, {_USUAL}", f"insert into types values (2, {_EDGES}", "insert into types (id) values (3)",
    "insert into whole values (1, 1, 'a', 'x')", _LARGE, "insert into emptied values (1)",
]  # fmt: skip

STREAMED = [
    f"{_PLAIN} (3, 30, 'three', 3, {_AT})",
    f"insert into plain (id, a, b, n, at, note, i2) values (33, 30, 'three', 3, {_AT}, null, null)",
    "update plain set b = 'uno' where id = 1", "update plain set id = 22 where id = 2", "delete from plain where id = 3",
    f"begin; {_PLAIN} (4, 40, 'four', 4, {_AT}); insert into keyless values (1, 'x'); update plain set a = 41 where id = 4; commit",
    f"insert into types values (11, {_USUAL}", f"insert into types values (12, {_EDGES}", "insert into types (id) values (13)",
    "update types set i4 = 7 where id = 11", "update keyless set b = 'y'", "delete from keyless",
    f"insert into required values (1, {_REQUIRED}", "update required set i2 = 9", "update required set id = 2", "delete from required",
    "update whole set b = 'b'", "update whole set id = 2", "delete from whole",
    "insert into pair_key values ('k', 1, 5)", "update pair_key set x = 6", "update pair_key set b = 'l'", "delete from pair_key",
    "update toast set n = 2", """insert into "Odd Name-1" values (1, 'x', 'y')""", """delete from "Odd Name-1" """,
    "truncate emptied, whole", "insert into finish values (1)",
]  # fmt: skip
