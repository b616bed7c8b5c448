"""Nasty CSV files and what must become of each; also how such a case is written down."""

# A case is a line, however long: only so the tables can be read and compared.
# ruff: noqa: E501
# fmt: off

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.stream import Column, Evolution, FileSource, Stream

Values = Mapping[str, Any] | tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """A file, and what must become of it: it is `wrong` as a whole, in words that hold this text, or each of its
    rows is accepted or refused, by line. An accepted row is the tuple of its values, or those that are not NULL by
    name; decimals, floating numbers and times stand as Python writes them. A `bug` says what happens instead."""

    name: str
    content: bytes | str
    accepted: Mapping[int, Values] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)
    wrong: str = ""
    bug: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Files of one contract. Text becomes bytes in its encoding."""

    stream: Stream
    cases: tuple[Case, ...]


COLUMNS = (Column("id", "bigint", required=True), Column("name", "string"), Column("amount", "decimal(10,2)"))
PAIR = COLUMNS[:2]


def declared(
    source: FileSource,
    *cases: Case,
    columns: tuple[Column, ...] = COLUMNS,
    evolution: Evolution = "quarantine",
) -> Group:
    """These cases under a contract with this source."""
    return Group(Stream("p", "rows", "p.files.rows", source, columns, ("id",), evolution=evolution), cases)


def csv(**dialect: Any) -> FileSource:
    """CSV files in this dialect."""
    return FileSource(r".*", "csv", **dialect)


HEAD = "id,name,amount\n"
SHOWN = "id,amount,name\n"
"""The text last, where a row ends."""

QUOTES = (
    Case("two quotes within quotes are one", HEAD + '1,"a""b",2\n', {2: (1, 'a"b', "2.00")}),
    Case("four quotes are one", HEAD + '1,"""",2\n', {2: (1, '"', "2.00")}),
    Case("doubled quotes at both ends", HEAD + '1,"a""",2\n2,"""b",3', {2: (1, 'a"', "2.00"), 3: (2, '"b', "3.00")}),
    Case("a field without quotes is NULL, with quotes empty", HEAD + '1,"",2\n2,,\n', {2: (1, "", "2.00"), 3: (2, None, None)}),
    Case("an inch mark is text", HEAD + '1,5" nail,2\n2,b"c"d,3\n', {2: (1, '5" nail', "2.00"), 3: (2, 'b"c"d', "3.00")}),
    Case("text behind the closing quote", HEAD + '1,"a"b,2\n2,c,3\n', {3: (2, "c", "3.00")}, {2: "csv"}),
    Case("doubled quotes and text behind the closing quote", HEAD + '1,"a""b"c,2\n', {}, {2: "csv"}),
    Case("doubled quotes at the end and text behind the closing quote", HEAD + '1,"a"""b,2\n', {}, {2: "csv"}),
    Case("text behind quotes that hold nothing, or quotes alone", HEAD + '1,""a,2\n2,"" ,3\n3,""""a,4\n""4,b,5\n5,c,""6\n6,"x,""y"",""""z",7\n7,"""",""\n8,"""""",9\n', {7: (6, 'x,"y",""z', "7.00"), 9: (8, '""', "9.00")}, {2: "csv", 3: "csv", 4: "csv", 5: "csv", 6: "csv", 8: "type amount"}),
    Case("a blank behind the closing quote", HEAD + '1,"a" ,2\n', {}, {2: "csv"}),
    Case("a tab behind the closing quote", HEAD + '1,"a"\t,2\n', {}, {2: "csv"}),
    Case("a carriage return behind the closing quote", HEAD + '1,"a\nb"\r,2\n', {}, {2: "csv"}),
    Case("a blank and text behind the closing quote", HEAD + '1,"a" b,2\n2,"a"  "",3\n', {}, {2: "csv", 3: "csv"}),
    Case("a blank that is not ASCII behind the closing quote", HEAD + '1,"a"\u2003,2\n2,"a"\u00a0,2\n', {}, {2: "csv", 3: "csv"}),
    Case("two quotes are a row of one field", HEAD + '""\n', {}, {2: "csv"}),
    Case("a blank before the opening quote", HEAD + '1, "a",2\n', {2: (1, ' "a"', "2.00")}),
    Case("a blank before the opening quote and a comma within", HEAD + '1, "a,b",2\n', {}, {2: "csv"}),
    Case("two quoted texts in one field", HEAD + '1,"a" "b",2\n', {}, {2: "csv"}),
    Case("an open quote swallows nothing in silence", HEAD + '1,"a,2\n2,b,3\n', {}, {2: "unsplit"}),
    Case("an open quote in the last row", HEAD + '1,a,2\n2,"b', {2: (1, "a", "2.00")}, {3: "unsplit"}),
    Case("a quote that only the next row closes", HEAD + '1,"a,2\n2,"b,3\n', {}, {2: "csv"}),
    Case("a quote that only a later row closes, as CSV may", HEAD + '1,"a,2\n2,b,3\n3,c",4\n', {2: (1, "a,2\n2,b,3\n3,c", "4.00")}),
    Case("a comma within quotes", HEAD + '1,"a,b,,c",2\n', {2: (1, "a,b,,c", "2.00")}),
    Case("a whole row within quotes", HEAD + '"1,a,2"\n', {}, {2: "csv"}),
    Case("every field within quotes", '"id","name","amount"\n"1","a","2.5"\n', {2: (1, "a", "2.50")}),
    Case("single quotes are text", HEAD + "1,'a',2\n2,O'Hara,3\n", {2: (1, "'a'", "2.00"), 3: (2, "O'Hara", "3.00")}),
    Case("a backslash is text", HEAD + '1,a\\,2\n2,"a\\",3\n', {2: (1, "a\\", "2.00"), 3: (2, "a\\", "3.00")}),
    Case("a backslash escapes no quote", HEAD + '1,"a\\"b",2\n', {}, {2: "csv"}),
    Case("typographic quotes are text", HEAD + "1,“a”,2\n", {2: (1, "“a”", "2.00")}),
)

