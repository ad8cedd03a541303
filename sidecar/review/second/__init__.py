"""A second, independent evaluator, `cel-python`, hears every rule and each of its branches.

Two engines that disagree mean that one of them is wrong about the specification, and a policy must
not rest on that. Where cel-python is known to be the one, the difference is listed once with the
clause that says so (`divergences`); what its language cannot express is counted, with the reason.
"""

from sidecar.review.second.opinion import Disagreement, SecondOpinion
from sidecar.review.second.rehearsal import rehearse
from sidecar.review.second.telling import as_json, differing, summary

__all__ = ["Disagreement", "SecondOpinion", "as_json", "differing", "rehearse", "summary"]
