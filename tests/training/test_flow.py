"""Every equation of `flow.py` against an answer worked out by hand."""

import math

import pytest
import torch

from training import flow
from training.flow import Flow
from training.objective import guide

X = torch.tensor([1.0, -2.0])
NOISE = torch.tensor([3.0, 0.5])


def test_interpolate_ends_and_quarter() -> None:
    assert torch.equal(flow.interpolate(X, noise=NOISE, t=torch.tensor(0.0)), X)
    assert torch.equal(flow.interpolate(X, noise=NOISE, t=torch.tensor(1.0)), NOISE)
    assert flow.interpolate(X, noise=NOISE, t=torch.tensor(0.25)).tolist() == [1.5, -1.375]


def test_velocity_is_the_slope() -> None:
    v = flow.velocity(X, noise=NOISE)
    assert v.tolist() == [2.0, 2.5]
    slope = flow.interpolate(X, noise=NOISE, t=torch.tensor(0.75)) - flow.interpolate(
        X, noise=NOISE, t=torch.tensor(0.5)
    )
    assert torch.allclose(slope / 0.25, v)


def test_velocity_from_clean_is_exact_at_the_truth() -> None:
    t = torch.tensor(0.4)
    x_t = flow.interpolate(X, noise=NOISE, t=t)
    assert torch.allclose(flow.velocity_from_clean(X, x_t=x_t, t=t), flow.velocity(X, noise=NOISE))


def test_one_euler_step_along_the_true_velocity_lands_on_the_data() -> None:
    v = flow.velocity(X, noise=NOISE)
    assert torch.equal(flow.euler_step(NOISE, v=v, t=1.0, t_next=0.0), X)


def test_euler_on_a_gaussian_gives_the_known_scale() -> None:
    """For data N(0, s^2) the exact velocity is x (t - (1-t) s^2) / (t^2 + (1-t)^2 s^2) and x_0 = s
    x_1.
    """
    s, x, steps = 0.5, torch.tensor(1.7), 4000
    times = Flow().times(steps, tokens=1)
    for t, t_next in zip(times, times[1:], strict=False):
        v = x * (t - (1 - t) * s**2) / (t**2 + (1 - t) ** 2 * s**2)
        x = flow.euler_step(x, v=v, t=t, t_next=t_next)
    assert x.item() == pytest.approx(1.7 * s, rel=2e-3)


def test_logit_normal() -> None:
    assert flow.logit_normal(0.0, mean=0.0, std=1.0) == 0.5
    assert flow.logit_normal(2.0, mean=-1.0, std=0.5) == 0.5
    assert flow.logit_normal(1.0, mean=0.0, std=math.log(3)) == pytest.approx(0.75)


def test_shift() -> None:
    assert flow.shift_timestep(0.5, shift=3.0) == 0.75
    assert [flow.shift_timestep(t, shift=7.0) for t in (0.0, 1.0)] == [0.0, 1.0]
    assert flow.shift_for_tokens(4096, base=1024) == 2.0
    assert Flow(shift_tokens=100).timestep(0.0, tokens=900) == 0.75
    assert Flow().timestep(0.0, tokens=900) == 0.5
    assert Flow(t_min=0.6).timestep(0.0, tokens=900) == 0.6


def test_sampling_times_fall_from_1_to_0() -> None:
    assert Flow().times(4, tokens=9) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert Flow(shift_tokens=1).times(2, tokens=9) == [1.0, 0.75, 0.0]


def test_guide() -> None:
    assert guide(X, out_empty=NOISE, scale=1.0).tolist() == X.tolist()
    assert guide(X, out_empty=NOISE, scale=0.0).tolist() == NOISE.tolist()
    assert guide(X, out_empty=NOISE, scale=3.0).tolist() == [-3.0, -7.0]


def test_guiding_clean_data_or_velocity_is_the_same_step() -> None:
    objective, x_t, t = Flow(prediction="clean"), torch.tensor([[0.5, -1.0]]), 0.4
    clean, empty = X[None], NOISE[None]
    guided = guide(clean, out_empty=empty, scale=2.5)
    one = objective.step(guided, x_t_ND=x_t, t=t, t_next=0.1)
    v, v_empty = ((x_t - part) / t for part in (clean, empty))
    velocity = guide(v, out_empty=v_empty, scale=2.5)
    assert torch.allclose(one, Flow().step(velocity, x_t_ND=x_t, t=t, t_next=0.1), atol=1e-6)


def test_prediction_kinds_agree_at_the_truth() -> None:
    t = torch.tensor([[0.3]])
    x, noise = X[None], NOISE[None]
    x_t = flow.interpolate(x, noise=noise, t=t)
    v = Flow(prediction="velocity").velocity_of(noise - x, x_t_ND=x_t, t=t)
    from_clean = Flow(prediction="clean").velocity_of(x, x_t_ND=x_t, t=t)
    assert torch.allclose(v, from_clean, atol=1e-6)


@pytest.mark.parametrize("prediction", ["velocity", "clean"])
def test_errors_are_squared_velocities(prediction: str) -> None:
    """An answer that is off by (1, -2) in velocity scores (1, 4); at t = 0 it is finite."""
    objective = Flow(prediction=prediction)  # pyright: ignore[reportArgumentType]
    x, noise, t = X[None], NOISE[None], torch.tensor([[0.5]])
    x_t = objective.noised(x, noise_ND=noise, t_N1=t)
    off = noise - x + torch.tensor([1.0, -2.0])
    out = off if prediction == "velocity" else x_t - t * off
    known = {"x_ND": x, "noise_ND": noise, "x_t_ND": x_t}
    assert torch.allclose(
        objective.errors(out, **known, t_N1=t), torch.tensor([[1.0, 4.0]]), atol=1e-5
    )
    assert objective.errors(out, **known, t_N1=torch.zeros(1, 1)).isfinite().all()
