"""Who counts as how hard: weights of negatives, for a loss or for drawing among mined candidates.

In a loss: ``info_nce(..., weights=w)`` with w of the columns of `hashneg.losses.similarities`. For drawing:
`probabilities` turns weights into shares, and `draw` takes k candidates of each row without replacement, by a seed.
"""

from hashneg.weights.draw import draw, probabilities
from hashneg.weights.hcl import hcl
from hashneg.weights.positive_aware import positive_aware
from hashneg.weights.representativeness import code_representativeness, representativeness
from hashneg.weights.soft_info_nce import soft_info_nce
from hashneg.weights.strategies import STRATEGIES, choose
from hashneg.weights.uncertainty import gradient_similarity
from hashneg.weights.unremix import importance, unremix

__all__ = [
    "STRATEGIES",
    "choose",
    "code_representativeness",
    "draw",
    "gradient_similarity",
    "hcl",
    "importance",
    "positive_aware",
    "probabilities",
    "representativeness",
    "soft_info_nce",
    "unremix",
]
