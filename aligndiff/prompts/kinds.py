"""What kind of thing a category is: which grid of phrases suits it."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Literal, get_args

from aligndiff.prompts.senses import is_within_another_name

Kind = Literal["aquatic", "animal", "tool", "food", "vehicle", "part", "defect", "object"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_NOUNS: dict[Kind, str] = {
    "aquatic": """dolphin eel fish crab jellyfish lobster octopus ray salmon shark shrimp squid
        starfish trout tuna whale carp goldfish""",
    "animal": """animal ant bear bee beetle bird boar buffalo bull butterfly camel cat chicken cow
        crow deer dog donkey duck eagle elephant falcon fox frog giraffe goat
        goose gorilla gull hamster hare hawk hedgehog hen heron horse insect kangaroo kitten koala
        lion lizard monkey moose moth mouse owl ox panda parrot penguin pig pigeon
        pony puppy rabbit rat raven sheep snail snake sparrow spider squirrel stork
        swan tiger tortoise turtle wasp wolf worm zebra albatross""",
    "tool": """axe broom brush caliper chisel clamp drill file hammer hoe iron knife ladder mallet
        pliers plunger pruner rake ruler saw scalpel scissors screwdriver shears shovel sickle
        sander spade spanner spatula tool trowel tweezers wrench""",
    "food": """almond apple apricot avocado bagel banana bean berry biscuit bread broccoli burger
        cabbage cake carrot cheese cherry cookie croissant cucumber date doughnut egg fig food fruit
        garlic grape ham kiwi leek lemon lettuce lime mango melon muffin mushroom noodles nut olive
        onion orange pasta peach pear pepper pie pineapple pizza plum potato pretzel pumpkin radish
        rice salad sandwich sausage soup strawberry sushi tomato vegetable waffle walnut""",
    "vehicle": """aeroplane airplane ambulance bicycle bike boat bus canoe car caravan carriage
        digger excavator ferry helicopter jeep lorry minibus moped motorbike motorcycle plane
        scooter ship submarine tank taxi tractor train tram tricycle trolley truck van vehicle yacht
        wagon""",
    "part": """bearing bolt board bracket capacitor chip circuit connector cable casting coil diode
        fuse gasket gear hinge impeller lens motor nail nozzle nut part pcb piston plug pump relay
        resistor screw seal sensor shaft spring switch transistor valve washer wire zipper""",
    "defect": """blister break bubble burr chip contamination corrosion crack damage defect dent
        discoloration fault flaw hole leak misprint pit pore rust scratch smear spot stain tear
        wear""",
}
# Words after which a definition speaks of something else.
_LATER = frozenset("at by for from in of on or that to used which who with without".split())


def kind_of(category: str, definition: str = "") -> Kind:
    """The kind that the category's last known noun belongs to, else that of its definition.

    A noun of several kinds ("nut", "chip") is decided by the definition, else it is the first's.
    A noun that means something else there ("dog" in "hot dog") decides nothing.
    """
    words = re.findall(r"[^\W\d_]+", category.lower())
    meaning = re.findall(r"[^\W\d_]+", definition.lower())
    for word in reversed(words):
        if is_within_another_name(category, word):
            continue
        kinds = [kind for kind, nouns in _NOUNS.items() if _is_in(word, nouns)]
        named = [kind for kind in kinds if kind in meaning]
        if kinds:
            return (named or kinds)[0]
    for word in meaning:
        if word in _NOUNS:
            return next(kind for kind in KINDS if kind == word)
    head = [*takewhile(lambda word: word not in _LATER, meaning)]
    for word in reversed(head):  # "a tall wading bird of marshes": the noun it is about
        for kind, nouns in _NOUNS.items():
            if _is_in(word, nouns):
                return kind
    return "object"


def all_nouns() -> list[str]:
    """Every noun of every kind, each once."""
    return list(dict.fromkeys(noun for nouns in _NOUNS.values() for noun in nouns.split()))


def _is_in(word: str, nouns: str) -> bool:
    known = nouns.split()
    return word in known or (word.endswith("s") and word[:-1] in known)
