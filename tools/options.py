"""Write what follows from `flash/options.py`: the signature and docstring of `Flash`, and the table in docs/options.md.

python -m tools.options            write both files
python -m tools.options --check    exit with status 1 if one of them would change
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

from flash.options import OPTIONS, FlashOptions, OptionInfo, OrNone

ROOT = Path(__file__).parents[1]
WIDTH = 120


def default_of(option: Any) -> str:
    """A default as the docs have it: `1,000,000`, `5 s`, `None`, or what it is worked out from."""
    info = OPTIONS[option.name]
    if info.default:
        return info.default
    if option.default is None or isinstance(option.default, bool):
        return f"`{option.default}`"
    return f"{option.default:,g}" if not isinstance(option.default, int) else f"{option.default:,}"


def row(option: Any) -> str:
    """The row of an option in the table of the docs."""
    info = OPTIONS[option.name]
    unit = f" {info.unit}" if info.unit and option.default is not None else ""
    see = f" (see {info.see})" if info.see else ""
    return f"| `{option.name}` | {default_of(option)}{unit} | {info.sentence}{see} |\n"


def paragraph(name: str, info: OptionInfo) -> str:
    """What the docstring of `Flash` says of an option."""
    default = f"; by default {info.default}" if info.default else ""
    if isinstance(info.constraint, OrNone):
        default = "; None for no limit"
    return textwrap.fill(
        f"{name}: {info.sentence}{default}.",
        WIDTH,
        initial_indent=" " * 8,
        subsequent_indent=" " * 12,
        break_long_words=False,
        break_on_hyphens=False,
    )


def literal(value: object) -> str:
    return f"{value:_}" if isinstance(value, int) and not isinstance(value, bool) else repr(value)


def parameter(option: Any) -> str:
    """An option in the signature of `Flash.__init__`."""
    return f"        {option.name}: {option.type} = {literal(option.default)},\n"


def argument(option: Any) -> str:
    """An option where `Flash.__init__` makes a `FlashOptions`."""
    return f"            {option.name}={option.name},\n"


def between(text: str, start: str, end: str, new: str) -> str:
    """`text` with `new` in place of what stands between the first `start` and the `end` that follows it."""
    found = re.search(f"({re.escape(start)}).*?({re.escape(end)})", text, re.DOTALL)
    assert found is not None, f"there is no {start!r} that {end!r} follows"
    return text[: found.end(1)] + new + text[found.start(2) :]


def written_app(text: str) -> str:
    """flash/app.py with the options as the table has them."""
    options = fields(FlashOptions)
    paragraphs = "".join(f"{paragraph(name, info)}\n" for name, info in OPTIONS.items())
    text = between(text, "    Args:\n", "        server: ", paragraphs)
    text = between(text, "        *arguments: Any,\n", "        **options: Any,\n", "".join(map(parameter, options)))
    return between(text, " = FlashOptions(\n", "        )\n", "".join(map(argument, options)))


def written_docs(text: str) -> str:
    """docs/options.md with the options as the table has them."""
    return between(text, "| --- | --- | --- |\n", "\n\n", "".join(map(row, fields(FlashOptions))).rstrip("\n"))


WRITERS = {ROOT / "flash" / "app.py": written_app, ROOT / "docs" / "options.md": written_docs}


def outdated() -> dict[Path, str]:
    """The files that do not say what the table says, with the text that does."""
    written = {path: write(path.read_text("utf-8")) for path, write in WRITERS.items()}
    return {path: text for path, text in written.items() if text != path.read_text("utf-8")}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write what follows from flash/options.py.")
    parser.add_argument("--check", action="store_true", help="write nothing; say which files would change")
    check: bool = parser.parse_args().check
    changed = outdated()
    for path, text in changed.items():
        print(path.relative_to(ROOT))
        if not check:
            path.write_text(text, "utf-8")
    if check and changed:
        sys.exit(1)


if __name__ == "__main__":
    main()
