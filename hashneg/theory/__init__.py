"""What codes can be expected to do: laws, bounds, estimators, and a plan made from them.

Angles are in radians, variances are of the Hamming distance H as a count. Functions take numbers or arrays and give
back the same kind; those that need no SciPy are differentiable. The page on theory derives each of them.
"""

from hashneg.theory.bounds import angle_interval, chernoff_bound, hoeffding_bound
from hashneg.theory.collision import angle, collision_probability, hamming_probability, hamming_variance
from hashneg.theory.estimators import cosine_estimate, cosine_variance
from hashneg.theory.overlap import expected_overlap
from hashneg.theory.overtaking import miss_bound, overtaking_bound, overtaking_probability, overtaking_steps
from hashneg.theory.planning import Plan, PlanRow, plan
from hashneg.theory.rabitq import RabitqRows, rabitq_rows, rabitq_scores, rabitq_variance
from hashneg.theory.sign_full import sign_full_cosine, sign_full_variance

__all__ = [
    "Plan",
    "PlanRow",
    "RabitqRows",
    "angle",
    "angle_interval",
    "chernoff_bound",
    "collision_probability",
    "cosine_estimate",
    "cosine_variance",
    "expected_overlap",
    "hamming_probability",
    "hamming_variance",
    "hoeffding_bound",
    "miss_bound",
    "overtaking_bound",
    "overtaking_probability",
    "overtaking_steps",
    "plan",
    "rabitq_rows",
    "rabitq_scores",
    "rabitq_variance",
    "sign_full_cosine",
    "sign_full_variance",
]
