"""What a file that comes with a repository may say: whoever clones that has not chosen it."""

from agent_brain_server.config.addresses import leads_away

SECRET_KEYS = ("token", "chroma_token")
"""Never read from a project's file, which is shared through version control, and never shown."""


def find_sharing_fault(key: str, value: object) -> str:
    """Return why a setting must not stand in a project's file; "" where it may."""
    if key in SECRET_KEYS:
        return "does not belong in a file that is shared through version control"
    if key == "chroma_url" and leads_away(value):
        return "leads to another machine, to which a project's file must not send anything"
    return ""
