"""Sentence patterns of climate, music, timers, alarms, reminders, lists, scenes, cleaning and questions."""

from __future__ import annotations

from .phrases import phrases

THERMOSTAT = phrases("""
    the thermostat | the temperature | the heating | the heat | my thermostat | thermostat | heating
""")
HEATED_ROOM = phrases("""
    the temperature in the {room} | the {room} temperature | the {room} | the heating in the {room} |
    the thermostat in the {room} | the {room} thermostat | the {room} heating | the heat in the {room}
""")
SET_TEMPERATURE = phrases("""
    set {x} to {value} | turn {x} to {value} | turn {x} up to {value} | turn {x} down to {value} |
    put {x} at {value} | change {x} to {value} | adjust {x} to {value} | bring {x} to {value} |
    raise {x} to {value} | lower {x} to {value} | keep {x} at {value} | increase {x} to {value} |
    make {x} {value} | set {x} at {value} | i want {x} at {value} | have {x} at {value} | {x} to {value} |
    i would like {x} at {value} | i need {x} at {value}
""")
HEAT_ROOM = phrases("""
    heat the {room} to {value} | warm the {room} to {value} | cool the {room} to {value} |
    heat the {room} up to {value} | warm up the {room} to {value} | i want {value} in the {room} |
    set it to {value} in the {room} | make it {value} in the {room}
""")
DEGREES = ("{number} degrees", "{number} degrees", "{number}", "{number} degrees celsius", "{number}°")
WARMER = phrases("""
    make {it} warmer | make {it} a bit warmer | make {it} a little warmer | i want {it} warmer |
    {it} is too cold | {it} is cold | {it} is freezing | {it} should be warmer | i need {it} warmer |
    {it} is not warm enough | {it} is a bit cold | {it} feels cold
""")
COOLER = phrases("""
    make {it} cooler | make {it} a bit cooler | make {it} a little cooler | i want {it} cooler |
    {it} is too hot | {it} is hot | {it} is boiling | {it} should be cooler | i need {it} cooler |
    {it} is too warm | {it} is a bit hot | {it} feels hot
""")
HEAT_UP = phrases("""
    turn up the heat{where} | turn the heat up{where} | warm up{where} | more heat{where} |
    turn up the heating{where} | heat up{where} | raise the temperature{where} | increase the heat{where} |
    increase the temperature{where} | turn up the thermostat{where} | turn the thermostat up{where} |
    turn up the temperature{where} | turn the heating up{where} | turn the temperature up{where}
""")
HEAT_DOWN = phrases("""
    turn down the heat{where} | turn the heat down{where} | cool down{where} | less heat{where} |
    turn down the heating{where} | cool off{where} | lower the temperature{where} | reduce the heat{where} |
    decrease the temperature{where} | turn down the thermostat{where} | turn the thermostat down{where} |
    turn down the temperature{where} | turn the heating down{where} | turn the temperature down{where}
""")
IN_ROOM = (" in the {room}", " in my {room}", " in our {room}")

