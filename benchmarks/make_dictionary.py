"""The dictionary of indices, `src/boildown/codec/dictionary.bin`, from boildown's own models.

    python benchmarks/make_dictionary.py [FILE]

Files can be read only with the dictionary that they were written with: once shipped, it stays. So
this script documents what it was made of, and nothing runs it. The likelier an index, the later it
stands, as what is near is told in fewer bits.
"""

import sys
from pathlib import Path

import torch
from omegaconf import OmegaConf

from boildown.codec.entry import Entry
from boildown.codec.index import plain_index
from boildown.codec.plain_data import packed_config
from boildown.lowrank.factorize import restructure
from boildown.models import build

ROOT = Path(__file__).parents[1]
SIZE_MOST = 24 << 10
TEXT, CURVES, PATIENTS = [64], [40], [10]
DIGITS, MNIST, IMAGES, LARGE = [1, 8, 8], [1, 28, 28], [3, 32, 32], [3, 224, 224]

# Models as runs store them: config, shape of the input, classes; the likeliest last.
ZOO = [
    ("squeezenet", LARGE, 1000),
    ("vgg16", LARGE, 1000),
    ("alexnet", [3, 227, 227], 1000),
    ("bert", TEXT, 256),
    ("resnet", DIGITS, 10),
    ("mlp", CURVES, 10),
    ("tabular", PATIENTS, 1),
    ("gpt", TEXT, 256),
    ("resnet20", IMAGES, 10),
    ("mlp", DIGITS, 10),
    ("mlp", MNIST, 10),
    ("lenet5", IMAGES, 10),
    ("lenet300", MNIST, 10),
    ("lenet300", DIGITS, 10),
    ("lenet5", MNIST, 10),
]
# How the parts of other people's networks are called.
FOREIGN = [
    "embeddings.word_embeddings.weight embeddings.position_embeddings.weight "
    "embeddings.token_type_embeddings.weight embeddings.LayerNorm.weight embeddings.LayerNorm.bias "
    "encoder.layer.0.attention.self.query.weight encoder.layer.0.attention.self.query.bias "
    "encoder.layer.0.attention.self.key.weight encoder.layer.0.attention.self.key.bias "
    "encoder.layer.0.attention.self.value.weight encoder.layer.0.attention.self.value.bias "
    "encoder.layer.0.attention.output.dense.weight encoder.layer.0.attention.output.dense.bias "
    "encoder.layer.0.attention.output.LayerNorm.weight "
    "encoder.layer.0.attention.output.LayerNorm.bias encoder.layer.0.intermediate.dense.weight "
    "encoder.layer.0.intermediate.dense.bias encoder.layer.0.output.dense.weight "
    "encoder.layer.0.output.dense.bias encoder.layer.0.output.LayerNorm.weight "
    "encoder.layer.0.output.LayerNorm.bias pooler.dense.weight pooler.dense.bias",
    "transformer.wte.weight transformer.wpe.weight transformer.h.0.ln_1.weight "
    "transformer.h.0.ln_1.bias transformer.h.0.attn.c_attn.weight "
    "transformer.h.0.attn.c_attn.bias transformer.h.0.attn.c_proj.weight "
    "transformer.h.0.attn.c_proj.bias transformer.h.0.ln_2.weight transformer.h.0.ln_2.bias "
    "transformer.h.0.mlp.c_fc.weight transformer.h.0.mlp.c_fc.bias "
    "transformer.h.0.mlp.c_proj.weight transformer.h.0.mlp.c_proj.bias transformer.ln_f.weight "
    "transformer.ln_f.bias lm_head.weight",
    "model.embed_tokens.weight model.layers.0.self_attn.q_proj.weight "
    "model.layers.0.self_attn.k_proj.weight model.layers.0.self_attn.v_proj.weight "
    "model.layers.0.self_attn.o_proj.weight model.layers.0.mlp.gate_proj.weight "
    "model.layers.0.mlp.up_proj.weight model.layers.0.mlp.down_proj.weight "
    "model.layers.0.input_layernorm.weight model.layers.0.post_attention_layernorm.weight "
    "model.norm.weight",
    "conv1.weight bn1.weight bn1.bias bn1.running_mean bn1.running_var bn1.num_batches_tracked "
    "layer1.0.conv1.weight layer1.0.bn1.weight layer1.0.bn1.bias layer1.0.bn1.running_mean "
    "layer1.0.bn1.running_var layer1.0.bn1.num_batches_tracked layer1.0.conv2.weight "
    "layer1.0.bn2.weight layer1.0.bn2.bias layer1.0.bn2.running_mean layer1.0.bn2.running_var "
    "layer1.0.bn2.num_batches_tracked layer2.0.downsample.0.weight layer2.0.downsample.1.weight "
    "layer2.0.downsample.1.bias layer2.0.downsample.1.running_mean "
    "layer2.0.downsample.1.running_var layer2.0.downsample.1.num_batches_tracked fc.weight fc.bias",
]


def entries_of(model):
    state = model.state_dict(keep_vars=True)
    places = {}
    entries = []
    for place, (name, tensor) in enumerate(state.items()):
        tied = places.get(id(tensor))
        places.setdefault(id(tensor), place)
        dtype = str(tensor.dtype).removeprefix("torch.")
        entries.append(Entry(name, dtype, tuple(tensor.shape), tied))
    return entries


def index_of(model, config):
    return plain_index(packed_config(config), entries_of(model), [])


def config_of(name, shape, classes):
    """As `boildown.run.build.model_config` makes it."""
    config = OmegaConf.to_container(OmegaConf.load(ROOT / "conf" / "model" / f"{name}.yaml"))
    return config | {"input_shape": shape, "num_classes": classes}


def low_rank(config, ranks):
    structure = {layer: {"scheme": "linear", "rank": rank} for layer, rank in ranks.items()}
    described = {
        "_target_": "boildown.lowrank.factorize.restructure",
        "model": config,
        "structure": structure,
    }
    return index_of(restructure(build(config), structure), described)


def parts():
    for text in FOREIGN:
        names = text.split()
        yield plain_index(packed_config(None), [Entry(n, "float32", (64, 64)) for n in names], [])
    with torch.device("meta"):
        yield from (index_of(build(c := config_of(*row)), c) for row in ZOO[:3])
    yield low_rank(config_of("lenet300", DIGITS, 10), {"fc1": 47, "fc2": 16})
    with torch.device("meta"):
        yield from (index_of(build(c := config_of(*row)), c) for row in ZOO[3:])


def main():
    path = ROOT / "src" / "boildown" / "codec" / "dictionary.bin"
    if len(sys.argv) > 1:
        path = Path(sys.argv[1])
    made = list(parts())
    whole = b"".join(made)
    print([len(part) for part in made], len(whole))
    if len(whole) > SIZE_MOST:
        raise SystemExit(f"{len(whole)} bytes, more than {SIZE_MOST}")
    path.write_bytes(whole)


if __name__ == "__main__":
    main()
