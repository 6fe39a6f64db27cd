"""Sentence patterns for devices: how to name one, and what may be asked of it.

``{x}`` is the place of a device wording, ``{device}``, ``{room}``, ``{value}`` and ``{color}`` are slots.
"""

from __future__ import annotations

from .phrases import phrases

WITH_ROOM = phrases("""
    the {room} {device} | the {device} in the {room} | {room} {device} | {device} in the {room} |
    the {device} of the {room} | my {room} {device} | the {device} in my {room} | the {room}'s {device} |
    our {room} {device} | the {device} over in the {room}
""")
# The room may also stand apart from the device: "turn the light on in the kitchen".
ROOM_APART = (
    "{sentence} in the {room}", "{sentence} in the {room}", "{sentence} in my {room}",
    "in the {room} {sentence}", "in the {room}, {sentence}",
)  # fmt: skip
WITHOUT_ROOM = phrases("""
    the {device} | the {device} | my {device} | {device} | our {device} | that {device}
""")
EVERYWHERE = phrases("""
    all the {device} | all {device} | every {device} | the {device} everywhere | the {device} in every room
    | the {device} in the whole house | all the {device} in the house | each {device}
""")
ALL_IN_ROOM = phrases("""
    all the {device} in the {room} | all {device} in the {room} | all the {room} {device} |
    every {device} in the {room} | all {room} {device} | both {device} in the {room}
""")
ONLY_ROOM = ("the {room}", "my {room}", "the whole {room}", "our {room}", "{room}")
EVERYTHING = ("everything", "all devices", "all the devices", "everything in the house", "everything in here")
EVERYTHING_IN_ROOM = ("everything in the {room}", "all devices in the {room}", "everything in my {room}")

