"""Titles, descriptions and instructions for generated products."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from agentdistill_webshop.generate.kinds import Kind
from agentdistill_webshop.words import words

_ONSETS = words("b br c cl d dr f fl g gr h j k kl l m n p pr qu r s sh st t tr v w z")
_VOWELS = words("a e i o u ai ea oo")
_CODAS = words("ck l lm m n nd r rn s sk st t x")
_ENDS = ("ia", "ora", "ex", "on", "well", "craft", "home", "wear", "tech", "ly", "ville", "co")

_WHO = ("women", "men", "kids", "adults", "beginners", "professionals", "the whole family", "travelers")
_WHERE = ("home", "office", "travel", "outdoor", "everyday", "weekend", "gift giving")
_SENTENCES = (
    "The {brand} {noun} is made of {material} and built for {where} use.",
    "Our {material} {noun} is {attribute}, so it keeps its promise day after day.",
    "Whether for {where} or as a present for {who}, this {noun} makes a difference.",
    "Every {noun} is checked by hand before it leaves our workshop.",
    "If anything is wrong with your {noun}, write to {brand} and we answer within {hours} hours.",
    "Please allow small deviations because of manual measurement.",
    "{attribute} by design: model {model} has been improved with the help of our customers.",
    "Package includes one {noun} and a care guide.",
)
_BULLETS = (
    "{ATTRIBUTE}: our {noun} is {attribute} and suits {who}",
    "PREMIUM {MATERIAL} - selected {material} for {where} use",
    "Model {model} weighs only {weight} pounds",
    "WHAT YOU GET: 1 x {noun}, {hours}-hour customer service",
    "A thoughtful choice for {who} at {where}",
)
_OPENINGS = (
    "i am looking for {article} {asked}",
    "i need {article} {asked}",
    "find me {article} {asked}",
    "i want to buy {article} {asked}",
    "can you help me find {article} {asked}",
    "looking for {article} {asked}",
    "show me {article} {asked}",
)
_CHOICES = (
    ", and {name} is {value}",
    " in {value}",
    ", {value}",
    " with {name} {value}",
    ". the {name} should be {value}",
)


def make_brand(rng: random.Random) -> str:
    """A name that sounds like a brand; there are about a hundred thousand."""
    name = rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS)
    if rng.random() < 0.5:
        name += rng.choice(_VOWELS) + rng.choice(_CODAS)
    if rng.random() < 0.4:
        name += rng.choice(_ENDS)
    return name.upper() if rng.random() < 0.2 else name.capitalize()


def make_title(rng: random.Random, brand: str, kind: Kind, facts: Mapping[str, str], attributes: Sequence[str]) -> str:
    """A title as sellers write them: brand, material, noun, a few claims, a model."""
    claims = ", ".join(attribute.title() for attribute in attributes[: rng.randint(1, 2)])
    title = f"{brand} {facts['material']} {kind.noun}, {claims}"
    if rng.random() < 0.5:
        title += f" for {rng.choice(_WHO).title()}"
    return f"{title} - {facts['model']}"


def make_description(rng: random.Random, facts: Mapping[str, str], attributes: Sequence[str]) -> str:
    """Three to five sentences."""
    sentences = rng.sample(_SENTENCES, rng.randint(3, 5))
    return " ".join(_fill(rng, sentence, facts, attributes) for sentence in sentences)


def make_bullets(rng: random.Random, facts: Mapping[str, str], attributes: Sequence[str]) -> list[str]:
    """Three or four lines."""
    return [_fill(rng, line, facts, attributes) for line in rng.sample(_BULLETS, rng.randint(3, 4))]


def make_instruction(rng: random.Random, query: str, attributes: Sequence[str], options: Mapping[str, str]) -> str:
    """What a shopper might write who wants these attributes and options."""
    asked = " ".join([*(attributes if len(attributes) < 3 else [", ".join(attributes)]), query])
    article = "an" if asked[0] in "aeiou" else "a"
    text = rng.choice(_OPENINGS).format(article=article, asked=asked)
    for name, value in options.items():
        text += rng.choice(_CHOICES).format(name=name, value=value)
    return f"{text}."


def make_short_instruction(rng: random.Random, query: str, attributes: Sequence[str]) -> str:
    """The beginning of a synthetic goal, which goes on with the options."""
    return (
        f"find me {', '.join(attributes)} {query}" if rng.random() < 0.5 else f"i need {' '.join(attributes)} {query}"
    )


def _fill(rng: random.Random, template: str, facts: Mapping[str, str], attributes: Sequence[str]) -> str:
    attribute = rng.choice(attributes)
    text = template.format(
        **facts, who=rng.choice(_WHO), where=rng.choice(_WHERE), attribute=attribute, ATTRIBUTE=attribute.upper(),
        MATERIAL=facts["material"].upper(), hours=rng.choice((12, 24, 48)), weight=f"{rng.uniform(0.2, 30):.1f}",
    )  # fmt: skip
    return text[0].upper() + text[1:]
