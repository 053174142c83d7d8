"""What a person says about themselves, found by rules: name, preference, place, relation, plan.

There is no model here, so the rules prefer silence to a wrong fact. A sentence is read only if it is a plain
statement in the first person: no question, no condition, no quotation, no report of what others say, no past that
is over. What is found is a sentence of its own, in the third person and in the person's own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

Rule = Literal["name", "preference", "place", "relation", "plan"]

MAX_FACTS: Final = 8
"""Of one message. A text with more is a document, not somebody speaking of themselves."""
_MAX_MESSAGE: Final = 4000
_MAX_SENTENCE: Final = 240
_MAX_WORDS: Final = 14


@dataclass(frozen=True, slots=True)
class Fact:
    rule: Rule
    text: str


def extract(message: str) -> list[Fact]:
    """Return the facts of one message, in the order they are said; none twice."""
    if len(message) > _MAX_MESSAGE or "```" in message:
        return []
    found: dict[str, Fact] = {}
    for sentence in _sentences(message):
        for fact in _facts(sentence):
            found.setdefault(fact.text.casefold(), fact)
    return list(found.values())[:MAX_FACTS]


_ENDS: Final = re.compile(r"(?<=[.!?…])\s+|[\n\r;]+")
_JOINTS: Final = re.compile(r",?\s(?:and|but)\s(?=(?:I|my)\b)")
_DOUBTFUL: Final = re.compile(
    r"""["“”«»<>{}\[\]|`]|https?:|\b(?:if|unless|whether|suppose|supposing|imagine|pretend|would|could|might|maybe
    |perhaps|probably|wish|wished|hopefully|used\ to|no\ longer|anymore|any\ more|lol|kidding|joking|sarcasm
    |hypothetically|says?|said|told|asks?|asked|claims?|claimed|wrote|writes|quote|example|e\.g|lyrics?|character|role-?play|translate
    |either)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_APOSTROPHES: Final = str.maketrans({"’": "'", "ʼ": "'", "‘": "'"})
_OPENING: Final = re.compile(
    r"(?:(?:hi|hello|hey|oh|well|ok(?:ay)?|yes|yeah|so|and|also|btw|by the way|actually|honestly|just so you know|fyi"
    r"|remember that|please remember(?: that)?|note that)\b(?: there| all| everyone)?\s*[,!:-]*\s*)+",
    re.IGNORECASE,
)
_CLAUSE: Final = re.compile(
    r",|\s?[-–—]\s|\s(?:but|because|since|although|though|while|which|who|when|where|after|before|until|so|then)\b"
    r"|\sand\s(?:i|my|we|he|she|they|it|you|the|this|that)\b|:|\(",
    re.IGNORECASE,
)


def _sentences(message: str) -> Iterator[str]:
    for raw in _ENDS.split(message.translate(_APOSTROPHES)):
        sentence = " ".join(raw.split())
        if len(sentence) > _MAX_SENTENCE or sentence.endswith("?") or _DOUBTFUL.search(sentence):
            continue
        opening = _OPENING.match(sentence)
        for clause in _JOINTS.split(sentence[opening.end() :] if opening else sentence):
            if clause := clause.rstrip(".!…, "):
                yield clause


# Rules ------------------------------------------------------------------------------------------------

_NAME_WORD: Final = r"[A-ZÀ-ÖØ-ÞĀ-ſΑ-ΩА-Я][\w'-]*"
_NAME: Final = rf"{_NAME_WORD}(?:\s{_NAME_WORD}){{0,2}}"
_ADVERB: Final = r"(?:really |absolutely |just |also |always |definitely |usually |generally |still |mostly |truly )*"
_KIN: Final = (
    "wife|husband|partner|spouse|girlfriend|boyfriend|fiancée|fiancé|fiancee|fiance|mother|mom|mum|father|dad|parents"
    "|brother|sister|son|daughter|grandmother|grandma|grandfather|grandpa|aunt|uncle|cousin|niece|nephew|best friend"
    "|friend|roommate|flatmate|boss|manager|colleague|coworker|co-worker|neighbour|neighbor|dog|cat|puppy|kitten|horse"
    "|rabbit|parrot"
)
_KIND: Final = r"(?:(?:older|younger|elder|little|big|twin|eldest|youngest|late|new|old)[ -])?"

