"""Task templates: rows of a data set, with the columns it was published with -> examples with options and a question.

A template is a plain dataclass, and `TASK_TEMPLATES` is a plain dict: your own is one entry more.

```python
>>> TASK_TEMPLATES["tickets"] = TaskTemplate(text="{body}", options=["billing", "bug"], question="What is it about?")
>>> TASK_TEMPLATES["tickets"]({"body": "I was charged twice.", "label": "billing"})
{'text': 'I was charged twice.', 'text_pair': '', 'question': 'What is it about?', 'options': ['billing', 'bug'],
 'label': 0}
```

The Chinese templates word options and questions as the published checkpoints were asked (the UniMC and CLUE1.1
examples of IDEA-CCNL/Fengshenbang-LM); those of csldcp and of chid's options behind the text are this project's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..pipeline_inputs import TASK_TYPE_TEMPLATES

Row = Mapping[str, Any]
BLANK = "__"


@dataclass(frozen=True)
class TaskTemplate:
    """
    How the rows of one data set become examples for the pipeline, the collator and the evaluation.

    Args:
        options: what can be chosen. A `{label: option}` mapping, where options may name columns (`"about {topic}"`);
            a sequence of labels that are options as they are; or the name of the column that holds a row's own
            options.
        text, text_pair, question: format strings over the columns; `""` where there is none.
        label: the column that says what is right: a label, or its index. Rows without it have the label `None`.
        prepare: changes a row before the rest is read from it, e.g. to mark a span in the text.
    """

    options: Mapping[str, str] | Sequence[str] | str
    text: str = "{text}"
    text_pair: str = ""
    question: str = ""
    label: str = "label"
    prepare: Callable[[Row], Row] | None = None

    def __call__(self, row: Row) -> dict[str, Any]:
        """One row as a dict with `text`, `text_pair`, `question`, `options` and `label` (an index or `None`).

        Raises:
            ValueError: if the row lacks a column that the template names, or has a label that is none of the
                template's.
        """
        if self.prepare is not None:
            row = self.prepare(row)
        labels, options = self._labels_and_options(row)
        return {
            **{name: _fill(getattr(self, name), row) for name in ("text", "text_pair", "question")},
            "options": options,
            "label": self._label_index(row.get(self.label), labels),
        }

    def _labels_and_options(self, row: Row) -> tuple[list[str], list[str]]:
        if isinstance(self.options, str):
            if self.options not in row:
                raise ValueError(f"The row has no column {self.options!r} for the options; it has {sorted(row)}.")
            return list(row[self.options]), list(row[self.options])
        if isinstance(self.options, Mapping):
            return list(self.options), [_fill(option, row) for option in self.options.values()]
        return list(self.options), list(self.options)

    def _label_index(self, label: Any, labels: list[str]) -> int | None:
        if label is None:
            return None
        if isinstance(label, int) and isinstance(self.options, Mapping):
            # FewCLUE writes 0 and 1 as strings in some files and as numbers in others; JSON and pandas have true, too.
            label = next((name for name in (str(label).lower(), str(int(label))) if name in labels), label)
        if label in labels:
            return labels.index(label)
        if isinstance(label, int) and 0 <= label < len(labels):
            return int(label)  # no bool, which the collator refuses
        raise ValueError(f"`{self.label}` is {label!r}; the template knows {', '.join(labels)}.")


def _fill(wording: str, row: Row) -> str:
    try:
        return wording.format_map(row)
    except KeyError as error:
        raise ValueError(f"The row has no column {error.args[0]!r}; it has {sorted(row)}.") from None


def move_clause_into_options(text: str, fillers: Sequence[str]) -> tuple[str, list[str]]:
    """`"a,b__c。d"` and fillers -> `"a,__d"` and the clause with each of them, `"bXc。"`.

    How the reference asks about a blank: the options are read with their neighbours. `text` holds one `BLANK`.
    """
    before, _, after = text.partition(BLANK)
    head = re.search(r"[^,。?，？]*$", before)
    tail = re.match(r"[^,。?，？]*[,。?，？]?", after)
    assert head and tail  # both patterns match the empty string
    options = [head[0] + filler + tail[0] for filler in fillers]
    return before[: head.start()] + BLANK + after[tail.end() :], options


# -- FewCLUE: from the columns of its files to those that the templates name


def _blank(row: Row) -> Row:
    return {**row, "content": row["content"].replace("#idiom#", BLANK)}


def _blank_inside_options(row: Row) -> Row:
    content, options = move_clause_into_options(_blank(row)["content"], row["candidates"])
    return {**row, "content": content, "candidates": options}


def _name_label(row: Row) -> Row:
    """The Hub's `clue` numbers the labels of ocnli, in another order than that of the reference's options."""
    names = {0: "neutral", 1: "entailment", 2: "contradiction"}
    label = row.get("label")
    return {**row, "label": names.get(label, label)} if isinstance(label, int) else row


def _join_keywords(row: Row) -> Row:
    return {**row, "keyword": "、".join(row["keyword"])}


def _mark_spans(row: Row) -> Row:
    """`[span1]` and `_span2_`; FewCLUE counts the characters of the text before each."""
    text, target = row["text"], row["target"]
    marks = [
        (target["span1_index"], target["span1_text"], "[{}]"),
        (target["span2_index"], target["span2_text"], "_{}_"),
    ]
    for start, span, mark in sorted(marks, reverse=True):  # from the right, so that indices stay
        if text[start : start + len(span)] != span:
            raise ValueError(f"`target` says that {span!r} stands at character {start}, but the text is {text!r}.")
        text = text[:start] + mark.format(span) + text[start + len(span) :]
    return {**row, **target, "text": text}


def _names(words: str) -> dict[str, str]:
    """`"体育 news_car=汽车"` -> {label of the data set: option}; they are the same where there is no `=`."""
    return {label: option or label for label, _, option in (word.partition("=") for word in words.split())}


# Options of two characters: of csldcp FewCLUE's own short names, of iflytek and tnews the reference's.
CSLDCP = _names("""
    材料科学与工程=材料 作物学=作物 口腔医学=口腔 药学 教育学=教育 水利工程=水利 理论经济学=理经 食品科学与工程=食品
    畜牧学/兽医学=兽医 体育学=体育 核科学与技术=核能 力学 园艺学=园艺 水产 法学 地质学/地质资源与地质工程=地质
    石油与天然气工程=能源 农林经济管理=农林 信息与通信工程=通信 图书馆、情报与档案管理=情报 政治学=政治
    电气工程=电气 海洋科学=海洋 民族学=民族 航空宇航科学与技术=航空 化学/化学工程与技术=化工 哲学
    公共卫生与预防医学=卫生 艺术学=艺术 农业工程=农工 船舶与海洋工程=船舶 计算机科学与技术=计科 冶金工程=冶金
    交通运输工程=交通 动力工程及工程热物理=动力 纺织科学与工程=纺织 建筑学=建筑 环境科学与工程=环境 公共管理=公管
    数学 物理学=物理 林学/林业工程=林业 心理学=心理 历史学=历史 工商管理=工商 应用经济学=应经 中医学/中药学=中医
    天文学=天文 机械工程=机械 土木工程=土木 光学工程=光学 地理学=地理 农业资源利用=农资 生物学/生物科学与工程=生物
    兵器科学与技术=兵器 矿业工程=矿业 大气科学=大气 基础医学/临床医学=医学 电子科学与技术=电子 测绘科学与技术=测绘
    控制科学与工程=控制 军事学=军事 中国语言文学=语言 新闻传播学=新闻 社会学=社会 地球物理学=地球 植物保护=植物
