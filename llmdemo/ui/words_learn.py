"""The texts of the learn-by-doing cards, {key: (English, Traditional Chinese)}."""

WORDS: dict[str, tuple[str, str]] = {
    "learn_title_chat": ("What happens here: instructions", "這裡發生什麼：指令微調"),
    "learn_title_text": ("What happens here: continued pretraining", "這裡發生什麼：持續預訓練"),
    "learn_title_classify": ("What happens here: classification", "這裡發生什麼：分類"),
    "learn_title_preference": ("What happens here: preference tuning", "這裡發生什麼：偏好微調"),
    "learn_about_chat": (
        "The model reads an instruction and learns to write its answer, one token after the other. The instruction is read, but "
        "only the answer's tokens are learned, its end among them. The loss is the mean surprise: how unlikely the model "
        "thought each token that stands there.",
        "模型讀取指令，學習逐個詞元寫出回答。指令只被讀取，被學習的只有回答的詞元，包括結尾。損失是平均的意外程度：模型認為實際出現的"
        "每個詞元有多不可能。",
    ),
    "learn_about_text": (
        "The model goes on reading, as in its first training: at each place of a text it learns to expect the next token. Every "
        "token counts, and short texts share a row without seeing each other. What it knew before fades a little, so the loss "
        "on other data is watched, and some of it can be replayed.",
        "模型像最初訓練時一樣繼續閱讀：在文字的每個位置學習預測下一個詞元。每個詞元都算，短文字共用一列而互不可見。原有的能力會稍微淡"
        "忘，因此會觀察其他資料的損失，也可重播部分資料。",
    ),
    "learn_about_classify": (
        "The language model keeps its layers and gets a new, small last one: one number for each class, read at a closing token "
        "after the text. Softmax makes probabilities of these numbers. The loss is the surprise at the right class; a rare class "
        "can be given more weight, and texts that the model is sure of already are not learned again.",
        "語言模型保留各層，換上新的小型輸出層：在文字後的結尾詞元讀出每個類別的一個數字。softmax 把這些數字變成機率。損失是對正確類別"
        "的意外程度，少見的類別可給較大權重，模型已有把握的文字則不再學習。",
    ),
    "learn_about_preference": (
        "Of two answers to one prompt, the preferred one becomes likelier than the other. What counts is the gain over the "
        "model that training started from, the reference, so the model is not paid for what it knew. Beta says how much "
        "straying from the reference costs.",
        "對同一提示的兩個回答，讓較佳者變得比另一個更可能。計算的是相對於起始模型（參考模型）的增益，因此原本就會的不算分。beta 決定偏"
        "離參考模型的代價。",
    ),
    "learn_torch_chat": (
        "PyTorch's cross_entropy does both steps in one: softmax over a place's logits, then −log of the probability of the token "
        "that stands there. Labels of −100, the instruction, are left out, and the rest is averaged.",
        "PyTorch 的 cross_entropy 一次完成兩步：對該位置的 logits 做 softmax，再取實際詞元機率的 −log。標籤為 −100 的（指令）略過，"
        "其餘取平均。",
    ),
    "learn_torch_text": (
        "PyTorch's cross_entropy does both steps in one: softmax over a place's logits, then −log of the next token's probability, "
        "averaged over all places. e to the power of this mean is the perplexity.",
        "PyTorch 的 cross_entropy 一次完成兩步：對該位置的 logits 做 softmax，再取下一個詞元機率的 −log，並對所有位置取平均。e 的這個"
        "平均值次方就是困惑度。",
    ),
    "learn_torch_classify": (
        "PyTorch's cross_entropy does both steps in one: softmax over the class logits, then −log of the right class's probability. "
        "With class weights each text's term is multiplied by its class's weight before averaging.",
        "PyTorch 的 cross_entropy 一次完成兩步：對各類別的 logits 做 softmax，再取正確類別機率的 −log。有類別權重時，每段文字的項在平均"
        "前乘上其類別權重。",
    ),
    "learn_torch_preference": (
        "PyTorch's cross_entropy gives each answer's log-probability: the negative sum of −log p over its tokens. The loss is "
        "logsigmoid of the margin, the same as cross entropy between two classes, preferred and rejected.",
        "PyTorch 的 cross_entropy 給出每個回答的對數機率：各詞元 −log p 之和的負值。損失是差距的 logsigmoid，等同於「較佳」與「較差」"
        "兩類之間的交叉熵。",
    ),
    "learn_torch_preference_smoothed": (
        "PyTorch's cross_entropy gives each answer's log-probability: the negative sum of −log p over its tokens. Δ is what the "
        "preferred answer gained on the reference, less what the other one did; the share ε of pairs counts as the wrong way "
        "round.",
        "PyTorch 的 cross_entropy 給出每個回答的對數機率：各詞元 −log p 之和的負值。Δ 是較佳回答相對參考模型的增益減去另一回答的增益；"
        "比例 ε 的配對視為標反。",
    ),
    "learn_torch_preference_robust": (
        "PyTorch's cross_entropy gives each answer's log-probability: the negative sum of −log p over its tokens. Δ is what the "
        "preferred answer gained on the reference, less what the other one did; where the share ε of pairs is the wrong way "
        "round, this loss is on average DPO's on the right ones.",
        "PyTorch 的 cross_entropy 給出每個回答的對數機率：各詞元 −log p 之和的負值。Δ 是較佳回答相對參考模型的增益減去另一回答的增益；"
        "若有比例 ε 的配對標反，此損失平均而言等於正確配對上的 DPO 損失。",
    ),
    "learn_torch_preference_ipo": (
        "PyTorch's cross_entropy gives each answer's log-probability, here as the mean over its tokens. The loss is the squared "
        "distance of the margin from 1/(2β): a larger margin costs as much as a smaller one.",
        "PyTorch 的 cross_entropy 給出每個回答的對數機率，這裡取各詞元的平均。損失是差距與 1/(2β) 之差的平方：差距過大與過小一樣要付出"
        "代價。",
    ),
    "learn_numbers": ("On a record of your data", "以您的一筆資料為例"),
    "learn_computing": ("Computing with the model…", "正在用模型計算…"),
    "learn_record": ("Record {n}", "第 {n} 筆"),
    "learn_other": ("Another record", "換一筆"),
    "learn_token": ("token", "詞元"),
    "learn_class": ("class", "類別"),
    "learn_right": ("right", "正確"),
    "learn_answer": ("answer", "回答"),
    "learn_before": ("before training", "訓練前"),
    "learn_after": ("after: {run}", "訓練後：{run}"),
    "learn_logit": ("logit", "logit"),
    "learn_probability": ("probability", "機率"),
    "learn_surprise": ("−log p", "−log p"),
    "learn_reference": ("log p, reference", "log p（參考模型）"),
    "learn_policy": ("log p, this model", "log p（此模型）"),
    "learn_gain": ("gain", "增益"),
    "learn_margin": ("margin Δ", "差距 Δ"),
    "learn_scaled": ("β·Δ, β = {beta}", "β·Δ，β = {beta}"),
    "learn_margin_mean": ("margin Δ a token", "每詞元的差距 Δ"),
    "learn_target": ("aim 1/(2β), β = {beta}", "目標 1/(2β)，β = {beta}"),
    "learn_classes": (
        "{n} of {total} classes: the right one and the likeliest",
        "{total} 類中的 {n} 類：正確類別與最可能者",
    ),
    "learn_loss": ("loss", "損失"),
    "learn_mean": ("mean of all {n} learned tokens", "全部 {n} 個學習詞元的平均"),
    "learn_same": ("cross_entropy says {value}: the same number.", "cross_entropy 的結果為 {value}：相同。"),
    "learn_no_after": (
        "The numbers after training appear here when a run on this data has finished.",
        "以此資料完成訓練後，這裡會顯示訓練後的數字。",
    ),
    "learn_formula": ("The loss as a formula", "損失的公式"),
}
