"""What requests are about: their language, and which topic of the model's training data they are nearest to.

Topics are clusters of the training records' prompts, named by the words that set them apart, so that no word of a request
is ever kept. Knows no model and no file.
"""

import re
from collections.abc import Sequence
from typing import Any

TOPICS, LEAST_TEXTS = 8, 40
NO_TOPIC = "–"
"""Of a text that shares no word with any topic."""
_MOST_CHARACTERS = 2000
_LANGUAGE_CHARACTERS, _LEAST_LETTERS = 400, 12
_WORDS = 3
_WORD = re.compile(r"[^\W\d_]+")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_PHRASE = 3


def language_of(text: str) -> str:
    """ISO 639-1 by py3langid; "und" for a text with too few letters to tell."""
    import py3langid  # its model takes a moment to load

    text = text[:_LANGUAGE_CHARACTERS]
    letters = sum(character.isalpha() for character in text)
    return py3langid.classify(text)[0] if letters >= _LEAST_LETTERS or (letters and not text.isascii()) else "und"


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; of scripts without spaces each two neighbouring characters."""
    found: list[str] = []
    for word in _WORD.findall(text[:_MOST_CHARACTERS].lower()):
        if _WIDE.search(word):
            found += [word[i : i + 2] for i in range(max(1, len(word) - 1))]
        elif len(word) > 2:
            found.append(word)
    return found


def repetition_of(text: str) -> float:
    """From 0 to 1: the share of a text's phrases of three words that stood in it before (1 − distinct-3 of Li et al.,
    arXiv 1510.03055); of a script without spaces, of three characters."""
    text = text[:_MOST_CHARACTERS]
    units: Sequence[str] = text if len(_WIDE.findall(text)) > len(text) / 4 else text.split()
    phrases = [tuple(units[i : i + _PHRASE]) for i in range(len(units) - _PHRASE + 1)]
    return 1 - len(set(phrases)) / len(phrases) if phrases else 0.0


class Topics:
    """Clusters of TF-IDF vectors of `texts`; made once, in a second for 2,000 short texts."""

    def __init__(self, texts: Sequence[str]):
        from sklearn.cluster import MiniBatchKMeans
        from sklearn.feature_extraction.text import TfidfVectorizer

        if len(texts) < LEAST_TEXTS:
            raise ValueError(f"{len(texts)} texts are too few for topics")
        self._vectorizer = TfidfVectorizer(
            analyzer=_content_words, max_df=0.5, min_df=2, max_features=5000, sublinear_tf=True
        )
        vectors = self._vectorizer.fit_transform(texts)
        self._clusters = MiniBatchKMeans(min(TOPICS, len(texts) // 10), random_state=0, n_init=3).fit(vectors)
        words = self._vectorizer.get_feature_names_out()
        centres = self._clusters.cluster_centers_
        apart = centres - centres.mean(0)
        self.names = [", ".join(words[i] for i in row.argsort()[::-1][:_WORDS]) for row in apart]

    def of(self, texts: Sequence[str]) -> list[str]:
        """The topic of each text, by name; NO_TOPIC where it shares no word with the training data."""
        vectors = self._vectorizer.transform(texts)
        numbers: Any = self._clusters.predict(vectors)
        known = vectors.getnnz(axis=1)
        return [self.names[number] if count else NO_TOPIC for number, count in zip(numbers, known, strict=True)]


def _content_words(text: str) -> list[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return [word for word in words_of(text) if word not in ENGLISH_STOP_WORDS]
