"""Short answers in words: greetings, what the assistant is and can do, and refusals of everything else."""

from __future__ import annotations

from . import vocabulary as words
from .phrases import phrases
from .request import Request
from .sampler import Sampler

REFUSAL = "Sorry, I can only help with this home."

# "thanks" or "good day" is vocabulary, not a sentence pattern: a saying this short is never held out.
_LONGEST_SAYING = 3

_HELLO = "Hello! What can I do for you?"
_IDENTITY = "I am edgebit, a small language model that runs on your device."
_ABILITIES = (
    "I can control lights, heating, blinds, locks and music, set timers, alarms and reminders, "
    "and keep your shopping list."
)
_PRIVACY = "I run on this device only. Nothing you say leaves it."

SMALL_TALK: tuple[tuple[tuple[str, ...], str], ...] = (
    (phrases("""
        hello | hi | hey | hi there | hello there | hey there | good afternoon | good evening | hello you |
        hi assistant | hello assistant | hey assistant | good day
    """), _HELLO),
    (phrases("""
        who are you | what are you | what is your name | tell me who you are | tell me what you are |
        tell me your name | introduce yourself | tell me about yourself | who am i talking to |
        do you have a name | what should i call you | can you tell me who you are |
        can you introduce yourself | say who you are | what do i call you | are you a robot | are you human
        | are you an ai | are you a person
    """), _IDENTITY),
    (phrases("""
        what can you do | what can you do for me | tell me what you can do | how can you help me |
        how can you help | what can i ask you | what can i ask | what can i say | show me what you can do |
        what do you do | help | help me | i need help | list what you can do | what can you help me with |
        what can you help with | what are you able to do | what things can you do | what can i do with you |
        tell me how you can help me | tell me what i can ask you | explain what you can do |
        what do you know | what commands do you know | which commands do you know | what can you control |
        tell me what you can control | which things can you do | what are you good for
    """), _ABILITIES),
    (phrases("""
        thanks | thank you | thank you very much | thanks a lot | great, thanks | nice, thank you |
        ok, thank you | many thanks | thank you so much | great, thank you | ok, thanks
    """), "You are welcome."),
    (phrases("""
        bye | goodbye | bye bye | see you | see you later | see you tomorrow | talk to you later |
        goodbye assistant | bye for now
    """), "Goodbye!"),
    (phrases("""
        how are you | how are you doing | how are you today | how is it going | are you ok | are you well |
        how do you feel | how are things | how do you do
    """), "I am fine, thank you."),
    (phrases("""
        where do you run | do you need the internet | do you work offline | do you work without the internet
        | is my data private | do you send my data anywhere | are you in the cloud |
        do you run on this device | where is my data | do you use the internet | do you need the cloud |
        is my data safe with you | do you send my data to the cloud
    """), _PRIVACY),
)  # fmt: skip

