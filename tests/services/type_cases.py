"""Values of every Postgres type, by table; every value is a row of its own, in which all other columns are NULL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TYPES = """
create type mood as enum ('sad', 'ok', 'it''s "so, so"');
create type pair as (a int, b text);
create domain price as numeric(10,2);
create domain deep as price check (value > 0);
create domain words as text[];
"""

Values = Mapping[str, Sequence[str]]

NUMBERS: Values = {
    "smallint": ["-32768", "32767"],
    "integer": ["-2147483648", "2147483647"],
    "bigint": ["-9223372036854775808", "9223372036854775807"],
    "oid": ["4294967295"],
    "numeric(10,2)": ["12345678.90", "-0.05", "0", "NaN"],
    "numeric(38,10)": ["1234567890123456789012345678.0123456789"],
    "numeric(38,38)": ["0.00000000000000000000000000000000000001"],
    "numeric(50,5)": ["123456789012345678901234567890123456789012345.12345", "NaN"],
    "numeric(5,-2)": ["12345", "99"],
    "numeric(3,5)": ["0.00123"],
    "numeric": ["1", "1.500", "0.00000000000000000001", "1e50", "NaN", "Infinity", "-Infinity"],
    "real": ["0.1", "16777216", "3.4028235e38", "1e-45", "-0", "NaN", "Infinity", "-Infinity"],
    "double precision": [
        *("0.1", "0.30000000000000004", "123456789012345678", "1e300", "5e-324", "1e-5", "-0"),
        *("NaN", "Infinity", "-Infinity"),
    ],
    "money": ["12.34", "-1234567.89", "92233720368547758.07"],
    "boolean": ["true", "false"],
    "bit(1)": ["1", "0"],
    "bit(8)": [],
    "bit varying": [],
    "bit varying(1)": [],
    "pg_lsn": ["16/B374D848"],
    "xid8": ["1"],
}
TEXTS: Values = {
    "text": ['a\tb"\\\n😀', "", "NULL", "infinity"],
    "character varying(10)": ["héllo ", ""],
    "character(5)": ["ab", ""],
    '"char"': ["x"],
    "name": [],
    "bytea": ["\\x00ff10", "\\x"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "json": ['{"b": 1.50, "a":  [1e2, null], "b": 2}', "null", '"x"'],
    "jsonb": ['{"b": 1.50, "a": [1e2, null]}', "null", "12345678901234567890.123"],
    "mood": ["ok", 'it\'s "so, so"'],
    "cidr": ["10.1.0.0/16", "::/0"],
    "inet": ["10.1.2.3", "10.1.2.3/16", "::1"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "tsvector": ["a fat cat", "'it''s':1A,2 b:3"],
    "tsquery": ["fat & (rat | cat)"],
    "jsonpath": ["$.a[*] ? (@ > 1)"],
    "price": ["1.50"],
    "deep": ["2.50"],
    "words": ["{a,b}"],
    "pair": ['(1,"a b")'],
    "int4range": ["[1,5)", "empty", "(,5)"],
    "int8range": ["[1,5)"],
    "numrange": ["[1.50,5)"],
    "daterange": ["[2024-01-01,2024-02-01)", "[-infinity,0044-01-01 BC)"],
    "tsrange": ["[2024-01-01 01:02:03.5,)"],
    "tstzrange": ["[2024-01-01 01:02:03+02,2024-06-01 00:00+00)"],
    "int4multirange": ["{[1,3),[5,7)}"],
    "vector(3)": ["[1,2.5,-3]", "[0.1,1e10,3]"],
    "halfvec(3)": ["[1,2.5,0.1]"],
    "sparsevec(5)": [],
    "point": [],
    "line": [],
    "lseg": [],
    "box": [],
    "path": [],
    "polygon": [],
    "circle": [],
}
_INSTANTS = ["2024-03-10 02:30:00.000001", "0001-01-01 00:00", "1582-10-10 01:02:03", "9999-12-31 23:59:59.999999"]
_ODD = ["infinity", "-infinity", "0044-03-15 12:00 BC", "10000-01-01 00:00"]
TIMES: Values = {
    "date": [
        "2024-02-29",
        "0001-01-01",
        "1582-10-04",
        "9999-12-31",
        "1582-10-10",
        "infinity",
        "-infinity",
        "10000-01-01",
    ],
    "time": ["00:00", "23:59:59.999999", "04:05:06.7", "24:00"],
    "time(3)": ["04:05:06.789"],
    "timetz": ["04:05:06.789+02", "23:59:59.999999-15:59", "24:00+00"],
    "timestamp": [*_INSTANTS, *_ODD],
    "timestamp(3)": ["2024-03-10 02:30:00.123"],
    "timestamptz": [
        *("2024-03-10 02:30:00.000001+01", "0001-01-01 00:00+00", "1883-11-18 12:00+00"),
        *("9999-12-31 23:59:59.999999+00", "infinity", "-infinity", "0044-03-15 12:00+00 BC", "10000-01-01 00:00+00"),
    ],
    "interval": ["1 year 2 mons 3 days 04:05:06.7", "-1 year +2 days -03:00:00.5", "100:00", "00:00", "infinity"],
    "interval year to month": ["1 year 2 mons"],
}
ARRAYS: Values = {
    "smallint[]": ["{1,-2,NULL}"],
    "integer[]": ["{1,2}", "{}", "[0:1]={5,6}", "{{1,2},{3,4}}", "{NULL}"],
    "bigint[]": ["{9223372036854775807}"],
    "oid[]": ["{4294967295}"],
    "numeric[]": ["{1.50,1e-20}", "{NaN,1}"],
    "numeric(10,2)[]": ["{1.50,NULL}", "{NaN}"],
    "real[]": ["{0.1,NaN,Infinity}"],
    "double precision[]": ["{0.1,1e300,-Infinity}"],
    "boolean[]": ["{t,f,NULL}"],
    "text[]": ['{a,"b,c","\\"q\\"",NULL,"NULL",""}', "{}", "{{a,b},{c,d}}"],
    "character varying(10)[]": ["{a}"],
    "character(5)[]": ["{ab}"],
    "bytea[]": ['{"\\\\x00ff"}'],
    "uuid[]": ["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"],
    "json[]": ['{"{\\"a\\":  1}"}'],
    "jsonb[]": ['{"{\\"a\\": 1.50}"}'],
    "date[]": ["{2024-02-29,NULL}", "{infinity}", "{1582-10-10}", '{"0044-03-15 BC"}'],
    "time[]": ["{04:05:06.5,NULL}", "{24:00}"],
    "timetz[]": ["{04:05:06+02}"],
    "timestamp[]": ['{"2024-03-10 02:30:00.000001"}', "{1582-10-10}", "{infinity}", '{"0044-03-15 12:00 BC"}'],
    "timestamptz[]": ['{"2024-03-10 02:30:00.000001+01"}', "{infinity}", '{"0044-03-15 12:00+00 BC"}'],
    "inet[]": ["{10.1.2.3/16,10.1.2.3}"],
    "cidr[]": ["{10.1.0.0/16}"],
    "macaddr[]": ["{08:00:2b:01:02:03}"],
    "mood[]": ["{ok,sad}"],
    "int4range[]": ['{"[1,5)"}'],
    "interval[]": ["{1 day}"],
    "money[]": ["{1.50}"],
    "price[]": ["{1.50}"],
    "pair[]": ['{"(1,x)"}'],
    "point[]": ['{"(1,2)"}'],
    "bit(3)[]": [],
    "tsvector[]": ["{\"'a'\"}"],
    '"char"[]': ["{x}"],
    "vector(2)[]": [],
}
CONTRIB: Values = {
    "citext": ["Ab", "", "NULL"],
    "ltree": ["Top.Science.Astronomy", ""],
    "hstore": ['a=>1, b=>NULL, "c d"=>"x\\"y"', "", 'a=>"NULL", ""=>""', 'b=>"1.50", aa=>" \\\\ü"'],
    "xml": ['<a b="1"> x &amp; y</a>', "<!-- c --><a/>", "no element", ""],
    "lquery": ["*.foo.*{1}"],
    "cube": ["(1,2)"],
    "isbn13": ["978-0-393-04002-9"],
    "citext[]": ['{Ab,NULL,"b,c"}', "{}"],
    "ltree[]": ["{Top.A,Top.B}"],
    "hstore[]": [],
    "xml[]": ["{<a/>}"],
}


@dataclass(frozen=True, slots=True)
class Cases:
    """What is made in one server: its extensions, own types, and tables."""

    extensions: Sequence[str]
    ddl: str
    tables: Mapping[str, Values]


WHEEL = Cases(("vector",), TYPES, {"numbers": NUMBERS, "texts": TEXTS, "times": TIMES, "arrays": ARRAYS})
DEBIAN = Cases(("citext", "cube", "hstore", "isn", "ltree"), "", {"contrib": CONTRIB})
