"""The texts of the arena, {key: (English, Traditional Chinese)}. Every help is two sentences."""

_FORM: dict[str, tuple[str, str]] = {
    "prompt": ("Prompt", "提示"),
    "prompt_placeholder": ("Ask something", "輸入問題"),
    "compare": ("Compare", "比較"),
    "stop": ("Stop", "停止"),
    "presets": ("Examples", "範例"),
    "try": ("Try", "試試"),
    "preset_sky": ("Why is the sky blue?", "天空為什麼是藍色?"),
    "preset_sky_prompt": ("Why is the sky blue? Explain it to a child.", "Why is the sky blue? Explain it to a child."),
    "preset_json": ("A message to JSON", "訊息轉 JSON"),
    "preset_json_prompt": (
        "Turn this message into JSON.\n\nBill from Two Rivers: 90.95 for purple yarn, due 23 September.",
        "Turn this message into JSON.\n\nBill from Two Rivers: 90.95 for purple yarn, due 23 September.",
    ),
    "preset_haiku": ("A short poem", "一首短詩"),
    "preset_haiku_prompt": ("Write a short poem about the first snow.", "Write a short poem about the first snow."),
    "preset_facts": ("A list of facts", "列出事實"),
    "preset_facts_prompt": ("Name three facts about octopuses.", "Name three facts about octopuses."),
    "preset_story": ("Go on with a story", "續寫故事"),
    "preset_story_prompt": (
        "Once upon a time, in a lighthouse at the end of the world,",
        "Once upon a time, in a lighthouse at the end of the world,",
    ),
    "more": ("More settings", "更多設定"),
    "lanes": ("Strategies", "策略"),
    "nothing": ("one model only", "只用一個模型"),
    "kind_tuned": ("tuned", "已微調"),
    "kind_starter": ("base", "基礎模型"),
    "fresh": ("new each time", "每次更新"),
    "raw": ("Raw continuation", "直接續寫"),
    "system": ("System prompt", "系統提示"),
    "system_placeholder": ("Who the model should be; empty: the model's own", "模型的角色;留空則使用模型預設"),
    "role_user": ("You", "您"),
    "role_assistant": ("Model", "模型"),
    "role_system": ("System", "系統"),
    "new_conversation": ("New conversation", "新的對話"),
    "help_on": ("What is {what}?", "{what}是什麼?"),
    "precision_auto": ("fastest", "最快"),
    "precision_fp32": ("fp32", "fp32"),
    "precision_bf16": ("bf16", "bf16"),
    "precision_int8": ("int8", "int8"),
    "early_stopping_false": ("by estimate", "依估計"),
    "early_stopping_true": ("at once", "立即"),
    "early_stopping_never": ("never early", "絕不提早"),
}

_MODES: dict[str, tuple[str, str]] = {
    "mode": ("What to compare", "比較內容"),
    "mode_one": ("One prompt", "單一提示"),
    "mode_sweep": ("Sweep", "設定掃描"),
    "mode_many": ("Many prompts", "多個提示"),
    "sweep": ("Grid", "網格"),
    "sweep_temperature_top_p": ("temperature × top-p", "溫度 × top-p"),
    "sweep_temperature_top_k": ("temperature × top-k", "溫度 × top-k"),
    "sweep_temperature_min_p": ("temperature × min-p", "溫度 × min-p"),
    "sweep_beams_penalty": ("beams × length penalty", "束數 × 長度懲罰"),
    "set_label_sweep": ("Sweep of settings", "設定掃描"),
    "help_sweep": (
        "One answer for every pair of values, all with the same seed. At most 32 rows fit: one a sampler, one a beam.",
        "每一組數值各產生一個回答,種子相同。最多 32 列:每個抽樣器一列,每個束一列。",
    ),
    "not_numbers": (
        "{text} is not a list of numbers. Write them with commas: 0.5, 0.8, 1.",
        "{text} 不是數字列表。請以逗號分隔:0.5, 0.8, 1。",
    ),
    "samples": ("Samples a prompt", "每個提示的樣本數"),
    "set_label_samples": ("Samples a prompt", "每個提示的樣本數"),
    "help_samples": (
        "How often each sampling strategy answers a prompt. With two or more, self-BLEU tells how alike these answers are.",
        "每種抽樣策略回答同一提示的次數。兩次以上時,self-BLEU 表示這些回答有多相似。",
    ),
    "prompts": ("Prompts, one a line", "提示,每行一個"),
    "prompts_placeholder": ("One prompt a line", "每行一個提示"),
    "prompts_file": ("Choose a file of prompts", "選擇提示檔案"),
    "file_too_large": (
        "{name} has {mb} MB; at most 5 MB of prompts are read.",
        "{name} 有 {mb} MB;最多讀取 5 MB 的提示。",
    ),
    "no_prompts_in": (
        "{name} holds no prompts. It may be text, one prompt a line, or JSON with prompt, question, instruction or turns.",
        "{name} 中沒有提示。可用每行一個提示的文字檔,或含 prompt、question、instruction、turns 的 JSON。",
    ),
    "batch_running": ("Prompt {n} of {all}", "第 {n} / {all} 個提示"),
    "batch_done": ("Done in {s} s.", "完成,{s} 秒。"),
    "batch_texts": ("What was said", "回答內容"),
    "batch_plot_repetition": ("Texts that end in a loop, against perplexity", "以重複結尾的文字比例與困惑度"),
    "batch_plot_self_bleu": ("Self-BLEU (1: all alike), against perplexity", "Self-BLEU(1:完全相同)與困惑度"),
    "batch_tokens": ("tokens", "詞元"),
    "batch_perplexity": ("perplexity", "困惑度"),
    "batch_repetition": ("loops", "重複"),
    "batch_distinct_2": ("distinct-2", "distinct-2"),
    "batch_self_bleu": ("self-BLEU", "self-BLEU"),
}

