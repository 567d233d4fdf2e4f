"""Commands: plan and run the configs that Hydra composes; the only wing that imports Hydra."""
