"""A GGUF taken for the model: the very bytes that llama.cpp's own quantizer makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from gguf import GGUFReader, GGUFValueType, GGUFWriter

from edgepack import formats
from edgepack.errors import DamagedInput, EdgepackError, Missing, Unsupported, UsageError
from edgepack.fidelity.tensors import compare
from edgepack.formats import Options
from edgepack.formats.gguf import Gguf, open_gguf
from edgepack.formats.gguf.metadata import FILE_TYPES
from edgepack.models import open_checkpoint
from edgepack.quant.schemes.gguf import SCHEMES
from edgepack.quant.schemes.mix import overridden
from edgepack.quant.schemes.overrides import NONE

FLOATS = ("F32", "F16", "BF16")
FROM_HALF = [
    name for name in SCHEMES if name != "Q2_K_S" and not name.startswith(("IQ1", "IQ2", "IQ3"))
]


@pytest.fixture
def converted(written, tmp_path):
    """A GGUF of a checkpoint: `converted(checkpoint, scheme)`."""

    def make(source, scheme, **options):
        folder = tmp_path / "converted"
        folder.mkdir(exist_ok=True)
        chosen = SCHEMES[scheme]
        artifact = written(Gguf(), source, chosen, folder, options=Options(**options))
        return artifact.entry(folder)

    return make


@pytest.fixture
def same(written, llama_quantize, tmp_path):
    """Quantize the file `source` here and there: the same bytes."""

    def check(source, name, options=formats.DEFAULTS, **settings):
        (tmp_path / "ours").mkdir(exist_ok=True)
        ours = written(Gguf(), open_gguf(source), SCHEMES[name], tmp_path / "ours", options=options)
        theirs = tmp_path / "theirs.gguf"
        llama_quantize(source, theirs, FILE_TYPES[name], **settings)
        assert ours.entry(tmp_path / "ours").read_bytes() == theirs.read_bytes()
        return ours

    return check


@pytest.fixture
def trained(reasoner):
    return open_checkpoint(str(reasoner))


@pytest.mark.oracle
@pytest.mark.parametrize("name", FROM_HALF)
def test_every_scheme_from_f16(converted, same, trained, name):
    assert same(converted(trained, "F16"), name).scheme == name


@pytest.mark.oracle
@pytest.mark.parametrize("source", FLOATS)
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_every_family_from_every_float(checkpoint, converted, same, family, source):
    """Rows of 256 are whole blocks, those of 48 none; llama has its heads reordered already."""
    made = checkpoint(family, hidden_size=256, intermediate_size=48, num_attention_heads=8)
    same(converted(made, source), "Q4_K_M")


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("source", "name"), [("Q8_0", "Q4_K_M"), ("Q6_K", "Q4_0"), ("Q4_K_M", "Q5_K_M")]
)
def test_a_quantized_one_if_allowed(converted, same, trained, source, name):
    """From Q4_K_M to Q5_K_M some tensors stay Q6_K: those are copied."""
    path = converted(trained, source)
    with pytest.raises(UsageError, match=f"{path}: .* already") as caught:
        Gguf().plan(open_gguf(path), SCHEMES[name])
    assert "--allow-requantize" in caught.value.hint
    same(path, name, Options(requantize=True), allow_requantize=True)


@pytest.mark.oracle
def test_a_split_one(converted, same, trained):
    path = converted(trained, "F16", split_bytes=2_000_000)
    assert open_gguf(path).name == "reasoner"
    artifact = same(path, "Q4_K_M")
    assert artifact.files[0].path == "reasoner-Q4_K_M.gguf"


@pytest.fixture
def foreign(converted, trained, tmp_path):
    """The fixture as another program might have written it: `foreign(change)`."""

    def make(change=lambda writer: None, keys=None, tensors=lambda name, data: data):
        reader = GGUFReader(converted(trained, "F16"))
        path = tmp_path / "foreign.gguf"
        writer = GGUFWriter(path, "qwen2")
        for name, value in reader.fields.items():
            if name.startswith("GGUF.") or name == "general.architecture":
                continue
            kind = value.types[0]
            inner = value.types[-1] if kind == GGUFValueType.ARRAY else None
            held = (keys or {}).get(name, value.contents())
            if held is not None:
                writer.add_key_value(name, held, kind, sub_type=inner)
        change(writer)
        for tensor in reader.tensors:
            data = tensors(tensor.name, np.array(tensor.data))
            if data is not None:
                writer.add_tensor(tensor.name, data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return make


def add_keys(writer):
    """A key of every type, and arrays; the file type is not the last of them."""
    kinds = GGUFValueType
    for kind, value in (
        (kinds.UINT8, 200), (kinds.INT8, -3), (kinds.UINT16, 60_000), (kinds.INT16, -300),
        (kinds.INT32, -70_000), (kinds.UINT64, 1 << 40), (kinds.INT64, -(1 << 40)),
        (kinds.FLOAT64, 1e300), (kinds.FLOAT32, 0.1), (kinds.BOOL, True), (kinds.STRING, "ß"),
    ):  # fmt: skip
        writer.add_key_value(f"some.{kind.name.lower()}", value, kind)
    writer.add_key_value("some.bytes", [1, 2, 255], kinds.ARRAY, sub_type=kinds.UINT8)
    writer.add_key_value("some.empty", "", kinds.STRING)


@pytest.mark.oracle
def test_keys_are_carried_over_whatever_their_type(foreign, same):
    same(foreign(add_keys), "Q4_K_M")


@pytest.mark.oracle
def test_what_no_scheme_touches_stays_as_it_is(foreign, same):
    """Norms in F16, and no file type: llama-quantize writes both keys at the end."""
    halved = lambda name, data: data.astype(np.float16) if "norm" in name else data  # noqa: E731
    same(foreign(keys={"general.file_type": None}, tensors=halved), "Q4_K_M")


@pytest.mark.oracle
def test_with_a_matrix_of_importance(converted, written, trained, imatrix_file, tmp_path):
    """The tensors that the checkpoint itself gives with it."""
    from edgepack.formats.gguf.imatrix import read_importance

    random = np.random.default_rng(6)
    sums = {
        weight.name: random.random(weight.shape[-1]).astype(np.float32)
        for weight in trained.decoder.weights
        if weight.layer is not None and len(weight.shape) == 2
    }
    options = Options(importance=read_importance(imatrix_file(tmp_path, sums)))
    chosen = overridden(SCHEMES["Q4_K_M"], NONE, measured=True)
    digests = set()
    for number, source in enumerate((trained, open_gguf(converted(trained, "F32")))):
        (tmp_path / str(number)).mkdir()
        made = written(Gguf(), source, chosen, tmp_path / str(number), options=options)
        digests.add(made.tensor_digest)
    assert len(digests) == 1


def test_tensors_are_compared_with_it(converted, written, trained, tmp_path):
    source = open_gguf(converted(trained, "F16"))
    artifact = written(Gguf(), source, SCHEMES["Q4_K_M"], tmp_path)
    entry = artifact.entry(tmp_path)
    found = compare("x", "gguf", Gguf().tensors(entry, source), source, lambda done, total: None)
    assert found.misplaced == ()
    assert 0.05 < found.tensors[0].relative_rmse < 0.12


@pytest.mark.parametrize("name", ["mlx", "onnx"])
def test_other_formats_want_the_checkpoint(converted, trained, name):
    form = formats.named(name)
    with pytest.raises(Unsupported, match="no checkpoint") as caught:
        form.plan(open_gguf(converted(trained, "F16")), form.schemes.scheme("F16"))
    assert "--to gguf" in caught.value.hint


def test_facts_come_from_the_keys(converted, checkpoint):
    source = checkpoint("llama", num_attention_heads=8, num_key_value_heads=2)
    found, own = open_gguf(converted(source, "BF16")).decoder, source.decoder
    assert (found.width, found.vocabulary, found.context_length) == (
        own.width, own.vocabulary, own.context_length,
    )  # fmt: skip
    assert len(found.layers) == len(own.layers)
    ours, theirs = found.layers[0].attention, own.layers[0].attention
    assert (ours.heads, ours.kv_heads, ours.head_dim) == (
        theirs.heads, theirs.kv_heads, theirs.head_dim,
    )  # fmt: skip
    assert found.tied_embeddings == own.tied_embeddings
    assert found.parameters == sum(weight.elements for weight in own.weights)


@pytest.mark.parametrize(
    ("name", "shape", "told"),
    [
        ("blk.0.ffn_up_exps.weight", (4, 8, 256), r"ffn_up_exps\.weight \[4, 8, 256\]"),
        ("blk.0.attn_qkv.weight", (8, 256), "attn_qkv"),
    ],
)
def test_rules_that_are_not_known_are_not_guessed(foreign, name, shape, told):
    path = foreign(lambda writer: writer.add_tensor(name, np.zeros(shape, np.float16)))
    with pytest.raises(Unsupported, match=told):
        open_gguf(path)


@pytest.mark.parametrize("value", [None, 0, 1 << 31])
def test_keys_that_say_nothing(foreign, value):
    with pytest.raises(DamagedInput, match=r"qwen2\.block_count is"):
        open_gguf(foreign(keys={"qwen2.block_count": value}))


def test_a_file_without_an_embedding(foreign):
    drop = lambda name, data: None if name == "token_embd.weight" else data  # noqa: E731
    with pytest.raises(DamagedInput, match=r"no token_embd\.weight"):
        open_gguf(foreign(tensors=drop))


def test_no_such_file(tmp_path):
    with pytest.raises(Missing, match="no such file"):
        open_gguf(tmp_path / "none.gguf")


def test_a_byte_changed_anywhere_in_the_head_is_no_traceback(converted, checkpoint, tmp_path):
    content = converted(checkpoint("llama"), "F16").read_bytes()
    path, random = tmp_path / "changed.gguf", np.random.default_rng(7)
    refused = 0
    for _ in range(400):
        changed = bytearray(content)
        changed[random.integers(0, 12_000)] ^= 1 << int(random.integers(0, 8))
        path.write_bytes(changed)
        try:
            Gguf().plan(open_gguf(path), SCHEMES["Q4_0"])
        except EdgepackError:
            refused += 1
    assert refused > 20
