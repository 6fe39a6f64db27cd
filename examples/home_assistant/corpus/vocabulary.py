"""Words of the smart-home corpus.

Every table maps what a person may say to the one canonical word the JSON answer uses, so that an answer
is always determined by the request.
"""

from __future__ import annotations

from .phrases import phrases

ROOMS = {
    "kitchen": "kitchen",
    "living room": "living room",
    "lounge": "living room",
    "bedroom": "bedroom",
    "bathroom": "bathroom",
    "hallway": "hallway",
    "corridor": "hallway",
    "office": "office",
    "study": "office",
    "garage": "garage",
    "garden": "garden",
    "nursery": "nursery",
    "dining room": "dining room",
    "attic": "attic",
    "basement": "basement",
    "cellar": "basement",
    "guest room": "guest room",
    "balcony": "balcony",
    "laundry room": "laundry room",
    "kids room": "kids room",
}

LIGHTS = {
    "light": "light",
    "lights": "light",
    "lamp": "lamp",
    "lamps": "lamp",
    "ceiling light": "ceiling light",
    "floor lamp": "floor lamp",
    "desk lamp": "desk lamp",
    "night light": "night light",
    "spotlight": "spotlight",
    "led strip": "led strip",
}

APPLIANCES = {
    "fan": "fan",
    "heater": "heater",
    "radiator": "heater",
    "heating": "heater",
    "air conditioner": "air conditioner",
    "ac": "air conditioner",
    "tv": "tv",
    "television": "tv",
    "radio": "radio",
    "speaker": "speaker",
    "speakers": "speaker",
    "coffee machine": "coffee machine",
    "coffee maker": "coffee machine",
    "kettle": "kettle",
    "oven": "oven",
    "dishwasher": "dishwasher",
    "washing machine": "washing machine",
    "dryer": "dryer",
    "humidifier": "humidifier",
    "air purifier": "air purifier",
    "projector": "projector",
    "sprinkler": "sprinkler",
    "printer": "printer",
    "computer": "computer",
    "plug": "plug",
    "socket": "plug",
}

COVERS = {
    "blinds": "blinds",
    "shades": "blinds",
    "curtains": "curtains",
    "drapes": "curtains",
    "shutters": "shutters",
    "window": "window",
    "windows": "window",
    "skylight": "skylight",
}

DOORS = phrases("""
    front door | back door | garage door | side door | patio door | balcony door | gate | door
""")

COLORS = phrases("""
    red | green | blue | yellow | orange | purple | pink | white | warm white | cool white | turquoise |
    violet
""")

GENRES = phrases("""
    jazz | rock | classical music | pop | techno | hip hop | blues | country music | folk | reggae | opera |
    metal | soul | disco | funk | piano music | dance music | lullabies
""")

SCENES = {
    "movie": "movie",
    "cinema": "movie",
    "night": "night",
    "sleep": "night",
    "morning": "morning",
    "away": "away",
    "party": "party",
    "dinner": "dinner",
    "reading": "reading",
    "work": "work",
}

GROCERIES = phrases("""
    milk | bread | butter | eggs | cheese | apples | bananas | coffee | tea | sugar | salt | pepper | rice |
    pasta | flour | honey | yogurt | tomatoes | potatoes | onions | garlic | carrots | cucumbers | lettuce |
    spinach | mushrooms | lemons | oranges | grapes | cherries | strawberries | chicken | beef | fish | ham
    | sausages | beans | olives | oil | vinegar | mustard | ketchup | cereal | oats | chocolate | cookies |
    chips | nuts | water | juice | lemonade | beer | wine | napkins | soap | shampoo | toothpaste |
    batteries | candles | detergent | tissues | trash bags | cat food | dog food | light bulbs |
    toilet paper | paper towels | olive oil | peanut butter | oat milk | orange juice | brown bread |
    ice cream | green tea | sour cream | dish soap
""")

NAMES = phrases("""
    anna | ben | carla | david | emma | felix | grace | henry | ivy | jack | kate | leo | mia | noah | olga
    | paul | rosa | sam | tina | victor | wendy | zoe | mom | dad | grandma | grandpa | the doctor |
    the dentist | the bank | the office
""")

