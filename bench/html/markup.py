"""HTML and SVG built as a tree, so that text can only ever be text."""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Element, tostring

__all__ = ["Element", "add", "clean", "element", "to_html", "to_svg"]

# Neither HTML nor XML can hold these, nor UTF-8 a lone surrogate; JSON can.
_UNFIT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def clean(text: str) -> str:
    """Replace the characters that a document cannot hold."""
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)


def _value(value: str | float) -> str:
    if isinstance(value, str):
        return clean(value)
    return f"{value:.2f}".rstrip("0").rstrip(".")


def add(parent: Element, *children: Element | str) -> Element:
    """Append elements and text; return the parent."""
    for child in children:
        if isinstance(child, str):
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + clean(child)
            else:
                parent.text = (parent.text or "") + clean(child)
        else:
            parent.append(child)
    return parent


def element(tag: str, *children: Element | str, **attributes: str | float) -> Element:
    """Make an element.

    Args:
        tag: its name.
        children: elements and text.
        attributes: a trailing underscore is taken off ("class_"), others become hyphens.
    """
    named = {name.rstrip("_").replace("_", "-"): _value(value) for name, value in attributes.items()}
    return add(Element(tag, named), *children)


def to_html(root: Element) -> str:
    """Write a tree as an HTML document."""
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


def to_svg(root: Element) -> str:
    """Write a tree as an SVG document."""
    root.set("xmlns", "http://www.w3.org/2000/svg")
    return tostring(root, encoding="unicode") + "\n"
