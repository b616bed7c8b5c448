"""Nasty JSON files, and JSON in a column of CSV, and what must become of each."""

# A case is a line, however long: only so the tables can be read and compared.
# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from contracts.stream import Column, FileSource
from tests.spark.nasty_csv import COLUMNS, Case, csv, declared

VALUES = (
    *COLUMNS,
    Column("rate", "double"),
    Column("flag", "boolean"),
    Column("place", "struct<city:string,zip:int>"),
    Column("tags", "array<string>"),
    Column("more", "map<string,string>"),
)
ID = '{"id":1}'
ONE = {"id": 1}
TWO = {"id": 2}


def name(json: str, value: str) -> tuple[str, dict[int, dict[str, object]]]:
    """A line with this JSON as its name, and the row it gives."""
    return f'{{"id":1,"name":{json}}}\n', {1: {"id": 1, "name": value}}


def refused_name(json: str) -> tuple[str, dict[int, object], dict[int, str]]:
    """A row whose text is an object or an array: nothing says how it was written."""
    return f'{{"id":1,"name":{json}}}\n', {}, {1: "type name"}


ARRAYS = (
    Case("an array", '[{"id":1,"name":"a"},{"id":2}]', {1: {"id": 1, "name": "a"}, 2: TWO}),
    Case("an array over many lines", '\r\n[\r\n {"id":1,\r\n "name":"[,]"}\r\n ,\r\n{"id":2}\r\n]\r\n', {1: {"id": 1, "name": "[,]"}, 2: TWO}),
    Case("an array cut within an element", '[{"id":1},{"id":2', {1: ONE}, {2: "unsplit"}),
    Case("an array cut behind an element", '[{"id":1},{"id":2}', {1: ONE}, {2: "unsplit"}),
    Case("an array cut behind a comma", '[{"id":1},', {1: ONE}, {2: "unsplit"}),
    Case("an array cut within a text", '[{"id":1},{"id":2,"name":"]', {1: ONE}, {2: "unsplit"}),
    Case("a comma before the end", '[{"id":1},]', {1: ONE}, {2: "unsplit"}),
    Case("a comma before the first element", '[,{"id":1}]', {2: ONE}, {1: "unsplit"}),
    Case("two commas", '[{"id":1},,{"id":2}]', {1: ONE, 3: TWO}, {2: "unsplit"}),
    Case("two arrays", '[{"id":1}]\n[{"id":2}]\n', {1: ONE}, {2: "unsplit"}),
    Case("text behind the array", '[{"id":1}] # 1 row', {1: ONE}, {2: "unsplit"}),
    Case("a comma missing between elements", '[{"id":1} {"id":2}]', {}, {1: "json"}),
    Case("elements that are no objects", '[1,"a",null,true,[{"id":1}],{"id":2}]', {6: TWO}, {1: "json", 2: "json", 3: "json", 4: "json", 5: "json"}),
    Case("a bracket of the wrong kind", '[{"id":1],{"id":2}]', {2: TWO}, {1: "json"}),
    Case("an array with an open text", '[{"id":1,"name":"a},{"id":2}]', {}, {1: "unsplit"}),
    Case("an array closed twice", '[{"id":1}]]', {1: ONE}, {2: "unsplit"}),
    Case("an empty array", "[]"),
    Case("an array behind a mark", '\ufeff[{"id":1}]', {1: ONE}),
    Case("line ends within a text of an array", '[{"id":1,"name":"a\nb"},{"id":2}]', {2: TWO}, {1: "json"}),
    Case("an array in an object", '{"rows":[{"id":1},{"id":2}]}', {}, {1: "undeclared_field"}),
)

