"""Residue of layout and encoding in the texts of data sets, taken out of everything that a task renders.

A reader sees none of it on a page: line ends of another system, HTML entities, blanks that do not break, characters
that are invisible, control characters, and UTF-8 that was once read as Windows-1252. A tokenizer sees all of it, and a
model would learn to write it. What is part of the text stays, such as quotation marks of a corpus.
"""

import html.entities
import re
from collections.abc import Callable

RETURN = re.compile("\r\n?")
SEPARATOR = re.compile("[\x0b\x0c\u2028\u2029]")
BLANK = re.compile("[\t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)
# Joiners shape emoji, and letters of some scripts. Beside a blank or an ASCII character they join nothing.
JOINER = re.compile("(?:(?<=[\x00-\x7f])|^)[\u200c\u200d]+|[\u200c\u200d]+(?=[\x00-\x7f]|$)")
ENTITY = re.compile(r"&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]*));")
BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
BLOCKS = "address|article|blockquote|body|center|dd|div|dl|dt|footer|form|h[1-6]|head|header|hr|html|li|nav|ol|p|pre|section|table|tbody|td|th|thead|title|tr|ul"  # noqa: E501
SPANS = "a|abbr|acronym|b|big|cite|code|del|em|font|i|img|input|ins|kbd|label|link|meta|q|ref|s|script|small|span|strike|strong|style|sub|sup|tt|u|var"  # noqa: E501
BLOCK_TAG = re.compile(rf"</?(?:{BLOCKS})(?:\s[^<>]*)?/?>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
SPAN_TAG = re.compile(rf"</?(?:{SPANS})(?:\s[^<>]*)?/?>", re.IGNORECASE)

# Byte → its character in Windows-1252, and back. The C1 control characters stand for the same bytes.
_CHARACTERS = {byte: bytes([byte]).decode("cp1252", "ignore") for byte in range(0x80, 0xA0)}
_BYTES = {chr(byte): byte for byte in range(0x80, 0x100)} | {c: byte for byte, c in _CHARACTERS.items() if c}
C1 = re.compile("[\x80-\x9f]")


def _class(first: int, last: int, without: bytes = b"") -> str:
    """A class of the characters that bytes were read as."""
    return f"[{re.escape(''.join(c for c, byte in _BYTES.items() if first <= byte <= last and byte not in without))}]"


# UTF-8 that was read as Windows-1252, where nobody would write these characters one after the other: no letter with an
# accent is followed by a symbol. Quotation marks, dashes and blanks may follow one, so they prove nothing.
_TAIL = _class(0x80, 0xBF, without=b"\x82\x84\x85\x8b\x91\x92\x93\x94\x96\x97\x9b\xa0\xab\xb4\xb7\xbb")
MOJIBAKE = re.compile(
    f"[\u00c2-\u00c5]{_TAIL}|\u00c2\u00a0|\u00c3[\u00ad\u00b4\u00b7]"
    f"|\u00e2{_class(0x80, 0x84)}{_class(0x80, 0xBF)}|\u00f0{_class(0x9F, 0x9F)}{_class(0x80, 0xBF)}{{2}}"
)
# Most texts have nothing to clean, which one look at them tells.
SUSPECT = re.compile(f"[\r\x0b\x0c\u2028\u2029&<\u200c\u200d]|{BLANK.pattern}|{INVISIBLE.pattern}|{MOJIBAKE.pattern}")


def verbatim(text: str) -> str:
    """The text with line feeds for the line ends of other systems."""
    return RETURN.sub("\n", text)


def plain(text: str) -> str:
    """The text without residue; `<br>` becomes a line feed, and other tags stay."""
    return _until_clean(text, _once)


def html_text(text: str) -> str:
    """As `plain`, without the tags of HTML: those of blocks become line feeds."""
    return _until_clean(text, lambda text: SPAN_TAG.sub("", BLOCK_TAG.sub("\n", _once(text))))


# How a task's texts are cleaned, see `Task.text`.
CLEANERS: dict[str, Callable[[str], str]] = {"plain": plain, "html": html_text, "verbatim": verbatim}


def _until_clean(text: str, clean: Callable[[str], str]) -> str:
    # Residue may hide residue: some corpora wrote `&amp;quot;`.
    while SUSPECT.search(text) and (cleaned := clean(text)) != text:
        text = cleaned
    return text


def _once(text: str) -> str:
    text = MOJIBAKE.sub(_utf8, ENTITY.sub(_character, text))
    text = C1.sub(lambda match: _CHARACTERS[ord(match[0])], text)
    text = SEPARATOR.sub("\n", verbatim(BREAK.sub("\n", text)))
    return JOINER.sub("", INVISIBLE.sub("", BLANK.sub(" ", text)))


def _character(entity: re.Match) -> str:
    """The character of an HTML entity; an unknown entity stays as it is."""
    decimal, hexadecimal, name = entity.groups()
    if name:
        return html.entities.html5.get(f"{name};", entity[0])
    code = int(decimal) if decimal else int(hexadecimal, 16)
    # Numbers 128 to 159 are control characters of Unicode, but pages mean Windows-1252 by them. Surrogates are no text.
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else ""


def _utf8(match: re.Match) -> str:
    """The text that was read as Windows-1252; what is no UTF-8 stays as it is."""
    try:
        return bytes(_BYTES[character] for character in match[0]).decode("utf-8")
    except UnicodeDecodeError:
        return match[0]