PLAY = phrases("""
    play {g} | put on {g} | start {g} | stream {g} | start playing {g} | turn on {g} | let me hear {g} |
    i want to hear {g} | i want to listen to {g} | i feel like {g} | how about {g} | give me {g} |
    i would like to hear {g} | i would like {g} | let us listen to {g} | can we hear {g}
""")
GENRE_WORDING = ("{genre}", "some {genre}", "a bit of {genre}", "a little {genre}", "nice {genre}")
ANY_MUSIC = phrases("""
    music | some music | a song | some songs | the music | something | any music | a bit of music
""")
MUSIC_CONTROL = {
    "pause_music": phrases("""
        pause {m} | stop {m} | hold {m} | turn off {m} | stop playing {m} | switch off {m} |
        put {m} on pause | no more {m}
    """),
    "resume_music": phrases("""
        resume {m} | continue {m} | go on with {m} | keep playing {m} | unpause {m} | bring back {m} |
        carry on with {m}
    """),
    "next_song": phrases("""
        next {s} | skip {s} | skip this {s} | play the next {s} | go to the next {s} | play another {s} |
        i do not like this {s} | jump to the next {s}
    """),
    "previous_song": phrases("""
        previous {s} | play the previous {s} | go back to the last {s} | play the last {s} again |
        go back one {s} | play that {s} again | go to the previous {s} | back to the last {s}
    """),
    "volume_up": phrases("""
        turn up {v} | turn {v} up | raise {v} | increase {v} | make {m} louder | {m} louder | turn up {m} |
        turn {m} up | {v} up | {m} is too quiet | play {m} louder
    """),
    "volume_down": phrases("""
        turn down {v} | turn {v} down | lower {v} | decrease {v} | make {m} quieter | {m} quieter |
        turn down {m} | turn {m} down | {v} down | {m} is too loud | play {m} quieter | reduce {v}
    """),
    "mute": phrases("""
        mute {m} | mute {v} | silence {m} | turn off {v} | mute | turn the sound off | no sound
    """),
}  # fmt: skip
SET_VOLUME = phrases("""
    set {v} to {value} | turn {v} to {value} | put {v} at {value} | change {v} to {value} | {v} to {value} |
    lower {v} to {value} | raise {v} to {value} | turn {v} up to {value} | turn {v} down to {value} |
    adjust {v} to {value} | bring {v} to {value} | increase {v} to {value} | reduce {v} to {value} |
    i want {v} at {value} | have {v} at {value} | put {v} on {value}
""")
MUSIC = ("the music", "music", "the song", "my music")
SONG = ("song", "track", "tune")
VOLUME = ("the volume", "volume", "the sound volume", "the volume of the music", "the music volume")

LOUD_DEVICE = ("the {device}", "my {device}", "{device}", "our {device}")
DEVICE_VOLUME = ("the {device} volume", "the volume of the {device}", "the volume on the {device}",
                 "the volume of my {device}", "{device} volume")  # fmt: skip

TIMER = phrases("""
    set {t} | start {t} | make {t} | create {t} | give me {t} | run {t} | begin {t} | put on {t} |
    i need {t} | i want {t} | {t} | i would like {t} | can i have {t} | set up {t} | start me {t}
""")
TIMER_WORDING = phrases("""
    a timer for {value} {units} | a {value} {unit} timer | a timer of {value} {units} |
    timer for {value} {units} | a countdown of {value} {units} | a {value} {unit} countdown |
    the timer for {value} {units} | the timer to {value} {units} | {value} {unit} timer |
    a countdown for {value} {units}
""")
# Durations with a name of their own: as spoken, value, unit.
NAMED_DURATIONS = (("half an hour", 30, "minutes"), ("an hour", 1, "hours"), ("a minute", 1, "minutes"))
NAMED_DURATION_TIMER = ("a timer for {duration}", "a timer of {duration}", "timer for {duration}",
                        "the timer for {duration}", "a countdown of {duration}")  # fmt: skip
CANCEL = phrases("""
    cancel {x} | stop {x} | delete {x} | remove {x} | turn off {x} | clear {x} | kill {x} | forget {x} |
    i do not need {x} anymore | switch off {x} | drop {x} | end {x}
""")
ALARM = phrases("""
    set an alarm for {time} | set an alarm at {time} | set my alarm for {time} | set the alarm for {time} |
    set the alarm to {time} | wake me up at {time} | wake me at {time} | get me up at {time} |
    alarm at {time} | alarm for {time} | make an alarm for {time} | create an alarm for {time} |
    i need an alarm at {time} | i want to wake up at {time} | i have to get up at {time} |
    i need to get up at {time} | i must wake up at {time} | i need to wake up at {time} |
    ring the alarm at {time} | put the alarm on {time} | i have to wake up at {time} | wake us up at {time}
    | put an alarm at {time} | i want an alarm for {time} | add an alarm for {time} |
    change my alarm to {time} | i want to get up at {time} | i have to be awake at {time} |
    make sure i am awake at {time} | make sure i wake up at {time} | set my alarm to {time} |
    new alarm for {time} | an alarm for {time}
""")

