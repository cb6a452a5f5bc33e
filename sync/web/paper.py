"""HTML to PDF for paper: WeasyPrint draws it with Pango, which is not everywhere. One drawing at a time."""

from __future__ import annotations

import threading
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from devices.errors import AskPerson

PANGO_PACKAGES = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
FONT_PACKAGE = "fonts-noto-cjk"
PDF_A = "pdf/a-3b"
"""ISO 19005-3 level B: the form that archives take, with files attached inside."""
PICTURES = {f"data:{kind};base64": kind for kind in ("image/jpeg", "image/png")}
_DRAWING = threading.Lock()
"""Pango's font map is one for the whole process."""


class PrintingUnavailable(AskPerson):
    """This computer lacks what printing needs; the message names the Debian packages."""

    code = "printing_unavailable"

    def __init__(self, packages: str) -> None:
        super().__init__(
            f"printing needs the Debian packages {packages}: install them on this computer", packages=packages
        )
        self.packages = packages


def pdf_of(
    html: str,
    attached: Sequence[Mapping[str, Any]] = (),
    made_at: datetime | None = None,
    below: Sequence[bytes] = (),
) -> bytes:
    """PDF/A-3b of a page that fetches nothing: styles, pictures (``picture_url``) and drawings stand inside it.

    Takes a second or two and blocks: call it in a thread.

    :param attached: files for inside, each ``name``, ``description``, ``string`` (its bytes)
    :param made_at: when those files were made
    :param below: path operators (ISO 32000-1, 8.5) of one drawing a page, put below the words: for what is drawn to
        scale. The file then asks the viewer not to fit it to the paper.
    :raises PrintingUnavailable: Pango or a Chinese font is missing on this computer
    """
    try:
        import weasyprint  # loads Pango and takes a moment: only where something is printed
    except (OSError, ImportError) as fault:
        raise PrintingUnavailable(PANGO_PACKAGES) from fault
    files = [_file(weasyprint, one, made_at) for one in attached]
    with _DRAWING:
        document = weasyprint.HTML(string=html, url_fetcher=_inside).render()
        written: bytes = document.write_pdf(
            pdf_variant=PDF_A, attachments=files, finisher=lambda _, file: _draw(file, below)
        )
        if any(font.missing for font in document.fonts.values()):
            raise PrintingUnavailable(FONT_PACKAGE)
    return written


def _draw(file: Any, below: Sequence[bytes]) -> None:
    if not below:
        return
    import pydyf

    pages = [one for one in file.objects if isinstance(one, dict) and one.get("Type") == "/Page"]
    for page, drawing in zip(pages, below, strict=True):
        paths = pydyf.Stream([zlib.compress(drawing)], {"Filter": "/FlateDecode"})  # pydyf packs each twice, at level 9
        file.add_object(paths)
        page["Contents"] = pydyf.Array([paths.reference, page["Contents"]])
    file.catalog["ViewerPreferences"] = pydyf.Dictionary({"PrintScaling": "/None"})


def _file(weasyprint: Any, attached: Mapping[str, Any], made_at: datetime | None) -> Any:
    return weasyprint.Attachment(**attached, created=made_at, modified=made_at, relationship="Data")


def picture_url(picture: bytes, media_type: str) -> str:
    """For the ``src`` of an image that stands inside the page (RFC 2397)."""
    return f"data:{media_type};base64,{b64encode(picture).decode()}"


def _inside(url: str, *_: object, **__: object) -> Any:
    head, comma, data = url.partition(",")
    if comma and head in PICTURES:
        from weasyprint.urls import URLFetcherResponse

        return URLFetcherResponse(url, b64decode(data), {"Content-Type": PICTURES[head]})
    raise ValueError(f"the sheet fetches nothing, least of all {url[:100]}")
