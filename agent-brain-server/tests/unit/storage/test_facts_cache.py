from agent_brain_server.storage import facts_cache
from agent_brain_server.storage.facts_cache import FactsCache
from agent_brain_server.types import ChunkMetadata


def facts(key):
    return ChunkMetadata(key, "a.py", key, key, "python", "code", (), None)


def test_what_one_question_read_the_next_one_finds():
    cache = FactsCache()
    cache.at(1)[7] = facts(7)
    assert cache.at(1) == {7: facts(7)}


def test_a_change_of_the_store_forgets_everything():
    cache = FactsCache()
    cache.at(1)[7] = facts(7)
    assert cache.at(2) == {}


def test_what_a_late_reader_adds_is_never_seen_after_the_change():
    cache = FactsCache()
    before = cache.at(1)
    cache.at(2)
    before[7] = facts(7)
    assert cache.at(2) == {}


def test_it_does_not_grow_without_bound():
    cache = FactsCache()
    cache.at(1).update(dict.fromkeys(range(facts_cache.MAX_CACHED_FACTS + 1), facts(7)))
    assert cache.at(1) == {}
