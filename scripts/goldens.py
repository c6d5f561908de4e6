#!/usr/bin/env python3
"""Writes tests/goldens: small cases whose outputs and gradients were computed by PyTorch in float64.

    python scripts/goldens.py [OUT_DIR]

Needs torch 2.15.0, numpy and safetensors; the seeds are fixed, so another run writes the same bytes.

Cells that torch has (RNN, LSTM with and without projection, GRU) are run by torch.nn; the variants that it does not
have are written down below, one function a cell, from their published formulas, and differentiated by torch autograd.
To check those functions, each is also run in its plain form against torch.nn before anything is written.

A case is NAME.safetensors plus an entry in manifest.json. `in.*`, `param.*`, `up.*` are what goes in (exact in float32),
`out.*` and `grad.*` what must come out, `out64.*` and `grad64.*` the same in float64. The loss is the sum of up * out.
"""
import json
import math
import pathlib
import sys
import zlib

import torch
from safetensors.torch import save_file
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.set_num_threads(1)
ORDER = {"rnn": ["h"], "lstm": ["i", "f", "g", "o"], "gru": ["r", "z", "n"]}
DEFAULT_ACTIVATIONS = {
    "rnn": {"candidate": "tanh"},
    "lstm": {"gate": "sigmoid", "candidate": "tanh", "hidden": "tanh"},
    "gru": {"gate": "sigmoid", "candidate": "tanh"},
}


class Numbers:
    """Seeded numbers that float32 holds exactly, as float64."""

    def __init__(self, name):
        self.generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))

    def normal(self, *shape, scale=1.0):
        return (torch.randn(*shape, generator=self.generator) * scale).double()

    def uniform(self, *shape, bound):
        return ((torch.rand(*shape, generator=self.generator) * 2 - 1) * bound).double()

    def lengths(self, time, batch):
        lengths = torch.randint(1, time + 1, (batch,), generator=self.generator)
        lengths[int(torch.randint(0, batch, (1,), generator=self.generator))] = time
        return lengths


# ------------------------------------------------------------------------------------------------ cells torch lacks


def activate(spec, x):
    """ONNX's activations, with its defaults for alpha and beta."""
    name = spec if isinstance(spec, str) else spec["name"]
    given = {} if isinstance(spec, str) else spec
    a = lambda default: given.get("alpha", default)
    b = lambda default: given.get("beta", default)
    if name == "sigmoid":
        return torch.sigmoid(x)
    if name == "tanh":
        return torch.tanh(x)
    if name == "relu":
        return torch.relu(x)
    if name == "linear":
        return x
    if name == "affine":
        return a(1.0) * x + b(0.0)
    if name == "leaky_relu":
        return torch.nn.functional.leaky_relu(x, a(0.01))
    if name == "thresholded_relu":
        return x * (x >= a(1.0))
    if name == "scaled_tanh":
        return a(1.0) * torch.tanh(b(1.0) * x)
    if name == "hard_sigmoid":
        return (a(0.2) * x + b(0.5)).clamp(0, 1)
    if name == "elu":
        return torch.nn.functional.elu(x, a(1.0))
    if name == "softsign":
        return torch.nn.functional.softsign(x)
    if name == "softplus":
        return torch.logaddexp(x, torch.zeros_like(x))
    raise ValueError(name)


