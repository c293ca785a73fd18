"""Which scripts a language is written in, and how much of a text is in them."""

from __future__ import annotations

import functools
import re

# Inclusive ranges of code points, marks and letters; digits and punctuation belong to no script.
RANGES: dict[str, tuple[tuple[int, int], ...]] = {
    "Latin": (
        (0x41, 0x5A),
        (0x61, 0x7A),
        (0xAA, 0xAA),
        (0xBA, 0xBA),
        (0xC0, 0xD6),
        (0xD8, 0xF6),
        (0xF8, 0x2AF),
        (0x1D00, 0x1D25),
        (0x1E00, 0x1EFF),
        (0x2C60, 0x2C7C),
        (0x2C7E, 0x2C7F),
        (0xA722, 0xA76F),
        (0xA771, 0xA787),
        (0xFB00, 0xFB06),
        (0xFF21, 0xFF3A),
        (0xFF41, 0xFF5A),
    ),
    "Greek": (
        (0x370, 0x373),
        (0x376, 0x377),
        (0x37B, 0x37D),
        (0x37F, 0x37F),
        (0x386, 0x386),
        (0x388, 0x3E1),
        (0x3F0, 0x3F5),
        (0x3F7, 0x3FF),
        (0x1F00, 0x1FFC),
    ),
    "Cyrillic": (
        (0x400, 0x481),
        (0x483, 0x52F),
        (0x1C80, 0x1C88),
        (0x2DE0, 0x2DFF),
        (0xA640, 0xA672),
        (0xA674, 0xA67D),
        (0xA67F, 0xA69F),
    ),
    "Armenian": ((0x531, 0x556), (0x560, 0x588), (0xFB13, 0xFB17)),
    "Hebrew": (
        (0x591, 0x5BD),
        (0x5BF, 0x5BF),
        (0x5C1, 0x5C2),
        (0x5C4, 0x5C5),
        (0x5C7, 0x5C7),
        (0x5D0, 0x5F2),
        (0xFB1D, 0xFB4F),
    ),
    "Arabic": (
        (0x610, 0x61A),
        (0x620, 0x65F),
        (0x66E, 0x6D3),
        (0x6D5, 0x6DC),
        (0x6DF, 0x6E8),
        (0x6EA, 0x6EF),
        (0x6FA, 0x6FF),
        (0x750, 0x77F),
        (0x8A0, 0x8E1),
        (0x8E3, 0x8FF),
        (0xFB50, 0xFBB1),
        (0xFBD3, 0xFD3D),
        (0xFD50, 0xFDFB),
        (0xFE70, 0xFEFC),
    ),
    "Syriac": ((0x710, 0x74A),),
    "Thaana": ((0x780, 0x7B1),),
    "Devanagari": ((0x900, 0x963), (0x971, 0x97F), (0xA8E0, 0xA8F7)),
    "Bengali": ((0x980, 0x9E3), (0x9F0, 0x9F1)),
    "Gurmukhi": ((0xA01, 0xA5E), (0xA70, 0xA75)),
    "Gujarati": ((0xA81, 0xAE3), (0xAF9, 0xAFF)),
    "Oriya": ((0xB01, 0xB63), (0xB71, 0xB71)),
    "Tamil": ((0xB82, 0xBD7),),
    "Telugu": ((0xC00, 0xC63),),
    "Kannada": ((0xC80, 0xC83), (0xC85, 0xCE3), (0xCF1, 0xCF3)),
    "Malayalam": ((0xD00, 0xD57), (0xD5F, 0xD63), (0xD7A, 0xD7F)),
    "Sinhala": ((0xD81, 0xDDF), (0xDF2, 0xDF3)),
    "Thai": ((0xE01, 0xE3A), (0xE40, 0xE4E)),
    "Lao": ((0xE81, 0xECD), (0xEDC, 0xEDF)),
    "Tibetan": ((0xF00, 0xF00), (0xF40, 0xF84), (0xF86, 0xFBC)),
    "Myanmar": ((0x1000, 0x103F), (0x1050, 0x108F), (0xAA60, 0xAA7F)),
    "Georgian": ((0x10A0, 0x10FA), (0x10FC, 0x10FF), (0x1C90, 0x1CBF), (0x2D00, 0x2D2D)),
    "Hangul": ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97C), (0xAC00, 0xD7FB)),
    "Ethiopic": ((0x1200, 0x135F), (0x1380, 0x138F), (0x2D80, 0x2DDE), (0xAB01, 0xAB2E)),
    "Khmer": ((0x1780, 0x17D3), (0x17DC, 0x17DD)),
    "Mongolian": ((0x1820, 0x18AA),),
    "Kana": (
        (0x3041, 0x3096),
        (0x309D, 0x309F),
        (0x30A1, 0x30FA),
        (0x30FC, 0x30FF),
        (0x31F0, 0x31FF),
        (0xFF66, 0xFF9F),
    ),
    "Bopomofo": ((0x3105, 0x312F),),
    "Han": ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAD9), (0x20000, 0x323AF)),
}