LINES = (
    Case("lines", ID + "\n" + '{"id":2}', {1: ONE, 2: TWO}),
    Case("lines with carriage returns and blank lines", '{"id":1}\r\n\r\n \t\n{"id":2}\r\n', {1: ONE, 4: TWO}),
    Case("a mark before lines", "\ufeff" + '{"id":1}\n{"id":2}\n', {1: ONE, 2: TWO}),
    Case("a mark within lines", '{"id":1}\n\ufeff{"id":2}\n', {1: ONE}, {2: "json"}),
    Case("blanks around an object", ' \t{ "id" : 1 } \n', {1: ONE}),
    Case("a blank that JSON does not know", '{"id":1}\u00a0\n{"id":\u00a02}\n', {}, {1: "json", 2: "json"}),
    Case("two objects on a line", '{"id":1}{"id":2}\n{"id":1},{"id":2}\n{"id":1} {"id":2}\n', {}, {1: "json", 2: "json", 3: "json"}),
    Case("text behind an object", '{"id":1}x\n{"id":1};\n{"id":1}}\n{"id":1}]\n', {}, {1: "json", 2: "json", 3: "json", 4: "json"}),
    Case("a text that closes what the parser put around", '{"id":1},{"end":"1"}]\n{"id":2}],[\n', {}, {1: "json", 2: "json"}),
    Case("a comma at the end of each line", '{"id":1},\n{"id":2},\n', {}, {1: "json", 2: "json"}),
    Case("a line cut short", '{"id":1}\n{"id":2,"name":"a', {1: ONE}, {2: "json"}),
    Case("an object over many lines", '{\n"id": 1\n}\n', {}, {1: "json", 2: "json", 3: "json"}),
    Case("arrays among lines", '{"id":1}\n[{"id":2}]\n[]\n', {1: ONE}, {2: "json", 3: "json"}),
    Case("scalars and null among lines", '{"id":1}\nnull\n2\n"a"\ntrue\n', {1: ONE}, {2: "json", 3: "json", 4: "json", 5: "json"}),
    Case("empty objects", '{}\n{ }\n{"id":1}\n', {3: ONE}, {1: "required id", 2: "required id"}),
    Case("nothing that names a column", '{"x":1}\n{"y":2}\n', wrong="no value names any column"),
    Case("a line longer than a record", f'{{"id":1,"name":"{"x" * 1_000_000}"}}\n{{"id":2}}\n', {2: TWO}, {1: "unsplit"}),
    Case("CSV", "id,name\n1,a\n", wrong="no value names any column"),
    Case("UTF-16 that nobody declared", ID.encode("utf-16"), wrong="it is UTF-16"),
    Case("UTF-16 without a mark", ID.encode("utf-16-be"), wrong="NUL bytes"),
    Case("bytes that are no text", ID.encode() + b'\n{"id":2,"name":"\xe9"}\n{"id":3,"name":"\xed\xa0\x80"}', {1: ONE}, {2: "encoding", 3: "encoding"}),
)