LINE_ENDS = (
    Case("line feeds and carriage returns within quotes", HEAD + '1,"a\nb\r\nc\rd\n",2\n2,x,1\n', {2: (1, "a\nb\r\nc\rd\n", "2.00"), 6: (2, "x", "1.00")}),
    Case("carriage returns with line feeds", HEAD + "1,a,2\r\n2,b,3\r\n", {2: (1, "a", "2.00"), 3: (2, "b", "3.00")}),
    Case("both kinds of line ends", "id,name,amount\r\n1,a,2\n2,b,3\r\n3,c,4", {2: (1, "a", "2.00"), 3: (2, "b", "3.00"), 4: (3, "c", "4.00")}),
    Case("carriage returns alone", "id,name,amount\r1,a,2\r2,b,3\r", wrong="carriage returns alone"),
    Case("a carriage return within a field is text", HEAD + "1,a\rb,2\n2,\rc\r\r,3\n", {2: (1, "a\rb", "2.00"), 3: (2, "\rc\r\r", "3.00")}),
    Case("a carriage return too many, text last", SHOWN + "1,2,a\r\r\n2,3,b\r\n", {2: (1, "a\r", "2.00"), 3: (2, "b", "3.00")}),
    Case("a carriage return within quotes at the end of a row", SHOWN + '1,2,"a\r"\r\n', {2: (1, "a\r", "2.00")}),
    Case("two rows between which stands a carriage return alone", HEAD + "1,a,2\r2,b,3\n", {}, {2: "csv"}),
    Case("the last line has no end", HEAD + "1,a,2", {2: (1, "a", "2.00")}),
    Case("the last line is a carriage return", HEAD + "1,a,3\n\r", {2: (1, "a", "3.00")}),
    Case("blank lines are no rows", "\n\r\n" + HEAD + "\n\n1,a,2\r\n\r\n2,b,3\n\n", {6: (1, "a", "2.00"), 8: (2, "b", "3.00")}),
    Case("blank lines beside quotes are no rows", HEAD + '\n\r\n1,"a",2\n\n\r\n2,"b",3\n\n', {4: (1, "a", "2.00"), 7: (2, "b", "3.00")}),
    Case("blank lines within quotes are text", HEAD + '1,"a\n\n\n",2\n', {2: (1, "a\n\n\n", "2.00")}),
    Case("lines of blanks are rows that do not fit", HEAD + "  \n\t\n1,a,2\n", {4: (1, "a", "2.00")}, {2: "csv", 3: "csv"}),
    Case("other things that end lines elsewhere are text", HEAD + "1,a\x0bb\x0cc\x85d\u2028e\u2029f\x1cg\x1eh,2\n", {2: (1, "a\x0bb\x0cc\x85d\u2028e\u2029f\x1cg\x1eh", "2.00")}),
)

