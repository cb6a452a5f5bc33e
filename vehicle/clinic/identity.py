"""Who somebody is: identity number, what of it may be shown, age, and the initials a name is found by. Pure.

Identity number: GB 11643-1999, check digit by ISO 7064 MOD 11-2. The area code is that of the first issue, so unknown
and old codes are accepted; residence permits for Hong Kong, Macao and Taiwan people (81, 82, 83) have the same form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from devices.errors import AskPerson

_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"
RESIDENCE_PERMITS = ("81", "82", "83")
"""First digits of the residence permits of Hong Kong, Macao and Taiwan people (State Council decree 700, 2018)."""
ID_KINDS = ("resident", "residence_permit", "passport", "newborn", "temporary")
_PASSPORT = re.compile(r"[A-Z0-9]{5,15}")
_RECORD_NUMBER = re.compile(r"(\d{6})(\d{3})(\d{3})(\d{5})")
_PHONE = re.compile(r"1[3-9]\d{9}|0\d{2,3}-?\d{7,8}")


class WrongIdNumber(AskPerson):
    """The number cannot be one: ``facts["reason"]`` is length, characters, birth_date, check_digit or passport;
    ``facts["found"]`` how many characters there are."""

    code = "id_number_wrong"


class WrongRecordNumber(AskPerson):
    """A health record number has 17 digits; ``facts["reason"]`` is length or village."""

    code = "record_number_wrong"


@dataclass(frozen=True, slots=True)
class IdNumber:
    """A checked 18-character number. Sensitive: its text form is masked."""

    number: str
    born_on: date
    sex: str
    """"male" or "female", by the parity of the 17th digit."""

    @property
    def last4(self) -> str:
        return self.number[-4:]

    @property
    def kind(self) -> str:
        """ "residence_permit" for people of Hong Kong, Macao and Taiwan, else "resident"."""
        return "residence_permit" if self.number[:2] in RESIDENCE_PERMITS else "resident"

    def __repr__(self) -> str:
        return f"IdNumber({mask_id_number(self.number)})"


def check_id_number(text: str, today: date) -> IdNumber:
    """Read a number as typed or read from a card; spaces are ignored, a small x is accepted.

    :param today: nobody is born after it
    :raises WrongIdNumber: says which part is wrong, never repeats the number
    """
    number = "".join(text.split()).upper()
    if len(number) != 18:
        raise WrongIdNumber(
            f"an identity number has 18 characters, this has {len(number)}", reason="length", found=len(number)
        )
    if not re.fullmatch(r"[1-9][0-9]{16}[0-9X]", number):
        raise WrongIdNumber("an identity number has 17 digits and a digit or X at the end", reason="characters")
    born_on = _birth_date(number[6:14])
    if born_on is None or not date(1880, 1, 1) <= born_on <= today:
        raise WrongIdNumber("digits 7 to 14 are not a date of birth: compare with the card", reason="birth_date")
    if number[17] != check_digit(number[:17]):
        raise WrongIdNumber(
            "the check digit does not fit: two digits may be swapped, type it again", reason="check_digit"
        )
    return IdNumber(number, born_on, "male" if int(number[16]) % 2 else "female")


def check_digit(first_17: str) -> str:
    """The 18th character for 17 digits (ISO 7064 MOD 11-2)."""
    return _CHECK_DIGITS[sum(int(digit) * weight for digit, weight in zip(first_17, _WEIGHTS, strict=True)) % 11]


def _birth_date(digits: str) -> date | None:
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Document:
    """What somebody is known by: of an identity number its checked form, else what was written on the paper.

    ``key`` is what the keyed hash is made of: no two documents share it.
    """

    kind: str
    number: str
    last4: str
    key: str
    born_on: date | None = None
    sex: str = ""

    def __repr__(self) -> str:
        return f"Document({self.kind}, {mask_last4(self.last4)})"


def read_document(kind: str, text: str, today: date) -> Document | None:
    """The document as typed; None for somebody who has none ("temporary", or nothing was typed).

    :param kind: of ``ID_KINDS``; a residence permit is known by its first digits whatever is said here
    :param text: of a newborn the mother's identity number, with ``-2`` behind it for the second child of a birth
    :raises WrongIdNumber: says which part is wrong, never repeats the number
    """
    typed = "".join(text.split()).upper()
    if kind == "temporary" or not typed:
        return None
    if kind == "passport":
        if not _PASSPORT.fullmatch(typed):
            raise WrongIdNumber("a passport number has 5 to 15 letters and digits", reason="passport", found=len(typed))
        return Document("passport", typed, typed[-4:], f"passport:{typed}")
    if kind == "newborn":
        mothers, _, order = typed.partition("-")
        mother = check_id_number(mothers, today)
        if order and not re.fullmatch(r"[1-9]", order):
            raise WrongIdNumber("behind the mother's number stands -1, -2 ...", reason="characters", found=len(typed))
        number = f"{mother.number}-{order or 1}"
        return Document("newborn", number, mother.last4, number)
    checked = check_id_number(typed, today)
    return Document(checked.kind, checked.number, checked.last4, checked.number, checked.born_on, checked.sex)


def temporary_number(patient: str, registered_on: date) -> str:
    """What stands on the slip of somebody without any document: ``T261122-7K3Q9A``.

    The end is that of the registration's name, so that no two vans give the same and it finds the person again.
    """
    return f"T{registered_on:%y%m%d}-{patient[-6:]}"


def temporary_end(text: str) -> str:
    """The end of a temporary number as typed into the search; empty when the text is none."""
    found = re.fullmatch(r"T\d{6}-?([0-9A-Z]{6})", text.strip().upper())
    return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class RecordNumber:
    """The number of a resident's health record: county (GB/T 2260), township (GB/T 10114), village, serial.

    The village part is its own list, not the end of the 12-digit code: residents' committees 001-099, villagers'
    committees 101-199, others 901-999 (domain notes, section 4).
    """

    number: str
    county: str
    township: str
    village: str
    serial: str

    @property
    def of_village(self) -> str:
        """The 12 digits that all records of one village share."""
        return self.number[:12]


def check_record_number(text: str) -> RecordNumber:
    """:raises WrongRecordNumber: not 17 digits, or the village part is outside its ranges"""
    number = re.sub(r"[\s-]", "", text)
    found = _RECORD_NUMBER.fullmatch(number) if number.isascii() else None
    if found is None:
        raise WrongRecordNumber("a health record number has 17 digits", reason="length", found=len(number))
    village = int(found[3])
    if not (1 <= village <= 99 or 101 <= village <= 199 or 901 <= village <= 999):
        raise WrongRecordNumber("digits 10 to 12 are no village: 001-099, 101-199, 901-999", reason="village")
    return RecordNumber(number, *found.groups())


def mask_phone(phone: str) -> str:
    """``138****8000``: the last four stay, so that who is asked can say whether it is theirs."""
    digits = phone.strip()
    return f"{digits[:3]}{'*' * max(len(digits) - 7, 0)}{digits[-4:]}" if len(digits) >= 8 else "*" * len(digits)


def mask_id_number(number: str) -> str:
    """``1101**********002X``: as lists and slips show it."""
    return f"{number[:4]}{'*' * 10}{number[-4:]}"


def mask_last4(last4: str) -> str:
    """The masked form where only the last four characters are at hand."""
    return f"{'*' * 14}{last4}" if last4 else ""


def mask_name(name: str) -> str:
    """``王*``, ``欧*`` , ``A*``: the first character and one star for each further one."""
    return name[:1] + "*" * max(len(name) - 1, 0)


def is_phone(text: str) -> bool:
    """A mainland mobile number or a landline with area code."""
    return _PHONE.fullmatch(text) is not None


def age_years(born_on: date, on: date) -> int:
    """Completed years; born on 29 February one turns a year older on 1 March of common years (Civil Code art. 200)."""
    return on.year - born_on.year - ((on.month, on.day) < (born_on.month, born_on.day))


# GB 2312 orders its first-level characters by pronunciation, so the initial is a range of codes. Second-level
# characters are ordered by radical, so each has its own letter.
_LEVEL_1 = (
    (0xB0A1, "a"), (0xB0C5, "b"), (0xB2C1, "c"), (0xB4EE, "d"), (0xB6EA, "e"), (0xB7A2, "f"), (0xB8C1, "g"),
    (0xB9FE, "h"), (0xBBF7, "j"), (0xBFA6, "k"), (0xC0AC, "l"), (0xC2E8, "m"), (0xC4C3, "n"), (0xC5B6, "o"),
    (0xC5BE, "p"), (0xC6DA, "q"), (0xC8BB, "r"), (0xC8F6, "s"), (0xCBFA, "t"), (0xCDDA, "w"), (0xCEF4, "x"),
    (0xD1B9, "y"), (0xD4D1, "z"), (0xD7FA, ""),
)  # fmt: skip
_LEVEL_2 = (  # rows 56 to 87 of GB 2312, one line each; the reading most used, by the pinyin order of Unicode CLDR
    "cjwgnspgcgnegypbtyyzdxykygtzjnmjqmbsgzscyjsyyfpgkbzgydywjkgkljswkpjqhyjwrdzlsgmrypywwcckznkyyg"
    "ttnjjeykkzytcjnmcylqlypyqfqrpzslwbtgkjfyxjwzltbncxjjjjtxdttsqzycdxxhgckbphffsstybgmxlpbyllbhlx"
    "smzmyjhsojnghdzqyklgjhsgqzhxqgkezzwyscscjxyeyxadzpmdssmzjzqjyzcjjfwqjbdzbxgznzcpwhkxhqkmwfbpby"
    "dtjzzkqhylygxfptyjyyzpszlfchmqshgmxxsxjyqdcsbbqbefsjyhwwgzkpylqbgldlcctnmayddkssngycsgxlyzaypn"
    "ptsdkdylhgymylcxpycjndqjwqqxfyyfjlejpzrxccqwqqsbzkymgplbmjrqcflnymyqmsqtrbcjthztqfrxqhxmjjcjlx"
    "xgjmshzkbswyemyltxfsydsglycjqxsjnqbsctyhbftdcyjdjwyghqfrxwckqkxebptlpxjzsrmebwhjlbjslyysmdxlcl"
    "qkxlhxjrzjmfqhxhwywsbhtrxxglhqhfnmgykldyxzpylggsmtcfpajjzyljtyanjgbjplqgdzyqyaxbkysecjsznslyzh"
    "zxlzcghpxzhznytdsbcjkdlzyyffydlebbgqyzkggldndnyskjshdlyxbcghxypkdjmmzngmmclgwzszxzjfznmlzzthcs"
    "ydbdllscddnlkjykjsycjlkohqasdknhcsganhdaashtcplcpqybsdmpjlpcjoqlcdhjjysprchnwjnlhlyyqyhwzptczg"
    "wwmzffjqqqqyxaclbhkdjxdgmmydjxzllsygxgkjrywzwyclzmssjzldbydcfcxyhlxchyzjqsqqagmnyxpfrkssbjlyxy"
    "syglnscmhcwwmnzjjlxxhchsyzsttxrycyxbyhcsmxjsznpwgpxxtaybgajcxlyxdccwzocwkccsbnhcpdyznfcyytyckx"
    "kybsqkkytqqxfcwchcykelzqbsqyjqcclmthsywhmktlkjlycxwheqqhtqhqpqsqscfymmdmgbwhwlgsllystlmlxpthmj"
    "hwljzyhzjxhtxjlhxrswlwzjcbxmhzqxsdzpmgfcsglsxymjshxpjxwmyqksmyplrthbxftpmhyxlchlhlzylxgsssstcl"
    "sldclrpbhzhxyyfhbmgdmycnqqwlqhjjcywjzyejjdhpblqxtqkwhlchqxagtlxljxmsljhtzkzjecxjcjnmfbycsfywyb"
    "jzgnysdzsqyrsljpclpwxsdwejbjcbcnaytwgmpapclyqpclzxsbnmsggfnzjjbzsfzyndxhplqkzczwalsbccjxsyzgwk"
    "ypsgxfzfcdkhjgxtlqfsgdslqwzkxtmhsbgzmjzrglyjbpmlmsxlzjqqhzyjczydjwbwjklddpmjegxyhylxhlqyqhkycw"
    "cjmyyxnatjhyccxzpcqlbzwwytwbqcmlpmyrjcccxfpznzzljplxxyztzlgdldcklyrzzgqtgjhhgjljaxfgfjzslcfdqz"
    "lclgjdjzsnzlljpjqdcclcjxmyzftsxgcgsbrzxjqqctzhgyqtjqqlzxjylylbcyamcstylpdjbyregklzyzhlyszqlznw"
    "czcllwjqjjjkdgjzolbbzppglghtgzxyjhzmycnqcycyhbhgxkamtxyxnbskyzzgjzlqjdfcjxdygjqjjpmgwgjjjpkqsb"
    "gbmmcjssclpqpdxcdyykyscjddyygywrhjrtgznyqldkljszzgzqzjgdykshpzmtlcpwnjyfyzdjcnmwescyglbtzcgmss"
    "llyxysxsbsjsbbsgghfjlypmzjnlyywdqshzxtyywhmcyhywdbxbtlmsyyyfsxjcbdxxlhjhfssxzqhfzmzcztqcxzxrtt"
    "djhnnyzqqmtqdmmgyydxmjgdhcdyzbffallztdltfxmxqzdngwqdbdcdjdxbzgsqqddjcmbkzffxmkdmdsyyszcmljdsyn"
    "sprskmkmpcklgtbqtfzswtfgglyplljzhgjjgypzltcsmcnbtjbqfkthbyzgepbbymtdssxtbnpdkleycjnyddykzddhqh"
    "sdzsctarlltkzlgecllkjlqjaqnbdkkghpjtzqksecshalqfmmgjnlyjbbtmlyzxdcjpldlpcqdhzycbzsczbzmsljflkr"
    "zjsnfrgjhxpdhyjybzgdlqcsezgxlblgyxtwmabchecmwyjyzlljjyhlgndjlslygkdzpzxjyyzlwcxszfgwyydlyhcljs"
    "cmbjhblyzlycblydpdqysxqzbytdkyxjyycnrjmpdjgklcljbctbjddbblblczqrppxjcjlzcshltoljnmdddlngkathqh"
    "jhykheznmshrphqqjchgmfprxhjgdychghlyrzqlcyqjnzsqtkqjymszswlcfqqqxyfggyptqwlmcrnfkkfsyylqbmqamm"
    "myxctpshcptxxzzsmphpshmclmldqfyqxszyjdjjzzhqpdszglstjbckbxyqzysgpsxqzqzrqtbdkyxzkhhgflbcsmdldg"
    "dzdblzyycxnncsybzbfglzzxswmsccmqnjqsbdqsjtxxmbltxzclzshzcxrqjgjylxzfjphymzqqydfqjjlzznzjsdgzyg"
    "ctxmzysctlkphtxhtlbjxjlxscdqxcbbtjfqzfsltjbtkqbxxjjljchczdbzjdczjdcprnpqcjpfczlclzxzdmxmphjsgz"
    "gszzqjylwtjpfsyasmcjbtzkycwmytzsjjlqcqlwzmalbxyfbpnlsfhtgjwejjxxglljstgshjqlzfkcgnndszfdeqfhbs"
    "aqtgylbxmmygszldydqmjjrgbjtkgdhgkblqkbdmbylxwcxyttybkmrtjzxqjbhlmhmjjzmqasldcyxyqdlqcafywyxqhz"
)
_BEYOND = {
    "喆": "z",
    "堃": "k",
    "祎": "y",
    "赟": "y",
    "曌": "z",
    "燊": "s",
    "珺": "j",
    "镕": "r",
    "頔": "d",
    "甯": "n",
    "玥": "y",
}
_AS_SURNAME = {
    "曾": "z", "单": "s", "解": "x", "仇": "q", "区": "o", "朴": "p", "查": "z", "翟": "z", "盖": "g", "尉": "y",
    "种": "c", "乐": "y", "覃": "q", "缪": "m", "秘": "b", "长": "z", "重": "c", "万": "w", "员": "y",
}  # fmt: skip


def pinyin_initials(name: str) -> str:
    """``杨桂芳`` -> ``ygf``: small letters; Latin letters stay; characters that are not known are left out.

    The first character is read as a surname (曾 z, 单 s, 解 x).
    """
    initials = []
    for position, character in enumerate(name.strip()):
        surname = _AS_SURNAME.get(character) if position == 0 else None
        initials.append(surname or _initial(character))
    return "".join(initials)


def _initial(character: str) -> str:
    if character.isascii():
        return character.lower() if character.isalnum() else ""
    try:
        row, column = character.encode("gb2312")
    except UnicodeEncodeError:
        return _BEYOND.get(character, "")
    if row >= 0xD8:
        return _LEVEL_2[(row - 0xD8) * 94 + column - 0xA1]
    code = row << 8 | column
    initial = ""
    for start, letter in _LEVEL_1:
        if code < start:
            break
        initial = letter
    return initial