_MY_NAME: Final = re.compile(rf"[Mm]y (?:first |full )?name(?:'s| is) ({_NAME})")
_CALL_ME: Final = re.compile(rf"(?:[Pp]lease )?(?:[Yy]ou can )?[Cc]all me ({_NAME})$")
_IM_CALLED: Final = re.compile(rf"I(?:'m| am) (?:called|named) ({_NAME})")
_LIKES: Final = re.compile(
    rf"I {_ADVERB}(like|love|enjoy|adore|prefer|hate|dislike|detest|can't stand|cannot stand|don't like|do not like"
    r"|don't enjoy|do not enjoy) (.+)",
    re.IGNORECASE,
)
_FAVOURITE: Final = re.compile(r"my (?:all[- ]time )?(favou?rite) ([\w' -]{2,40}?) (?:is|are) (.+)", re.IGNORECASE)
_DIET: Final = re.compile(
    r"I(?:'m| am) (?:an? )?(vegan|vegetarian|pescatarian|lactose intolerant|gluten intolerant"
    r"|(?:severely )?allergic to .+)",
    re.IGNORECASE,
)
_LIVES: Final = re.compile(
    r"I(?:'m| am)? (?:currently |now )?(live|living|work|working|am based|based|grew up|was born) (in|at|near) (.+)",
    re.IGNORECASE,
)
_FROM: Final = re.compile(rf"I(?:'m| am| come) (?:originally )?from ((?:the )?{_NAME}(?:, {_NAME})?)$")
_MOVED: Final = re.compile(r"I(?:'ve| have)? (?:just |recently )?moved to (.+)", re.IGNORECASE)
_KIN_IS: Final = re.compile(rf"[Mm]y ({_KIND}(?:{_KIN}))(?:'s name is| is called| is named|, whose name is) ({_NAME})")
_KIN_NAME: Final = re.compile(rf"[Mm]y ({_KIND}(?:{_KIN})) is ({_NAME})$")
_IS_KIN: Final = re.compile(rf"({_NAME}) is my ({_KIND}(?:{_KIN}))$")
_HAVE_KIN: Final = re.compile(
    rf"I (?:have|'ve got|have got|own) (an?|one|two|three|four|five) ({_KIND}(?:{_KIN})s?)(?: (?:named|called) "
    rf"({_NAME}(?:(?:, | and ){_NAME})*))?$"
)
_PLANS: Final = re.compile(
    r"I(?:'m| am) (going|planning|about|hoping) (to) (.+)|I (plan|intend|hope|want) (to) (.+)"
    r"|I(?:'m| am) (training|preparing|studying|saving|saving up) (for) (.+)",
    re.IGNORECASE,
)

_LIKING: Final = {
    "like": "likes",
    "love": "loves",
    "enjoy": "enjoys",
    "adore": "adores",
    "prefer": "prefers",
    "hate": "hates",
    "dislike": "dislikes",
    "detest": "detests",
    "can't stand": "cannot stand",
    "cannot stand": "cannot stand",
    "don't like": "does not like",
    "do not like": "does not like",
    "don't enjoy": "does not enjoy",
    "do not enjoy": "does not enjoy",
}
_DWELLING: Final = {"live": "lives", "living": "lives", "work": "works", "working": "works"}
_PLANNING: Final = {"plan": "plans", "intend": "intends", "hope": "hopes", "want": "wants"}
_NOT_NAMES: Final = frozenset(("Not", "The", "A", "An", "My", "Here", "Sorry", "Fine", "Ok", "I", "It", "What"))
_POINTERS: Final = re.compile(
    r"(?:it|this|that|these|those|them|him|her|you|your|how|what|when|where|(?:all |both )?the"
    r"|to (?:know|see|ask|say|hear|think|thank|talk|understand|be|go|do|make|get|have)"
    r")\b",
    re.IGNORECASE,
)
"""How the object of a liking begins that means something only in its conversation."""
_REFERRING: Final = frozenset(
    (
        "i", "i'm", "i've", "i'll", "we", "our", "us", "it", "it's", "its", "they", "them", "their", "he",
        "him", "his", "she", "her", "hers", "that", "those", "these", "you", "your",
    )
)  # fmt: skip
"""Words whose meaning lies outside the sentence."""
_DANGLING: Final = frozenset(
    (
        "to", "for", "with", "of", "in", "at", "on", "and", "or", "the", "a", "an", "my", "not", "so", "too",
        "by", "from", "about", "into",
    )
)  # fmt: skip
_ASKING: Final = re.compile(
    r"(?:know|ask|thank|say|see if|talk|tell|understand|mention|clarify|apologi[sz]e|be able)\b"
)


