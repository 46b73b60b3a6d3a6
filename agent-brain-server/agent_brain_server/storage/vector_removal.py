"""The end of a store's copy on a Chroma server, when the store itself is about to be deleted."""

from pathlib import Path

from agent_brain_server.errors import StoreError
from agent_brain_server.storage.chroma_place import ChromaPlace
from agent_brain_server.storage.vector_map import MAP_NAME, VectorMap, open_database
from agent_brain_server.types import ChromaServer


def remove_from_server(persist_dir: Path, server: ChromaServer) -> bool:
    """Remove every collection that a store has made on a server; the store's vectors are forgotten by that.

    Args:
        persist_dir: Where the store keeps its vectors; nobody has it open.
        server: Where, and the token that is shown.

    Returns:
        False where the store has none there, or lies elsewhere, behind a symbolic link.

    Raises:
        StoreError: The server does not answer, or refuses; the hint names the collections.
    """
    if persist_dir.is_symlink() or not (persist_dir / MAP_NAME).is_file():
        return False
    database = open_database(persist_dir)
    model, store_id = database.get_meta("model"), database.get_meta("store_id")
    known_as = database.get_meta("chroma_place")
    database.close()
    if model is None or store_id is None:  # it was damaged, or nothing was ever kept in it
        return False
    place = ChromaPlace(persist_dir, store_id, server)
    vector_map = VectorMap(persist_dir, model, store_id, place)
    try:
        if known_as == place.name and vector_map.count_in_chroma():
            vector_map.clear()
        left = vector_map.left_behind()
        place.remove(left)
    except StoreError as exc:
        names = ", ".join(each.name for each in vector_map.left_behind())
        raise StoreError(exc.message, code=exc.code, hint=f"Remove there by hand: {names}") from exc
    finally:
        vector_map.close()
    return bool(left)
