"""What a run learns, by task: its rows, its loss, its figures. One loop and one optimizer serve all of them.

An objective is a class of base.Objective; `of` finds it by the task's name. None knows files other than those of the
run's folder, and none knows optimizers.
"""

from llmdemo.training.objectives.base import Objective, Place, Source
from llmdemo.training.objectives.chat import Chat
from llmdemo.training.objectives.classify import Classify
from llmdemo.training.objectives.kto import Kto
from llmdemo.training.objectives.policy import Policy
from llmdemo.training.objectives.preference import Preference
from llmdemo.training.objectives.pretrain import Pretrain
from llmdemo.training.objectives.reward import Reward
from llmdemo.training.objectives.text import Text

__all__ = ["Objective", "Place", "Source", "of"]

_OBJECTIVES = {
    objective.task: objective for objective in (Chat, Text, Classify, Preference, Pretrain, Policy, Reward, Kto)
}


def of(task: str) -> type[Objective]:
    """The objective of a task of settings.training.TASKS."""
    return _OBJECTIVES[task]
