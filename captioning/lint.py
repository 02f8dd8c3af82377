"""What is wrong with the wording of a caption: pure functions on text, no model.

A generator learns the words that it is trained on, so a caption should say what is seen and nothing
else. The rewriting prompt of VideoX-Fun and EasyAnimate (video_caption/prompt/rewrite.txt) names
three faults: openings such as "the video shows", subjective remarks, and statements of what is not
there; doubt is a fourth. The lists are English and match whole words, in upper or lower case; a
text in another language hits nothing, which is why `verify` tells the language beside them.

Entries are regular expressions. They are phrases rather than words wherever the word alone is also
used for what is seen: a man "appears from behind a door", "in May", "with all his might".
"""

import re
from collections.abc import Sequence
from typing import Literal

Kind = Literal["stock_phrases", "opinions", "mentions_medium", "uncertain"]

CHAT = (
    r"as an ai",
    r"i(?:'m| am) (?:sorry|unable)",
    r"i (?:cannot|can't)",
    r"^sure(?:,|!| thing| here)",
    r"^certainly[,!]",
    r"here(?:'s| is) (?:a|an|the|your) (?:\w+ )?(?:caption|description|summary)",
    r"(?:this|the) (?:description|caption) (?:is|does|includes?|focuses)",
    r"(?:it is|it's) (?:important|worth|interesting) (?:to note|noting|mentioning)",
)
"""A chat model that talks about its answer."""

STOCK_PHRASES = (
    *CHAT,
    # what is not there (VideoX-Fun's third rule)
    r"there (?:is|are) no",
    r"no (?:(?:other|visible|discernible|apparent|additional) )+"
    r"(?:text|people|person|details?|objects?|elements?|movements?|motion|features?)",
    r"no (?:text|details?|people|one|objects?) (?:is|are) (?:visible|present|shown)",
    r"(?:is|are) not (?:visible|shown|present|specified|mentioned)",
    r"(?:cannot|can't|can not) be (?:seen|observed)",
    # that it can be seen, which goes without saying
    r"(?:can|could) be (?:seen|observed|noticed)",
    r"(?:we|you) (?:can |could |may )?(?:see|observe|notice)",
    r"(?:is|are) (?:clearly |also |prominently )?(?:depicted|pictured|showcased)",
    # summaries and padding
    r"overall(?:,| the)",
    r"in (?:summary|conclusion|essence)",
    r"the overall \w+",
    r"add(?:s|ing) (?:a touch|an element|a layer|depth|to the)",
    r"contribut(?:es?|ing) to the",
    r"enhanc(?:es?|ing) the (?:overall|visual|scene|mood|atmosphere)",
    r"serv(?:es?|ing) as (?:a|the) (?:\w+ )?(?:backdrop|background|reminder|testament)",
    r"a testament to",
    r"captur(?:es?|ing) the (?:essence|moment|spirit)",
    r"(?:highlight|emphasi[sz]|underscor|accentuat)(?:e?s|ing) (?:the|its|their) (?:\w+ )?"
    r"(?:essence|importance|contrast|simplicity|vastness|intimacy|comfort)",
    r"showcas(?:es?|ing)",
    r"a (?:rich )?tapestry of",
    r"hustle and bustle",
    r"attention to detail",
    r"visually (?:appealing|striking|stunning|engaging|interesting)",
)
"""Filler of vision-language models. What is not there is VideoX-Fun's third rule; the words are
ours, of what such models write."""

