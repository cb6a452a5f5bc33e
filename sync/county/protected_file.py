"""A sheet with names leaves the county under a password (domain notes, section 5.16): Excel, WPS and LibreOffice ask
for it when the file is opened.

ECMA-376 agile encryption ([MS-OFFCRYPTO] 2.3.4.10: AES-256, SHA-512, 100,000 rounds), so that nobody needs another
program. The password is typed by who makes the file, is kept nowhere, and travels another way than the file.
"""

from __future__ import annotations

import io

from msoffcrypto.format.ooxml import OOXMLFile

SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 60


def good_password(password: str) -> bool:
    """Eight characters, and not of one kind only: letters, digits, others."""
    kinds = {("letter" if one.isalpha() else "digit" if one.isdigit() else "other") for one in password}
    return SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD and len(kinds) >= 2


def protected_xlsx(content: bytes, password: str) -> bytes:
    """The workbook under the password."""
    out = io.BytesIO()
    OOXMLFile(io.BytesIO(content)).encrypt(password, out)
    return out.getvalue()
