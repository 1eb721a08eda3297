# /// script
# dependencies = ["unimc_hf", "protobuf", "sentencepiece"]
# ///
"""
Convert the published Erlangshen-UniMC checkpoints: safetensors instead of pickles, the language and the words for yes
and no recorded, the code and a card beside them.

    python examples/deploy/convert_checkpoints.py IDEA-CCNL/Erlangshen-UniMC-RoBERTa-110M-Chinese \
        --output /tmp/converted
    python examples/deploy/convert_checkpoints.py all --output /tmp/converted --push my-name
    python examples/deploy/convert_checkpoints.py /data/old-folder --language chinese --output /tmp/converted

Every checkpoint goes into a folder of its own name below `--output`. It is pushed only after it was loaded again and
gave the logits of the original. Pickles are read with `weights_only`, so that none can run code. One copy of the
weights is in memory at a time.
"""

from __future__ import annotations

import argparse
import gc
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import HfApi, ModelCard, ModelCardData, snapshot_download
from transformers import pipeline

from unimc_hf import UniMCForMultipleChoice, UniMCTokenizer, UniMCZeroShotPipeline, __version__

ORGANISATION = "IDEA-CCNL"
PUBLISHED = {  # name: language, which none of them records
    "Erlangshen-UniMC-Albert-235M-English": "english",
    "Erlangshen-UniMC-RoBERTa-110M-Chinese": "chinese",
    "Erlangshen-UniMC-RoBERTa-330M-Chinese": "chinese",
    "Erlangshen-UniMC-MegatronBERT-1.3B-Chinese": "chinese",
    "Erlangshen-UniMC-DeBERTa-v2-110M-Chinese": "chinese",
    "Erlangshen-UniMC-DeBERTa-v2-330M-Chinese": "chinese",
    "Erlangshen-UniMC-DeBERTa-v2-1.4B-Chinese": "chinese",
}
TOLERANCE = 1e-5
# Texts, pairs, questions and menus of several sizes; what they say decides nothing, any logit has to be the same.
EXAMPLES: dict[str, dict[str, list]] = {
    "english": {
        "text": ["Stocks fell sharply.", "A man plays a guitar.", "The team won in extra time. " * 20],
        "text_pair": [None, "A man is making music.", None],
        "question": ["What is the topic?", None, "Which section is it from?"],
        "options": [["sports", "business"], ["yes", "maybe", "no"], ["music", "a win", "weather", "a [MASK]", "law"]],
    },
    "chinese": {
        "text": ["股市今天大幅下跌。", "一个男人在弹吉他。", "球队在加时赛中获胜。" * 20],
        "text_pair": [None, "一个男人在演奏音乐。", None],
        "question": ["这是什么新闻?", None, "这段话出自哪个栏目?"],
        "options": [["体育", "财经"], ["是", "可能", "非"], ["音乐", "胜利", "天气预报", "一个[MASK]", "法律"]],
    },
}
CARD = """
# {name}

{source} in the format of the Python package `unimc_hf`: the same weights and the same answers, as safetensors, with the
language and the words for yes and no in the configuration and the code beside them. {parameters:,} parameters, {dtype}.

```python
import unimc_hf  # or, without the package: trust_remote_code=True and a revision that you have read
from transformers import pipeline

classify = pipeline("unimc-zero-shot", model="{name}")
classify({text!r}, candidate_labels={labels!r})
```

{order}

The metadata of this card (`library_name`, `pipeline_tag`) is where `pipeline(model="{name}")` finds its task.

Converted by `examples/deploy/convert_checkpoints.py` of `unimc_hf` {version}. It was loaded again and compared with the
original on {examples} examples with {options} options: no logit differs by more than {difference:.1e}.

Training data, figures and limits are those of the original; see its card. The method: Yang et al., *Zero-Shot Learners
for Natural Language Understanding via a Unified Multiple Choice Perspective*, EMNLP 2022 (arXiv 2210.08590).
"""
ORDER_INVARIANT = "Permuting the options permutes the scores and changes nothing else."
ORDER_SENSITIVE = "This family measures distance by the index of a token, so scores depend on the order of the options."


class Source(NamedTuple):
    """A checkpoint in a local folder, and where it is from."""

    name: str
    folder: Path
    language: str
    repo_id: str | None = None  # `None` for a folder
    commit: str | None = None


def find_source(name_or_folder: str, language: str | None) -> Source:
    """Download a published checkpoint, pickles only where it has no safetensors; a folder stays where it is.

    Raises:
        ValueError: if it is neither, or the language of a folder of another name is not given.
    """
    is_folder = Path(name_or_folder).is_dir()
    name = (Path(name_or_folder).resolve() if is_folder else Path(name_or_folder)).name
    language = language or PUBLISHED.get(name)
    if language is None:
        raise ValueError(f"`--language` is needed for {name_or_folder!r}: its configuration does not record it.")
    if is_folder:
        return Source(name, Path(name_or_folder), language)
    repo_id = name_or_folder if "/" in name_or_folder else f"{ORGANISATION}/{name_or_folder}"
    info = HfApi().model_info(repo_id)
    files = [file.rfilename for file in info.siblings or ()]
    weights = "*.safetensors" if any(file.endswith(".safetensors") for file in files) else "*.bin"
    # A folder also keeps transformers from asking the Hub to convert the pickle in the background.
    folder = snapshot_download(
        repo_id, revision=info.sha, allow_patterns=["*.json", "*.txt", "*.model", "README.md", weights]
    )
    return Source(name, Path(folder), language, repo_id, info.sha)


