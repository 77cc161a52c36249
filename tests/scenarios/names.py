"""
Who takes part: 40 institutions of three pilot sectors and others, in all nine cities and Hong Kong.

None of them exists. Their ids have the check digits of GB 32100 and ISO 17442, computed here, but
for the one that is there to fail them; their keys follow from a seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import shake_256

from ledgerd_client.core.keys import SigningKey

BANK, CREDIT, HOSPITAL, INSURER, RESEARCH, OTHER = 1, 2, 3, 4, 8, 9
HONG_KONG = 810000
SHENZHEN, GUANGZHOU, FOSHAN, ZHUHAI = 440300, 440100, 440600, 440400

_USCC = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_SEED = b"ledgerd scenarios, a year"


def derive(label: str, size: int) -> bytes:
    """Bytes that follow from the seed and a label: keys, nonces, salts, record ids."""
    return shake_256(_SEED + b"\n" + label.encode()).digest(size)


@dataclass(frozen=True, slots=True)
class Institution:
    """One side's institution. side: "mainland" or "hongkong"; id as on its certificate."""

    label: str
    name: str
    id: str
    side: str
    place: int
    sector: int
    # Of companies, as the authority registers it.
    group: str = ""

    @property
    def key(self) -> SigningKey:
        return SigningKey(derive(f"key {self.id}", 32))


def uscc(place: int, number: int) -> str:
    """A unified social credit code (GB 32100-2015) of a company registered in a place."""
    text = f"91{place:06d}MA{number:07d}"
    total = sum(_USCC.index(char) * pow(3, at, 31) for at, char in enumerate(text))
    return f"uscc.{text}{_USCC[-total % 31]}"


def lei(number: int, *, good: bool = True) -> str:
    """A legal entity identifier (ISO 17442): two digits that make it 1 modulo 97, or one more."""
    text = f"9845000000{number:08d}"
    check = 98 - int(f"{text}00") % 97
    return f"lei.{text}{check if good else check - 1:02d}"


def _mainland(
    label: str, name: str, place: int, sector: int, number: int, group: str = ""
) -> Institution:
    return Institution(label, name, uscc(place, number), "mainland", place, sector, group)


def _hongkong(label: str, name: str, sector: int, number: int) -> Institution:
    return Institution(label, name, f"hkbr.{number:08d}", "hongkong", HONG_KONG, sector)


# They stand in the edge table and nowhere else, so that their counters are what it says.
PLANTED = (
    _mainland("bank", "深圳湾商业银行", SHENZHEN, BANK, 1),
    _mainland("credit", "广州信达征信", GUANGZHOU, CREDIT, 2),
    _mainland("hospital", "珠海仁康医院", ZHUHAI, HOSPITAL, 3),
    Institution("misfit", "佛山岭南研究院", uscc(GUANGZHOU, 4), "mainland", FOSHAN, RESEARCH),
    _mainland("count_gba", "深圳前海支付", SHENZHEN, BANK, 5),
    _mainland("count_sensitive", "广州越秀银行", GUANGZHOU, BANK, 6),
    _mainland("count_national", "惠州东江银行", 441300, BANK, 7),
    _mainland("count_both", "东莞松山湖银行", 441900, BANK, 8),
    _mainland("count_turn", "中山香山银行", 442000, BANK, 9),
    _mainland("count_back", "江门新会银行", 440700, BANK, 10),
    _mainland("split", "肇庆西江银行", 441200, BANK, 11),
    _mainland("split_sensitive", "深圳罗湖银行", SHENZHEN, BANK, 12),
    _mainland("group_one", "惠州岭南银行", 441300, BANK, 13, "LINGNAN"),
    _mainland("group_two", "中山岭南银行", 442000, BANK, 14, "LINGNAN"),
    _hongkong("hk_bank", "香港維港銀行", BANK, 60000001),
    Institution("hk_lei", "香港國際保險", lei(7, good=False), "hongkong", HONG_KONG, INSURER),
    _hongkong("hk_clinic", "香港島綜合診所", HOSPITAL, 60000003),
)
EVERYDAY = (
    _mainland("sz_bank", "深圳招融银行", SHENZHEN, BANK, 21),
    _mainland("gz_bank", "广州珠江银行", GUANGZHOU, BANK, 22),
    _mainland("dg_credit", "东莞诚信征信", 441900, CREDIT, 24),
    _mainland("sz_credit", "深圳鹏元征信", SHENZHEN, CREDIT, 25),
    _mainland("sz_hospital", "深圳福田人民医院", SHENZHEN, HOSPITAL, 26),
    _mainland("gz_hospital", "广州中山路医院", GUANGZHOU, HOSPITAL, 27),
    _mainland("fs_hospital", "佛山祖庙医院", FOSHAN, HOSPITAL, 28),
    _mainland("hz_hospital", "惠州西湖医院", 441300, HOSPITAL, 29),
    _mainland("jm_hospital", "江门五邑医院", 440700, HOSPITAL, 30),
    _mainland("zh_insurer", "珠海横琴保险", ZHUHAI, INSURER, 31),
    _hongkong("hk_bank_2", "香港港灣銀行", BANK, 60000011),
    _hongkong("hk_bank_3", "香港獅山銀行", BANK, 60000012),
    _hongkong("hk_bank_4", "香港九龍銀行", BANK, 60000013),
    _hongkong("hk_credit_1", "香港信貸資料庫", CREDIT, 60000014),
    _hongkong("hk_credit_2", "香港環信資料社", CREDIT, 60000015),
    _hongkong("hk_credit_3", "香港誠信評級", CREDIT, 60000016),
    _hongkong("hk_hospital_1", "香港瑪莉醫院", HOSPITAL, 60000017),
    _hongkong("hk_hospital_2", "香港九龍灣醫院", HOSPITAL, 60000018),
    _hongkong("hk_hospital_3", "香港新界東醫院", HOSPITAL, 60000019),
    _hongkong("hk_hospital_4", "香港南區眼科醫院", HOSPITAL, 60000020),
    _hongkong("hk_hospital_5", "香港沙田兒童醫院", HOSPITAL, 60000021),
    _hongkong("hk_insurer", "香港太平山保險", INSURER, 60000022),
    _hongkong("hk_other", "香港中環人力資源", OTHER, 60000023),
)
INSTITUTIONS = PLANTED + EVERYDAY
BY_LABEL = {institution.label: institution for institution in INSTITUTIONS}

# Third parties, who have no key: who they are is only stated.
THIRD_PARTIES = {"hk_third": "hkbr.60000090", "cn_third": uscc(FOSHAN, 90)}
