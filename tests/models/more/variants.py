"""Forms of MORE, for the tests that every family must pass."""

from plurality.models.more import MORE

VARIANTS = [
    MORE(source="group", decay=3.0, steps=60),
    MORE(source="group", decay=3.0, steps=60, multi_head=True),
    MORE(source="group", decay=3.0, steps=60, hidden=4, normalise="loss+"),
]
SLOW = VARIANTS[2:]