SYNTAX = (
    Case("single quotes", "{'id':1}\n{\"id\":'2'}\n" + '{"id":3}', {3: {"id": 3}}, {1: "json", 2: "json"}),
    Case("comments", '{"id":1/*c*/}\n{"id":1}//c\n{"id":1}#c\n', {}, {1: "json", 2: "json", 3: "json"}),
    Case("names without quotes", "{id:1}\n" + '{"id":1,name:"a"}\n{"id":1,2:3}\n', {}, {1: "json", 2: "json", 3: "json"}),
    Case("a number with a fraction as a name", '{"id":1,2.5:3}\n', {}, {1: "undeclared_field"}),
    Case("NaN and Infinity as bare words", '{"id":1,"rate":NaN}\n{"id":1,"rate":Infinity}\n{"id":1,"rate":-Infinity}\n{"id":1,"rate":-INF}\n', {}, {1: "json", 2: "json", 3: "json", 4: "json"}),
    Case("NaN and Infinity as texts", '{"id":1,"rate":"NaN"}\n{"id":2,"rate":"-Infinity"}\n{"id":3,"rate":"nan"}\n', {1: {"id": 1, "rate": "nan"}, 2: {"id": 2, "rate": "-inf"}}, {3: "type rate"}),
    Case("a comma too many in an object", '{"id":1,}\n{"id":1,,"name":"a"}\n{,"id":1}\n', {}, {1: "json", 2: "json", 3: "json"}),
    Case("other words for true", '{"id":1,"flag":True}\n{"id":1,"flag":yes}\n{"id":1,"flag":1}\n{"id":1,"flag":"true"}\n', {4: {"id": 1, "flag": True}}, {1: "json", 2: "json", 3: "type flag"}),
    Case("a tab within a text", '{"id":1,"name":"a\tb"}\n', {}, {1: "json"}),
    Case("escapes that JSON does not know", '{"id":1,"name":"\\x41"}\n{"id":1,"name":"\\\'"}\n{"id":1,"name":"\\u12"}\n', {}, {1: "json", 2: "json", 3: "json"}),
    Case("numbers that JSON does not know", '{"id":01}\n{"id":+1}\n{"id":0x1}\n{"id":1,"rate":.5}\n{"id":1,"rate":5.}\n{"id":1,"rate":1.e3}\n{"id":1_0}\n', {}, dict.fromkeys(range(1, 8), "json")),
    Case("leading zeros pass beside a fraction", '{"id":1,"amount":01.50}\n{"id":02,"amount":1.50}\n', {}, {1: "json", 2: "json"}),
)

NAMES = (
    Case("a name twice", '{"id":1,"id":2}\n{"id":1,"name":"a","name":"a"}\n', {}, {1: "duplicate_field", 2: "duplicate_field"}),
    Case("a name twice, once escaped", '{"id":1,"\\u0069d":2}\n', {}, {1: "duplicate_field"}),
    Case("escapes in names", '{"\\u0069\\u0064":1,"na\\u006De":"a"}\n{"id":2}\n', {1: {"id": 1, "name": "a"}, 2: TWO}),
    Case("names in another case or with blanks", '{"ID":1}\n{"id":1," name":"a"}\n{"id":1,"":2}\n', {}, dict.fromkeys((1, 2, 3), "undeclared_field")),
    Case("fields too many and too few", '{"id":1,"x":null}\n{"name":"a"}\n{"id":null}\n{"id":4}\n', {4: {"id": 4}}, {1: "undeclared_field", 2: "required id", 3: "required id"}),
    Case("U+0000 in a name", '{"id":1,"na\\u0000me":"a"}\n', {}, {1: "undeclared_field"}),
    Case("NULL for everything but the key", '{"id":1,"name":null,"amount":null,"rate":null,"flag":null,"place":null,"tags":null,"more":null}\n', {1: ONE}),
)