# Questions and tasks outside the house. {topic} is a subject, {place} a country or town.
_OUT_OF_SCOPE = phrases("""
    who wrote {topic} | who invented {topic} | who discovered {topic} | who painted {topic} | who is {topic}
    | who was {topic} | who made {topic} | what is {topic} | what was {topic} | what does {topic} mean |
    what do you think about {topic} | what do you know about {topic} | what happened to {topic} |
    why is {topic} so popular | why is {topic} so expensive | why does {topic} exist | how old is {topic} |
    how big is {topic} | how does {topic} work | how do i learn {topic} | how much does {topic} cost |
    how do i make {topic} | when was {topic} invented | where does {topic} come from |
    where can i find {topic} | do you like {topic} | explain {topic} | explain {topic} to me |
    tell me about {topic} | tell me a story about {topic} | tell me a joke about {topic} |
    tell me something about {topic} | write a poem about {topic} | write an essay about {topic} |
    write a story about {topic} | write a song about {topic} | write me a letter about {topic} |
    write code for {topic} | translate {topic} into french | translate {topic} to spanish |
    how do you say {topic} in german | sing a song about {topic} | summarize {topic} |
    draw a picture of {topic} | show me a picture of {topic} | give me a recipe for {topic} |
    give me facts about {topic} | teach me {topic} | search for {topic} | search the web for {topic} |
    google {topic} | look up {topic} | read me the news about {topic} | recommend a book about {topic} |
    recommend a movie about {topic} | define {topic} | spell {topic} | compare {topic} and {topic} |
    order {topic} online | i have a question about {topic} | can you explain {topic} |
    can you write about {topic} | is {topic} good for you | is {topic} dangerous |
    what is the capital of {place} | who is the president of {place} | how many people live in {place} |
    what is the weather in {place} | what is the weather like in {place} |
    what language do they speak in {place} | what time is it in {place} | where is {place} |
    how far is {place} | how big is {place} | what is the history of {place} | book a flight to {place} |
    book me a hotel in {place} | find a restaurant in {place} | plan a trip to {place} |
    is it raining in {place} | tell me about {place} | who won the game in {place} |
    show me the way to {place} | how do i get to {place} | find me a job in {place} |
    what is the best food in {place} | when was {place} founded
""")
_OUT_OF_SCOPE_WITHOUT_SLOT = phrases("""
    tell me a joke | tell me a story | what is the weather | what is the weather like |
    will it rain tomorrow | will it rain today | what is the news | read me the news | what day is it |
    what time is it | what is two plus two | what is the meaning of life | sing a song | call the police |
    order a pizza | call a taxi | send an email | write a poem | what should i eat | what should i wear |
    do my homework | do my taxes | i am bored | i am hungry | i am sad | i love you | do you love me |
    how tall are you | how old are you | what is your favorite color | make me a sandwich | can you cook |
    can you dance | play a game with me | let us play a game | flip a coin | roll a dice | who won the game
    | what is love | give me money | buy me a car | find my phone | find my keys | where are my keys |
    where is my phone | how do i lose weight | what is the stock price | who is the president |
    is there a god | who am i | where am i | do you dream | how many days are in a year |
    how many legs does a spider have
""")
# More of the same, composed: every such question is about something other than this house.
_QUESTION_WORDS = phrases("""
    what does | why does | how does | when does | where does | who does | why did | how did | when did |
    where did | what did | how can | why can | when will | where will | why will | how will | why is |
    how is | when was | where was | how was | why was | how much does | how many does | how long does |
    how far does | how fast does | how do you | how do i | why do people | how do people | where do i |
    where do people | when do people | what do people | who can | who will | who did | can you | could you |
    should i | does | did | will
""")
_QUESTION_VERBS = phrases("""
    {topic} work | {topic} happen | {topic} cost | {topic} grow | {topic} live | {topic} begin | {topic} end
    | {topic} look like | {topic} feel | {topic} sound | {topic} change | {topic} move | {topic} help |
    bake {topic} | build {topic} | make {topic} | find {topic} | learn {topic} | understand {topic} |
    solve {topic} | eat {topic} | drink {topic} | paint {topic} | use {topic} | win {topic} | love {topic} |
    get to {place} | travel to {place} | live in {place} | work in {place} | go to {place} |
    speak in {place} | eat in {place} | bake a cake | make a pizza | get rich | lose weight | learn to swim
    | write a book | fix a bike | tie a tie
""")
_TASK_VERBS = phrases("""
    write | explain | describe | translate | summarize | draw | paint | solve | calculate | prove | correct
    | invent | imagine | research | review | rate | find | download | install | buy me | sell | send |
    order me | book | sing | recite | predict | discuss | analyze | teach me | show me | tell me about |
    tell me | give me
""")
_TASK_OBJECTS = phrases("""
    {topic} | a poem on {topic} | a text about {topic} | a story of {topic} | the history of {topic} |
    the meaning of {topic} | facts on {topic} | an article about {topic} | a picture of {topic} |
    the price of {topic} | the best {topic} | code about {topic} | python code | a program | a letter |
    an email | a poem | an essay | the weather in {place} | the way to {place} | the population of {place} |
    a trip to {place} | news from {place} | a ticket to {place} | the rules of {topic} | a picture
""")
_ARITHMETIC = phrases("""
    what is {a} {op} {b} | how much is {a} {op} {b} | calculate {a} {op} {b} | {a} {op} {b} |
    compute {a} {op} {b} | tell me what {a} {op} {b} is
""")
_OPERATORS = ("plus", "minus", "times", "divided by", "+", "-", "*")


def small_talk(sampler: Sampler) -> Request:
    questions, answer = sampler.weighted([(entry, len(entry[0])) for entry in SMALL_TALK])
    text = sampler.choice(questions)
    if len(text.split()) > _LONGEST_SAYING:
        sampler.template((text,))
    return Request(_maybe_question_mark(sampler, text), answer, imperative=False)


def out_of_scope(sampler: Sampler) -> Request:
    kind = sampler.integer(0, 9)
    if kind == 0:
        template = sampler.template(_ARITHMETIC)
        text = template.format(
            a=sampler.integer(0, 99), b=sampler.integer(0, 99), op=sampler.choice(_OPERATORS)
        )
    elif kind < 4:
        text = _composed(sampler)
    elif kind < 6:
        text = sampler.template(_OUT_OF_SCOPE_WITHOUT_SLOT)
    else:
        text = _fill(sampler, sampler.template(_OUT_OF_SCOPE))
    return Request(_maybe_question_mark(sampler, text), REFUSAL, imperative=False)


def _composed(sampler: Sampler) -> str:
    if sampler.chance(0.6):
        return _fill(
            sampler, sampler.template(("{start} {rest}",), start=_QUESTION_WORDS, rest=_QUESTION_VERBS)
        )
    return _fill(sampler, sampler.template(("{start} {rest}",), start=_TASK_VERBS, rest=_TASK_OBJECTS))


def _fill(sampler: Sampler, template: str) -> str:
    topic = _topic(sampler)
    place = sampler.choice(words.PLACES_ABROAD)
    sampler.combination("topic", topic if "{topic}" in template else place)
    return template.format(topic=topic, place=place)


def _topic(sampler: Sampler) -> str:
    if sampler.chance(0.35):
        return sampler.invented_word()
    return sampler.choice(words.TOPICS)


def _maybe_question_mark(sampler: Sampler, text: str) -> str:
    asks = text.startswith(
        ("what", "who", "how", "why", "when", "where", "which", "do ", "is ", "are ", "can ", "will")
    )
    return text + "?" if asks and sampler.chance(0.65) else text
