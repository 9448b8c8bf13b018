"""Forms of LCPO, for the tests that every family must pass."""

from plurality.models.lcpo import LCPO

VARIANTS = [
    LCPO(unidentified="report"),
    LCPO(unidentified="report", decay=3.0, reliability="global"),
    LCPO(noise="smoothing", flip_rate=0.1, decay=3.0),
    LCPO(noise="unbiased", flip_rate=0.1, decay=3.0),
]
SLOW = [VARIANTS[0], VARIANTS[3]]
