"""Opinions from a grammar, as training examples: what few public sources with a free licence have.

Sentences about films, products, apps, meals, service and companies are drawn from word lists and patterns that were
written for this project. The patterns are what makes opinions hard: negation ("never dull"), concession ("for all its
charm, it drags"), and words that are good of one thing and bad of another. Which side a sentence takes is known by how
it was made. Not a copy of any data set; every pass of the recipe draws other sentences.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache

from unimc_hf.evaluation.jsonl_examples import Example


@dataclass(frozen=True)
class Domain:
    """One kind of thing that people judge: what it is called, its parts, and what is said of it and of them."""

    things: str
    parts: str
    good: str
    bad: str
    does_well: str
    does_badly: str
    facts: str


@cache
def _list(words: str) -> list[str]:
    return [" ".join(word.split()) for word in words.split(",")]


DOMAINS = [
    Domain(  # films, books, shows
        things="""film, movie, picture, drama, comedy, thriller, documentary, novel, sequel, debut, show,
            series, story""",
        parts="""script, plot, acting, cast, dialogue, direction, pacing, ending, soundtrack, camera work, lead
            performance, premise, humor, screenplay, characterization, story, cinematography, final act, villain""",
        good="""gripping, moving, funny, hilarious, charming, witty, riveting, brilliant, inventive, tender,
            heartfelt, engrossing, masterful, delightful, poignant, compelling, dazzling, superb, thoughtful,
            absorbing, exhilarating, fresh, clever, graceful, touching, stirring, magnificent, enchanting,
            sharp, haunting, intelligent, vivid, warm, refreshing, spellbinding, lively, honest, powerful,
            entertaining, wonderful, irresistible, beautiful""",
        bad="""dull, tedious, boring, predictable, lifeless, clumsy, shallow, bland, pointless, contrived,
            incoherent, forgettable, stale, muddled, lazy, flat, overlong, ludicrous, hollow, insipid,
            derivative, humorless, dreary, sloppy, plodding, pretentious, silly, tiresome, unconvincing,
            mediocre, lame, uninspired, trite, awful, heavy-handed, disjointed, lackluster, soulless,
            amateurish, cliched, unfunny, painful, numbing, crass""",
        does_well="""keeps you on the edge of your seat, finds real emotion, earns every laugh, gets under your
            skin, stays with you for days, is a joy from start to finish, hits all the right notes, casts a
            spell, lifts the spirits, is a treat for the eyes, rewards your patience, never loses its grip, is
            worth the price of admission, breathes new life into an old genre, has heart and brains""",
        does_badly="""goes nowhere, runs out of ideas after ten minutes, falls apart at the end, wastes a
            talented cast, outstays its welcome, puts you to sleep, takes itself far too seriously, collapses
            under its own weight, never comes to life, insults your intelligence, misses the mark, drags on and
            on, has nothing to say, leaves you cold, is a chore to sit through, should have stayed on the shelf""",
        facts="""runs for two hours, is set in the nineties, was shot in Canada, is based on a true story, opens
            on Friday, has three parts, was directed by a newcomer, comes out in March""",
    ),
    Domain(  # products
        things="""camera, phone, laptop, headset, vacuum, printer, watch, blender, router, keyboard, charger,
            jacket, toy""",
        parts="""battery, screen, picture quality, build quality, sound, manual, buttons, price, software,
            packaging, design, zipper, fabric, cable, lens, fan, warranty""",
        good="""sturdy, reliable, excellent, lightweight, handy, well made, easy to use, fast, quiet, durable,
            affordable, crisp, comfortable, impressive, flawless, solid, elegant, convenient, accurate,
            fantastic, responsive""",
        bad="""flimsy, unreliable, cheaply made, slow, noisy, overpriced, defective, useless, awkward, fragile,
            blurry, uncomfortable, faulty, confusing, inaccurate, poorly designed, disappointing, bulky, broken,
            worthless""",
        does_well="""works like a charm, does exactly what it promises, exceeded my expectations, still looks
            like new, paid for itself in a month, saves me a lot of time, was a great buy, holds up well, set up
            in minutes""",
        does_badly="""stopped working after a week, broke on the first day, gets far too hot, never worked
            properly, went straight back to the store, keeps disconnecting, fell apart in my hands, was a waste
            of money, scratches easily, drains in an hour, arrived with missing parts""",
        facts="""comes in two colors, weighs two pounds, was delivered on Monday, has a USB port, is made in
            Taiwan, takes four batteries, ships with a cable""",
    ),
    Domain(  # apps
        things="app, game, update, website, program, widget, service, version, tool",
        parts="""interface, login, sync, design, search, notifications, controls, graphics, customer support,
            ads, layout, menu, new version, subscription, tutorial""",
        good="""useful, intuitive, smooth, addictive, fun, simple, clean, helpful, stable, fast, brilliant, free
            of ads, well thought out, amazing, great, awesome, polished, easy""",
        bad="""buggy, slow, confusing, full of ads, useless, glitchy, outdated, frustrating, laggy, broken,
            annoying, unstable, terrible, clunky, intrusive, unusable, pathetic""",
        does_well="""does everything I need, makes my life easier, never crashes, keeps getting better, works on
            all my devices, deserves five stars, is the best of its kind, is worth every cent""",
        does_badly="""crashes every time I open it, keeps freezing, lost all my data, will not let me log in,
            drains the battery, charges you for everything, got worse with every update, does not load, is not
            worth downloading""",
        facts="""needs an account, was updated in May, asks for the location, has twelve levels, supports dark
            mode, stores files in the cloud""",
    ),
    Domain(  # meals, hotels, service
        things="restaurant, hotel, cafe, bar, place, bakery, diner, salon, clinic, garage, gym, tour, stay",
        parts="""food, staff, service, room, waiter, menu, location, breakfast, atmosphere, pizza, bathroom,
            desserts, prices, portions, coffee, front desk, view, music""",
        good="""delicious, friendly, cozy, spotless, attentive, welcoming, tasty, fresh, generous, lovely,
            outstanding, professional, charming, reasonable, quick, helpful, superb, polite, relaxing, perfect,
            authentic""",
        bad="""rude, dirty, overpriced, cold, greasy, noisy, slow, tasteless, disgusting, unfriendly, stale,
            cramped, soggy, indifferent, shabby, terrible, unprofessional, burnt, smelly, careless, inedible""",
        does_well="""made us feel at home, went out of their way to help, will see us again, was worth the wait,
            deserves its reputation, made our anniversary special, is a hidden gem, never disappoints""",
        does_badly="""kept us waiting for an hour, got our order wrong twice, ruined our evening, ignored us
            completely, overcharged us, made us sick, refused to give a refund, will never see us again, lost
            our booking""",
        facts="""opens at nine, is next to the station, has forty seats, serves lunch, takes cards, closed on
            Sunday, has a parking lot, changed its name""",
    ),
    Domain(  # companies
        things="""company, bank, retailer, carmaker, airline, supplier, group, firm, producer, market, economy,
            sector""",
        parts="""profit, sales, revenue, outlook, demand, operating margin, order book, cash flow, earnings,
            guidance, market share, exports, hiring""",
        good="""strong, rising, better than expected, record, healthy, robust, solid, improving, encouraging,
            growing""",
        bad="""weak, falling, worse than expected, shrinking, disappointing, sluggish, declining, poor, gloomy,
            slumping""",
        does_well="""raised its forecast, beat expectations, returned to profit, won a large order, doubled its
            earnings, increased its dividend, gained market share, posted record sales, created two thousand
            jobs""",
        does_badly="""issued a profit warning, missed expectations, swung to a loss, cut its dividend, laid off
            hundreds, lost a major customer, filed for bankruptcy, recalled its products, is losing market share""",
        facts="""is based in Helsinki, will report on Thursday, has nine offices, was founded in 1950, owns
            three plants, named a new chairman, employs two hundred people""",
    ),
]
# Said of almost anything.
GENERALLY_GOOD = """admirable, adorable, affecting, ambitious, amusing, appealing, apt, artful, astonishing, astounding,
    authentic, beguiling, believable, bewitching, big-hearted, blissful, bold, breathtaking, breezy, bright, buoyant,
    captivating, careful, celebratory, cheerful, cherished, classy, coherent, colorful, commendable, complex, confident,
    considerate, consistent, convincing, courageous, crowd-pleasing, daring, decent, deep, deft, delicate, delicious,
    deserving, detailed, dignified, disarming, distinctive, divine, eloquent, empowering, endearing, energetic,
    enjoyable, enlightening, enthralling, epic, exceptional, exciting, exemplary, exquisite, eye-opening, fabulous,
    fascinating, faultless, festive, first-rate, fitting, focused, frank, fulfilling, generous, genial, genuine, gifted,
    glorious, good, good-natured, gorgeous, gratifying, great, handsome, harmonious, heartening, heartwarming, humane,
    imaginative, immaculate, immersive, impeccable, incisive, incredible, indispensable, infectious, ingenious,
    insightful, inspired, inspiring, interesting, intimate, intoxicating, intriguing, invigorating, jaw-dropping,
    joyful, joyous, jubilant, kind, likable, lovable, lucid, luminous, lush, lyrical, magical, majestic, marvelous,
    mature, meaningful, memorable, mesmerizing, meticulous, mind-blowing, modest, moody in the best way, nimble, noble,
    nuanced, original, painless, passionate, perceptive, perfect, persuasive, phenomenal, playful, pleasant, pleasing,
    pleasurable, precise, priceless, profound, provocative, pure, rare, real, relatable, remarkable, resonant,
    revelatory, rewarding, rich, rousing, satisfying, scintillating, seamless, seductive, sensational, sensible,
    sensitive, sincere, skillful, slick, smart, soulful, special, spectacular, spirited, splendid, stellar, striking,
    stunning, stylish, sublime, subtle, successful, sumptuous, surprising, suspenseful, sweet, sympathetic, tasteful,
    terrific, thrilling, timeless, top-notch, tremendous, triumphant, truthful, unforgettable, unique, uplifting,
    upbeat, valuable, vibrant, virtuoso, visionary, vivacious, well-crafted, well-paced, whimsical, winning, wise,
    witty, wondrous, worthwhile, worthy, zesty"""
GENERALLY_BAD = """abysmal, aimless, annoying, appalling, arrogant, artificial, atrocious, bad, banal, barren,
    bewildering,
    bitter, bloated, bogus, botched, brainless, brutal, callous, careless, caricatured, cartoonish, chaotic, cheap,
    cheerless, cheesy, childish, choppy, clueless, coarse, cold, condescending, corny, crappy, crude, cruel, cynical,
    dated, deadly, deceptive, deficient, deplorable, depressing, desperate, deviant, dim, dire, dismal, disastrous,
    disgraceful, dishonest, dodgy, dopey, dubious, dumb, embarrassing, empty, endless, erratic, exasperating,
    excessive, excruciating, exhausting, exploitative, failed, fake, false, far-fetched, feeble, flawed, flimsy,
    foolish, forced, formulaic, frantic, fraudulent, garbled, garish, generic, ghastly, glib, grating, grim, grotesque,
    hackneyed, half-baked, half-hearted, hapless, harsh, haphazard, hideous, hokey, hopeless, horrible, horrid, icky,
    idiotic, ill-conceived, immature, implausible, inane, inadequate, incompetent, inconsistent, indulgent, inept,
    inexcusable, inferior, infuriating, insufferable, insulting, interminable, irrelevant, irritating, jarring, joyless,
    juvenile, lacking, laborious, laughable, leaden, lethargic, limp, long-winded, loathsome, loud, low-grade,
    lugubrious, maudlin, mean-spirited, meandering, meaningless, mechanical, messy, mindless, misguided, misleading,
    misogynistic, monotonous, moronic, murky, mushy, nasty, nauseating, needless, negligible, nonsensical,
    objectionable, obnoxious, obvious, odd for no reason, offensive, off-putting, opaque, overbearing, overblown,
    overcooked, overlong, overrated, overwrought, paper-thin, patchy, patronizing, phony, pitiful, plain, poor,
    preachy, prosaic, questionable, rambling, ramshackle, rancid, regrettable, repellent, repetitive, repugnant,
    ridiculous, risible, rotten, rushed, sad, sappy, schlocky, second-rate, self-important, senseless, shallow,
    shameful, shapeless, shoddy, sickening, simplistic, skimpy, sluggish, smug, snobbish, soggy, sophomoric, sorry,
    spineless, stiff, stilted, strained, stodgy, stupid, substandard, superficial, suspect, synthetic, tacky, tame,
    tasteless, tedious, terrible, thankless, thin, third-rate, threadbare, tired, toothless, torturous, toxic, tragic
    for the wrong reasons, trivial, turgid, ugly, unbearable, uncomfortable, undercooked, underwhelming,
    uneven, unfocused, unfortunate, unimaginative, uninteresting, unoriginal, unpleasant, unremarkable, unsatisfying,
    vacuous, vain, vapid, vile, vulgar, wasteful, watered-down, weak, wearisome, wooden, worn-out, worthless, wretched,
    wrong"""
VERY = ["", "", "", "very ", "really ", "truly ", "quite ", "utterly ", "just ", "remarkably ", "surprisingly ", "so "]
OPENERS = [
    "",
    "",
    "",
    "",
    "honestly, ",
    "in the end ",
    "all in all, ",
    "i have to say, ",
    "for me, ",
    "as it turns out, ",
]
# {adjective} and {deed} speak for the side of the sentence, {other_adjective} for the opposite side.
PLAIN = [
    "the {thing} is {very}{adjective}.",
    "{very}{adjective} {thing}.",
    "a {adjective}, {adjective2} {thing}.",
    "a {adjective} {thing} that {deed}.",
    "the {part} is {very}{adjective}.",
    "the {part} is {adjective} and the {part2} is {adjective2}.",
    "this {thing} {deed}.",
    "the {thing} is {adjective}, and it {deed}.",
    "{adjective} {part}, {adjective2} {part2}.",
    "one of the most {adjective} examples of a {thing} i know.",
    "what a {adjective} {thing}!",
    "it is {adjective}, {adjective2} and {very}{adjective3}.",
    "as {adjective} as it is {adjective2}.",
    "{adjective} and {adjective2}",
    "{very}{adjective}",
    "at once {adjective} and {adjective2}, this {thing} {deed}.",
    "with its {adjective} {part} and {adjective2} {part2}, the {thing} {deed}.",
    "too {adjective} for words.",
    "more {adjective} than any other {thing} of its kind.",
    "makes the {thing} look {adjective}.",
    "you come away with the memory of {adjective} {part}.",
]
CONCEDING = [
    "the {part} may be {other_adjective}, but the {thing} {deed}.",
    "despite {other_adjective} {part}, a {adjective} {thing}.",
    "i expected something {other_adjective}; what i got was {adjective}.",
    "others call it {other_adjective}, but it is {adjective} and it {deed}.",
    "although the {part} is {other_adjective}, the whole is {very}{adjective}.",
    "the {part} is {other_adjective}, yet the {thing} {deed}.",
    "it starts {other_adjective} and ends {adjective}.",
]
NEGATING = [
    "the {thing} is not {other_adjective} at all.",
    "never {other_adjective}.",
    "the {part} is anything but {other_adjective}.",
    "there is nothing {other_adjective} about this {thing}.",
    "far from {other_adjective}, the {thing} {deed}.",
    "hardly {other_adjective}, and the {part} is {adjective}.",
]
ADVICE = {
    True: [
        "do not miss it", "i would buy it again", "highly recommended", "go and see for yourself", "two thumbs up",
        "i loved every minute", "i could not be happier", "five stars", "money well spent", "we will be back",
    ],
    False: [
        "avoid it", "save your money", "i want my money back", "do not bother", "never again", "stay away",
        "i regret it", "one star is too much", "what a letdown", "a complete waste of time",
    ],
}  # fmt: skip
NEUTRAL = ["the {thing} {fact}.", "this {thing} {fact}.", "according to the notice, the {thing} {fact}.", "it {fact}."]
WORDS = (["positive", "negative"], ["positive", "negative", "neutral"])


def make_opinions(count: int, seed: int | str) -> list[Example]:
    """`count` sentences with the options positive and negative, or neutral as well; every fifth of those has no side.

    The recipe rewords the options like those of any other source.
    """
    rng = random.Random(seed)
    return [_opinion(rng) for _ in range(count)]


def _opinion(rng: random.Random) -> Example:
    domain = rng.choices(DOMAINS, [2, 1, 1, 1, 1])[0]
    three_way = rng.random() < 0.25
    if three_way and rng.random() < 0.4:
        label, text = (
            2,
            rng.choice(NEUTRAL).format(thing=rng.choice(_list(domain.things)), fact=rng.choice(_list(domain.facts))),
        )
    else:
        label = rng.randrange(2)
        sentences = [_sentence(domain, label == 0, rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        if rng.random() < 0.15:
            sentences.append(rng.choice(ADVICE[label == 0]) + rng.choice([".", "!"]))
        text = " ".join(sentences)
    text = text[0].upper() + text[1:] if rng.random() < 0.5 else text
    return {
        "text": text, "text_pair": "", "question": "", "options": list(WORDS[three_way]), "label": label,
        "task": "sentiment", "source": "opinions",
    }  # fmt: skip


def _sentence(domain: Domain, is_good: bool, rng: random.Random) -> str:
    general = domain is not DOMAINS[-1] and rng.random() < 0.4
    good_and_bad = (GENERALLY_GOOD, GENERALLY_BAD) if general else (domain.good, domain.bad)
    adjectives, others = (_list(words) for words in good_and_bad[:: 1 if is_good else -1])
    deeds = _list(domain.does_well if is_good else domain.does_badly)
    pattern = rng.choice(rng.choices([PLAIN, CONCEDING, NEGATING], [0.6, 0.25, 0.15])[0])
    first, second, third = rng.sample(adjectives, 3)
    part, part2 = rng.sample(_list(domain.parts), 2)
    sentence = pattern.format(
        thing=rng.choice(_list(domain.things)), part=part, part2=part2, adjective=first, adjective2=second,
        adjective3=third, other_adjective=rng.choice(others), deed=rng.choice(deeds), very=rng.choice(VERY),
    )  # fmt: skip
    return re.sub(r"\ba (?=[aeiou])", "an ", rng.choice(OPENERS) + sentence)
