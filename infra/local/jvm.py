"""How the JVM parts are started: memory caps, logging, class path."""

from __future__ import annotations

from infra.java import java, java_home
from infra.local.layout import Layout

_LOGGING = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %c{1}: %m%n
rootLogger.level = {root}
rootLogger.appenderRef.console.ref = console
"""


# A JVM that lacks memory ends: half of its threads gone, it would still hold its port and answer nobody.
END_WITHOUT_MEMORY = "-XX:+ExitOnOutOfMemoryError"


def logging_file(layout: Layout, name: str, root: str = "warn", **levels: str) -> str:
    """Writes a log4j2 configuration to standard output and returns the JVM option that names it.

    `levels` are logger levels; write `__` for a dot in a logger's name.
    """
    text = _LOGGING.replace("{root}", root)
    for number, (logger, level) in enumerate(levels.items()):
        text += f"logger.l{number}.name = {logger.replace('__', '.')}\nlogger.l{number}.level = {level}\n"
    return f"-Dlog4j2.configurationFile={layout.write(f'{name}-log4j2.properties', text)}"


def java_command(memory: str, *options: str, short_start: bool = False) -> tuple[str, ...]:
    """The java executable with its memory cap and options.

    `short_start` compiles only once and lightly: right for processes that mostly wait.
    """
    light = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC") if short_start else ()
    always = (f"-Xmx{memory}", "-Xms64m", END_WITHOUT_MEMORY, "-Djava.net.preferIPv4Stack=true")
    return (str(java()), *always, *light, *options)


def java_env() -> dict[str, str]:
    """Environment for scripts that look for Java themselves."""
    return {"JAVA_HOME": str(java_home())}
