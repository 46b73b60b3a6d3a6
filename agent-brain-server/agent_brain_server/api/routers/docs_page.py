"""The calls for reading in a browser: one page without scripts, answered to whoever may ask for the rest."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from agent_brain_server.api.deps import Context

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def show_calls(request: Request, context: Context) -> HTMLResponse:
    """Return the page; its policy allows the one style sheet that stands in it, and nothing else."""
    from agent_brain_server.api.reference_page import hash_style, render_page  # noqa: PLC0415 - seldom asked for

    base_url = str(request.base_url).rstrip("/")
    page = render_page(request.app.openapi(), base_url, needs_project=context.mode == "shared")
    policy = (
        "default-src 'none'",
        f"style-src {hash_style()}",
        "img-src data:",  # the empty icon, so that no browser asks for one
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    headers = {
        "Content-Security-Policy": "; ".join(policy),
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(page, headers=headers)
