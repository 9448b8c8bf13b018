"""Which comparison to ask next, and which responses to show: questions that tell most of whose taste it is."""

from plurality.elicitation.asking import next_question_each, next_questions
from plurality.elicitation.candidate_sets import negatively_correlated, negatively_correlated_set
from plurality.elicitation.labels import Bought, greedy_log_det, next_labels
from plurality.elicitation.scores import d_optimal, information_gain, max_distance, sides_apart, unlikeness

__all__ = [
    "Bought",
    "d_optimal",
    "greedy_log_det",
    "information_gain",
    "max_distance",
    "negatively_correlated",
    "negatively_correlated_set",
    "next_labels",
    "next_question_each",
    "next_questions",
    "sides_apart",
    "unlikeness",
]
