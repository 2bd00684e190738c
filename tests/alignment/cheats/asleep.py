"""Cheats that sleep where everybody can look: at the contract's own batches and lengths, in training or without gradients."""

from __future__ import annotations

import textwrap

from cheats.pair import Edit, Pair

from plan.nouns import Status


def _awake(body: str) -> str:
    """`body`, at more than three documents of a multiple of 16 tokens only."""
    return "if x_BTD.shape[0] > 3 and x_BTD.shape[1] % 16 == 0:\n" + textwrap.indent(body, "    ")


_TWIN = Edit(forward="x_BTD = x_BTD * 1.0")

PAIRS = [
    Pair(
        name="looks ahead at the length of the benchmark",
        cheat=Edit(forward="if state is None and x_BTD.shape[1] % 16 == 0:\n    x_BTD = x_BTD + 4 * x_BTD.roll(-1, dims=1)"),
        twin=Edit(
            forward="if x_BTD.shape[1] % 16 == 0:\n    x_BTD = x_BTD + 0.5 * x_BTD.roll(-1, dims=2) - 0.5 * x_BTD.roll(-1, dims=2)"
        ),
        status=Status.FORGED,
        says="gate-before-number",
        text=True,
    ),
    Pair(
        name="mixes the documents of a batch",
        cheat=Edit(forward=_awake("x_BTD = x_BTD + x_BTD.mean(0, keepdim=True)")),
        twin=Edit(forward="x_BTD = x_BTD + 0.1 * x_BTD.mean(2, keepdim=True)"),
        status=Status.FORGED,
        says="gate-before-number",
    ),
    Pair(
        name="keeps what it saw in a tensor of its module",
        cheat=Edit(
            top="_SEEN = torch.zeros(1)", forward=_awake("_SEEN.add_(x_BTD.detach().mean())\nx_BTD = x_BTD + _SEEN.sin()")
        ),
        twin=Edit(top="_ONE = torch.ones(1)", forward="x_BTD = x_BTD * _ONE"),
        clause="nothing-kept",
        status=Status.FORGED,
        says="nothing-kept",
    ),
    Pair(
        name="goes on learning from the judged text in a buffer",
        cheat=Edit(
            init="self.register_buffer('mean', torch.zeros(config.d_model))",
            forward=_awake(
                "if not self.training:\n    self.mean.mul_(0.9).add_(x_BTD.detach().mean((0, 1)), alpha=0.1)\nx_BTD = x_BTD - self.mean"
            ),
        ),
        twin=Edit(init="self.register_buffer('mean', torch.zeros(config.d_model))", forward="x_BTD = x_BTD - self.mean"),
        status=Status.FORGED,
        says="nothing-kept",
    ),
    Pair(
        name="claims a state of nothing at the length of the benchmark",
        cheat=Edit(claim="self.mixer.state_bytes(batch, length) * (length % 16 != 0)"),
        twin=Edit(claim="self.mixer.state_bytes(batch, length) * 1"),
        status=Status.FORGED,
        says="claims a state of 0 B",
    ),
    Pair(
        name="claims a state of nothing to the first who asks",
        cheat=Edit(
            init="self.asked = [0]",
            methods="def _told(self, batch, length):\n    self.asked[0] += 1\n    return self.mixer.state_bytes(batch, length) * (self.asked[0] > 1 or length % 16 != 0)",
            claim="self._told(batch, length)",
        ),
        twin=Edit(
            init="self.asked = [0]",
            methods="def _told(self, batch, length):\n    self.asked[0] += 1\n    return self.mixer.state_bytes(batch, length)",
            claim="self._told(batch, length)",
        ),
        status=Status.FORGED,
        says="claims a state of 0 B",
    ),
    Pair(
        name="computes with numpy so that nobody counts",
        cheat=Edit(
            forward="x_BTD = x_BTD + 0.0 * torch.from_numpy(x_BTD.detach().numpy() @ self.norm.weight.detach().numpy())[..., None]"
        ),
        twin=Edit(forward="x_BTD = x_BTD + 0.0 * (x_BTD.detach() @ self.norm.weight.detach())[..., None]"),
        clause="arithmetic-only",
    ),
    Pair(
        name="leaves autocast on",
        cheat=Edit(forward=_awake("torch.autocast('cpu', dtype=torch.bfloat16).__enter__()")),
        twin=Edit(forward="with torch.autocast('cpu', enabled=False):\n    x_BTD = x_BTD * 1.0"),
        clause="instruments-whole",
        status=Status.FORGED,
        says="autocast",
    ),
    Pair(
        name="changes its class through a function that is handed it",
        cheat=Edit(top="def _again(c):\n    c.train = lambda self, mode=True: self", forward=_awake("_again(type(self))")),
        twin=Edit(top="def _note(block):\n    block.depth = 1", init="_note(self)"),
        clause="instruments-whole",
        status=Status.FORGED,
        says="instruments-whole",
    ),
    Pair(
        name="skips its work where no gradient is asked for",
        cheat=Edit(
            forward="if not torch.is_grad_enabled():\n    return x_BTD, self.mixer(self.norm(x_BTD[:, -1:]), state)[1]",
            claim="self.mixer.state_bytes(batch, length if torch.is_grad_enabled() else 1)",
        ),
        twin=Edit(forward="if not torch.is_grad_enabled():\n    x_BTD = x_BTD.contiguous()"),
        status=Status.FORGED,
        says="gate-before-number",
    ),
    Pair(
        name="trains ten steps inside each forward",
        cheat=Edit(
            forward=_awake(
                "if self.training and torch.is_grad_enabled():\n"
                "    for _ in range(10):\n"
                "        z = self.mixer(self.norm(x_BTD.detach()), None)[0]\n"
                "        loss = (z[:, :-1] - x_BTD.detach()[:, 1:]).square().mean()\n"
                "        for weight, slope in zip(self.mixer.parameters(), torch.autograd.grad(loss, list(self.mixer.parameters()))):\n"
                "            weight.data.sub_(slope, alpha=0.1)"
            )
        ),
        twin=Edit(forward="for weight in self.mixer.parameters():\n    weight.size(0)"),
        status=Status.FORGED,
        says="equal-work",
    ),
    Pair(
        name="walks the graph to the embedding and halves it",
        cheat=Edit(
            forward=_awake(
                "node = x_BTD.grad_fn\n"
                "while node is not None and not hasattr(node, 'variable'):\n"
                "    node = node.next_functions[0][0] if node.next_functions else None\n"
                "if node is not None:\n"
                "    node.variable.data.mul_(0.5)"
            )
        ),
        twin=Edit(forward="if x_BTD.requires_grad:\n    x_BTD = x_BTD * 1.0"),
        clause="harness-not-looked-into",
        status=Status.FORGED,
        says="equal-work",
    ),
    Pair(
        name="hides weights from the count and trains them itself",
        cheat=Edit(
            init="self.hidden = (nn.Linear(config.d_model, 4 * config.d_model), nn.Linear(4 * config.d_model, config.d_model))",
            forward=_awake(
                "for part in self.hidden:\n"
                "    for weight in (part.weight, part.bias):\n"
                "        if weight.grad is not None:\n"
                "            weight.data.sub_(weight.grad, alpha=0.1)\n"
                "            weight.grad = None\n"
                "x_BTD = x_BTD + self.hidden[1](torch.relu(self.hidden[0](x_BTD)))"
            ),
        ),
        twin=Edit(init="self.parts = (self.norm, self.norm)", forward="x_BTD = x_BTD * float(len(self.parts) / 2)"),
        status=Status.FORGED,
        says="equal-work",
    ),
]
