"""Long causal convolution of each channel with a filter of its own, in O(T log T), and one step of it in O(log^2) on average.

    out_t = sum over s < min(L, t + 1) of taps_s seen_(t-s)             (Hyena, Poli et al. 2023, arXiv:2302.10866, sec. 2)

`fft_convolution_loop` is the formula. `fft_convolution` transforms windows of N steps, multiplies with the filters' spectra and
transforms back (overlap-save, so that a document may be longer than the filter); its backward pass uses the spectra again. Its paths are
`compiled` (`kernels/cpp/fft_convolution.cpp`, one operator `touchstone::fft_convolution`) and `torch`. A step without
gradients works ahead (relaxed multiplication: van der Hoeven 2002): after every U steps, U a power of two, what the latest U inputs
add to the next U outputs is computed at once, so that the step itself meets its latest few inputs only.

Shapes: B documents, T new steps, D channels, L taps, S steps seen, the T new ones the last of them, N window, n windows, F = N / 2 + 1.
Inputs are computed in the widest of their dtypes and at least in float32; out and state have the dtype of u. T = 0 is a ValueError.
No document and no channel bears on another. A NaN reaches all outputs of the windows it is in, earlier ones too, as in any transform.
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import native
from kernels.operators import operator
from kernels.paths import Path, choose
from kernels.precision import wide_dtype
from kernels.tangents import no_tangents

NEAR = 32
"""Inputs that a single step meets directly; what came before them was added ahead."""


def fft_convolution_loop(u_BTD: Tensor, taps_LD: Tensor, *, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Out (B, T, D) and the latest min(S, L - 1) inputs, one tap after the other."""
    seen_BSD = _seen(u_BTD, state)
    T, S, L = u_BTD.shape[1], seen_BSD.shape[1], len(taps_LD)
    longer_BSD = F.pad(seen_BSD, (0, 0, L - 1, 0))
    out_BTD = torch.zeros_like(u_BTD)
    for s, taps_D in enumerate(taps_LD.unbind(0)):
        out_BTD = out_BTD + taps_D * longer_BSD[:, S + L - 1 - T - s : S + L - 1 - s]
    return out_BTD, seen_BSD[:, max(0, S - L + 1) :]