NUMBERS = (
    Case("integers at and beyond the end of their type", '{"id":9223372036854775807}\n{"id":-9223372036854775808}\n{"id":9223372036854775808}\n{"id":1e400}\n', {1: {"id": 2**63 - 1}, 2: {"id": -(2**63)}}, {3: "type id", 4: "type id"}),
    Case("integers with a fraction or an exponent", '{"id":1.0}\n{"id":2.000}\n{"id":3.5}\n{"id":1e0}\n{"id":"4"}\n', {1: ONE, 2: TWO, 5: {"id": 4}}, {3: "type id", 4: "type id"}),
    Case("decimals", '{"id":1,"amount":1.10}\n{"id":2,"amount":15e-1}\n{"id":3,"amount":1.239}\n{"id":4,"amount":123456789.1}\n{"id":5,"amount":"1.5"}\n{"id":6,"amount":1.500}\n', {1: {"id": 1, "amount": "1.10"}, 2: {"id": 2, "amount": "1.50"}, 5: {"id": 5, "amount": "1.50"}, 6: {"id": 6, "amount": "1.50"}}, {3: "type amount", 4: "type amount"}),
    Case("floating numbers", '{"id":1,"rate":1E400}\n{"id":2,"rate":1e-400}\n{"id":3,"rate":-0.0}\n{"id":4,"rate":0.1}\n{"id":5,"rate":0.1234567890123456789}\n{"id":7,"rate":1e22}\n', {3: {"id": 3, "rate": "-0.0"}, 4: {"id": 4, "rate": "0.1"}, 6: {"id": 7, "rate": "1e+22"}}, {1: "type rate", 2: "type rate", 5: "type rate"}),
    Case("a number of thousand and one digits", f'{{"id":1{"0" * 1000}}}\n{{"id":1,"amount":0.{"0" * 1001}}}\n{{"id":2}}\n', {2: {"id": 1, "amount": "0.00"}, 3: TWO}, {1: "json"}),
    Case("a number as a text keeps its digits", *name("1.50", "1.50")),
    Case("a large number as a text keeps its digits", *name("123456789012345678901234567890.10", "123456789012345678901234567890.10")),
    Case("an exponent as a text stays", *name("1E+05", "1E+05")),
    Case("a negative zero", '{"id":1,"rate":-0}\n', {1: {"id": 1, "rate": "-0.0"}}),
    Case("a negative zero as a text", *name("-0", "-0")),
    Case("a large integer as a text keeps its digits", *name("123456789012345678901234567890", "123456789012345678901234567890")),
    Case("a boolean as a text", *name("true", "true")),
)

TEXTS = (
    Case("an object inside a string", *name('"{\\"x\\": 1.50}"', '{"x": 1.50}')),
    Case("an object for a text, without the blanks between its parts", *refused_name('{"x": 1, "y": 12345678901234567890123}')),
    Case("an object with a fraction for a text", *refused_name('{"x":1.50}')),
    Case("an array with an exponent for a text", *refused_name("[1e3]")),
    Case("an object for a text beside a fraction", '{"id":1,"name":{"x":1},"amount":2.5}\n', {}, {1: "type name"}),
    Case("an object with escapes for a text, which are resolved", *refused_name('{"x":"\\u0041\\n"}')),
    Case("an object with a name twice for a text", *refused_name('{"x":1,"x":2}')),
    Case("a number inside a string beside a fraction", '{"id":1,"name":"a 1.5, \\"2.5\\" {3e1} $1","amount":2.5}\n', {1: {"id": 1, "name": 'a 1.5, "2.5" {3e1} $1', "amount": "2.50"}}),
    Case("an empty text and blanks", '{"id":1,"name":""}\n{"id":2,"name":"  "}\n', {1: {"id": 1, "name": ""}, 2: {"id": 2, "name": "  "}}),
    Case("the text null", *name('"null"', "null")),
    Case("every escape", *name('"\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00"', '"\\/\b\f\n\r\té😀')),
    Case("line separators and code points that are no characters", *name('"a\u2028b\u2029c\ufeff\uffff\x7f"', "a\u2028b\u2029c\ufeff\uffff\x7f")),
    Case("U+0000 escaped", '{"id":1,"name":"a\\u0000b"}\n{"id":2,"tags":["\\u0000"]}\n', {}, {1: "type name", 2: "type tags"}),
    Case("U+0000 as it is", b'{"id":2}\n{"id":1,"name":"a\0b"}\n', {1: TWO}, {2: "json"}),
    Case("half of a pair", '{"id":1,"name":"\\ud83d"}\n{"id":1,"name":"\\ude00"}\n{"id":1,"name":"\\ude00\\ud83d"}\n{"id":1,"tags":["\\uD83D\\uD83D\\uDE00"]}\n', {}, dict.fromkeys((1, 2, 3, 4), "encoding")),
    Case("the second half of a pair behind text that looks like the first", '{"id":1,"name":"\\\\ud83d\\ude00"}\n', {}, {1: "encoding"}),
    Case("the first half of a pair before text that looks like the second", '{"id":1,"name":"\\ud83d\\\\ude00"}\n', {}, {1: "encoding"}),
    Case("text that looks like half of a pair", '{"id":1,"name":"C:\\\\ud83d"}\n', {1: {"id": 1, "name": "C:\\ud83d"}}),
)