OPINIONS = (
    # praise and blame: "Words to watch" of Wikipedia's Manual of Style (puffery), and synonyms that
    # captions use
    r"(?:breath-?taking|stunning|gorgeous|magnificent|spectacular|marvell?ous)(?:ly)?",
    r"(?:beautiful|wonderful|delightful|lovely|charming|adorable|exquisite)(?:ly)?",
    r"(?:amazing|astonishing|incredible|unbelievable|extraordinary|remarkable|phenomenal)(?:ly)?",
    r"(?:incredibly|remarkably|unbelievably|phenomenally)",
    r"(?:captivating|mesmeri[sz]ing|enchanting|fascinating|intriguing)(?:ly)?",
    r"(?:impressive|awe-?inspiring|iconic|legendary|unforgettable|memorable|unique)(?:ly)?",
    r"(?:majestic|majestically|picturesque|striking (?:contrast|appearance|beauty|view|sight))",
    r"(?:beauty|majesty|grandeur|splendou?r)(?! (?:salon|pageant|product|queen|shop)s?\b)",
    r"(?:fantastic|fabulous|awesome|excellent|superb|outstanding|world-class)",
    r"(?:horrible|horribly|terrible|terribly|awful|ugly|boring|disgusting|unpleasant)",
    r"(?:perfect|flawless)(?:ly)?",
    r"(?:interesting|pleasing)(?:ly)?",
    r"(?:heart-?warming|thought-?provoking|eye-?catching)",
    # what it is meant to do to a viewer (VideoX-Fun's second rule: "it gives a feeling of ...")
    r"evok(?:es?|ing)",
    r"(?:creat|convey|giv|lend|provid|offer|impart|add|exud)(?:es?|s|ing) "
    r"(?:an? |the |it )?(?:\w+,? ){0,4}?(?:atmosphere|ambian?ce|mood|vibe|feel|feeling)(?! of\b)",
    # a sense of depth or speed is seen, one of wonder is felt
    r"a (?:\w+ )?(?:sense|feeling) of (?!(?:\w+ and )?"
    r"(?:depth|scale|perspective|motion|movement|speed|space|direction|rhythm)\b)\w+",
    r"mak(?:es?|ing) (?:people|viewers|the viewer|one|you|us) feel",
)
"""Judgements of taste, and claims about what a viewer feels."""

_ARTICLE = r"(?:the|this|that|these|each|an?|another|our)"
_ADJECTIVE = r"(?!(?:the|an?|his|her|their|its|of|in|on|with|and|by|at|from|to)\b)[\w-]+ "
_FILM = r"(?:image|photo|photograph|screenshot|video|clip|footage|animation)s?"
_MEDIUM = rf"(?:{_FILM}|(?:picture|film|recording|sequence|shot|scene)s?)"
_SHOWS = (
    r"(?:\w+ly |then |also |now )?"
    r"(?:(?:show|depict|display|captur|featur|present|portray|showcas|illustrat|open|begin|start"
    r"|end|conclud|transition|shift|focuss?|consist|contain|reveal|highlight|provid|offer|unfold)"
    r"(?:e?s|ing)|begins? with|tak(?:es|ing) place)"
)
# a video call and a picture book are things that are seen
_NOT_A_THING = (
    r"(?! (?:game|call|conference|screen|wall|camera|crew|album|book|frame|booth|studio|editor"
    r"|player|projector|board|arcade)s?\b)"
)
MENTIONS_MEDIUM = (
    rf"{_ARTICLE} (?:{_ADJECTIVE}){{0,2}}{_MEDIUM}(?: {_FILM})? {_SHOWS}",
    r"(?:the|this|each|that) (?:\w+ )?(?:frame|still) "
    r"(?:show|depict|captur|display|reveal|transition|focuss?)(?:e?s|ing)",
    r"(?:the|these) (?:\w+ )?(?:image|photo|photograph|screenshot|video|clip|picture|frame|scene"
    r"|shot|still)s (?:show|depict|capture|display|feature|present|portray|reveal)",
    # at the beginning of a text, with or without an article: "Video showing ...", "A photo of ..."
    rf"^(?:{_ARTICLE} )?(?:{_ADJECTIVE}){{0,3}}?(?:picture|film|{_FILM})(?: clip)? (?:of|{_SHOWS})",
    r"(?:in|throughout|of|from|over|across|during|within) (?:the|this|these) "
    rf"(?:\w+ )?(?:picture|{_FILM}){_NOT_A_THING}",
    r"(?:the|this) (?:video|image|footage|animation) (?:is|was|does not|appears|seems)",
    # "in the frame" is a place, "in the first frame" is not
    r"(?:in|by|from|throughout|across|between|over) (?:this|the first|the last|the final|each|all)"
    rf"(?: of)?(?: the)? (?:frame|still|shot|scene|sequence|film)s?{_NOT_A_THING}",
    r"(?:the viewers?|viewers)(?:'s?)?",
)
"""That there is a picture, instead of what is in it (VideoX-Fun's first rule)."""