_LABELS: dict[str, tuple[str, str]] = {
    "set_label_model": ("Model", "模型"),
    "set_label_beside": ("Beside", "對照"),
    "set_label_temperature": ("Temperature", "溫度"),
    "set_label_top_k": ("Top-k", "Top-k"),
    "set_label_top_p": ("Top-p", "Top-p"),
    "set_label_min_p": ("Min-p", "Min-p"),
    "set_label_num_beams": ("Beams", "束數"),
    "set_label_length_penalty": ("Length penalty", "長度懲罰"),
    "set_label_early_stopping": ("Beams stop", "束搜尋停止"),
    "set_label_max_new_tokens": ("New tokens", "新詞元數"),
    "set_label_seed": ("Seed", "種子"),
    "set_label_precision": ("Precision", "精度"),
    "set_label_lanes": ("Strategies", "策略"),
    "set_label_raw": ("Raw continuation", "直接續寫"),
    "set_label_system": ("System prompt", "系統提示"),
}

_HELP: dict[str, tuple[str, str]] = {
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

_LANES: dict[str, tuple[str, str]] = {
    "name_greedy": ("Greedy", "貪婪"),
    "name_top_k": ("Top-k", "Top-k"),
    "name_top_p": ("Top-p", "Top-p"),
    "name_min_p": ("Min-p", "Min-p"),
    "name_sample": ("Pure sampling", "純抽樣"),
    "name_beam": ("Beam search", "束搜尋"),
    "how_greedy": ("takes the likeliest token, always", "永遠選最可能的詞元"),
    "how_top_k": ("draws among the {k} likeliest tokens", "從最可能的 {k} 個詞元中抽樣"),
    "how_top_p": ("draws among the fewest tokens that reach {p} % together", "從合計達 {p} % 的最少詞元中抽樣"),
    "how_min_p": (
        "draws among tokens at least {m} % as likely as the likeliest",
        "從機率至少為最高者 {m} % 的詞元中抽樣",
    ),
    "how_sample": ("draws among all tokens, as the model weighs them", "依模型的機率從所有詞元中抽樣"),
    "how_beam": ("keeps the {b} best whole sentences so far", "保留目前最好的 {b} 個句子"),
    "set_temperature": ("T {n}", "T {n}"),
    "set_beams": ("{n} beams", "{n} 束"),
    "set_penalty": ("penalty {n}", "懲罰 {n}"),
    "set_stop": ("stop {v}", "停止 {v}"),
    "text_of": (
        "{lane}: text. Arrow keys move between tokens, Enter shows alternatives.",
        "{lane}:文字。方向鍵移動詞元,Enter 顯示其他選擇。",
    ),
    "end_token": ("end of text", "文字結束"),
    "per_second": ("{n} tok/s", "{n} 詞元/秒"),
    "ms": ("{n} ms", "{n} 毫秒"),
    "s": ("{n} s", "{n} 秒"),
    "spark_choice": ("probability of the choice", "所選詞元的機率"),
    "spark_mass": ("probability that k tokens hold", "k 個詞元的合計機率"),
    "spark_kept": ("tokens kept at each step", "每步保留的詞元數"),
    "fact_perplexity": ("perplexity", "困惑度"),
    "fact_perplexity_help": (
        "How surprised the raw model is by this text, on average: 1 is not at all. Always at temperature 1, without a filter.",
        "原始模型對此文字的平均驚訝程度:1 表示毫不驚訝。一律以溫度 1、不經篩選計算。",
    ),
    "fact_tokens": ("tokens", "詞元數"),
    "fact_tokens_help": ("How many tokens the answer has.", "回答的詞元數。"),
    "fact_speed": ("speed", "速度"),
    "fact_speed_help": ("Tokens per second, from the start of the comparison.", "從比較開始算起的每秒詞元數。"),
    "fact_logprob": ("mean log p", "平均 log p"),
    "fact_logprob_help": (
        "Mean log-probability of a token under the raw model, in nats.",
        "原始模型下每個詞元的平均對數機率(奈特)。",
    ),
    "fact_first": ("first token", "首個詞元"),
    "fact_first_help": ("Time from the start to the first token.", "從開始到第一個詞元的時間。"),
    "fact_distinct_1": ("distinct-1", "distinct-1"),
    "fact_distinct_2": ("distinct-2", "distinct-2"),
    "fact_distinct_1_help": ("Share of different tokens; 1: none is repeated.", "不重複的詞元比例;1 表示沒有重複。"),
    "fact_distinct_2_help": (
        "Share of different pairs of tokens; 1: none is repeated.",
        "不重複的詞元對比例;1 表示沒有重複。",
    ),
    "fact_loop": ("end loop", "結尾重複"),
    "fact_loop_help": (
        "Whether the text ends in a phrase said again and again (Holtzman et al., 2019).",
        "文字是否以不斷重複的片語結尾(Holtzman 等,2019)。",
    ),
    "fact_rank": ("mean rank", "平均名次"),
    "fact_rank_help": (
        "Where the chosen tokens stand in the model's own order; 1 is the likeliest.",
        "所選詞元在模型排序中的名次;1 為最可能。",
    ),
    "fact_score": ("score", "分數"),
    "fact_score_help": (
        "Sum of log-probabilities / length to the power of the length penalty.",
        "對數機率總和 / 長度的長度懲罰次方。",
    ),
    "fact_stopped": ("ended by", "結束原因"),
    "fact_stopped_help": (
        "The model's own end token, or the limit of new tokens.",
        "模型自己的結束詞元,或新詞元數上限。",
    ),
    "by_eos": ("model", "模型"),
    "by_length": ("limit", "上限"),
    "by_you": ("you", "您"),
    "ended_by_eos": ("ended by the model", "由模型結束"),
    "ended_by_length": ("cut at the limit", "達到上限"),
    "loop_none": ("none", "無"),
    "loop_is": ("{n} ×", "{n} 次"),
    "loop_length": ("A phrase of {m} tokens", "{m} 個詞元的片語"),
    "copy_text": ("Copy", "複製"),
    "reply": ("Reply to this", "接著回覆"),
}

_CARD: dict[str, tuple[str, str]] = {
    "card_label": ("Alternatives to {token}", "{token} 的其他選擇"),
    "step_n": ("token {n}", "第 {n} 個詞元"),
    "kept_of": ("{k} kept, {shown} of them shown", "保留 {k} 個,顯示其中 {shown} 個"),
    "rank_is": ("rank {n}", "名次 {n}"),
    "entropy_is": ("entropy {n} nats", "熵 {n} 奈特"),
    "cut_greedy": ("greedy takes the first only", "貪婪只取第一個"),
    "cut_k": ("cut after k = {k}", "於 k = {k} 截斷"),
    "cut_p": ("cut at p = {p}", "於 p = {p} 截斷"),
    "cut_min_p": ("cut below {p} of the likeliest", "低於最高者的 {p} 即截斷"),
    "cut_beam": ("kept by no beam", "沒有束保留"),
    "row_kept": (
        "{token}: {raw} % for the model, {after} % after the filter; go on from here",
        "{token}:模型 {raw} %,篩選後 {after} %;從這裡繼續",
    ),
    "row_cut": (
        "{token}: {raw} % for the model, cut by the filter; go on from here",
        "{token}:模型 {raw} %,被篩除;從這裡繼續",
    ),
    "row_chosen": ("(chosen)", "(已選)"),
    "legend": ("outline: model · solid: after the filter", "外框:模型 · 實心:篩選後"),
    "legend_warm": (
        "outline: model · tick: temperature · solid: after the filter",
        "外框:模型 · 刻度:溫度後 · 實心:篩選後",
    ),
    "click_forks": ("click: go on from here", "點選:從這裡繼續"),
    "only_this_lane": ("this pane only", "只限此欄"),
    "no_alternatives": ("No alternatives were recorded for this token.", "此詞元沒有其他選擇的紀錄。"),
}

_TREE: dict[str, tuple[str, str]] = {
    "tree_title": ("Beam tree", "束搜尋樹"),
    "tree_label": (
        "Beam tree. Arrow keys move, plus and minus zoom, 0 fits, End follows the newest step. The sentences are listed below.",
        "束搜尋樹。方向鍵移動,加減鍵縮放,0 顯示全部,End 跟隨最新一步。句子列於下方。",
    ),
    "tree_root": ("prompt", "提示"),
    "tree_caption": (
        "{b} beams, step {n} of {all}. Width: probability. Grey: dropped. ■: finished.",
        "{b} 束,第 {n} / {all} 步。寬度:機率。灰色:已放棄。■:已完成。",
    ),
    "tree_score": ("score = Σ log p / length^penalty", "分數 = Σ log p / 長度^懲罰"),
    "tree_node": ("{state} at step {n} · {p} % · score {score} ·", "第 {n} 步{state} · {p} % · 分數 {score} ·"),
    "state_kept": ("kept", "保留"),
    "state_dead": ("kept, later dropped", "保留後放棄"),
    "state_cut": ("dropped", "放棄"),
    "state_done": ("finished", "完成"),
    "zoom_in": ("Zoom in", "放大"),
    "zoom_out": ("Zoom out", "縮小"),
    "zoom_fit": ("Show all", "顯示全部"),
    "zoom_follow": ("Go to the newest step", "跳到最新一步"),
}

_BAR: dict[str, tuple[str, str]] = {
    "empty": (
        "Press Compare: four strategies answer the same prompt side by side, and every token shows what else it could have been.",
        "按「比較」:四種策略並排回答同一個提示,每個詞元都能看到它原本可能是什麼。",
    ),
    "colour": ("Colour", "著色"),
    "colour_none": ("nothing", "無"),
    "colour_probability": ("unlikely choices", "不太可能的選擇"),
    "colour_entropy": ("where the model is unsure", "模型沒把握之處"),
    "slider": ("Replay: token shown", "重播:顯示到的詞元"),
    "play": ("Replay", "重播"),
    "pause": ("Pause", "暫停"),
    "moment": ("{n} of {all}", "{n} / {all}"),
    "copy_link": ("Link", "連結"),
    "copy_python": ("Python", "Python"),
    "export": ("Export", "匯出"),
    "import": ("Import", "匯入"),
    "waiting_start": ("Starting…", "開始中…"),
    "waiting_place": ("Waiting for a free place on the server…", "正在等候伺服器的空位…"),
    "waiting_queue": ("Waiting: place {n} of {all} in the queue.", "等待中：佇列第 {n} 位，共 {all} 位。"),
    "waiting_turn": ("Waiting: another comparison is being computed.", "等待中:正在計算另一個比較。"),
    "loading": ("Loading {model} ({mb} MB)…", "正在載入 {model}({mb} MB)…"),
    "running": (
        "Token {n} of {all} · first after {first} · {s} s",
        "第 {n} / {all} 個詞元 · 首個 {first} · {s} 秒",
    ),
    "stopping": ("Stopping…", "停止中…"),
    "end_done": ("Done: {n} steps in {s} s.", "完成:{n} 步,{s} 秒。"),
    "end_stopped": ("Stopped.", "已停止。"),
    "failed": ("The comparison failed.", "比較失敗。"),
    "copied_text": ("Text copied.", "已複製文字。"),
    "copied_link": ("Link copied. It reopens prompt, settings and seed.", "已複製連結。開啟後會還原提示、設定與種子。"),
    "copied_python": ("Python copied: the same as model.generate calls.", "已複製 Python:以 model.generate 呼叫寫成。"),
    "no_clipboard": ("The browser does not let this page use the clipboard.", "瀏覽器不允許此頁面使用剪貼簿。"),
    "link_too_long": ("The prompt is too long for a link; use Export.", "提示太長,無法做成連結;請使用匯出。"),
    "nothing_to_export": ("Compare first: there is nothing to export yet.", "請先比較:目前沒有可匯出的內容。"),
    "imported": ("{name} is shown as it was recorded.", "正在顯示 {name} 的紀錄。"),
    "bad_trace": ("{name} is not a trace of this app.", "{name} 不是此應用程式的紀錄。"),
    "bad_trace_hint": ("Choose a .json file that Export has saved.", "請選擇由「匯出」儲存的 .json 檔。"),
}

WORDS: dict[str, tuple[str, str]] = {
    f"arena_{key}": pair
    for part in (_FORM, _MODES, _LABELS, _HELP, _LANES, _CARD, _TREE, _BAR)
    for key, pair in part.items()
}
