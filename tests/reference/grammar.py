"""A literal reader of generated sentences: it knows the words and English agreement, but not the generator's choices.

It reads a sentence from left to right, checks that every verb, main and embedded, agrees with its own subject and every
determiner with its noun, and counts the nouns before the verb from the words alone.
"""

from typing import NamedTuple

from distillbias.data import grammar_words as lexicon


class Facts(NamedTuple):
    verb: int
    plural: bool
    distance: int
    intervening: int
    attractors: int


def plural_by_form(pairs: list[tuple[str, str]]) -> dict[str, bool]:
    return {singular: False for singular, _ in pairs} | {plural: True for _, plural in pairs}


NOUN = plural_by_form(lexicon.pairs(lexicon.PEOPLE + lexicon.THINGS))
VERB_LISTS = {
    "VT": lexicon.TRANSITIVE,
    "VI": lexicon.INTRANSITIVE,
    "REPORT": lexicon.REPORT,
    "BE": lexicon.BE,
    "HAVE": lexicon.HAVE,
}
VERB = {
    word: (kind, plural)
    for kind, text in VERB_LISTS.items()
    for word, plural in plural_by_form(lexicon.verb_pairs(text)).items()
}
WORD_LISTS = {
    "NAME": lexicon.NAMES,
    "ADJECTIVE": lexicon.ADJECTIVES,
    "PREPOSITION": lexicon.PREPOSITIONS,
    "ADVERB": lexicon.ADVERBS,
    "MANNER": lexicon.MANNERS,
    "OPENER": lexicon.OPENERS,
    "CONJUNCTION": lexicon.CONJUNCTIONS,
    "REL": "that which who",
    "DETERMINER": "the a an this these those his her their our "
    "every each one another no some many two three several all",
}
KIND = {word: kind for kind, text in WORD_LISTS.items() for word in text.split()}
KIND |= {word: "NOUN" for word in NOUN} | {word: kind for word, (kind, _) in VERB.items()}
ONLY_SINGULAR = {"a", "an", "this", "every", "each", "one", "another"}
ONLY_PLURAL = {"these", "those", "some", "many", "two", "three", "several", "all", ""}


def read(words: list[str]) -> Facts:
    """The facts of a whole sentence; AssertionError if it is not one."""
    return Reader(words).sentence()


class Reader:
    def __init__(self, words: list[str]):
        self.words = words
        self.at = 0

    def next_is(self, *kinds: str) -> bool:
        word = self.words[self.at]
        return KIND.get(word, word) in kinds

    def take(self, *kinds: str) -> str:
        assert self.next_is(*kinds), f"{kinds} expected at {self.at}: {' '.join(self.words)}"
        self.at += 1
        return self.words[self.at - 1]

    def may_take(self, kind: str) -> bool:
        found = self.next_is(kind)
        self.at += found
        return found

    def verb(self, plural: bool, *kinds: str) -> str:
        """A verb of one of the kinds that agrees with a subject of this number; its kind."""
        kind, verb_plural = VERB[self.take(*kinds)]
        assert verb_plural == plural, f"no agreement before {self.at}: {' '.join(self.words)}"
        return kind

    def sentence(self) -> Facts:
        self.before()
        plural = self.noun()
        subject = self.at - 1
        self.modifiers(plural)
        self.may_take("ADVERB")
        verb = self.at
        self.predicate(plural)
        if self.may_take(","):
            self.take("and", "but")
            self.clause()
        elif self.may_take("CONJUNCTION"):
            self.clause()
        self.take(".")
        assert self.at == len(self.words)
        between = [NOUN[word] for word in self.words[subject + 1 : verb] if word in NOUN]
        different = [number for number in between if number != plural]
        return Facts(verb, plural, verb - subject, len(between), len(different))

    def before(self) -> None:
        if self.may_take("OPENER"):
            self.take(",")
        if self.may_take("PREPOSITION"):
            self.nouns()
            self.take(",")
        elif self.may_take("CONJUNCTION"):
            self.clause()
            self.take(",")
        elif any(KIND.get(word) == "REPORT" for word in self.words):
            self.verb(self.nouns(), "REPORT")
            assert self.take("REL") == "that"

    def clause(self) -> None:
        self.predicate(self.nouns())

    def predicate(self, plural: bool) -> None:
        kind = self.verb(plural, "BE", "HAVE", "VT", "VI")
        if kind == "BE":
            if self.may_take("ADVERB"):
                self.take("ADJECTIVE")
            else:
                self.may_take("ADJECTIVE")
        elif kind != "VI":
            self.nouns()
        elif self.may_take("MANNER"):
            return
        self.prepositions()

    def nouns(self) -> bool:
        """A name, a noun phrase, or two joined by "and"; True for plural."""
        if self.may_take("NAME"):
            return False
        plural = self.noun()
        self.modifiers(plural)
        if self.may_take("and"):
            self.nouns()
            return True
        return plural

    def noun(self) -> bool:
        """Determiner, adjectives, noun; True for plural."""
        determiner = self.take("DETERMINER") if self.next_is("DETERMINER") else ""
        if determiner in ("a", "an"):
            assert (determiner == "an") == (self.words[self.at][0] in "aeiou")
        while self.may_take("ADJECTIVE"):
            pass
        plural = NOUN[self.take("NOUN")]
        assert determiner not in (ONLY_SINGULAR if plural else ONLY_PLURAL), " ".join(self.words)
        return plural

    def modifiers(self, plural: bool) -> None:
        self.prepositions()
        if self.may_take("REL"):
            self.relative_clause(plural)

    def prepositions(self) -> None:
        while self.may_take("PREPOSITION"):
            self.nouns()

    def relative_clause(self, plural: bool) -> None:
        """After "that": its verb agrees with the noun before "that", or with a subject of its own."""
        self.may_take("ADVERB")
        if not self.next_is("VT", "VI"):
            self.verb(self.nouns(), "VT")
        elif self.verb(plural, "VT", "VI") == "VT":
            self.nouns()
        self.prepositions()