""")
IFLYTEK = _names("""
    银行 社区服务=社区 电商 支付 经营养成=养成 卡牌 借贷 驾校 理财 职考 新闻 旅游资讯=旅游 公共交通=交通 魔幻
    医疗服务=医疗 影像剪辑=影像 动作类=动作 工具 体育竞技=体育 小说 运动健身=运动 相机 辅助工具=辅助 快递物流=快递
    高等教育=教育 股票 菜谱 行车辅助=行车 仙侠 亲子儿童=亲子 购物咨询=购物 射击游戏=射击 漫画 中小学=小学
    同城服务=同城 成人教育=成人 求职 电子产品=电子 艺术 薅羊毛=赚钱 约会社交=约会 经营 兼职 短视频=短视 音乐 英语
    棋牌中心=棋牌 摄影修图=摄影 养生保健=养生 办公 政务 视频 论坛圈子=论坛 彩票 直播 其他 休闲益智=休闲 策略
    即时通讯=通讯 汽车交易=买车 违章 地图导航=地图 民航 电台 语言(非英语)=语言 搞笑 婚恋社交=婚恋 社区超市=超市
    日常养车=养车 杂志 视频教育=在线 家政 影视娱乐=影视 装修家居=装修 体育咨讯=资讯 社交工具=社交 餐饮店=餐饮 美颜
    问诊挂号=挂号 飞行空战=飞行 综合预定=预定 电影票务=票务 笔记 买房 外卖 母婴 打车 情侣社交=情侣 日程管理=日程
    租车 微博博客=博客 百科 绘画 铁路 生活社交=生活 租房 酒店 保险 问答交流=问答 收款 MOBA=竞技 K歌=唱歌 技术
    减肥瘦身=减肥 工作社交=工作 团购 记账 女性 公务员=公务 二手 美妆美业=美妆 汽车咨询=汽车 行程管理=行程
    免费WIFI=免费 教辅 成人=两性 出国 婚庆 民宿短租=民宿
