"""Invented names, places and projects, from which the generator makes people and what they did.

Given and family names are made up, in the sound of their script; whoever bears one does so by chance.
"""

from __future__ import annotations

import unicodedata
from typing import Final, NamedTuple


class Script(NamedTuple):
    """Names of one script: each as written, and in Latin letters for addresses and accounts."""

    given: tuple[tuple[str, str], ...]
    family: tuple[tuple[str, str], ...]
    family_first: bool = False
    space: str = " "


def _latin(names: str) -> tuple[tuple[str, str], ...]:
    return tuple((name, _letters(name)) for name in names.split())


def _letters(name: str) -> str:
    apart = unicodedata.normalize("NFKD", name.lower().translate({ord("ø"): "o", ord("ł"): "l"}))
    return "".join(letter for letter in apart if "a" <= letter <= "z")


LATIN: Final = Script(
    _latin(
        "Arivelle Bramon Caldis Dorveth Elowan Farilda Gessamy Hallvin Ismerie Jorunde Kessia Lorvan Maribeth-Lo "
        "Nyrelle Orsolan Pellitha Quendra Rovanna Sylvore Tamsel Ulvara Verion Wennick Xandrel Ysolte Zafirelle Amáris "
        "Béland Chidora Édouane Ngoleka Olufenwe Thandesi Siñara Łucjara Øyvara"
    ),
    _latin(
        "Ashgrovel Brackenthorpe-Ma Cindermoor Dalvenstrom Eskerholt Fennimarsh Goldwhistle Harrowvane Inkpenny "
        "Jastrowick Kestrelund Lindqvarn Mossbarrow Nettlecombe-Ra Oakenfjord Pinterova Quillorn Rooksdale Stonewether "
        "Tammerfeld Underlake Vossberry Winterbourneau Yarrowsen Zellerquist Adéyemiro Bañuelosa Castelnova Drağanel "
        "Mbekweni Okonjwala Ferreirinho São-Lume Szczytna Müllgard Åkerblad"
    ),
)
OTHERS: Final = (
    Script(
        (
            ("Велмира", "velmira"),
            ("Радослана", "radoslana"),
            ("Тиходар", "tikhodar"),
            ("Ясноля", "yasnolya"),
            ("Бореслан", "boreslan"),
            ("Златовея", "zlatoveya"),
        ),
        (
            ("Остроград", "ostrograd"),
            ("Луговейко", "lugoveyko"),
            ("Северянец", "severyanets"),
            ("Чернотал", "chernotal"),
            ("Полебродов", "polebrodov"),
            ("Камнеречко", "kamnerechko"),
        ),
    ),
    Script(
        (("Θαλίνα", "thalina"), ("Ορφέλης", "orfelis"), ("Μυρσάνθη", "myrsanthi"), ("Λεανδρίων", "leandrion")),
        (("Πετροβάτης", "petrovatis"), ("Ανεμορράχης", "anemorrachis"), ("Λευκοθάλη", "lefkothali")),
    ),
    Script(
        (("आरवेश", "aarvesh"), ("मीनाक्षरा", "meenakshara"), ("तरुणिल", "tarunil"), ("सुवर्णिका", "suvarnika")),
        (("वनपुरकर", "vanpurkar"), ("नीलगिरवाल", "nilgirwal"), ("सागरोत्रा", "sagarotra"), ("चंद्रवेल", "chandravel")),
    ),
    Script(
        (("ليانور", "layanur"), ("زاهران", "zahran"), ("سميراف", "samiraf"), ("نجودان", "nujudan")),
        (("الوادياني", "alwadiani"), ("النخلاوي", "alnakhlawi"), ("بحرونة", "bahruna")),
    ),
    Script(
        (("雲希", "yunxi"), ("若嵐", "ruolan"), ("澄野", "chengye"), ("知墨", "zhimo")),
        (("柏川", "baichuan"), ("禾山", "heshan"), ("霜", "shuang"), ("麓", "lu")),
        family_first=True,
        space="",
    ),
    Script(
        (("ほしの音", "hoshinone"), ("みなせ", "minase"), ("はるか丸", "harukamaru"), ("あおば乃", "aobano")),
        (("月見浜", "tsukimihama"), ("霧沢井", "kirisawai"), ("白樺田", "shirakabata")),
        family_first=True,
    ),
    Script(
        (("가온슬", "gaonseul"), ("다솜별", "dasombyeol"), ("마루한", "maruhan"), ("새론빛", "saeronbit")),
        (("달", "dal"), ("솔", "sol"), ("여울", "yeoul")),
        family_first=True,
        space="",
    ),
    Script(
        (("ሰላምዊት", "selamwit"), ("ብርሃናዊ", "birhanawi"), ("ፀሐይነሽ", "tsehaynesh")),
        (("ተራራው", "teraraw"), ("ወንዝነህ", "wenzneh")),
    ),
)

