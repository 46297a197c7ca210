"""One page that shows pictures with what they are."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

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
    """Writes the page. Pictures below the page's folder are referred to relatively, so that it can be moved."""
    figures = "\n".join(
        f'<figure><a href="{_name(entry, path)}"><img src="{_name(entry, path)}" alt="{html.escape(entry.title)}"></a>'
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
    """The picture as seen from the page: relative where it lies below the page's folder."""
    folder, picture = page.resolve().parent, entry.picture.resolve()
    inside = picture.is_relative_to(folder)
    return html.escape(
        quote(picture.relative_to(folder).as_posix()) if inside else picture.as_uri(), quote=True
    )
