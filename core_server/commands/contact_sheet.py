"""One page that shows pictures with what they are."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_STYLE = """\
body { background: #222; color: #ddd; font: 15px/1.4 system-ui, sans-serif; margin: 2rem }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1.5rem }
figure { margin: 0 } img { width: 100%; image-rendering: auto; border-radius: 4px }
figcaption b { display: block } .note { color: #fc6 }
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture, its name and a sentence."""

    title: str
    text: str
    picture: Path


def write_sheet(path: Path, entries: Sequence[Entry], note: str = "") -> None:
    """Writes the page. Pictures in the page's folder are referred to by name, so the folder can be moved."""
    figures = "\n".join(
        f'<figure><a href="{_name(entry, path)}"><img src="{_name(entry, path)}" alt=""></a>'
        f"<figcaption><b>{html.escape(entry.title)}</b>{html.escape(entry.text)}</figcaption></figure>"
        for entry in entries
    )
    remark = f'<p class="note">{html.escape(note)}</p>' if note else ""
    path.write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Scumble demo</title><style>{_STYLE}</style>'
        f"<h1>Scumble</h1>{remark}<main>{figures}</main></html>\n",
        encoding="utf-8",
    )


def _name(entry: Entry, page: Path) -> str:
    inside = entry.picture.resolve().parent == page.resolve().parent
    return html.escape(
        entry.picture.name if inside else entry.picture.resolve().as_uri(), quote=True
    )