HEADERS = (
    Case("nothing but a header", HEAD),
    Case("a header without an end", "id,name,amount"),
    Case("the header a second time", HEAD + "1,a,2\n" + HEAD + "2,b,3\n", {2: (1, "a", "2.00"), 4: (2, "b", "3.00")}, {3: "type id"}),
    Case("a second file behind the first, with its mark", HEAD + "1,a,2\n\ufeff" + HEAD + "2,b,3\n", {2: (1, "a", "2.00"), 4: (2, "b", "3.00")}, {3: "type id"}),
    Case("a byte order mark", "\ufeff" + HEAD + "1,a,2\n", {2: (1, "a", "2.00")}),
    Case("a byte order mark and quotes", '\ufeff"id","name","amount"\n1,a,2\n', {2: (1, "a", "2.00")}),
    Case("two byte order marks", "\ufeff\ufeff" + HEAD + "1,a,2\n", {}, {2: "undeclared_field"}),
    Case("blanks around the names", " id , name,amount \n1, a ,2\n", {2: (1, " a ", "2.00")}),
    Case("blanks around quoted names", '" id","name "," amount "\n1,a,2.0\n', {2: (1, "a", "2.00")}),
    Case("other blanks around the names", "id,\u00a0name,amount\u3000\n1,a,2\n", {}, {2: "undeclared_field"}),
    Case("another order", "amount,name,id\n2,a,1\n", {2: (1, "a", "2.00")}),
    Case("all names in another case", "ID,NAME,AMOUNT\n1,a,2\n", wrong="shares no column"),
    Case("one name in another case", "id,Name,amount\n1,a,2\n", {}, {2: "undeclared_field"}),
    Case("a column is missing", "id,name\n1,a\n", {}, {2: "missing_field"}),
    Case("a column too many", "id,name,amount,x\n1,a,2,\n", {}, {2: "undeclared_field"}),
    Case("a name twice", "id,name,id\n1,a,2\n", wrong="names id twice"),
    Case("a name twice, once with a blank", "id,name, id\n1,a,2\n", wrong="names id twice"),
    Case("an empty name", "id,name,amount,\n1,a,2,\n2,b,3,x\n", {}, {2: "undeclared_field", 3: "undeclared_field"}),
    Case("two empty names", "id,name,amount,,\n1,a,2,,\n", {}, {2: "duplicate_field"}),
    Case("a name over two lines", 'id,"na\nme",amount\n1,a,2\n', {}, {3: "undeclared_field"}),
    Case("an open quote in the header", 'id,"name,amount\n1,a,2\n', wrong="cannot be a header"),
    Case("text behind a quoted name", 'id,"name"x,amount\n1,a,2\n', {}, {2: "undeclared_field"}),
    Case("a blank behind a quoted name", '"id" ,"name","amount"\n1,a,2\n', {2: (1, "a", "2.00")}),
    Case("a header longer than a key may be", f"id,name,amount,{'x' * 40_000}\n1,a,2,3\n", wrong="cannot be a header"),
    Case("five thousand columns", HEAD[:-1] + "".join(f",c{i}" for i in range(4997)) + "\n1,a,2" + "," * 4997 + "\n", {}, {2: "csv"}),
    Case("semicolons for commas", "id;name;amount\n1;a;2\n", wrong="shares no column"),
    Case("no header", "1,a,2\n2,b,3\n", wrong="shares no column"),
    Case("U+0000 in the header", "id,na\0me,amount\n1,a,2\n", wrong="NUL bytes"),
    Case("an empty file", "", wrong="it is empty"),
    Case("blank lines alone", "\r\n \n\t\n", wrong="only blank lines"),
    Case("a byte order mark alone", "\ufeff", wrong="byte order mark and nothing else"),
)

