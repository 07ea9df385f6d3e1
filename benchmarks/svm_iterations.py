"""Few iterations of an interior-point solver against the optimum: `python benchmarks/svm_iterations.py`.

The authors of MetaOptNet solve its quadratic programme by qpth (Amos and Kolter 2017), ended after 3 iterations in
evaluation and after 15 in training. Here the method of qpth works on the same programme in the variables a (S W), and
its scores of queries are compared with those of `metabench.api.crammer_singer`. It looks at an iterate when the next
iteration begins, so that of 3 iterations two count.

Random rectified features of 640 numbers, 15 queries of each of five classes, which overlap.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor
from torch.nn import functional as F

from metabench.api import crammer_singer

C, DIAGONAL, DIM, QUERY, EPISODES = 0.1, 1.0, 640, 15, 400
Parts = tuple[Tensor, Tensor, Tensor, Tensor]


def episodes(way: int, shot: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Support (B, S, D), labels (B, S), queries (B, Q, D), truth (Q,)."""
    generator = torch.Generator().manual_seed(shot)
    centres = (0.25 if shot == 1 else 0.15) * torch.randn(EPISODES, way, DIM, generator=generator).double()
    parts = [
        (part + torch.randn(part.shape, generator=generator)).relu()
        for part in (centres.repeat_interleave(shot, 1), centres.repeat_interleave(QUERY, 1))
    ]
    labels = torch.arange(way)
    return parts[0], labels.repeat_interleave(shot).expand(EPISODES, -1), parts[1], labels.repeat_interleave(QUERY)


class Programme:
    """min 1/2 x' Q x + e' x with x <= h and A x = 0, of B episodes at once."""

    def __init__(self, gram: Tensor, onehot: Tensor) -> None:
        batch, items, way = onehot.shape
        size = items * way
        self.q = torch.einsum("bnm,kl->bnkml", gram, torch.eye(way).double()).reshape(batch, size, size)
        self.e, self.h = -onehot.flatten(1), C * onehot.flatten(1)
        self.a = torch.eye(items).double().repeat_interleave(way, 1)

    def solve(self, d: Tensor, rx: Tensor, rs: Tensor, rz: Tensor, ry: Tensor) -> Parts:
        """Return (dx, ds, dz, dy) that take away the residuals of the conditions of the optimum."""
        inverse = torch.linalg.inv(self.q + torch.diag_embed(d))
        target = (-rx + rs - d * rz)[..., None]
        dy = torch.linalg.solve(self.a @ inverse @ self.a.T, self.a @ inverse @ target + ry[..., None])
        dx = (inverse @ (target - self.a.T @ dy))[..., 0]
        ds = -rz - dx
        return dx, ds, -rs - d * ds, dy[..., 0]

    def start(self) -> Parts:
        nothing = torch.zeros_like(self.h)
        x, s, z, y = self.solve(torch.ones_like(self.h), self.e, nothing, -self.h, nothing[:, : len(self.a)])
        s, z = (torch.where((low := v.amin(1, keepdim=True)) < 0, v - low + 1, v) for v in (s, z))
        return x, s, z, y

    def iterates(self, most: int) -> list[Tensor]:
        """Return the best x (B, N) after 1 .. `most` iterations, by the norm of the residuals."""
        x, s, z, y = self.start()
        best, lowest, kept = x, torch.full((len(x),), torch.inf).double(), []
        for _ in range(most):
            rx = y @ self.a + z + (self.q @ x[..., None])[..., 0] + self.e
            rz, ry, mu = x + s - self.h, x @ self.a.T, (s * z).mean(1)
            size = rz.norm(dim=1) + ry.norm(dim=1) + rx.norm(dim=1) + s.shape[1] * mu
            best = torch.where((size < lowest)[:, None], x, best)
            lowest = torch.minimum(size, lowest)
            kept.append(best)
            d = z / s
            affine = self.solve(d, rx, z, rz, ry)
            ahead = _length(s, affine[1], z, affine[2]).clamp_max(1)
            reached = ((s + ahead * affine[1]) * (z + ahead * affine[2])).mean(1)
            rs = (-(mu * (reached / mu) ** 3)[:, None] + affine[1] * affine[2]) / s
            corrected = self.solve(d, torch.zeros_like(x), rs, torch.zeros_like(s), torch.zeros_like(y))
            dx, ds, dz, dy = (a + b for a, b in zip(affine, corrected, strict=True))
            taken = (0.999 * _length(s, ds, z, dz)).clamp_max(1)
            x, s, z, y = x + taken * dx, s + taken * ds, z + taken * dz, y + taken * dy
        return kept


def _length(s: Tensor, ds: Tensor, z: Tensor, dz: Tensor) -> Tensor:
    inverse = torch.maximum((-ds / s).amax(1), (-dz / z).amax(1))
    return (1 / inverse.clamp_min(1e-9)).clamp_max(1 / 0.999)[:, None]


def main() -> None:
    torch.set_num_threads(1)
    print(
        "| way | shot | iterations | difference of scores, mean (largest) | other answers | accuracy | at the optimum |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for way, shot in ((5, 1), (5, 5)):
        support, labels, query, truth = episodes(way, shot)
        gram = support @ support.mT + DIAGONAL * torch.eye(way * shot)
        onehot = F.one_hot(labels, way).double()
        products = query @ support.mT
        exact = products @ crammer_singer(gram, labels, way, C)
        spread = exact.std()
        right = 100 * float((exact.argmax(-1) == truth).double().mean())
        for number, x in enumerate(Programme(gram, onehot).iterates(15), start=1):
            if number not in (2, 3, 4, 5, 8, 15):
                continue
            scores = products @ x.view_as(onehot)
            apart = (scores - exact).abs() / spread
            other = 100 * float((scores.argmax(-1) != exact.argmax(-1)).double().mean())
            accuracy = 100 * float((scores.argmax(-1) == truth).double().mean())
            print(
                f"| {way} | {shot} | {number} | {float(apart.mean()):.1e} ({float(apart.max()):.1e}) | {other:.2f} % | "
                f"{accuracy:.2f} | {right:.2f} |"
            )


if __name__ == "__main__":
    main()
