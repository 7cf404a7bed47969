"""Lists of words: those a search ignores, those that are no nouns of a title, and the colors of options."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """The words of a text that white space separates."""
    return tuple(text.split())


STOP_WORDS = frozenset(
    words("""
    a an and are as at be but by for if in into is it no not of on or such that the their then there these they this
    to was will with
    """)
)
"""Lucene's English stop words."""

COLORS = words("""
    alabaster apricot aqua ash asphalt azure banana beige black blue blush bordeaux bronze brown burgundy camel camo
    caramel champagne charcoal cheetah chestnut chocolate christmas coffee cognac copper coral cranberry cream crystal
    dark denim eggplant elephant espresso fuchsia gold granite grape graphite grass gray green grey heather indigo ivory
    ivy khaki lavender lemon leopard light lilac lime magenta maroon mauve merlot midnight mint mocha multicolor
    mushroom mustard natural navy nude olive orange peach pewter pink plum purple rainbow red rose royal rust sand
    sapphire seashell silver skull slate steel stone stonewash sunflower tan taupe teal tiger turquoise violet walnut
    wheat white wine yellow
""")
"""The first of these that an option's value contains stands for the value, so that two shades of it agree.

The vocabulary of the authors' reward, in its order: "dark grey" stands for dark, "light blue" for blue.
"""

NOT_NOUNS = frozenset(
    words("""
    a an the this that these those my your his her its our their all any both each every no some such only own same
    i you he she it we they me him us them who whom which what whose
    and or nor but so yet if than then as while because although though until unless since
    of in on at by for from to with without within into onto over under up down out off about above across after
    against along among around before behind below beneath beside between beyond during inside near outside per plus
    through throughout toward towards upon via vs
    am is are was were be been being do does did has have had can could will would shall should may might must not
    very too more most less least just also even still ever never again here there when where why how
    one two three four five six seven eight nine ten eleven twelve hundred thousand million first second third
    new old big small large little long short tall high low wide narrow deep slim thin thick mini full half double
    single multi light lightweight heavy soft hard warm cool hot cold dry wet clean fresh smooth sharp bright dark clear
    black white red blue green yellow brown pink purple grey gray orange beige golden
    good great best better nice perfect cute pretty beautiful elegant stylish fashionable trendy modern classic vintage
    retro rustic casual formal comfortable comfy cozy durable sturdy strong stable safe easy quick fast slow simple
    smart portable foldable folding adjustable removable detachable reusable washable disposable rechargeable wireless
    waterproof breathable stretchy elastic flexible universal compatible replacement suitable ideal natural organic
    pure raw real fake artificial synthetic electric electronic electrical digital manual automatic personal
    professional premium deluxe luxury original official international different various extra ultra super
    free non anti made designed printed painted handmade assembled upholstered tufted braided insulated scented
    unscented stainless hanging standing sleeping running
    """)
)
"""In titles, which are strings of names and nouns, a tagger finds nouns nearly everywhere. These are words that it does
not take for one: function words, numerals, and the adjectives and participles of the trade."""
