"""The numbers inside a loss: logits, probabilities and −log p, from one forward pass of one record.

Each is computed plainly (softmax, then log) and once more with torch's own cross entropy, which must agree. Knows nothing
of data sets, runs or pages.
"""

import torch
from torch import Tensor
from torch.nn import functional

from llmdemo.data.encode import NOT_TRAINED, Encoded
from llmdemo.settings.training import TrainConfig
from llmdemo.training.objectives.kto import kto_losses
from llmdemo.training.objectives.policy_losses import Drawn, advantages, kl, shares
from llmdemo.training.objectives.preference_losses import WITHOUT_REFERENCE, Answers, margins, pair_losses
from llmdemo.training.objectives.reward import reward_losses


@torch.no_grad()
def tokens(model, row: Encoded, most: int) -> dict:
    """{"rows", "trained", "loss", "cross_entropy"} of a row of T tokens.

    rows: the first `most` trained tokens: {position, id, logit, probability, surprise (−log p in nats), best_id,
    best_probability}. loss: mean surprise over all `trained` ones; cross_entropy: the same by torch in one call.
    """
    ids = torch.tensor([row.input_ids], device=model.device)
    labels = torch.tensor(row.labels, device=model.device)[1:]
    logits = model(input_ids=ids).logits[0, :-1].float()  # [T-1, V]
    places = (labels != NOT_TRAINED).nonzero()[:, 0]
    picked, wanted = logits[places], labels[places]
    probabilities = picked.softmax(-1)
    p = probabilities.gather(1, wanted[:, None])[:, 0]
    shown = [_token(n, picked, probabilities, wanted, places) for n in range(min(most, len(places)))]
    return {
        "rows": shown,
        "trained": len(places),
        "loss": _mean(-p.log()),
        "cross_entropy": functional.cross_entropy(logits, labels, ignore_index=NOT_TRAINED).item(),
    }


def _token(n: int, picked: Tensor, probabilities: Tensor, wanted: Tensor, places: Tensor) -> dict:
    p, best = probabilities[n, wanted[n]], probabilities[n].argmax()
    return {
        "position": int(places[n]) + 1,
        "id": int(wanted[n]),
        "logit": picked[n, wanted[n]].item(),
        "probability": p.item(),
        "surprise": -p.log().item(),
        "best_id": int(best),
        "best_probability": probabilities[n, best].item(),
    }


@torch.no_grad()
def classes(model, ids: list[int], label: str) -> dict:
    """{"rows": [{name, logit, probability, surprise}], "label", "loss", "cross_entropy"} of one text."""
    logits = model(input_ids=torch.tensor([ids], device=model.device)).logits[0].float()  # [C]
    probabilities = logits.softmax(-1)
    names = [model.config.id2label[n] for n in range(len(logits))]
    target = torch.tensor(names.index(label), device=logits.device)
    rows = [
        {"name": name, "logit": z.item(), "probability": p.item(), "surprise": -p.log().item()}
        for name, z, p in zip(names, logits, probabilities, strict=True)
    ]
    return {
        "rows": rows,
        "label": label,
        "loss": rows[int(target)]["surprise"],
        "cross_entropy": functional.cross_entropy(logits, target).item(),
    }


def likeliest(before: dict, after: dict | None, most: int) -> tuple[dict, dict | None]:
    """What `classes` gave before and after with the same `most` rows: the right class, and those that the newer model
    finds likeliest, in the order of the classes. "classes" says how many there are."""
    newer = sorted((after or before)["rows"], key=lambda row: (row["name"] != before["label"], -row["probability"]))
    names = {row["name"] for row in newer[:most]}

    def shown(found: dict) -> dict:
        rows = [row for row in found["rows"] if row["name"] in names]
        return {**found, "rows": rows, "classes": len(found["rows"])}

    return shown(before), shown(after) if after else None


@torch.no_grad()
def log_probabilities(model, row: Encoded, temperature: float = 1.0) -> Tensor:
    """[n] log p of each of the row's n trained tokens, in fp32 on the CPU."""
    ids = torch.tensor([row.input_ids], device=model.device)
    labels = torch.tensor(row.labels, device=model.device)[1:]
    logits = model(input_ids=ids).logits[0, :-1].float() / temperature
    trained = labels != NOT_TRAINED
    return -functional.cross_entropy(logits[trained], labels[trained], reduction="none").cpu()


def answer_log_probability(model, row: Encoded) -> float:
    """Sum of log p over the trained tokens: what the model gives to the whole answer."""
    return log_probabilities(model, row).sum().item()


