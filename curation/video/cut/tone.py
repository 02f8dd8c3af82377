"""PQ and HLG to standard dynamic range as a table of colours, which FFmpeg's lut3d applies.

ITU-R BT.2446-1 method A: a tone curve on luma from a peak of 1000 to 100 cd/m2, colour differences
scaled along; then BT.2020 primaries to BT.709.
"""

import numpy as np

CUBE = 33  # points per axis, as grading tools use; code values of PQ and HLG are perceptual already
PQ, HLG = 16, 18  # transfer characteristics, ITU-T H.273 table 3
PEAK_HDR, PEAK_SDR = 1000.0, 100.0  # cd/m2, BT.2446-1 4.2
LUMA_2020 = np.array([0.2627, 0.6780, 0.0593])  # BT.2020 table 4
TO_709 = np.array(  # BT.2087 annex 2, inverted: linear BT.2020 to linear BT.709
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)


def tone_mapped(rgb: np.ndarray, *, transfer: int) -> np.ndarray:
    """(..., 3) code values 0-1 of PQ or HLG, BT.2020 -> code values 0-1 of BT.709."""
    gamma = (np.clip(linear(rgb, transfer=transfer) / PEAK_HDR, 0, 1)) ** (1 / 2.4)
    luma = gamma @ LUMA_2020
    sdr = _curve(luma)
    scale = sdr / np.maximum(1.1 * luma, 1e-6)
    blue = scale * (gamma[..., 2] - luma) / 1.8814
    red = scale * (gamma[..., 0] - luma) / 1.4746
    luma_out = sdr - np.maximum(0.1 * red, 0)
    r, b = luma_out + 1.4746 * red, luma_out + 1.8814 * blue
    g = (luma_out - LUMA_2020[0] * r - LUMA_2020[2] * b) / LUMA_2020[1]
    light = np.clip(np.stack([r, g, b], axis=-1), 0, 1) ** 2.4
    return np.clip(light @ TO_709.T, 0, 1) ** (1 / 2.4)


def linear(rgb: np.ndarray, *, transfer: int) -> np.ndarray:
    """Code values 0-1 -> light in cd/m2 on a display of 1000 (HLG) or up to 10000 (PQ)."""
    if transfer == PQ:  # SMPTE ST 2084, eq. 4.1
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = np.clip(rgb, 0, 1) ** (1 / m2)
        return 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    # ARIB STD-B67 inverse OETF, then the system gamma of 1.2 at 1000 cd/m2 (BT.2100 table 5)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(rgb <= 0.5, rgb**2 / 3, (np.exp((rgb - c) / a) + b) / 12)
    luma = np.maximum(scene @ LUMA_2020, 1e-9)
    return PEAK_HDR * luma[..., None] ** 0.2 * scene


def _curve(luma: np.ndarray) -> np.ndarray:
    """The tone curve of BT.2446-1 table 2, steps 1 to 3."""
    rho_hdr, rho_sdr = (1 + 32 * (peak / 10000) ** (1 / 2.4) for peak in (PEAK_HDR, PEAK_SDR))
    p = np.log1p((rho_hdr - 1) * luma) / np.log(rho_hdr)
    knee = -1.1510 * p**2 + 2.7811 * p - 0.6302
    c = np.where(p <= 0.7399, 1.0770 * p, np.where(p < 0.9909, knee, 0.5 * p + 0.5))
    return (rho_sdr**c - 1) / (rho_sdr - 1)


def cube_text(transfer: int) -> str:
    """The table in Adobe's .cube format, red running fastest."""
    axis = np.linspace(0, 1, CUBE)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    colours = np.stack([red, green, blue], axis=-1).reshape(-1, 3)
    rows = tone_mapped(colours, transfer=transfer)
    lines = "\n".join(f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in rows)
    return f"LUT_3D_SIZE {CUBE}\n{lines}\n"
