from __future__ import annotations

import torch
from tiny import tiny_model

from agentdistill.learner.optim import make_optimizer
from agentdistill.learner.settings import LearnerSettings


def test_muon_takes_the_hidden_matrices_and_nothing_else() -> None:
    model = tiny_model(seed=0, hidden=32)
    optimizer = make_optimizer(model, LearnerSettings(optimizer="muon", lr=1e-3, muon_ratio=5.0))
    muon, adam = optimizer.members
    names = {id(p): name for name, p in model.named_parameters()}
    of_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    of_adam = {names[id(p)] for group in adam.param_groups for p in group["params"]}
    assert of_muon | of_adam == set(names.values()) and not of_muon & of_adam
    assert "model.embed_tokens.weight" in of_adam
    assert all("proj" in name for name in of_muon)
    optimizer.set_learning_rate(2e-3)
    assert muon.param_groups[0]["lr"] == 0.01
    assert all(group["lr"] == 2e-3 for group in adam.param_groups)


def test_the_state_of_several_optimisers_restores_bit_for_bit() -> None:
    settings = LearnerSettings(optimizer="muon", lr=1e-2)

    def stepped(model: torch.nn.Module, optimizer, times: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(times):
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.set_learning_rate(1e-2)
            optimizer.step()

    whole, first = tiny_model(seed=1, hidden=32), tiny_model(seed=1, hidden=32)
    one, two = make_optimizer(whole, settings), make_optimizer(first, settings)
    stepped(whole, one, 2, seed=0)
    stepped(first, two, 2, seed=0)
    resumed = tiny_model(seed=2, hidden=32)
    resumed.load_state_dict(first.state_dict())
    three = make_optimizer(resumed, settings)
    three.load_state_dict(two.state_dict())
    stepped(whole, one, 2, seed=5)
    stepped(resumed, three, 2, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