NESTED = (
    Case("nested values", '{"id":1,"place":{"zip":75001,"city":"Paris"},"tags":["a",null,""],"more":{"a":"1.50","b":null}}\n', {1: {"id": 1, "place": {"city": "Paris", "zip": 75001}, "tags": ["a", None, ""], "more": {"a": "1.50", "b": None}}}),
    Case("nested numbers keep their digits", '{"id":1,"tags":[1.50,1e3,true],"more":{"a":1.10}}\n', {1: {"id": 1, "tags": ["1.50", "1e3", "true"], "more": {"a": "1.10"}}}),
    Case("nested objects for texts", '{"id":1,"tags":[{"x":1.50}]}\n', {}, {1: "type tags"}),
    Case("empty nested values", '{"id":1,"place":{},"tags":[],"more":{}}\n', {1: {"id": 1, "place": {"city": None, "zip": None}, "tags": [], "more": {}}}),
    Case("nested values of the wrong shape", '{"id":1,"place":[]}\n{"id":1,"tags":{}}\n{"id":1,"tags":"a"}\n{"id":1,"more":[1]}\n{"id":1,"place":1}\n', {}, {1: "type place", 2: "type tags", 3: "type tags", 4: "type more", 5: "type place"}),
    Case("nested values of the wrong type", '{"id":1,"place":{"zip":1.5}}\n{"id":1,"place":{"zip":2147483648}}\n{"id":1,"place":{"zip":"x"}}\n', {}, dict.fromkeys((1, 2, 3), "type place")),
    Case("nested names twice or not declared", '{"id":1,"place":{"zip":1,"zip":2}}\n{"id":1,"place":{"ZIP":1}}\n{"id":1,"more":{"a":"1","a":"2"}}\n', {}, {1: "type place", 2: "type place", 3: "type more"}),
    Case("a nested value as the text of its JSON", '{"id":1,"tags":"[\\"a\\"]","place":"{\\"zip\\":1}"}\n{"id":2,"tags":"[\\"a\\"]x"}\n{"id":2,"tags":""}\n', {1: {"id": 1, "tags": ["a"], "place": {"city": None, "zip": 1}}}, {2: "type tags", 3: "type tags"}),
    Case("more than one array in the text of a nested value", '{"id":1,"tags":"[1],[]"}\n{"id":1,"tags":"[],[]"}\n{"id":1,"tags":"[1],[]]"}\n{"id":1,"tags":"[1],[],[]"}\n{"id":1,"tags":"[1],[0]"}\n', {}, dict.fromkeys((1, 2, 3, 4, 5), "type tags")),
    Case("half of a pair in JSON within a text", '{"id":1,"tags":"[\\"\\\\ud83d\\"]"}\n', {}, {1: "type tags"}),
    Case("a pair in JSON within a text whose halves are escaped apart", '{"id":1,"tags":"[\\"\\\\\\\\ud83d\\\\ude00\\"]"}\n', {}, {1: "type tags"}),
    Case("a text a thousand levels deep", '{"id":1,"name":' + "[" * 1100 + "]" * 1100 + '}\n{"id":2}\n', {2: TWO}, {1: "json"}),
    Case("an array a thousand levels deep", '[{"id":1,"name":' + '{"a":' * 1100 + "1" + "}" * 1100 + '},{"id":2}]', {2: TWO}, {1: "json"}),
    Case("a text nine hundred levels deep", *refused_name("[" * 900 + "]" * 900)),
)

DOCUMENTS = (
    Column("id", "bigint", required=True),
    Column("doc", "struct<a:string,n:int>", json=True),
    Column("ns", "array<int>", json=True),
)
DOCUMENT_HEAD = "id,doc,ns\n"


