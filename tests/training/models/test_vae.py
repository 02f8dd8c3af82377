from pathlib import Path

import pytest
import torch

from training.models.vae import DiffusersVae, SpaceToDepth, latent_statistics


def test_space_to_depth_is_exact() -> None:
    vae = SpaceToDepth(pixels=4)
    video = torch.rand(3, 5, 16, 24) * 2 - 1
    latent = vae.encode(video)
    assert latent.shape == (vae.channels, 5, 4, 6)
    assert torch.equal(vae.decode(latent), video)


def test_a_wan_autoencoder_from_a_folder(tmp_path: Path) -> None:
    from diffusers import AutoencoderKLWan

    torch.manual_seed(0)
    net = AutoencoderKLWan(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=[0.5, 0.0, -0.5, 1.0],
        latents_std=[2.0, 1.0, 0.5, 1.0],
    )
    net.save_pretrained(tmp_path / "vae")
    vae = DiffusersVae(str(tmp_path), subfolder="vae")
    assert (vae.channels, vae.frames, vae.pixels) == (4, 4, 8)
    video = torch.rand(3, 5, 32, 48) * 2 - 1
    latent = vae.encode(video)
    assert latent.shape == (4, 2, 4, 6)
    with torch.no_grad():
        raw = net.eval().encode(video[None]).latent_dist.mode()[0]
    assert torch.allclose(latent[0], (raw[0] - 0.5) / 2.0, atol=1e-6)
    assert torch.allclose(latent[3], raw[3] - 1.0, atol=1e-6)
    decoded = vae.decode(latent)
    assert decoded.shape == video.shape
    with torch.no_grad():
        assert torch.allclose(decoded, net.decode(raw[None]).sample[0], atol=1e-5)


def test_scaling_factor() -> None:
    mean, std = latent_statistics({"scaling_factor": 0.25, "shift_factor": 0.5}, channels=2)
    assert mean.flatten().tolist() == [0.5, 0.5]
    assert std.flatten().tolist() == [4.0, 4.0]


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(ValueError, match=r"no config.json in /nowhere/vae, expected"):
        DiffusersVae("/nowhere", subfolder="vae")
