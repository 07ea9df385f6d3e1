"""Recipes for datasets, ways and shots."""

from __future__ import annotations

from metabench.registry.registry import load_registry


def test_the_recipe_gives_parameters_by_way() -> None:
    maml = load_registry().algorithms["maml"]
    (five,), (twenty,) = maml.recipe("omniglot", 5, 1), maml.recipe("omniglot", 20, 1)
    assert (five.params["lr"], five.batch) == (0.4, 32)
    assert (twenty.params["lr"], twenty.batch) == (0.1, 16)
    assert maml.recipe("glyphs", 5, 1) == (maml.recipes["*"],)


def test_the_recipe_of_a_way_and_shot_goes_before_that_of_the_way_and_that_of_the_shot() -> None:
    reptile = load_registry().algorithms["reptile"]
    for way, shot, name in (
        (5, 1, "omniglot/1-shot"),
        (5, 5, "omniglot"),
        (20, 1, "omniglot/20-way/1-shot"),
        (20, 5, "omniglot/20-way"),
    ):
        assert reptile.recipe("omniglot", way, shot) == (reptile.recipes[name],)
