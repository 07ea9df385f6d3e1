"""Conjugate gradients against a direct solver."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metabench.api import conjugate_gradient


def systems(batch: int = 3, size: int = 8) -> tuple[Tensor, Tensor]:
    """Positive definite matrices (B, N, N) and right sides (B, N), in float64."""
    generator = torch.Generator().manual_seed(0)
    roots = torch.randn(batch, size, size, generator=generator, dtype=torch.float64)
    return roots @ roots.mT + torch.eye(size).double(), torch.randn(batch, size, generator=generator).double()


def solved(matrices: Tensor, target: Tensor, **options: object) -> Tensor:
    def product(x: Tensor) -> Tensor:
        return (matrices @ x[..., None])[..., 0]

    goal = torch.full((len(target),), 1e-10).double()
    return conjugate_gradient(product, target, goal, **options)  # type: ignore[arg-type]


def test_it_solves_what_a_direct_solver_solves() -> None:
    matrices, target = systems()
    torch.testing.assert_close(solved(matrices, target), torch.linalg.solve(matrices, target))


def test_a_diagonal_takes_fewer_steps_to_the_same_solution() -> None:
    matrices, target = systems(size=40)
    scale = torch.logspace(0, 2, 40).double()
    matrices = scale[:, None] * (matrices / 100 + torch.eye(40)) * scale
    exact = torch.linalg.solve(matrices, target)
    diagonal = matrices.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(solved(matrices, target, diagonal=diagonal, steps=20), exact)
    assert (solved(matrices, target, steps=20) - exact).norm() > 1e-2 * exact.norm()


@pytest.mark.parametrize("shape", [(8,), (2, 4), (2, 2, 2)])
def test_unknowns_may_have_any_shape(shape: tuple[int, ...]) -> None:
    matrices, target = systems()

    def product(x: Tensor) -> Tensor:
        return (matrices @ x.flatten(1)[..., None]).view_as(x)

    solution = conjugate_gradient(product, target.view(3, *shape), torch.zeros(3))
    torch.testing.assert_close(solution.flatten(1), torch.linalg.solve(matrices, target))


def test_a_problem_stops_at_its_goal_while_others_go_on() -> None:
    matrices, target = systems()

    def product(x: Tensor) -> Tensor:
        return (matrices @ x[..., None])[..., 0]

    goal = torch.tensor([1e-10, torch.inf, 1e-10]).double()
    together = conjugate_gradient(product, target, goal)
    exact = torch.linalg.solve(matrices, target)
    torch.testing.assert_close(together[[0, 2]], exact[[0, 2]])
    first_step = conjugate_gradient(product, target, goal, steps=1)
    assert torch.equal(together[1], first_step[1]) and not torch.allclose(together[1], exact[1])


def test_singular_matrices_are_solved_where_a_solution_is() -> None:
    """Nothing is added along directions that the matrix does not see."""
    matrix = torch.diag(torch.tensor([2.0, 4.0, 0.0])).double()[None]
    solution = solved(matrix, torch.tensor([[2.0, 2.0, 0.0]]).double())
    torch.testing.assert_close(solution, torch.tensor([[1.0, 0.5, 0.0]]).double())


def test_nothing_to_solve_is_zero() -> None:
    matrices, target = systems()
    assert torch.equal(solved(matrices, torch.zeros_like(target)), torch.zeros_like(target))