def _facts(sentence: str) -> Iterator[Fact]:
    yield from _names(sentence)
    yield from _preferences(sentence)
    yield from _places(sentence)
    yield from _relations(sentence)
    yield from _plans(sentence)


def _names(sentence: str) -> Iterator[Fact]:
    for pattern in (_MY_NAME, _IM_CALLED, _CALL_ME):
        found = pattern.match(sentence)
        if found and found[1].split()[0] not in _NOT_NAMES:
            yield Fact("name", f"The user's name is {found[1]}")
            return


def _preferences(sentence: str) -> Iterator[Fact]:
    if found := _LIKES.match(sentence):
        if not _POINTERS.match(found[2]) and (thing := _object(found[2])):
            yield Fact("preference", f"The user {_LIKING[found[1].lower()]} {thing}")
    elif found := _FAVOURITE.match(sentence):
        if thing := _object(found[3]):
            yield Fact("preference", f"The user's {found[1].lower()} {found[2]} is {thing}")
    elif (found := _DIET.match(sentence)) and (trait := _object(found[1])):
        article = "a " if trait.lower() in ("vegan", "vegetarian", "pescatarian") else ""
        yield Fact("preference", f"The user is {article}{trait}")


def _places(sentence: str) -> Iterator[Fact]:
    if found := _LIVES.match(sentence):
        verb = found[1].lower().removeprefix("am ")
        if place := _object(found[3]):
            told = _DWELLING.get(verb, "is based" if verb == "based" else verb)
            yield Fact("place", f"The user {told} {found[2].lower()} {place}")
    elif found := _FROM.match(sentence):
        yield Fact("place", f"The user is from {found[1]}")
    elif (found := _MOVED.match(sentence)) and (place := _object(found[1])):
        yield Fact("place", f"The user moved to {place}")


def _relations(sentence: str) -> Iterator[Fact]:
    found = _KIN_IS.match(sentence) or _KIN_NAME.match(sentence)
    if found:
        if found[2].split()[0] not in _NOT_NAMES:
            yield Fact("relation", f"The user's {found[1]} is {found[2]}")
    elif found := _IS_KIN.match(sentence):
        if found[1].split()[0] not in _NOT_NAMES:
            yield Fact("relation", f"The user's {found[2]} is {found[1]}")
    elif found := _HAVE_KIN.match(sentence):
        named = f" named {found[3]}" if found[3] else ""
        yield Fact("relation", f"The user has {found[1]} {found[2]}{named}")


def _plans(sentence: str) -> Iterator[Fact]:
    found = _PLANS.match(sentence)
    if found is None:
        return
    verb, joint, rest = next(found.groups()[at : at + 3] for at in (0, 3, 6) if found[at + 1])
    if _ASKING.match(rest) or (thing := _object(rest)) is None:
        return
    told = _PLANNING.get(verb.lower(), f"is {verb.lower()}")
    yield Fact("plan", f"The user {told} {joint.lower()} {thing}")


def _object(text: str) -> str | None:
    """Return what is spoken of, up to the end of its clause, in the third person; None where that is not clear."""
    thing = _CLAUSE.split(text, maxsplit=1)[0].strip(" .!,'")
    words = thing.split()
    if not words or len(words) > _MAX_WORDS or not any(map(str.isalpha, thing)):
        return None
    if words[-1].lower() in _DANGLING or not _REFERRING.isdisjoint(word.lower().strip(".!'") for word in words):
        return None
    return " ".join(_THIRD.get(word.lower(), word) for word in words)


_THIRD: Final = {"my": "their", "me": "them", "myself": "themselves", "mine": "theirs"}
