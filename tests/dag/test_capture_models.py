"""Whole architectures, written as their users write them: the graph returns the same bits."""

import operator

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from snnkit.dag import CaptureError, DagModule, GraphError, build_from_unstructured_module
from snnkit.dag.capture.verification import compare


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([self.stage(3, 4), self.stage(4, 8)])
        self.middle = self.stage(8, 8)
        self.up = nn.ModuleList([nn.ConvTranspose2d(8, 8, 2, 2), nn.ConvTranspose2d(8, 4, 2, 2)])
        self.merge = nn.ModuleList([self.stage(16, 8), self.stage(8, 4)])
        self.head = nn.Conv2d(4, 2, 1)

    @staticmethod
    def stage(inputs, outputs):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )

    def forward(self, x):
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.middle(x)
        for up, merge in zip(self.up, self.merge, strict=True):
            skip = skips.pop()
            x = up(x)
            if x.shape[-2:] != skip.shape[-2:]:
                x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = merge(torch.cat([x, skip], dim=1))
        return self.head(x)


class Shuffled(nn.Module):
    """Inverted residuals with squeeze and excitation, and a channel shuffle."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Conv2d(4, 12, 1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.squeeze, self.excite = nn.Conv2d(12, 3, 1), nn.Conv2d(3, 12, 1)
        self.project = nn.Conv2d(12, 4, 1)
        self.branch = nn.Conv2d(2, 2, 1)

    def forward(self, x):
        y = F.hardswish(self.depthwise(F.relu6(self.expand(x))))
        y = y * torch.sigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        y = self.project(y) + x
        first, second = y.chunk(2, dim=1)
        joined = torch.cat((first, self.branch(second)), 1)
        batch, channels, height, width = joined.size()
        joined = joined.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous()
        return joined.view(batch, -1, height, width)


class Attention(nn.Module):
    def __init__(self, width=16, heads=2):
        super().__init__()
        self.heads = heads
        self.norm, self.qkv, self.out = (
            nn.LayerNorm(width),
            nn.Linear(width, 3 * width),
            nn.Linear(width, width),
        )

    def forward(self, x, mask=None):
        batch, steps, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(batch, steps, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = query @ key.transpose(-2, -1) * (width // self.heads) ** -0.5
        causal = torch.ones(steps, steps, dtype=torch.bool, device=x.device).tril()
        scores = scores.masked_fill(~causal, float("-inf"))
        if mask is not None:
            scores = scores.masked_fill(mask[:, None, None, :], torch.finfo(scores.dtype).min)
        return x + self.out((scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, steps, width))


class Transformer(nn.Module):
    """A language model with tied embeddings and a key padding mask."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.position = nn.Parameter(torch.randn(12, 16))
        self.layers = nn.ModuleList([Attention(), Attention()])

    def forward(self, tokens, padding=None):
        x = self.embed(tokens) + self.position[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, mask=padding)
        return x @ self.embed.weight.t()


class Recurrent(nn.Module):
    """An encoder and a decoder that is unrolled in Python."""

    def __init__(self):
        super().__init__()
        self.encoder, self.cell, self.out = nn.GRU(5, 8, batch_first=True), nn.LSTMCell(3, 8), nn.Linear(8, 3)

    def forward(self, x):
        _, state = self.encoder(x)
        hidden, cell = state[0], torch.zeros_like(state[0])
        step, steps = x.new_zeros(x.shape[0], 3), []
        for _ in range(4):
            hidden, cell = self.cell(step, (hidden, cell))
            step = self.out(hidden)
            steps.append(step)
        return torch.stack(steps, dim=1), (hidden, cell)


class Padded(nn.Module):
    """Torch's encoder, which looks at the numbers of a padding mask to choose a faster way."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, x, padding):
        return self.encoder(x, src_key_padding_mask=padding)


class WithClassToken(nn.Module):
    """Uses len(), which Python turns into a plain number, for the batch."""

    def __init__(self):
        super().__init__()
        self.embed, self.token = nn.Linear(8, 6), nn.Parameter(torch.randn(1, 1, 6))

    def forward(self, x):
        return torch.cat([self.token.expand(len(x), -1, -1), self.embed(x)], dim=1)


def tokens(batch):
    return torch.randint(0, 20, (batch, 9)), torch.arange(9).expand(batch, 9) > 6


MODELS = {
    "unet": (UNet, lambda batch: (torch.randn(batch, 3, 18, 22),)),
    "shuffled": (Shuffled, lambda batch: (torch.randn(batch, 4, 6, 6),)),
    "transformer": (Transformer, tokens),
    "class token": (WithClassToken, lambda batch: (torch.randn(batch, 3, 8),)),
    "padded": (Padded, lambda batch: (torch.randn(batch, 9, 8), tokens(batch)[1])),
    "recurrent": (Recurrent, lambda batch: (torch.randn(batch, 6, 5),)),
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_architectures_are_captured_for_any_batch_and_saved(name, training, tmp_path):
    make, inputs = MODELS[name]
    torch.manual_seed(0)
    model = make().train(training)
    graph = build_from_unstructured_module(model, inputs(2), copy=True)
    graph.save(tmp_path / "graph")
    loaded = DagModule.load(tmp_path / "graph")
    given = inputs(5)
    expected = model(*given)
    assert compare(expected, graph(*given)) is None
    assert compare(expected, loaded(*given)) is None


def test_nested_graphs_have_the_names_of_modules_and_arguments():
    graph = build_from_unstructured_module(Transformer(), tokens(2))
    layer = graph.get_vertex_by_name("layers.0").module
    assert [vertex.name for vertex in layer.input_vertices] == ["x", "mask"]
    assert {"norm", "qkv", "out"} <= {vertex.name for vertex in layer.vertices}
    assert graph.flatten().get_vertex_by_name("layers.1.qkv").module.weight.shape == (48, 16)
    assert graph.meta_copy()(*(value.to("meta") for value in tokens(3))).shape == (3, 9, 20)


def test_graphs_follow_their_parameters_to_double_precision():
    model = Transformer().double()
    graph = build_from_unstructured_module(Transformer(), tokens(2), copy=True).double()
    graph.load_state_dict(build_from_unstructured_module(model, tokens(2)).state_dict())
    given = tokens(4)
    assert graph(*given).dtype == torch.float64
    assert torch.equal(graph(*given), model(*given))


def test_a_graph_that_cannot_follow_the_batch_says_so_and_holds_for_the_examples():
    class Untraced(WithClassToken):
        def forward(self, x):
            return torch.cat([self.token.expand(operator.length_hint(x), -1, -1), self.embed(x)], dim=1)

    model, x = Untraced(), torch.randn(2, 3, 8)
    graph = build_from_unstructured_module(model, (x,))
    assert compare(model(x), graph(x)) is None
    with pytest.raises(GraphError, match="holds for those of the example"):
        graph(torch.randn(3, 3, 8))


def test_lazy_layers_are_refused_before_anything_runs():
    with pytest.raises(CaptureError, match="1 has no sizes yet: run the model once"):
        build_from_unstructured_module(nn.Sequential(nn.ReLU(), nn.LazyLinear(3)), (torch.randn(2, 5),))
