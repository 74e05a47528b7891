"""One small file of every format, written by hand."""

WIKI = (
    "sentence\tsubj_idx\tverb_idx\tverb_pos\tverb\tinflected_verb\n"
    "the keys to the NN are here .\t1\t5\tVBP\tare\tis\n"
    "a `` NN '' VBZ .\t2\t4\tVBZ\tabuts\tabut\n"
    'the band is a " NN " .\t1\t2\tVBZ\tIs\tAre\n'
    "NNS lie still .\t0\t1\tVBP\tlie\tlie\n"
)
UD = (
    "sent_id\tsentence\tsubj_idx\tverb_idx\tverb_pos\tverb\tinflected_verb\tsubj_pos\tn_intervening"
    "\tn_diff_intervening\tlast_intervening\tdistance\n"
    "a-1\tthe keys to the cabinet are here .\t1\t5\tVBP\tare\tis\tNNS\t1\t1\tNN\t4\n"
    "a-2\ti know that NN is good .\t3\t4\tVBZ\tis\tare\tNN\t0\t0\t-\t1\n"
)
FULL = (
    "sentence\torig_sentence\tverb\tverb_pos\tsubj_index\tverb_index\tn_intervening\tlast_intervening"
    "\tn_diff_intervening\tdistance\n"
    "the keys to the cabinet belie NN .\t-\tbelie\tVBP\t2\t6\t1\tNN\t1\t4\n"
    "the key belies NN .\t-\tbelies\tVBZ\t2\t3\t0\t-\t0\t1\n"
    "the key carries on .\t-\tcarries\tVBZ\t2\t3\t0\t-\t0\t1\n"
)
CLAY = (
    "sentence\tverb_idx\tverb_pos\tverb\tpast_form\torigin_split\tn_intervening\tsubject_number\n"
    "The Key opens doors .\t2\tVBZ\topens\topened\ttrain\t0\tSing\n"
    "The keys of NASA open doors .\t4\tVBP\topen\topened\ttrain\t-\t-\n"
)
WIKED = (
    "sentence\tverb_idx\tverb_pos\tverb\tshown_wrong_verb\torigin_split\nAmong them ARE two .\t2\tVBP\tare\tis\ttrain\n"
)
NUMPRED = "VBP\tthe keys to the NN\nVBZ\tthe NN '' of keys\n"
TEXT = "the keys to the cabinet are here . <eos>\nthe key Is here . <eos>\n"
GOLD = "5\tare\tis\t1\n2\tIs\tAre\t0\n"
NONCE_TEXT = 'The ways to run in fifty surrounds " NN " . <eos>\n'
NONCE_GOLD = (
    "L!N\t1\t7\t6\tVERB\tMood=Ind|Number=Plur|Tense=Pres\trepresent\trepresents\trepresent\t1\tNOUN\tThe ways\n"
)
BLIMP = (
    '{"sentence_good": "A niece of most senators hasn\'t left, Al.", "sentence_bad": '
    '"A niece of most senators haven\'t left, Al.", "linguistics_term": "subject_verb_agreement", "UID": "one"}\n'
    '{"sentence_good": "The women meet Kim\'s dog.", "sentence_bad": "The woman meet Kim\'s dog.", "two_prefix_word": '
    '"meet", "two_prefix_prefix_good": "The women", "linguistics_term": "subject_verb_agreement", "UID": "two"}\n'
    '{"sentence_good": "The man singing.", "sentence_bad": "The men singing.", "two_prefix_word": '
    '"singing", "two_prefix_prefix_good": "The man", "linguistics_term": "subject_verb_agreement", "UID": "two"}\n'
    '{"sentence_good": "Who left?", "sentence_bad": "Whom left?", "linguistics_term": "filler_gap", "UID": "x"}\n'
)
MARVIN = (
    "template\tcase\tgrammatical\tungrammatical\n"
    "prep_anim\tplur_MS_MV_sing_ES\tthe authors next to the guard laugh\tthe authors next to the guard laughs\n"
    "obj_rel_within_anim\tsing_ES_EV_plur_MS_MV\tthe authors that the guard likes laugh"
    "\tthe authors that the guard like laugh\n"
    "long_vp_coord\tsing_MS_LMV_LMV\tthe author knows art and likes it\tthe author knows art and like it\n"
    "reflexives_across\tsing_MS\tthe author hurt himself\tthe author hurt themselves\n"
)
LAKRETZ = (
    "The athlete near the cars approves\tsingular_plural\tcorrect\tid1\n"
    "The athlete near the cars approve\tsingular_plural\twrong\tid1\n"
    "The women knows\tplural\twrong\tid2\n"
    "The women know\tplural\tcorrect\tid2\n"
)

FILES = {
    "wiki": {"wiki-dev.txt": WIKI},
    "ud": {"ewt.tsv": UD},
    "full": {"agr_50_mostcommon_10K.tsv": FULL},
    "clay": {"clay.tsv": CLAY},
    "wiked": {"wiked.tsv": WIKED},
    "numpred": {"numpred.test.2": NUMPRED},
    "gulordava": {"subj_agr_filtered.text": TEXT, "subj_agr_filtered.gold": GOLD},
    "nonce": {"generated.text": NONCE_TEXT, "generated.gold": NONCE_GOLD},
    "blimp": {"some.jsonl": BLIMP},
    "marvin-linzen": {"lm.tsv": MARVIN},
    "lakretz": {"nounpp.txt": LAKRETZ},
}
