"""
Put a trained model into the package, as the one that `pipeline("unimc-zero-shot")` finds.

    python examples/package_model.py /tmp/unimc-english/model

Copies weights, configuration and tokenizer, without the code that `save_pretrained` puts beside them for
repositories: inside the package the code is the package. The card is written by `write_model_card.py` afterwards.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import unimc_hf

LARGEST = 50_000_000  # bytes


def main(source: Path, target: Path = Path(unimc_hf.DEFAULT_MODEL)) -> None:
    weights = source / "model.safetensors"
    if weights.stat().st_size > LARGEST:
        raise SystemExit(f"{weights} has {weights.stat().st_size} bytes; at most {LARGEST} go into the package.")
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
    main(Path(sys.argv[1]))
