"""Prototype rectification (Liu, Song and Qin 2020), which BD-CSPN and LaplacianShot share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.api import prototypes

_ROUNDING = 1e-6
"""Cosines this close are equal: the query then counts for each of the classes."""


def rectified_prototypes(support: Tensor, labels: Tensor, query: Tensor, way: int, scale: float) -> Tensor:
    """Return the rectified class means P' (B, way, D) of Liu et al. (2020), section 3.2.

    Queries are shifted by the difference of the means of support and query set (cross-class bias) and join the support
    of the class whose mean P has the largest cosine (intra-class bias). Each member x of class n has the weight
    exp(scale cos(x, P_n)) / sum_c exp(scale cos(x, P_c)), and P'_n is the mean of the weighted members. The paper lets
    only the most confident queries join; here all do, as in `bdcspn.py` of Veilleux et al. (2021). A query alone, which
    the shift would move to the mean of the support, is not shifted.

    Args:
        support: (B, S, D).
        labels: int64 (B, S).
        query: (B, Q, D).
        way: number of classes.
        scale: epsilon, factor of the cosines.
    """
    means = prototypes(support, labels, way)
    if query.shape[1] > 1:
        query = query + (support.mean(1, keepdim=True) - query.mean(1, keepdim=True))
    items = torch.cat([support, query], 1)
    cosines = F.normalize(items, dim=-1) @ F.normalize(means, dim=-1).mT
    nearest = cosines[:, support.shape[1] :]
    joined = nearest > nearest.amax(-1, keepdim=True) - _ROUNDING
    members = torch.cat([F.one_hot(labels, way).to(items), joined.to(items)], 1)
    weights = members * (scale * cosines).softmax(-1)
    return weights.mT @ items / members.sum(1)[..., None]
