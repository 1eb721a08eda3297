"""`unimc verify`: what the package saves passes; whatever was added, changed, removed or redirected does not."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from loopback_hub import LoopbackHub, run
from saved_folders import edit
from tiny_models import tiny_tokenizer

from unimc_hf import DEFAULT_MODEL, __version__
from unimc_hf.command_line.verify import main, verify_folder
from unimc_hf.saved_files import CODE_MANIFEST, sha256


def problems(folder: Path) -> set[tuple[str, str]]:
    return {(finding.status, finding.file) for finding in verify_folder(folder) if finding.is_problem}


def test_what_the_package_saves_passes(folder: Path, capsys: pytest.CaptureFixture) -> None:
    findings = verify_folder(folder)
    assert {finding.status for finding in findings} == {"ok"}
    assert {finding.file for finding in findings} == {path.name for path in folder.glob("*.py")}
    assert main([str(folder)]) == 0
    assert f"All {len(findings)} code files are those of unimc_hf {__version__}" in capsys.readouterr().out


def test_a_part_alone_and_the_model_inside_the_package_pass(tmp_path: Path) -> None:
    tiny_tokenizer().save_pretrained(tmp_path)
    assert not problems(tmp_path) and (tmp_path / "modeling_unimc.py").exists()
    assert verify_folder(Path(DEFAULT_MODEL)) == []


def test_the_manifest_is_written_again_with_every_save(folder: Path) -> None:
    before = (folder / CODE_MANIFEST).read_bytes()
    content = json.loads(before)
    assert content["version"] == __version__ and "modeling_unimc.py" in content["sha256"]
    (folder / CODE_MANIFEST).write_text("{}")
    (folder / "mine.py").write_text("")
    tiny_tokenizer().save_pretrained(folder)
    assert (folder / CODE_MANIFEST).read_bytes() == before


def test_a_changed_byte(folder: Path, capsys: pytest.CaptureFixture) -> None:
    code = bytearray((folder / "option_losses.py").read_bytes())
    code[0] ^= 1
    (folder / "option_losses.py").write_bytes(code)
    assert problems(folder) == {("differs", "option_losses.py"), ("manifest", "option_losses.py")}
    assert main([str(folder)]) == 1
    assert "differs   option_losses.py" in capsys.readouterr().out


def test_a_changed_byte_that_the_manifest_covers_up(folder: Path) -> None:
    (folder / "option_losses.py").write_bytes(b"print()\n")
    digest = sha256(folder / "option_losses.py")
    edit(folder / CODE_MANIFEST, lambda content: content["sha256"].update({"option_losses.py": digest}))
    assert problems(folder) == {("differs", "option_losses.py")}


@pytest.mark.parametrize(
    "name", ["evil.py", "sub/evil.py", "sub/modeling_unimc.py", "Modeling_unimc.PY", "__pycache__/modeling_unimc.pyc"]
)
def test_an_additional_file(name: str, folder: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    shutil.copyfile(folder / "modeling_unimc.py", folder / name)
    assert problems(folder) == {("extra", name)}


def test_a_missing_file(folder: Path) -> None:
    (folder / "option_structure.py").unlink()
    assert problems(folder) == {("missing", "option_structure.py")}
    # Without the manifest what is needed still follows from what the configuration names.
    (folder / CODE_MANIFEST).unlink()
    assert problems(folder) == {("missing", "option_structure.py")}


def test_a_missing_manifest_is_only_noted(folder: Path) -> None:
    (folder / CODE_MANIFEST).unlink()
    assert problems(folder) == set()
    assert [finding.file for finding in verify_folder(folder) if finding.status == "note"] == [CODE_MANIFEST]


@pytest.mark.parametrize(
    "name", ["../outside.py", "/etc/passwd", "sub/../../outside.py", "..\\outside.py", "", ".", "x.py\n", "config.json"]
)
def test_path_tricks_in_the_manifest(name: str, folder: Path) -> None:
    outside = folder.parent / "outside.py"
    os.mkfifo(outside)  # opening it would hang
    edit(folder / CODE_MANIFEST, lambda content: content["sha256"].update({name: "0" * 64}))
    assert problems(folder) == {("manifest", CODE_MANIFEST)}


@pytest.mark.parametrize("content", ["[]", "{", '{"sha256": []}', '{"sha256": null}', "[" * 100_000, "\ufeff{}"])
def test_a_manifest_that_is_none(content: str, folder: Path) -> None:
    (folder / CODE_MANIFEST).write_text(content, encoding="utf-8")
    assert {name for _, name in problems(folder)} == {CODE_MANIFEST}
    assert main([str(folder)]) == 1


def test_another_version_is_said(folder: Path) -> None:
    edit(folder / CODE_MANIFEST, lambda content: content.update(version="9.9\x1b[2J"))
    (note,) = [finding for finding in verify_folder(folder) if finding.status == "note"]
    assert "9.9" in note.reason and "\x1b" not in str(note)


def test_links(folder: Path) -> None:
    secret = folder.parent / "modeling_unimc.py"
    (folder / "modeling_unimc.py").rename(secret)  # the right bytes now, others when it is loaded
    (folder / "modeling_unimc.py").symlink_to(secret)
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/dev/zero")  # reading it would never end
    (folder / "more").symlink_to(folder.parent, target_is_directory=True)
    (folder / "gone.py").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.json")
    wanted = {("link", name) for name in ("modeling_unimc.py", "config.json", "more", "gone.py", "pipe.json")}
    assert problems(folder) == wanted


def test_a_link_inside_the_folder_is_followed(folder: Path) -> None:
    (folder / "option_losses.py").rename(folder / "copy.txt")
    (folder / "option_losses.py").symlink_to("copy.txt")
    assert problems(folder) == set()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "training_args.bin", "sub/model.PT", "vectors.pkl"])
def test_pickles(name: str, folder: Path) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    assert problems(folder) == {("pickle", name)}


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "sub/processor_config.json"])
@pytest.mark.parametrize(
    "entry",
    [
        {"auto_map": {"AutoModel": "other/repo--modeling_unimc.UniMCForMultipleChoice"}},
        {"auto_map": {"AutoTokenizer": ["tokenization_unimc.UniMCTokenizer", "evil.Tokenizer"]}},
        {"auto_map": ["../evil.Tokenizer"]},
        {"auto_map": {"AutoConfig": "sub/configuration_unimc.UniMCConfig"}},
        {"text_config": {"deeper": [{"auto_map": {"AutoModel": "other/repo--a.B"}}]}},
        {"custom_pipelines": {"any": {"impl": "other/repo--pipeline_unimc.UniMCZeroShotPipeline", "pt": []}}},
    ],
)
def test_classes_from_elsewhere(entry: dict, file: str, folder: Path) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    if not (folder / file).exists():
        (folder / file).write_text("{}")
    edit(folder / file, lambda content: content.update(entry))
    assert ("elsewhere", file) in problems(folder)
    assert {status for status, _ in problems(folder)} <= {"elsewhere", "missing"}


def test_an_adapter_names_another_repository(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "other/repo"}')
    assert problems(folder) == {("elsewhere", "adapter_config.json")}
    assert "other/repo" in "".join(map(str, verify_folder(folder)))


def test_names_cannot_write_on_the_terminal(folder: Path, capsys: pytest.CaptureFixture) -> None:
    (folder / "a\x1b[1A\u202e.py").write_text("")
    assert main([str(folder)]) == 1
    printed = capsys.readouterr().out
    assert "\x1b" not in printed and "\u202e" not in printed and "\\x1b[1A\\u202e.py" in printed


def test_what_cannot_be_checked(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    assert main([str(folder), "--revision", "main"]) == 2
    assert "`revision` is for Hub repositories" in capsys.readouterr().err
    assert main(["no/such/folder"]) == 2
    # `python -m` in the folder itself: whatever `json.py` is there has run before us.
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.chdir(folder)
    assert main(["."]) == 2
    assert "on Python's path" in capsys.readouterr().err


def test_a_folder_without_a_model_is_none_that_was_checked(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "notes.txt").write_text("")
    assert main([str(tmp_path)]) == 2
    assert "has no config.json and no code: there is no model" in capsys.readouterr().err
    (tmp_path / "config.json").write_text('{"model_type": "unimc"}')  # a plain checkpoint
    assert main([str(tmp_path)]) == 0
    assert "There is no code" in capsys.readouterr().out


def test_a_repository_on_the_hub(saved: Path, tmp_path: Path) -> None:
    """Two commits, both by the command line as users run it: only code and configurations are fetched, none is run."""
    command = (
        "import json, sys\nfrom unimc_hf.__main__ import main\n"
        "print(json.dumps([main(['verify', *arguments]) for arguments in json.loads(sys.argv[1])]))"
    )
    repo, mark = "me/tiny-unimc", tmp_path / "ran"
    with LoopbackHub() as hub:
        hub.repositories[repo] = {"0" * 40: {path.name: path.read_bytes() for path in saved.iterdir()}}
        good = hub.head(repo)
        hub.add(repo, "modeling_unimc.py", f"open({str(mark)!r}, 'w')\n".encode())
        bad = hub.add(repo, "pytorch_model.bin", b"not fetched")
        calls = [[repo, "--revision", good], [repo], [repo, "--revision", "f" * 40]]
        done = run(command, hub, tmp_path / "home", json.dumps(calls))
        fetched = {request.rsplit("/", 1)[-1] for request in hub.requests if "/resolve/" in request}
    assert json.loads(done.stdout.splitlines()[-1]) == [0, 1, 2], done.stderr
    assert f"revision='{good}'" in done.stdout and f"revision='{bad}'" in done.stdout
    assert "differs   modeling_unimc.py" in done.stdout and "pickle    pytorch_model.bin" in done.stdout
    assert {Path(name).suffix for name in fetched} == {".py", ".json"}
    assert not mark.exists()