RAGGED = (
    Case("too few and too many fields", HEAD + "1,a\n2,b,3,4\n3\n4,d,5\n", {5: (4, "d", "5.00")}, {2: "csv", 3: "csv", 4: "csv"}),
    Case("a delimiter at the end of each row", HEAD + "1,a,2,\n2,b,3,,\n", {}, {2: "csv", 3: "csv"}),
    Case("delimiters alone", HEAD + ",,\n,,,\n", {}, {2: "required id", 3: "csv"}),
    Case("forty fields for three", HEAD + "1,a,2" + ",x" * 37 + "\n", {}, {2: "csv"}),
)

CHARACTERS = (
    Case("U+0000 in a row", HEAD + '1,a\0b,2\n2,"\0",3\n\0,c,4\n4,d,5\n', {5: (4, "d", "5.00")}, {2: "nul_character", 3: "nul_character", 4: "nul_character"}),
    Case("marks and blanks of no width are kept in text", HEAD + "1,\ufeffa\u200bb\u200c\u2060c\ufeff,2\n", {2: (1, "\ufeffa\u200bb\u200c\u2060c\ufeff", "2.00")}),
    Case("marks and blanks of no width are no digits", HEAD + "\u200b1,a,2\n2,b,3\u200b\n\ufeff3,c,4\n4,d,5\u00a0\n", {}, {2: "type id", 3: "type amount", 4: "type id", 5: "type amount"}),
    Case("blanks of all kinds stay around text", HEAD + "1, a\t,2\n2,\u00a0a\u3000,3\n3, ,4\n", {2: (1, " a\t", "2.00"), 3: (2, "\u00a0a\u3000", "3.00"), 4: (3, " ", "4.00")}),
    Case("emoji, joined and with flags", HEAD + "1,👩‍👩‍👧🏽🇫🇷,2\n", {2: (1, "👩‍👩‍👧🏽🇫🇷", "2.00")}),
    Case("combining characters stay as they are", HEAD + "1,e\u0301,2\n2,\u00e9,2\n", {2: (1, "e\u0301", "2.00"), 3: (2, "\u00e9", "2.00")}),
    Case("marks of direction", HEAD + "1,\u202eabc\u202c \u05d0\u200f,2\n", {2: (1, "\u202eabc\u202c \u05d0\u200f", "2.00")}),
    Case("code points that are no characters", HEAD + "1,\ufffe\U0010ffff\ufdd0,2\n2,\ufffd,3\n", {2: (1, "\ufffe\U0010ffff\ufdd0", "2.00"), 3: (2, "\ufffd", "3.00")}),
    Case("control characters", HEAD + '1,\x01a\x1f\x7f\x9f,2\n2,"\x01",3\n3,\x01,4\n', {2: (1, "\x01a\x1f\x7f\x9f", "2.00"), 3: (2, "\x01", "3.00"), 4: (3, "\x01", "4.00")}),
    Case("a control character behind the closing quote", HEAD + '1,"a"\x01,2\n', {}, {2: "csv"}),
    Case("a formula", HEAD + "1,=cmd|' /C calc'!A0,2\n2,@SUM(1+1),3\n", {2: (1, "=cmd|' /C calc'!A0", "2.00"), 3: (2, "@SUM(1+1)", "3.00")}),
    Case("a comment is a row", HEAD + "#1,a,2\n2,#b,3\n", {3: (2, "#b", "3.00")}, {2: "type id"}),
    Case("text that looks like a reference to a group", HEAD + "1,$1\\1${x}%s,2\n", {2: (1, "$1\\1${x}%s", "2.00")}),
    Case("overlong UTF-8", HEAD.encode() + b"1,\xc0\xaf,2\n2,\xe0\x80\xaf,3\n3,c,4\n", {4: (3, "c", "4.00")}, {2: "encoding", 3: "encoding"}),
    Case("U+0000 in two bytes", HEAD.encode() + b"1,a\xc0\x80b,2\n", {}, {2: "encoding"}),
    Case("surrogates in UTF-8", HEAD.encode() + b"1,\xed\xa0\xbd\xed\xb8\x80,2\n2,\xed\xb0\x80,3\n", {}, {2: "encoding", 3: "encoding"}),
    Case("beyond the last code point", HEAD.encode() + b"1,\xf4\x90\x80\x80,2\n2,\xff,3\n", {}, {2: "encoding", 3: "encoding"}),
    Case("Latin-1 in UTF-8", HEAD.encode() + b"1,caf\xe9,2\n2,\xc3\xa9,3\n", {3: (2, "é", "3.00")}, {2: "encoding"}),
    Case("a character cut at the end", HEAD.encode() + b"1,a,2\n2,b,3\n3,\xf0\x9f\x98", {2: (1, "a", "2.00"), 3: (2, "b", "3.00")}, {4: "encoding"}),
    Case("a quote behind a character cut short", HEAD.encode() + b'1,"\xe2\x82",2\n2,b,3\n', {3: (2, "b", "3.00")}, {2: "encoding"}),
    Case("UTF-16 that nobody declared", ("\ufeff" + HEAD).encode("utf-16-le"), wrong="it is UTF-16"),
    Case("UTF-16 without a mark", HEAD.encode("utf-16-le"), wrong="NUL bytes"),
    Case("UTF-32 that nobody declared", HEAD.encode("utf-32-be"), wrong="NUL bytes"),
    Case("EBCDIC that nobody declared", (HEAD + "1,a,2\n").encode("cp037"), wrong="not UTF-8"),
    Case("a header in Latin-1", "id,name,amount,größe\n1,a,2,3\n".encode("latin-1"), wrong="not UTF-8 (byte 18)"),
)