class Taps:
    """Filters (L, D) with the spectra that were computed of them; keep one at inference, make a new one for each step of training."""

    def __init__(self, taps_LD: Tensor) -> None:
        self.taps_LD = taps_LD
        self._spectra: dict[tuple[str, int], Tensor] = {}
        self._beginnings: dict[int, Taps] = {}

    def spectrum(self, path: Path, N: int) -> Tensor:
        """The transform over windows of N, without gradient; its layout is the path's own."""
        if (path, N) not in self._spectra:
            taps_LD = self.taps_LD.detach()[: N // 2]
            found = _spectrum(taps_LD.contiguous(), N) if path == "compiled" else torch.fft.rfft(taps_LD.mT, n=N)
            self._spectra[path, N] = found
        return self._spectra[path, N]

    def beginning(self, count: int) -> Taps:
        """The first `count` taps."""
        if count >= len(self.taps_LD):
            return self
        if count not in self._beginnings:
            self._beginnings[count] = Taps(self.taps_LD[:count])
        return self._beginnings[count]


def fft_convolution(
    u_BTD: Tensor, taps: Tensor | Taps, *, state: Tensor | None = None, path: Path = "auto"
) -> tuple[Tensor, Tensor]:
    """Out (B, T, D) and the latest min(S, L - 1) inputs; differentiable once, in u, the taps and the state.

    Raises ValueError where there is no step, PathUnavailable where `path` cannot run on these tensors.
    """
    seen_BSD, taps = _seen(u_BTD, state), taps if isinstance(taps, Taps) else Taps(taps)
    if taps.taps_LD.shape[1] != u_BTD.shape[2]:
        raise ValueError(f"taps {tuple(taps.taps_LD.shape)} are not of the {u_BTD.shape[2]} channels of u {tuple(u_BTD.shape)}")
    return _outputs(seen_BSD, u_BTD.shape[1], taps, path).to(u_BTD.dtype), _latest(seen_BSD, taps)


@dataclass(slots=True)
class Room:
    """Storage of the inputs of some hundred single steps, and what earlier inputs add to their outputs."""

    taps: Taps
    inputs_BCD: Tensor
    sums_BKD: Tensor
    begin: int
    """Input whose output is the first of `sums`."""
    filled: int
    """Inputs written by anyone; who ends earlier has been overtaken, and begins a room of its own."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """Work done ahead for whoever goes on behind input `at` of a room."""

    room: Room
    at: int

    def serves(self, u_B1D: Tensor, taps: Taps, state: Tensor) -> bool:
        """Whether `u` can be the next input: nobody has gone on from here, and neither filters, documents nor the state are others."""
        inputs, room = self.room.inputs_BCD, self.room
        if state.untyped_storage().data_ptr() != inputs.untyped_storage().data_ptr():
            return False
        alike = inputs.dtype == u_B1D.dtype and inputs.shape[0] == u_B1D.shape[0] and inputs.device == u_B1D.device
        writable = torch.is_inference_mode_enabled() or not inputs.is_inference()
        return alike and writable and room.taps is taps and self.at == room.filled < inputs.shape[1]


@torch.no_grad()
def fft_convolution_step(
    u_B1D: Tensor, taps: Taps, *, state: Tensor | None, ahead: Ahead | None = None, path: Path = "auto"
) -> tuple[Tensor, Tensor, Ahead | None]:
    """Out (B, 1, D), the latest min(S, L - 1) inputs and the work done ahead, without gradients; O(D log^2 L) on average.

    The work ahead needs storage of up to as much again as the state; without it (`ahead` = None) it is done anew.
    """
    if state is None or state.shape[1] < 2 * NEAR or state.dtype != u_B1D.dtype:
        out_B1D, state = fft_convolution(u_B1D, taps, state=state, path="torch")
        return out_B1D, state, None
    if ahead is None or not ahead.serves(u_B1D, taps, state):
        ahead = _begin(state, taps, path)
    room, at = ahead.room, ahead.at
    i = at - room.begin
    if i and i % NEAR == 0:
        U = i & -i
        room.sums_BKD[:, i : i + U] += _still_to_come(room.inputs_BCD[:, at - U : at], U, taps.beginning(2 * U), path)
    room.inputs_BCD[:, at], room.filled = u_B1D[:, 0], at + 1
    near_BSD = room.inputs_BCD[:, max(at - i % NEAR, at + 1 - len(taps.taps_LD)) : at + 1]
    out_BD = room.sums_BKD[:, i] + _weighted(near_BSD, taps.taps_LD)
    state = room.inputs_BCD[:, max(0, at + 2 - len(taps.taps_LD)) : at + 1]
    return out_BD.to(u_B1D.dtype).unsqueeze(1), state, Ahead(room, at + 1)


def _begin(state: Tensor, taps: Taps, path: Path) -> Ahead:
    B, S, D = state.shape
    K = 1 << ((S // 2).bit_length() - 1)
    inputs_BCD = state.new_empty(B, S + K, D)
    inputs_BCD[:, :S] = state
    return Ahead(Room(taps, inputs_BCD, _still_to_come(state, K, taps, path), begin=S, filled=S), S)


def _still_to_come(inputs_BSD: Tensor, count: int, taps: Taps, path: Path) -> Tensor:
    """What `inputs` add to the next `count` outputs."""
    return _outputs(F.pad(inputs_BSD, (0, 0, 0, count)), count, taps, path)


def _weighted(near_BSD: Tensor, taps_LD: Tensor) -> Tensor:
    """The output (B, D) at the last of the given inputs."""
    weights_SD = taps_LD[: near_BSD.shape[1]].flip(0)
    return (near_BSD * weights_SD).sum(1, dtype=wide_dtype(weights_SD))


def _seen(u_BTD: Tensor, state: Tensor | None) -> Tensor:
    if not u_BTD.shape[1]:
        raise ValueError("a convolution of no steps (T = 0); hand over at least one")
    return u_BTD.clone() if state is None else torch.cat((state, u_BTD), dim=1)  # what is kept must not be the caller's


def _latest(seen_BSD: Tensor, taps: Taps) -> Tensor:
    """The inputs that later outputs need, without keeping more alive."""
    surplus = seen_BSD.shape[1] - len(taps.taps_LD) + 1
    return seen_BSD[:, surplus:].clone() if surplus > 0 else seen_BSD


def _outputs(seen_BSD: Tensor, T: int, taps: Taps, path: Path) -> Tensor:
    """Out (B, T, D) at the last T of the seen steps, in the dtype of the computation."""
    wide = wide_dtype(seen_BSD, taps.taps_LD)
    L = min(len(taps.taps_LD), seen_BSD.shape[1])
    seen_BSD = seen_BSD[:, max(0, seen_BSD.shape[1] - T - L + 1) :].to(wide)
    taps = taps if taps.taps_LD.dtype == wide else Taps(taps.taps_LD.to(wide))
    if T == 1 and L <= 2 * NEAR:
        return _weighted(seen_BSD, taps.taps_LD).unsqueeze(1)
    # A window of four times the filter wastes a quarter of itself on steps before it; a longer one would leave the caches.
    N = max(4, 1 << (2 * min(max(T, L), 2 * L) - 1).bit_length())
    path = choose(path, seen_BSD, library="fft_convolution")
    used_LD, spectrum = taps.taps_LD[: N // 2], taps.spectrum(path, N)
    no_tangents("fft_convolution", seen_BSD, used_LD)
    out_BTD: Tensor = (
        _operator(seen_BSD.contiguous(), used_LD, spectrum, T, N)
        if path == "compiled"
        else _windows(seen_BSD, used_LD, spectrum, T, N)[0]
    )
    return out_BTD


@torch.library.custom_op("touchstone::fft_convolution_windowed", mutates_args=())
def _windowed(seen: Tensor, taps: Tensor, spectrum_DF: Tensor, T: int, N: int) -> tuple[Tensor, Tensor]:
    """The torch path, every window at once: outputs at the last T steps, and the spectra of the inputs, which the backward pass uses."""
    L, S = len(taps), seen.shape[1]
    fresh = N - L + 1
    windows = -(-T // fresh)
    before = S - T - (L - 1)
    padded_BDS = F.pad(seen.mT[..., max(0, before) :], (max(0, -before), windows * fresh - T))
    x_BDnF = torch.fft.rfft(padded_BDS.unfold(-1, N, fresh))
    out_BDT = torch.fft.irfft(x_BDnF * spectrum_DF[:, None], n=N)[..., L - 1 :].flatten(2)[..., :T]
    return out_BDT.mT.contiguous(), x_BDnF


@_windowed.register_fake
def _empty_windows(seen: Tensor, taps: Tensor, spectrum_DF: Tensor, T: int, N: int) -> tuple[Tensor, Tensor]:
    B, _, D = seen.shape
    return seen.new_empty(B, T, D), spectrum_DF.new_empty(B, D, -(-T // (N - taps.shape[0] + 1)), N // 2 + 1)


@torch.library.custom_op("touchstone::fft_convolution_windowed_backward", mutates_args=())
def _windowed_backward(dout_BTD: Tensor, x_BDnF: Tensor, spectrum_DF: Tensor, S: int, L: int, N: int) -> tuple[Tensor, Tensor]:
    """Gradients of the seen inputs and of the taps."""
    (B, D, windows, _), T = x_BDnF.shape, dout_BTD.shape[1]
    fresh, before = N - L + 1, S - T - (L - 1)
    flow_BDnu = torch.unflatten(F.pad(dout_BTD.mT, (0, windows * fresh - T)), -1, (windows, fresh))
    flow_BDnF = torch.fft.rfft(F.pad(flow_BDnu, (L - 1, 0)))
    dtaps_DN = torch.fft.irfft((flow_BDnF * x_BDnF.conj()).sum((0, 2)), n=N)
    shares_BDnN = torch.fft.irfft(flow_BDnF * spectrum_DF.conj()[:, None], n=N)
    dpadded_BDS = dout_BTD.new_zeros(B, D, L - 1 + windows * fresh)
    for window, share_BDN in enumerate(shares_BDnN.unbind(2)):
        dpadded_BDS[..., window * fresh : window * fresh + N] += share_BDN
    end = L - 1 + T
    dseen_BDS = dpadded_BDS[..., max(0, -before) : end]
    return F.pad(dseen_BDS, (S - dseen_BDS.shape[-1], 0)).mT.contiguous(), dtaps_DN.mT[:L].contiguous()


@_windowed_backward.register_fake
def _empty_window_gradients(
    dout_BTD: Tensor, x_BDnF: Tensor, spectrum_DF: Tensor, S: int, L: int, N: int
) -> tuple[Tensor, Tensor]:
    B, _, D = dout_BTD.shape
    return dout_BTD.new_empty(B, S, D), dout_BTD.new_empty(L, D)


def _remember_windows(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    seen, taps, spectrum, _, N = inputs
    ctx.sizes = seen.shape[1], taps.shape[0], N
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1], spectrum)


def _pull_back_windows(ctx: Any, dout: Tensor, _: None) -> tuple[Tensor | None, ...]:
    return *_windowed_backward(dout, *ctx.saved_tensors, *ctx.sizes), None, None, None


_windows = operator(_windowed, _windowed_backward, remember=_remember_windows, pull_back=_pull_back_windows)


class _Inputs(ctypes.Structure):
    """`struct Convolution` of fft_convolution.cpp."""

    _fields_ = [(name, ctypes.c_long) for name in ("B", "S", "T", "D", "N", "L")] + [
        (name, ctypes.c_void_p) for name in ("seen", "taps", "spectrum")
    ]


@functools.cache
def _function(name: str, pointers: int) -> Any:
    return native.function("fft_convolution", name, *[ctypes.c_void_p] * (1 + pointers), ctypes.c_int)


@functools.cache
def _lanes() -> int:
    """Channels that travel side by side in the compiled form."""
    library = native.library("fft_convolution")
    assert library is not None, "chosen only where it can be built"
    return ctypes.c_long.in_dll(library, "fft_lanes").value


def _call(name: str, sizes: tuple[int, ...], given: tuple[Tensor | None, ...], *arrays: Tensor) -> None:
    inputs = _Inputs(*sizes, *(None if t is None else t.data_ptr() for t in given))
    _function(name, len(arrays))(ctypes.byref(inputs), *(t.data_ptr() for t in arrays), torch.get_num_threads())


@torch.library.custom_op("touchstone::fft_spectrum", mutates_args=(), device_types="cpu")
def _spectrum(taps_LD: Tensor, N: int) -> Tensor:
    """What the filters make of each frequency of a window of N, for the compiled form only."""
    L, D = taps_LD.shape
    spectrum: Tensor = _empty_spectrum(taps_LD, N)
    _call("fft_spectrum", (0, 0, 0, D, N, L), (None, taps_LD, None), spectrum)
    return spectrum


@_spectrum.register_fake
def _empty_spectrum(taps_LD: Tensor, N: int) -> Tensor:
    return taps_LD.new_empty(-(-taps_LD.shape[1] // _lanes()), N, 2, _lanes())


@torch.library.custom_op("touchstone::fft_convolution", mutates_args=(), device_types="cpu")
def _compiled(seen: Tensor, taps: Tensor, spectrum: Tensor, T: int, N: int) -> Tensor:
    """Outputs at the last T steps; `taps` says their number and receives their gradient, the numbers are in the spectrum."""
    (B, S, D), L = seen.shape, taps.shape[0]
    out = seen.new_empty(B, T, D)
    _call("fft_convolution_forward", (B, S, T, D, N, L), (seen, None, spectrum), out)
    return out


@_compiled.register_fake
def _empty(seen: Tensor, taps: Tensor, spectrum: Tensor, T: int, N: int) -> Tensor:
    return seen.new_empty(seen.shape[0], T, seen.shape[2])


@torch.library.custom_op("touchstone::fft_convolution_backward", mutates_args=(), device_types="cpu")
def _compiled_backward(dout: Tensor, seen: Tensor, spectrum: Tensor, L: int, N: int) -> tuple[Tensor, Tensor]:
    """Gradients of the seen inputs and of the taps."""
    (B, S, D), T = seen.shape, dout.shape[1]
    dseen, dtaps = torch.zeros_like(seen), seen.new_empty(L, D)
    _call("fft_convolution_backward", (B, S, T, D, N, L), (seen, None, spectrum), dout.contiguous(), dseen, dtaps)
    return dseen, dtaps


@_compiled_backward.register_fake
def _empty_gradients(dout: Tensor, seen: Tensor, spectrum: Tensor, L: int, N: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(seen), seen.new_empty(L, seen.shape[2])


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    seen, taps, spectrum, _, ctx.N = inputs
    ctx.L = taps.shape[0]
    ctx.save_for_backward(seen, spectrum)


def _pull_back(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    seen, spectrum = ctx.saved_tensors
    dseen, dtaps = _compiled_backward(dout, seen, spectrum, ctx.L, ctx.N)
    return dseen, dtaps, None, None, None


_operator = operator(_compiled, _compiled_backward, remember=_remember, pull_back=_pull_back)
