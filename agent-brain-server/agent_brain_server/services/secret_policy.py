"""What was indexed under other rules about secrets is read again under those that hold now."""

import logging

from agent_brain_server.storage.document_store import DocumentStore

logger = logging.getLogger(__name__)

POLICY_META = "secret_policy"
"""Key in the store's `meta`: the rules under which every file was read."""

RULES_VERSION = 2
"""Increased when `indexing/secret_files.py` recognizes more by the content of a file."""


def apply_secret_policy(documents: DocumentStore, *, index_secrets: bool) -> bool:
    """Have every file read again if the rules have changed since; a walk alone would take them for unchanged.

    Args:
        documents: Whose files are judged.
        index_secrets: The setting.

    Returns:
        Whether files are to be read again.
    """
    policy = "indexed" if index_secrets else f"left out by rules {RULES_VERSION}"
    if documents.get_meta(POLICY_META) == policy:
        return False
    left_out = [skip.path for skip in documents.skips() if skip.reason == "secret"]
    is_behind = bool(left_out) or documents.counts().files > 0
    if is_behind:
        logger.info("the rules about secrets have changed: reading the files again")
        documents.mark_all_pending()
        documents.remove_files(left_out)
    documents.set_meta(POLICY_META, policy)
    return is_behind