_SOMEWHERE = r"(?! (?:the|an?|his|her|their|its|our|my|one|him|them|camera|left|right)\b)"
UNCERTAIN = (
    # Hyland, "Hedging in Scientific Research Articles", 1998: epistemic lexical verbs, adverbs,
    # adjectives and modals. His approximators ("about", "several") are left out: a number of things
    # is seen by about
    rf"appear(?:s|ed|ing)? to{_SOMEWHERE}",
    r"seem(?:s|ed|ing)?",
    r"look(?:s|ed|ing)? to (?:be|have)",
    r"(?:appear|look)(?:s|ed|ing)? as (?:if|though)",
    r"appear(?:s|ed)? (?:somewhat|slightly|quite|like)",
    r"(?:what|it|he|she|they|this|that|which) looks? like",
    r"suggest(?:s|ed|ing|ive)?",
    r"(?:imply|implies|implying|indicat(?:es|ing) that|hint(?:s|ing)? (?:at|that))",
    r"(?:possibly|perhaps|maybe|probably|presumably|apparently|seemingly|supposedly|potentially)",
    r"(?:conceivably|ostensibly|plausibly|arguably|allegedly)",
    r"(?:un)?likely",
    r"(?:may|might|could)(?: also| not| well)? (?:be|have|indicate|suggest|represent|mean|refer)"
    r"(?! (?:seen|observed|noticed)\b)",
    r"(?:possible|probable) that",
    r"(?:unclear|uncertain|unidentifi(?:ed|able)|undetermined|indeterminate)",
    r"not (?:entirely )?clear (?:if|whether|what|who|which|how|where)",
    r"(?:hard|difficult|impossible) to (?:tell|say|determine|discern|identify)",
    r"(?:cannot|can't|can not|could not|couldn't) be (?:determined|identified|discerned)",
    r"some (?:kind|sort|type) of",
    r"(?:assumed|presumed|supposed|believed|thought) to (?:be|have)",
    r"(?:i|we) (?:think|believe|assume|guess)",
)
"""Doubt about what is seen: a caption is trained on as a fact."""


def _pattern(phrases: Sequence[str]) -> re.Pattern[str]:
    # a comma or an exclamation mark may end a phrase, after which there is no word boundary
    return re.compile(rf"(?<!\w)(?:{'|'.join(phrases)})(?!\w)", re.IGNORECASE)


_LISTS: dict[Kind, Sequence[str]] = {
    "stock_phrases": STOCK_PHRASES,
    "opinions": OPINIONS,
    "mentions_medium": MENTIONS_MEDIUM,
    "uncertain": UNCERTAIN,
}
KINDS: dict[Kind, re.Pattern[str]] = {kind: _pattern(phrases) for kind, phrases in _LISTS.items()}
_CHAT = _pattern(CHAT)

_ONE_CHARACTER_WORDS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_ONE_CHARACTER_WORDS}]|[^\s{_ONE_CHARACTER_WORDS}]+")
GRAM_WORDS = 4


def hits(kind: Kind, text: str) -> list[str]:
    """The phrases of one kind in the text, as they stand there, in order, none inside another."""
    return [match.group() for match in KINDS[kind].finditer(_plain_quotes(text))]


def begins_with_chat(text: str) -> bool:
    """Whether a chat model talks to us where the answer should begin."""
    return _CHAT.match(_plain_quotes(text)) is not None


def _plain_quotes(text: str) -> str:
    return text.replace("\u2019", "'")


def words(text: str) -> list[str]:
    """The words of a text: what stands between spaces and holds a letter or a digit.

    Of the scripts that put no spaces (Chinese, Japanese) every character counts as a word.
    """
    return [token for token in _TOKEN.findall(text) if any(c.isalnum() for c in token)]


def repetition(text: str) -> float:
    """How much of the text repeats itself, 0 to 1.

    The share of its 4-grams of words that occurred before (seq-rep-4 of Welleck et al. 2020,
    "Neural Text Generation with Unlikelihood Training") or, where that is more, the share of words
    that repeat the one before them: so a short run of one word counts, too.
    """
    plain = [word.strip(".,;:!?\"'()").lower() for word in words(text)]
    if not plain:
        return 0.0
    grams = [tuple(plain[i : i + GRAM_WORDS]) for i in range(len(plain) - GRAM_WORDS + 1)]
    again = 1 - len(set(grams)) / len(grams) if grams else 0.0
    runs = sum(a == b for a, b in zip(plain, plain[1:], strict=False)) / len(plain)
    return max(again, runs)