TURN_ON = phrases("""
    turn on {x} | turn {x} on | switch on {x} | switch {x} on | power on {x} | power up {x} | put {x} on |
    put on {x} | activate {x} | enable {x} | start {x} | start up {x} | fire up {x} | set {x} to on |
    bring {x} on | get {x} going | make sure {x} is on | leave {x} on | have {x} on | i want {x} on |
    i need {x} on | i want {x} to be on | {x} on | {x} should be on | i would like {x} on
""")
TURN_OFF = phrases("""
    turn off {x} | turn {x} off | switch off {x} | switch {x} off | power off {x} | power down {x} |
    put {x} off | shut off {x} | shut {x} off | shut down {x} | shut {x} down | deactivate {x} | disable {x}
    | stop {x} | kill {x} | set {x} to off | make sure {x} is off | leave {x} off | have {x} off |
    i want {x} off | i need {x} off | i want {x} to be off | {x} off | {x} should be off |
    i would like {x} off
""")
SET_BRIGHTNESS = phrases("""
    dim {x} to {value} | dim {x} down to {value} | set {x} to {value} | set the brightness of {x} to {value}
    | set {x} brightness to {value} | brighten {x} to {value} | brighten {x} up to {value} |
    put {x} at {value} | put {x} to {value} | adjust {x} to {value} | change {x} to {value} |
    change {x} brightness to {value} | change the brightness of {x} to {value} | lower {x} to {value} |
    raise {x} to {value} | bring {x} to {value} | bring {x} down to {value} | turn {x} to {value} |
    turn {x} down to {value} | turn {x} up to {value} | reduce {x} to {value} | increase {x} to {value} |
    make {x} {value} bright | set {x} to {value} brightness | i want {x} at {value} | i need {x} at {value}
    | {x} to {value} | {x} at {value} | have {x} at {value}
""")
BRIGHTER = phrases("""
    make {x} brighter | brighten {x} | brighten up {x} | brighten {x} a bit | turn up {x} | turn {x} up |
    turn {x} up a bit | turn up {x} a little | increase {x} | increase the brightness of {x} |
    make {x} a bit brighter | make {x} a little brighter | raise the brightness of {x} | raise {x} a bit |
    i want {x} brighter | {x} brighter | i need {x} brighter | {x} is too dark | {x} should be brighter
""")
DIMMER = phrases("""
    make {x} darker | make {x} dimmer | dim {x} | dim down {x} | dim {x} a bit | dim {x} a little |
    turn down {x} | turn {x} down | turn {x} down a bit | turn down {x} a little | decrease {x} |
    decrease the brightness of {x} | reduce the brightness of {x} | make {x} a bit darker |
    make {x} a little dimmer | lower the brightness of {x} | lower {x} a bit | i want {x} darker |
    i need {x} dimmer | {x} darker | {x} is too bright | {x} should be dimmer
""")
DIM_ROOM = (
    "dim {x} to {value}", "brighten {x} to {value}", "dim {x} down to {value}", "light {x} to {value}",
    "light up {x} to {value}",
)  # fmt: skip
BRIGHTER_ROOM = phrases("""
    make {x} brighter | make {x} a bit brighter | brighten {x} | brighten up {x} | light up {x} |
    {x} is too dark | i want {x} brighter | more light in {x} | i need more light in {x} |
    give me more light in {x} | it is too dark in {x} | it is dark in {x} | make it brighter in {x} |
    make {x} a little brighter | {x} should be brighter
""")
DIMMER_ROOM = phrases("""
    make {x} darker | make {x} a bit darker | make {x} dimmer | dim {x} | dim down {x} | dim {x} a bit |
    {x} is too bright | i want {x} darker | less light in {x} | i need less light in {x} |
    it is too bright in {x} | make it darker in {x} | make {x} a little darker | {x} should be dimmer
""")
SET_COLOR = phrases("""
    set {x} to {color} | make {x} {color} | turn {x} {color} | turn {x} to {color} | change {x} to {color} |
    change the color of {x} to {color} | set the color of {x} to {color} | switch {x} to {color} |
    color {x} {color} | set {x} color to {color} | put {x} on {color} | put {x} to {color} |
    adjust {x} to {color} | bring {x} to {color} | change {x} color to {color} |
    make the color of {x} {color} | i want {x} in {color} | i want {x} {color} | i want {x} to be {color} |
    i need {x} in {color} | {x} in {color} | {x} should be {color} | have {x} in {color}
""")
OPEN = phrases("""
    open {x} | open up {x} | raise {x} | pull up {x} | roll up {x} | pull {x} up | roll {x} up |
    pull {x} open | get {x} open | make sure {x} are open | bring {x} up | set {x} to open | have {x} open |
    i want {x} open | i need {x} open | {x} open | i would like {x} open | {x} up
""")
CLOSE = phrases("""
    close {x} | close up {x} | lower {x} | pull down {x} | roll down {x} | pull {x} down | roll {x} down |
    shut {x} | pull {x} shut | get {x} closed | make sure {x} are closed | bring {x} down |
    set {x} to closed | have {x} closed | i want {x} closed | i need {x} closed | {x} closed |
    i would like {x} closed | {x} down | let down {x}
""")
SET_POSITION = phrases("""
    open {x} to {value} | set {x} to {value} | move {x} to {value} | put {x} at {value} | put {x} to {value}
    | open {x} {value} | set the position of {x} to {value} | roll {x} to {value} | bring {x} to {value} |
    lower {x} to {value} | raise {x} to {value} | close {x} to {value} | adjust {x} to {value} |
    change {x} to {value} | pull {x} to {value} | i want {x} at {value} | {x} to {value} |
    have {x} at {value}
""")
LOCK = phrases("""
    lock {x} | lock up {x} | bolt {x} | secure {x} | make sure {x} is locked | get {x} locked |
    put the lock on {x} | keep {x} locked | set {x} to locked | i want {x} locked | i need {x} locked |
    {x} should be locked | i would like {x} locked | have {x} locked
""")
UNLOCK = phrases("""
    unlock {x} | unbolt {x} | make sure {x} is unlocked | get {x} unlocked | take the lock off {x} |
    keep {x} unlocked | set {x} to unlocked | i want {x} unlocked | i need {x} unlocked |
    {x} should be unlocked | i would like {x} unlocked | let me in through {x} | remove the lock from {x} |
    have {x} unlocked
""")
OPEN_DOOR = phrases("""
    open {x} | open up {x} | get {x} open | make sure {x} is open | set {x} to open | i want {x} open |
    i need {x} open | {x} should be open | keep {x} open | pull {x} open | have {x} open
""")
CLOSE_DOOR = phrases("""
    close {x} | close up {x} | shut {x} | get {x} closed | make sure {x} is closed | set {x} to closed |
    i want {x} closed | i need {x} closed | {x} should be closed | keep {x} closed | pull {x} shut |
    have {x} closed
""")
ALL_DOORS = ("all the doors", "all doors", "every door", "all of the doors", "the doors")
DOOR_NAMES = ("the {device}", "{device}", "my {device}", "our {device}", "that {device}")
