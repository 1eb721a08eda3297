"""
Put a trained model where `pipeline("unimc-zero-shot")` finds it: an English one into the package, a Chinese one into
the package beside it (`language="chinese"`).

    python examples/models/package_model.py /tmp/unimc-english/model

Copies weights, configuration and tokenizer, without the code that `save_pretrained` puts beside them for
repositories: inside the package the code is the package. The card is written afterwards, by `write_english_card.py` or
`write_chinese_card.py`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import unimc_hf

# language -> where its model goes, and the most bytes that the weights may have
TARGETS = {
    "english": (Path(unimc_hf.DEFAULT_MODEL), 50_000_000),
    "chinese": (Path(__file__).resolve().parents[1] / "chinese_model" / "unimc_hf_chinese", 80_000_000),
}


def main(source: Path) -> None:
    weights = source / "model.safetensors"
    target, largest = TARGETS[json.loads((source / "config.json").read_text(encoding="utf-8"))["language"]]
    if weights.stat().st_size > largest:
        raise SystemExit(f"{weights} has {weights.stat().st_size} bytes; at most {largest} go into {target}.")
    target.mkdir(exist_ok=True)
    for name in ("model.safetensors", "tokenizer.json"):
        shutil.copyfile(source / name, target / name)
    for name in ("config.json", "tokenizer_config.json"):
        settings = json.loads((source / name).read_text(encoding="utf-8"))
        for key in ("auto_map", "custom_pipelines", "_name_or_path"):
            settings.pop(key, None)
        if name == "config.json":
            settings["prefer_bfloat16"] = True  # measured by benchmark/precision.py
        (target / name).write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{target}: {', '.join(sorted(path.name for path in target.iterdir()))}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of a trained model")
    main(parser.parse_args().source)
