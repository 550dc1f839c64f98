"""What a "?" of the arena says, {key: (English, Traditional Chinese)}, each two sentences."""

HELP: dict[str, tuple[str, str]] = {
    "help_model": (
        "The language model that answers. Models that you trained appear here as soon as their run ends.",
        "負責回答的語言模型。您訓練的模型在訓練結束後會立刻出現在這裡。",
    ),
    "help_beside": (
        "A second model that answers the same prompt with the same seed. Words in which the two differ are underlined.",
        "第二個模型會以相同的種子回答相同的提示。兩者不同的字詞會加上底線。",
    ),
    "help_temperature": (
        "Divides the model's scores before a token is drawn: below 1 the likely tokens become likelier, above 1 the odds even "
        "out. Greedy and beam search do not draw, so it does not touch them.",
        "抽樣前先把模型的分數除以溫度:小於 1 時可能的詞元更可能,大於 1 時機率更平均。貪婪與束搜尋不抽樣,因此不受影響。",
    ),
    "help_top_k": (
        "Before each draw only the k likeliest tokens stay in. A small k is safe and dull, a large one lets odd tokens through.",
        "每次抽樣前只保留最可能的 k 個詞元。k 小則安全而平淡,k 大則會放進奇怪的詞元。",
    ),
    "help_top_p": (
        "Before each draw the fewest tokens stay in that reach this share of the probability together. Where the model is sure "
        "that is one token, where it is not it may be hundreds.",
        "每次抽樣前只保留合計達到此機率的最少詞元。模型有把握時可能只有一個,沒把握時可能有數百個。",
    ),
    "help_min_p": (
        "Tokens stay in that are at least this share as likely as the likeliest one. Switch its pane on under Strategies.",
        "保留機率至少為最可能詞元此比例的詞元。請在「策略」中開啟它的欄位。",
    ),
    "help_num_beams": (
        "How many sentences beam search keeps in hand at every step. More beams find likelier sentences, not always better ones.",
        "束搜尋每一步保留的句子數。更多的束會找到更可能的句子,但不一定更好。",
    ),
    "help_length_penalty": (
        "A sentence's log-probability is divided by its length to this power. Above 0 long sentences gain, below 0 short ones do.",
        "句子的對數機率會除以長度的此次方。大於 0 有利長句,小於 0 有利短句。",
    ),
    "help_early_stopping": (
        "When beam search may end: once enough sentences are finished (at once), when a better one is unlikely (by estimate), or "
        "only when a better one is impossible (never early). These are generate's early_stopping True, False and “never”.",
        "束搜尋何時可以結束:完成足夠句子時(立即)、不太可能有更好的句子時(依估計),或不可能有更好的句子時(絕不提早)。"
        "分別對應 generate 的 early_stopping True、False 與 “never”。",
    ),
    "help_max_new_tokens": (
        "The most tokens that each answer may have; a token is a word or a part of one. An answer ends earlier if the model ends it.",
        "每個回答最多的詞元數;詞元是一個字詞或其一部分。模型也可以提早結束回答。",
    ),
    "help_seed": (
        "The start of the random draws: the same seed and settings give the same text again. “New each time” takes another one at "
        "every Compare.",
        "亂數抽樣的起點:相同的種子與設定會得到相同的文字。「每次更新」會在每次比較時換新的種子。",
    ),
    "help_precision": (
        "The number format of the weights. “Fastest” is what this machine computes fastest; fp32 is exact.",
        "權重的數字格式。「最快」是這台機器計算最快的格式;fp32 最精確。",
    ),
    "help_lanes": (
        "The panes that answer. All of them share one pass through the model per step, so another one costs little.",
        "要顯示的欄位。所有策略每一步共用一次模型計算,多開一個幾乎不花時間。",
    ),
    "help_raw": (
        "The text goes to the model as it is, without the chat's turns around it. The model goes on where it ends.",
        "文字會原樣送入模型,不加上對話格式。模型會從結尾處接著寫。",
    ),
    "help_system": (
        "A standing instruction that comes before the conversation. Some models' templates put one of their own when it is empty.",
        "放在對話之前的固定指示。留空時,有些模型的範本會放入自己的指示。",
    ),
}