_WRITTEN = {
    "Latin": (
        "af an ast br bs ca ceb co cs cy da de en eo es et eu fi fil fo fr fy ga gd gl gn ha haw hmn hr ht hu ia id ie "
        "ig io is it jv kl la lb li ln lt lv mg mi mt nb nl nn no oc pap pl pt qu rm rn ro rw sk sl sm sn so sq st su "
        "sv sw tl tn to tr ts vi vo war wo xh yo zu"
    ),
    "Greek": "el grc",
    "Cyrillic": "ab av ba be bg ce cv ky mk os ru sah uk",
    "Armenian": "hy",
    "Hebrew": "he iw yi",
    "Arabic": "ar arz ckb fa ps ur",
    "Devanagari": "bho hi mai mr ne sa",
    "Bengali": "as bn",
    "Gujarati": "gu",
    "Oriya": "or",
    "Tamil": "ta",
    "Telugu": "te",
    "Kannada": "kn",
    "Malayalam": "ml",
    "Sinhala": "si",
    "Thai": "th",
    "Lao": "lo",
    "Tibetan": "bo dz",
    "Myanmar": "my",
    "Georgian": "ka",
    "Ethiopic": "am ti",
    "Khmer": "km",
    "Thaana": "dv",
    "Syriac": "syr",
}
# Languages that are written in several scripts, within a text or by region.
_MIXED: dict[str, tuple[str, ...]] = {
    "az": ("Latin", "Cyrillic", "Arabic"),
    "bs": ("Latin", "Cyrillic"),
    "ja": ("Kana", "Han"),
    "ko": ("Hangul", "Han"),
    "ku": ("Latin", "Arabic"),
    "kk": ("Cyrillic", "Latin", "Arabic"),
    "mn": ("Cyrillic", "Mongolian"),
    "ms": ("Latin", "Arabic"),
    "pa": ("Gurmukhi", "Arabic"),
    "sd": ("Arabic", "Devanagari"),
    "sh": ("Latin", "Cyrillic"),
    "sr": ("Cyrillic", "Latin"),
    "tg": ("Cyrillic", "Arabic"),
    "tk": ("Latin", "Cyrillic"),
    "tt": ("Cyrillic", "Latin"),
    "ug": ("Arabic", "Cyrillic", "Latin"),
    "uz": ("Latin", "Cyrillic"),
    "wuu": ("Han",),
    "yue": ("Han",),
    "zh": ("Han", "Bopomofo"),
}
_SUBTAGS = {
    "Latn": ("Latin",),
    "Cyrl": ("Cyrillic",),
    "Arab": ("Arabic",),
    "Deva": ("Devanagari",),
    "Hans": ("Han",),
    "Hant": ("Han", "Bopomofo"),
}
# ISO 639-3 codes as Tatoeba and FLORES name their files.
_THREE = (
    "afr:af ara:ar aze:az bel:be ben:bn bos:bs bul:bg cat:ca ces:cs cmn:zh cym:cy dan:da deu:de ell:el eng:en epo:eo "
    "est:et eus:eu fin:fi fra:fr gle:ga glg:gl guj:gu heb:he hin:hi hrv:hr hun:hu hye:hy ind:id isl:is ita:it jav:jv "
    "jpn:ja kan:kn kat:ka kaz:kk khm:km kor:ko lat:la lit:lt lav:lv lvs:lv mal:ml mar:mr mkd:mk mon:mn mya:my nep:ne "
    "nld:nl nno:no nob:no pan:pa pes:fa pol:pl por:pt ron:ro rus:ru sin:si slk:sk slv:sl som:so spa:es sqi:sq srp:sr "
    "swe:sv swh:sw swa:sw tam:ta tat:tt tel:te tgl:tl tha:th tur:tr uig:ug ukr:uk urd:ur uzb:uz vie:vi yid:yi zho:zh "
    "zsm:ms"
)

_BY_LANGUAGE = {language: (script,) for script, codes in _WRITTEN.items() for language in codes.split()} | _MIXED
_SHORT = dict(entry.split(":") for entry in _THREE.split())
# Word characters without digits, superscripts, fractions and numbers in circles.
_LETTER_RUN = re.compile(r"[^\W\d_²³¹¼-¾⁰-₉⅐-⅟①-⒛⓪-⓿❶-➓]+")


def scripts_of(language: str) -> tuple[str, ...]:
    """The scripts in which a language is written, by its code: ("Kana", "Han") for "ja"; () where it is not known.

    A script subtag wins: "sr-Latn" is Latin.
    """
    base, *subtags = language.replace("_", "-").split("-")
    for subtag in subtags:
        if subtag.title() in _SUBTAGS:
            return _SUBTAGS[subtag.title()]
    base = base.lower()
    return _BY_LANGUAGE.get(_SHORT.get(base, base), ())


def script_share(text: str, language: str) -> float:
    """The share, 0 to 1, of the letters of `text` that are in a script of `language`; 1 where either is unknown."""
    pattern = _script_run(scripts_of_cached(language))
    if pattern is None:
        return 1.0
    others = pattern.sub("", text)
    inside = len(text) - len(others)
    outside = len(others) - len(_LETTER_RUN.sub("", others))
    return inside / (inside + outside) if inside + outside else 1.0


def has_letters(text: str) -> bool:
    """Whether there is a letter of any script in `text`."""
    return _LETTER_RUN.search(text) is not None


scripts_of_cached = functools.cache(scripts_of)


@functools.cache
def _script_run(scripts: tuple[str, ...]) -> re.Pattern[str] | None:
    ranges = [f"{chr(low)}-{chr(high)}" for script in scripts for low, high in RANGES[script]]
    return re.compile(f"[{''.join(ranges)}]+") if ranges else None
