"""The rules of the generated corpus: edit here to change its grammar. The words are in `grammar_words.py`.

In a table every entry has its weight; the weights of a table sum to 100. In a rule capitals are symbols, the rest are
words:

NP, PERSON      determiner, adjectives, a noun (that is a person), and what hangs on that noun
BOTH            a noun, "and", an NP; it is plural
NAME            of a person; no noun, singular
REL             that, which or who, as fits the noun that the rule hangs on
VT, VI          verbs with an object and without
REPORT          a verb that takes "that" and a sentence
BE, HAVE        their two forms
ADJECTIVE, PREPOSITION, PLACE (a preposition of place), ADVERB, MANNER, OPENER, CONJUNCTION      one such word

A verb agrees with the nearest NP, PERSON, BOTH or NAME before it in its rule, or else with the noun that the rule hangs
on. Inside "that NP VT" nothing else hangs on a noun but a preposition and a noun: deeper nesting would be English only
in theory.
"""

SINGULAR = 68  # per cent of subjects and of free nouns; in a controlled group half of the subjects
PERSONS = 40  # per cent of nouns that are persons
ADVERB_BEFORE_VERB = 5  # per cent

# (nouns between subject and verb, those of the other number): share of the natural mix
BETWEEN = {
    **{(0, 0): 77.5, (1, 0): 11.0, (2, 0): 3.2, (3, 0): 1.2, (4, 0): 0.4, (5, 0): 0.15, (6, 0): 0.05},
    **{(1, 1): 3.4, (2, 1): 1.2, (3, 1): 0.3, (4, 1): 0.1},
    **{(2, 2): 0.7, (3, 2): 0.2, (4, 2): 0.1},
    **{(3, 3): 0.2, (4, 3): 0.05, (4, 4): 0.12, (5, 5): 0.06, (6, 3): 0.07},
}

# what hangs on a noun when 0, 1, or at least 2 more nouns must come before the verb; more go into the rule's last NP
MODIFIERS = (
    {"": 90, "PREPOSITION NAME": 3, "REL VI": 2, "REL ADVERB VI": 1, "REL VT NAME": 2, "REL NAME VT": 2},
    {"PREPOSITION NP": 72, "REL VT NP": 12, "REL ADVERB VT NP": 2, "REL VI PLACE NP": 4, "REL NP VT": 10},
    {
        "PREPOSITION NP": 46,
        "PREPOSITION BOTH": 20,
        "REL VT NP": 14,
        "REL VT BOTH": 6,
        "REL NP VT": 10,
        "REL BOTH VT": 4,
    },
)

BEFORE = {
    **{"": 62, "OPENER ,": 6, "PLACE NP ,": 11, "PLACE NP PREPOSITION NP ,": 4, "PLACE BOTH ,": 1},
    **{"CONJUNCTION NP VI ,": 3, "CONJUNCTION NP VT NP ,": 3, "CONJUNCTION NP BE ADJECTIVE ,": 2},
    **{"NAME REPORT that": 3, "PERSON REPORT that": 4, "OPENER , NAME REPORT that": 1},
}

# begins with the verb that agrees with the subject
PREDICATE = {
    **{"BE ADJECTIVE": 14, "BE ADVERB ADJECTIVE": 4, "BE PLACE NP": 10, "BE ADJECTIVE PLACE NP": 4},
    **{"HAVE NP": 10, "HAVE NP PREPOSITION NP": 4, "VT NP": 24, "VT NP PREPOSITION NP": 8, "VT BOTH": 3, "VT NAME": 3},
    **{"VI": 5, "VI MANNER": 5, "VI PLACE NP": 6},
}

AFTER = {
    **{"": 80, "CONJUNCTION NP VI": 4, "CONJUNCTION NP VT NP": 4, "CONJUNCTION NP BE ADJECTIVE": 3},
    **{", and NP VI": 3, ", but NP VT NP": 3, ", and NP HAVE NP": 3},
}

ADJECTIVES = {0: 74, 1: 23, 2: 3}  # how many before a noun
RELATIVES = {False: {"that": 80, "which": 20}, True: {"that": 50, "who": 50}}  # of things, of persons