LAST_CODE = (
    Case("U+FFFF", HEAD + "1,\uffff,2\n2,a,3\n9,2,a,3\n3,b,4\n", {2: (1, "\uffff", "2.00"), 3: (2, "a", "3.00"), 5: (3, "b", "4.00")}, {4: "csv"}),
    Case("U+FFFF within quotes", HEAD + '1,"\uffff",2\n2,"a",3\n', {3: (2, "a", "3.00")}, {2: "csv"}),
    Case("U+FFFF beside quotes", HEAD + '"1",\uffff,2\n"2",a,3\n"3",b,4\n', {3: (2, "a", "3.00"), 4: (3, "b", "4.00")}, {2: "csv"}),
    Case("U+FFFF at the start of a row beside quotes", 'name,id,amount\n\uffff,"1",2\ny,"3",4\n', {3: (3, "y", "4.00")}, {2: "csv"}),
    Case("U+FFFF at the start of a row and text beside quotes", 'name,id,amount\n\uffffa,"1",2\ny,"3",4\n', {3: (3, "y", "4.00")}, {2: "csv"}),
    Case("U+FFFF before a row with a field too many", 'name,id,amount\na\uffff,1,"2"\nx,9,5,"3"\ny,"3",4\n', {4: (3, "y", "4.00")}, {2: "csv", 3: "csv"}),
)

LONG = "é" * 400_000
LENGTHS = (
    Case("a very long field", HEAD + f"1,{LONG},2\n", {2: (1, LONG, "2.00")}),
    Case("a very long field within quotes", HEAD + f'1,"{LONG}""",2\n2,b,3\n', {2: (1, LONG + '"', "2.00"), 3: (2, "b", "3.00")}),
    Case("a line longer than a record", HEAD + f"1,a,2\n2,{LONG * 2},3\n3,c,4\n", {2: (1, "a", "2.00"), 4: (3, "c", "4.00")}, {3: "unsplit"}),
    Case("a quoted text longer than a record", HEAD + '1,"' + "x" * 1_500_000 + '",2\n2,b,3\n', {3: (2, "b", "3.00")}, {2: "unsplit"}),
    Case("a first line longer than a record", "x" * 1_000_000 + "\n" + HEAD, wrong="cannot be a header"),
)