def preference(
    policy: tuple[float, float], reference: tuple[float, float], lengths: tuple[int, int], config: TrainConfig
) -> dict:
    """The terms of the loss that a run would use (pair_losses), from log-probabilities and tokens of (chosen, rejected).

    margin: Δ, the chosen answer's gain over the reference less the rejected one's; for IPO of the gains a token; without a
    reference (ORPO, SimPO: "refers" is false) of the log-probabilities a token. scaled: β·Δ. target: the margin that IPO
    aims at, 1/(2β), and that SimPO asks for, γ/β; None for the others.
    """
    kind = config.preference_loss
    refers = kind not in WITHOUT_REFERENCE
    chosen, rejected = (
        Answers(*(torch.tensor([value], dtype=torch.float64) for value in (ours, ours - theirs, length)))
        for ours, theirs, length in zip(policy, reference, lengths, strict=True)
    )
    if not refers:
        chosen, rejected = chosen._replace(gain=None), rejected._replace(gain=None)
    scaled = margins(chosen, rejected, config).item()
    if kind == "ipo":
        gains = [(ours - theirs) / n for ours, theirs, n in zip(policy, reference, lengths, strict=True)]
        scaled = config.beta * (gains[0] - gains[1])
    targets = {"ipo": 1 / (2 * config.beta), "simpo": config.simpo_gamma / config.beta}
    return {
        "policy": {"chosen": policy[0], "rejected": policy[1]},
        "reference": {"chosen": reference[0], "rejected": reference[1]},
        "lengths": {"chosen": lengths[0], "rejected": lengths[1]},
        "refers": refers,
        "margin": scaled / config.beta,
        "scaled": scaled,
        "target": targets.get(kind),
        "loss": pair_losses(chosen, rejected, config).item(),
    }


def reward(chosen: float, rejected: float) -> dict:
    """The terms of a reward model's loss (reward_losses), from the numbers of both answers. probability: that the chosen
    one is preferred."""
    margin = torch.tensor([chosen - rejected], dtype=torch.float64)
    return {
        "rewards": {"chosen": chosen, "rejected": rejected},
        "margin": margin.item(),
        "probability": margin.sigmoid().item(),
        "loss": reward_losses(margin).item(),
    }


def kto(
    policy: list[float], reference: list[float], marks: list[bool], strayed: list[float], config: TrainConfig
) -> dict:
    """The terms of KTO's loss (kto_losses) of answers, from their log-probabilities and whether each is desired.

    strayed: log-ratios of answers that belong to other prompts, whose mean, not below 0, is z. rows: {desired, policy,
    reference, gain, lead (β times the gain's distance from z, in the direction that is wanted), weight, loss}.
    """
    gains = torch.tensor(policy, dtype=torch.float64) - torch.tensor(reference, dtype=torch.float64)  # (n,)
    desired = torch.tensor(marks)
    z = torch.tensor(strayed, dtype=torch.float64).mean().clamp(min=0)
    losses = kto_losses(gains, desired, z, config)
    rows = [
        {
            "desired": mark,
            "policy": ours,
            "reference": theirs,
            "gain": gain,
            "lead": config.beta * (gain - z.item()) * (1 if mark else -1),
            "weight": config.desired_weight if mark else config.undesired_weight,
            "loss": loss,
        }
        for mark, ours, theirs, gain, loss in zip(
            marks, policy, reference, gains.tolist(), losses.tolist(), strict=True
        )
    ]
    return {"rows": rows, "strayed": z.item(), "others": len(strayed), "loss": losses.mean().item()}


def policy(
    now: list[Tensor], drawn: list[Tensor], rewards: list[float], counts: list[bool], config: TrainConfig
) -> dict:
    """The terms of a policy's loss (advantages, shares) of the answers that one prompt was given, as if it were all of a step.

    now, drawn: log-probabilities [tokens] of each answer, by the model and by the one that drew it, which it started from;
    counts: whether it is learned from. rows: {reward, advantage (None of rejection), tokens, ratio (the tokens' geometric
    mean), kl (the tokens' mean), loss (its share; 0 where it is not learned from)}.
    """
    values = advantages(torch.tensor([rewards], dtype=torch.float64), config)[0]  # (answers,)
    learned = [n for n, each in enumerate(counts) if each and len(now[n])]
    found = torch.zeros(len(rewards), dtype=torch.float64)
    if learned:
        rows = torch.cat([torch.full((len(now[n]),), place) for place, n in enumerate(learned)])
        ours, old = (torch.cat([each[n].double() for n in learned]) for each in (now, drawn))
        tokens = shares(Drawn(ours, old, old, rows), values[learned], (len(rows), len(learned)), config)
        found[learned] = torch.zeros(len(learned), dtype=torch.float64).index_add_(0, rows, tokens)
    told = [
        {
            "reward": rewards[n],
            "advantage": None if config.policy_loss == "rejection" else values[n].item(),
            "tokens": len(now[n]),
            "ratio": (now[n] - drawn[n]).double().mean().exp().item(),
            "kl": kl(Drawn(now[n], drawn[n], drawn[n], now[n])).mean().item(),
            "loss": found[n].item(),
            "counts": counts[n],
        }
        for n in range(len(rewards))
    ]
    return {"rows": told, "loss": found.sum().item()}


def _mean(values: Tensor) -> float | None:
    return values.mean().item() if len(values) else None
