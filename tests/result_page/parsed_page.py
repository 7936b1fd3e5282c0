"""A page as an HTML parser of the standard library sees it."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

VOID = {"meta", "img", "input", "br", "path", "use"}


class ParsedPage(HTMLParser):
    """Elements of a page.

    Attributes:
        elements: tag and attributes of each.
        texts: text below each kind of element, a string for each such element.
        tables: rows of cells of each table.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data.strip()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def sections(self) -> list[str | None]:
        return [attributes.get("id") for attributes in self.all("section")]

    @property
    def player(self) -> dict:
        """The description of the player's tiles."""
        places = [k for k, a in enumerate(self.all("script")) if a.get("type") == "application/json"]
        return json.loads(self.texts["script"][places[0]])

    @property
    def tiles(self) -> np.ndarray:
        """``[H, W, 3]`` the picture with all tiles of the player."""
        return pixels(next(a["src"] for a in self.all("img") if a.get("class") == "sheet"))

    def tile(self, number: int) -> np.ndarray:
        """``[H, W, 3]`` one tile."""
        (left, top), player = self.player["places"][number], self.player
        return self.tiles[top : top + player["height"], left : left + player["width"]]


def content(address: str) -> bytes:
    """What a data address holds."""
    head, _, body = address.partition(",")
    assert head.endswith(";base64")
    return base64.b64decode(body, validate=True)


def pixels(address: str) -> np.ndarray:
    """``[H, W, 3]`` uint8 of a picture in a data address."""
    return np.asarray(Image.open(io.BytesIO(content(address))).convert("RGB"))


def parsed_file(path: Path) -> ParsedPage:
    return ParsedPage(path.read_text(encoding="utf-8"))
