"""The verb that lists recipes, data sets and parts."""

import json

from lowerbound import recipes
from lowerbound import spec as specs
from lowerbound.verbs.saying import say


def listing(what: str) -> None:
    """List recipes, data sets or parts."""
    if what == "recipes":
        _list_recipes()
        return
    for registry in ["data"] if what == "data" else [name for name in specs.REGISTRIES if name != "data"]:
        _list_kinds(registry)


def _list_recipes() -> None:
    for name, recipe in recipes.RECIPES.items():
        say(f"{name}\n  {recipe.about}\n  {recipe.citation}")
        say(f"  expect: {recipe.expect}")
        if recipe.sets:
            say(f"  sets {json.dumps(recipe.sets, ensure_ascii=False)}")


def _list_kinds(registry: str) -> None:
    for kind, constructor in specs.REGISTRIES[registry].items():
        first = (constructor.__doc__ or "").strip().split("\n")[0]
        say(f"{registry} {kind}: {first}")
        for field in specs.describe(registry, kind):
            default = "" if field.required else f" = {json.dumps(field.default, ensure_ascii=False)}"
            say(f"    {field.name}: {field.type}{default}  {field.help}")