@torch.inference_mode()
def compute_logits(model: UniMCForMultipleChoice, tokenizer: UniMCTokenizer, language: str) -> torch.Tensor:
    """*yes* and *no* of every option of the examples: float32, `(options of all examples, 2)`."""
    batch = tokenizer(**EXAMPLES[language], padding=True, return_tensors="pt")
    return model.eval()(**batch).yes_no_logits[batch["option_positions"] > 0].float()


def convert(source: Source, output: Path, published_as: str) -> float:
    """Write a checkpoint in our format and return the largest difference of a logit.

    Raises:
        ValueError: if weights are missing or do not fit, the tokenizer is of another language, or the answers differ.
    """
    tokenizer = UniMCTokenizer.from_pretrained(source.folder)
    yes, no = tokenizer.yes_no_token_ids(source.language)
    model, info = UniMCForMultipleChoice.from_pretrained(
        source.folder, yes_token_id=yes, no_token_id=no, language=source.language, output_loading_info=True
    )
    # What the file lacks would be random, here and in the copy alike.
    if wrong := {kind: keys for kind, keys in info.items() if keys and kind != "unexpected_keys"}:
        raise ValueError(f"The weights in {source.folder} do not fit its configuration: {wrong}.")
    if unexpected := sorted(info["unexpected_keys"]):
        print(f"{source.name}: without weights that the model does not use: {', '.join(unexpected)}")
    expected = compute_logits(model, tokenizer, source.language)
    UniMCZeroShotPipeline(model, tokenizer, device="cpu").save_pretrained(output)
    facts = {"parameters": model.num_parameters(), "dtype": str(model.dtype).removeprefix("torch.")}
    is_order_invariant = model.config.is_order_invariant
    del model
    gc.collect()  # modules refer to each other, and the next copy needs the room

    converted: Any = pipeline("unimc-zero-shot", model=str(output), device="cpu")
    difference = (compute_logits(converted.model, converted.tokenizer, source.language) - expected).abs().max().item()
    if not difference <= TOLERANCE:  # nor is "not a number" good enough
        raise ValueError(f"The logits of {output} differ from those of {source.folder} by {difference:.1e}.")
    card = make_card(source, published_as, difference=difference, is_order_invariant=is_order_invariant, **facts)
    card.save(output / "README.md")
    return difference


def make_card(source: Source, published_as: str, is_order_invariant: bool, **figures: Any) -> ModelCard:
    """With the licence that the original states, if it states one."""
    original = source.folder / "README.md"
    licence = ModelCard.load(original).data.to_dict().get("license") if original.exists() else None
    repo_id = source.repo_id or (f"{ORGANISATION}/{source.name}" if source.name in PUBLISHED else None)
    data = ModelCardData(
        language={"english": "en", "chinese": "zh"}[source.language],
        license=licence,
        library_name="transformers",
        pipeline_tag="unimc-zero-shot",  # what `pipeline(model=...)` takes for the task
        base_model=repo_id,
        tags=["unimc", "multiple-choice", "zero-shot-classification"],
    )
    examples = EXAMPLES[source.language]
    link = f"[{repo_id}](https://huggingface.co/{repo_id})" if repo_id else f"`{source.name}`"
    text = CARD.format(
        name=published_as,
        source=f"{link} (commit {source.commit})" if source.commit else link,
        text=examples["text"][0],
        labels=examples["options"][0],
        order=ORDER_INVARIANT if is_order_invariant else ORDER_SENSITIVE,
        version=__version__,
        examples=len(examples["text"]),
        options=sum(map(len, examples["options"])),
        **figures,
    )
    return ModelCard(f"---\n{data.to_yaml()}\n---\n{text}")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+", help="names on the Hub, folders, or `all` for the seven published")
    parser.add_argument("--output", type=Path, required=True, help="folder that gets one folder for each")
    parser.add_argument("--language", choices=sorted(EXAMPLES), help="for a checkpoint that is none of the seven")
    parser.add_argument("--push", metavar="NAMESPACE", help="Hub user or organisation that gets them")
    options = parser.parse_args(arguments)
    for name in PUBLISHED if options.checkpoints == ["all"] else options.checkpoints:
        source = find_source(name, options.language)
        output = options.output / source.name
        if output.exists() and any(output.iterdir()):
            raise ValueError(f"{output} is not empty; what is there might be pushed as well.")
        published_as = f"{options.push}/{source.name}" if options.push else source.name
        difference = convert(source, output, published_as)
        print(f"{output}: logits differ by {difference:.1e}")
        if options.push:
            HfApi().create_repo(published_as, exist_ok=True)
            commit = HfApi().upload_folder(
                repo_id=published_as, folder_path=output, commit_message=f"Convert {source.name}"
            )
            print(f"{published_as}: commit {commit.oid}")


if __name__ == "__main__":
    main()