""")
TNEWS = _names("""
    news_story=故事 news_culture=文化 news_entertainment=娱乐 news_sports=体育 news_finance=财经 news_house=房产
    news_car=汽车 news_edu=教育 news_tech=科技 news_military=军事 news_travel=旅游 news_world=国际 news_stock=股票
    news_agriculture=农业 news_game=电竞
""")

_MATCHING = TASK_TYPE_TEMPLATES["语义匹配"]
_INFERENCE = TASK_TYPE_TEMPLATES["自然语言推理"]


def _about(template: str, column: str) -> str:
    return template.replace("{}", f"{{{column}}}")


FEWCLUE = {
    "eprstmt": TaskTemplate(text="{sentence}", options={"Negative": "这是一条差评", "Positive": "这是一条好评"}),
    "csldcp": TaskTemplate(text="{content}", options=CSLDCP, question="下面论文摘要属于哪一个学科？"),
    "tnews": TaskTemplate(
        text="{sentence}", options=TNEWS, question="下面新闻属于哪一个类别？", label="label_desc"
    ),
    "iflytek": TaskTemplate(text="{sentence}", options=IFLYTEK, question="请问app应用属于？", label="label_des"),
    "ocnli": TaskTemplate(
        text="{sentence1}",
        options={
            "contradiction": _about(_INFERENCE["矛盾"], "sentence2"),
            "neutral": _about(_INFERENCE["自然"], "sentence2"),
            "entailment": _about(_INFERENCE["蕴含"], "sentence2"),
        },
        prepare=_name_label,
    ),
    "bustm": TaskTemplate(
        text="{sentence1}",
        options={"0": _about(_MATCHING["不相似"], "sentence2"), "1": _about(_MATCHING["相似"], "sentence2")},
    ),
    "chid": TaskTemplate(
        text="{content}", options="candidates", question="文中下划线处应填入哪个成语？", label="answer", prepare=_blank
    ),
    "chid_inline": TaskTemplate(
        text="{content}", options="candidates", label="answer", prepare=_blank_inside_options
    ),
    "csl": TaskTemplate(
        text="{abst}",
        options={"1": "可以使用{keyword}概括摘要", "0": "不能使用{keyword}概括摘要"},
        prepare=_join_keywords,
    ),
    "cluewsc": TaskTemplate(
        text="{text}",
        options={"true": "{span2_text}是{span1_text}", "false": "{span2_text}不是{span1_text}"},
        prepare=_mark_spans,
    ),
}  # fmt: skip

ENGLISH = {
    "sentiment": TaskTemplate(
        options={"negative": "it's terrible", "positive": "it's great"}, question="What is the sentiment?"
    ),
    "topic": TaskTemplate(options="options", question="What is the topic?"),
    "intent": TaskTemplate(options="options", question="What does the user want?"),
    "nli": TaskTemplate(
        text="{premise}",
        options={
            "entailment": "we can infer that {hypothesis}",
            "neutral": "it is difficult for us to infer that {hypothesis}",
            "contradiction": "we can not infer that {hypothesis}",
        },
    ),
    "paraphrase": TaskTemplate(
        text="{sentence1}",
        text_pair="{sentence2}",
        options={"0": "it is not a paraphrase", "1": "it is a paraphrase"},
        question="Is the second sentence a paraphrase of the first?",
    ),
    "multiple_choice": TaskTemplate(text="{article}", options="options", question="{question}", label="answer"),
    "coreference": TaskTemplate(options="options", question="Who does *{pronoun}* refer to?"),
}

TASK_TEMPLATES: dict[str, TaskTemplate] = {**{f"fewclue/{name}": task for name, task in FEWCLUE.items()}, **ENGLISH}

__all__ = ["TASK_TEMPLATES", "TaskTemplate", "move_clause_into_options"]
