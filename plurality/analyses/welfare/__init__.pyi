from .normalisations import NORMALISATIONS as NORMALISATIONS