AUTO = (
    Case("commas", HEAD + "1,a;b,2\n", {2: (1, "a;b", "2.00")}),
    Case("semicolons", "id;name;amount\n1;a,b,c,d;2\n", {2: (1, "a,b,c,d", "2.00")}),
    Case("tabs", "id\tname\tamount\n1\ta,b\t2\n2\t\t\n", {2: (1, "a,b", "2.00"), 3: (2, None, None)}),
    Case("bars", 'id|name|amount\n1|"a|b"|2\n', {2: (1, "a|b", "2.00")}),
    Case("quoted names", '"id";"name";"amount"\r\n1;a;2\r\n', {2: (1, "a", "2.00")}),
    Case("as many commas in a quoted name", 'id;name;amount;"a,b,c,d"\n1;a;2;3\n', wrong="shares no column"),
    Case("more semicolons in a quoted name", 'id,name,amount,"a;b;c;d;e"\n1,a,2,3\n', wrong="shares no column"),
    Case("a comma in a quoted name among semicolons", 'id;name;amount;"a,b"\n1;a;2;3\n', {}, {2: "undeclared_field"}),
    Case("delimiters on the second line of a name", 'id;name;"amount\n,,,,,"\n1;a;2\n', wrong="does not tell the delimiter"),
    Case("one column has no delimiter", "id\n1\n2,3\n", {}, {2: "missing_field", 3: "csv"}),
    Case("other delimiters in the rows than in the header", "id;name;amount\n1,a,2\n", {}, {2: "csv"}),
    Case("another delimiter before a quote is text", 'id;name;amount\n1;x,"a;2\n2;x,""a;3\n3;x|"a";4\n4;x\t"" ;5\n5;""a;6\n6;"x,"a;7\n', {2: (1, 'x,"a', "2.00"), 3: (2, 'x,""a', "3.00"), 4: (3, 'x|"a"', "4.00"), 5: (4, 'x\t"" ', "5.00")}, {6: "csv", 7: "csv"}),
    Case("a mark before the header", "\ufeffid|amount|name\n1|2|a\n", {2: (1, "a", "2.00")}),
    Case("a mark and blank lines before the header", "\ufeff\n\r\nid|amount|name\n1|2|a\n", {4: (1, "a", "2.00")}),
    Case("quotes and empty fields between tabs", 'id\tname\tamount\n1\t"a"\t\n2\t"b"\t3\n"4"\t\t\n"5"\t\t""\n', {2: (1, "a", None), 3: (2, "b", "3.00"), 4: (4, None, None)}, {5: "type amount"}),
    Case("a tab too many behind quotes", 'id\tname\tamount\n1\t"a"\t\t2\n"1"\t\ta\t2\n1\t"a"\t2\t\n', {}, {2: "csv", 3: "csv", 4: "csv"}),
    Case("a blank and a tab behind quotes", 'id\tname\tamount\n1\t"a" \t\t2\n2\t"a" \tb\t2\n', {}, {2: "csv", 3: "csv"}),
)

