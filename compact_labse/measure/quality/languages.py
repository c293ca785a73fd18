"""Language sets of the evaluation data, and one code per language across them.

Tatoeba names languages by ISO 639-3, everything else here by two letters; `canonical` makes the names comparable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

# The languages that the multilingual Universal Sentence Encoder supports, as the LaBSE paper reports them.
_TATOEBA_14 = "ara cmn deu fra ita jpn kor nld pol por rus spa tha tur"
_TATOEBA_36 = (
    "ara heb vie ind jav tgl eus mal tel ben hin mar urd pes kat kor spa por ita fra ell rus tha nld deu afr jpn bul "
    "est fin hun tur swh kaz cmn tam"
)
_WITHOUT_TRAINING_PAIRS = "jav tgl eus mal kat afr kaz"
_TATOEBA_112 = (
    "afr amh ang ara arq arz ast awa aze bel ben ber bos bre bul cat cbk ceb ces cha cmn cor csb cym dan deu dsb dtp "
    "ell epo est eus fao fin fra fry gla gle glg gsw heb hin hrv hsb hun hye ido ile ina ind isl ita jav jpn kab kat "
    "kaz khm kor kur kzj lat lfn lit lvs mal mar max mhr mkd mon nds nld nno nob nov oci orv pam pes pms pol por ron "
    "rus slk slv spa sqi srp swe swg swh tam tat tel tgl tha tuk tur tzl uig ukr urd uzb vie war wuu xho yid yue zsm"
)

TATOEBA_SETS: dict[str, tuple[str, ...]] = {
    "14": tuple(_TATOEBA_14.split()),
    "29": tuple(code for code in _TATOEBA_36.split() if code not in _WITHOUT_TRAINING_PAIRS.split()),
    "36": tuple(_TATOEBA_36.split()),
    "112": tuple(_TATOEBA_112.split()),
}
_PUD_17 = "ar cs de es fi fr hi id it ko pl pt ru sv th tr zh"
PUD_17: tuple[str, ...] = tuple(_PUD_17.split())

_CODES = (
    "afr:af amh:am ara:ar aze:az bel:be ben:bn bos:bs bre:br bul:bg cat:ca ces:cs cmn:zh cor:kw cym:cy dan:da "
    "deu:de ell:el eng:en epo:eo est:et eus:eu fao:fo fin:fi fra:fr fry:fy gla:gd gle:ga glg:gl heb:he hin:hi "
    "hrv:hr hun:hu hye:hy ido:io ile:ie ina:ia ind:id isl:is ita:it jav:jv jpn:ja kat:ka kaz:kk khm:km kor:ko "
    "kur:ku lat:la lit:lt lvs:lv mal:ml mar:mr mkd:mk mon:mn nld:nl nno:nn nob:no oci:oc pes:fa pol:pl por:pt "
    "ron:ro rus:ru slk:sk slv:sl spa:es sqi:sq srp:sr swe:sv swh:sw tam:ta tat:tt tel:te tgl:tl tha:th tuk:tk "
    "tur:tr uig:ug ukr:uk urd:ur uzb:uz vie:vi xho:xh yid:yi zsm:ms nb:no"
)
_TWO_LETTERS = dict(pair.split(":") for pair in _CODES.split())


def canonical(code: str) -> str:
    """Two letters where the language has them: `deu`, `de` and `de-AT` are `de`; others keep their three letters."""
    base = code.split("-")[0].split("_")[0].lower()
    return _TWO_LETTERS.get(base, base)


def untrained(languages: Iterable[str], trained: Iterable[str] | None) -> tuple[str, ...]:
    """Those of `languages` that the model never saw; nothing when its training languages are not known."""
    if trained is None:
        return ()
    seen = {canonical(code) for code in trained} | {"en"}
    return tuple(code for code in languages if canonical(code) not in seen)


def covered_sets(languages: Iterable[str], sets: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The named sets of which every language is in `languages`: only their means may be quoted."""
    present = set(languages)
    return {name: members for name, members in sets.items() if present.issuperset(members)}