CHORES = phrases("""
    call {name} | call {name} back | email {name} | text {name} | meet {name} | pick up {name} |
    visit {name} | write to {name} | thank {name} | buy {item} | pick up {item} | order {item} |
    water the plants | feed the cat | feed the dog | walk the dog | take out the trash | pay the rent |
    pay the bills | check the mail | check the oven | book a flight | clean the {room} | do the laundry |
    take my pills | take a break | charge the car | charge my phone | return the book | wash the car |
    cook dinner | drink water | go to the gym | go for a run | do my homework | lock the door |
    empty the dishwasher | start the oven | bake a cake | iron my shirt
""")

# A reminder may also be composed: a verb, an object and sometimes a circumstance.
CHORE_VERBS = phrases("""
    call | email | text | visit | meet | thank | ask | tell | help | pick up | drop off | pay | buy | order
    | sell | return | bring | send | print | sign | read | write | finish | start | check | clean | wash |
    dry | iron | fold | fix | repair | paint | move | pack | unpack | water | feed | walk | cook | bake |
    make | prepare | cut | plant | open | close | lock | charge | update | renew | cancel | book | take |
    get | give | find | hide | measure | replace | change | clear | empty | fill | sweep | dust | study |
    practice | watch | collect
""")
CHORE_OBJECTS = phrases("""
    the car | the bike | the cat | the dog | the fish | the plants | the flowers | the lawn | the trash |
    the mail | the rent | the bill | the bills | the taxes | the ticket | the tickets | the book | the books
    | the letter | the package | the report | the homework | the presentation | the passport | the keys |
    the phone | the laptop | the battery | the filter | the roof | the fence | the door | the window |
    the sink | the shower | the fridge | the oven | the dishes | the laundry | the shirt | the shoes |
    the bed | the sheets | the carpet | the floor | the cake | the soup | the dinner | the salad |
    the medicine | my pills | my hair | my coat | my bag | my room | a gift | a card | a cab | a table |
    a hotel | a flight | an appointment | a meeting | a movie | the baby | the kids | the children |
    the neighbor | the teacher | the plumber | the landlord | my boss | my sister | my brother | my wife |
    my husband | my friend | my uncle | my aunt | the vet | the insurance | the printer | some money |
    some tea | some wood | the guitar | the piano | the camera | the garage | the garden
""")
CHORE_CIRCUMSTANCES = phrases("""
    for {name} | with {name} | about {object} | to {name} | from {name} | in the {room} | for {object} |
    after work | before lunch | after dinner | at school | at home | online | again | soon | with {object} |
    and {verb} {object}
""")

# Subjects of requests the assistant does not know; real words beside invented ones.
TOPICS = phrases("""
    hamlet | shakespeare | love | money | the sea | football | physics | history | dragons | space | art |
    the moon | the sun | computers | cars | einstein | napoleon | mozart | the bible | python | chess |
    dinosaurs | whales | pizza | sushi | bread | coffee | democracy | gravity | the universe | the internet
    | the economy | a black hole | the world cup | the olympics | the stock market | the president |
    the queen | my car | my dog | my boss | a horse | a doctor | tennis | guitars | harry potter | star wars
    | the titanic | the eiffel tower | electricity | penguins | romeo and juliet | evolution | bitcoin |
    vikings | philosophy | mathematics | biology | poetry | volcanoes
""")

PLACES_ABROAD = phrases("""
    france | spain | italy | germany | japan | china | brazil | canada | egypt | india | norway | sweden |
    poland | greece | turkey | mexico | peru | kenya | paris | london | berlin | madrid | rome | vienna |
    oslo | tokyo | new york | boston | chicago | dublin | prague | lisbon | athens | australia | russia |
    america | africa | europe | texas | california
""")

SYLLABLE_ONSETS = phrases("""
    b | c | d | f | g | h | j | k | l | m | n | p | r | s | t | v | w | z | br | ch | cl | dr | fl | gr | pl
    | sh | st | th | tr
""")
SYLLABLE_RHYMES = phrases("""
    a | e | i | o | u | an | el | ir | on | um | ar | en | in | or | as | et | ick | ock | ea | oo
""")
