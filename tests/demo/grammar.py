"""A small grammar of stories: what the demo model is trained on.

story(rng) gives one story of 5 to 12 sentences.  Everybody in it keeps name, pronoun, wish and
place from the first sentence to the last; that is what a model has to learn.
"""

PEOPLE = [
    ("Ada", "she"), ("Ben", "he"), ("Clara", "she"), ("Dan", "he"), ("Ella", "she"), ("Finn", "he"),
    ("Grace", "she"), ("Hugo", "he"), ("Iris", "she"), ("Jack", "he"), ("Kim", "she"), ("Leo", "he"),
    ("Mia", "she"), ("Noah", "he"), ("Olga", "she"), ("Paul", "he"), ("Rosa", "she"), ("Sam", "he"),
    ("Tara", "she"), ("Will", "he"),
]
ANIMALS = [
    ("otter", "river"), ("beaver", "river"), ("frog", "pond"), ("duck", "pond"), ("fox", "forest"),
    ("owl", "forest"), ("hedgehog", "garden"), ("rabbit", "meadow"), ("mouse", "barn"),
    ("squirrel", "forest"), ("heron", "river"), ("cat", "barn"), ("dog", "farm"), ("goat", "hill"),
    ("pony", "meadow"), ("badger", "forest"), ("swan", "lake"), ("turtle", "lake"),
]
TRAITS = ["small", "brave", "quiet", "clever", "kind", "curious", "shy", "cheerful", "patient", "busy"]
THINGS = {
    "boat": ("build", "built", "of wood and string", "it floated"),
    "kite": ("make", "made", "of paper and thin sticks", "it flew"),
    "bridge": ("build", "built", "of flat stones", "it held"),
    "lamp": ("make", "made", "of an old jar", "it glowed"),
    "drum": ("make", "made", "of a round box", "it sounded"),
    "nest": ("build", "built", "of dry grass", "it stayed warm"),
    "raft": ("build", "built", "of three logs", "it floated"),
    "wheel": ("make", "made", "of a slice of wood", "it turned"),
    "flute": ("make", "made", "of a hollow reed", "it sang"),
    "map": ("draw", "drew", "on a large leaf", "it showed the way"),
}
LOST = ["key", "scarf", "red ball", "blue hat", "silver bell", "book", "basket", "lantern", "spoon", "ring"]
SPOTS = [
    "under the old oak", "behind the mill", "beside the weir", "near the stone wall", "in the tall grass",
    "on the wooden bridge", "at the edge of the water", "inside a hollow log", "between two rocks",
    "below the willow",
]
WEATHER = [
    ("The sun was warm", "bright"), ("It had rained all night", "wet"), ("A soft wind was blowing", "windy"),
    ("Snow lay on the ground", "white"), ("The morning was cold and clear", "cold"),
    ("Grey clouds hung low", "grey"), ("It was the first day of spring", "green"),
    ("The leaves were turning red", "golden"),
]
FOODS = ["bread", "apples", "honey", "soup", "berries", "cheese", "pears", "pancakes", "nuts", "cake"]
FEELINGS = ["happy", "proud", "glad", "calm", "thankful"]
SAD = ["sad", "worried", "tired", "lonely", "afraid"]
OPENINGS = ["Once upon a time", "Long ago", "One day", "One morning", "Last summer", "In a quiet valley"]
LESSONS = [
    "A good friend is worth more than gold.", "Small steps lead to far places.",
    "Water that is held back can still find its way.", "It is never too late to ask for help.",
    "What you share comes back to you.", "Patience is a kind of strength.",
    "Even a small light helps in the dark.", "Those who listen learn the most.",
]


def upper(text):
    return text[0].upper() + text[1:]


