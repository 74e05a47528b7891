"""The words of the generated corpus, most frequent first: edit here to change its vocabulary.

A noun or verb written once is regular: the other number adds -s, -es or -ies, for nouns in the plural and for verbs
in the singular. An irregular one is written singular/plural. No form belongs to two of the lists of nouns, verbs,
adjectives and names, and no noun looks alike in both numbers, so the facts of a sentence can be checked from its words
alone. No word begins with a vowel letter that is not spoken as one ("union", "hour"): "a" or "an" follows the letter.
"""

PEOPLE = """
man/men woman/women child/children student teacher person/people boss doctor king girl writer lady player
actress author boy artist friend member princess leader policeman/policemen mother father soldier farmer
witness brother sister officer wife/wives gentleman/gentlemen judge lawyer actor singer waitress neighbor
daughter son worker visitor thief/thieves scientist hero/heroes nurse engineer hostess baby owner guest uncle
aunt fisherman/fishermen driver poet painter alumnus/alumni professor captain prince priest duchess mayor
secretary senator minister critic editor expert salesman/salesmen tourist sailor pilot goddess musician
customer manager director enemy citizen chairman/chairmen countess hunter librarian politician dancer spy
baker gardener prisoner servant stranger craftsman/craftsmen bishop monk clerk physician orphan partner seamstress
rival ally merchant banker architect champion athlete candidate philosopher historian butcher tailor beggar
infant immigrant teenager deputy colleague magician governess chemist builder refugee
"""

THINGS = """
house city bus car dog class school tree river book mouse/mice game family church cat process team bird song
company crisis/crises door foot/feet village party horse glass story letter garden leaf/leaves picture road
dress island bridge phenomenon/phenomena kitchen army window tooth/teeth key table virus station bed wolf/wolves
country mountain castle basis/bases temple theory campus museum knife/knives criterion/criteria machine forest
goose/geese hospital chair novel address tower bottle lens/lenses battle law fungus/fungi shelf/shelves factory
library theater gas/gases poem farm analysis/analyses ship apple ox/oxen egg lake valley chorus prize
bacterium/bacteria college train airport opera hypothesis/hypotheses coin bag shoe box hat circus newspaper
magazine journal photo painting album loaf/loaves guitar piano stimulus/stimuli violin drum bonus medal cup
lamp candle canvas mirror carpet cabinet curtain basket cactus/cacti blanket pillow fortress roof wall fence
gate matrix/matrices tunnel cave thesis/theses hill cliff desert mattress ocean beach harbor calf/calves boat
wagon bicycle nucleus/nuclei rocket engine wheel axis/axes tire compass ticket menu sandwich potato/potatoes
tomato/tomatoes formula/formulae onion carrot oasis/oases lemon orange cake cookie antenna/antennae pie bowl plate
fork spoon atlas pot oven medium/media fridge rabbit larva/larvae fox lion tiger elephant index/indices monkey
snake spider curriculum/curricula insect butterfly iris alga/algae eagle owl penguin dolphin whale shark vertex/vertices
turtle frog lizard radius/radii idea problem rule appendix/appendices lesson method model agreement treaty tax
election institution committee agency treasury ministry bacillus/bacilli province district county kingdom empire colony
continent planet star comet moon galaxy telescope microscope battery cable antibody cell gene molecule
"""

# take an object
TRANSITIVE = """
need see follow know contain support make include take carry find possess bring keep describe replace reach
hold meet cover admire love catch protect miss teach remember avoid ignore discuss build hate affect pass
understand approach surround enjoy destroy observe inspire embarrass annoy chase fear choose recognize bother
impress defend represent lose threaten resemble forget invite undergoes/undergo join greet assist push
harass encourage investigate hide attract criticize trust confuse accompany envy examine outnumber pursue
satisfy stress attack welcome obey bless frighten offend distract amuse worry terrify accept deny reject
precede imitate overlook promote tolerate bury delay entertain dismiss crush repair guess mention
"""

INTRANSITIVE = """
arrive return appear exist grow change stay goes/go wait move travel disappear succeed suffer sleep happen
depart vanish improve decline survive listen emerge smile collapse progress hesitate relax recover tremble
linger wander participate fail die agree disagree compete matter prosper perish arise shrink coexist sing
"""

# take a sentence; their subjects are people
REPORT = "say believe think claim argue insist suspect hope confess suggest"

BE = "is/are"
HAVE = "has/have"

NAMES = """
anna john maria peter emma paul julia david laura robert alice thomas clara james sophie daniel
elena oscar charles nora agnes victor louis irene boris frances simon hugo doris marcus
"""

ADJECTIVES = """
old new large small young good important local early famous long strange public happy modern poor beautiful
grand quiet dark special national heavy tall empty rich simple private angry ancient expensive tired
strong red cold clever green dangerous broken foreign brave rural popular white lonely royal ugly black helpless
serious careful warm proud impressive gentle blue nervous sudden rare obvious ordinary silent hungry narrow bright
worthless curious awful elegant jealous remote enormous cautious fragile wooden noisy loyal sleepy precious
endless anxious wild polite ambitious cruel generous humble fierce clumsy
"""

PREPOSITIONS = "of in near with from for behind on beside at under about around above without against beyond"

PLACES = "in near behind beside at on under around above beyond"  # prepositions that also tell where a thing happens

# between subject and verb
ADVERBS = """
often usually also still always rarely never probably now really generally frequently clearly sometimes certainly
currently seldom normally barely apparently obviously hardly
"""

# after the verb
MANNERS = "slowly quickly again here quietly there gradually suddenly everywhere easily"

OPENERS = "however today therefore meanwhile nowadays indeed nevertheless moreover fortunately unfortunately perhaps"

CONJUNCTIONS = "because when although if while unless since"

# by number; "" is no determiner at all
SINGULAR_DETERMINERS = {"the": 46, "a": 24, "this": 6, "his": 4, "her": 4, "their": 3, "our": 3, "every": 3}
SINGULAR_DETERMINERS |= {"each": 2, "one": 2, "another": 2, "no": 1}
PLURAL_DETERMINERS = {"the": 46, "": 20, "these": 6, "his": 3, "her": 3, "their": 3, "our": 3, "some": 4, "many": 4}
PLURAL_DETERMINERS |= {"two": 2, "several": 2, "all": 1, "three": 1, "those": 1, "no": 1}


def pairs(text: str) -> list[tuple[str, str]]:
    """(singular, plural) of every noun in `text`."""
    return [_split(word) if "/" in word else (word, with_s(word)) for word in text.split()]


def verb_pairs(text: str) -> list[tuple[str, str]]:
    """(singular, plural) of every verb in `text`; a regular verb is written in the plural, an irregular one in both."""
    return [_split(word) if "/" in word else (with_s(word), word) for word in text.split()]


def with_s(word: str) -> str:
    """The regular plural of a noun, which is spelled as the singular of a verb: cat-s, box-es, city, citi-es."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _split(word: str) -> tuple[str, str]:
    singular, plural = word.split("/")
    return singular, plural
