"""Names of filters in Fiji, ImageJ, scikit-image, scipy and OpenCV, and the step to take for each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.model.text import flow


@dataclass(frozen=True)
class Advice:
    """The step to take for another program's filter, or a note alone where there is none."""

    step: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""  # how the step differs from that filter, or what to do instead
    later: bool = False  # whether a later version brings that filter

    def in_yaml(self) -> str:
        """Return the advice as a hint for a config.

        >>> Advice("white_tophat", {"radius": 25}, "which keeps bright objects").in_yaml()
        'take white_tophat: {radius: 25}, which keeps bright objects'
        """
        return self._text(f"{self.step}: {flow(self.parameters)}")

    def in_python(self) -> str:
        """Return the advice as a hint for Python code.

        >>> Advice("white_tophat", {"radius": 25}, later=True).in_python()
        'until a later version brings it, take pipeline.WhiteTophat(radius=25)'
        """
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return self._text(f"pipeline.{self.step.title().replace('_', '')}({arguments})")

    def _text(self, call: str) -> str:
        if not self.step:
            return self.note
        begin = "until a later version brings it, take" if self.later else "take"
        return f"{begin} {call}" + (f", {self.note}" if self.note else "")


_TOPHAT = Advice("white_tophat", {"radius": 25}, "which keeps bright objects (black_tophat: dark ones)")
_BLACK = Advice("black_tophat", {"radius": 25}, "which gives dark objects as bright ones")
_DOG = Advice("difference_of_gaussians", {"low_sigma": 1, "high_sigma": 30})
_SMOOTH = Advice("gaussian", {"sigma": 1})
_MEDIAN = Advice("gaussian", {"sigma": 1}, "which smooths, outliers less well", later=True)
_BLUR = "which takes a wide blur off instead of dividing by it"
_OPENED = "which takes the {} off (output.background keeps the {} itself)"

_WORDS: dict[str, Advice] = {
    "tophat top_hat morph_tophat tophat_filter": _TOPHAT,
    "blackhat black_hat morph_blackhat bottom_hat bothat": _BLACK,
    "subtract_background background_subtraction background_subtracter rolling_ball rolling_ball_background": (
        Advice("white_tophat", {"radius": 50}, "a flat disk instead of a ball (black_tophat where the "
               "background is light)", later=True)
    ),
    "sliding_paraboloid": Advice(
        "white_tophat", {"radius": 50}, "a flat disk instead of a paraboloid", later=True
    ),
    "bandpass bandpass_filter fft_bandpass dog dog_filter diff_of_gaussians": _DOG,
    "laplacian_of_gaussian gaussian_laplace log_filter mexican_hat laplacian laplace": Advice(
        "difference_of_gaussians", {"low_sigma": 2, "high_sigma": 3.2}, "which comes near a Laplacian"
    ),
    "gaussian_blur gaussian_filter gaussian_blur_3d gauss blur smooth smoothing mean mean_filter box_blur"
    " uniform_filter denoise": _SMOOTH,
    "unsharp_mask sharpen high_pass highpass highpass_filter subtract_blur subtract_gaussian_blur": Advice(
        "subtract_gaussian", {"sigma": 30}, "the image minus its blur, without the image added to it"
    ),
    "minimum minimum_filter min_filter min erode erosion morph_erode": Advice(
        "subtract_minimum", {"size": 25}, "which takes the minimum off; there is no minimum alone"
    ),
    "opening open morph_open grey_opening binary_opening": Advice(
        "white_tophat", {"radius": 25}, _OPENED.format("opening", "opening")
    ),
    "closing close morph_close grey_closing maximum maximum_filter dilate dilation morph_dilate": Advice(
        "black_tophat", {"radius": 25}, _OPENED.format("closing", "closing")
    ),
    "median median_filter median_blur despeckle remove_outliers": _MEDIAN,
    "subtract_median": Advice("subtract_gaussian", {"sigma": 30}, "a blur instead of a median", later=True),
    "subtract_projection temporal_median median_projection subtract_average subtract_mean": Advice(
        "subtract_minimum", {"size": 51, "along": "t"}, "the minimum over 51 frames", later=True
    ),
    "flat_field flatfield flat_field_correction illumination_correction shading_correction basic"
    " divide_by_gaussian pseudo_flat_field": Advice("subtract_gaussian", {"sigma": 100}, _BLUR, later=True),
    "subtract_constant subtract subtract_value subtract_offset": Advice(
        "", note="say output.offset: -100, which is added to every pixel after the last step"
    ),
    "subtract_channel image_calculator bleach_correction": Advice(
        "", note="until a later version brings it, do it before bgone, or after it"
    ),
    "disk ball square box rectangle footprint selem strel structuring_element": Advice(
        "white_tophat", {"radius": 25, "footprint": "disk"}, "whose footprint is disk or box"
    ),
    "invert": Advice("black_tophat", {"radius": 25}, "which gives dark objects as bright ones"),
    "threshold otsu auto_threshold label watershed segment segmentation analyze_particles": Advice(
        "", note="bgone takes backgrounds off: threshold and label what it writes, as the tutorial does"
    ),
    "crop substack duplicate slice select": Advice(
        "", note='say in input.select what is taken, such as select: {t: "0:100"}'
    ),
    "enhance_contrast clahe equalize_adapthist rescale_intensity normalize": Advice(
        "", note="bgone leaves contrast alone, viewers set it"
    ),
}  # fmt: skip


def _plain(word: str) -> str:
    """Return a word in lower case, without its module and punctuation.

    >>> _plain("cv2.MORPH_TOPHAT"), _plain("Subtract Background..."), _plain("RollingBall")
    ('morphtophat', 'subtractbackground', 'rollingball')
    """
    last = word.strip().rstrip(".…").rpartition(".")[2]
    return re.sub(r"[\W_]", "", last).lower()


# Plain word → advice.
OTHER_WORDS = {_plain(word): advice for words, advice in _WORDS.items() for word in words.split()}


def advice_for(word: str) -> Advice | None:
    """Return the advice for another program's word, misspelt or not.

    >>> advice_for("MORPH_BLACKHAT").step, advice_for("radius")
    ('black_tophat', None)
    """
    plain = _plain(word[:100])
    close = difflib.get_close_matches(plain, OTHER_WORDS, n=1, cutoff=0.88)
    return OTHER_WORDS[close[0]] if close else None
