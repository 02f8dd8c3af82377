"""Which language a text is written in, by py3langid: naive Bayes over byte n-grams.

Lui and Baldwin 2012, "langid.py: An Off-the-shelf Language Identification Tool"; py3langid is its
maintained successor. Its model of 139 languages lies in its wheel of 5 MB, is no pickle and takes
0.2 ms for a caption, with NumPy alone; the wheel of lingua, the other one that needs no download,
has 96 MB.
"""

import functools
from typing import Any

NO_LANGUAGE = "zxx"  # ISO 639-2 for numbers, names of files and the like, a class of the model


def language(text: str) -> tuple[str, float] | tuple[None, None]:
    """ISO 639-1 code and its probability, 0 to 1; "zxx" for what is no language; None of no letter.

    A few words say little: "a dog runs" is English at 0.1, a sentence of ten words at 0.99.
    """
    if not any(character.isalpha() for character in text):
        return None, None
    code, probability = _identifier().classify(text)
    return code, probability


@functools.cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # dialects with three-letter codes would share the probability of the language that they are of
    identifier.set_languages({code for code in identifier.labels if len(code) == 2} | {NO_LANGUAGE})
    return identifier
