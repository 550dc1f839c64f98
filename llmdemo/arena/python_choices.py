"""The end of a copied script (python_call.py) for lanes that draw several answers: how one of them is chosen. Text only."""

from llmdemo.settings.lane import LaneSettings

_BEST_OF_N = """\
ids = output.sequences[:, inputs["input_ids"].shape[1]:]
logprobs = torch.stack(output.logits, dim=1).log_softmax(-1).gather(-1, ids[..., None])[..., 0]
ends = torch.isin(ids, torch.tensor(model.generation_config.eos_token_id)).long()
said = ends.cumsum(1) - ends == 0  # the tokens of each answer, its end included, without what fills up the row
best = ((logprobs * said).sum(1) / said.sum(1)).argmax()
print(tokenizer.decode(ids[best], skip_special_tokens=True))
"""
_TEXTS = """\
texts = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1]:], skip_special_tokens=True)
"""
_VOTE = """\
import re
from collections import Counter
from itertools import chain
{texts}answers = [{answer} for text in texts]
votes = Counter(chain.from_iterable(answers))
print(texts[answers.index([votes.most_common(1)[0][0]])] if votes else texts[0])
"""
_MBR = """\
from sacrebleu.metrics import CHRF
{texts}chrf = CHRF()
print(max(texts, key=lambda text: sum(chrf.sentence_score(text, [other]).score for other in texts)))
"""
_NUMBER = r"[-−]?\d[\d,]*(?:\.\d+)?"


def choosing(lane: LaneSettings) -> str:
    """The lines that print the lane's answer out of `output`, of generate with num_return_sequences."""
    if lane.strategy == "best_of_n":
        return _BEST_OF_N
    if lane.strategy == "mbr":
        return _MBR.format(texts=_TEXTS)
    found = {
        "text": "[text.strip()]",
        "number": f"re.findall({_NUMBER!r}, text)[-1:]",
        "regex": f"re.findall({lane.vote_regex!r}, text)[-1:]",
    }
    return _VOTE.format(texts=_TEXTS, answer=found[lane.vote_on])
