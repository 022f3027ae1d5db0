"""Takes steady noise out of a timbre example: the hiss of a microphone, the air of a room.

What is in an example is played, its noise too, and noise covers what tells its sound. So the
power of noise that goes on unchanged is found between the notes (after minimum statistics,
Martin, 2001), and each frequency of each frame is turned down by what of it is noise (Wiener's
filter on decision-directed estimates, Ephraim and Malah, 1984).

Noise is no part of the sound if it is there all the time. Breath comes and goes with its notes
and stays, and so does an example that is a drone or noise itself.
"""

import numpy as np

WINDOW_SECONDS, OVERLAP = 0.046, 4  # of a spectrum
SMOOTH = 9  # frames, of which a power is the mean: 105 ms
QUIETEST = 0.1  # share of the time in which a frequency holds noise alone
BIAS = 2.0  # mean of white noise over that quantile of its smoothed power
OCTAVES = 0.5  # the noise of a frequency is the median of so many around it: tones are no noise
LEAST_BINS = 8  # on each side, however low
LOWEST = 500.0  # Hz: below, few frequencies tell what is steady
NEAR_DB, NEAR_SHARE = 3.0, 0.7  # so much of an octave is that near, if it is steady; noise: 0.86
STEEPEST_DB = 6.0  # an octave, by which noise falls with frequency
LEAST_DB = 15.0  # by which the sound is louder; else what is steady is the sound
MOST_DB = 60.0  # by which it is; else nobody hears the noise: a file of 16 or 24 bits has some
MEMORY = 0.95  # of a signal's estimate, from frame to frame
FLOOR = 0.03  # -30 dB: no frequency is turned down further
TINY = 1e-20  # power that stands for silence


def without_background(samples: np.ndarray, rate: int) -> np.ndarray:
    """Turn steady background noise down by up to 30 dB.

    Args:
        samples: (n,) mono, a second or longer.
        rate: in Hz.

    Returns:
        (n,) float32; `samples` themselves if they hold no steady noise that is heard, or little
        else.
    """
    from scipy import signal  # half a second, which a model should not take to load

    window = signal.windows.hann(round(WINDOW_SECONDS * rate / OVERLAP) * OVERLAP, sym=False)
    transform = signal.ShortTimeFFT(window, len(window) // OVERLAP, rate)
    spectrum = transform.stft(samples.astype(np.float64))
    power = np.abs(spectrum) ** 2 + TINY
    noise = steady_noise(power, rate)
    if noise is None:
        return samples
    cleaned: np.ndarray = transform.istft(spectrum * wiener_gain(power, noise), k1=len(samples))
    return cleaned.astype(np.float32)


def steady_noise(power: np.ndarray, rate: int) -> np.ndarray | None:
    """The power of noise that goes on unchanged.

    Args:
        power: (frequencies, frames), above 0, from 0 Hz to half of `rate`.
        rate: in Hz.

    Returns:
        (frequencies,), or None: there is no such noise, none that is heard, or hardly anything
        else.
    """
    from scipy.ndimage import uniform_filter1d

    smooth = uniform_filter1d(power, SMOOTH, axis=1)[:, SMOOTH // 2 : -(SMOOTH // 2)]
    smooth = np.maximum(smooth, TINY)  # running sums can round below 0
    noise = BIAS * _median_nearby(np.quantile(smooth, QUIETEST, axis=1))
    near = np.abs(10 * np.log10(smooth / noise[:, None])) < NEAR_DB
    octave = np.log2(np.linspace(0, rate / 2, len(power)).clip(LOWEST / 2) / LOWEST)
    steady = _steady_octaves(near.mean(1), np.floor(octave).astype(int) + 1)
    if not steady.any():
        return None
    # elsewhere notes may never pause: there noise is no more than what its steady part tells
    fall = STEEPEST_DB * np.maximum(octave[steady] - octave[:, None], 0)
    noise = np.minimum(noise, (noise[steady] * 10 ** (fall / 10)).min(1))
    above = 10 * np.log10(power.mean(1).sum() / noise.sum())
    return noise if LEAST_DB <= above <= MOST_DB else None


def _steady_octaves(near: np.ndarray, octave: np.ndarray) -> np.ndarray:
    """Shares of the time that are near the noise, and octaves -> whether its octave is steady.

    Octave 0 is all below `LOWEST` and never is.
    """
    shares = np.bincount(octave, near) / np.bincount(octave)
    steady: np.ndarray = (shares[octave] >= NEAR_SHARE) & (octave > 0)
    return steady


def wiener_gain(power: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """(frequencies, frames) and (frequencies,) powers -> the signal's share, at least `FLOOR`."""
    gains = np.empty_like(power)
    signal_before = np.zeros_like(noise)
    for frame, over_noise in enumerate((power / noise[:, None]).T):
        now = np.maximum(over_noise - 1, 0)
        over = MEMORY * signal_before + (1 - MEMORY) * now
        gain = over / (1 + over)
        signal_before = gain**2 * over_noise
        gains[:, frame] = np.maximum(gain, FLOOR)
    return gains


def _median_nearby(values: np.ndarray) -> np.ndarray:
    """(frequencies,) -> the same: the median within half an octave around each."""
    reach = (2 ** (OCTAVES / 2) - 2 ** (-OCTAVES / 2)) / 2
    sides = [max(LEAST_BINS, int(k * reach)) for k in range(len(values))]
    return np.array([np.median(values[max(0, k - s) : k + s + 1]) for k, s in enumerate(sides)])