class Step:
    """One time step of one layer and direction, parameters by gate name."""

    def __init__(self, case, direction, parameters):
        self.case, self.parameters = case, parameters
        self.cell, self.hidden = case["cell"], case["sizes"]["hidden"]
        self.attributes, self.conventions = case["attributes"], case["conventions"]
        self.acts = self.attributes["activations"][direction]

    def gates(self, name):
        """The G blocks of a parameter, or zeros."""
        order = self.conventions["gate_order"]
        tensor = self.parameters.get(name)
        if tensor is None:
            return {gate: 0.0 for gate in order}
        return dict(zip(order, tensor.split(self.hidden)))

    def clip(self, x):
        bound = self.attributes.get("clip")
        return x.clamp(-bound, bound) if bound else x

    def product(self, x, name):
        return dict(zip(self.conventions["gate_order"], (x @ self.parameters[name].T).split(self.hidden, -1)))

    def biases(self):
        """Input-side and recurrent-side bias by gate; a single one counts as the input side's."""
        single = "b" if "b" in self.parameters else "b_x"
        return self.gates(single), self.gates("b_h")

    def standardise(self, x):
        epsilon = self.attributes["layer_norm"]["epsilon"]
        centred = x - x.mean(-1, keepdim=True)
        return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + epsilon)

    def __call__(self, x, h, c):
        kind = self.attributes.get("layer_norm", {}).get("kind", "")
        wx, uh = self.product(x, "w_x"), self.product(h, "w_h")
        if kind.startswith("whole_then_sum"):
            wx = self.whole(wx, "ln_x.gamma")
            uh = self.whole(uh, "ln_h.gamma")
        new_h, new_c = getattr(self, self.cell)(wx, uh, h, c)
        keep = self.attributes.get("zoneout_prob", 0.0)
        return keep * h + (1 - keep) * new_h, new_c

    def whole(self, product, scale):
        row = self.standardise(torch.cat(list(product.values()), -1)) * self.parameters[scale]
        return dict(zip(product, row.split(self.hidden, -1)))

    def rnn(self, wx, uh, h, c):
        bx, bh = self.biases()
        return activate(self.acts["candidate"], self.clip(wx["h"] + bx["h"] + uh["h"] + bh["h"])), None

    def gru(self, wx, uh, h, c):
        bx, bh = self.biases()
        gate = lambda name: activate(self.acts["gate"], self.clip(wx[name] + bx[name] + uh[name] + bh[name]))
        r, z = gate("r"), gate("z")
        if self.conventions["gru_reset"] == "before":
            recurrent = self.product(r * h, "w_h")["n"] + bh["n"]
        else:
            recurrent = r * (uh["n"] + bh["n"])
        n = activate(self.acts["candidate"], self.clip(wx["n"] + bx["n"] + recurrent))
        old, new = (z, 1 - z) if self.conventions["gru_update"] == "keep_old" else (1 - z, z)
        return old * h + new * n, None

    def lstm(self, wx, uh, h, c):
        bx, bh = self.biases()
        peephole = dict.fromkeys("ifgo", 0.0)
        if "peephole" in self.parameters:
            blocks = self.parameters["peephole"].split(self.hidden)
            peephole.update(zip(self.conventions["peephole_order"], blocks))
        scale = self.gates("ln_gates.gamma")
        kind = self.attributes.get("layer_norm", {}).get("kind")

        def pre(gate, seen):
            total = wx[gate] + uh[gate] + peephole[gate] * seen
            if kind == "per_gate":
                total = self.standardise(total) * scale[gate]
            return self.clip(total + bx[gate] + bh[gate])

        gate = lambda name, seen: activate(self.acts["gate"], pre(name, seen))
        coupled = self.attributes.get("coupled_input_forget")
        if coupled == "f_from_i":
            i = gate("i", c)
            f = 1 - i
        elif coupled == "i_from_f":
            f = gate("f", c)
            i = 1 - f
        else:
            i, f = gate("i", c), gate("f", c)
        new_c = f * c + i * activate(self.acts["candidate"], pre("g", c))
        if bound := self.attributes.get("cell_clip"):
            new_c = new_c.clamp(-bound, bound)
        o = gate("o", c if self.conventions.get("peephole_o_state") == "old" else new_c)
        seen = new_c
        if kind == "whole_then_sum_lstm":
            seen = self.standardise(new_c) * self.parameters["ln_c.gamma"] + self.parameters["ln_c.beta"]
        new_h = o * activate(self.acts["hidden"], seen)
        if "w_proj" in self.parameters:
            new_h = new_h @ self.parameters["w_proj"].T + self.parameters.get("b_proj", 0.0)
            if bound := self.attributes.get("proj_clip"):
                new_h = new_h.clamp(-bound, bound)
        return new_h, new_c


