"""The application's routes, as the files of infra/ may name them."""

import time

import pytest

from services.api.app import create_app
from services.serving import Serving
from services.settings import Settings
from services.wiring import backends


@pytest.fixture(scope="session")
def routes(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The paths that the API answers, as metrics name them."""
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    with backends(settings) as opened:
        app = create_app(Serving(settings, opened, time.time, ingest=False))
    return {route.path for route in app.routes if hasattr(route, "path")}
