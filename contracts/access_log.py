"""Lines of web-server access logs: the Common and the Combined Log Format, and patterns that a contract declares.

Source: Apache's `mod_log_config` (Common: `%h %l %u %t "%r" %>s %b`; Combined adds referer and agent) and its escaping
of quotes and control characters with a backslash.
"""

from __future__ import annotations

import re

# Possessive, and no blank in a path: Java's matcher would otherwise keep a stack frame for each character.
_QUOTED = r'(?:[^"\\]++|\\.)*+'
_PATH = r'(?:[^"\\\s]++|\\.)*+'
COMMON = (
    r"(?P<host>\S+) (?P<ident>\S+) (?P<user>.+?) \[(?P<time>[^\]]+)\] "
    rf'(?:"(?P<method>[^\s"]+) (?P<path>{_PATH})(?: (?P<protocol>HTTP/[0-9.]+))?"|"(?P<request>{_QUOTED})") '
    r"(?P<status>\S+) (?P<bytes>\S+)"
)
COMBINED = rf'{COMMON} "(?P<referer>{_QUOTED})" "(?P<agent>{_QUOTED})"'
NAMED = {"common": COMMON, "combined": COMBINED}
NULL = "-"
"""What stands for nothing in the named formats."""


def fields(pattern: str) -> list[str]:
    """The names of the groups of a log's pattern, in their order."""
    groups = re.compile(pattern).groupindex
    return sorted(groups, key=lambda name: groups[name])
