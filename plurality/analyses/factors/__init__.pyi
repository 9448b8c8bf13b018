from .bayes import BayesFactors as BayesFactors
from .bayes import factors_bayes as factors_bayes
from .regression import Factors as Factors
from .regression import factors as factors
from .scores import tau_b as tau_b