PLACES: Final[tuple[tuple[str, str], ...]] = (
    ("Berlin", "Europe/Berlin"),
    ("Warsaw", "Europe/Warsaw"),
    ("Dublin", "Europe/Dublin"),
    ("Toronto", "America/Toronto"),
    ("Chicago", "America/Chicago"),
    ("Vancouver", "America/Vancouver"),
    ("São Paulo", "America/Sao_Paulo"),
    ("Bogotá", "America/Bogota"),
    ("Lagos", "Africa/Lagos"),
    ("Nairobi", "Africa/Nairobi"),
    ("Cape Town", "Africa/Johannesburg"),
    ("Bengaluru", "Asia/Kolkata"),
    ("Singapore", "Asia/Singapore"),
    ("Osaka", "Asia/Tokyo"),
    ("Seoul", "Asia/Seoul"),
    ("Melbourne", "Australia/Melbourne"),
    ("Auckland", "Pacific/Auckland"),
)
"""Cities on six continents, each with its IANA time zone."""

COMPANY_NAME: Final = "Harbour & Heron"
AREAS: Final = (
    "Payments",
    "Logistics",
    "Platform",
    "Field Services",
    "Customer Care",
    "Marketplace",
    "Finance",
    "Research",
    "Operations",
    "Security",
    "Data",
    "Mobile",
)
TEAM_WORDS: Final = (
    "Lantern",
    "Compass",
    "Anchor",
    "Beacon",
    "Rudder",
    "Sextant",
    "Kestrel",
    "Plover",
    "Tern",
    "Gannet",
    "Osprey",
    "Avocet",
)

COMPETENCIES: Final = (
    "leadership",
    "delivery",
    "collaboration",
    "innovation",
    "customer_focus",
    "mentoring",
    "technical_depth",
    "communication",
)
PROJECTS: Final = (
    "Halcyon",
    "Driftwood",
    "Northlight",
    "Saltmarsh",
    "Tidegate",
    "Ferryman",
    "Cobalt",
    "Quayside",
    "Larkspur",
    "Millstream",
    "Sandbar",
    "Bowline",
    "Fogbank",
    "Harvest",
    "Isobar",
    "Keelson",
)
DEEDS: Final[dict[str, tuple[str, ...]]] = {
    "leadership": (
        "Led the {p} launch across three teams",
        "Took over {p} in crisis and brought it home",
        "Set the direction for {p} and won everybody for it",
    ),
    "delivery": (
        "Delivered {p} two weeks early",
        "Shipped the second stage of {p}",
        "Cleared the backlog of {p}",
    ),
    "collaboration": (
        "Brought support and engineering together on {p}",
        "Ran the joint planning for {p}",
        "Settled the interface of {p} with four teams",
    ),
    "innovation": (
        "Prototyped a new way to price in {p}",
        "Replaced nightly batches in {p} by streams",
        "Found a patentable method during {p}",
    ),
    "customer_focus": (
        "Turned round the pilot customer of {p}",
        "Halved the waiting time in {p}",
        "Interviewed forty users of {p} and acted on it",
    ),
    "mentoring": (
        "Onboarded five newcomers to {p}",
        "Coached two colleagues to lead parts of {p}",
        "Started the study group of {p}",
    ),
    "technical_depth": (
        "Traced the data loss in {p} to its root",
        "Made {p} ten times faster",
        "Moved {p} to the new storage without downtime",
    ),
    "communication": (
        "Presented {p} to the board",
        "Wrote the guide to {p} that everybody uses",
        "Explained the outage of {p} to customers",
    ),
}
OUTCOMES: Final = (
    "",
    "Saved about {n} hours a month.",
    "Complaints fell by {n} %.",
    "Used by {n} colleagues since.",
    "Revenue in the pilot region rose by {n} %.",
    "{n} customers moved over without an incident.",
)
