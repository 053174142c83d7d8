"""The four-bit path for real, on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

bitsandbytes = pytest.importorskip("bitsandbytes")
pytest.importorskip("accelerate")

from t4dm_daemon.qwen import Retrieved, UnifiedModel, load_base  # noqa: E402
from tests.support.tiny_qwen import SPEC, save_tiny  # noqa: E402

MEMORIES = [[Retrieved("a", "w1 w2 w3", 0.8), Retrieved("b", "w4 w5", 0.7)], [Retrieved("c", "w9 w8", 0.5)]]
IDS = torch.randint(3, 64, (2, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model(tmp_path: Path) -> UnifiedModel:
    loaded = load_base(save_tiny(tmp_path / "tiny"), quantise=True)
    torch.manual_seed(0)
    return UnifiedModel(loaded.model, SPEC, loaded.tokenizer)


def test_the_linear_layers_are_packed_in_four_bits_with_their_scales_packed_too(model: UnifiedModel):
    packed = [m for m in model.base.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]

    assert len(packed) == 4 * 7
    assert all(m.weight.dtype == torch.uint8 for m in packed)
    assert all(m.weight.quant_state.quant_type == "nf4" and m.weight.quant_state.nested for m in packed)
    assert model.base.get_input_embeddings().weight.dtype == torch.float32


def test_one_step_gives_gradients_to_every_lora_and_every_block_and_none_to_the_frozen(model: UnifiedModel):
    model.train()
    trained = model.trained_parameters()
    optimiser = torch.optim.AdamW(trained.values(), lr=1e-2)
    # At the start B is 0, and so is the recurrence's output: what lies behind them gets its first gradient one step later.
    for _ in range(2):
        optimiser.zero_grad()
        loss = model(IDS, bank=model.bank(MEMORIES), labels=IDS).loss
        assert loss is not None
        loss.backward()
        optimiser.step()

    used = {name: p for name, p in trained.items() if not name.startswith("heads.")}  # their loss is another one
    silent = [name for name, p in used.items() if p.grad is None or p.grad.abs().max() == 0]
    assert silent == []
    assert sum(name.startswith("lora.") for name in used) == 4 * 2 * 2
    assert all(torch.isfinite(p.grad).all() for p in used.values() if p.grad is not None)
    assert all(p.grad is None for p in model.parameters() if not p.requires_grad)


def test_the_loss_falls_over_fifty_steps(model: UnifiedModel):
    model.train()
    optimiser = torch.optim.AdamW(model.trained_parameters().values(), lr=1e-2)
    losses = []
    for _ in range(50):
        optimiser.zero_grad()
        loss = model(IDS, bank=model.bank(MEMORIES), labels=IDS).loss
        assert loss is not None
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    # Two texts of eight tokens can be learned by heart; the first loss is that of a model that knows nothing.
    assert losses[0] > 3.0
    assert losses[-1] < 0.5 * losses[0]


def test_a_packed_model_generates_with_a_cache_what_it_generates_without(model: UnifiedModel):
    model.eval()
    bank = model.bank(MEMORIES)
    expected = IDS
    with torch.no_grad():
        for _ in range(6):
            expected = torch.cat([expected, model(expected, bank=bank).logits[:, -1].argmax(-1, keepdim=True)], 1)

    assert torch.equal(model.generate(IDS, bank=bank, max_new_tokens=6, do_sample=False), expected)
