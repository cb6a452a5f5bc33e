"""Names in DICOM: UIDs made from our own names, people in the groups of a PN. Pure."""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://xunzhen.invalid/dicom")
"""Never changed: the UID of an image that was sent once must be the same for ever."""
IMPLEMENTATION_UID = f"2.25.{uuid.uuid5(_NAMESPACE, 'implementation').int}"
IMPLEMENTATION_NAME = "XUNZHEN"
LONGEST_GROUP = 64
HAN = "01"
"""Ethnicity code of GB/T 3304."""
_SURNAMES_OF_TWO = (
    "欧阳太史端木上官司马东方独孤南宫万俟闻人夏侯诸葛尉迟公羊赫连澹台皇甫宗政濮阳公冶太叔申屠公孙慕容仲孙钟离长孙宇文"
    "司徒鲜于司空闾丘子车亓官司寇巫马公西颛孙壤驷公良漆雕乐正宰父谷梁拓跋夹谷轩辕令狐段干百里呼延东郭南门羊舌微生"
    "梁丘左丘东门西门南荣"
)
_TWO_CHARACTER_SURNAMES = frozenset(_SURNAMES_OF_TWO[at : at + 2] for at in range(0, len(_SURNAMES_OF_TWO), 2))


def uid(*names: str) -> str:
    """The UID of what our ``names`` name together, the same whenever it is asked (PS3.5, B.2: UUID derived)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(names)).int}"


def person_name(name: str, initials: str = "", ethnicity_code: str = "") -> str:
    """``杨桂芳`` as ``Y^GF=杨^桂芳`` (PS3.5, 6.2.1 and annex J): alphabetic group, then ideographic.

    :param initials: pinyin initials of all characters, as the record keeps them for searching
    :param ethnicity_code: GB/T 3304; only names of Han people are split into family and given name, others ("扎西顿珠")
        may have no family name and stay in one piece; empty: as if Han
    """
    plain = "".join(" " if character in "\\^=" or character < " " else character for character in name).strip()
    plain = plain[: LONGEST_GROUP - 1]
    if plain.isascii():
        return plain
    family = _family_characters(plain) if ethnicity_code in ("", HAN) else 0
    letters = initials.upper() if initials.isascii() and initials.isalpha() else ""
    if not family:
        return f"{letters}={plain}" if letters else f"={plain}"
    alphabetic = f"{letters[:family]}^{letters[family:]}" if len(letters) == len(plain) else letters
    return f"{alphabetic}={plain[:family]}^{plain[family:]}"


def _family_characters(name: str) -> int:
    """How many characters of a Han name are the family name; 0 when it is no name of that form."""
    if not 2 <= len(name) <= 4 or any(character.isascii() for character in name) or "·" in name:
        return 0
    if name[:2] in _TWO_CHARACTER_SURNAMES and len(name) > 2:
        return 2
    return 1 if len(name) <= 3 else 0


def text(words: str, longest: int) -> str:
    """``words`` as an LO, SH or LT takes them: no backslash, no control characters, at most ``longest`` characters."""
    plain = "".join(" " if character == "\\" or character < " " else character for character in words)
    return plain.strip()[:longest]