BACKSLASH = (
    Case("a backslash and N", HEAD + '1,\\N,\\N\n2,"\\N",2\n3,N,2\n4,\\n,2\n', {2: (1, None, None), 3: (2, None, "2.00"), 4: (3, "N", "2.00"), 5: (4, "\\n", "2.00")}),
    Case("an escaped quote", HEAD + '1,"a\\"b",2\n2,"\\"",3\n', {2: (1, 'a"b', "2.00"), 3: (2, '"', "3.00")}),
    Case("an escaped quote before commas and lines", HEAD + '1,"a\\",b\\"\nc",2\n', {2: (1, 'a",b"\nc', "2.00")}),
    Case("a backslash at the end of a field", HEAD + '1,"a\\\\",2\n2,a\\,3\n', {2: (1, "a\\", "2.00"), 3: (2, "a\\", "3.00")}),
    Case("a backslash at the end of a row", SHOWN + '1,2,"a\\\\"\n2,3,a\\\n', {2: (1, "a\\", "2.00"), 3: (2, "a\\", "3.00")}),
    Case("many backslashes", HEAD + '1,"a\\\\\\"b\\\\\\\\",2\n2,a\\\\b,2\n', {2: (1, 'a\\"b\\\\', "2.00"), 3: (2, "a\\\\b", "2.00")}),
    Case("a backslash that escapes the closing quote", HEAD + '1,"a\\",2\n2,b,3\n', {}, {2: "unsplit"}),
    Case("a path", HEAD + '1,C:\\new\\table,2\n', {2: (1, "C:\\new\\table", "2.00")}),
    Case("a path within quotes", HEAD + '1,"C:\\new\\table",2\n', {2: (1, "C:\\new\\table", "2.00")}),
    Case("an escaped quote outside of quotes is text", HEAD + '1,a\\"b,2\n', {2: (1, 'a\\"b', "2.00")}),
    Case("an escaped comma outside of quotes", HEAD + "1,a\\,b,2\n", {}, {2: "csv"}),
    Case("an escaped line end outside of quotes", HEAD + "1,a\\\nb,2\n", {}, {2: "csv", 3: "csv"}),
    Case("two quotes are two quotes", HEAD + '1,"a""b",2\n', {}, {2: "csv"}),
    Case("two quotes before a comma", HEAD + '1,"a"",2\n2,b,3\n', {3: (2, "b", "3.00")}, {2: "csv"}),
    Case("two quotes before a comma and two behind it", HEAD + '1,"a"",""b",2\n', {}, {2: "csv"}),
    Case("quotes without and with a text", HEAD + '1,"",2\n2,,3\n', {2: (1, "", "2.00"), 3: (2, None, "3.00")}),
)

BLANKS = (
    Case("blanks between fields", "id name amount\n1 'a b' 2\n2  3\n3 'it''s' \n4 \" 5\n", {2: (1, "a b", "2.00"), 3: (2, None, "3.00"), 4: (3, "it's", None), 5: (4, '"', "5.00")}),
    Case("a blank too many behind quotes", "id name amount\n1 'a'  2\n'1'  a 2\n1 'a' 2 \n", {}, {2: "csv", 3: "csv", 4: "csv"}),
    Case("a tab and a blank behind quotes", "id name amount\n1 'a'\t  2\n", {}, {2: "csv"}),
)

BARE = (
    Case("rows from the second line on", "made by\n1|a|2\n", {2: (1, "a", "2.00")}),
    Case("too few and too many fields without a header", "x\n1|a\n2|b|3|4\n3||\n", {4: (3, None, None)}, {2: "csv", 3: "csv"}),
    Case("quotes that quote nothing", 'x "y\n1|"a|2\n2|"b"|3\n3|""|4\n4|"|5\n', {2: (1, '"a', "2.00"), 3: (2, '"b"', "3.00"), 4: (3, '""', "4.00"), 5: (4, '"', "5.00")}),
    Case("backslashes that escape nothing", "x\n1|a\\|2\n2|\\|3\n3|\\\"|4\n", {2: (1, "a\\", "2.00"), 3: (2, "\\", "3.00"), 4: (3, '\\"', "4.00")}),
    Case("a header nobody declared", "x\nid|name|amount\n1|a|2\n", {3: (1, "a", "2.00")}, {2: "type id"}),
    Case("blank lines and line ends of both kinds", "\r\n\r\n1|a|2\r\n\n2|b|3\n", {3: (1, "a", "2.00"), 5: (2, "b", "3.00")}),
    Case("a mark before the line that is passed over", "\ufeffx\n1|a|3\n", {2: (1, "a", "3.00")}),
    Case("U+0000 without quotes", "x\n1|\0|2\n", {}, {2: "nul_character"}),
    Case("a carriage return within a field without quotes", "x\n1|a\rb|2\n2|b|3\n", {2: (1, "a\rb", "2.00"), 3: (2, "b", "3.00")}),
    Case("no line is left", "made by\n", wrong="it holds no row"),
)

