from .permutation import probe as probe
from .permutation import separation as separation
from .poststratification import mrp as mrp