LIST = phrases("""
    the shopping list | my shopping list | the list | my list | our shopping list | the grocery list |
    shopping list | our list
""")
ADD_TO_LIST = phrases("""
    add {item} to {l} | put {item} on {l} | write {item} on {l} | note {item} on {l} | i need {item} on {l}
    | place {item} on {l} | {item} on {l} | include {item} on {l} | set {item} on {l} | get {item} on {l} |
    {l} add {item} | i want {item} on {l} | have {item} on {l}
""")
NEED_ITEM = phrases("""
    we need {item} | we need to buy {item} | we are out of {item} | we ran out of {item} |
    i need to buy {item} | we need more {item} | i have to buy {item} | there is no {item} left |
    we have no {item} left | we must buy {item} | we have to buy {item} | i am out of {item} |
    we have no more {item} | i must buy {item} | i ran out of {item} | there is no more {item}
""")
REMOVE_FROM_LIST = phrases("""
    remove {item} from {l} | take {item} off {l} | delete {item} from {l} | cross {item} off {l} |
    drop {item} from {l} | strike {item} from {l} | clear {item} from {l} | get {item} off {l} |
    take {item} from {l} | i do not need {item} on {l} | cut {item} from {l} | erase {item} from {l}
""")
REMIND = phrases("""
    remind me to {text} | set a reminder to {text} | make a reminder to {text} | create a reminder to {text}
    | add a reminder to {text} | i need a reminder to {text} | give me a reminder to {text} |
    i want a reminder to {text} | reminder to {text} | tell me to {text} | do not let me forget to {text} |
    i must not forget to {text} | make sure i {text}
""")
REMIND_AT = phrases("""
    {r} at {time} | at {time} {r} | remind me at {time} to {text} | set a reminder at {time} to {text} |
    set a reminder for {time} to {text} | tell me at {time} to {text} |
    i need a reminder at {time} to {text} | add a reminder at {time} to {text} |
    create a reminder at {time} to {text}
""")
REMIND_TOMORROW = phrases("""
    {r} tomorrow | tomorrow {r} | remind me tomorrow to {text} | set a reminder for tomorrow to {text} |
    tell me tomorrow to {text} | i need a reminder tomorrow to {text} |
    add a reminder for tomorrow to {text}
""")

SCENE = phrases("""
    activate {s} | start {s} | turn on {s} | switch to {s} | set {s} | enable {s} | go to {s} | run {s} |
    i want {s} | change to {s} | put on {s} | {s} | set the house to {s} | put the house in {s} | begin {s}
""")
SCENE_WORDING = ("{scene} mode", "the {scene} scene", "the {scene} mode", "{scene} scene", "my {scene} scene")
SCENE_SAYINGS = {
    "night": phrases("""
        good night | i am going to bed | i am going to sleep | time for bed | we are going to bed |
        i go to bed now | it is bed time | time to sleep
    """),
    "morning": phrases("""
        good morning | i am awake | i just woke up | we are awake | i am up | time to get up
    """),
    "away": phrases("""
        i am leaving | we are leaving | i am leaving the house | we are leaving home | nobody is home |
        i am going out | we are going out | i leave now
    """),
    "movie": phrases("""
        movie time | it is movie time | we want to watch a movie | i want to watch a movie |
        it is movie night | time for a movie
    """),
    "party": ("party time", "it is party time", "time for a party", "we have a party", "let us have a party"),
    "dinner": ("dinner is ready", "it is dinner time", "time for dinner", "we are having dinner"),
    "reading": ("reading time", "i want to read a book", "i am going to read", "time to read"),
}  # fmt: skip
CLEAN = phrases("""
    clean the {room} | vacuum the {room} | clean my {room} | vacuum my {room} | start cleaning the {room} |
    send the vacuum to the {room} | send the robot to the {room} | let the robot clean the {room} |
    let the vacuum clean the {room} | have the robot clean the {room} | have the vacuum clean the {room} |
    clean up the {room} | start vacuuming the {room} | start the vacuum in the {room} | vacuum our {room} |
    start the robot in the {room} | clean the {room} with the robot | clean the {room} with the vacuum |
    run the vacuum in the {room} | run the robot in the {room} | the {room} needs cleaning |
    the {room} is dirty | the {room} is a mess | sweep the {room} | use the vacuum in the {room}
""")
DOCK = phrases("""
    send {v} home | dock {v} | send {v} back | stop {v} | bring {v} home | send {v} to its dock |
    send {v} back to its dock | return {v} to its dock | call {v} back | bring {v} back
""")
ROBOT = ("the vacuum", "the robot", "the vacuum cleaner", "the robot vacuum", "my robot")

