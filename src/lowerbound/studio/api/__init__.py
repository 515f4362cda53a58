"""The routes of the page, a module for each of its views."""

from lowerbound.studio.api import draw, explore, map, runs, take, train, watch
from lowerbound.studio.route import Route

MODULES = (runs, train, watch, explore, map, draw, take)
ROUTES = [route for module in MODULES for route in vars(module).values() if isinstance(route, Route)]
