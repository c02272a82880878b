"""Write the tables of the documentation from the code: fields, instruments and settings, each declared once there.

``python scripts/reference.py`` rewrites what stands between the marks in docs/telemetry.md and docs/settings.md, and the files of docs/registry/;
``--check`` only says whether they are current. The prose around the marks is written by hand.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import names_registry

from kedro_otel.config import toml_file
from kedro_otel.config.settings import SETTINGS, Setting
from kedro_otel.semconv import names
from kedro_otel.semconv.fields import FIELDS
from kedro_otel.semconv.measurements import INSTRUMENTS

ROOT = Path(__file__).parents[1]
GROUPS = {
    "resource": "Resource: who and where, on everything",
    names.COMMAND: "Command span: `kedro …`",
    names.RUN: "Pipeline run span: `run {pipeline}`, at `usage` just `run`",
    names.NODE: "Node span: `node {name}`",
    names.DATASET: "Dataset span: `load {name}`, `save {name}`",
    "event": "Events of failed spans",
}
WHO = {"no": "no", "narrow": "only to let less out", "yes": "yes"}


def fields() -> str:
    """Return the table of every key, by what it is on."""
    parts = []
    for kind, title in GROUPS.items():
        rows = [
            (
                f"`{field.key}`",
                f"{field.type}{f', {field.unit}' if field.unit else ''}",
                field.detail,
                field.meaning,
                f"`{field.example}`",
                field.source,
            )
            for field in FIELDS
            if kind in field.on
        ]
        parts += [
            f"### {title}",
            "",
            table(("Key", "Type", "Leaves at", "Meaning", "Example", "Source"), rows),
            "",
        ]
    return "\n".join(parts).rstrip()


def instruments() -> str:
    """Return the table of the metrics."""
    rows = [
        (
            f"`{one.name}`",
            f"{one.kind}, {one.unit}",
            ", ".join(
                f"`{key}`{'' if level == names.USAGE else f' (at `{level}`)'}"
                for key, level in one.attributes
            )
            or "none",
            "yes" if one.ephemeral else "no",
            one.description + ("" if one.detail == names.USAGE else f" Only at `{one.detail}`."),
        )
        for one in INSTRUMENTS
    ]
    return table(
        ("Instrument", "Kind, unit", "Attributes", "Sent from CI and containers", "Meaning"), rows
    )


def own_settings() -> str:
    """Return the table of this package's settings."""
    return settings_table(one for one in SETTINGS if not standard(one))


def standard_settings() -> str:
    """Return the table of OpenTelemetry's settings that are read; those for one signal are told by their general one."""
    return settings_table(
        one
        for one in SETTINGS
        if (standard(one) and not one.name.startswith(("traces_", "metrics_")))
        or one.name.endswith("_exporter")
    )


def standard(setting: Setting) -> bool:
    """Return whether the setting is OpenTelemetry's."""
    return setting.env[0].startswith("OTEL_")


def settings_table(rows: Iterable[Setting]) -> str:
    """Return a table of settings."""
    return table(
        ("Key in a file", "Environment", "Type", "Default", "May a project set it?", "Meaning"),
        [
            (
                "" if one.name == "home" else f"`{one.name}`",
                " ".join(f"`{name}`" for name in one.env),
                ", ".join(f"`{choice}`" for choice in one.choices)
                or f"{one.type}{f', {one.unit}' if one.unit else ''}",
                "" if one.default is None else f"`{one.default}`",
                WHO[one.project],
                one.sentence,
            )
            for one in rows
        ],
    )


def commands() -> str:
    """Return the help of every command, as it prints it at 100 columns."""
    import click

    from kedro_otel.cli import otel

    parts = []
    context = click.Context(
        otel,
        info_name="kedro otel",
        help_option_names=["-h", "--help"],
        terminal_width=100,
        max_content_width=100,
    )
    for name in otel.list_commands(context):
        command = otel.get_command(context, name)
        assert command is not None
        help_text = click.Context(
            command, parent=context, info_name=name, terminal_width=100, max_content_width=100
        ).get_help()
        parts += [f"## {name}", "", "```text", help_text, "```", ""]
    return "\n".join(parts).rstrip()