IS_IT_ON = phrases("""
    is {x} on | is {x} off | is {x} still on | is {x} turned on | is {x} turned off | check {x} |
    check if {x} is on | what is the status of {x} | what is the state of {x} | status of {x} |
    tell me if {x} is on | tell me the status of {x} | did i leave {x} on | did i turn off {x} |
    did i switch off {x} | is {x} running | tell me if {x} is off | is {x} switched on | check if {x} is off
    | do you know if {x} is on | have i turned off {x} | are {x} on | are {x} off | are {x} still on |
    are {x} turned on
""")
IS_IT_LOCKED = phrases("""
    is {x} locked | is {x} open | is {x} closed | is {x} unlocked | did i lock {x} | did i close {x} |
    check {x} | check if {x} is locked | tell me if {x} is locked | tell me if {x} is open |
    is {x} still open | what is the status of {x} | what is the state of {x} | status of {x} |
    check if {x} is closed | tell me the status of {x} | do you know if {x} is locked | have i locked {x} |
    is {x} shut
""")
HOW_WARM = phrases("""
    what is the temperature{where} | what temperature is it{where} | how warm is it{where} |
    how cold is it{where} | how hot is it{where} | tell me the temperature{where} |
    check the temperature{where} | read the temperature{where} | what temperature do we have{where} |
    show me the temperature{where} | give me the temperature{where} | is it warm{where} | is it cold{where}
    | do you know the temperature{where} | how many degrees is it{where} |
    how many degrees do we have{where} | what's the temperature{where}
""")
DOOR_QUESTION = ("the {device}", "my {device}", "our {device}")

STATUS_DEVICE = phrases("""
    the {room} {device} | the {device} in the {room} | the {device} | my {room} {device} | my {device} |
    the {device} in my {room}
""")
IS_IT_ON_IN_ROOM = phrases("""
    is the {device} on in the {room} | is the {device} off in the {room} | are the {device} on in the {room}
    | is the {device} still on in the {room} | are the {device} off in the {room} |
    did i leave the {device} on in the {room} | are the {device} still on in the {room}
""")
QUERIES = {
    "get_timer": phrases("""
        how much time is left | how much time is left on the timer | how long is left on the timer |
        how long does the timer still run | check the timer | what is left on the timer |
        when is the timer done | tell me how much time is left | check my timer |
        how much longer on the timer | is the timer running | what is the timer at | show me the timer |
        how many minutes are left | show the timer
    """),
    "get_list": phrases("""
        what is on the shopping list | what is on my shopping list | what is on the list |
        what is on my list | read the shopping list | read me the shopping list | show me the shopping list
        | tell me what is on the list | read my shopping list | show my shopping list | show me my list |
        read the list | check the shopping list | what do we need to buy | what do i need to buy |
        tell me what is on my shopping list | show the list
    """),
    "clear_list": phrases("""
        clear the shopping list | clear my shopping list | empty the shopping list |
        delete the shopping list | clear the list | empty my list | remove everything from the list |
        delete my list | clear my list | remove everything from the shopping list | empty the list |
        start a new shopping list | erase the list
    """),
    "get_alarms": phrases("""
        what alarms do i have | when is my alarm | when does my alarm ring | show me my alarms |
        check my alarm | is my alarm set | is an alarm set | which alarms are set | show my alarms |
        do i have an alarm | tell me when my alarm rings | what time is my alarm |
        what time is my alarm set for | list my alarms
    """),
}  # fmt: skip