def document(text: str) -> str:
    """A file with this text as its document."""
    doubled = text.replace('"', '""')
    return f'{DOCUMENT_HEAD}1,"{doubled}",\n'


IN_CSV = (
    Case("JSON in a column", document('{"a":"x,\\"y","n":1}') + "2,,[1]\n", {2: {"id": 1, "doc": {"a": 'x,"y', "n": 1}}, 3: {"id": 2, "ns": [1]}}),
    Case("JSON over many lines in a column", document('{\n"a":"x",\r\n"n":1\n}'), {2: {"id": 1, "doc": {"a": "x", "n": 1}}}),
    Case("JSON without quotes of CSV", DOCUMENT_HEAD + '1,{"a":"x"},[1]\n2,{"a":"x","n":1},[1]\n3,,[]\n', {2: {"id": 1, "doc": {"a": "x", "n": None}, "ns": [1]}, 4: {"id": 3, "ns": []}}, {3: "csv"}),
    Case("JSON in a column with a name twice", document('{"a":"x","a":"y"}'), {}, {2: "type doc"}),
    Case("JSON in a column with a name too many", document('{"a":"x","b":1}'), {}, {2: "type doc"}),
    Case("JSON in a column cut short", document('{"a":"x"'), {}, {2: "type doc"}),
    Case("JSON in a column and text behind it", document('{"a":"x"} {}'), {}, {2: "type doc"}),
    Case("JSON in a column with single quotes", document("{'a':'x'}"), {}, {2: "type doc"}),
    Case("JSON in a column of another shape", document("[1]"), {}, {2: "type doc"}),
    Case("JSON in a column with a fraction for an integer", document('{"n":1.5}') + "2,,[1.5]\n3,,[1.0]\n", {4: {"id": 3, "ns": [1]}}, {2: "type doc", 3: "type ns"}),
    Case("JSON in a column keeps the digits of a text", document('{"a":1.50}'), {2: {"id": 1, "doc": {"a": "1.50", "n": None}}}),
    Case("JSON in a column with an object for a text", document('{"a":{"x":1.50}}'), {}, {2: "type doc"}),
    Case("the first half of a pair in JSON in a column", document('{"a":"\\ud83d"}'), {}, {2: "type doc"}),
    Case("the second half of a pair in JSON in a column", document('{"a":"x\\ude00"}'), {}, {2: "type doc"}),
    Case("a whole pair in JSON in a column", document('{"a":"\\ud83d\\ude00"}'), {2: {"id": 1, "doc": {"a": "😀", "n": None}}}),
    Case("U+0000 in JSON in a column", document('{"a":"\\u0000"}'), {}, {2: "type doc"}),
    Case("null and nothing in a JSON column", DOCUMENT_HEAD + '1,null,\n2,"null","[null]"\n3,"",[]\n', {2: {"id": 1}, 3: {"id": 2, "ns": [None]}}, {4: "type doc"}),
    Case("NaN in JSON in a column", document('{"n":NaN}'), {}, {2: "type doc"}),
)

WIDE = (
    Case("JSON in UTF-16", '[{"id":1,"name":"é😀"}]', {1: (1, "é😀", None)}),
    Case("JSON lines in UTF-16 with half of a pair", ID.encode("utf-16") + '\n{"id":2,"name":"'.encode("utf-16-le") + b"\x3d\xd8" + '"}'.encode("utf-16-le"), {1: (1, None, None)}, {2: "encoding"}),
)

GROUPS = {
    "json": declared(FileSource(r".*", "json"), *ARRAYS, *LINES, *SYNTAX, *NAMES, *NUMBERS, *TEXTS, *NESTED, columns=VALUES),
    "json in utf-16": declared(FileSource(r".*", "json", encoding="utf-16"), *WIDE),
    "json in csv": declared(csv(), *IN_CSV, columns=DOCUMENTS),
}