TWO = "id,name\n"
POLICIES = (
    Case("a missing column is NULL", "id,name\n1,a\n", {2: (1, "a", None)}),
    Case("a missing key", "name,amount\na,2\n", {}, {2: "required id"}),
    Case("a column too many is kept apart", "id,name,amount,x\n1,a,2,3\n", {2: (1, "a", "2.00")}),
    Case("one name in another case is kept apart", "id,Name,amount\n1,a,2\n", {2: (1, None, "2.00")}),
    Case("the key alone", "id\n1\n\n2\n", {2: (1, None, None), 4: (2, None, None)}),
)
STOPS = (
    Case("a missing column stops the file", "id,name\n1,a\n", wrong="lacks amount"),
    Case("a column too many stops the file", "id,name,amount,x\n1,a,2,3\n", wrong="names x"),
    Case("an empty name stops the file", "id,name,amount,\n1,a,2,\n", wrong="which the contract does not"),
    Case("another order stops nothing", "amount,id,name\n2,1,a\n", {2: (1, "a", "2.00")}),
)
UTF_16 = (
    Case("with a mark, big end first", b"\xfe\xff" + (TWO + "1,é😀\n").encode("utf-16-be"), {2: (1, "é😀")}),
    Case("with a mark, little end first", b"\xff\xfe" + (TWO + '1,"ਊ\r\n"\r\n').encode("utf-16-le"), {2: (1, "ਊ\r\n")}),
    Case("without a mark", (TWO + "1,a\n").encode("utf-16-le"), wrong=" "),
    Case("half of a pair", b"\xff\xfe" + (TWO + "1,").encode("utf-16-le") + b"\x3d\xd8" + "\n2,b\n".encode("utf-16-le"), {3: (2, "b")}, {2: "encoding"}),
    Case("half of a pair that holds a line end", b"\xff\xfe" + (TWO + "1,").encode("utf-16-le") + b"\x0a\xd8" + "\n2,b\n".encode("utf-16-le"), {4: (2, "b")}, {2: "encoding", 3: "encoding"}),
    Case("cut within a character", b"\xff\xfe" + (TWO + "1,a\n2,😀").encode("utf-16-le")[:-1], {2: (1, "a")}, {3: "encoding"}),
)
OTHER_ENCODINGS = {
    "utf-32": (Case("UTF-32", (TWO + "1,é😀\n").encode("utf-32"), {2: (1, "é😀")}),),
    "shift_jis": (
        Case("Shift-JIS with backslashes in its bytes", TWO + '1,表ソ\n2,"能""十"\n', {2: (1, "表ソ"), 3: (2, '能"十')}),
        Case("Shift-JIS cut within a character", (TWO + "1,a\n2,表").encode("shift_jis")[:-1], {2: (1, "a")}, {3: "encoding"}),
        Case("Shift-JIS with half of a character before a line end", TWO.encode() + b"1,\x95\n2,b\n", {3: (2, "b")}, {2: "encoding"}),
    ),
    "gb18030": (Case("GB18030 with four bytes", TWO + "1,中€😀\n2,\u3402|\n", {2: (1, "中€😀"), 3: (2, "\u3402|")}),),
    "cp037": (Case("EBCDIC", TWO + "1,é\n2,[]\n", {2: (1, "é"), 3: (2, "[]")}),),
    "latin-1": (Case("Latin-1 with what others take for line ends", TWO + "1,\x85\xa0é\n", {2: (1, "\x85\xa0é")}),),
}

GROUPS = {
    "csv": declared(csv(), *QUOTES, *LINE_ENDS, *HEADERS, *RAGGED, *CHARACTERS, *LENGTHS),
    "last code": declared(csv(), *LAST_CODE),
    "single quotes": declared(csv(delimiter=" ", quote="'"), *BLANKS),
    "found delimiter": declared(csv(delimiter=""), *AUTO),
    "backslashes": declared(csv(backslash=True, nulls=("\\N",)), *BACKSLASH),
    "no header": declared(csv(delimiter="|", quote="", header=False, skip_lines=1), *BARE),
    "beyond the end": declared(csv(skip_lines=9), Case("fewer lines than are passed over", HEAD, wrong="cannot be a header")),
    "evolve": declared(csv(), *POLICIES, evolution="evolve"),
    "stop": declared(csv(), *STOPS, evolution="stop"),
    "utf-16": declared(csv(encoding="utf-16"), *UTF_16, columns=PAIR),
    **{name: declared(csv(encoding=name), *cases, columns=PAIR) for name, cases in OTHER_ENCODINGS.items()},
}
