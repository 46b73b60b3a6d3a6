"""The calls for reading in a browser.

Its scripts come from another site. So the page is put into a sandbox: to the browser it is no page of this server, it
can connect to nothing, and a request that it made all the same would be refused as a foreign page's.
"""

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

SCRIPTS = "https://cdn.jsdelivr.net"
"""Where the framework's page has its scripts and styles from."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "sandbox allow-scripts",  # without `allow-same-origin` its origin is `null`
        "default-src 'none'",  # connections too
        f"script-src 'unsafe-inline' {SCRIPTS}",  # the inline one hands over the description
        f"style-src 'unsafe-inline' {SCRIPTS}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

NO_ICON = "data:,"
"""The framework's own icon would be asked for at a third site."""

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_calls(request: Request) -> HTMLResponse:
    """Return the page with the description of the calls in it, since it can't load that; it tries no call."""
    app = request.app
    page = get_swagger_ui_html(
        openapi_url="",
        title=app.title,
        swagger_favicon_url=NO_ICON,
        swagger_ui_parameters={"spec": app.openapi(), "supportedSubmitMethods": [], "validatorUrl": None},
    )
    page.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    return page