def a(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


class Cast:
    def __init__(self, rng):
        self.rng = rng
        self.name, self.he = rng.choice(PEOPLE)
        self.his = "his" if self.he == "he" else "her"
        self.him = "him" if self.he == "he" else "her"
        self.animal, self.home = rng.choice(ANIMALS)
        self.trait = rng.choice(TRAITS)
        self.animal_trait = rng.choice([t for t in TRAITS if t != self.trait])
        self.food = rng.choice(FOODS)
        self.weather, self.look = rng.choice(WEATHER)
        self.feeling = rng.choice(FEELINGS)
        self.sad = rng.choice(SAD)

    def one(self, *texts):
        return self.rng.choice(texts)


def opening(c):
    child = "girl" if c.he == "she" else "boy"
    start = c.rng.choice(OPENINGS)
    return [
        c.one(f"{start}, there was a {c.trait} {child} named {c.name}.",
              f"{start}, a {c.trait} {child} named {c.name} lived near a {c.home}.",
              f"{start}, {c.name}, a {c.trait} {child}, walked down to the {c.home}."),
        c.one(f"{c.weather}, and the {c.home} looked {c.look}.",
              f"{c.weather}, and {c.name} could not stay inside.",
              f"{upper(c.he)} liked {c.food} and long walks."),
    ]


def meeting(c):
    spot = c.rng.choice(SPOTS)
    return [
        c.one(f"{upper(spot)} {c.he} met {a(c.animal_trait)} {c.animal}.",
              f"There {c.he} saw {a(c.animal)} {spot}.",
              f"{upper(a(c.animal))} was sitting {spot}."),
        c.one(f'"Good morning," said the {c.animal}. "What brings you to the {c.home}?"',
              f'"Hello," said {c.name}. "Are you all alone?"',
              f"The {c.animal} looked at {c.name} and did not run away."),
    ]


def building(c):
    thing, (verb, past, matter, works) = c.rng.choice(list(THINGS.items()))
    helper = c.one(f"The {c.animal} held the parts together.", f"The {c.animal} brought what was missing.",
                   f"The {c.animal} showed {c.him} how to do it.")
    return [
        c.one(f"{c.name} wanted to {verb} {a(thing)}.", f'"I want to {verb} {a(thing)}," said {c.name}.',
              f"For many days {c.name} had wished for {a(thing)}."),
        c.one(f"At first the {thing} broke, and {c.name} was {c.sad}.",
              f"It was hard, and {c.he} felt {c.sad}.",
              f"The first {thing} fell apart in {c.his} hands."),
        c.one(f'"Try again," said the {c.animal}. "I will help you."',
              f'"Do not be {c.sad}," said the {c.animal}. "We can do it together."'),
        helper,
        f"Together they {past} a new {thing} {matter}, and {works}.",
    ]


def losing(c):
    thing = c.rng.choice(LOST)
    spot = c.rng.choice(SPOTS)
    wrong = c.rng.choice([s for s in SPOTS if s != spot])
    return [
        c.one(f"But {c.name} had lost {c.his} {thing}, and {c.he} was {c.sad}.",
              f'"I cannot find my {thing}," said {c.name}, and {c.he} felt {c.sad}.'),
        c.one(f'"I will help you look for the {thing}," said the {c.animal}.',
              f'"Let us look for it together," said the {c.animal}.'),
        c.one(f"They looked {wrong}, but the {thing} was not there.",
              f"First they searched {wrong} and found nothing."),
        c.one(f"Then the {c.animal} found the {thing} {spot}.",
              f"At last {c.name} saw the {thing} {spot}."),
        c.one(f'"Thank you," said {c.name}. "You are a true friend."',
              f"{c.name} thanked the {c.animal} and smiled."),
    ]


def sharing(c):
    return [
        c.one(f"The {c.animal} was hungry, and {c.name} had only a little {c.food} left."
              if c.food in ("bread", "honey", "soup", "cheese", "cake") else
              f"The {c.animal} was hungry, and {c.name} had only a few {c.food} left."),
        c.one(f'"Take half of it," said {c.name}.' if c.food in ("bread", "honey", "soup", "cheese", "cake")
              else f'"Take half of them," said {c.name}.',
              f"{c.name} shared the {c.food} without a word."),
        c.one(f"The {c.animal} ate slowly and looked {c.feeling}.",
              f'"That was good," said the {c.animal}. "Now I will show you something."'),
        c.one(f"The {c.animal} led {c.him} to a secret place in the {c.home}.",
              f"Then the {c.animal} showed {c.him} where the water sings at night."),
    ]


def ending(c):
    return [
        c.one(f"In the evening {c.name} went home and felt {c.feeling}.",
              f"When the stars came out, {c.he} said goodbye and went home, {c.feeling} and tired.",
              f"From that day on, {c.name} and the {c.animal} were friends."),
        c.one(f"{upper(c.his)} mother gave {c.him} warm {c.food} for supper."
              if c.food != "honey" else f"{upper(c.his)} mother gave {c.him} bread with honey for supper.",
              f"Every day they met again at the {c.home}.",
              f"{c.name} never forgot the {c.animal_trait} {c.animal}.",
              c.rng.choice(LESSONS)),
    ]


def story(rng):
    c = Cast(rng)
    middle = [building, losing, sharing]
    rng.shuffle(middle)
    parts = [opening, meeting] + middle[: rng.choice((1, 1, 2))] + [ending]
    return " ".join(s for part in parts for s in part(c))