def written_out(case, tensors):
    """Outputs of a whole network, sequence by sequence: no masks, so nothing can leak through one."""
    sizes, attributes = case["sizes"], case["attributes"]
    directions = sizes["directions"]
    is_lstm, state = case["cell"] == "lstm", sizes.get("projection", sizes["hidden"])
    batch_first = case["conventions"]["x_axes"] == "BTI"
    x = tensors["in.x"] if batch_first else tensors["in.x"].transpose(0, 1)
    batch, time = x.shape[:2]
    lengths = tensors["in.seq_lens"].tolist() if "in.seq_lens" in tensors else [time] * batch
    h_n = [[None] * batch for _ in range(sizes["layers"] * directions)]
    c_n = [[None] * batch for _ in range(sizes["layers"] * directions)]
    rows = []
    for b, length in enumerate(lengths):
        sequence = x[b, :length]
        for layer in range(sizes["layers"]):
            outputs = []
            for d in range(directions):
                index = layer * directions + d
                prefix = f"param.l{layer}.d{d}."
                step = Step(case, d, {k[len(prefix):]: v for k, v in tensors.items() if k.startswith(prefix)})
                h = tensors["in.h0"][index, b] if "in.h0" in tensors else x.new_zeros(state)
                c = tensors["in.c0"][index, b] if "in.c0" in tensors else x.new_zeros(sizes["hidden"])
                backwards = attributes["direction"] == "reverse" or d == 1
                output = [None] * length
                for t in reversed(range(length)) if backwards else range(length):
                    h, c = step(sequence[t], h, c)
                    output[t] = h
                outputs.append(torch.stack(output))
                h_n[index][b], c_n[index][b] = h, c
            sequence = torch.cat(outputs, -1)
        rows.append(torch.nn.functional.pad(sequence, (0, 0, 0, time - length)))
    stack = lambda states: torch.stack([torch.stack(s) for s in states])
    y = torch.stack(rows, 0 if batch_first else 1)
    out = {"out.y": y, "out.h_n": stack(h_n)}
    if is_lstm:
        out["out.c_n"] = stack(c_n)
    return out


# ------------------------------------------------------------------------------------------------ torch's own cells


def by_torch(case, tensors):
    """Outputs of torch.nn's module with the case's parameters."""
    sizes, attributes, dtype = case["sizes"], case["attributes"], tensors["in.x"].dtype
    layers, directions, cell = sizes["layers"], sizes["directions"], case["cell"]
    options = dict(
        num_layers=layers,
        bidirectional=directions == 2,
        bias=case["conventions"]["bias"] == "two",
        batch_first=case["conventions"]["x_axes"] == "BTI",
    )
    if cell == "rnn":
        options["nonlinearity"] = attributes["activations"][0]["candidate"]
    if "projection" in sizes:
        options["proj_size"] = sizes["projection"]
    module = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell]
    module = module(sizes["input"], sizes["hidden"], dtype=dtype, **options)
    parameters = {}
    for layer in range(layers):
        for d in range(directions):
            suffix = f"_l{layer}" + ("_reverse" if d else "")
            for ours, theirs in TORCH_NAMES.items():
                value = tensors.get(f"param.l{layer}.d{d}.{ours}")
                if value is not None:
                    parameters[theirs + suffix] = value
    x = tensors["in.x"]
    packed = "in.seq_lens" in tensors
    if packed:
        x = pack_padded_sequence(x, tensors["in.seq_lens"], options["batch_first"], enforce_sorted=False)
    state = tensors.get("in.h0")
    if state is not None and cell == "lstm":
        state = (state, tensors["in.c0"])
    y, state = torch.func.functional_call(module, parameters, (x, state))
    if packed:
        y, _ = pad_packed_sequence(y, options["batch_first"], total_length=sizes["time"])
    if cell == "lstm":
        return {"out.y": y, "out.h_n": state[0], "out.c_n": state[1]}
    return {"out.y": y, "out.h_n": state}