def api() -> str:
    """Return the public Python API, from its docstrings."""
    import kedro_otel
    from kedro_otel import testing

    parts = ["## kedro_otel", ""]
    public = "runs", "last", "get_run", "Run", "Node", "Dataset", "NotFoundError"
    for name in (*public, "carrier", "attached"):
        parts += described(f"kedro_otel.{name}", getattr(kedro_otel, name), "###")
    parts += described("kedro_otel.describe.register", kedro_otel.describe.register, "###")
    parts += ["## kedro_otel.testing", ""]
    for name in ("recorded", "Recorded", "Span"):
        parts += described(f"kedro_otel.testing.{name}", getattr(testing, name), "###")
    return "\n".join(parts).rstrip()


def described(name: str, one: Any, heading: str) -> list[str]:
    """Return a heading with the signature, the docstring, and the public members of a class."""
    one = getattr(one, "__wrapped__", getattr(one, "_fixture_function", one))
    lines = [f"{heading} {name}", ""]
    if inspect.isfunction(one):
        lines += ["```python", f"{name}{inspect.signature(one)}".replace("'", ""), "```", ""]
    lines += [prose(inspect.getdoc(one) or ""), ""]
    if inspect.isclass(one):
        for member, value in vars(one).items():
            if member.startswith("_") or member in getattr(one, "_fields", ()):
                continue
            if inspect.isfunction(value):
                lines += described(f"{one.__name__}.{member}", value, f"{heading}#")
            elif isinstance(value, property):
                lines += [f"{heading}# {one.__name__}.{member}", "", prose(value.__doc__ or ""), ""]
    return lines


def prose(docstring: str) -> str:
    """Return a docstring in Google's form as Markdown: sections in bold, their entries as a list."""
    lines: list[str] = []
    section = ""
    for line in inspect.cleandoc(docstring).splitlines():
        found = re.fullmatch(r"(Args|Returns|Yields|Raises|Attributes):", line)
        if found:
            section = found[1]
            lines += [f"**{section}**", ""]
        elif section and line.startswith("    ") and not line.startswith("     "):
            name, colon, text = line.strip().partition(": ")
            lines.append(
                f"- `{name}`: {text}" if colon and " " not in name else f"- {line.strip()}"
            )
        else:
            section = section if line.startswith(" ") or not line else ""
            lines.append(line)
    text = re.sub(r":(?:class|func|data):`~?([^`]+)`", r"`\1`", "\n".join(lines))
    return text.replace("``", "`")


def layers() -> str:
    """Return a picture of the package's layers, as import-linter holds them, with what each says of itself."""
    pyproject = toml_file.read(ROOT / "pyproject.toml") or {}
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    floors = next(one["layers"] for one in contracts if one["type"] == "layers")
    lines = ["```text"]
    for number, floor in enumerate(floors):
        lines.append("        │ imports" if number else "")
        lines.append("        ▼" if number else "")
        for room in re.findall(r"\w+", floor):
            text = inspect.getdoc(importlib.import_module(f"kedro_otel.{room}")) or ""
            lines.append(f"{room:12}  {text.splitlines()[0].replace('``', '')}")
    return "\n".join([*(line for line in lines if line), "```"])


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


PARTS: dict[str, Callable[[], str]] = {
    "api": api,
    "commands": commands,
    "fields": fields,
    "instruments": instruments,
    "layers": layers,
    "own settings": own_settings,
    "standard settings": standard_settings,
}
PAGES = (
    "docs/api.md",
    "docs/commands.md",
    "docs/development/architecture.md",
    "docs/settings.md",
    "docs/telemetry.md",
)


def written(text: str) -> str:
    """Return the page ``text`` with the tables between its marks made anew. Raises KeyError for a mark of an unknown part."""
    return re.sub(
        r"(<!-- begin ([\w ]+): written by scripts/reference.py -->\n).*?(<!-- end \2 -->)",
        lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n\n{found[3]}",
        text,
        flags=re.DOTALL,
    )


def main(*words: str) -> int:
    """Write the pages, or with ``--check`` name those that are not current; return the exit code."""
    stale = []
    for name in (*PAGES, *names_registry.FILES):
        path = ROOT / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        new = written(old) if name in PAGES else names_registry.FILES[name]()
        if new != old:
            stale.append(name)
            if "--check" not in words:
                path.write_text(new, encoding="utf-8")
    if stale and "--check" in words:
        print(
            f"not current: {', '.join(stale)}. Type: python scripts/reference.py", file=sys.stderr
        )
    return int(bool(stale) and "--check" in words)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
