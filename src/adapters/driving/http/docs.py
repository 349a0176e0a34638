"""Swagger UI and ReDoc, from files of an installed package: no page loads anything from elsewhere.

The package is only a box of files. It is found without being imported, since its own code is for Django.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response import Redirect

PACKAGE: Final = "drf_spectacular_sidecar"
ASSETS: Final = {
    "swagger-ui.css": ("swagger-ui-dist/swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": ("swagger-ui-dist/swagger-ui-bundle.js", "text/javascript"),
    "favicon-32x32.png": ("swagger-ui-dist/favicon-32x32.png", "image/png"),
    "redoc.standalone.js": ("redoc/bundles/redoc.standalone.js", "text/javascript"),
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; frame-ancestors 'none'"
)
"""The browser itself refuses what is not from this server, ReDoc's logo for instance."""

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" type="image/png" href="docs/assets/favicon-32x32.png">
"""
SWAGGER_PAGE: Final = (
    _HEAD
    + """<title>Sextant API</title>
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/assets/start.js"></script>
</body>
</html>
"""
)
REDOC_PAGE: Final = (
    _HEAD
    + """<title>Sextant API reference</title>
<style>body { margin: 0 }</style>
</head>
<body>
<redoc spec-url="openapi.json"></redoc>
<script src="docs/assets/redoc.standalone.js"></script>
</body>
</html>
"""
)
START_SCRIPT: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: true,
  validatorUrl: null,
});
"""


def docs_routes(openapi_json: Callable[[], bytes]) -> list[HTTPRouteHandler]:
    """The routes of the OpenAPI document, made when it is first asked for, and of the two pages that show it."""
    document = cache(openapi_json)

    @get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response[bytes]:
        return Response(document(), media_type="application/json")

    return [openapi, root, swagger, redoc, asset]


@get("/", include_in_schema=False)
async def root() -> Redirect:
    """Sends a person who opens the server's address to the documentation."""
    return Redirect("docs")


@get("/docs", include_in_schema=False)
async def swagger() -> Response[str]:
    """Swagger UI."""
    return _page(SWAGGER_PAGE)


@get("/redoc", include_in_schema=False)
async def redoc() -> Response[str]:
    """ReDoc."""
    return _page(REDOC_PAGE)


@get("/docs/assets/{file:str}", include_in_schema=False, sync_to_thread=True)
def asset(file: FromPath[str]) -> Response[bytes]:
    """A script, style or picture of the two pages."""
    headers = {"cache-control": "public, max-age=3600"}
    if file == "start.js":
        return Response(START_SCRIPT.encode(), media_type="text/javascript", headers=headers)
    if file not in ASSETS:
        raise NotFoundException
    path, media_type = ASSETS[file]
    return Response((assets_directory() / path).read_bytes(), media_type=media_type, headers=headers)


@cache
def assets_directory() -> Path:
    """Where the package's files lie."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"the Python package {PACKAGE}, which Sextant depends on, is not installed")
    return Path(spec.submodule_search_locations[0], "static", PACKAGE)


def _page(html: str) -> Response[str]:
    return Response(html, media_type="text/html", headers={"content-security-policy": POLICY})
