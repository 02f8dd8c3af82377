"""What a caption says of the camera, held against what was measured (clips.camera_motion).

A text is read sentence by sentence for claims of which the camera is the subject ("the camera pans
left", "a static wide shot"). It conflicts where every claim is one that the measured class rules
out; whatever else the same sentences say of movement can only clear it, since a camera may do
several things in a clip of which the median is measured. So a text that says nothing of the camera,
or says it in words that are not understood, never conflicts.

What the measurement cannot tell is no conflict either (curation/meters/camera.py): a camera that
travels reads as a pan, tilt or zoom, or as static where what it passes is far away and what it
follows fills the picture; and between static and handheld lies only how much it shakes. The texts
are English, the terms those of cinematography: Brown, "Cinematography: Theory and Practice", 2016.
"""

import re
from collections.abc import Sequence

PAN = frozenset({"pan left", "pan right"})
TILT = frozenset({"tilt up", "tilt down"})
ZOOM = frozenset({"zoom in", "zoom out"})
ROLL = frozenset({"roll"})
STILL = frozenset({"static"})
MIXED = frozenset({"mixed"})

RULED_OUT: dict[str, frozenset[str]] = {
    "static": PAN | TILT | ZOOM | ROLL | MIXED,
    "pan left": STILL | TILT | ZOOM | ROLL | {"pan right"},
    "pan right": STILL | TILT | ZOOM | ROLL | {"pan left"},
    "pan": STILL | TILT | ZOOM | ROLL,
    "tilt up": STILL | PAN | ZOOM | ROLL | {"tilt down"},
    "tilt down": STILL | PAN | ZOOM | ROLL | {"tilt up"},
    "tilt": STILL | PAN | ZOOM | ROLL,
    "zoom in": STILL | PAN | TILT | ROLL | {"zoom out"},
    "zoom out": STILL | PAN | TILT | ROLL | {"zoom in"},
    "zoom": STILL | PAN | TILT | ROLL,
    "roll": STILL | PAN | TILT | ZOOM,
    "mixed": STILL,
    "handheld": frozenset(),
    # travelling
    "move in": frozenset({"zoom out"}),
    "move out": frozenset({"zoom in"}),
    "move": frozenset(),
    "a little": frozenset(),
}
"""Claim -> the measured classes that it cannot be true of."""


def conflict(measured: str | None, *, said: str | None, texts: Sequence[str]) -> str | None:
    """A sentence such as "says static, measured pan left"; None where nothing is at odds.

    measured: of clips.camera_motion, None where nothing was. said: the caption's own field, of the
    same words. texts: the caption's wordings, each of which is trained on and so held to it alone.
    """
    if measured is None:
        return None
    field = (said or "").strip().lower()
    if measured in RULED_OUT.get(field, ()):
        return f"says {field}, measured {measured}"
    for text in texts:
        if claim := contradicted(text, measured):
            return f"says {claim}, measured {measured}"
    return None


def contradicted(text: str, measured: str) -> str | None:
    """The text's first claim where the measured class rules them all out and nothing clears it."""
    found: list[str] = []
    rests: list[str] = []
    for sentence in sentences(text):
        claims, rest = read(sentence)
        found += claims
        if claims or CAMERA_WORD.search(rest):
            rests.append(rest)
    if not found or any(measured not in RULED_OUT[claim] for claim in found):
        return None
    # "static while a boat sails left" is static, "pans left, then right" is both
    clearing = MOVES if "static" in found else (*MOVES, *DIRECTIONS)
    if any(measured in c and word.search(rest) for word, c in clearing for rest in rests):
        return None
    return found[0]


def sentences(text: str) -> list[str]:
    """In lower case, hyphens as spaces: "Hand-held; zoom-in." is "hand held", "zoom in"."""
    plain = re.sub(r"[-\u2010-\u2015]", " ", text.lower().replace("\u2019", "'"))
    return [" ".join(part.split()) for part in re.split(r"[.!?;\n]", plain) if part.strip()]


def read(sentence: str) -> tuple[list[str], str]:
    """The claims of one sentence, as `sentences` gives it, and the words that are in none."""
    spans: list[tuple[int, int, str]] = []
    for pattern, claim in CLAIMS:
        for match in pattern.finditer(sentence):
            start, end = match.span()
            if all(end <= s or e <= start for s, e, _ in spans):
                is_weak = WEAK.search(match.group() + NEXT_WORD.findall(sentence[end:] + " ")[0])
                spans.append((start, end, "a little" if is_weak else claim))
    rest = sentence
    for start, end, _ in spans:
        rest = rest[:start] + " " * (end - start) + rest[end:]
    return [claim for _, _, claim in sorted(spans)], rest


