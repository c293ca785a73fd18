"""A made-up corpus that a tiny student learns in seconds: English sentences, word for word in German and Russian."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

SUBJECTS = ["the cat", "the dog", "a bird", "my sister", "our teacher", "the baker", "a child", "the driver"]
VERBS = ["sees", "likes", "paints", "carries", "forgets", "buys"]
OBJECTS = ["the house", "an apple", "a red car", "old books", "the river", "fresh bread", "two lamps", "a letter"]
ENDS = ["today", "in the morning", "near the station", "without a word"]
GERMAN = dict(
    zip(
        SUBJECTS + VERBS + OBJECTS + ENDS,
        "die Katze,der Hund,ein Vogel,meine Schwester,unser Lehrer,der Bäcker,ein Kind,der Fahrer,sieht,mag,malt,trägt,"
        "vergisst,kauft,das Haus,einen Apfel,ein rotes Auto,alte Bücher,den Fluss,frisches Brot,zwei Lampen,"
        "einen Brief,heute,am Morgen,nahe dem Bahnhof,ohne ein Wort".split(","),
        strict=True,
    )
)
RUSSIAN = dict(
    zip(
        SUBJECTS + VERBS + OBJECTS + ENDS,
        "кошка,собака,птица,моя сестра,наш учитель,пекарь,ребёнок,водитель,видит,любит,рисует,несёт,забывает,покупает,"
        "дом,яблоко,красную машину,старые книги,реку,свежий хлеб,две лампы,письмо,сегодня,утром,рядом с вокзалом,"
        "без слов".split(","),
        strict=True,
    )
)


def sentences(count: int, seed: int = 0) -> list[tuple[str, ...]]:
    """`count` different sentences as tuples of phrases."""
    every = list(itertools.product(SUBJECTS, VERBS, OBJECTS, ENDS))
    return random.Random(seed).sample(every, count)


def write_corpus(folder: Path, count: int = 300) -> Path:
    """`en-de.tsv` with `count` pairs and `en-ru.tsv` with half as many."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, words, share in (("de", GERMAN, 1), ("ru", RUSSIAN, 2)):
        rows = sentences(count // share)
        lines = [f"{' '.join(row)}\t{' '.join(words[phrase] for phrase in row)}\n" for row in rows]
        (folder / f"en-{name}.tsv").write_text("".join(lines), encoding="utf-8")
    return folder