TORCH_NAMES = {"w_x": "weight_ih", "w_h": "weight_hh", "b_x": "bias_ih", "b_h": "bias_hh", "w_proj": "weight_hr"}


# ------------------------------------------------------------------------------------------------ cases


def gradients(compute, case, tensors, dtype):
    """Outputs and gradients of sum(up * out) in `dtype`."""
    tensors = {k: v if k == "in.seq_lens" else v.detach().to(dtype) for k, v in tensors.items()}
    leaves = [k for k in tensors if k.startswith("param.") or k in ("in.x", "in.h0", "in.c0")]
    for name in leaves:
        tensors[name].requires_grad_(True)
    out = compute(case, tensors)
    loss = sum((tensors["up." + k[4:]] * v).sum() for k, v in out.items())
    grads = torch.autograd.grad(loss, [tensors[name] for name in leaves], allow_unused=True)
    result = {k: v.detach() for k, v in out.items()}
    for name, grad in zip(leaves, grads):
        short = name.removeprefix("in.").removeprefix("param.")
        result["grad." + short] = torch.zeros_like(tensors[name]) if grad is None else grad.detach()
    return result


def two_digits_up(value):
    """Rounded up to two significant digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / unit) * unit:.1e}")


def tolerance(exact, single):
    """8 times the error of a float32 run, at least 64 float32 roundings of the largest element."""
    error = (single.double() - exact).abs().max().item()
    return two_digits_up(max(8 * error, 64 * 2.0**-24 * exact.abs().max().item(), 1e-7))


class Suite:
    def __init__(self, folder):
        self.folder, self.cases, self.bytes = pathlib.Path(folder), {}, 0
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in [*self.folder.glob("*.safetensors"), self.folder / "manifest.json"]:
            old.unlink(missing_ok=True)

    def add(self, name, cell, time=4, batch=3, inputs=3, hidden=5, layers=1, direction="forward", bias="two",
            projection=0, projection_bias=False, batch_first=False, ragged=False, initial=True, acts=None,
            reset="after", update="keep_old", peephole=None, scale=1.5, source=None, **attributes):
        """`acts` is one object for all directions or a list of one each; `attributes` go into the manifest."""
        directions = 2 if direction == "bidirectional" else 1
        acts = acts or DEFAULT_ACTIVATIONS[cell]
        acts = acts if isinstance(acts, list) else [acts] * directions
        case = {
            "cell": cell,
            "sizes": {"time": time, "batch": batch, "input": inputs, "hidden": hidden, "layers": layers,
                      "directions": directions, **({"projection": projection} if projection else {})},
            "attributes": {"direction": direction, "activations": acts, **attributes},
            "conventions": {
                "gate_order": ORDER[cell], "weight_layout": "gates_rows", "bias": bias,
                "x_axes": "BTI" if batch_first else "TBI", "y_axes": "B,T,DH" if batch_first else "T,B,DH",
                "state_axes": "LD,B,H", "reverse_output_order": "input_time",
            },
        }
        if cell == "gru":
            case["conventions"] |= {"gru_reset": reset, "gru_update": update}
        if peephole:
            case["conventions"] |= {"peephole_order": ["i", "f", "o"], "peephole_o_state": peephole}
        extras = (projection_bias, peephole, attributes, reset != "after", update != "keep_old", bias == "one",
                  direction == "reverse", len({json.dumps(a) for a in acts}) > 1)
        plain_acts = acts[0] == DEFAULT_ACTIVATIONS[cell] or acts[0] == {"candidate": "relu"}
        torch_has_it = plain_acts and not any(extras)
        case["source"] = "torch.nn " + torch.__version__ if torch_has_it else (source or "published formula")
        tensors = self.inputs(name, case, (ragged, initial, projection_bias, peephole, scale))
        self.write(name, case, tensors, by_torch if torch_has_it else written_out)

    @staticmethod
    def inputs(name, case, options):
        ragged, initial, projection_bias, peephole, scale = options
        numbers, sizes, cell = Numbers(name), case["sizes"], case["cell"]
        time, batch, hidden = sizes["time"], sizes["batch"], sizes["hidden"]
        state, directions = sizes.get("projection", hidden), sizes["directions"]
        gates = len(ORDER[cell]) * hidden
        bound = scale / math.sqrt(hidden)
        batch_first = case["conventions"]["x_axes"] == "BTI"
        dense = lambda width: (batch, time, width) if batch_first else (time, batch, width)
        tensors = {"in.x": numbers.normal(*dense(sizes["input"]))}
        if ragged:
            tensors["in.seq_lens"] = numbers.lengths(time, batch)
        rows = sizes["layers"] * directions
        if initial:
            tensors["in.h0"] = numbers.normal(rows, batch, state)
            if cell == "lstm":
                tensors["in.c0"] = numbers.normal(rows, batch, hidden)
        norm = case["attributes"].get("layer_norm", {}).get("kind", "")
        for layer in range(sizes["layers"]):
            for d in range(directions):
                inputs = sizes["input"] if layer == 0 else directions * state
                put = lambda key, value: tensors.__setitem__(f"param.l{layer}.d{d}.{key}", value)
                put("w_x", numbers.uniform(gates, inputs, bound=bound))
                put("w_h", numbers.uniform(gates, state, bound=bound))
                for key in {"two": ["b_x", "b_h"], "one": ["b"], "none": []}[case["conventions"]["bias"]]:
                    put(key, numbers.uniform(gates, bound=bound))
                if peephole:
                    put("peephole", numbers.uniform(3 * hidden, bound=bound))
                if "projection" in sizes:
                    put("w_proj", numbers.uniform(state, hidden, bound=2 * bound))
                if projection_bias:
                    put("b_proj", numbers.uniform(state, bound=bound))
                near_one = lambda: (1 + numbers.uniform(gates, bound=0.5)).float().double()
                if norm.startswith("whole_then_sum"):
                    put("ln_x.gamma", near_one())
                    put("ln_h.gamma", near_one())
                if norm == "whole_then_sum_lstm":
                    put("ln_c.gamma", near_one()[:hidden])
                    put("ln_c.beta", numbers.uniform(hidden, bound=bound))
                if norm == "per_gate":
                    put("ln_gates.gamma", near_one())
        tensors["up.y"] = numbers.normal(*dense(directions * state))
        tensors["up.h_n"] = numbers.normal(rows, batch, state)
        if cell == "lstm":
            tensors["up.c_n"] = numbers.normal(rows, batch, hidden)
        return tensors

    def write(self, name, case, tensors, compute):
        exact = gradients(compute, case, tensors, torch.float64)
        single = gradients(compute, case, tensors, torch.float32)
        other = gradients(written_out, case, tensors, torch.float64)
        for key, value in exact.items():
            difference = (value - other[key]).abs().max().item() / max(1.0, value.abs().max().item())
            assert difference < 1e-13, f"{name} {key}: the written-out cell differs by {difference}"
        case["expected_from"] = "torch autograd, float64"
        case["tolerance"] = {key: tolerance(value, single[key]) for key, value in exact.items()}
        store = {k: v.to(torch.int32 if k == "in.seq_lens" else torch.float32) for k, v in tensors.items()}
        case["tensors"] = {}
        for key, value in {**store, **exact}.items():
            case["tensors"][key] = list(value.shape)
            if key in exact:
                prefix, rest = key.split(".", 1)
                store[key], store[f"{prefix}64.{rest}"] = value.float(), value
        case["file"] = name + ".safetensors"
        path = self.folder / case["file"]
        save_file({k: store[k].contiguous() for k in sorted(store)}, path)
        self.bytes += path.stat().st_size
        self.cases[name] = case

    def close(self):
        manifest = {"format": 1, "suite": "goldens",
                    "about": "small cases of every cell and variant; outputs and gradients by PyTorch in float64",
                    "source": {"project": "PyTorch", "version": torch.__version__, "script": "scripts/goldens.py"},
                    "cases": self.cases}
        path = self.folder / "manifest.json"
        path.write_text(json.dumps(manifest, indent=None, separators=(",", ":")).replace('},"', '},\n"') + "\n")
        print(f"{len(self.cases)} cases, {(self.bytes + path.stat().st_size) / 1e6:.2f} MB in {self.folder}")


# ------------------------------------------------------------------------------------------------ the list


def torch_cases(suite):
    relu = {"candidate": "relu"}
    kinds = {"rnn_tanh": ("rnn", {}), "rnn_relu": ("rnn", {"acts": relu, "scale": 1.0}), "lstm": ("lstm", {}),
             "lstm_projection": ("lstm", {"projection": 3}), "gru": ("gru", {})}
    for name, (cell, options) in kinds.items():
        suite.add(f"{name}_plain", cell, **options)
        suite.add(f"{name}_ragged_bidirectional", cell, batch=5, time=6, direction="bidirectional", ragged=True, **options)
        suite.add(f"{name}_two_layers_no_bias", cell, layers=2, bias="none", batch_first=True, initial=False, **options)
        suite.add(f"{name}_three_layers_everything", cell, layers=3, batch=4, direction="bidirectional", ragged=True,
                  batch_first=True, hidden=4, **{**options, **({"projection": 2} if "projection" in options else {})})
    suite.add("lstm_one_of_everything", "lstm", time=1, batch=1, inputs=1, hidden=1)
    suite.add("gru_long_single", "gru", time=60, batch=1, inputs=2, hidden=4)
    suite.add("lstm_width_33", "lstm", time=3, batch=2, inputs=5, hidden=33)
    suite.add("gru_width_17_ragged", "gru", time=7, batch=9, inputs=2, hidden=17, ragged=True)
    suite.add("lstm_saturated", "lstm", scale=12.0)


def lstm_cases(suite):
    for state in ("new", "old"):
        suite.add(f"lstm_peephole_{state}", "lstm", peephole=state)
    suite.add("lstm_peephole_bidirectional_ragged", "lstm", peephole="new", direction="bidirectional", ragged=True)
    suite.add("lstm_coupled_forget_from_input", "lstm", coupled_input_forget="f_from_i")
    suite.add("lstm_coupled_input_from_forget", "lstm", coupled_input_forget="i_from_f", bias="one")
    suite.add("lstm_coupled_peephole", "lstm", coupled_input_forget="f_from_i", peephole="old", layers=2)
    suite.add("lstm_clip_gates", "lstm", clip=0.5, peephole="new")
    suite.add("lstm_clip_cell", "lstm", cell_clip=0.4, ragged=True)
    suite.add("lstm_projection_bias_clip", "lstm", projection=3, projection_bias=True, proj_clip=0.3, layers=2)
    suite.add("lstm_reverse_ragged", "lstm", direction="reverse", ragged=True, bias="one", batch=4)
    suite.add("lstm_zoneout", "lstm", zoneout_prob=0.25, ragged=True)
    suite.add("lstm_everything_at_once", "lstm", projection=3, projection_bias=True, proj_clip=0.6, cell_clip=0.9,
              clip=1.5, peephole="new", direction="bidirectional", ragged=True, layers=2, batch=4)


def gru_cases(suite):
    suite.add("gru_reset_before", "gru", reset="before")
    suite.add("gru_reset_before_bidirectional_ragged", "gru", reset="before", direction="bidirectional", ragged=True,
              layers=2, bias="one")
    suite.add("gru_take_new", "gru", update="take_new")
    suite.add("gru_reset_before_take_new_clip", "gru", reset="before", update="take_new", clip=0.4)
    suite.add("gru_clip_reverse", "gru", clip=0.5, direction="reverse", ragged=True)
    suite.add("gru_zoneout_ragged", "gru", zoneout_prob=0.4, ragged=True)
    suite.add("gru_reset_before_no_bias", "gru", reset="before", bias="none", initial=False)


def norm_cases(suite):
    whole = "Ba et al. 2016, as the haste library has it"
    for cell in ("lstm", "gru"):
        norm = {"kind": f"whole_then_sum_{cell}", "epsilon": 1e-5}
        bias = "one" if cell == "lstm" else "two"
        suite.add(f"{cell}_layer_norm", cell, layer_norm=norm, bias=bias, source=whole)
        suite.add(f"{cell}_layer_norm_stack_ragged", cell, layer_norm=norm, bias=bias, layers=2, ragged=True,
                  direction="bidirectional", source=whole)
    suite.add("lstm_layer_norm_zoneout", "lstm", layer_norm={"kind": "whole_then_sum_lstm", "epsilon": 1e-5},
              bias="one", zoneout_prob=0.2, source=whole)
    gates = {"kind": "per_gate", "epsilon": 1e-8}
    suite.add("lstm_gate_norm", "lstm", layer_norm=gates, bias="one", source="TensorFlow Lite's form")
    suite.add("lstm_gate_norm_peephole_projection", "lstm", layer_norm=gates, bias="one", peephole="new", projection=3,
              projection_bias=True, ragged=True, direction="bidirectional", source="TensorFlow Lite's form")
    suite.add("lstm_gate_norm_coupled_clip", "lstm", layer_norm=gates, bias="one", coupled_input_forget="i_from_f",
              clip=1.2, cell_clip=0.8, source="TensorFlow Lite's form")


def activation_cases(suite):
    triples = {
        "affine_leaky_relu": ({"name": "affine", "alpha": 0.3, "beta": 0.4}, {"name": "leaky_relu", "alpha": 0.2}, "tanh"),
        "hard_sigmoid_scaled_tanh": ({"name": "hard_sigmoid", "alpha": 0.3, "beta": 0.45},
                                     {"name": "scaled_tanh", "alpha": 1.3, "beta": 0.7}, "softsign"),
        "sigmoid_thresholded_relu_elu": ("sigmoid", {"name": "thresholded_relu", "alpha": 0.35}, {"name": "elu", "alpha": 0.6}),
        "softsign_softplus_linear": ("softsign", "softplus", "linear"),
    }
    for name, (gate, candidate, hidden) in triples.items():
        suite.add(f"lstm_{name}", "lstm", acts={"gate": gate, "candidate": candidate, "hidden": hidden}, scale=1.0)
        suite.add(f"gru_{name}", "gru", acts={"gate": gate, "candidate": candidate}, scale=1.0)
    singles = ["relu", {"name": "affine", "alpha": 0.5, "beta": 0.1}, {"name": "elu", "alpha": 0.8}, "softsign"]
    suite.add("rnn_activation_of_each_direction", "rnn", direction="bidirectional", ragged=True, scale=1.0,
              acts=[{"candidate": singles[2]}, {"candidate": singles[1]}])
    suite.add("rnn_softsign_clip", "rnn", acts={"candidate": singles[3]}, clip=0.7)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "tests" / "goldens"
    suite = Suite(folder)
    for cases in (torch_cases, lstm_cases, gru_cases, norm_cases, activation_cases):
        cases(suite)
    suite.close()


if __name__ == "__main__":
    main()