# -- what is understood ----------------------------------------------------------------------------

# the one that films, never one that is seen: "his camera", "the security camera"
_CAMERA = (
    r"(?:\b(?:the|as|while|when|with) |^|[,:(] ?)"
    r"(?:(?:overhead|aerial|drone|moving|static|stationary|fixed|hand ?held) )?camera(?:'s)?"
    r"(?: (?:view|angle|position|perspective|movement|motion|lens))?[:,]?"
)
_PICTURE = r"\b(?:the|this) (?:shot|view|viewpoint|perspective|frame|framing)"
_SCENE = r"\b(?:the|this) (?:scene|video|footage|clip|sequence)"
_ADVERBS = r"(?:(?:\w+ly|then|now|also|first|next|soon|again|almost|at first) )*"
_IS = (
    rf"{_ADVERBS}(?:(?:is|was|remains|keeps|stays|begins|starts|continues|proceeds)(?: to| by)? )?"
    rf"{_ADVERBS}"
)
WEAK = re.compile(
    r"\b(?:(?:bare|minimal|imperceptib|hard|near|most|relative|large|fair|initial|brief|momentari)ly"
    r"|slight(?:ly)?|subtly|subtle|almost|at first)\b"
)
"""Words that make a claim too weak to be held against a class with a threshold."""
NEXT_WORD = re.compile(r"^ ?\w*")

_TO = rf"{_ADVERBS}(?:(?:to|towards?) (?:the |its )?)?"
_ONE_WAY = r"(?:wards?)?\b(?! (?:and|or|then) (?:then )?(?:left|right|up|down|back|in|out)\b)"
_RIGHTWARDS = rf"{_ADVERBS}(?:from )?(?:the )?left to (?:the )?right\b"
_LEFTWARDS = rf"{_ADVERBS}(?:from )?(?:the )?right to (?:the )?left\b"
_GO = (
    r"(?:(?:mov|glid|advanc|slid)(?:e|es|ed|ing)"
    r"|(?:drift|travel|push|pull|track|truck|float|shift|sweep|dolly)(?:s|es|ed|ing|led|ling)?"
    r"|dollies|fly|flies|flying)"
)

_WAYS = (
    ("pan", _RIGHTWARDS, "pan right"),
    ("pan", _LEFTWARDS, "pan left"),
    ("pan", rf"{_TO}left{_ONE_WAY}", "pan left"),
    ("pan", rf"{_TO}right{_ONE_WAY}", "pan right"),
    ("(?:pan|tilt)", rf"{_ADVERBS}up{_ONE_WAY}", "tilt up"),
    ("(?:pan|tilt)", rf"{_ADVERBS}down{_ONE_WAY}", "tilt down"),
    ("(?:pan|zoom)", rf"{_ADVERBS}(?:into|closer|in){_ONE_WAY}", "zoom in"),
    ("(?:pan|zoom)", rf"{_ADVERBS}(?:out|back|away){_ONE_WAY}", "zoom out"),
)
_TURNS = (
    *((rf"{stem}(?:s|n?ing)? {way}", claim) for stem, way, claim in _WAYS),
    (rf"pan(?:s|ning)? {_ADVERBS}(?:around|along|alongside|with)\b", "move"),
    (r"pan(?:s|ning)?\b", "pan"),
    (r"tilt(?:s|ing)\b", "tilt"),  # "is tilted" is how it stands
    (r"zoom(?:s|ing)\b", "zoom"),
)
_TRAVELS = (
    (rf"{_GO} {_ADVERBS}(?:into|forward|closer|toward|nearer|in){_ONE_WAY}", "move in"),
    (r"approach(?:es|ing)?\b", "move in"),
    (rf"{_GO} {_ADVERBS}(?:out|backward|back|away){_ONE_WAY}", "move out"),
    (r"(?:shak|wobbl|sway|bob|jitter)\w*|(?:unsteady|hand ?held)\b", "handheld"),
    (r"(?:roll|rotat|spin)\w* (?:(?:counter|anti) ?)?clockwise\b", "roll"),
    (rf"(?:{_GO}|(?:follow|trail|orbit|circl|arc|revolv|rotat|ris|ascend|descend)\w*)\b", "move"),
)
_STANDS = (
    r"(?:(?:static|stationary|motionless|unmoving|immobile)\b"
    r"|(?:fixed|locked)\b(?! (?:on|onto|to|upon)\b)"
    # "is still moving", "is still empty"
    r"|still(?=$|,| (?:and|throughout|as|while|during|with)\b))"
)
_RESTS = (
    (r"(?:does not|doesn't|never) (?:move|change)\b", "static"),
    (rf"{_STANDS}|in place\b", "static"),
    (
        r"(?:maintains|holds|keeps) (?:a|its) (?:\w+ly )?(?:static|fixed|stationary) \w+",
        "static",
    ),
)
# "static, eye level shot"; but a still frame is one picture
_STATIC_SHOT = (
    r"(?<!non )(?<!not a )(?:\b\w+ly )?"
    r"\b(?:static|stationary|locked (?:off|down)|fixed|unmoving),? "
    r"(?:(?:extreme|wide|medium|full|low|high|aerial|overhead|top|down|eye|level|angle|close|up|long"
    r"|establishing|camera|single|frontal|side|rear),? )*"
    r"(?:shot|camera|framing|close up|take|view|viewpoint|perspective|angle)\b"
)
_SLOW = (
    r"\b(?:slow|smooth|gentle|steady|quick|fast|rapid|gradual|continuous|horizontal|whip|subtle"
    r"|slight|camera),? "
)


