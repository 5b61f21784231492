"""Decoder -> ONNX graph: the operators that onnxruntime's own builder uses for such models.

    token ids -> embedding -> layers (attention, feed-forward) -> norm -> logits, all positions

Weights are external data, at the places that `layout` gave them. Shapes are symbolic in batch and
sequence. The graph passes onnx.checker: norms are RMSNormalization, of opset 23, where there is
nothing to add, and SkipSimplifiedLayerNormalization where there is. Contrib operators:
onnxruntime, docs/ContribOperators.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edgepack.formats.onnx.layout import Initializer, Layout
from edgepack.models import Decoder, Weight, rope
from edgepack.models.decoder import Attention
from edgepack.quant.encodings import Encoding
from edgepack.quant.nbits import BlockInts

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

MODEL_FILE: Final = "model.onnx"
DATA_FILE: Final = "model.onnx.data"
OPSET, IR_VERSION = 23, 11
CONTRIB: Final = "com.microsoft"
FUSED_ROTATION: Final = 16  # GroupQueryAttention rotates heads of a multiple of this many elements
LAST: Final = 2**63 - 1  # the end of any axis


class Graph:
    """The graph of one decoder, grown node by node; a node's output has the node's name."""

    def __init__(
        self,
        decoder: Decoder,
        encodings: dict[Weight, Encoding],
        layout: Layout,
        accuracy_level: int,
    ) -> None:
        self._decoder, self._rotary = decoder, rope.tables(decoder)
        self._encodings = {weight.name: encoding for weight, encoding in encodings.items()}
        self._planes = {weight.name: planes for weight, planes in layout.weights.items()}
        self._columns = {weight.name: weight.shape[-1] for weight in layout.weights}
        self._layout = layout
        self._accuracy = accuracy_level
        self._constants: dict[str, TensorProto] = {}
        self._made: set[str] = set()
        self.nodes: list[NodeProto] = []

    @property
    def element(self) -> str:
        """What activations are, and so the KV cache and the logits: F32 or F16."""
        return self._planes["output_norm.weight"][0].element

    def build(self) -> None:
        lengths = self._lengths()
        stream, branch = "", self._embedding()
        for index, layer in enumerate(self._decoder.layers):
            normed, stream = self._norm(f"blk.{index}.attn_norm", branch, stream)
            branch = self._attention(index, normed, layer.attention, lengths)
            normed, stream = self._norm(f"blk.{index}.ffn_norm", branch, stream)
            branch = self._feed_forward(index, normed)
        normed, _ = self._norm("output_norm", branch, stream)
        head = "token_embd" if self._decoder.tied_embeddings else "output"
        self._matmul(head, normed, "logits")

    def initializers(self) -> list[TensorProto]:
        """Every tensor: constants with their values, weights by where they lie."""
        return [*self._constants.values(), *map(_external, self._layout.all)]

    def _lengths(self) -> tuple[str, str]:
        """Index of the last position of every sequence, and the length of all: int32."""
        from onnx import TensorProto

        ones = self._node("ReduceSum", "attention_mask.sum", "attention_mask", self._ints(1))
        last = self._node("Sub", "attention_mask.last", ones, self._ints(1))
        last = self._node("Cast", "seqlens_k", self._flat(last), to=TensorProto.INT32)
        shape = self._node("Shape", "attention_mask.shape", "attention_mask")
        total = self._node("Gather", "attention_mask.length", shape, self._scalar(1))
        return last, self._node("Cast", "total_sequence_length", total, to=TensorProto.INT32)

    def _embedding(self) -> str:
        """Rows of the embedding, [batch, sequence, width]."""
        name = "token_embd.weight"
        encoding, planes = self._encodings[name], self._planes[name]
        if not isinstance(encoding, BlockInts):
            return self._node("Gather", "embedding", name, "input_ids")
        levels, scales, *zeros = planes
        # the same bytes serve MatMulNBits, which wants blocks as an axis of their own
        rows = self._node(
            "Reshape", f"{name}.rows", levels.name, self._ints(levels.shape[0], levels.row_bytes)
        )
        found = self._node(
            "GatherBlockQuantized", "embedding", rows, "input_ids", scales.name,
            *(zero.name for zero in zeros),
            domain=CONTRIB, bits=encoding.bits, block_size=encoding.block,
            gather_axis=0, quantize_axis=1,
        )  # fmt: skip
        if self._decoder.width % encoding.block == 0:
            return found
        start, stop, axis = self._ints(0), self._ints(self._decoder.width), self._ints(-1)
        return self._node("Slice", "embedding.unpadded", found, start, stop, axis)

    def _norm(self, name: str, branch: str, stream: str) -> tuple[str, str]:
        """(normed, stream): `branch` added to the residual stream, where there is one, and normed.

        The stream is what every layer adds to.
        """
        epsilon = self._decoder.norm_epsilon
        if not stream:
            weight = f"{name}.weight"
            return self._node("RMSNormalization", name, branch, weight, epsilon=epsilon), branch
        self._node(
            "SkipSimplifiedLayerNormalization", name, stream, branch, f"{name}.weight",
            outputs=(name, "", "", f"{name}.stream"), domain=CONTRIB, epsilon=epsilon,
        )  # fmt: skip
        return name, f"{name}.stream"

    def _attention(
        self, index: int, normed: str, attention: Attention, lengths: tuple[str, str]
    ) -> str:
        base = f"blk.{index}"
        cos, sin = self._rotary[attention.rope]
        q, k, v = (self._matmul(f"{base}.attn_{letter}", normed) for letter in "qkv")
        if attention.qk_norm:
            q = self._head_norm(f"{base}.attn_q_norm", q, attention)
            k = self._head_norm(f"{base}.attn_k_norm", k, attention)
        fused = attention.head_dim % FUSED_ROTATION == 0
        if not fused:
            q = self._rotate(f"{base}.attn_q.rotated", q, cos.name, sin.name)
            k = self._rotate(f"{base}.attn_k.rotated", k, cos.name, sin.name)
        past = (f"past_key_values.{index}.key", f"past_key_values.{index}.value")
        tables = (cos.name, sin.name) if fused else ()
        mixed = self._node(
            "GroupQueryAttention", f"{base}.attention", q, k, v, *past, *lengths, *tables,
            outputs=(f"{base}.attention", f"present.{index}.key", f"present.{index}.value"),
            domain=CONTRIB, num_heads=attention.heads, kv_num_heads=attention.kv_heads,
            do_rotary=int(fused),
        )  # fmt: skip
        return self._matmul(f"{base}.attn_output", mixed)

    def _rotate(self, name: str, projected: str, cos: str, sin: str) -> str:
        """Heads rotated by their positions, where attention does not do it by itself."""
        inputs = (projected, self._positions(), cos, sin)
        return self._node("RotaryEmbedding", name, *inputs, domain=CONTRIB)

    def _positions(self) -> str:
        """Position of every token given, [batch, sequence]: how many the mask has before it."""
        name = "position_ids"
        if name not in self._made:
            counts = self._node(
                "CumSum", "attention_mask.counts", "attention_mask", self._scalar(1)
            )
            all_ = self._node("Sub", "attention_mask.positions", counts, self._ints(1))
            given = self._node("Shape", "input_ids.length", "input_ids", start=1, end=2)
            start = self._node("Neg", "input_ids.start", given)
            self._node("Slice", name, all_, start, self._ints(LAST), self._ints(1))
        return name

    def _head_norm(self, name: str, projected: str, attention: Attention) -> str:
        """Every head normed by itself: [batch, sequence, heads x head_dim] and back."""
        heads = self._node(
            "Reshape", f"{name}.heads", projected, self._ints(0, 0, -1, attention.head_dim)
        )
        normed = self._node(
            "RMSNormalization", name, heads, f"{name}.weight", epsilon=self._decoder.norm_epsilon
        )
        return self._node("Reshape", f"{name}.flat", normed, self._ints(0, 0, -1))

    def _feed_forward(self, index: int, normed: str) -> str:
        """down(silu(gate) * up)."""
        base = f"blk.{index}"
        gate, up = (self._matmul(f"{base}.ffn_{name}", normed) for name in ("gate", "up"))
        share = self._node("Sigmoid", f"{base}.ffn_gate.sigmoid", gate)
        silu = self._node("Mul", f"{base}.ffn_gate.silu", gate, share)
        return self._matmul(f"{base}.ffn_down", self._node("Mul", f"{base}.ffn", silu, up))

    def _matmul(self, base: str, x: str, name: str = "") -> str:
        """x times the matrix `base`.weight [out, in], transposed, plus its bias if there is one."""
        weight, bias = f"{base}.weight", f"{base}.bias"
        biased = bias in self._planes
        product = f"{base}.product" if biased else name or base
        encoding, planes = self._encodings[weight], self._planes[weight]
        if isinstance(encoding, BlockInts):
            self._node(
                "MatMulNBits", product, x, *(plane.name for plane in planes), domain=CONTRIB,
                K=self._columns[weight], N=planes[0].shape[0], bits=encoding.bits,
                block_size=encoding.block, accuracy_level=self._accuracy,
            )  # fmt: skip
        else:
            self._node("FusedMatMul", product, x, weight, domain=CONTRIB, transB=1)
        return self._node("Add", name or base, product, bias) if biased else product

    def _node(
        self,
        operator: str,
        name: str,
        *inputs: str,
        outputs: tuple[str, ...] = (),
        **attributes: Any,
    ) -> str:
        """Append a node; returns the name of its first output, which is its own."""
        from onnx import helper

        made = helper.make_node(operator, inputs, outputs or (name,), name, **attributes)
        self.nodes.append(made)
        self._made.add(name)
        return name

    def _flat(self, column: str) -> str:
        """[batch, 1] as [batch]."""
        return self._node("Reshape", f"{column}.flat", column, self._ints(-1))

    def _ints(self, *values: int) -> str:
        """A constant int64 vector."""
        return self._constant(f"ints.{'.'.join(map(str, values))}", (len(values),), values)

    def _scalar(self, value: int) -> str:
        return self._constant(f"scalar.{value}", (), (value,))

    def _constant(self, name: str, shape: tuple[int, ...], values: tuple[int, ...]) -> str:
        from onnx import TensorProto, helper

        self._constants[name] = helper.make_tensor(name, TensorProto.INT64, shape, values)
        return name


def model(graph: Graph, decoder: Decoder, producer_version: str) -> ModelProto:
    """The whole model, all but its data file."""
    from onnx import helper

    graph.build()
    inputs, outputs = _interface(decoder, graph.element)
    body = helper.make_graph(graph.nodes, "decoder", inputs, outputs, graph.initializers())
    return helper.make_model(
        body,
        producer_name="edgepack",
        producer_version=producer_version,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
    )


def _interface(decoder: Decoder, element: str) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    """Inputs and outputs; in the order that onnxruntime-genai's models have them."""
    from onnx import TensorProto, helper

    kind = _element_types()[element]

    def value(name: str, element_type: int, *shape: str | int) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, element_type, shape)

    inputs = [
        value("input_ids", TensorProto.INT64, "batch_size", "sequence_length"),
        value("attention_mask", TensorProto.INT64, "batch_size", "total_sequence_length"),
    ]
    outputs = [value("logits", kind, "batch_size", "sequence_length", decoder.vocabulary)]
    for index, layer in enumerate(decoder.layers):
        heads, size = layer.attention.kv_heads, layer.attention.head_dim
        for part in ("key", "value"):
            past = ("batch_size", heads, "past_sequence_length", size)
            present = ("batch_size", heads, "total_sequence_length", size)
            inputs.append(value(f"past_key_values.{index}.{part}", kind, *past))
            outputs.append(value(f"present.{index}.{part}", kind, *present))
    return inputs, outputs


def _external(initializer: Initializer) -> TensorProto:
    """A tensor whose bytes lie in the data file."""
    from onnx import TensorProto

    made = TensorProto(
        name=initializer.name,
        data_type=_element_types()[initializer.element],
        dims=initializer.shape,
        data_location=TensorProto.EXTERNAL,
    )
    for key, value in (
        ("location", DATA_FILE),
        ("offset", initializer.offset),
        ("length", initializer.size),
    ):
        made.external_data.add(key=key, value=str(value))
    return made


def _element_types() -> dict[str, int]:
    from onnx import TensorProto

    return {"F32": TensorProto.FLOAT, "F16": TensorProto.FLOAT16, "U8": TensorProto.UINT8}
