"""Distillation: a frozen teacher's answers as soft targets (Hinton et al. 2015, section 2)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from metabench.registry.stage import Stage


def distilled(loss: Tensor, scores: Tensor, taught: Tensor, stage: Stage) -> Tensor:
    """Return (1 - w) times a loss plus w T^2 KL(teacher || student) at temperature T, the mean over rows.

    Args:
        loss: of the labels, a scalar.
        scores: of the student, (N, K).
        taught: of the teacher, (N, K), without a gradient.
        stage: says w and T.
    """
    weight, temperature = stage.teacher_weight, stage.teacher_temperature
    student, teacher = (F.log_softmax(values / temperature, dim=-1) for values in (scores, taught.detach()))
    soft = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return (1 - weight) * loss + weight * temperature**2 * soft
