# ruff: noqa: INP001, T201 - a script beside the pages it reads, not a package
"""Length and reading grade of the pages of instructions, and sentences drawn from them to read aloud.

    .venv/bin/python docs/reading.py                       a line a page: words, grade
    .venv/bin/python docs/reading.py --draw 60 --seed 7    sentences, each with its page

The grade is Flesch and Kincaid's (1975): 0.39 words per sentence + 11.8 syllables per word - 15.59, the
American school year that reads the text without effort. It counts prose alone: no front matter, code, tables,
pictures or headings. A link counts by its text; an inline name or a figure has one syllable. A list's item
is a sentence. (The package ``textstat`` fetches its dictionary from the network, so it cannot be locked.)
"""

import argparse
import random
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parent
NOT_INSTRUCTIONS = (
    "reference/",
    "evidence/",
    "developing/decisions/",
    "start/migration.md",
    "start/what-works.md",
    "index.md",
)
"""Pages to look things up in: names, measurements, decisions, old names, the front page."""
MOST_WORDS = 1_200
MOST_GRADE = 10.0
ABBREVIATION = re.compile(r"\b(e\.g|i\.e|vs|cf|No|St|Mr)\.$")


def instruction_pages() -> list[Path]:
    """Return the pages that tell a reader what to do or how it works."""
    pages = sorted(DOCS.rglob("*.md"))
    return [page for page in pages if not str(page.relative_to(DOCS)).startswith(NOT_INSTRUCTIONS)]


def without_front_matter(text: str) -> str:
    """Return a page's text without the lines that only the site reads."""
    return re.sub(r"\A---\n.*?^---\n", "", text, flags=re.DOTALL | re.MULTILINE)


def words_of(text: str) -> int:
    """Return the number of a page's words, code and tables included."""
    return len(without_front_matter(text).split())


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a page's prose."""
    text = re.sub(r"^```.*?^```$", "\n", without_front_matter(text), flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->|^ {4,}\S.*$|^#.*$|^\s*\|.*$|^!\[.*$|^>.*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*(?:[-*]|\d+\.)\s+", "\n\n", text, flags=re.MULTILINE)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    for paragraph in re.split(r"\n\s*\n", text):
        plain = " ".join(paragraph.replace("**", "").replace("*", "").split())
        start = 0
        for end in re.finditer(r"(?<=[.!?])\s+(?=[A-Z`\"(–−0-9])|$", plain):
            if ABBREVIATION.search(plain[: end.start()]):
                continue
            sentence = plain[start : end.start()].strip()
            start = end.end()
            if len(sentence.split()) > 1:
                yield sentence


def plain_words(sentence: str) -> list[str]:
    """Return a sentence's words; an inline name stands as ``x``."""
    return re.findall(r"[A-Za-z0-9][\w'.,/−-]*", re.sub(r"`[^`]*`", "x", sentence))


def syllables(word: str) -> int:
    """Return the syllables by groups of vowels, silent endings left out; a figure has one."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    if not letters or any(sign.isdigit() for sign in word):
        return 1
    groups = len(re.findall(r"[aeiouy]+", letters))
    if re.search(r"[^aeiouylr]e$|[^aeiouy][lr]{2}e$|[aeiouy][lr]e$|[^aeioutd]ed$|[^aeiouscxzg]es$", letters):
        groups -= 1
    groups += len(re.findall(r"ia[^l]|ie[tn]|io[^nu]|[^q]ua[lt]|eo[^u]|iu", letters))
    return max(1, groups)


def grade(text: str) -> float:
    """Return the grade of a page's prose."""
    found = [words for sentence in sentences(text) if (words := plain_words(sentence))]
    count = sum(len(words) for words in found)
    if not count:
        return 0.0
    sounds = sum(syllables(part) for words in found for word in words for part in re.split(r"[-/−]", word))
    return 0.39 * count / len(found) + 11.8 * sounds / count - 15.59


def drawn(number: int, seed: int) -> list[tuple[str, str]]:
    """Return sentences of at least four words drawn from all pages, each with its page."""
    all_of_them = [
        (str(page.relative_to(DOCS)), sentence)
        for page in instruction_pages()
        for sentence in sentences(page.read_text("utf-8"))
        if len(plain_words(sentence)) >= 4
    ]
    return random.Random(seed).sample(all_of_them, number)  # noqa: S311 - a sample of sentences, no secret


def main(arguments: Sequence[str]) -> int:
    """Print the figures of each page, or the drawn sentences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--draw", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.draw:
        for place, sentence in drawn(options.draw, options.seed):
            print(f"{place}: {sentence}")
        return 0
    for page in instruction_pages():
        text = page.read_text("utf-8")
        print(f"{words_of(text):5d} {grade(text):5.1f}  {page.relative_to(DOCS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