def _said_of(subject: str, *claims: tuple[str, str]) -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(f"{subject} {_IS}{verb}"), claim) for verb, claim in claims]


CLAIMS: list[tuple[re.Pattern[str], str]] = [
    *_said_of(_CAMERA, *_TURNS, *_TRAVELS, *_RESTS),
    *_said_of(_PICTURE, *_TURNS, (_STANDS, "static")),
    *_said_of(_SCENE, *_TURNS),
    (re.compile(_STATIC_SHOT), "static"),
    (re.compile(r"\b(?:no|without(?: any)?) (?:\w+ )?camera (?:movement|motion)\b"), "static"),
    *((re.compile(f"{_SLOW}{stem} {way}"), claim) for stem, way, claim in _WAYS),
    (re.compile(rf"{_SLOW}pan\b|\bpanning shot\b"), "pan"),
    (re.compile(rf"{_SLOW}(?:dolly|push) in\b"), "move in"),
    (re.compile(rf"{_SLOW}(?:dolly|pull) (?:out|back)\b"), "move out"),
]
"""Of two that overlap the earlier one counts."""

CAMERA_WORD = re.compile(r"\b(?:camera|shot|view|viewpoint|perspective|framing|footage)\b")
Clearing = tuple[re.Pattern[str], frozenset[str]]
_ANY = PAN | TILT | ZOOM | ROLL | MIXED
MOVES: tuple[Clearing, ...] = (
    (re.compile(r"\bpan(?:s|ning)?\b"), PAN),
    (re.compile(r"\btilt(?:s|ed|ing)?\b"), TILT),
    (re.compile(r"\bzoom\w*|\bpush(?:es|ing)? in\b|\bpull(?:s|ing)? (?:back|out)\b"), ZOOM),
    (re.compile(r"\b(?:rolls|rolling|rotat\w+)"), ROLL),
    (re.compile(r"\b(?:follows|following|tracking|orbit\w*|doll(?:y|ies)|trucking)\b"), _ANY),
    (re.compile(r"\b(?:gimbal|steadicam|hand ?held|shak\w+|sways|swaying)\b"), _ANY),
    (re.compile(r"\b(?:static|stationary|motionless|stops|settles|comes to rest)\b"), STILL),
)
"""Words of a camera's movement, and the measured classes that they make fit to be true."""
DIRECTIONS: tuple[Clearing, ...] = (
    (re.compile(r"\b(?:left|leftwards?)\b"), frozenset({"pan left"})),
    (re.compile(r"\b(?:right|rightwards?)\b"), frozenset({"pan right"})),
    (re.compile(r"\b(?:up|upwards?|rises|ascends)\b"), frozenset({"tilt up"})),
    (re.compile(r"\b(?:down|downwards?|lowers|descends)\b"), frozenset({"tilt down"})),
    (re.compile(r"\b(?:closer|forwards?)\b"), frozenset({"zoom in"})),
    (re.compile(r"\b(?:back|backwards?|away|wider)\b"), frozenset({"zoom out"})),
    (re.compile(r"\b(?:back and forth|side to side|returns|again)\b"), PAN | TILT | ZOOM),
)
"""The same of directions, where the camera is said to move."""
