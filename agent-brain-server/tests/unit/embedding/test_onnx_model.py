import hashlib
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from agent_brain_server.embedding import MODEL_DIR
from agent_brain_server.embedding.onnx_model import OnnxEmbedder, lacks_int8_dot_product
from agent_brain_server.errors import StoreError
from agent_brain_server.models import DEFAULT_MODEL

CODE = "def release(self) -> None:\n    os.unlink(self.path)\n    os.close(self.descriptor)\n"
MIXED = [CODE, "", "lock", "the quick brown fox " * 60, "func main() { fmt.Println(1) }", "東京タワー"]

FLAGS_WITH_VNNI = "flags : fpu sse4_2 avx2 avx512f avx512_vnni\n"
FLAGS_WITHOUT_VNNI = "flags : fpu sse4_2 avx2\n"


@pytest.fixture(scope="module")
def embedder():
    return OnnxEmbedder()


def reference_entries():
    return json.loads((MODEL_DIR / "reference.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("entry", reference_entries(), ids=lambda entry: entry["text"][:20])
def test_onnx_vectors_agree_with_unquantized_model(embedder, entry):
    (vector,) = embedder.embed([entry["text"]])
    assert float(vector @ np.array(entry["vector"], dtype=np.float32)) >= 0.99


@pytest.mark.parametrize(
    ("question", "answer", "others"),
    [
        (
            "where is the lock released?",
            CODE,
            ["def add(a, b):\n    return a + b\n", "class Circle:\n    radius: float\n", "import json\nimport sys\n"],
        ),
        (
            "how to install it",
            "Run pip install in a fresh virtual environment.",
            ["The licence is MIT.", "Colours of the logo are blue and red.", "Contributors meet on Mondays."],
        ),
        (
            "parse a date from a string",
            "def to_day(text):\n    return datetime.strptime(text, '%Y-%m-%d').date()\n",
            ["def connect(host, port):\n    return socket.create_connection((host, port))\n", "SELECT * FROM users;"],
        ),
    ],
)
def test_onnx_relevant_text_is_nearest(embedder, question, answer, others):
    query, *candidates = embedder.embed([question, *others, answer])
    scores = np.array(candidates) @ query
    assert int(scores.argmax()) == len(others)


@pytest.mark.parametrize("threads", [1, 2])
def test_onnx_vector_is_independent_of_batch(embedder, threads):
    together = OnnxEmbedder(threads=threads).embed(MIXED)
    alone = np.concatenate([embedder.embed([text]) for text in MIXED])
    assert together.shape == (len(MIXED), embedder.dimension)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, alone)


def test_onnx_embedder_is_thread_safe(embedder):
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(embedder.embed, [MIXED] * 8))
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_embed_no_texts_returns_empty(embedder):
    assert embedder.embed([]).shape == (0, 384)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "\0",
        "a\0b",
        "\ud800 lone",
        "x" * 1_000_000,
        "word " * 200_000,
        "\n" * 1_000_000,
        "🙂" * 300,
        "\ufffe",
    ],
    ids=["empty", "blank", "nul", "inner-nul", "surrogate", "one-word", "many-words", "newlines", "emoji", "non-char"],
)
def test_onnx_unusual_text_returns_unit_vector(embedder, text):
    (vector,) = embedder.embed([text])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_onnx_lone_surrogate_is_replaced(embedder):
    odd, clean, other = embedder.embed(["\ud800" + CODE, CODE, "a recipe for apple pie"])
    assert odd @ clean > 0.9 > other @ clean


def test_onnx_truncates_to_max_tokens():
    short = OnnxEmbedder(max_tokens=16)
    first, second = short.embed(["lock " * 40, "lock " * 40 + "apple pie"])
    np.testing.assert_array_equal(first, second)


def test_onnx_name_has_model_and_fingerprint(embedder):
    assert re.fullmatch(re.escape(DEFAULT_MODEL) + r"@[0-9a-f]{12}", embedder.name)
    assert OnnxEmbedder(threads=2).name == embedder.name
    assert OnnxEmbedder(max_tokens=64).name != embedder.name


def test_onnx_name_changes_with_model_file(embedder, tmp_path):
    for file in ("model.onnx", "tokenizer.json"):
        shutil.copy(MODEL_DIR / file, tmp_path)
    assert OnnxEmbedder(model_dir=tmp_path).name == embedder.name
    with (tmp_path / "tokenizer.json").open("a") as file:
        file.write("\n")
    assert OnnxEmbedder(model_dir=tmp_path).name != embedder.name


def test_onnx_missing_model_raises(tmp_path):
    with pytest.raises(StoreError, match=r"model\.onnx"):
        OnnxEmbedder(model_dir=tmp_path)


def test_origin_note_describes_model_file():
    digest = hashlib.sha256((MODEL_DIR / "model.onnx").read_bytes()).hexdigest()
    assert digest in (MODEL_DIR / "ORIGIN.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("machine", "cpu_info", "expected"),
    [
        ("x86_64", FLAGS_WITH_VNNI, False),
        ("x86_64", FLAGS_WITHOUT_VNNI, True),
        ("x86_64", "", False),
        ("aarch64", "Features : fp asimd asimddp\n", False),
    ],
)
def test_onnx_exact_products_without_vnni(machine, cpu_info, expected):
    assert lacks_int8_dot_product(machine, cpu_info) is expected
